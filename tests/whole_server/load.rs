//! A small load, by the command that makes large ones: no leak, no loss, no error.

use super::server::Server;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// The command, with the recordings that the repository has.
fn loadtest(url: &str) -> Command {
    kind_of_loadtest(&[], url)
}

/// The same for a kind of it, as in `knee`.
fn kind_of_loadtest(kind: &[&str], url: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stenopool"));
    let recordings = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings/eval");
    command.arg("loadtest").args(kind).args(["--url", url, "--json", "-", "--audio"]).arg(recordings);
    command
}

fn report(output: &Output) -> Value {
    let told = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {told}"))
}

fn first_error(output: &Output) -> String {
    let told = String::from_utf8_lossy(&output.stderr);
    told.lines().find(|line| line.starts_with("error: ")).unwrap_or_default().to_owned()
}

#[test]
fn eight_people_who_talk_at_once_each_get_their_own_words_and_all_of_them() {
    let server = Server::start(&["--slots", "2"]);
    for protocol in ["realtime", "rest"] {
        let mut command = loadtest(&format!("http://{}", server.address));
        command.args(["--clients=8", "--duration=8", "--duty=0.5", "--protocol", protocol]);
        let output = command.output().expect("the binary starts");
        let report = report(&output);
        assert_eq!(report["clients"], 8, "{protocol}");
        for nothing in ["leaks", "lost_utterances", "rejected"] {
            assert_eq!(report[nothing], 0, "{protocol}: {nothing} in {report:#}");
        }
        assert_eq!(report["errors"], Value::Object(serde_json::Map::default()), "{protocol}");
        assert!(report["finals"].as_u64() >= Some(8), "{protocol}: everybody has said something: {report:#}");
        assert!(report["wer"].as_f64().is_some_and(|wer| wer < 0.3), "{protocol}: {report:#}");
    }
}

#[test]
fn people_who_say_nothing_lose_nothing_of_it() {
    let server = Server::start(&["--slots", "1"]);
    for noise in ["digital", "room"] {
        let mut command = kind_of_loadtest(&["idle"], &format!("http://{}", server.address));
        command.args(["--clients=20", "--duration=3", "--noise", noise]);
        let output = command.output().expect("the binary starts");
        let report = report(&output);
        assert_eq!((&report["connected"], &report["texts"]), (&20.into(), &20.into()), "{noise}: {report:#}");
        assert_eq!(
            (&report["misplaced"], &report["phantoms"]),
            (&0.into(), &0.into()),
            "{noise}: {report:#}"
        );
        assert!(report["cpu_cores_per_100"].is_f64(), "{noise}: {report:#}");
        assert!(output.status.success(), "{noise}: {}", first_error(&output));
    }
}

#[test]
fn who_speaks_without_pause_is_understood_turn_by_turn() {
    let server = Server::start(&["--slots", "1"]);
    let mut command = loadtest(&format!("http://{}", server.address));
    let output =
        command.args(["--clients=1", "--duration=8", "--duty=1"]).output().expect("the binary starts");
    let report = report(&output);
    assert!(report["turns"].as_u64() >= Some(2) && report["lost_utterances"] == 0, "{report:#}");
    let speech = report["audio_seconds"].as_f64().expect("it is told");
    assert!(speech > 0.6 * report["duration_s"].as_f64().expect("it is told"), "{report:#}");
    assert!(report["server"]["final_decodes"].as_u64() >= report["turns"].as_u64(), "{report:#}");
}

#[test]
fn a_server_that_is_not_there_is_told_in_one_line() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = free.local_addr().expect("it is bound");
    drop(free);
    for kind in [&[][..], &["knee"], &["soak"], &["idle"]] {
        let output =
            kind_of_loadtest(kind, &format!("http://{address}")).output().expect("the binary starts");
        assert_eq!(output.status.code(), Some(1));
        assert!(first_error(&output).contains("cannot reach"), "{kind:?}: {}", first_error(&output));
        assert!(output.stdout.is_empty(), "{kind:?}");
    }
}

#[test]
fn a_server_that_speaks_something_else_is_told_in_one_line() {
    let server = Server::start(&["--slots", "1"]);
    let mut command = loadtest(&format!("http://{}", server.address));
    let output = command.args(["--protocol", "whisperlive"]).output().expect("the binary starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(first_error(&output).contains("does not speak whisperlive"), "{}", first_error(&output));
}

#[test]
fn what_was_measured_before_the_server_died_is_kept() {
    let server = Server::start(&["--slots", "1"]);
    let mut command = loadtest(&format!("http://{}", server.address));
    command.args(["--clients=3", "--duration=600", "--ramp=0", "--duty=0.6", "--patience=5"]);
    let mut running =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    wait_for_texts(&mut running);
    drop(server);
    let output = running.wait_with_output().expect("it is our child");
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).expect("what there is is told");
    assert!(report["finals"].as_u64() > Some(0), "{report:#}");
    assert!(report["errors"]["connection_lost"].as_u64() > Some(0), "{report:#}");
}

/// Reads progress lines until one tells of a text.
fn wait_for_texts(running: &mut Child) {
    let mut lines =
        BufReader::new(running.stderr.as_mut().expect("it is piped")).lines().map_while(Result::ok);
    let tells = |line: &String| line.contains(" texts") && !line.contains(", 0 texts");
    lines.find(tells).expect("it tells how it goes");
}
