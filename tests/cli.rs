//! The binary as people meet it: what it prints, and how it exits.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// Runs the binary in an empty directory that is also its home, with nothing set but what is given.
struct Bench {
    dir: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a directory can be made") }
    }

    fn run(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_stenopool"))
            .args(arguments)
            .env_clear()
            .env("HOME", self.dir.path())
            .envs(variables.iter().copied())
            .current_dir(self.dir.path())
            .output()
            .expect("the binary runs")
    }

    /// Runs the server with so many sockets handed over, the first of which is its standard input.
    fn serve_at(&self, first: impl Into<Stdio>, sockets: &str, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_stenopool"))
            .arg("serve")
            .args(arguments)
            .env_clear()
            .env("HOME", self.dir.path())
            .envs([("LISTEN_FDS", sockets), ("LISTEN_FDS_FIRST_FD", "0")])
            .stdin(first)
            .current_dir(self.dir.path())
            .output()
            .expect("the binary runs")
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.path().join(name), text).expect("the directory takes files");
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Checks how the binary exited, and that it said `message` and, behind `hint:`, `hint`.
fn assert_fails(output: &Output, code: i32, message: &str, hint: &str) {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.lines().any(|line| line.starts_with("error: ") && line.contains(message)), "{text}");
    assert!(text.lines().any(|line| line.starts_with("hint: ") && line.contains(hint)), "{text}");
}

#[test]
fn the_version_names_commit_and_features() {
    let text = stdout(&Bench::new().run(&["--version"], &[]));
    let expected = format!("stenopool {} (commit ", env!("CARGO_PKG_VERSION"));
    assert!(text.starts_with(&expected) && text.contains(", features "), "{text}");
}

#[test]
fn the_help_shows_variables_and_defaults_but_never_a_key() {
    let text = stdout(&Bench::new().run(&["serve", "--help"], &[("STENOPOOL_API_KEY", "hush-hush")]));
    assert!(text.contains("STENOPOOL_BIND") && text.contains("127.0.0.1:8080"), "{text}");
    assert!(text.contains("STENOPOOL_API_KEY") && !text.contains("hush-hush"), "{text}");
}

#[test]
fn a_flag_nobody_knows_is_a_matter_of_usage() {
    assert_eq!(Bench::new().run(&["serve", "--slot", "2"], &[]).status.code(), Some(2));
    assert_eq!(Bench::new().run(&[], &[]).status.code(), Some(2));
}

#[test]
fn an_address_beyond_loopback_without_a_key_is_refused() {
    let output = Bench::new().run(&["serve", "--bind", "0.0.0.0:0"], &[]);
    assert_fails(&output, 78, "0.0.0.0:0 can be reached from other machines", "--insecure");
}

#[test]
fn a_socket_that_was_handed_over_counts_as_exposed_by_its_own_address() {
    let socket = |address: &str| OwnedFd::from(TcpListener::bind(address).unwrap());
    let output = Bench::new().serve_at(socket("0.0.0.0:0"), "1", &["--bind", "127.0.0.1:0"]);
    assert_fails(&output, 78, "can be reached from other machines", "--insecure");
    // The address of the settings means nothing then; what fails is the next thing.
    let arguments = ["--bind", "0.0.0.0:0", "--model", "no-such-model"];
    assert_fails(
        &Bench::new().serve_at(socket("127.0.0.1:0"), "1", &arguments),
        69,
        "no-such-model",
        "models",
    );
}

#[test]
fn what_is_handed_over_and_cannot_be_served_is_a_matter_of_configuration() {
    let socket = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
    let output = Bench::new().serve_at(socket(), "2", &[]);
    assert_fails(&output, 78, "2 sockets were handed over", "one ListenStream=");
    let output = Bench::new().serve_at(Stdio::null(), "1", &[]);
    assert_fails(&output, 78, "fd 0 is not a socket", "one listening TCP socket");
}

#[test]
fn a_certificate_that_is_not_there_is_a_matter_of_configuration() {
    let arguments = ["serve", "--tls-cert", "/nowhere/cert.pem", "--tls-key", "/nowhere/key.pem"];
    assert_fails(
        &Bench::new().run(&arguments, &[]),
        78,
        "cannot read /nowhere/cert.pem",
        "--tls-self-signed",
    );
}

