//! Which server, which protocol, and the address that follows from what a user typed.

use super::deepgram::Deepgram;
use super::realtime::Realtime;
use super::rest::Rest;
use super::whisperlive::WhisperLive;
use super::{ConnectError, Protocol};
use reqwest::Url;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A server, as a user names it.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Target {
    /// `http://host:port` or `ws://host:port`, also with a path and a query; the scheme may be left out.
    pub url: String,
    /// The key, if it wants one.
    pub key: Option<String>,
    /// The model, where the protocol names one.
    pub model: Option<String>,
    /// The language that is spoken, as in `en`.
    pub language: Option<String>,
    /// Whether people want a spoken reply, and not only their text.
    pub conversation: bool,
}

impl fmt::Debug for Target {
    /// Everything but the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, key, model, language, conversation } = self;
        f.debug_struct("Target")
            .field("url", url)
            .field("key", &key.as_ref().map(|_| "..."))
            .field("model", model)
            .field("language", language)
            .field("conversation", conversation)
            .finish()
    }
}

/// The protocols that people can speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProtocolName {
    /// OpenAI's Realtime WebSocket.
    Realtime,
    /// OpenAI's HTTP endpoint for recordings: one upload for each turn.
    Rest,
    /// WhisperLive's WebSocket.
    Whisperlive,
    /// Deepgram's WebSocket for live audio.
    Deepgram,
}

impl ProtocolName {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Realtime, Self::Rest, Self::Whisperlive, Self::Deepgram];

    /// As in `--protocol`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Realtime => "realtime",
            Self::Rest => "rest",
            Self::Whisperlive => "whisperlive",
            Self::Deepgram => "deepgram",
        }
    }

    /// The driver that speaks it to a server. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`ConnectError::BadAddress`]; [`ConnectError::Unreachable`] when this machine has no usable TLS.
    pub fn protocol(self, target: Target) -> Result<Arc<dyn Protocol>, ConnectError> {
        Ok(match self {
            Self::Realtime => Arc::new(Realtime::new(target)?),
            Self::Rest => Arc::new(Rest::new(target)?),
            Self::Whisperlive => Arc::new(WhisperLive::new(target)?),
            Self::Deepgram => Arc::new(Deepgram::new(target)?),
        })
    }
}

impl fmt::Display for ProtocolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ProtocolName {
    type Err = UnknownProtocol;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let named = Self::ALL.into_iter().find(|protocol| protocol.as_str() == name);
        named.ok_or_else(|| UnknownProtocol(name.to_owned()))
    }
}

/// Not the name of a protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown protocol {0:?}; known are {known}", known = ProtocolName::ALL.map(ProtocolName::as_str).join(", "))]
pub struct UnknownProtocol(String);

impl Target {
    /// Where the WebSocket at `path` is.
    pub(super) fn websocket(&self, path: &str) -> Result<Url, ConnectError> {
        self.endpoint(path, "ws", "wss")
    }

    /// Where the HTTP endpoint at `path` is.
    pub(super) fn http(&self, path: &str) -> Result<Url, ConnectError> {
        self.endpoint(path, "http", "https")
    }

    /// What was typed may already have the path, or the beginning of it, or a prefix under which the server lives.
    fn endpoint(&self, path: &str, plain: &str, secure: &str) -> Result<Url, ConnectError> {
        let typed = self.url.trim();
        let full = if typed.contains("://") { typed.to_owned() } else { format!("http://{typed}") };
        let mut url = Url::parse(&full).map_err(|error| self.bad(error.to_string()))?;
        let scheme = match url.scheme() {
            "http" | "ws" => plain,
            "https" | "wss" => secure,
            other => return Err(self.bad(format!("the scheme {other} is none of http, https, ws and wss"))),
        };
        url.set_scheme(scheme).expect("all four are schemes of the same kind");
        url.set_fragment(None);
        let whole = joined(url.path(), path);
        url.set_path(&whole);
        Ok(url)
    }

    fn bad(&self, reason: String) -> ConnectError {
        ConnectError::BadAddress { url: self.url.clone(), reason }
    }
}

/// `/v1` and `/v1/listen` are `/v1/listen`; `/asr` and `/v1/listen` are `/asr/v1/listen`.
fn joined(typed: &str, path: &str) -> String {
    let typed = typed.trim_end_matches('/');
    let steps: Vec<usize> = path.match_indices('/').map(|(at, _)| at).chain([path.len()]).collect();
    let common = steps.into_iter().rev().find(|step| typed.ends_with(&path[..*step]));
    format!("{typed}{}", &path[common.unwrap_or(0)..])
}

/// Adds a parameter unless the user has typed another value for it.
pub(super) fn ask(url: &mut Url, name: &str, value: &str) {
    if !url.query_pairs().any(|(key, _)| key == name) {
        url.query_pairs_mut().append_pair(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Target {
        Target { url: url.to_owned(), key: Some("secret".to_owned()), ..Target::default() }
    }

    #[test]
    fn what_was_typed_becomes_the_address_of_the_endpoint() {
        let cases = [
            ("http://127.0.0.1:8080", "ws://127.0.0.1:8080/v1/realtime"),
            ("127.0.0.1:8080", "ws://127.0.0.1:8080/v1/realtime"),
            ("localhost:8080/", "ws://localhost:8080/v1/realtime"),
            ("ws://[::1]:8080/v1", "ws://[::1]:8080/v1/realtime"),
            ("https://host/v1/realtime", "wss://host/v1/realtime"),
            ("wss://host/speech/v1/", "wss://host/speech/v1/realtime"),
            ("http://host/speech?a=b#c", "ws://host/speech/v1/realtime?a=b"),
        ];
        for (typed, expected) in cases {
            assert_eq!(target(typed).websocket("/v1/realtime").unwrap().as_str(), expected, "{typed}");
        }
        assert_eq!(target("ws://host").http("/v1/models").unwrap().as_str(), "http://host/v1/models");
        assert_eq!(target("http://host:9090").websocket("").unwrap().as_str(), "ws://host:9090/");
    }

    #[test]
    fn an_address_that_makes_no_sense_is_named_with_the_reason() {
        let error = |typed: &str| target(typed).websocket("/v1/realtime").unwrap_err().to_string();
        let ftp =
            "ftp://host is not the address of a server: the scheme ftp is none of http, https, ws and wss";
        assert_eq!(error("ftp://host"), ftp);
        assert_eq!(error("http://"), "http:// is not the address of a server: empty host");
        assert_eq!(error(""), " is not the address of a server: empty host");
    }

    #[test]
    fn parameters_that_were_typed_are_kept() {
        let mut url = target("http://host?model=mine").websocket("/v1/listen").unwrap();
        ask(&mut url, "model", "other");
        ask(&mut url, "language", "en&de");
        assert_eq!(url.as_str(), "ws://host/v1/listen?model=mine&language=en%26de");
    }

    #[test]
    fn every_protocol_is_known_by_its_name() {
        for name in ProtocolName::ALL {
            assert_eq!(name.to_string().parse(), Ok(name));
        }
        let unknown = "grpc".parse::<ProtocolName>().unwrap_err().to_string();
        assert!(unknown.starts_with("unknown protocol \"grpc\"; known are realtime"), "{unknown}");
    }

    #[test]
    fn a_target_does_not_print_its_key() {
        assert!(!format!("{:?}", target("http://host")).contains("secret"));
    }
}
