//! OpenAI's Realtime WebSocket, as its official clients speak it: 24 kHz PCM16 in base64, the server finds the turns.

use super::peer::{Peer, quote};
use super::socket::{
    Encode, PATIENCE, Read, Socket, connection, first_words, open, pcm16, ready_within, unreadable,
};
use super::target::ask;
use super::{ConnectError, Connection, Disconnected, Final, Heard, Protocol, Stretch, Target};
use crate::audio::SampleRate;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::SinkExt;
use futures_util::future::BoxFuture;
use reqwest::Url;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::time::Duration;
use tokio_tungstenite::tungstenite::Message;

/// Of the input, and of a spoken reply.
pub(super) const HERTZ: u32 = 24_000;

/// Items that are remembered while they have no text yet. A server that leaves more without one loses their positions.
const OPEN_ITEMS: usize = 256;

/// The driver.
pub(super) struct Realtime {
    peer: Peer,
    url: Url,
    target: Target,
}

impl Realtime {
    /// For one server.
    pub(super) fn new(target: Target) -> Result<Self, ConnectError> {
        let mut url = target.websocket("/v1/realtime")?;
        if !target.conversation {
            ask(&mut url, "intent", "transcription");
        }
        if let Some(model) = &target.model {
            ask(&mut url, "model", model);
        }
        Ok(Self { peer: Peer { url: target.url.clone(), protocol: "realtime" }, url, target })
    }

    async fn set_up(&self) -> Result<Connection, ConnectError> {
        let authorization = self.target.key.as_ref().map(|key| format!("Bearer {key}"));
        let mut socket = open(&self.peer, &self.url, authorization).await?;
        ready_within(&self.peer, PATIENCE, self.get_ready(&mut socket)).await?;
        Ok(connection(socket, Appender, Hearing::default()))
    }

    async fn get_ready(&self, socket: &mut Socket) -> Result<(), ConnectError> {
        until(&self.peer, socket, ".created").await?;
        let update = json!({ "type": "session.update", "session": self.session() });
        let sent = socket.send(Message::text(update.to_string())).await;
        sent.map_err(|error| self.peer.refused(error.to_string()))?;
        until(&self.peer, socket, ".updated").await
    }

    fn session(&self) -> Value {
        let mut transcription = json!({});
        if let Some(language) = &self.target.language {
            transcription["language"] = language.as_str().into();
        }
        // In a conversation the model is the one that replies, and the URL has named it.
        if let (Some(model), false) = (&self.target.model, self.target.conversation) {
            transcription["model"] = model.as_str().into();
        }
        json!({
            "type": if self.target.conversation { "realtime" } else { "transcription" },
            "audio": { "input": {
                "format": { "type": "audio/pcm", "rate": HERTZ },
                "transcription": transcription,
                "turn_detection": { "type": "server_vad" },
            } },
        })
    }
}

/// Waits for `session.created` or `.updated` (`transcription_session.` in the beta); skips what else comes.
pub(super) async fn until(peer: &Peer, socket: &mut Socket, ending: &str) -> Result<(), ConnectError> {
    loop {
        let text = first_words(peer, socket).await?;
        let event: Value =
            serde_json::from_str(&text).map_err(|_| peer.wrong(format!("it said {:?}", quote(&text))))?;
        let Some(kind) = event["type"].as_str() else {
            return Err(peer.wrong(format!("it said {:?}", quote(&text))));
        };
        if kind == "error" {
            let Problem { code, message } = Problem::of(&event["error"]);
            return Err(peer.refused(format!("{message} ({code})")));
        }
        if kind.strip_suffix(ending).is_some_and(|session| session.ends_with("session")) {
            return Ok(());
        }
    }
}

impl Protocol for Realtime {
    fn rate(&self) -> SampleRate {
        SampleRate::new(HERTZ).expect("it is more than 0")
    }

    fn tells_positions(&self) -> bool {
        true
    }

