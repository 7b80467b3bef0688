//! What the protocols on WebSockets share: the way in, the two halves, the way out.
//!
//! A protocol adds two pure parts: one that [`Encode`]s speech, one that [`Read`]s what the server says.

use super::peer::{Peer, broke, parted, said};
use super::{ConnectError, Connection, Disconnected, FAREWELL, Heard, Listener, Speaker};
use crate::load::http;
use futures_util::future::BoxFuture;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use reqwest::Url;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::header::AUTHORIZATION;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async_tls_with_config};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long a server may take for each step of the way in.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// How much of [`FAREWELL`] is the server's, where it has the last word.
const LAST_WORD: Duration = Duration::from_millis(1_500);

/// How long the answer to a `Close` may take to leave.
pub(super) const ANSWER: Duration = Duration::from_millis(500);

/// The library's own buffers, per socket; its defaults would cost a thousand people 250 MB.
const BUFFER: usize = 8 * 1024;

/// The longest message that is read: a minute of a spoken reply, and more text than anybody says.
const LONGEST_MESSAGE: usize = 4 * 1024 * 1024;

/// An open WebSocket.
pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Turns speech into messages. Pure.
pub(super) trait Encode: Send + 'static {
    /// The message for the next samples; `None` while it collects more.
    fn encode(&mut self, samples: &[i16]) -> Option<Message>;

    /// How much it has collected that is in no message yet.
    fn kept(&self) -> Duration {
        Duration::ZERO
    }

    /// What is still to be said before we close.
    fn farewell(&mut self) -> Vec<Message> {
        Vec::new()
    }

    /// Whether the server closes, after it has told what it still had.
    fn server_has_the_last_word(&self) -> bool {
        false
    }
}

/// Turns messages into what was heard. Pure.
pub(super) trait Read: Send + 'static {
    /// What a text message means.
    ///
    /// # Errors
    ///
    /// The server says that it ends the connection.
    fn read(&mut self, text: &str) -> Result<Vec<Heard>, Disconnected>;
}

/// Opens a WebSocket.
///
/// # Cancel safety
///
/// Dropping the future drops the connection.
pub(super) async fn open(
    peer: &Peer,
    url: &Url,
    authorization: Option<String>,
) -> Result<Socket, ConnectError> {
    let mut request = url.as_str().into_client_request().map_err(|error| peer.no_handshake(&error))?;
    if let Some(authorization) = authorization {
        let value = authorization.parse().map_err(|_| peer.unauthorized("it cannot stand in a header"))?;
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    let stream = dial(peer, url).await?;
    http::prepare_tls();
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_message_size(Some(LONGEST_MESSAGE))
        .max_frame_size(Some(LONGEST_MESSAGE));
    let shaking = client_async_tls_with_config(request, stream, Some(config), None);
    match timeout(PATIENCE, shaking).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(error)) => Err(peer.no_handshake(&error)),
        Err(_) => Err(peer.wrong(format!("no answer to the WebSocket handshake within {PATIENCE:?}"))),
    }
}

async fn dial(peer: &Peer, url: &Url) -> Result<TcpStream, ConnectError> {
    let host = url.host_str().ok_or_else(|| peer.unreachable("the address has no host"))?;
    let port = url.port_or_known_default().ok_or_else(|| peer.unreachable("the address has no port"))?;
    let dialling = TcpStream::connect(format!("{host}:{port}"));
    let stream = match timeout(PATIENCE, dialling).await {
        Ok(stream) => stream.map_err(|error| peer.unreachable(said(&error)))?,
        Err(_) => return Err(peer.unreachable(format!("no answer within {PATIENCE:?}"))),
    };
    // Frames are small and their time is what is measured.
    stream.set_nodelay(true).map_err(|error| peer.unreachable(said(&error)))?;
    Ok(stream)
}

/// What it comes to that a server gets ready. `patience` is for all of it: a server that talks of something else for ever
/// is not waited for longer than a silent one.
///
/// # Errors
///
/// What `getting_ready` says, and that it took too long.
///
/// # Cancel safety
///
/// As that of `getting_ready`.
pub(super) async fn ready_within<T>(
    peer: &Peer,
    patience: Duration,
    getting_ready: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    let late = || peer.wrong(format!("it accepted the WebSocket and was not ready within {patience:?}"));
    timeout(patience, getting_ready).await.unwrap_or_else(|_| Err(late()))
}

/// The next text message of a server that is about to get ready. Waits for it for ever.
///
/// # Errors
///
/// It closed.
pub(super) async fn first_words(peer: &Peer, socket: &mut Socket) -> Result<String, ConnectError> {
    loop {
        return match socket.next().await {
            Some(Ok(Message::Text(text))) => Ok(text.as_str().to_owned()),
            Some(Ok(Message::Close(frame))) => {
                let closed = || Disconnected::connection("it gave no reason");
                Err(peer.closed_early(parted(frame.as_ref()).unwrap_or_else(closed)))
            }
            Some(Ok(_)) => continue,
            Some(Err(error)) => Err(peer.closed_early(broke(&error).unwrap_or_else(gone))),
            None => Err(peer.closed_early(gone())),
        };
    }
}

