//! WhisperLive's WebSocket, with what its own client sends by default: 16 kHz float samples, 4096 at a time.
//!
//! A reading is complete there when another one follows it, or when the server has come to the same text more than
//! `same_output_threshold` times in a row; it reads the same second of silence again and again until then. No word of
//! ours would hurry it, and its own client says none.

use super::peer::{Peer, quote};
use super::socket::{Encode, Read, Socket, connection, first_words, open, ready_within, unreadable};
use super::{ConnectError, Connection, Disconnected, Final, Heard, Protocol, Target};
use crate::audio::{SampleRate, duration_of};
use futures_util::SinkExt;
use futures_util::future::BoxFuture;
use reqwest::Url;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::time::Duration;
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

/// How long a server may take to get ready: by default it loads a model for every client.
const READY: Duration = Duration::from_secs(60);

/// Samples in a frame.
const CHUNK: usize = 4_096;

/// Of the complete segments, a server repeats these many in every message.
const REPEATED: usize = 10;

/// Complete segments that are remembered, to be told once.
const REMEMBERED: usize = 8 * REPEATED;

/// The model that its client asks for.
const MODEL: &str = "small";

/// The driver.
pub(super) struct WhisperLive {
    peer: Peer,
    url: Url,
    target: Target,
}

impl WhisperLive {
    /// For one server.
    pub(super) fn new(target: Target) -> Result<Self, ConnectError> {
        let url = target.websocket("")?;
        Ok(Self { peer: Peer { url: target.url.clone(), protocol: "whisperlive" }, url, target })
    }

    async fn set_up(&self) -> Result<Connection, ConnectError> {
        let authorization = self.target.key.as_ref().map(|key| format!("Bearer {key}"));
        let mut socket = open(&self.peer, &self.url, authorization).await?;
        let uid = Uuid::new_v4().to_string();
        let sent = socket.send(Message::text(self.options(&uid).to_string())).await;
        sent.map_err(|error| self.peer.refused(error.to_string()))?;
        ready_within(&self.peer, READY, self.until_ready(&mut socket)).await?;
        Ok(connection(socket, Floats::default(), Segments::of(uid)))
    }

    /// Waits for `SERVER_READY`; skips warnings and what else comes.
    async fn until_ready(&self, socket: &mut Socket) -> Result<(), ConnectError> {
        loop {
            let text = first_words(&self.peer, socket).await?;
            let said: Said = serde_json::from_str(&text)
                .map_err(|_| self.peer.wrong(format!("it said {:?}", quote(&text))))?;
            match (said.status.as_deref(), &said.message) {
                (Some("WAIT"), message) => {
                    let reason = format!("it asks to come back in {} minutes", minutes(message));
                    return Err(ConnectError::Rejected { reason });
                }
                (Some("ERROR"), message) => return Err(self.peer.refused(words(message))),
                (None, Value::String(message)) if message == "SERVER_READY" => return Ok(()),
                _ => {}
            }
        }
    }

    /// What its client says first.
    fn options(&self, uid: &str) -> Value {
        json!({
            "uid": uid,
            "language": self.target.language,
            "task": "transcribe",
            "model": self.target.model.as_deref().unwrap_or(MODEL),
            "use_vad": true,
            "send_last_n_segments": REPEATED,
            "no_speech_thresh": 0.45,
            "clip_audio": false,
            "same_output_threshold": 10,
            "enable_translation": false,
            "target_language": "fr",
            "hotwords": null,
            "enable_diarization": false,
            "max_speakers": 10,
            "known_speakers": [],
            "word_timestamps": false,
            "initial_prompt": null,
            "vad_parameters": null,
        })
    }
}

impl Protocol for WhisperLive {
    fn rate(&self) -> SampleRate {
        SampleRate::SPEECH
    }

    /// Segments have times, but the server cuts silence out before it reads, and what is left is not where it was.
    fn tells_positions(&self) -> bool {
        false
    }

    fn connect(&self, _person: u32) -> BoxFuture<'_, Result<Connection, ConnectError>> {
        Box::pin(self.set_up())
    }
}

/// Writes frames of floats.
#[derive(Default)]
struct Floats {
    /// Samples that do not fill a frame yet.
    kept: Vec<i16>,
}

