//! A real voice on OpenAI's Realtime WebSocket: audio in binary frames, and everything that the server tells about it.
//!
//! A virtual person's [`Connection`](super::Connection) boils a server's events down to what all protocols share. Who
//! reads along while somebody speaks wants more: which text is of which item, who is ahead in line, when nothing is told
//! for a while.

use super::peer::{Peer, broke, parted};
use super::realtime::{HERTZ, Problem, until};
use super::socket::{ANSWER, PATIENCE, Socket, gone, open, ready_within};
use super::target::ask;
use super::{ConnectError, Disconnected, FAREWELL, Target};
use crate::audio::SampleRate;
use crate::pool::LeaseScope;
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// Who is spoken to, and what is asked of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DictationSettings {
    /// The server.
    pub target: Target,
    /// Text that came before, or words that may occur.
    pub prompt: Option<String>,
    /// How long to keep a slot (our own server only); `None` leaves it to the server.
    pub lease: Option<LeaseScope>,
    /// How much sound before the first speech belongs to an utterance; `None` leaves it to the server.
    pub prefix: Option<Duration>,
}

impl DictationSettings {
    /// Opens a transcription session and waits until the server is ready for audio.
    ///
    /// # Errors
    ///
    /// [`ConnectError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the connection.
    pub async fn connect(&self) -> Result<Dictation, ConnectError> {
        let mut url = self.target.websocket("/v1/realtime")?;
        ask(&mut url, "intent", "transcription");
        if let Some(model) = &self.target.model {
            ask(&mut url, "model", model);
        }
        let peer = Peer { url: self.target.url.clone(), protocol: "realtime" };
        let authorization = self.target.key.as_ref().map(|key| format!("Bearer {key}"));
        let mut socket = open(&peer, &url, authorization).await?;
        ready_within(&peer, PATIENCE, self.get_ready(&peer, &mut socket)).await?;
        let (sink, stream) = socket.split();
        Ok(Dictation { sender: DictationSender { sink }, receiver: DictationReceiver { stream } })
    }

    async fn get_ready(&self, peer: &Peer, socket: &mut Socket) -> Result<(), ConnectError> {
        until(peer, socket, ".created").await?;
        let update = json!({ "type": "session.update", "session": self.session() });
        let sent = socket.send(Message::text(update.to_string())).await;
        sent.map_err(|error| peer.refused(error.to_string()))?;
        until(peer, socket, ".updated").await
    }

    fn session(&self) -> Value {
        let mut transcription = json!({});
        let Target { model, language, .. } = &self.target;
        for (name, value) in [("model", model), ("language", language), ("prompt", &self.prompt)] {
            if let Some(value) = value {
                transcription[name] = value.as_str().into();
            }
        }
        let mut turns = json!({ "type": "server_vad" });
        if let Some(prefix) = self.prefix {
            turns["prefix_padding_ms"] = (prefix.as_millis() as u64).into();
        }
        let mut session = json!({
            "type": "transcription",
            "audio": { "input": {
                "format": { "type": "audio/pcm", "rate": HERTZ },
                "transcription": transcription,
                "turn_detection": turns,
            } },
        });
        // Other servers do not know the field.
        if let Some(lease) = self.lease {
            session["pool"] = json!({ "lease": lease.name() });
        }
        session
    }
}

/// An open session, in two halves that work side by side.
#[derive(Debug)]
pub struct Dictation {
    /// Where audio goes.
    pub sender: DictationSender,
    /// Where the server's events come from.
    pub receiver: DictationReceiver,
}

impl Dictation {
    /// The rate of the audio.
    pub fn rate() -> SampleRate {
        SampleRate::new(HERTZ).expect("it is more than 0")
    }
}

/// The sending half. Nothing in it has a limit of its own but [`hang_up`](Self::hang_up).
///
/// # Cancel safety
///
/// Of all that sends: when the future is dropped, nobody knows whether it was sent.
#[derive(Debug)]
pub struct DictationSender {
    sink: SplitSink<Socket, Message>,
}

impl DictationSender {
    /// Sends the next samples: 16-bit mono at [`Dictation::rate`], low byte first. Waits while the server takes nothing.
    ///
    /// # Errors
    ///
    /// The connection is gone.
    pub async fn send(&mut self, samples: Bytes) -> Result<(), Disconnected> {
        self.message(Message::Binary(samples)).await
    }

    /// Says that nothing more comes: what is being said ends here. The server answers with
    /// [`DictationEvent::Cleared`] when every item that there is has been named.
    ///
    /// # Errors
    ///
    /// The connection is gone.
    pub async fn finish(&mut self) -> Result<(), Disconnected> {
        // If nothing was being said, the commit fails; what is left to clear then is silence.
        for kind in ["input_audio_buffer.commit", "input_audio_buffer.clear"] {
            self.message(Message::text(json!({ "type": kind }).to_string())).await?;
        }
        Ok(())
    }

