//! Servers that do what a test says, for one client.

use super::{Connection, Disconnected, Heard};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use std::future::Future;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

/// A client that has come in.
pub(super) struct Visit {
    /// With the query.
    pub(super) path: String,
    pub(super) authorization: Option<String>,
    pub(super) socket: WebSocketStream<TcpStream>,
}

impl Visit {
    /// Sends a text.
    pub(super) async fn say(&mut self, text: impl Into<String>) {
        self.socket.send(Message::text(text.into())).await.expect("the client takes it");
    }

    /// The next text, as JSON.
    pub(super) async fn json(&mut self) -> Value {
        let text = self.message().await.into_text().expect("it is text");
        serde_json::from_str(&text).expect("it is JSON")
    }

    /// The next message.
    pub(super) async fn message(&mut self) -> Message {
        self.socket.next().await.expect("the client is there").expect("the socket is sound")
    }

    /// Everything up to the client's `Close`.
    pub(super) async fn rest(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Some(Ok(message)) = self.socket.next().await {
            if message.is_close() {
                break;
            }
            messages.push(message);
        }
        messages
    }

    /// Closes, and waits for the client's answer.
    pub(super) async fn close(mut self, code: u16, reason: &str) {
        let frame = CloseFrame { code: code.into(), reason: reason.to_owned().into() };
        self.socket.send(Message::Close(Some(frame))).await.expect("the client takes it");
        while let Some(Ok(_)) = self.socket.next().await {}
    }
}

/// A WebSocket server: its address, and what its script comes to.
pub(super) async fn serve<F, R, T>(script: F) -> (String, JoinHandle<T>)
where
    F: FnOnce(Visit) -> R + Send + 'static,
    R: Future<Output = T> + Send,
    T: Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a client");
        script(shake_hands(stream).await).await
    });
    (url, serving)
}

#[allow(clippy::result_large_err, reason = "the library wants it so")]
async fn shake_hands(stream: TcpStream) -> Visit {
    let (mut path, mut authorization) = (String::new(), None);
    let look = |request: &Request, response: Response| {
        path = request.uri().to_string();
        authorization = request.headers().get("authorization").map(|it| it.to_str().unwrap().to_owned());
        Ok(response)
    };
    let socket = accept_hdr_async(stream, look).await.expect("the client speaks WebSocket");
    Visit { path, authorization, socket }
}

/// A server that reads one HTTP request without a body, writes these bytes and closes.
pub(super) async fn answer(bytes: impl Into<Vec<u8>>) -> String {
    let bytes = bytes.into();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.expect("the client asks"));
        }
        stream.write_all(&bytes).await.expect("the client reads");
    });
    url
}

/// What an HTTP client asked.
#[derive(Debug)]
pub(super) struct Asked {
    /// Method, path and headers.
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

/// An HTTP server that answers every request with what `reply` makes of it: a status line's end and a body. What was
/// asked comes out of the receiver, 64 requests at most.
pub(super) async fn serve_http(
    reply: impl Fn(&Asked) -> (&'static str, String) + Clone + Send + 'static,
) -> (String, mpsc::Receiver<Asked>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let (asked_in, asked) = mpsc::channel(64);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (reply, asked_in) = (reply.clone(), asked_in.clone());
            tokio::spawn(async move {
                while let Some(asked) = ask(&mut stream).await {
                    let (status, body) = reply(&asked);
                    let length = body.len();
                    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
                    asked_in.try_send(asked).expect("no test asks so much");
                    stream.write_all(answer.as_bytes()).await.expect("the client reads");
                }
            });
        }
    });
    (url, asked)
}

/// The next request on a connection, if there is one.
async fn ask(stream: &mut TcpStream) -> Option<Asked> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).expect("headers are text");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a number"))];
    stream.read_exact(&mut body).await.ok()?;
    Some(Asked { head, body })
}

/// A server that takes a connection, and from then on only time passes.
pub(super) async fn stay_silent() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a client");
        tokio::time::pause();
        std::future::pending::<()>().await;
        drop(stream);
    });
    url
}

/// An address where nobody listens.
pub(super) async fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    format!("http://{}", listener.local_addr().expect("it is bound"))
}

/// Everything that is heard until the connection ends, and how it ends.
pub(super) async fn hear_out(connection: &mut Connection) -> (Vec<Heard>, Option<Disconnected>) {
    let mut all = Vec::new();
    loop {
        match connection.listener.next().await {
            Ok(Some(heard)) => all.push(heard),
            Ok(None) => return (all, None),
            Err(lost) => return (all, Some(lost)),
        }
    }
}
