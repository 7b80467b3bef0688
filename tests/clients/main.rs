//! Official clients, unmodified, against the server as a user starts it, with the demo model and real Silero.

#![allow(clippy::unwrap_used)]

#[path = "../whole_server/server.rs"]
#[allow(dead_code, reason = "the tests of the whole server use more of it")]
mod server;

use server::Server;
use std::path::Path;
use std::process::Command;

/// What `scripts/test-tools.sh` makes.
const PYTHON: &str = "target/python/bin/python";

/// Fails with what the script printed unless all its checks of this server passed.
fn assert_passes(script: &str, server: &Server, arguments: &[&str]) {
    let url = format!("http://{}/v1", server.address);
    assert_succeeds(script, &[&[url.as_str()], arguments].concat());
}

/// Fails with what the script printed unless all its checks passed.
fn assert_succeeds(script: &str, arguments: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert!(
        root.join(PYTHON).exists(),
        "{PYTHON} is missing: run scripts/test-tools.sh, as `make test` does"
    );
    let output = Command::new(root.join(PYTHON))
        .arg(root.join("scripts").join(script))
        .args(arguments)
        .output()
        .unwrap();
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}: {}\n{said}{complained}", output.status);
}

#[test]
fn the_openai_package_holds_transcription_sessions() {
    let server = Server::start(&["--api-key", "secret"]);
    assert_passes("openai_realtime.py", &server, &["--key", "secret", "--live"]);
}

#[test]
fn the_openai_package_transcribes_files() {
    let server = Server::start(&[]);
    assert_passes("openai_rest.py", &server, &[]);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "what may be missing here is no setting")]
fn the_openai_package_holds_a_spoken_conversation() {
    if Command::new("espeak-ng").arg("--version").output().is_err() {
        let is_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
        assert!(!is_ci, "espeak-ng is missing: scripts/setup.sh installs it");
        eprintln!("skipped: espeak-ng, which speaks in this test, is not installed");
        return;
    }
    // It starts servers of its own: ours, and a language model that is scripted.
    let wav = Path::new(env!("CARGO_TARGET_TMPDIR")).join("converse.wav");
    let (binary, wav) = (env!("CARGO_BIN_EXE_stenopool"), wav.to_str().unwrap());
    assert_succeeds("converse.py", &["--short", "--binary", binary, "--wav", wav]);
}
