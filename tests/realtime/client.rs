//! A client of the realtime WebSocket, and the voice it speaks with.

use super::server::{PATIENCE, Served};
use futures_util::stream::SplitSink;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::f32::consts::TAU;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// The default rate of a session's input.
const RATE: usize = 24_000;

/// So many milliseconds of nothing.
pub(crate) fn silence(ms: usize) -> Vec<u8> {
    vec![0; 2 * RATE * ms / 1_000]
}

/// So many milliseconds of a hum whose peak is so many hundredths. It swells and fades, so that no filter rings.
pub(crate) fn voice(peak: u8, ms: usize) -> Vec<u8> {
    let samples = RATE * ms / 1_000;
    let sample = |n: usize| {
        let edge = (n.min(samples - n) as f32 / 240.0).min(1.0);
        let hum = (TAU * 100.0 * n as f32 / RATE as f32).sin();
        ((hum * edge * f32::from(peak) / 100.0) * 32_767.0) as i16
    };
    (0..samples).flat_map(|n| sample(n).to_le_bytes()).collect()
}

/// The types of events.
pub(crate) fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().expect("every event has a type")).collect()
}

/// The events that OpenAI's server tells, too.
pub(crate) fn without_pool(events: Vec<Value>) -> Vec<Value> {
    let ours = |event: &Value| event["type"].as_str().is_some_and(|kind| kind.starts_with("pool."));
    events.into_iter().filter(|event| !ours(event)).collect()
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// One connection.
pub(crate) struct Client {
    socket: Socket,
}

/// The sending half of a client that does not read.
pub(crate) struct Writer {
    sink: SplitSink<Socket, Message>,
    _unread: futures_util::stream::SplitStream<Socket>,
}

impl Writer {
    /// Sends a text frame again and again, until the server has closed the connection.
    pub(crate) async fn send_until_closed(&mut self, text: &str) {
        let sending = async { while self.sink.send(Message::text(text)).await.is_ok() {} };
        timeout(PATIENCE, sending).await.expect("the server closes");
    }
}

impl Client {
    /// Connects without a key.
    pub(crate) async fn connect(served: &Served, query: &str) -> Self {
        let (socket, _) = Box::pin(connect_async(served.url(query))).await.expect("the client is let in");
        Self { socket }
    }

    /// Connects as browsers do, with the key in a subprotocol.
    pub(crate) async fn connect_by_subprotocol(served: &Served, key: &str) -> Self {
        let protocols = format!("realtime, openai-insecure-api-key.{key}");
        Self::connect_with(served, "", ("sec-websocket-protocol", &protocols)).await
    }

    /// Connects with one more header; whoever offers subprotocols is answered with `realtime`.
    pub(crate) async fn connect_with(served: &Served, query: &str, header: (&'static str, &str)) -> Self {
        let mut request = served.url(query).into_client_request().expect("a request");
        let (name, value) = header;
        request.headers_mut().insert(name, value.parse().expect("a header value"));
        let (socket, response) = Box::pin(connect_async(request)).await.expect("the client is let in");
        let expected = (name == "sec-websocket-protocol").then_some("realtime");
        let protocol = response.headers().get("sec-websocket-protocol");
        assert_eq!(protocol.map(|protocol| protocol.to_str().expect("it is text")), expected);
        Self { socket }
    }

    /// Sends an event.
    pub(crate) async fn send(&mut self, event: &Value) {
        self.send_message(Message::text(event.to_string())).await;
    }

    /// Sends a binary frame.
    pub(crate) async fn send_bytes(&mut self, bytes: Vec<u8>) {
        self.send_message(Message::binary(bytes)).await;
    }

    /// Sends any frame.
    pub(crate) async fn send_message(&mut self, message: Message) {
        self.socket.send(message).await.expect("the server takes it");
    }

    /// Sends a binary frame in so many pieces, with a pause before each, and reads nothing meanwhile.
    pub(crate) async fn trickle(&mut self, bytes: &[u8], pieces: usize, pause: Duration) {
        let MaybeTlsStream::Plain(stream) = self.socket.get_mut() else { panic!("the tests use no TLS") };
        // Final and binary; masked, with a mask that changes nothing; its length in eight bytes.
        let head = [&[0x82, 0x80 | 127][..], &(bytes.len() as u64).to_be_bytes(), &[0; 4]].concat();
        stream.write_all(&head).await.expect("the server takes it");
        for piece in bytes.chunks(bytes.len().div_ceil(pieces)) {
            tokio::time::sleep(pause).await;
            stream.write_all(piece).await.expect("the server takes it");
        }
    }

    /// Sends binary frames until the server takes no more.
    pub(crate) async fn flood(&mut self, bytes: &[u8]) {
        let stuck = Duration::from_millis(500);
        while timeout(stuck, self.send_bytes(bytes.to_vec())).await.is_ok() {}
    }

    /// The next event.
    pub(crate) async fn event(&mut self) -> Value {
        match self.message().await {
            Message::Text(text) => serde_json::from_str(&text).expect("events are JSON"),
            other => panic!("expected an event, got {other:?}"),
        }
    }

    /// The events up to the next one of this type.
    pub(crate) async fn until(&mut self, kind: &str) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            let event = self.event().await;
            assert!(event["type"] != "error" || kind == "error", "{event}");
            let last = event["type"] == kind;
            events.push(event);
            if last {
                return events;
            }
        }
    }

    /// What the next `error` event says.
    pub(crate) async fn error(&mut self) -> Value {
        self.until("error").await.pop().expect("the last event is the error")["error"].take()
    }

    /// Waits until the server has read everything that was sent.
    pub(crate) async fn settled(&mut self) {
        self.send(&json!({ "type": "are.you.there" })).await;
        assert_eq!(self.error().await["code"], "unknown_event");
    }

    /// Fails if the server has told anything more by the time it answers.
    pub(crate) async fn expect_nothing_more(&mut self) {
        self.send(&json!({ "type": "are.you.there" })).await;
        assert_eq!(self.event().await["type"], "error");
    }

    /// The events until the server closes, and how it does.
    pub(crate) async fn rest(&mut self) -> (Vec<Value>, (CloseCode, String)) {
        let mut events = Vec::new();
        loop {
            match self.message().await {
                Message::Text(text) => events.push(serde_json::from_str(&text).expect("events are JSON")),
                Message::Close(frame) => {
                    let frame = frame.expect("the server says why it closes");
                    return (events, (frame.code, frame.reason.to_string()));
                }
                other => panic!("expected an event, got {other:?}"),
            }
        }
    }

    /// How the server closes the connection; what it still tells before is skipped.
    pub(crate) async fn close(&mut self) -> (CloseCode, String) {
        self.rest().await.1
    }

    /// Goes on as a client that only sends.
    pub(crate) fn into_writer(self) -> Writer {
        let (sink, unread) = self.socket.split();
        Writer { sink, _unread: unread }
    }

    async fn message(&mut self) -> Message {
        let saying = async {
            loop {
                let next = self.socket.next().await;
                let message = next.expect("the connection is open").expect("the connection is sound");
                if !matches!(message, Message::Ping(_) | Message::Pong(_)) {
                    return message;
                }
            }
        };
        timeout(PATIENCE, saying).await.expect("the server says something")
    }
}
