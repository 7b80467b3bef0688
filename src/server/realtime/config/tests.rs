//! Updates as clients send them, and what is in force after them.

use super::*;
use crate::asr::EncoderWindow;
use crate::llm::Echo;
use crate::session::Assistant;
use crate::tts::fake::FakeStudio;
use std::sync::Arc;
use std::time::Duration;

fn assistant() -> Assistant {
    Assistant { model: Arc::new(Echo), studio: Some(Arc::new(FakeStudio::default())) }
}

/// As a server gives it to those who say nothing.
fn fresh(kind: SessionType) -> SessionConfig {
    SessionConfig::new(kind, "demo", &ServerSettings::default(), &assistant())
}

fn names() -> ModelNames {
    ModelNames::new("demo".into(), vec!["whisper-1".into()])
}

fn model(multilingual: bool) -> ModelInfo {
    ModelInfo { name: "demo".into(), multilingual, window: EncoderWindow::Fit }
}

/// Applies updates in order to a fresh transcription session.
fn after(updates: &[Value]) -> Result<SessionConfig, Fault> {
    let fresh = fresh(SessionType::Transcription);
    updates.iter().try_fold(fresh, |config, update| update_of(&config, update, false))
}

fn update_of(config: &SessionConfig, update: &Value, has_audio: bool) -> Result<SessionConfig, Fault> {
    let lease = LeaseTerms::of(&ServerSettings::default());
    config.updated(update, Bounds { models: &names(), model: &model(false), lease, has_audio })
}

/// The session's `audio.input` after updates of it.
fn input_after(updates: &[Value]) -> Value {
    let updates: Vec<Value> = updates.iter().map(|input| json!({ "audio": { "input": input } })).collect();
    after(&updates).expect("the updates are valid").shown("sess_1", 0, "demo")["audio"]["input"].take()
}

#[test]
fn fresh_sessions_are_shown_with_all_their_defaults() {
    let transcription = fresh(SessionType::Transcription);
    insta::assert_json_snapshot!(
        "transcription_session",
        transcription.shown("sess_1", 1_800_000_000, "demo")
    );
    let realtime = fresh(SessionType::Realtime);
    insta::assert_json_snapshot!("realtime_session", realtime.shown("sess_1", 1_800_000_000, "demo"));
}

/// `{"a": {"b": value}}` for `a.b`.
fn nested(path: &str, value: &Value) -> Value {
    path.rsplit('.').fold(value.clone(), |value, key| json!({ key: value }))
}

/// What stands at `a.b` in a session after updates; `null` when nothing does.
fn shown_at(path: &str, updates: &[Value]) -> Value {
    let shown = after(updates).expect("the updates are valid").shown("sess_1", 0, "demo");
    shown.pointer(&format!("/{}", path.replace('.', "/"))).cloned().unwrap_or_default()
}