/// There is no connection any more, and nobody said why.
pub(super) fn gone() -> Disconnected {
    Disconnected::connection("the connection is closed")
}

/// Both halves of a socket whose server is ready.
pub(super) fn connection(socket: Socket, encoder: impl Encode, reader: impl Read) -> Connection {
    let (sink, stream) = socket.split();
    let (hung_up, over) = (CancellationToken::new(), CancellationToken::new());
    let speaker = SocketSpeaker { sink, encoder, hung_up: hung_up.clone(), over: over.clone() };
    let listener = SocketListener {
        stream,
        reader,
        heard: VecDeque::new(),
        hung_up,
        closed: None,
        over: over.clone(),
        _over_when_dropped: over.drop_guard(),
    };
    Connection { speaker: Box::new(speaker), listener: Box::new(listener) }
}

struct SocketSpeaker<E> {
    sink: SplitSink<Socket, Message>,
    encoder: E,
    /// We have begun to leave: whatever ends the connection now, it ends in good order.
    hung_up: CancellationToken,
    /// The listener has heard the end, or nobody listens any more.
    over: CancellationToken,
}

impl<E: Encode> SocketSpeaker<E> {
    async fn send(&mut self, message: Message) -> Result<(), Disconnected> {
        self.sink.send(message).await.map_err(|error| broke(&error).unwrap_or_else(gone))
    }

    async fn say_farewell(&mut self) -> Result<(), Disconnected> {
        for message in self.encoder.farewell() {
            self.send(message).await?;
        }
        if self.encoder.server_has_the_last_word() && timeout(LAST_WORD, self.over.cancelled()).await.is_ok()
        {
            return Ok(());
        }
        self.send(Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }))).await
    }
}

impl<E: Encode> Speaker for SocketSpeaker<E> {
    fn begin_turn(&mut self) {}

    fn say<'a>(&'a mut self, samples: &'a [i16]) -> BoxFuture<'a, Result<Duration, Disconnected>> {
        Box::pin(async move {
            if let Some(message) = self.encoder.encode(samples) {
                self.send(message).await?;
            }
            Ok(self.encoder.kept())
        })
    }

    fn end_turn(&mut self) -> BoxFuture<'_, Result<(), Disconnected>> {
        Box::pin(async { Ok(()) })
    }

    fn hang_up(mut self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            self.hung_up.cancel();
            let _ = timeout(FAREWELL, self.say_farewell()).await;
        })
    }
}

struct SocketListener<R> {
    stream: SplitStream<Socket>,
    reader: R,
    /// What is left of the last message; the next one is read when it is empty.
    heard: VecDeque<Heard>,
    hung_up: CancellationToken,
    /// The server's `Close`, once it came.
    closed: Option<CloseFrame>,
    over: CancellationToken,
    _over_when_dropped: DropGuard,
}

impl<R: Read> SocketListener<R> {
    async fn hear(&mut self) -> Result<Option<Heard>, Disconnected> {
        while !self.over.is_cancelled() {
            if let Some(heard) = self.heard.pop_front() {
                return Ok(Some(heard));
            }
            if self.closed.is_some() {
                return self.take_leave().await;
            }
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => match self.reader.read(&text) {
                    Ok(heard) => self.heard.extend(heard),
                    Err(lost) => return self.end(Some(lost)),
                },
                Some(Ok(Message::Close(frame))) => {
                    let silent = || CloseFrame { code: CloseCode::Status, reason: "".into() };
                    self.closed = Some(frame.unwrap_or_else(silent));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return self.end(broke(&error)),
                None => return self.end(None),
            }
        }
        Ok(None)
    }

    /// Lets the answer to the server's `Close` leave: the library writes it when it is asked for what comes next.
    async fn take_leave(&mut self) -> Result<Option<Heard>, Disconnected> {
        let _ = timeout(ANSWER, self.stream.next()).await;
        let frame = self.closed.take();
        self.end(parted(frame.as_ref()))
    }

    fn end(&mut self, lost: Option<Disconnected>) -> Result<Option<Heard>, Disconnected> {
        self.over.cancel();
        match lost {
            Some(lost) if !self.hung_up.is_cancelled() => Err(lost),
            _ => Ok(None),
        }
    }
}

impl<R: Read> Listener for SocketListener<R> {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Heard>, Disconnected>> {
        Box::pin(self.hear())
    }
}

/// 16-bit samples as bytes, low byte first.
pub(super) fn pcm16(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

/// A message that is not what the protocol promises.
pub(super) fn unreadable(error: &serde_json::Error) -> Heard {
    Heard::Trouble { code: "unreadable_message".to_owned(), message: error.to_string() }
}

#[cfg(test)]
mod tests;
