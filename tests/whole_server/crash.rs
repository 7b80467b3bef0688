//! What happens when the engine ends the process, as ggml does when a call to a GPU fails.

use super::eval::reliable;
use super::server::Server;
use super::{PATIENCE, connect, dictate, until};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// Where the texts are the only decodes, so that it is known which of them is the first to fail.
pub(super) const FINALS_ALONE: [&str; 4] =
    ["--slots=1", "--interims=false", "--speculate=false", "--canary-s=0"];

const SIGABRT: i32 = 6;

/// What is still told, and how the connection is closed.
async fn rest(mut socket: super::Socket) -> (Vec<Value>, CloseCode) {
    let mut events = Vec::new();
    loop {
        let message = timeout(PATIENCE, socket.next()).await.expect("the server says something");
        match message.expect("it closes before it goes").unwrap() {
            Message::Text(text) => events.push(serde_json::from_str(&text).unwrap()),
            Message::Close(frame) => return (events, frame.expect("with a code").code),
            _ => {}
        }
    }
}

/// An upload whose end never comes.
async fn unfinished_upload(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\
                Content-Type: multipart/form-data; boundary=x\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut goes_on = [0; 25];
    // Its handler is there, and waits for more.
    timeout(PATIENCE, stream.read_exact(&mut goes_on)).await.expect("the server answers").unwrap();
    assert!(goes_on.starts_with(b"HTTP/1.1 100 Continue"));
    stream
}

#[tokio::test]
async fn when_the_engine_ends_the_process_everybody_is_told_to_come_back_and_can() {
    let shop = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut server = Server::start_at(&shop, &[&FINALS_ALONE[..], &["--debug-abort-after=1"]].concat());
    let recordings = reliable();
    let bystander = connect(server.address).await;
    let mut upload = unfinished_upload(&server).await;
    let mut speaker = connect(server.address).await;
    let say = |recording: &super::Recording| Message::binary([recording.pcm16(), vec![0; 32_000]].concat());
    speaker.send(say(&recordings[0])).await.unwrap();
    let completed = until(&mut speaker, "conversation.item.input_audio_transcription.completed").await;
    assert_eq!(completed["transcript"], recordings[0].text);

    speaker.send(say(&recordings[1])).await.unwrap();
    let committed = until(&mut speaker, "input_audio_buffer.committed").await["item_id"].take();
    for (socket, unread) in [(speaker, vec![committed]), (bystander, vec![])] {
        let (events, code) = rest(socket).await;
        assert_eq!(code, CloseCode::Restart);
        let of = |kind| events.iter().filter(move |event| event["type"] == kind);
        let closing: Vec<_> = of("pool.session.closing").collect();
        assert_eq!((closing.len(), &closing[0]["reason"]), (1, &Value::from("crashed")), "{events:?}");
        assert!(closing[0]["retry_after_ms"].as_u64() > Some(0));
        let failed: Vec<_> = of("conversation.item.input_audio_transcription.failed")
            .map(|event| event["item_id"].clone())
            .collect();
        assert_eq!(failed, unread, "{events:?}");
    }
    let mut answer = String::new();
    timeout(PATIENCE, upload.read_to_string(&mut answer)).await.expect("the server ends").unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\"code\":\"crashed\""), "{answer}");
    assert!(answer.contains("\r\nretry-after: "), "{answer}");
    assert_eq!(server.ended().signal(), Some(SIGABRT));
    let log = server.log();
    let line = log.lines().find(|line| line.contains("the engine has failed"));
    assert!(line.is_some_and(|line| line.contains("ERROR") && line.contains("debug.abort_after")), "{log}");

    // Whoever comes while there is no server waits for the next one.
    let waiting = TcpStream::connect(server.address).await.expect("the socket is still there");
    let server = Server::start_at(&shop, &FINALS_ALONE);
    assert_eq!(dictate(server.address, &recordings[0]).await, recordings[0].text);
    drop(waiting);
}