#[test]
fn omitted_fields_keep_their_values_and_null_clears_them() {
    let table = [
        // The field, what is sent, what is shown then, and what is shown when it is cleared.
        ("include", json!([LOGPROBS]), json!([LOGPROBS]), Value::Null),
        ("pool.lease", json!("session"), json!("session"), json!("utterance")),
        ("pool.resume", json!(false), json!(false), json!(false)),
        ("audio.input.format.type", json!("audio/pcmu"), json!("audio/pcmu"), json!("audio/pcm")),
        ("audio.input.format.rate", json!(16_000), json!(16_000), json!(24_000)),
        ("audio.input.transcription.model", json!("whisper-1"), json!("demo"), json!("demo")),
        ("audio.input.transcription.language", json!("en-GB"), json!("en"), Value::Null),
        ("audio.input.transcription.prompt", json!("lights"), json!("lights"), Value::Null),
        ("audio.input.transcription.keywords", json!(["Ada", " "]), json!(["Ada"]), Value::Null),
        ("audio.input.transcription.languages", json!(["en-GB", "de"]), json!(["en"]), Value::Null),
        ("audio.input.noise_reduction.type", json!("far_field"), json!("far_field"), Value::Null),
        (
            "audio.input.noise_reduction",
            json!({ "type": "near_field" }),
            json!({ "type": "near_field" }),
            Value::Null,
        ),
        (
            "audio.input.turn_detection.type",
            json!("semantic_vad"),
            json!("semantic_vad"),
            json!("server_vad"),
        ),
        ("audio.input.turn_detection.threshold", json!(0.7), json!(0.7), json!(0.5)),
        ("audio.input.turn_detection.prefix_padding_ms", json!(100), json!(100), json!(300)),
        ("audio.input.turn_detection.silence_duration_ms", json!(250.0), json!(250), json!(500)),
        ("audio.input.turn_detection.idle_timeout_ms", json!(5_000), json!(5_000), Value::Null),
        ("audio.input.turn_detection.create_response", json!(false), json!(false), json!(true)),
        ("audio.input.turn_detection.interrupt_response", json!(false), json!(false), json!(true)),
    ];
    for (path, sent, shown, cleared) in table {
        let set = nested(path, &sent);
        assert_eq!(shown_at(path, std::slice::from_ref(&set)), shown, "{path} set");
        for other in ["", "audio", "audio.input", "audio.input.transcription", "audio.input.turn_detection"] {
            let omitted = if other.is_empty() { json!({}) } else { nested(other, &json!({})) };
            assert_eq!(shown_at(path, &[set.clone(), omitted]), shown, "{path} omitted in {other}");
        }
        assert_eq!(shown_at(path, &[set, nested(path, &Value::Null)]), cleared, "{path} cleared");
    }
    // Eagerness is of another kind of detection than the default.
    let (path, kind) =
        ("audio.input.turn_detection.eagerness", json!({ "type": "semantic_vad", "eagerness": "low" }));
    let set = nested("audio.input.turn_detection", &kind);
    assert_eq!(
        shown_at(path, &[set.clone(), nested("audio.input.turn_detection", &json!({}))]),
        json!("low")
    );
    assert_eq!(shown_at(path, &[set.clone(), nested(path, &Value::Null)]), json!("auto"));
    let manual = [set, nested("audio.input.turn_detection", &Value::Null), json!({})];
    assert_eq!(shown_at("audio.input.turn_detection", &manual), Value::Null);
}

#[test]
fn null_clears_everything_inside() {
    let set = json!({ "audio": { "input": {
        "format": { "type": "audio/pcm", "rate": 16_000 },
        "transcription": { "language": "en", "prompt": "lights", "keywords": ["Ada"] },
        "turn_detection": { "type": "server_vad", "threshold": 0.7, "idle_timeout_ms": 6_000 },
        "noise_reduction": { "type": "near_field" },
    } } });
    let fresh = shown_at("audio.input", &[]);
    assert_ne!(shown_at("audio.input", std::slice::from_ref(&set)), fresh);
    for path in ["audio", "audio.input"] {
        assert_eq!(shown_at("audio.input", &[set.clone(), nested(path, &Value::Null)]), fresh, "{path}");
    }
    let format = [set.clone(), nested("audio.input.format", &Value::Null)];
    assert_eq!(shown_at("audio.input.format", &format), json!({ "type": "audio/pcm", "rate": 24_000 }));
    let fault = after(&[set, nested("audio.input.transcription", &Value::Null)]).expect_err("it transcribes");
    assert_eq!(fault.param.as_deref(), Some("session.audio.input.transcription"));
}

#[test]
fn what_other_servers_know_is_not_looked_at() {
    let strange = json!({
        "instructions": "be kind", "tools": [], "tracing": "auto", "output_modalities": ["text"],
        "audio": {
            "output": { "voice": "marin" },
            "input": {
                "transcription": { "delay": "minimal" },
                "turn_detection": { "type": "server_vad", "eagerness": 7, "mood": null },
            },
        },
    });
    assert_eq!(after(&[strange]), after(&[]));
}