#[test]
fn an_unknown_key_in_the_file_is_refused_with_its_line() {
    let bench = Bench::new();
    bench.write("here.toml", "[pool]\nslotz = 1\n");
    let output = bench.run(&["serve", "--config", "here.toml"], &[]);
    assert_eq!(output.status.code(), Some(78));
    assert!(stderr(&output).contains("here.toml:2: unknown key `slotz`, expected one of `slots`"));
}

/// The address that `doctor` would listen at.
fn address(bench: &Bench, flag: Option<&str>, variable: Option<&str>, file: Option<&str>) -> String {
    let mut arguments = vec!["doctor", "--json"];
    arguments.extend(flag);
    let mut variables: Vec<(&str, &str)> =
        variable.map(|bind| ("STENOPOOL_BIND", bind)).into_iter().collect();
    if let Some(bind) = file {
        bench.write("settings.toml", &format!("[server]\nbind = \"{bind}\"\n"));
        variables.push(("STENOPOOL_CONFIG", "settings.toml"));
    }
    let report: Value =
        serde_json::from_slice(&bench.run(&arguments, &variables).stdout).expect("a report is JSON");
    detail(&report, "address").1
}

/// What the report finds about `name`, and its details.
fn detail(report: &Value, name: &str) -> (String, String) {
    let checks = report["checks"].as_array().expect("a report lists its checks");
    let check = checks.iter().find(|check| check["name"] == name).expect("it was looked at");
    let text = |key: &str| check[key].as_str().expect("it is a text").to_owned();
    (text("finding"), text("detail"))
}

#[test]
fn a_flag_counts_more_than_a_variable_and_a_variable_more_than_the_file() {
    let bench = Bench::new();
    let (flag, variable, file) = (Some("--bind=127.0.0.2:0"), Some("127.0.0.3:0"), Some("127.0.0.4:0"));
    assert!(address(&bench, flag, variable, file).starts_with("127.0.0.2"));
    assert!(address(&bench, None, variable, file).starts_with("127.0.0.3"));
    assert!(address(&bench, None, None, file).starts_with("127.0.0.4"));
}

#[test]
fn an_address_in_use_is_told_before_a_model_is_looked_for() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let bind = taken.local_addr().unwrap().to_string();
    let output = Bench::new().run(&["serve", "--bind", &bind, "--model", "no-such-model"], &[]);
    assert_fails(&output, 1, &format!("cannot listen on {bind}"), "choose another address with --bind");
}

#[test]
fn a_model_that_is_nowhere_exits_69_with_a_way_to_get_one() {
    let output = Bench::new().run(&["serve", "--bind", "127.0.0.1:0", "--model", "no-such-model"], &[]);
    assert_fails(&output, 69, "no-such-model", "stenopool models");
}

#[test]
fn the_doctor_names_what_is_missing_and_what_to_do() {
    let output = Bench::new().run(&["doctor", "--json", "--bind", "127.0.0.1:0"], &[]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ready"], false);
    for name in ["onnx_runtime", "silero"] {
        assert_eq!(detail(&report, name).0, "missing", "{report}");
    }
    assert_eq!(detail(&report, "address").0, "good");
}

#[test]
fn the_doctor_finds_the_voice_detector_where_it_is_told_to_look() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    assert!(models.join("libonnxruntime.so").exists(), "ONNX Runtime is missing: run `make setup`");
    let models = models.to_str().unwrap();
    let output =
        Bench::new().run(&["doctor", "--json", "--models-dir", models, "--bind", "127.0.0.1:0"], &[]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(detail(&report, "onnx_runtime"), ("good".into(), format!("{models}/libonnxruntime.so")));
    assert_eq!(detail(&report, "silero").0, "good");
}

#[test]
fn a_gpu_is_refused_by_a_build_that_cannot_use_it_before_anything_is_loaded() {
    for command in [&["serve", "--bind", "127.0.0.1:0"][..], &["transcribe", "speech.wav"]] {
        let output = Bench::new().run(&[command, &["--device", "cuda:0"]].concat(), &[]);
        assert_fails(
            &output,
            69,
            "this build decodes on the CPU and cannot use the device cuda:0",
            "--device cpu",
        );
    }
    let output = Bench::new().run(&["serve", "--device", "gpu"], &[]);
    assert_fails(&output, 78, "gpu.device is gpu", "flag");
}

#[test]
fn a_reserve_larger_than_the_memory_leaves_no_room_for_a_model() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let models = models.to_str().unwrap();
    let reserved = ["--reserve-mib", "1048576", "--models-dir", models, "--model", "demo"];
    let output = Bench::new().run(&[&["transcribe", "speech.wav"][..], &reserved].concat(), &[]);
    assert_fails(&output, 69, "model needs", "gpu.reserve_mib");
}