    /// Closes. Takes 2 seconds at most.
    pub async fn hang_up(mut self) {
        let close = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        let _ = timeout(FAREWELL, self.message(Message::Close(Some(close)))).await;
    }

    async fn message(&mut self, message: Message) -> Result<(), Disconnected> {
        self.sink.send(message).await.map_err(|error| broke(&error).unwrap_or_else(gone))
    }
}

/// The receiving half.
#[derive(Debug)]
pub struct DictationReceiver {
    stream: SplitStream<Socket>,
}

impl DictationReceiver {
    /// The next event; `None` when the server has closed the session in good order.
    ///
    /// # Errors
    ///
    /// The connection broke, or the server closed it for a reason.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<Option<Told>, Disconnected> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => return Ok(Some(Told::read(&text))),
                Some(Ok(Message::Close(frame))) => {
                    // The library writes the answer when it is asked for what comes next.
                    let _ = timeout(ANSWER, self.stream.next()).await;
                    return parted(frame.as_ref()).map_or(Ok(None), Err);
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return broke(&error).map_or(Ok(None), Err),
                None => return Ok(None),
            }
        }
    }
}

/// An event, as it came and as it is understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// The server's own JSON, on one line.
    pub json: String,
    /// What it means.
    pub event: DictationEvent,
}

impl Told {
    fn read(text: &str) -> Self {
        match serde_json::from_str::<Value>(text) {
            Ok(value) => Self { json: value.to_string(), event: DictationEvent::of(&value) },
            Err(error) => {
                let code = "unreadable_message".to_owned();
                let trouble = DictationEvent::Trouble { code, message: error.to_string() };
                Self { json: Value::from(text).to_string(), event: trouble }
            }
        }
    }
}

/// What a server tells while somebody speaks. Items are called by the server's names for them; times are positions in the
/// stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DictationEvent {
    /// Somebody begins to speak.
    SpeechStarted {
        /// What is going to be said.
        item: String,
        /// Where the utterance begins.
        at: Duration,
    },
    /// What was said is whole.
    Committed {
        /// What it is called.
        item: String,
    },
    /// More of a text. It is not taken back.
    Delta {
        /// Of which.
        item: String,
        /// To be appended to what came before.
        text: String,
    },
    /// The final text.
    Final {
        /// Of which.
        item: String,
        /// All of it; empty when nobody spoke.
        text: String,
    },
    /// There is no text.
    Failed {
        /// Of which.
        item: String,
        /// The server's code for why.
        code: String,
        /// The server's sentence.
        message: String,
    },
    /// What was said waits for a slot.
    InLine {
        /// 1 is next.
        position: u64,
        /// How much longer that takes, if somebody knows.
        estimate: Option<Duration>,
    },
    /// The waiting is over.
    Granted,
    /// Deltas of speech in progress are not sent for now, or are sent again.
    Interims {
        /// Whether they are not.
        paused: bool,
    },
    /// What was not committed is forgotten.
    Cleared,
    /// The server is about to close the session.
    Closing {
        /// Why.
        reason: String,
        /// When to come back; zero where the server does not say.
        retry_after: Duration,
    },
    /// An error that did not end the session.
    Trouble {
        /// The server's code.
        code: String,
        /// The server's sentence.
        message: String,
    },
    /// Nothing that somebody who reads along needs.
    Other,
}

impl DictationEvent {
    fn of(event: &Value) -> Self {
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        let number = |name: &str| event[name].as_u64();
        let item = text("item_id");
        let kind = event["type"].as_str().unwrap_or_default();
        match kind.strip_prefix("conversation.item.input_audio_transcription.") {
            Some("delta") => return Self::Delta { item, text: text("delta") },
            Some("completed") => return Self::Final { item, text: text("transcript") },
            Some("failed") => {
                let Problem { code, message } = Problem::of(&event["error"]);
                return Self::Failed { item, code, message };
            }
            _ => {}
        }
        match kind {
            "input_audio_buffer.speech_started" => {
                Self::SpeechStarted { item, at: millis(number("audio_start_ms").unwrap_or_default()) }
            }
            "input_audio_buffer.committed" => Self::Committed { item },
            "input_audio_buffer.cleared" => Self::Cleared,
            "pool.queue.updated" => Self::InLine {
                position: number("position").unwrap_or_default(),
                estimate: number("estimated_wait_ms").map(millis),
            },
            "pool.lease.granted" => Self::Granted,
            "pool.interims.paused" => Self::Interims { paused: true },
            "pool.interims.resumed" => Self::Interims { paused: false },
            "pool.session.closing" => Self::Closing {
                reason: text("reason"),
                retry_after: millis(number("retry_after_ms").unwrap_or_default()),
            },
            "error" => {
                let Problem { code, message } = Problem::of(&event["error"]);
                Self::Trouble { code, message }
            }
            _ => Self::Other,
        }
    }
}

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[cfg(test)]
mod tests;
