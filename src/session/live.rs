//! What goes into a live session, and what comes out of it.

use super::talk::{Item, ItemError, Place, ReplyEvent, ReplyRequest, TalkSettings};
use super::{FrontendError, ItemId, Patience};
use crate::asr::{AsrError, DecodeOptions, LaneEvent, Transcript};
use crate::audio::{AudioError, Span, StreamFormat};
use crate::pool::LeaseScope;
use crate::vad::EndpointSettings;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Bytes in one append: 0.7 s of PCM16 at 24 kHz. Even, so that no sample is cut in two.
const PIECE: usize = 32 * 1024;

/// Less audio than this is not worth a commit.
pub(super) const LEAST_COMMIT: Duration = Duration::from_millis(100);

/// How a session hears and reads. Changes apply to the audio that follows them.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionSettings {
    /// What the bytes are.
    pub format: StreamFormat,
    /// When an utterance ends.
    pub endpoint: EndpointSettings,
    /// How to read; `None` cuts utterances and leaves them unread.
    pub decode: Option<DecodeOptions>,
    /// How long leases are kept. For [`LeaseScope::Session`] one is asked for at once.
    pub lease: LeaseScope,
    /// What is kept for those who wait.
    pub keeping: Keeping,
    /// What is read before an utterance is over.
    pub live: LiveSettings,
    /// How much silence ends an utterance whose text is known; `None`: as much as `endpoint` says, whatever it reads.
    pub patience: Option<Patience>,
    /// Silence of this length is committed as an item of its own, where the detector cuts.
    pub idle_timeout: Option<Duration>,
    /// How to reply; `None`: only transcribe.
    pub talk: Option<Box<TalkSettings>>,
}

impl SessionSettings {
    /// How long leases are kept: there is nothing to keep one for where nothing is read.
    pub(super) fn scope(&self) -> LeaseScope {
        if self.decode.is_some() { self.lease } else { LeaseScope::Utterance }
    }
}

/// What is read before an utterance is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiveSettings {
    /// How often; `None`: not at all, and text comes when an utterance is over.
    pub interims: Option<InterimSettings>,
    /// Whether the final text is begun in each pause, in case it is the end.
    pub speculate: bool,
}

impl LiveSettings {
    /// Nothing.
    pub const OFF: Self = Self { interims: None, speculate: false };
}

impl Default for LiveSettings {
    fn default() -> Self {
        Self { interims: Some(InterimSettings::default()), speculate: true }
    }
}

/// How often what is being said is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InterimSettings {
    /// After so much new speech, until any of the text is told.
    pub first: Duration,
    /// And from then on.
    pub every: Duration,
}

impl InterimSettings {
    /// What may be set for either, in milliseconds.
    pub const MS: RangeInclusive<u64> = 100..=10_000;
}

impl Default for InterimSettings {
    fn default() -> Self {
        Self { first: Duration::from_millis(300), every: Duration::from_millis(500) }
    }
}

/// How much of what was said is kept until it can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keeping {
    /// So much audio (and 32 utterances). When as much waits no more is taken in, and the sender has to wait.
    pub audio: Duration,
    /// Unless it is the pool's line that it waits in, for longer than this: then the session goes on hearing, and what
    /// comes on top is dropped.
    pub patience: Duration,
}

impl Default for Keeping {
    fn default() -> Self {
        Self { audio: Duration::from_mins(2), patience: Duration::from_secs(3) }
    }
}

/// What a session can be told to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Hear these bytes, in the session's format.
    Append(Vec<u8>),
    /// Cut now.
    Commit,
    /// Forget what was said since the last cut.
    Clear,
    /// Use other settings from here on.
    Configure(Box<SessionSettings>),
    /// Reply now.
    Reply(Box<ReplyRequest>),
    /// Do not: the reply of this name, or whichever there is.
    CancelReply(Option<String>),
    /// Let nothing more be heard of what is being said.
    ClearOutput,
    /// So much of this message has been heard, and it goes on.
    Played {
        /// The message's name.
        item: String,
        /// How much.
        heard: Duration,
    },
    /// So much of this message was heard, and that is all.
    Truncate {
        /// The message's name.
        item: String,
        /// How much.
        heard: Duration,
    },
    /// Keep an item that the client made.
    AddItem(Place, Box<Item>),
    /// Show an item.
    ShowItem(String),
    /// Forget an item.
    DeleteItem(String),
}

impl Command {
    /// Appends for `bytes`, in pieces that keep the channel's bound meaningful.
    pub fn appends(bytes: &[u8]) -> impl Iterator<Item = Command> {
        bytes.chunks(PIECE).map(|piece| Command::Append(piece.to_vec()))
    }
}

/// A command, and the name that its sender has for it, which comes back when it is refused.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// What to do.
    pub command: Command,
    /// The sender's name for it.
    pub origin: Option<String>,
}

/// Why a command was refused. The session goes on.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// There was nothing to commit, or hardly anything.
    #[error("the input audio buffer has {} ms of audio to commit, at least {} ms are needed", buffered.as_millis(), LEAST_COMMIT.as_millis())]
    CommitEmpty {
        /// What there was.
        buffered: Duration,
    },
    /// The bytes were not audio in the session's format.
    #[error(transparent)]
    Audio(#[from] AudioError),
    /// An item cannot be had, or changed.
    #[error(transparent)]
    Item(#[from] ItemError),
    /// A reply is being made already.
    #[error("a response is in progress already; wait for its response.done, or cancel it")]
    ReplyActive,
    /// No reply is being made, or another.
    #[error("there is no such response in progress")]
    NoReply,
    /// Nothing is being said, or something else.
    #[error("no such output audio is being played")]
    NoOutput,
    /// The session only transcribes.
    #[error("this is a transcription session; one of type \"realtime\" replies")]
    Speechless,
}

impl Refusal {
    /// The stable name of this error on the wire, in logs and in metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::CommitEmpty { .. } => "input_audio_buffer_commit_empty",
            Self::Audio(error) => error.code(),
            Self::Item(error) => error.code(),
            Self::ReplyActive => "conversation_already_has_active_response",
            Self::NoReply => "response_cancel_not_active",
            Self::NoOutput => "output_audio_not_playing",
            Self::Speechless => "response_unavailable",
        }
    }
}