#[test]
fn numbers_beyond_all_limits_are_a_matter_of_configuration() {
    let output = Bench::new().run(&["serve", "--upload-limit-mib", "18446744073709551615"], &[]);
    assert_fails(&output, 78, "too large", "flag");
}

/// Runs a command whose output nobody reads.
fn unread(arguments: &[&str]) -> Output {
    let (reader, writer) = std::io::pipe().expect("a pipe can be made");
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_stenopool"));
    command.args(arguments).stdout(writer).output().expect("the binary runs")
}

#[test]
fn output_that_nobody_reads_is_no_reason_to_panic() {
    for arguments in [["models", "list"], ["models", "path"], ["doctor", "--json"]] {
        let output = unread(&arguments);
        assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(1), ""), "{arguments:?}");
    }
}

#[test]
fn who_listens_without_a_server_is_told_to_start_one() {
    let recording = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings/eval/seen-voice-000.wav");
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let url = format!("http://{free}");
    let recording = recording.to_str().unwrap();
    let output = Bench::new().run(&["listen", "--url", &url, "--file", recording], &[]);
    assert_fails(&output, 1, "cannot reach", "stenopool serve");
    let output = Bench::new().run(&["listen", "--file", "no-such.wav"], &[]);
    assert_fails(&output, 1, "cannot play no-such.wav", "audio file");
}

#[test]
fn who_listens_without_a_recorder_is_told_what_to_install() {
    let output = Bench::new().run(&["listen"], &[("PATH", "/nowhere")]);
    assert_fails(&output, 69, "no program here that records", "alsa-utils");
}

#[test]
fn a_bench_measures_what_the_demo_takes_and_its_reports_can_be_put_together() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let recordings = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings/eval");
    let (models, recordings) = (models.to_str().unwrap(), recordings.to_str().unwrap());
    let bench = Bench::new();
    let run = |arguments: &[&str], variables: &[(&str, &str)]| {
        let told = ["bench", "--device", "cpu", "--models-dir", models, "--model", "demo"];
        bench.run(&[&told[..], arguments].concat(), variables)
    };
    // What the machine's memory does meanwhile may be anything: what held is not asked here.
    let short = ["--seconds", "0.1", "--max-slots", "2", "--json", "demo.json"];
    let output = run(&short, &[("STENOPOOL_DEBUG_MAX_TOKENS", "4")]);
    let text = std::fs::read_to_string(bench.dir.path().join("demo.json")).expect("a report was written");
    let report: Value = serde_json::from_str(&text).expect("a report is JSON");
    assert_eq!(report["settings"]["max_tokens"], 4, "{text}");
    let slots: Vec<_> = report["points"].as_array().unwrap().iter().map(|point| &point["slots"]).collect();
    assert_eq!(slots, [1, 2], "{text}");
    assert!(report["memory"]["slot_bytes"].as_u64().unwrap() > 1 << 20, "{text}");
    assert_eq!(report["stages"].as_array().unwrap().len(), 2, "{text}");
    assert_eq!(output.status.success(), !text.contains("\"passed\": false"), "{}", stderr(&output));

    let output = run(&["--words", recordings, "--json", "words.json"], &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    let report: Value =
        serde_json::from_slice(&std::fs::read(bench.dir.path().join("words.json")).unwrap()).unwrap();
    let wer = report["words"][0]["wer"].as_f64().unwrap();
    // Among them are lists and digits that the demo is known to be bad at.
    assert!(report["words"][0]["device"] == "cpu" && (0.05..0.4).contains(&wer), "{}", report["words"]);
    let output = run(&["--words", recordings, "--compare", "cpu"], &[]);
    assert_fails(&output, 2, "cpu is the device that is measured already", "--device cuda:0");

    let merged = ["--merge", "demo.json", "words.json", "--failed", "tiny: no disk", "--json", "."];
    let output = run(&merged, &[]);
    assert_eq!(output.status.code(), Some(1), "what failed elsewhere is not forgotten");
    assert!(stdout(&output).contains("FAILED tiny: no disk"), "{}", stdout(&output));
    assert!(stderr(&output).contains("written to ./gpu-check-cpu-"), "{}", stderr(&output));
    let output = run(&["--words", recordings, "--debug-max-tokens", "4"], &[]);
    assert_fails(&output, 2, "no word error", "--debug-max-tokens");
    assert!(stdout(&run(&["--table"], &[])).contains("gpu-check.sh run"));
}

