//! What becomes of replies, in order.

use super::dialogue::Reason;
use super::history::Item;
use crate::audio::StreamFormat;
use crate::llm::Usage;
use std::fmt;
use std::time::Duration;
use uuid::Uuid;

/// The name of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReplyId(pub Uuid);

impl fmt::Display for ReplyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "resp_{}", self.0.simple())
    }
}

/// Something that became of a reply.
#[derive(Debug, Clone, PartialEq)]
pub enum ReplyEvent {
    /// It begins.
    Began(ReplyView),
    /// One of its items does. [`Text`](Self::Text), [`Audio`](Self::Audio) or [`Arguments`](Self::Arguments) follow, then
    /// [`ItemDone`](Self::ItemDone).
    ItemAdded {
        /// Which item.
        part: Part,
        /// Whether it joins the conversation.
        joins: bool,
        /// The one before it there.
        previous: Option<String>,
        /// Empty, as yet.
        item: Item,
    },
    /// More text of a message: what is said next, if it is spoken.
    Text {
        /// Of which item.
        part: Part,
        /// Whether it is spoken.
        spoken: bool,
        /// To be appended.
        delta: String,
    },
    /// More sound of a message.
    Audio {
        /// Of which item.
        part: Part,
        /// In the format that the reply began with.
        bytes: Vec<u8>,
    },
    /// More of the arguments of a call.
    Arguments {
        /// Of which item.
        part: Part,
        /// The name of the call.
        call_id: String,
        /// A piece of JSON.
        delta: String,
    },
    /// An item is whole, or broken off.
    ItemDone {
        /// Which.
        part: Part,
        /// Whether it belongs to the conversation.
        joins: bool,
        /// The one before it there.
        previous: Option<String>,
        /// All of it, as far as it was told.
        item: Item,
    },
    /// A spoken message was cut down to what was heard of it.
    Truncated {
        /// Which.
        item: String,
        /// What was heard.
        heard: Duration,
    },
    /// Sound that was not played yet is to be forgotten.
    OutputCleared {
        /// Of this reply.
        reply: ReplyId,
    },
    /// A phrase has no sound; its text was told. The reply goes on.
    Unsaid {
        /// The stable name of the error.
        code: &'static str,
        /// What happened.
        message: String,
    },
    /// It is over.
    Ended(ReplyView),
}

/// One item of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The reply.
    pub reply: ReplyId,
    /// Its place in the reply, from 0.
    pub index: u32,
    /// Its name.
    pub item: String,
}

/// A reply as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplyView {
    /// Its name.
    pub id: ReplyId,
    /// How it ended, if it has.
    pub status: ReplyStatus,
    /// What is in it.
    pub items: Vec<Item>,
    /// Whether it is spoken.
    pub spoken: bool,
    /// With which voice, as the client calls it.
    pub voice: String,
    /// In which format.
    pub output: StreamFormat,
    /// Whether it belongs to the conversation.
    pub outside: bool,
    /// The longest it may be, in tokens.
    pub max_tokens: Option<u32>,
    /// The client's own notes.
    pub metadata: Vec<(String, String)>,
    /// What it took, where the endpoint says so.
    pub usage: Option<Usage>,
    /// Where the time went.
    pub latency: Latency,
}

/// How a reply ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplyStatus {
    /// Not yet.
    InProgress,
    /// All was said.
    Completed,
    /// Before its time.
    Cancelled(Reason),
    /// It got too long, or was held back.
    Incomplete {
        /// Which of the two.
        filtered: bool,
    },
    /// It could not be made, or not to its end.
    Failed {
        /// The stable name of the error.
        code: &'static str,
        /// What happened.
        message: String,
    },
}

/// What the way to the first sound of a reply was spent on (the first text of one that is not spoken). What did not happen
/// is `None`; what did adds up to the total.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Latency {
    /// From the last speech until its end was believed.
    pub endpoint: Option<Duration>,
    /// Waiting for a slot.
    pub wait: Option<Duration>,
    /// Reading what was said. What was read before the end was believed is not counted twice.
    pub decode: Option<Duration>,
    /// From there to the first token of the model.
    pub first_token: Option<Duration>,
    /// From there to the first whole phrase.
    pub first_phrase: Option<Duration>,
    /// From there to the first sound that was sent.
    pub first_audio: Option<Duration>,
    /// All of it; for a reply that a client asked for, from there.
    pub total: Option<Duration>,
}
