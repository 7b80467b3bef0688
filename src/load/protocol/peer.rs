//! The server at the other end, and what to call it when it does not do what was hoped for. Pure.

use super::{ConnectError, Disconnected, REJECTED};
use serde_json::Value;
use std::io;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::http::Response;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// Of a server's own words, no more than this is repeated.
const LONGEST_QUOTE: usize = 300;

/// A server that is being talked to.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    /// As the user typed it.
    pub(super) url: String,
    /// What is spoken to it.
    pub(super) protocol: &'static str,
}

impl Peer {
    pub(super) fn unreachable(&self, reason: impl Into<String>) -> ConnectError {
        ConnectError::Unreachable { url: self.url.clone(), reason: reason.into() }
    }

    pub(super) fn wrong(&self, reason: impl Into<String>) -> ConnectError {
        ConnectError::WrongProtocol { url: self.url.clone(), protocol: self.protocol, reason: reason.into() }
    }

    pub(super) fn refused(&self, reason: impl Into<String>) -> ConnectError {
        ConnectError::Refused { url: self.url.clone(), reason: reason.into() }
    }

    pub(super) fn unauthorized(&self, reason: impl Into<String>) -> ConnectError {
        ConnectError::Unauthorized { url: self.url.clone(), reason: reason.into() }
    }

    /// A WebSocket handshake that failed.
    pub(super) fn no_handshake(&self, error: &Error) -> ConnectError {
        match error {
            Error::Http(response) => self.answered(response),
            Error::Protocol(ProtocolError::HandshakeIncomplete) => {
                self.wrong("it closed the connection during the WebSocket handshake")
            }
            Error::Protocol(ProtocolError::HttparseError(_)) => {
                self.wrong("its answer to the WebSocket handshake is not HTTP")
            }
            Error::Io(error) if is_closed(error) => {
                self.wrong("it closed the connection during the WebSocket handshake")
            }
            Error::Io(error) => self.unreachable(said(error)),
            error => self.wrong(root_cause(error)),
        }
    }

    /// Somebody answered in HTTP, and not with a WebSocket.
    fn answered(&self, response: &Response<Option<Vec<u8>>>) -> ConnectError {
        let status = response.status().as_u16();
        let own = own_words(response.body().as_deref().unwrap_or_default());
        let reason = match &own {
            Some((_, words)) => format!("it answered HTTP {status} to the WebSocket handshake: {words}"),
            None => format!("it answered HTTP {status} to the WebSocket handshake"),
        };
        match status {
            401 | 403 => self.unauthorized(reason),
            429 | 503 => ConnectError::Rejected { reason },
            // Who knows the path, but not the model, speaks the protocol.
            404 if own.as_ref().is_none_or(|(code, _)| !code.contains("model")) => self.wrong(reason),
            // So does who explains itself in a protocol's own words.
            _ if own.is_some_and(|(code, _)| !code.is_empty()) => self.refused(reason),
            _ => self.wrong(reason),
        }
    }

    /// A server that closes instead of getting ready.
    pub(super) fn closed_early(&self, lost: Disconnected) -> ConnectError {
        match lost {
            Disconnected { code, reason } if code == REJECTED => ConnectError::Rejected { reason },
            Disconnected { reason, .. } => {
                self.refused(format!("it closed the connection before it was ready: {reason}"))
            }
        }
    }
}

/// The code and the sentence of an error in JSON, as the servers of OpenAI and Deepgram write it, and many in Python.
pub(super) fn own_words(body: &[u8]) -> Option<(String, String)> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let error = body.get("error").unwrap_or(&body);
    let text = |names: &[&str]| names.iter().find_map(|name| error[*name].as_str()).map(quote);
    let words =
        error.as_str().map(quote).or_else(|| text(&["message", "err_msg", "description", "detail"]))?;
    Some((text(&["code", "err_code", "type"]).unwrap_or_default(), words))
}

/// The beginning of what somebody said, if it is long.
pub(super) fn quote(words: &str) -> String {
    let words = words.trim();
    match words.char_indices().nth(LONGEST_QUOTE) {
        Some((end, _)) => format!("{}...", &words[..end]),
        None => words.to_owned(),
    }
}

/// What a system's error says, without its number.
pub(super) fn said(error: &io::Error) -> String {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable, TimedOut,
    };
    match error.kind() {
        kind @ (ConnectionAborted | ConnectionRefused | ConnectionReset | HostUnreachable
        | NetworkUnreachable | TimedOut) => kind.to_string(),
        _ => error.to_string(),
    }
}

/// The innermost cause, without the layers above it.
pub(in super::super) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.downcast_ref::<io::Error>().map_or_else(|| cause.to_string(), said)
}

fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

/// How a server's `Close` is to be understood; `None`: in good order.
pub(super) fn parted(frame: Option<&CloseFrame>) -> Option<Disconnected> {
    let frame = frame?;
    let code = u16::from(frame.code);
    let words = quote(&frame.reason);
    let reason = match words.as_str() {
        "" => format!("the server closed the connection with code {code}"),
        words => format!("the server closed the connection with code {code}: {words}"),
    };
    match frame.code {
        CloseCode::Normal | CloseCode::Status => None,
        CloseCode::Again => Some(Disconnected::rejected(reason)),
        _ if is_code(&words) => Some(Disconnected { code: words, reason }),
        _ => Some(Disconnected { code: format!("closed_{code}"), reason }),
    }
}

/// Whether a close reason is a name and not a sentence.
fn is_code(words: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !words.is_empty() && words.bytes().all(fits)
}

/// How a connection broke; `None` when it only was closed.
pub(super) fn broke(error: &Error) -> Option<Disconnected> {
    Some(match error {
        Error::ConnectionClosed | Error::AlreadyClosed => return None,
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            Disconnected::connection("the server closed the connection without a word")
        }
        Error::Capacity(CapacityError::MessageTooLong { size, max_size }) => Disconnected {
            code: "message_too_large".to_owned(),
            reason: format!("the server sent a message of {size} bytes, {max_size} are read"),
        },
        error => Disconnected::connection(root_cause(error)),
    })
}
