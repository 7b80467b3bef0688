//! Deepgram's WebSocket for live audio: 16 kHz PCM in binary frames, results that cover the stream piece by piece.

use super::peer::{Peer, broke, parted, quote};
use super::socket::{Encode, Read, connection, open, pcm16, unreadable};
use super::target::ask;
use super::{ConnectError, Connection, Disconnected, Final, Heard, Protocol, Stretch, Target};
use crate::audio::SampleRate;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use reqwest::Url;
use serde::Deserialize;
use std::time::Duration;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

/// What a live client asks for.
const QUERY: [(&str, &str); 5] = [
    ("encoding", "linear16"),
    ("sample_rate", "16000"),
    ("channels", "1"),
    ("interim_results", "true"),
    ("endpointing", "300"),
];

/// How long we wait for an objection: the protocol has no word for being ready, but some servers complain of the query
/// only after they have accepted the WebSocket.
const OBJECTION: Duration = Duration::from_millis(250);

/// The driver.
pub(super) struct Deepgram {
    peer: Peer,
    url: Url,
    key: Option<String>,
}

impl Deepgram {
    /// For one server.
    pub(super) fn new(target: Target) -> Result<Self, ConnectError> {
        let mut url = target.websocket("/v1/listen")?;
        for (name, value) in QUERY {
            ask(&mut url, name, value);
        }
        for (name, value) in [("model", &target.model), ("language", &target.language)] {
            if let Some(value) = value {
                ask(&mut url, name, value);
            }
        }
        Ok(Self { peer: Peer { url: target.url, protocol: "deepgram" }, url, key: target.key })
    }

    async fn set_up(&self) -> Result<Connection, ConnectError> {
        let authorization = self.key.as_ref().map(|key| format!("Token {key}"));
        let mut socket = open(&self.peer, &self.url, authorization).await?;
        match timeout(OBJECTION, socket.next()).await {
            Ok(Some(Ok(Message::Text(text)))) => self.listen(&text)?,
            Ok(Some(Ok(Message::Close(frame)))) => return Err(self.closed(parted(frame.as_ref()))),
            Ok(Some(Err(error))) => return Err(self.closed(broke(&error))),
            Ok(None) => return Err(self.closed(None)),
            Ok(Some(Ok(_))) | Err(_) => {}
        }
        Ok(connection(socket, Linear16, Results))
    }

    /// Whether the first message is one of this protocol, and no objection.
    fn listen(&self, text: &str) -> Result<(), ConnectError> {
        match serde_json::from_str(text) {
            Ok(Said::Error(problem)) => Err(self.peer.refused(quote(&problem.message()))),
            Ok(_) => Ok(()),
            Err(_) => Err(self.peer.wrong(format!("it said {:?}", quote(text)))),
        }
    }

    fn closed(&self, lost: Option<Disconnected>) -> ConnectError {
        self.peer.closed_early(lost.unwrap_or_else(|| Disconnected::connection("it gave no reason")))
    }
}

impl Protocol for Deepgram {
    fn rate(&self) -> SampleRate {
        SampleRate::SPEECH
    }

    fn tells_positions(&self) -> bool {
        true
    }

    fn connect(&self, _person: u32) -> BoxFuture<'_, Result<Connection, ConnectError>> {
        Box::pin(self.set_up())
    }
}

/// Writes binary frames. No `KeepAlive` is needed: the microphone is always on.
struct Linear16;

impl Encode for Linear16 {
    fn encode(&mut self, samples: &[i16]) -> Option<Message> {
        Some(Message::binary(pcm16(samples)))
    }

    fn farewell(&mut self) -> Vec<Message> {
        vec![Message::text(r#"{"type":"CloseStream"}"#)]
    }

    fn server_has_the_last_word(&self) -> bool {
        true
    }
}

/// The messages that matter here.
#[derive(Debug, Deserialize)]
#[serde(tag = "type")]
enum Said {
    Results(Piece),
    Error(Problem),
    #[serde(other)]
    Other,
}

/// What was understood of a piece of the stream. Times are in seconds from its beginning.
#[derive(Debug, Deserialize)]
struct Piece {
    start: Option<f64>,
    duration: Option<f64>,
    #[serde(default)]
    is_final: bool,
    channel: Channel,
}

#[derive(Debug, Deserialize)]
struct Channel {
    alternatives: Vec<Alternative>,
}

#[derive(Debug, Default, Deserialize)]
struct Alternative {
    transcript: String,
    #[serde(default)]
    words: Vec<Word>,
}

#[derive(Debug, Deserialize)]
struct Word {
    start: f64,
}

#[derive(Debug, Deserialize)]
struct Problem {
    variant: Option<String>,
    code: Option<String>,
    description: Option<String>,
    message: Option<String>,
}

impl Problem {
    fn code(&self) -> String {
        quote(self.variant.as_deref().or(self.code.as_deref()).unwrap_or("error"))
    }

    fn message(&self) -> String {
        quote(self.description.as_deref().or(self.message.as_deref()).unwrap_or_default())
    }
}

impl Piece {
    /// From the first word, if there is one: what lies before it is silence, or the end of a turn that has its text
    /// already. To the end of the piece: up to there nothing more comes.
    fn stretch(&self, words: &[Word]) -> Option<Stretch> {
        let start = self.start?;
        let end = seconds(start + self.duration?)?;
        let start = seconds(words.first().map_or(start, |word| word.start.max(start)))?;
        (start < end).then_some(Stretch { start, end })
    }

    /// A final without words tells only how far the server has read. Where it does not tell even that, it tells nothing.
    fn heard(mut self) -> Option<Heard> {
        let best = self.channel.alternatives.first_mut().map(std::mem::take).unwrap_or_default();
        let has_words = best.transcript.contains(char::is_alphanumeric);
        let heard = self.stretch(&best.words);
        if !self.is_final {
            let start = heard.map(|heard| heard.start);
            return has_words.then_some(Heard::Delta { text: best.transcript, start });
        }
        let told = has_words || heard.is_some();
        told.then(|| Heard::Final(Final { text: best.transcript, stretch: heard, ..Final::default() }))
    }
}

fn seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}

/// Reads results.
struct Results;

impl Read for Results {
    fn read(&mut self, text: &str) -> Result<Vec<Heard>, Disconnected> {
        Ok(match serde_json::from_str(text) {
            Ok(Said::Results(piece)) => piece.heard().into_iter().collect(),
            Ok(Said::Error(problem)) => {
                vec![Heard::Trouble { code: problem.code(), message: problem.message() }]
            }
            Ok(Said::Other) => Vec::new(),
            Err(error) => vec![unreadable(&error)],
        })
    }
}

#[cfg(test)]
mod tests;
