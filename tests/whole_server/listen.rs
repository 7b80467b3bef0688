//! `stenopool listen` by way of a whole server: its standard output is a pipe here, so that only final texts are written.

use super::crash::FINALS_ALONE;
use super::eval::{Recording, reliable};
use super::server::Server;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

fn listen(server: &Server, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stenopool"));
    command.args(["listen", "--url", &format!("http://{}", server.address)]).args(arguments);
    command.env_remove("STENOPOOL_API_KEY").env_remove("STENOPOOL_LANGUAGE");
    command
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_recording_is_written_down_while_it_is_played_and_nothing_else_is() {
    let server = Server::start(&["--slots", "1"]);
    let recording = &reliable()[0];
    let path = recording.path.to_str().expect("it is text");
    let output = listen(&server, &["--file", path]).output().expect("the binary starts");
    assert!(output.status.success(), "{}", told(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{}\n", recording.text));
    assert_eq!(told(&output), "");
}

#[test]
fn events_are_told_as_the_server_tells_them() {
    let server = Server::start(&["--slots", "1"]);
    let recording = &reliable()[0];
    let path = recording.path.to_str().expect("it is text");
    let output = listen(&server, &["--json", "--file", path]).output().expect("the binary starts");
    let lines = String::from_utf8(output.stdout).expect("it is text");
    let events: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).expect("each is JSON")).collect();
    let of = |kind: &str| events.iter().filter(|event| event["type"] == kind).count();
    assert_eq!(of("input_audio_buffer.speech_started"), 1, "{lines}");
    let completed = "conversation.item.input_audio_transcription.completed";
    let texts: Vec<_> = events.iter().filter(|event| event["type"] == completed).collect();
    assert!(texts.iter().any(|event| event["transcript"] == *recording.text), "{lines}");
}

#[test]
fn what_a_recorder_writes_is_heard_and_ctrl_c_ends_what_is_being_said_and_waits_for_its_text() {
    let server = Server::start(&["--slots", "1"]);
    let recording = &reliable()[0];
    let samples = tempfile::NamedTempFile::new().expect("there is a folder for it");
    let speech: Vec<u8> = resampled(&recording.pcm16());
    std::fs::write(samples.path(), speech).expect("it can be written");
    // Its end is no end of speech: the microphone stays open, and silent.
    let recorder = format!("cat {}; sleep 600", samples.path().display());
    let mut command = listen(&server, &["--json", "--recorder", &recorder]);
    let mut running =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let mut lines = BufReader::new(running.stdout.take().expect("it is piped"));
    let mut line = String::new();
    while !line.contains("speech_started") {
        line.clear();
        assert!(lines.read_line(&mut line).expect("it tells what happens") > 0, "it ended too early");
    }
    let pid = running.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill runs").success());
    let mut rest = String::new();
    lines.read_to_string(&mut rest).expect("it is text");
    assert_eq!(running.wait().expect("it is our child").code(), Some(0), "{rest}");
    assert!(rest.contains(&recording.text), "{rest}");
}

/// Recordings one after the other, with a second and a half of silence behind each.
fn joined(recordings: &[Recording]) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(".wav").tempfile().expect("there is a folder for it");
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(file.path(), spec).expect("it can be written");
    for recording in recordings {
        for sample in [recording.pcm16(), vec![0; 48_000]].concat().chunks(2) {
            writer.write_sample(i16::from_le_bytes([sample[0], sample[1]])).expect("it can be written");
        }
    }
    writer.finalize().expect("it can be written");
    file
}

#[test]
fn who_listens_while_the_server_crashes_goes_on_with_the_next_one_and_is_told_what_was_lost() {
    let shop = TcpListener::bind("127.0.0.1:0").expect("there are free ports");
    let mut server = Server::start_at(&shop, &[&FINALS_ALONE[..], &["--debug-abort-after=1"]].concat());
    let recordings = &reliable()[..3];
    let file = joined(recordings);
    let path = file.path().to_str().expect("it is text");
    let listening = listen(&server, &["--file", path]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let listening = listening.expect("the binary starts");
    assert!(!server.ended().success(), "its second decode is too many");
    let _server = Server::start_at(&shop, &FINALS_ALONE);
    let output = listening.wait_with_output().expect("it is our child");
    let texts = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        texts.lines().collect::<Vec<_>>(),
        [&*recordings[0].text, &*recordings[2].text],
        "{}",
        told(&output)
    );
    let said = [
        "no text for what was said",
        "closes the session: crashed",
        "trying again in ",
        "connected again after ",
    ];
    assert!(said.iter().all(|words| told(&output).contains(words)), "{}", told(&output));
    assert_eq!(output.status.code(), Some(1), "one of three has no text");
}

/// From 16 to 24 kHz, by straight lines between samples.
fn resampled(pcm16: &[u8]) -> Vec<u8> {
    let samples: Vec<f32> =
        pcm16.chunks(2).map(|pair| f32::from(i16::from_le_bytes([pair[0], pair[1]]))).collect();
    let at = |place: f32| {
        let (before, after) = (place as usize, (place as usize + 1).min(samples.len() - 1));
        samples[before] + (samples[after] - samples[before]) * place.fract()
    };
    let length = samples.len() * 3 / 2;
    (0..length).flat_map(|n| (at(n as f32 / 1.5).round() as i16).to_le_bytes()).collect()
}