#[test]
fn keywords_and_languages_reach_the_decoder() {
    let options = |transcription: Value| {
        let update = json!({ "audio": { "input": { "transcription": transcription } } });
        let multilingual = Bounds {
            models: &names(),
            model: &model(true),
            lease: LeaseTerms::of(&ServerSettings::default()),
            has_audio: false,
        };
        let fresh = fresh(SessionType::Transcription);
        let config = fresh.updated(&update, multilingual).expect("the update is valid");
        let decode = config.settings().decode.expect("it reads");
        (decode.language, decode.prompt)
    };
    let text = |text: &str| Some(text.to_owned());
    let table = [
        (json!({}), (None, None)),
        (json!({ "prompt": " " }), (None, None)),
        (json!({ "prompt": "Turn it on." }), (None, text("Turn it on."))),
        (json!({ "keywords": ["Ada", "Bo"] }), (None, text("Ada, Bo"))),
        (json!({ "keywords": ["Ada", "Bo"], "prompt": "Lamps" }), (None, text("Ada, Bo. Lamps"))),
        (json!({ "languages": ["de"] }), (text("de"), None)),
        (json!({ "languages": ["de", "fr"] }), (None, None)),
        (json!({ "languages": ["de"], "language": "fr" }), (text("fr"), None)),
        (json!({ "language": "" }), (None, None)),
    ];
    for (transcription, expected) in table {
        let told = transcription.to_string();
        assert_eq!(options(transcription), expected, "{told}");
    }
}

#[test]
fn a_partial_turn_detection_keeps_the_rest_and_another_kind_begins_anew() {
    let threshold = json!({ "turn_detection": { "type": "server_vad", "threshold": 0.7 } });
    let padding = json!({ "turn_detection": { "prefix_padding_ms": 100 } });
    let semantic = json!({ "turn_detection": { "type": "semantic_vad", "eagerness": "high" } });
    let server = json!({ "turn_detection": { "type": "server_vad" } });
    let partial = input_after(&[threshold.clone(), padding]);
    assert_eq!(partial["turn_detection"]["threshold"], json!(0.7));
    assert_eq!(partial["turn_detection"]["prefix_padding_ms"], json!(100));
    let anew = input_after(&[threshold, semantic, server]);
    assert_eq!(anew["turn_detection"]["threshold"], json!(0.5));
}