    fn connect(&self, _person: u32) -> BoxFuture<'_, Result<Connection, ConnectError>> {
        Box::pin(self.set_up())
    }
}

/// Writes `input_audio_buffer.append`.
struct Appender;

impl Encode for Appender {
    fn encode(&mut self, samples: &[i16]) -> Option<Message> {
        let mut event = String::from(r#"{"type":"input_audio_buffer.append","audio":""#);
        STANDARD.encode_string(pcm16(samples), &mut event);
        event.push_str("\"}");
        Some(Message::text(event))
    }
}

/// The events that matter here.
#[derive(Debug, Deserialize)]
#[serde(tag = "type")]
enum Event {
    #[serde(rename = "input_audio_buffer.speech_started")]
    SpeechStarted {
        #[serde(default)]
        item_id: String,
        audio_start_ms: u64,
    },
    #[serde(rename = "input_audio_buffer.speech_stopped")]
    SpeechStopped {
        #[serde(default)]
        item_id: String,
        audio_end_ms: u64,
    },
    #[serde(rename = "conversation.item.input_audio_transcription.delta")]
    Delta {
        #[serde(default)]
        item_id: String,
        #[serde(default)]
        delta: String,
    },
    #[serde(rename = "conversation.item.input_audio_transcription.completed")]
    Completed {
        #[serde(default)]
        item_id: String,
        transcript: String,
        pool: Option<Pool>,
    },
    #[serde(rename = "conversation.item.input_audio_transcription.failed")]
    Failed {
        #[serde(default)]
        item_id: String,
        #[serde(default)]
        error: Value,
    },
    #[serde(rename = "response.output_audio.delta", alias = "response.audio.delta")]
    ReplyAudio {
        #[serde(default)]
        response_id: String,
        delta: String,
    },
    #[serde(rename = "response.created")]
    ReplyCreated {
        #[serde(default)]
        response: Value,
    },
    #[serde(rename = "response.done")]
    ReplyDone {
        #[serde(default)]
        response: Value,
    },
    #[serde(rename = "error")]
    Error {
        #[serde(default)]
        error: Value,
    },
    #[serde(other)]
    Other,
}

/// What our own server adds to a text.
#[derive(Debug, Default, Deserialize)]
struct Pool {
    waited_ms: Option<u64>,
    decode_ms: Option<u64>,
    diverged_words: Option<u64>,
}

/// An error, as events carry it.
pub(super) struct Problem {
    pub(super) code: String,
    pub(super) message: String,
}

impl Problem {
    pub(super) fn of(error: &Value) -> Self {
        let code = error["code"].as_str().or(error["type"].as_str()).unwrap_or("error");
        Self { code: quote(code), message: quote(error["message"].as_str().unwrap_or_default()) }
    }
}

/// A turn that the server hears and has no final text for yet.
#[derive(Debug)]
struct Item {
    id: String,
    start: Duration,
    end: Option<Duration>,
    /// Its deltas so far.
    streamed: Option<String>,
}

impl Item {
    /// Which part of the stream it is of, if the server has told both ends.
    fn stretch(&self) -> Option<Stretch> {
        Some(Stretch { start: self.start, end: self.end? })
    }
}

/// Reads a server's events.
#[derive(Debug, Default)]
struct Hearing {
    /// Oldest first.
    items: VecDeque<Item>,
    /// The latest reply; none while the server does not tell when one begins.
    reply: Option<Reply>,
}

/// A reply that the server has begun.
#[derive(Debug)]
struct Reply {
    id: String,
    /// The user speaks again: what still comes of it is of no use to anybody.
    cut_off: bool,
}

impl Hearing {
    fn started(&mut self, id: String, start: Duration) {
        if let Some(reply) = &mut self.reply {
            reply.cut_off = true;
        }
        if self.items.len() == OPEN_ITEMS {
            self.items.pop_front();
        }
        self.items.push_back(Item { id, start, end: None, streamed: None });
    }

    fn stopped(&mut self, id: &str, end: Duration) {
        if let Some(item) = self.items.iter_mut().rev().find(|item| item.id == id) {
            item.end = Some(end);
        }
    }