impl Encode for Floats {
    fn encode(&mut self, samples: &[i16]) -> Option<Message> {
        self.kept.extend_from_slice(samples);
        let full = self.kept.len() / CHUNK * CHUNK;
        (full > 0).then(|| floats(self.kept.drain(..full)))
    }

    fn kept(&self) -> Duration {
        duration_of(self.kept.len() as u64)
    }

    fn farewell(&mut self) -> Vec<Message> {
        let rest = (!self.kept.is_empty()).then(|| floats(self.kept.drain(..)));
        rest.into_iter().chain([Message::binary("END_OF_AUDIO")]).collect()
    }

    fn server_has_the_last_word(&self) -> bool {
        true
    }
}

fn floats(samples: impl Iterator<Item = i16>) -> Message {
    let bytes = samples.flat_map(|sample| (f32::from(sample) / 32_768.0).to_le_bytes());
    Message::binary(bytes.collect::<Vec<u8>>())
}

/// Any message.
#[derive(Debug, Deserialize)]
struct Said {
    uid: Option<String>,
    status: Option<String>,
    #[serde(default)]
    message: Value,
    #[serde(default)]
    segments: Vec<Segment>,
}

/// A reading of some seconds; once complete it does not change.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Segment {
    /// Seconds as a string, or as a number.
    start: Value,
    end: Value,
    text: String,
    #[serde(default)]
    completed: bool,
}

/// Reads segments.
struct Segments {
    uid: String,
    /// Complete ones, oldest first.
    told: VecDeque<Segment>,
    /// What was last heard of the one that is not complete.
    unfinished: String,
}

impl Segments {
    fn of(uid: String) -> Self {
        Self { uid, told: VecDeque::new(), unfinished: String::new() }
    }

    /// The text of a complete segment, the first time that it comes.
    fn news(&mut self, segment: Segment) -> Option<Heard> {
        if self.told.contains(&segment) {
            return None;
        }
        if self.told.len() == REMEMBERED {
            self.told.pop_front();
        }
        let text = segment.text.trim().to_owned();
        self.told.push_back(segment);
        // What comes after it is new, even if it reads the same.
        self.unfinished.clear();
        Some(Heard::Final(Final { text, ..Final::default() }))
    }

    /// The text of an incomplete segment, when it has changed: it is repeated with every message.
    fn change(&mut self, text: &str) -> Option<Heard> {
        if text.is_empty() || text == self.unfinished {
            return None;
        }
        text.clone_into(&mut self.unfinished);
        Some(Heard::Delta { text: text.to_owned(), start: None })
    }

    fn take(&mut self, segments: Vec<Segment>) -> Vec<Heard> {
        let mut heard = Vec::new();
        for segment in segments {
            if segment.completed {
                heard.extend(self.news(segment));
            } else {
                heard.extend(self.change(segment.text.trim()));
            }
        }
        heard
    }
}

impl Read for Segments {
    fn read(&mut self, text: &str) -> Result<Vec<Heard>, Disconnected> {
        let said: Said = match serde_json::from_str(text) {
            Ok(said) => said,
            Err(error) => return Ok(vec![unreadable(&error)]),
        };
        if said.uid.as_deref() != Some(self.uid.as_str()) {
            let message = format!("a message for {:?} came to {:?}", said.uid.unwrap_or_default(), self.uid);
            return Ok(vec![Heard::Trouble { code: "foreign_message".to_owned(), message }]);
        }
        if said.status.as_deref() == Some("ERROR") {
            let message = words(&said.message);
            return Ok(vec![Heard::Trouble { code: "server_error".to_owned(), message }]);
        }
        if said.message == "DISCONNECT" {
            let reason = "the server has sent DISCONNECT: the connection is older than it allows".to_owned();
            return Err(Disconnected { code: "disconnect".to_owned(), reason });
        }
        Ok(self.take(said.segments))
    }
}

fn words(message: &Value) -> String {
    message.as_str().map_or_else(|| quote(&message.to_string()), quote)
}

fn minutes(message: &Value) -> String {
    message.as_f64().map_or_else(|| words(message), |minutes| format!("{minutes:.1}"))
}

#[cfg(test)]
mod tests;