/// What happened in a session, in order. Positions are samples at 16 kHz since its beginning.
#[derive(Debug)]
pub enum SessionEvent {
    /// Speech began.
    SpeechStarted {
        /// The name of what will have been said.
        item: ItemId,
        /// Where, pre-roll included.
        at: u64,
    },
    /// Speech is over.
    SpeechStopped {
        /// What was said.
        item: ItemId,
        /// Where, end silence included.
        at: u64,
    },
    /// An utterance is complete. [`Read`](Self::Read), [`Unread`](Self::Unread) or [`Dropped`](Self::Dropped) follows,
    /// once, if the session reads (or did, and has told some of the text) and its driver is not dropped.
    Committed {
        /// What was said.
        item: ItemId,
        /// The item before it.
        previous: Option<String>,
        /// Where it lies.
        span: Span,
        /// Whether the voice detector found its end, and not the client.
        detected: bool,
    },
    /// What had been said since the last cut is forgotten.
    Cleared,
    /// Text of an item that is told already was in something that is forgotten: the item has no other end.
    Discarded {
        /// What was being said.
        item: ItemId,
    },
    /// Nobody has spoken for as long as the session waits. The silence is committed as an item, which ends like others.
    TimedOut {
        /// The name of the silence.
        item: ItemId,
        /// Where it lies.
        span: Span,
    },
    /// More of the text of an item, which may still be in progress. It is never taken back.
    Delta {
        /// What is being said.
        item: ItemId,
        /// To be appended to what was told before, as it is.
        text: String,
    },
    /// Text of speech in progress is not told for now, because finals need the slots, or is told again.
    Interims {
        /// Whether it is not.
        paused: bool,
    },
    /// The text of an item.
    Read {
        /// What was said.
        item: ItemId,
        /// How long it was.
        audio: Duration,
        /// Its text; empty when nobody spoke.
        transcript: Box<Transcript>,
        /// What is to be appended to the deltas that were told.
        rest: Option<String>,
        /// Words of all deltas that the text has otherwise.
        diverged_words: u32,
    },
    /// An item has no text.
    Unread {
        /// What was said.
        item: ItemId,
        /// Why it has no text.
        error: AsrError,
    },
    /// An item has no text, because too much waits for a lease already. This instead of [`Unread`](Self::Unread).
    Dropped {
        /// What was said.
        item: ItemId,
        /// What went missing.
        dropped: Dropped,
    },
    /// Something happened to the session's leases. What happened to that of an item comes before the item's text.
    Lease(LaneEvent),
    /// A client's item is kept.
    ItemAdded {
        /// The item before it.
        previous: Option<String>,
        /// As it is kept.
        item: Box<Item>,
    },
    /// An item that somebody wanted to see.
    ItemShown(Box<Item>),
    /// An item is forgotten.
    ItemDeleted {
        /// Its name.
        id: String,
    },
    /// Something became of a reply.
    Reply(Box<ReplyEvent>),
    /// A command was refused.
    Refused {
        /// The sender's name for it.
        origin: Option<String>,
        /// Why.
        refusal: Refusal,
    },
    /// The session cannot hear any more. It is the last event.
    Deaf(FrontendError),
}

/// Audio that was dropped, and how much waited before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{:.1} s of audio, from {:.1} s to {:.1} s of the session, were dropped: {:.1} s in {n_waiting} utterances already wait for a slot",
    span.duration().as_secs_f64(), span.start_seconds(), span.end_seconds(), waiting.as_secs_f64()
)]
pub struct Dropped {
    /// Where it lay in the stream.
    pub span: Span,
    /// How much audio waits.
    pub waiting: Duration,
    /// In how many utterances.
    pub n_waiting: usize,
}

impl Dropped {
    /// The stable name of this error on the wire, in logs and in metrics.
    pub fn code(&self) -> &'static str {
        "audio_dropped"
    }
}

impl SessionEvent {
    /// The item that was spoken and that the event tells of, if it does.
    pub(super) fn spoken_item(&self) -> Option<ItemId> {
        match self {
            Self::SpeechStarted { item, .. }
            | Self::SpeechStopped { item, .. }
            | Self::Committed { item, .. }
            | Self::Discarded { item }
            | Self::Delta { item, .. }
            | Self::Read { item, .. }
            | Self::Unread { item, .. }
            | Self::Dropped { item, .. } => Some(*item),
            _ => None,
        }
    }

    /// The code of the error that the event tells, if it tells one.
    pub(super) fn failure(&self) -> Option<&'static str> {
        match self {
            Self::Unread { error, .. } => Some(error.code()),
            Self::Dropped { dropped, .. } => Some(dropped.code()),
            Self::Refused { refusal, .. } => Some(refusal.code()),
            Self::Deaf(error) => Some(error.code()),
            Self::SpeechStarted { .. }
            | Self::SpeechStopped { .. }
            | Self::Committed { .. }
            | Self::Discarded { .. }
            | Self::TimedOut { .. }
            | Self::Delta { .. }
            | Self::Interims { .. }
            | Self::Cleared
            | Self::Lease(_)
            | Self::ItemAdded { .. }
            | Self::ItemShown(_)
            | Self::ItemDeleted { .. }
            | Self::Reply(_)
            | Self::Read { .. } => None,
        }
    }
}