    /// More of an item's text; where the item begins, if the server has told it.
    fn streamed(&mut self, id: &str, delta: &str) -> Option<Duration> {
        let item = self.items.iter_mut().rev().find(|item| item.id == id)?;
        item.streamed.get_or_insert_default().push_str(delta);
        Some(item.start)
    }

    /// Whether something is of the latest reply, and not of one that was cut off.
    fn is_current(&self, id: &str) -> bool {
        self.reply.as_ref().is_none_or(|reply| !reply.cut_off && (id.is_empty() || id == reply.id))
    }

    /// An item is over, and forgotten.
    fn finished(&mut self, id: &str) -> Option<Item> {
        let at = self.items.iter().position(|item| item.id == id)?;
        self.items.remove(at)
    }

    fn completed(&mut self, id: &str, text: String, pool: &Pool) -> Heard {
        let item = self.finished(id);
        Heard::Final(Final {
            text,
            stretch: item.as_ref().and_then(Item::stretch),
            waited: pool.waited_ms.map(Duration::from_millis),
            decoded: pool.decode_ms.map(Duration::from_millis),
            diverged_words: pool.diverged_words,
            streamed: item.and_then(|item| item.streamed),
        })
    }

    fn take(&mut self, event: Event) -> Vec<Heard> {
        match event {
            Event::SpeechStarted { item_id, audio_start_ms } => {
                self.started(item_id, Duration::from_millis(audio_start_ms));
            }
            Event::SpeechStopped { item_id, audio_end_ms } => {
                self.stopped(&item_id, Duration::from_millis(audio_end_ms));
            }
            Event::Delta { item_id, delta } if !delta.is_empty() => {
                let start = self.streamed(&item_id, &delta);
                return vec![Heard::Delta { text: delta, start }];
            }
            Event::Completed { item_id, transcript, pool } => {
                return vec![self.completed(&item_id, transcript, &pool.unwrap_or_default())];
            }
            Event::Failed { item_id, error } => {
                return vec![Heard::Failed {
                    code: Problem::of(&error).code,
                    stretch: self.finished(&item_id).as_ref().and_then(Item::stretch),
                }];
            }
            Event::ReplyCreated { response } => {
                let id = response["id"].as_str().unwrap_or_default().to_owned();
                self.reply = Some(Reply { id, cut_off: false });
            }
            Event::ReplyAudio { response_id, delta } if self.is_current(&response_id) => {
                return vec![Heard::ReplyAudio(length(&delta))];
            }
            Event::ReplyDone { response } => return self.reply_done(&response),
            Event::Error { error } => {
                let Problem { code, message } = Problem::of(&error);
                return vec![Heard::Trouble { code, message }];
            }
            Event::Delta { .. } | Event::ReplyAudio { .. } | Event::Other => {}
        }
        Vec::new()
    }

    /// A reply that failed is over, too.
    fn reply_done(&self, response: &Value) -> Vec<Heard> {
        let mut heard = Vec::new();
        if response["status"] == "failed" {
            let Problem { code, message } = Problem::of(&response["status_details"]["error"]);
            heard.push(Heard::Trouble { code, message });
        }
        if self.is_current(response["id"].as_str().unwrap_or_default()) {
            heard.push(Heard::ReplyDone);
        }
        heard
    }
}

impl Read for Hearing {
    fn read(&mut self, text: &str) -> Result<Vec<Heard>, Disconnected> {
        match serde_json::from_str(text) {
            Ok(event) => Ok(self.take(event)),
            Err(error) => Ok(vec![unreadable(&error)]),
        }
    }
}

/// How long the audio in a piece of base64 lasts.
fn length(base64: &str) -> Duration {
    let bytes = base64.trim_end_matches('=').len() as u64 * 3 / 4;
    Duration::from_nanos(bytes / 2 * 1_000_000_000 / u64::from(HERTZ))
}

#[cfg(test)]
mod tests;
