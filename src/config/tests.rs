//! Precedence, unknown keys, bad values: the three places that may say something, and what happens when they say it wrong.

use super::*;
use crate::pool::{LeaseScope, Tier, Weight};
use proptest::prelude::*;
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

/// Writes `text` as a file of its own and keeps it for as long as the test.
struct Written {
    _dir: TempDir,
    path: PathBuf,
}

fn written(text: &str) -> Written {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stenopool.toml");
    std::fs::write(&path, text).unwrap();
    Written { _dir: dir, path }
}

/// The settings of a file alone.
fn from_file(text: &str) -> Result<Settings, ConfigError> {
    load(Some(&written(text).path), &Table::new())
}

fn error_in(text: &str) -> String {
    from_file(text).expect_err("it is wrong").to_string()
}

#[test]
fn nothing_said_means_the_defaults_that_clients_are_promised() {
    let settings = load(None, &Table::new()).unwrap();
    assert_eq!(settings.server.bind.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.server.limits.upload_limit, 512 * 1024 * 1024);
    assert_eq!(settings.server.limits.rest_wait, Duration::from_secs(30));
    assert_eq!(settings.server.limits.session_idle, Duration::from_mins(10));
    assert_eq!(settings.server.limits.session_lifetime, Duration::from_hours(24));
    assert_eq!(settings.pool.queue_limit, 256);
    assert_eq!(settings.server.limits.lease, LeaseScope::Utterance);
    assert!(settings.server.limits.lease_switching);
    assert_eq!(settings.server.limits.keeping.audio, Duration::from_secs(120));
    assert_eq!(settings.endpoint, crate::vad::EndpointSettings::default());
    assert_eq!((settings.slots.slots, settings.slots.max_slots), (None, 16));
    assert_eq!((settings.slots.knee, settings.slots.elastic), (KneeSetting::Auto, true));
    assert_eq!(settings.slots.canary, Some(Duration::from_secs(60)));
    assert_eq!(
        (settings.slots.job_deadline, settings.slots.idle_reclaim),
        (None, Some(Duration::from_secs(300)))
    );
    assert_eq!(settings.pool.ledger, crate::pool::LedgerSettings::default());
    assert_eq!(settings.device, DeviceSettings::default());
    assert!(settings.server.aliases.iter().any(|alias| alias == "whisper-1"));
}

#[test]
fn every_key_can_be_set_in_the_file() {
    let settings = from_file(
        r#"
        [server]
        bind = "[::1]:9000"
        insecure = true
        api_key = ["one", "two"]
        aliases = ["whisper-1"]
        upload_limit_mib = 1
        rest_wait_s = 2
        message_limit_kib = 64
        session_idle_s = 3
        session_lifetime_s = 4
        slow_client_s = 6
        shutdown_grace_s = 0
        [models]
        model = "base.en"
        dir = "/srv/models"
        mirror = "http://mirror.local/ggml"
        [pool]
        slots = 3
        queue_limit = 8
        lease = "session"
        lease_switching = false
        keep_audio_s = 60
        max_slots = 12
        knee = 6
        elastic = false
        canary_s = 0
        job_deadline_s = 40
        starvation_s = 7
        batch_share = 20
        idle_reclaim_s = 100
        [pool.tiers]
        gold = 4
        default = 2
        [asr]
        threads = "auto"
        window = "fit"
        flash_attention = "off"
        [vad]
        threshold = 0.25
        prefix_ms = 100
        silence_ms = 700
        pause_ms = 200
        min_speech_ms = 0
        longest_s = 20
        [gpu]
        device = "cuda:1"
        reserve_mib = 70000
        [tts]
        engine = "remote"
        voice = "anna"
        workers = 2
        dedicated = true
        kokoro_model = "k.onnx"
        voices_dir = "voices"
        espeak = "/usr/bin/espeak-ng"
        url = "http://127.0.0.1:8880/v1"
        key = "sk-1"
        model = "kokoro"
        voices = ["anna", "otto"]
        concurrency = 4
        [log]
        level = "debug"
        format = "json"
        [debug]
        max_tokens = 32
        "#,
    )
    .unwrap();
    assert_eq!(settings.server.bind.to_string(), "[::1]:9000");
    assert_eq!(settings.server.limits.message_limit, 64 * 1024);
    assert_eq!(settings.server.shutdown_grace, Duration::ZERO);
    assert_eq!(settings.server.aliases, ["whisper-1"]);
    assert_eq!(settings.models.model.as_deref(), Some("base.en"));
    let slots = SlotSettings {
        slots: Some(3),
        max_slots: 12,
        knee: KneeSetting::Slots(6),
        elastic: false,
        canary: None,
        job_deadline: Some(Duration::from_secs(40)),
        idle_reclaim: Some(Duration::from_secs(100)),
    };
    assert_eq!(settings.slots, slots);
    assert_eq!(settings.pool.ledger.starvation, Duration::from_secs(7));
    assert_eq!(settings.pool.ledger.batch_share, 20);
    assert_eq!(settings.device.selector.to_string(), "cuda:1");
    assert_eq!(settings.device.reserve, Some(crate::gpu::Bytes::mib(70_000)));
    let limits = &settings.server.limits;
    assert_eq!((limits.lease, limits.lease_switching), (LeaseScope::Session, false));
    assert_eq!(limits.keeping.audio, Duration::from_secs(60));
    assert_eq!(settings.server.keys[0].tier.weight.get(), 2);
    assert_eq!(settings.asr.threads, None);
    assert_eq!(settings.endpoint.end_silence, Duration::from_millis(700));
    assert_eq!(settings.endpoint.short_pause, Duration::from_millis(200));
    assert_eq!(settings.log.filter.as_deref(), Some("warn,stenopool=debug"));
    assert_eq!(settings.debug.max_tokens, Some(32));
}