#[test]
fn wrong_values_are_refused_under_their_own_names() {
    let input = |input: Value| json!({ "audio": { "input": input } });
    let turn_detection = |field: &str, value: Value| {
        input(json!({ "turn_detection": { "type": "server_vad", field: value } }))
    };
    let table = [
        (json!(7), "invalid_value", "session"),
        (json!({ "type": "video" }), "invalid_value", "session.type"),
        (json!({ "model": "parrot" }), "model_not_found", "session.model"),
        (json!({ "include": ["everything"] }), "invalid_value", "session.include[0]"),
        (json!({ "audio": 7 }), "invalid_value", "session.audio"),
        (input(json!(7)), "invalid_value", "session.audio.input"),
        (input(json!({ "format": "pcm16" })), "invalid_value", "session.audio.input.format"),
        (
            input(json!({ "format": { "type": "audio/opus" } })),
            "invalid_value",
            "session.audio.input.format.type",
        ),
        (
            input(json!({ "format": { "type": "audio/pcm", "rate": 7_999 } })),
            "invalid_value",
            "session.audio.input.format.rate",
        ),
        (
            input(json!({ "format": { "type": "audio/pcm", "rate": 48_001 } })),
            "invalid_value",
            "session.audio.input.format.rate",
        ),
        (input(json!({ "transcription": null })), "invalid_value", "session.audio.input.transcription"),
        (
            input(json!({ "transcription": { "model": "parrot" } })),
            "model_not_found",
            "session.audio.input.transcription.model",
        ),
        (
            input(json!({ "transcription": { "language": "de" } })),
            "unsupported_value",
            "session.audio.input.transcription.language",
        ),
        (
            input(json!({ "transcription": { "language": "English, please" } })),
            "invalid_value",
            "session.audio.input.transcription.language",
        ),
        (
            input(json!({ "transcription": { "prompt": 7 } })),
            "invalid_value",
            "session.audio.input.transcription.prompt",
        ),
        (turn_detection("type", json!("ear")), "invalid_value", "session.audio.input.turn_detection.type"),
        (
            turn_detection("threshold", json!(1.1)),
            "invalid_value",
            "session.audio.input.turn_detection.threshold",
        ),
        (
            turn_detection("silence_duration_ms", json!(-1)),
            "invalid_value",
            "session.audio.input.turn_detection.silence_duration_ms",
        ),
        (
            turn_detection("prefix_padding_ms", json!("300")),
            "invalid_value",
            "session.audio.input.turn_detection.prefix_padding_ms",
        ),
        (
            turn_detection("idle_timeout_ms", json!(4_999)),
            "invalid_value",
            "session.audio.input.turn_detection.idle_timeout_ms",
        ),
        (
            turn_detection("idle_timeout_ms", json!(30_001)),
            "invalid_value",
            "session.audio.input.turn_detection.idle_timeout_ms",
        ),
        (
            input(json!({ "turn_detection": { "type": "semantic_vad", "eagerness": "huge" } })),
            "invalid_value",
            "session.audio.input.turn_detection.eagerness",
        ),
        (
            input(json!({ "transcription": { "keywords": ["Ada", 7] } })),
            "invalid_value",
            "session.audio.input.transcription.keywords[1]",
        ),
        (
            input(json!({ "transcription": { "languages": ["de", "fr"] } })),
            "unsupported_value",
            "session.audio.input.transcription.languages[0]",
        ),
        (json!({ "type": null }), "invalid_value", "session.type"),
        (
            input(json!({ "noise_reduction": { "type": "silence" } })),
            "invalid_value",
            "session.audio.input.noise_reduction.type",
        ),
    ];
    for (update, code, param) in table {
        let fault = after(std::slice::from_ref(&update)).expect_err("the update is wrong");
        assert_eq!((fault.code, fault.param.as_deref()), (code, Some(param)), "{update}");
    }
}

#[test]
fn an_unknown_model_is_refused_with_the_known_ones() {
    let fault = after(&[json!({ "model": "parrot" })]).expect_err("there is no such model");
    assert!(fault.message.contains("demo") && fault.message.contains("whisper-1"), "{}", fault.message);
}

#[test]
fn another_language_needs_a_multilingual_model() {
    let german = json!({ "audio": { "input": { "transcription": { "language": "de" } } } });
    let fresh = fresh(SessionType::Transcription);
    let bounds = Bounds {
        models: &names(),
        model: &model(true),
        lease: LeaseTerms::of(&ServerSettings::default()),
        has_audio: false,
    };
    let config = fresh.updated(&german, bounds).expect("the model knows it");
    assert_eq!(config.settings().decode.expect("it reads").language.as_deref(), Some("de"));
}

#[test]
fn the_type_may_change_until_the_first_audio() {
    let fresh = fresh(SessionType::Realtime);
    let transcription = json!({ "type": "transcription" });
    let config = update_of(&fresh, &transcription, false).expect("no audio came yet");
    assert_eq!(config.kind, SessionType::Transcription);
    assert_eq!(update_of(&fresh, &transcription, true).expect_err("audio came").code, "session_type_fixed");
    assert!(update_of(&fresh, &json!({ "type": "realtime" }), true).is_ok(), "it is no change");
}

