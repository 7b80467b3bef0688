//! The whole server as a process, with the demo model and real Silero, on recorded speech.

#![allow(clippy::unwrap_used)]

mod crash;
mod eval;
#[path = "../rest/client.rs"]
#[allow(dead_code, reason = "the tests of the edge use more of it")]
mod http;
mod listen;
mod load;
mod measured;
mod server;

use eval::{Recording, all, assert_as_measured, reliable};
use futures_util::SinkExt;
use futures_util::stream::{self, StreamExt};
use serde_json::{Value, json};
use server::Server;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A transcription session that takes 16 kHz and cuts by itself.
async fn connect(address: SocketAddr) -> Socket {
    let (mut socket, _) =
        connect_async(format!("ws://{address}/v1/realtime?intent=transcription")).await.unwrap();
    let format = json!({ "type": "audio/pcm", "rate": 16_000 });
    let update =
        json!({ "type": "session.update", "session": { "audio": { "input": { "format": format } } } });
    socket.send(Message::text(update.to_string())).await.unwrap();
    until(&mut socket, "session.updated").await;
    socket
}

/// A test that waits longer than this for a server waits for nothing.
const PATIENCE: Duration = Duration::from_secs(60);

/// The next event.
async fn event(socket: &mut Socket) -> Value {
    loop {
        let message = timeout(PATIENCE, socket.next()).await.expect("the server answers");
        let Message::Text(text) = message.expect("the session goes on").unwrap() else { continue };
        let event: Value = serde_json::from_str(&text).unwrap();
        assert_ne!(event["type"], "error", "{event}");
        return event;
    }
}

/// Reads events up to one of this type.
async fn until(socket: &mut Socket, kind: &str) -> Value {
    loop {
        let event = event(socket).await;
        if event["type"] == kind {
            return event;
        }
    }
}

/// Speaks a recording and a second of silence, in pieces of 100 ms; gives the texts of all utterances, joined.
async fn dictate(address: SocketAddr, recording: &Recording) -> String {
    let mut socket = connect(address).await;
    for piece in [recording.pcm16(), vec![0; 32_000]].concat().chunks(3_200) {
        socket.send(Message::binary(piece.to_vec())).await.unwrap();
    }
    // Whatever was said is committed by now; a commit of nothing is answered behind all of it.
    let nothing = json!({ "type": "input_audio_buffer.clear" });
    socket.send(Message::text(nothing.to_string())).await.unwrap();
    let (mut committed, mut texts, mut cleared) = (0, Vec::new(), false);
    while !cleared || texts.len() < committed {
        let event = event(&mut socket).await;
        match event["type"].as_str().unwrap() {
            "input_audio_buffer.committed" => committed += 1,
            "input_audio_buffer.cleared" => cleared = true,
            "conversation.item.input_audio_transcription.completed" => {
                texts.push(event["transcript"].as_str().unwrap().to_owned());
            }
            _ => {}
        }
    }
    texts.retain(|text| !text.is_empty());
    texts.join(" ")
}

async fn upload(address: SocketAddr, recording: &Recording) -> String {
    let file = std::fs::read(&recording.path).unwrap();
    let answer = http::exchange(address, &http::transcription(&[("model", "whisper-1")], &file)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str::<Value>(&answer.body).unwrap()["text"].as_str().unwrap().to_owned()
}

async fn pool(address: SocketAddr) -> Value {
    let answer = http::exchange(address, &http::request("GET", "/pool", "", b"")).await;
    serde_json::from_str(&answer.body).unwrap()
}

#[tokio::test]
async fn uploads_are_read_as_well_as_the_model_can() {
    let server = Server::start(&[]);
    let heard: Vec<_> = stream::iter(all())
        .map(async |recording| (upload(server.address, &recording).await, recording))
        .buffered(4)
        .map(|(text, recording)| (recording, text))
        .collect()
        .await;
    assert_as_measured(&heard);
}

#[tokio::test]
async fn live_streams_are_read_as_well_as_the_model_can() {
    let server = Server::start(&[]);
    let heard: Vec<_> = stream::iter(all())
        .map(async |recording| (dictate(server.address, &recording).await, recording))
        .buffered(6)
        .map(|(text, recording)| (recording, text))
        .collect()
        .await;
    assert_as_measured(&heard);
}

#[test]
fn files_on_the_command_line_are_read_as_well_as_the_model_can() {
    let recordings = all();
    let output = Command::new(env!("CARGO_BIN_EXE_stenopool"))
        .args(["transcribe", "--model", "demo", "--format", "json"])
        .args(recordings.iter().map(|recording| &recording.path))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let documents = String::from_utf8(output.stdout).unwrap();
    let texts = documents
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["text"].as_str().unwrap().to_owned());
    let heard: Vec<_> = recordings.into_iter().zip(texts).collect();
    assert_as_measured(&heard);
}

#[tokio::test]
async fn eight_people_at_once_get_their_own_words_only() {
    let server = Server::start(&["--slots", "3"]);
    let mut recordings = reliable();
    recordings.retain(|recording| recording.kind == "seen-voice");
    recordings.dedup_by_key(|recording| recording.text.clone());
    let talks = recordings[..8].iter().map(|recording| dictate(server.address, recording));
    let texts = futures_util::future::join_all(talks).await;
    let said: Vec<_> = recordings[..8].iter().map(|recording| recording.text.clone()).collect();
    assert_eq!(texts, said);
}

#[tokio::test]
async fn whoever_vanishes_in_the_midst_of_speech_leaves_nothing_behind() {
    let server = Server::start(&["--slots", "1"]);
    let recording = &reliable()[0];
    for _ in 0..10 {
        let mut socket = connect(server.address).await;
        socket.send(Message::binary(recording.pcm16())).await.unwrap();
        until(&mut socket, "input_audio_buffer.speech_started").await;
        drop(socket);
    }
    assert_eq!(dictate(server.address, recording).await, recording.text);
    let slots = pool(server.address).await["slots"].take();
    assert_eq!((&slots["total"], &slots["idle"], &slots["leased"]), (&json!(1), &json!(1), &json!(0)));
}

#[tokio::test]
async fn a_server_that_is_asked_to_stop_reads_what_was_said_first() {
    let mut server = Server::start(&[]);
    let recording = &reliable()[0];
    let mut socket = connect(server.address).await;
    socket.send(Message::binary(recording.pcm16())).await.unwrap();
    until(&mut socket, "input_audio_buffer.speech_started").await;
    server.terminate();
    let completed = until(&mut socket, "conversation.item.input_audio_transcription.completed").await;
    assert_eq!(completed["transcript"], recording.text);
    assert!(server.ended().success());
}