#[test]
fn what_is_given_counts_more_than_the_file_key_by_key() {
    let file = written("[pool]\nslots = 2\nqueue_limit = 9\n[server]\napi_key = [\"old\"]\n");
    let given: Table = toml::from_str("pool.slots = \"5\"\nserver.api_key = [\"new\"]").unwrap();
    let settings = load(Some(&file.path), &given).unwrap();
    assert_eq!((settings.slots.slots, settings.pool.queue_limit), (Some(5), 9));
    let new = from_file("[server]\napi_key = [\"new\"]\n").unwrap();
    assert_eq!(settings.server.keys[0].hash, new.server.keys[0].hash);
    assert_eq!(settings.server.keys.len(), 1, "lists replace, they do not add up");
}

proptest! {
    // Fails when either direction of the overlay is swapped, or when a missing flag hides the file.
    #[test]
    fn the_first_place_that_says_something_wins(
        given in prop::option::of(1_u64..1000),
        file in prop::option::of(1_u64..1000),
    ) {
        let text = file.map_or(String::new(), |n| format!("[pool]\nqueue_limit = {n}\n"));
        let flag = given.map_or(String::new(), |n| format!("pool.queue_limit = {n}"));
        let table: Table = toml::from_str(&flag).unwrap();
        let settings = load(Some(&written(&text).path), &table).unwrap();
        prop_assert_eq!(settings.pool.queue_limit as u64, given.or(file).unwrap_or(256));
    }
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_known_ones() {
    let error = error_in("[server]\nbind = \"127.0.0.1:1\"\n\n[pool]\nslotss = 3\n");
    assert!(
        error.ends_with(
            "stenopool.toml:5: unknown key `slotss`, expected one of `slots`, `queue_limit`, `lease`, \
             `max_slots`, `knee`, `elastic`, `canary_s`, `job_deadline_s`, `starvation_s`, `batch_share`, \
             `idle_reclaim_s`, `lease_switching`, `keep_audio_s`, `tiers`"
        ),
        "{error}"
    );
    let error = error_in("\n[poool]\n");
    assert!(error.contains(":2: unknown key `poool`, expected one of `server`, `models`"), "{error}");
}

#[test]
fn a_value_of_the_wrong_type_is_refused_with_its_line() {
    let error = error_in("[vad]\nsilence_ms = \"long\"\n");
    assert!(error.contains("stenopool.toml:2: invalid type: string \"long\", expected u64"), "{error}");
    let error = error_in("[pool]\nslots = true\n");
    assert!(error.contains(":2: expected \"auto\" or a number"), "{error}");
    let error = error_in("[pool\n");
    assert!(error.contains("stenopool.toml:1: "), "{error}");
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let error = load(Some(Path::new("/nowhere/stenopool.toml")), &Table::new()).unwrap_err();
    assert_eq!(error.code(), "config_unreadable");
}

#[test]
fn a_knee_is_a_word_or_a_number() {
    let knee = |value: &str| from_file(&format!("[pool]\nknee = {value}\n")).unwrap().slots.knee;
    assert_eq!(knee("\"auto\""), KneeSetting::Auto);
    assert_eq!(knee("\"measure\""), KneeSetting::Measure);
    assert_eq!(knee("\"off\""), KneeSetting::Off);
    assert_eq!((knee("\"4\""), knee("4")), (KneeSetting::Slots(4), KneeSetting::Slots(4)));
}

#[test]
fn values_out_of_range_are_refused_with_key_value_and_range() {
    let cases = [
        ("server", "bind", "\"8080\"", "server.bind is 8080, expected an address and a port"),
        ("server", "upload_limit_mib", "0", "server.upload_limit_mib is 0, expected 1 to 1048576"),
        ("server", "api_key", "[\"\"]", "server.api_key is empty, expected visible ASCII"),
        ("server", "api_key", "[\"a b\"]", "server.api_key is not shown, expected visible ASCII"),
        ("models", "mirror", "\"ftp://x\"", "models.mirror is ftp://x, expected a URL"),
        ("models", "model", "\"\"", "models.model is empty"),
        ("pool", "slots", "0", "pool.slots is 0, expected auto or 1 to 256"),
        ("pool", "slots", "-1", "pool.slots is -1, expected auto or 1 to 256"),
        ("pool", "slots", "\"many\"", "pool.slots is many, expected auto or 1 to 256"),
        ("pool", "queue_limit", "0", "pool.queue_limit is 0, expected 1 to 1000000"),
        ("pool", "lease", "\"forever\"", "pool.lease is forever, expected utterance or session"),
        ("pool", "keep_audio_s", "0", "pool.keep_audio_s is 0, expected 1 to 3600"),
        ("pool.tiers", "gold", "0", "pool.tiers is gold=0, expected a name and a weight from 1 to 1000"),
        (
            "pool.tiers",
            "gold",
            "1001",
            "pool.tiers is gold=1001, expected a name and a weight from 1 to 1000",
        ),
        ("pool.tiers", "gold", "\"\"", "pool.tiers is gold=, expected a name and a weight"),
        ("pool.tiers", "\"\"", "1", "pool.tiers is =1, expected a name and a weight"),
        ("asr", "window", "\"wide\"", "asr.window is wide, expected auto, fit or full"),
        ("asr", "flash_attention", "\"yes\"", "asr.flash_attention is yes, expected auto, on or off"),
        ("vad", "device", "\"gpu\"", "vad.device is gpu, expected auto, cpu or cuda"),
        ("tts", "device", "\"cuda:0\"", "tts.device is cuda:0, expected auto, cpu or cuda"),
        ("vad", "threshold", "1.0", "vad.threshold is 1, expected more than 0 and less than 1"),
        ("vad", "threshold", "nan", "vad.threshold is NaN, expected more than 0"),
        ("vad", "longest_s", "601", "vad.longest_s is 601, expected 5 to 600"),
        ("vad", "pause_ms", "49", "vad.pause_ms is 49, expected 50 to 2000"),
        ("pool", "max_slots", "0", "pool.max_slots is 0, expected 1 to 256"),
        ("pool", "knee", "0", "pool.knee is 0, expected auto, measure, off or 1 to 256"),
        ("pool", "knee", "\"never\"", "pool.knee is never, expected auto, measure, off or 1 to 256"),
        ("pool", "canary_s", "86401", "pool.canary_s is 86401, expected 0 to 86400"),
        ("pool", "job_deadline_s", "0", "pool.job_deadline_s is 0, expected auto or 5 to 3600"),
        ("pool", "job_deadline_s", "4", "pool.job_deadline_s is 4, expected auto or 5 to 3600"),
        ("pool", "starvation_s", "0", "pool.starvation_s is 0, expected 1 to 3600"),
        ("pool", "batch_share", "51", "pool.batch_share is 51, expected 0 to 50"),
        ("pool", "idle_reclaim_s", "86401", "pool.idle_reclaim_s is 86401, expected 0 to 86400"),
        ("gpu", "device", "\"gpu\"", "gpu.device is gpu, expected auto, cpu, all, cuda:N"),
        ("gpu", "reserve_mib", "-1", "gpu.reserve_mib is -1, expected auto or 0 to 1048576"),
        ("log", "level", "\"loud\"", "log.level is loud, expected a level"),
        ("debug", "max_tokens", "1", "debug.max_tokens is 1, expected 2 to 220"),
        ("debug", "max_tokens", "221", "debug.max_tokens is 221, expected 2 to 220"),
        ("log", "format", "\"xml\"", "log.format is xml, expected text or json"),
    ];
    for (section, key, value, expected) in cases {
        let error = error_in(&format!("[{section}]\n{key} = {value}\n"));
        assert!(error.starts_with(expected), "{section}.{key} = {value}: {error}");
    }
}

#[test]
fn tls_is_two_files_or_a_certificate_of_our_own() {
    use crate::server::TlsSettings;
    let tls = |text: &str| from_file(&format!("[server]\n{text}\n")).map(|settings| settings.server.tls);
    let files = TlsSettings::Files { cert: "c.pem".into(), key: "k.pem".into() };
    assert_eq!(tls("").unwrap(), None);
    assert_eq!(tls("tls_self_signed = true").unwrap(), Some(TlsSettings::SelfSigned));
    assert_eq!(tls("tls_cert = \"c.pem\"\ntls_key = \"k.pem\"").unwrap(), Some(files));
    let error = |text: &str| tls(text).unwrap_err().to_string();
    assert!(error("tls_cert = \"c.pem\"").starts_with("server.tls_key is missing"));
    assert!(error("tls_key = \"k.pem\"").starts_with("server.tls_cert is missing"));
    let both = "tls_cert = \"c.pem\"\ntls_key = \"k.pem\"\ntls_self_signed = true";
    assert!(error(both).starts_with("server.tls_self_signed is true"));
}

#[test]
fn only_a_key_or_insecure_opens_the_server_to_the_network() {
    let exposure = |text: &str| from_file(text).unwrap().check_exposure().map_err(|error| error.code());
    assert_eq!(exposure("[server]\nbind = \"0.0.0.0:80\"\n"), Err("bind_exposed"));
    assert_eq!(exposure("[server]\nbind = \"[::]:80\"\n"), Err("bind_exposed"));
    assert_eq!(exposure("[server]\nbind = \"0.0.0.0:80\"\ninsecure = true\n"), Ok(()));
    assert_eq!(exposure("[server]\nbind = \"0.0.0.0:80\"\napi_key = [\"k\"]\n"), Ok(()));
    assert_eq!(exposure("[server]\nbind = \"localhost:80\"\n"), Ok(()));
    assert_eq!(exposure("[server]\nbind = \"127.8.8.8:80\"\n"), Ok(()));
}

/// Loads settings with this key file, and two tiers beside the default one.
fn with_keys(text: &str) -> Result<Settings, ConfigError> {
    let keys = written(text);
    let path = keys.path.to_str().unwrap();
    let given = format!("[server]\nkey_file = \"{path}\"\n[pool.tiers]\ngold = 4\nsilver = \"2\"\n");
    load(None, &toml::from_str::<Table>(&given).unwrap())
}

#[test]
fn a_key_file_takes_hashes_and_keys_and_keeps_hashes() {
    let hash = "ab".repeat(32);
    let text = format!(
        "[[key]]\nname = \"ann\"\nhash = \"sha256:{hash}\"\ntier = \"gold\"\nmax_sessions = 2\nmax_leases = 1\n\
         [[key]]\nname = \"bob\"\nkey = \"secret\"\n"
    );
    let keys = with_keys(&text).unwrap().server.keys;
    assert_eq!(keys[1].hash, crate::server::hash_key("secret"));
    assert_eq!(keys[0].hash, [0xAB; 32]);
    let weight = |weight| Weight::new(weight).unwrap();
    assert_eq!(keys[0].tier, Tier { name: "gold".into(), weight: weight(4) });
    assert_eq!((keys[0].max_sessions, keys[0].max_leases), (Some(2), NonZero::new(1)));
    assert_eq!(keys[1].tier, Tier { name: "default".into(), weight: weight(1) });
    assert_eq!((keys[1].max_sessions, keys[1].max_leases), (None, None));
}

#[test]
fn a_key_file_with_a_mistake_is_refused_with_what_is_wrong() {
    let error = |text: &str| with_keys(text).unwrap_err().to_string();
    assert!(error("[[key]]\nname = \"a\"\n").contains("either `hash` or `key`"));
    assert!(error("[[key]]\nname = \"a\"\nhash = \"md5:1\"\n").contains("64 hexadecimal digits"));
    assert!(error("[[key]]\nname = \"a\"\nkey = \"k\"\nlimit = 1\n").contains(":4: unknown key `limit`"));
    assert!(error("[[key]]\nname = \"a\"\nkey = \"k\"\nmax_sessions = 0\n").contains("1 or more"));
    assert!(error("[[key]]\nname = \"a\"\nkey = \"k\"\nmax_leases = 0\n").contains("1 or more"));
    let unknown = error("[[key]]\nname = \"a\"\nkey = \"k\"\ntier = \"brass\"\n");
    assert_eq!(
        unknown,
        "key.tier is brass, expected one of the tiers that are set up: default, gold, silver"
    );
    assert!(error("# nothing\n").contains("no [[key]]"));
}

#[test]
fn tiers_of_the_command_line_and_of_the_file_add_up() {
    let file = written("[pool.tiers]\ngold = 4\nsilver = 2\n");
    let keys = written(
        "[[key]]\nname = \"a\"\nkey = \"k\"\ntier = \"gold\"\n\
         [[key]]\nname = \"b\"\nkey = \"l\"\ntier = \"silver\"\n",
    );
    let given = format!("server.key_file = {:?}\npool.tiers.silver = \"3\"\n", keys.path);
    let settings = load(Some(&file.path), &toml::from_str::<Table>(&given).unwrap()).unwrap();
    let weights = settings.server.keys.iter().map(|key| key.tier.weight.get());
    assert_eq!(weights.collect::<Vec<_>>(), [4, 3]);
}

#[cfg(unix)]
#[test]
fn a_key_file_that_others_can_read_gets_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let warnings = |mode: u32| {
        let keys = written("[[key]]\nname = \"a\"\nkey = \"k\"\n");
        std::fs::set_permissions(&keys.path, std::fs::Permissions::from_mode(mode)).unwrap();
        let path = keys.path.to_str().unwrap();
        let given = toml::from_str::<Table>(&format!("[server]\nkey_file = \"{path}\"")).unwrap();
        load(None, &given).unwrap().warnings.len()
    };
    assert_eq!(warnings(0o644), 1);
    assert_eq!(warnings(0o600), 0);
}

