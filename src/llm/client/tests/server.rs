//! A server that sends bytes as a test wants them, and knows what became of its connections and requests.

use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) head: String,
    pub(super) body: Value,
    /// Which request of all, from 0.
    pub(super) nth: usize,
}

impl Asked {
    /// What was said last.
    pub(super) fn last(&self) -> &str {
        let messages = self.body["messages"].as_array().expect("messages");
        messages.last().and_then(|message| message["content"].as_str()).expect("a text")
    }
}

/// What to do with a request, step by step. Behind the last step the connection waits for the next request.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Send(Vec<u8>),
    /// The same again and again, with pauses, until the client goes away.
    Repeat(Vec<u8>, Duration),
    /// Wait until this is cancelled, or the client goes away.
    Hold(CancellationToken),
    /// Close the connection.
    HangUp,
}

type Script = dyn Fn(&Asked) -> Vec<Step> + Send + Sync;

#[derive(Default)]
struct Books {
    asked: Mutex<Vec<Asked>>,
    connections: AtomicUsize,
    /// How many requests came, and how many clients went away within one.
    counts: watch::Sender<(usize, usize)>,
}

/// A server on a port of its own, gone when it is dropped.
pub(super) struct Server {
    port: u16,
    books: Arc<Books>,
    _accepting: AbortOnDropHandle<()>,
}

impl Server {
    pub(super) async fn new(script: impl Fn(&Asked) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
        let port = listener.local_addr().expect("it is bound").port();
        let books = Arc::<Books>::default();
        let accepting = tokio::spawn(accept(listener, books.clone(), Arc::new(script)));
        Self { port, books, _accepting: AbortOnDropHandle::new(accepting) }
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.books.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn connections(&self) -> usize {
        self.books.connections.load(Ordering::SeqCst)
    }

    /// Waits until so many requests have come.
    pub(super) async fn requests(&self, n: usize) {
        self.wait(|(requests, _)| requests >= n).await;
    }

    /// Waits until so many clients have gone away within their request.
    pub(super) async fn gone(&self, n: usize) {
        self.wait(|(_, gone)| gone >= n).await;
    }

    async fn wait(&self, until: impl Fn((usize, usize)) -> bool) {
        let mut counts = self.books.counts.subscribe();
        let waiting = counts.wait_for(|counts| until(*counts));
        tokio::time::timeout(super::LONG, waiting).await.expect("it happens").expect("the books are here");
    }
}

async fn accept(listener: TcpListener, books: Arc<Books>, script: Arc<Script>) {
    let mut serving = tokio::task::JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        books.connections.fetch_add(1, Ordering::SeqCst);
        serving.spawn(serve(socket, books.clone(), script.clone()));
    }
}

async fn serve(mut socket: TcpStream, books: Arc<Books>, script: Arc<Script>) {
    while let Some((head, body)) = read(&mut socket).await {
        let steps = {
            let mut asked = books.asked.lock().unwrap_or_else(PoisonError::into_inner);
            let body = serde_json::from_slice(&body).expect("requests are JSON");
            let request = Asked { head, body, nth: asked.len() };
            let steps = script(&request);
            asked.push(request);
            steps
        };
        books.counts.send_modify(|(requests, _)| *requests += 1);
        for step in steps {
            let goes_on = perform(step, &mut socket).await;
            if !goes_on {
                books.counts.send_modify(|(_, gone)| *gone += 1);
                return;
            }
        }
    }
}

/// Head and body of the next request on this connection.
async fn read(socket: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.expect("a length").parse().expect("a number");
            if bytes.len() >= end + 4 + length {
                return Some((head, bytes[end + 4..].to_vec()));
            }
        }
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// Whether the connection is still there.
async fn perform(step: Step, socket: &mut TcpStream) -> bool {
    let mut byte = [0];
    match step {
        Step::Send(bytes) => socket.write_all(&bytes).await.is_ok(),
        Step::Repeat(bytes, pause) => {
            while socket.write_all(&bytes).await.is_ok() {
                tokio::select! {
                    _ = socket.read(&mut byte) => return false,
                    () = tokio::time::sleep(pause) => {}
                }
            }
            false
        }
        Step::Hold(gate) => tokio::select! {
            _ = socket.read(&mut byte) => false,
            () = gate.cancelled() => true,
        },
        Step::HangUp => {
            drop(socket.shutdown().await);
            false
        }
    }
}

/// The head of a streamed reply.
pub(super) fn head() -> Step {
    Step::Send(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n".to_vec(),
    )
}

/// One chunk of a body.
pub(super) fn chunk(text: &str) -> Step {
    Step::Send(format!("{:x}\r\n{text}\r\n", text.len()).into_bytes())
}

/// The end of a body.
pub(super) fn end() -> Step {
    Step::Send(b"0\r\n\r\n".to_vec())
}

/// Text as an event.
pub(super) fn token(text: &str) -> Step {
    chunk(&format!("data: {}\n\n", json!({ "choices": [{ "index": 0, "delta": { "content": text } }] })))
}

/// The whole of a reply.
pub(super) fn reply(text: &str) -> Vec<Step> {
    let finish = json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] });
    let words = text.split_inclusive(' ').map(token);
    let rest = [chunk(&format!("data: {finish}\n\n")), chunk("data: [DONE]\n\n"), end()];
    [head()].into_iter().chain(words).chain(rest).collect()
}

/// A response that is no stream; `fields` are more lines of its head.
pub(super) fn response(status: u16, fields: &str, body: &str) -> Vec<Step> {
    let length = body.len();
    let text = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n{fields}\r\n{body}");
    vec![Step::Send(text.into_bytes())]
}

/// Waits for ever.
pub(super) fn hold() -> Step {
    Step::Hold(CancellationToken::new())
}