#[test]
fn a_conversation_can_go_without_transcripts_and_a_transcription_cannot() {
    let off = json!({ "audio": { "input": { "transcription": null } } });
    let fresh = fresh(SessionType::Realtime);
    let silent = update_of(&fresh, &off, false).expect("a conversation can");
    assert!(!silent.with_transcripts() && silent.settings().decode.is_some(), "the model reads all the same");
    let transcription =
        update_of(&silent, &json!({ "type": "transcription" }), false).expect("it is allowed");
    assert!(transcription.settings().decode.is_some());
}

#[test]
fn betas_flat_sessions_mean_the_same() {
    let flat = json!({
        "input_audio_format": "g711_ulaw",
        "input_audio_transcription": { "model": "whisper-1", "language": "en" },
        "input_audio_noise_reduction": { "type": "far_field" },
        "turn_detection": { "type": "server_vad", "threshold": 0.6 },
    });
    let nested = json!({ "audio": { "input": {
        "format": { "type": "audio/pcmu" },
        "transcription": { "model": "whisper-1", "language": "en" },
        "noise_reduction": { "type": "far_field" },
        "turn_detection": { "type": "server_vad", "threshold": 0.6 },
    } } });
    assert_eq!(after(&[flat]), after(&[nested]));
    let wrong = after(&[json!({ "input_audio_format": "opus" })]).expect_err("there is no such format");
    assert_eq!(wrong.param.as_deref(), Some("session.audio.input.format.type"));
}

#[test]
fn turn_detection_reaches_the_endpointer() {
    let settings = |turn_detection: Value| {
        let update = json!({ "audio": { "input": { "turn_detection": turn_detection } } });
        after(&[update]).expect("the update is valid").settings().endpoint
    };
    assert!(!settings(Value::Null).automatic);
    let eager = settings(json!({ "type": "semantic_vad", "eagerness": "high" }));
    assert_eq!((eager.automatic, eager.end_silence), (true, Duration::from_millis(500)));
    let patient =
        settings(json!({ "type": "server_vad", "silence_duration_ms": 900, "prefix_padding_ms": 50 }));
    assert_eq!(
        (patient.end_silence, patient.prefix),
        (Duration::from_millis(900), Duration::from_millis(50))
    );
}

#[test]
fn patience_and_idle_timeouts_come_from_the_kind_of_detection() {
    let read = |turn_detection: Value| {
        let update = json!({ "audio": { "input": { "turn_detection": turn_detection } } });
        let config = after(&[update]).expect("the update is valid");
        let patience = config.turn_detection.as_ref().map(TurnDetection::patience);
        (patience, TurnDetection::idle_timeout(config.turn_detection.as_ref()))
    };
    let (millis, semantic) = (
        Duration::from_millis,
        |eagerness| json!({ "type": "semantic_vad", "eagerness": eagerness, "idle_timeout_ms": 9_000 }),
    );
    let table = [
        (Value::Null, (None, None)),
        (json!({ "type": "server_vad" }), (Some(Patience::server_vad(millis(500))), None)),
        (
            json!({ "type": "server_vad", "silence_duration_ms": 200, "idle_timeout_ms": 30_000 }),
            (Some(Patience::server_vad(millis(200))), Some(millis(30_000))),
        ),
        (semantic("low"), (Some(Patience::low()), None)),
        (semantic("medium"), (Some(Patience::medium()), None)),
        (semantic("high"), (Some(Patience::high()), None)),
        (semantic("auto"), (Some(Patience::medium()), None)),
    ];
    for (turn_detection, expected) in table {
        let told = turn_detection.to_string();
        assert_eq!(read(turn_detection), expected, "{told}");
    }
}