#[test]
fn a_lease_that_is_given_back_after_zero_seconds_is_kept_for_ever() {
    for (seconds, expected) in [(0, None), (1, Some(Duration::from_secs(1)))] {
        let settings = from_file(&format!("[pool]\nidle_reclaim_s = {seconds}\n")).unwrap();
        assert_eq!(settings.slots.idle_reclaim, expected);
    }
}

#[test]
fn a_key_or_a_name_that_is_there_twice_is_refused() {
    let twice = "[[key]]\nname = \"a\"\nkey = \"k\"\n[[key]]\nname = \"b\"\nkey = \"k\"\n";
    let error = |text: &str| with_keys(text).unwrap_err().to_string();
    assert_eq!(error(twice), "key.key is that of a and of b, expected a key of its own for each name");
    let named = "[[key]]\nname = \"a\"\nkey = \"k\"\n[[key]]\nname = \"a\"\nkey = \"l\"\n";
    assert_eq!(error(named), "key.name is a twice, expected a name of its own for each key");
    let given = error_in("[server]\napi_key = [\"k\", \"k\"]\n");
    assert!(given.starts_with("key.key is that of key-1 and of key-2"), "{given}");
}

#[test]
fn what_does_not_fit_is_dropped_well_before_a_slow_client_loses_its_connection() {
    let patience = |slow_client: u32| {
        let settings = from_file(&format!("[server]\nslow_client_s = {slow_client}\n")).unwrap();
        settings.server.limits.keeping.patience
    };
    let expected = [(1, 500), (2, 1_000), (5, 2_500), (6, 3_000), (600, 3_000)];
    for (slow_client, ms) in expected {
        assert_eq!(patience(slow_client), Duration::from_millis(ms), "slow_client_s = {slow_client}");
    }
}

#[cfg(unix)]
#[test]
fn a_file_that_others_can_read_is_warned_of_when_there_are_keys_in_it() {
    use std::os::unix::fs::PermissionsExt;
    let warnings = |text: &str, variables: &str| {
        let file = written(text);
        std::fs::set_permissions(&file.path, std::fs::Permissions::from_mode(0o644)).unwrap();
        load(Some(&file.path), &toml::from_str::<Table>(variables).unwrap()).unwrap().warnings.len()
    };
    assert_eq!(warnings("[server]\napi_key = [\"a\"]\n", ""), 1);
    assert_eq!(warnings("[llm]\nurl = \"http://x/v1\"\nkey = \"k\"\n", ""), 1);
    let fallback = "[llm]\nurl = \"http://x/v1\"\n[[llm.fallback]]\nurl = \"http://y/v1\"\nkey = \"k\"\n";
    assert_eq!(warnings(fallback, ""), 1);
    // Keys from elsewhere are not in the file.
    assert_eq!(warnings("[server]\nbind = \"127.0.0.1:1\"\n", "[server]\napi_key = [\"a\"]\n"), 0);
}