/// A server of the binary, ended with the test.
struct Serving {
    process: Child,
    address: String,
}

impl Serving {
    /// Starts on a free port, with a standard error that nobody reads, and waits for the banner.
    fn unread() -> Self {
        let (reader, writer) = std::io::pipe().expect("a pipe can be made");
        drop(reader);
        let process = Command::new(env!("CARGO_BIN_EXE_stenopool"))
            .args(["serve", "--bind", "127.0.0.1:0", "--model", "demo", "--slots", "1"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdout(Stdio::piped())
            .stderr(writer)
            .spawn();
        let mut process = process.expect("the binary runs");
        let banner = BufReader::new(process.stdout.as_mut().expect("it is piped"));
        let url = |line: String| Some(line.split_once("http://")?.1.to_owned());
        let address = banner.lines().map_while(Result::ok).find_map(url);
        Self { address: address.expect("the banner names the address: is `make setup` done?"), process }
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_server_whose_log_nobody_reads_serves_and_stops_all_the_same() {
    let mut server = Serving::unread();
    assert!(server.get("/healthz").starts_with("HTTP/1.1 200"));
    let pid = server.process.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
    assert_eq!(server.process.wait().expect("it ends").code(), Some(0));
}

#[test]
fn the_health_of_a_server_is_asked_for_without_curl() {
    let server = Serving::unread();
    let bench = Bench::new();
    let url = format!("http://{}", server.address);
    assert_eq!(stdout(&bench.run(&["health", "--url", &url], &[])), "ok\n");
    // Where nothing is said, the server with the same settings is meant.
    assert_eq!(stdout(&bench.run(&["health", "--ready"], &[("STENOPOOL_BIND", &server.address)])), "ready\n");
    drop(server);
    assert_fails(&bench.run(&["health", "--url", &url], &[]), 1, "cannot reach http://127.0.0.1:", "its log");
}

/// What `health` says to these settings, when there is no such server: they are understood first.
fn assert_understood(settings: &str) {
    let bench = Bench::new();
    bench.write("settings.toml", settings);
    let output = bench.run(&["health", "--config", "settings.toml", "--url", "http://127.0.0.1:1"], &[]);
    assert_fails(&output, 1, "cannot reach http://127.0.0.1:1", "its log");
}

#[test]
fn the_settings_of_an_installed_server_are_understood() {
    let settings = include_str!("../deploy/stenopool.toml");
    assert_understood(settings);
    // Also those that are suggested in comments, but for the key file, which would have to be there.
    let suggested: String =
        settings.lines().filter(|line| !line.contains("key_file")).map(suggestion).collect();
    assert!(suggested.contains("\nreserve_mib = "), "{suggested}");
    assert_understood(&suggested);
}

/// A line, without the `#` before it if a setting stands behind it.
fn suggestion(line: &str) -> String {
    let bare = line.strip_prefix("# ").filter(|rest| rest.starts_with('[') || rest.contains(" = "));
    format!("{}\n", bare.unwrap_or(line))
}