#[test]
fn the_servers_own_endpoints_hold_where_a_client_says_nothing() {
    let server = EndpointSettings {
        threshold: 0.4,
        end_silence: Duration::from_millis(700),
        min_speech: Duration::from_millis(64),
        ..EndpointSettings::default()
    };
    let settings = ServerSettings { endpoint: server.clone(), ..ServerSettings::default() };
    let fresh = SessionConfig::new(SessionType::Transcription, "demo", &settings, &assistant());
    assert_eq!(fresh.settings().endpoint, server);
    let shown = fresh.shown("sess_1", 0, "demo");
    assert_eq!(shown["audio"]["input"]["turn_detection"]["threshold"], json!(0.4));
    let padding = json!({ "audio": { "input": { "turn_detection": { "prefix_padding_ms": 100 } } } });
    let prefix = Duration::from_millis(100);
    let updated = update_of(&fresh, &padding, false).unwrap().settings().endpoint;
    assert_eq!(updated, EndpointSettings { prefix, ..server });
}

/// The lease after updates of `pool` on a server with these terms, as it is shown and as it is meant.
fn lease_after(default: LeaseScope, switching: bool, updates: &[Value]) -> Result<LeaseScope, Fault> {
    let settings = ServerSettings { lease: default, lease_switching: switching, ..ServerSettings::default() };
    let (names, model, lease) = (names(), model(false), LeaseTerms::of(&settings));
    let mut config = SessionConfig::new(SessionType::Realtime, "demo", &settings, &assistant());
    for pool in updates {
        let bounds = Bounds { models: &names, model: &model, lease, has_audio: true };
        config = config.updated(&json!({ "pool": pool }), bounds)?;
    }
    let lease = config.settings().lease;
    let shown = json!({ "lease": lease.name(), "resume": false });
    assert_eq!(config.shown("sess_1", 0, "demo")["pool"], shown);
    Ok(lease)
}

#[test]
fn a_lease_is_kept_as_long_as_the_server_says_unless_the_client_says_otherwise() {
    use LeaseScope::{Session, Utterance};
    let (utterance, session) =
        (json!({ "lease": "utterance" }), json!({ "lease": "session", "resume": false }));
    let cases = [
        (Utterance, vec![], Utterance),
        (Session, vec![], Session),
        (Utterance, vec![session.clone()], Session),
        (Session, vec![utterance.clone()], Utterance),
        (Utterance, vec![session.clone(), utterance.clone()], Utterance),
        (Utterance, vec![session.clone(), json!({ "resume": false })], Session),
        (Utterance, vec![session.clone(), json!({ "lease": null })], Utterance),
        (Session, vec![utterance, Value::Null], Session),
    ];
    for (default, updates, expected) in cases {
        assert_eq!(lease_after(default, true, &updates), Ok(expected), "{default:?} {updates:?}");
    }
}

#[test]
fn a_server_that_fixes_its_leases_says_which_it_gives() {
    let ask = |lease: &str| lease_after(LeaseScope::Utterance, false, &[json!({ "lease": lease })]);
    assert_eq!(ask("utterance"), Ok(LeaseScope::Utterance));
    let fault = ask("session").expect_err("it is fixed");
    assert_eq!((fault.code, fault.param.as_deref()), ("lease_fixed", Some("session.pool.lease")));
    assert!(fault.message.contains("for \"utterance\" only"), "{}", fault.message);
}

#[test]
fn what_the_pool_cannot_do_yet_is_refused() {
    let answer =
        |pool: Value| after(&[json!({ "pool": pool })]).err().map(|fault| (fault.code, fault.param.unwrap()));
    let cases = [
        (json!({ "lease": "forever" }), "invalid_value", "session.pool.lease"),
        (json!({ "resume": true }), "unsupported_value", "session.pool.resume"),
        (json!({ "resume": "yes" }), "invalid_value", "session.pool.resume"),
        (json!(7), "invalid_value", "session.pool"),
        (json!({ "leases": "session" }), "unknown_field", "session.pool"),
    ];
    for (pool, code, param) in cases {
        assert_eq!(answer(pool), Some((code, param.to_owned())));
    }
}
