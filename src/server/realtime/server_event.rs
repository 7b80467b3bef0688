//! What clients hear: OpenAI's GA events, and ours, which begin with `pool.`.

use super::fault::Fault;
use crate::server::formats::LogprobWire;
use serde::Serialize;
use serde_json::Value;

/// One event for a client. Its `event_id` is added when it is written.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type")]
pub(super) enum ServerEvent {
    #[serde(rename = "session.created")]
    SessionCreated { session: Value },
    #[serde(rename = "session.updated")]
    SessionUpdated { session: Value },
    /// Beta's name of the first event of a transcription session.
    #[serde(rename = "transcription_session.created")]
    TranscriptionSessionCreated { session: Value },
    /// Beta's name of `session.updated`.
    #[serde(rename = "transcription_session.updated")]
    TranscriptionSessionUpdated { session: Value },
    #[serde(rename = "error")]
    Error { error: Fault },
    #[serde(rename = "input_audio_buffer.speech_started")]
    SpeechStarted { audio_start_ms: u64, item_id: String },
    #[serde(rename = "input_audio_buffer.speech_stopped")]
    SpeechStopped { audio_end_ms: u64, item_id: String },
    #[serde(rename = "input_audio_buffer.committed")]
    Committed { previous_item_id: Option<String>, item_id: String },
    #[serde(rename = "input_audio_buffer.cleared")]
    Cleared,
    #[serde(rename = "input_audio_buffer.timeout_triggered")]
    TimeoutTriggered { audio_start_ms: u64, audio_end_ms: u64, item_id: String },
    #[serde(rename = "conversation.item.added")]
    ItemAdded { previous_item_id: Option<String>, item: Item },
    #[serde(rename = "conversation.item.done")]
    ItemDone { previous_item_id: Option<String>, item: Item },
    /// What beta had for both.
    #[serde(rename = "conversation.item.created")]
    ItemCreated { previous_item_id: Option<String>, item: Item },
    #[serde(rename = "conversation.item.retrieved")]
    ItemRetrieved { item: Item },
    #[serde(rename = "conversation.item.deleted")]
    ItemDeleted { item_id: String },
    #[serde(rename = "conversation.item.input_audio_transcription.delta")]
    TranscriptionDelta {
        item_id: String,
        content_index: u32,
        delta: String,
        /// Only when the session includes them, here and below; and here only where they are known.
        #[serde(skip_serializing_if = "Option::is_none")]
        logprobs: Option<Vec<LogprobWire>>,
    },
    #[serde(rename = "conversation.item.input_audio_transcription.completed")]
    TranscriptionCompleted {
        item_id: String,
        content_index: u32,
        transcript: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        logprobs: Option<Vec<LogprobWire>>,
        usage: Usage,
        pool: CompletedPool,
    },
    #[serde(rename = "conversation.item.input_audio_transcription.failed")]
    TranscriptionFailed { item_id: String, content_index: u32, error: TranscriptionError },
    #[serde(rename = "pool.queue.updated")]
    QueueUpdated {
        /// 1 is next.
        position: usize,
        /// `null` where it would be a guess.
        estimated_wait_ms: Option<u64>,
    },
    #[serde(rename = "pool.lease.granted")]
    LeaseGranted { slot: u16, waited_ms: u64 },
    #[serde(rename = "pool.lease.released")]
    LeaseReleased { held_ms: u64 },
    /// No deltas come for now.
    #[serde(rename = "pool.interims.paused")]
    InterimsPaused,
    #[serde(rename = "pool.interims.resumed")]
    InterimsResumed,
    #[serde(rename = "pool.session.closing")]
    Closing {
        reason: &'static str,
        /// When to come back; 0: at once.
        retry_after_ms: u64,
        /// When it happens, unless (for `idle`) something comes before; `null`: when all that was said has its text.
        closes_in_ms: Option<u64>,
    },
}

/// A user's message.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Item {
    pub(super) id: String,
    pub(super) object: &'static str,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) status: &'static str,
    pub(super) role: &'static str,
    pub(super) content: [InputAudio; 1],
    /// Only where there is something to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pool: Option<ItemPool>,
}

/// What only those are told who ask for an item.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct ItemPool {
    pub(super) withheld: WithheldText,
}

/// A text that was read and is not told.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct WithheldText {
    pub(super) reason: &'static str,
    pub(super) text: String,
}

/// What a user's message consists of. The audio itself is not kept.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct InputAudio {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) transcript: Option<String>,
}

impl Item {
    /// A message that was spoken; its transcript as far as it is known.
    pub(super) fn spoken(id: String, transcript: Option<String>) -> Self {
        Self {
            id,
            object: "realtime.item",
            kind: "message",
            status: "completed",
            role: "user",
            content: [InputAudio { kind: "input_audio", transcript }],
            pool: None,
        }
    }
}

/// What a transcription cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename = "duration")]
pub(super) struct Usage {
    pub(super) seconds: f64,
}

/// What a transcription took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct CompletedPool {
    pub(super) waited_ms: u64,
    pub(super) decode_ms: u64,
    /// Words of the deltas that the final reading has otherwise.
    pub(super) diverged_words: u32,
    /// Why the text was withheld, if it was.
    pub(super) withheld: Option<&'static str>,
}

/// Why an item has no transcript.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct TranscriptionError {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) param: Option<String>,
}

#[derive(Serialize)]
struct Numbered<'a> {
    event_id: String,
    #[serde(flatten)]
    event: &'a ServerEvent,
}

/// Writes events down, each under a name of its own.
#[derive(Debug)]
pub(super) struct Scribe {
    prefix: String,
    written: u64,
}

impl Scribe {
    /// For one session, whose name makes the events' names unique among sessions.
    pub(super) fn new(session: &str) -> Self {
        Self { prefix: format!("event_{session}"), written: 0 }
    }

    /// The text frame for an event.
    pub(super) fn write(&mut self, event: &ServerEvent) -> String {
        self.written += 1;
        let event_id = format!("{}_{}", self.prefix, self.written);
        serde_json::to_string(&Numbered { event_id, event })
            .expect("server events hold only what JSON can say")
    }
}
