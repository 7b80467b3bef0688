//! What clients hear: OpenAI's GA events, and ours, which begin with `pool.`.

use super::beta::Dialect;
use super::fault::Fault;
use super::item::Item;
use super::response::Response;
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
    #[serde(rename = "conversation.item.truncated")]
    ItemTruncated { item_id: String, content_index: u32, audio_end_ms: u64 },
    #[serde(rename = "response.created")]
    ResponseCreated { response: Box<Response> },
    #[serde(rename = "response.done")]
    ResponseDone { response: Box<Response> },
    #[serde(rename = "response.output_item.added")]
    OutputItemAdded { response_id: String, output_index: u32, item: Item },
    #[serde(rename = "response.output_item.done")]
    OutputItemDone { response_id: String, output_index: u32, item: Item },
    #[serde(rename = "response.content_part.added")]
    ContentPartAdded {
        #[serde(flatten)]
        at: At,
        part: Part,
    },
    #[serde(rename = "response.content_part.done")]
    ContentPartDone {
        #[serde(flatten)]
        at: At,
        part: Part,
    },
    #[serde(rename = "response.output_text.delta")]
    TextDelta {
        #[serde(flatten)]
        at: At,
        delta: String,
    },
    #[serde(rename = "response.output_text.done")]
    TextDone {
        #[serde(flatten)]
        at: At,
        text: String,
    },
    #[serde(rename = "response.output_audio_transcript.delta")]
    AudioTranscriptDelta {
        #[serde(flatten)]
        at: At,
        delta: String,
    },
    #[serde(rename = "response.output_audio_transcript.done")]
    AudioTranscriptDone {
        #[serde(flatten)]
        at: At,
        transcript: String,
    },
    #[serde(rename = "response.output_audio.delta")]
    AudioDelta {
        #[serde(flatten)]
        at: At,
        /// In base64.
        delta: String,
    },
    #[serde(rename = "response.output_audio.done")]
    AudioDone {
        #[serde(flatten)]
        at: At,
    },
    #[serde(rename = "response.function_call_arguments.delta")]
    ArgumentsDelta { response_id: String, item_id: String, output_index: u32, call_id: String, delta: String },
    #[serde(rename = "response.function_call_arguments.done")]
    ArgumentsDone {
        response_id: String,
        item_id: String,
        output_index: u32,
        call_id: String,
        name: String,
        arguments: String,
    },
    #[serde(rename = "output_audio_buffer.cleared")]
    OutputCleared { response_id: String },
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
    /// The server is about to close. What was committed gets its text first, or `failed`.
    #[serde(rename = "pool.session.closing")]
    Closing {
        /// `shutdown`, `session_idle`, `session_lifetime`; or `crashed`: the process ends against its will, within half a
        /// second, and is started again. With it go all sessions that it knew, also those that could be resumed: what
        /// names them means nothing to the next process, so clients begin a new one.
        reason: &'static str,
        /// When to come back; 0: at once. Clients that all come at the same moment add a random part of it.
        retry_after_ms: u64,
        /// When it happens, unless (for `idle`) something comes before; `null`: when all that was said has its text.
        closes_in_ms: Option<u64>,
    },
}

/// A place in a reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct At {
    pub(super) response_id: String,
    pub(super) item_id: String,
    pub(super) output_index: u32,
    pub(super) content_index: u32,
}

/// What stands there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Part {
    Text { text: String },
    Audio { transcript: String },
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

    /// The text frame for an event, for a client that has these names for things.
    pub(super) fn write(&mut self, event: &ServerEvent, dialect: Dialect) -> String {
        self.written += 1;
        let event_id = format!("{}_{}", self.prefix, self.written);
        dialect.written(&Numbered { event_id, event })
    }
}
