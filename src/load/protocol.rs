//! What a virtual person needs of a server, whatever it speaks: somewhere to send speech, somewhere text comes from.
//!
//! One file for each protocol turns its wire into these few words. Nothing here knows when to speak or what is right:
//! that is the person's and the diary's business.

mod deepgram;
mod dictation;
mod peer;
mod realtime;
mod rest;
mod socket;
mod target;
mod whisperlive;

#[cfg(test)]
mod scripted;

pub use dictation::{Dictation, DictationEvent, DictationReceiver, DictationSender, DictationSettings, Told};
pub(super) use peer::root_cause;
pub use target::{ProtocolName, Target};

use crate::audio::SampleRate;
use futures_util::future::BoxFuture;
use std::time::Duration;

/// A way to talk to servers of one kind; opens one connection for each person.
pub trait Protocol: Send + Sync {
    /// The rate of the samples that [`Speaker::say`] takes.
    fn rate(&self) -> SampleRate;

    /// Whether [`Final::stretch`] says which part of the audio a text is of. Where it does not, a person has to wait for
    /// its text before it speaks again, or nobody could tell what was late and what was lost.
    fn tells_positions(&self) -> bool;

    /// Opens a connection and waits until the server is ready for audio.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the connection.
    fn connect(&self, person: u32) -> BoxFuture<'_, Result<Connection, ConnectError>>;
}

/// An open connection, in two halves that work side by side.
pub struct Connection {
    /// Where speech goes.
    pub speaker: Box<dyn Speaker>,
    /// Where text comes from.
    pub listener: Box<dyn Listener>,
}

/// How long leaving may take in all.
pub(super) const FAREWELL: Duration = Duration::from_secs(2);

/// The sending half.
///
/// Nothing here has a limit of its own but [`hang_up`](Speaker::hang_up): a server that reads nothing keeps its callers
/// for as long as they have patience.
pub trait Speaker: Send {
    /// Says that the next samples belong to a recording, and no longer to the silence around it.
    fn begin_turn(&mut self);

    /// Takes the next samples of the stream: 16-bit mono at the protocol's rate. Waits while the server takes nothing.
    /// Gives how much of the stream's end is not on its way yet because it does not fill a message; a protocol that
    /// takes whole recordings gives nothing, for it is measured from their end.
    ///
    /// # Errors
    ///
    /// The connection is gone, as far as the sending half knows why. The server's own word for it may still lie in the
    /// socket, where the [`Listener`] finds it.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, nobody knows whether the samples were sent: hang up.
    fn say<'a>(&'a mut self, samples: &'a [i16]) -> BoxFuture<'a, Result<Duration, Disconnected>>;

    /// Says that the recording is over. A protocol that takes whole recordings begins to send it now, and does not wait
    /// for the answer.
    ///
    /// # Errors
    ///
    /// The connection is gone. A protocol that has none between two recordings says so as [`Heard::Failed`], or by
    /// its listener.
    ///
    /// # Cancel safety
    ///
    /// As [`say`](Speaker::say).
    fn end_turn(&mut self) -> BoxFuture<'_, Result<(), Disconnected>>;

    /// Tells the server that nothing more comes, as a well-behaved client does, and closes. Takes 2 seconds at most; it
    /// is faster when somebody listens meanwhile, because some servers have the last word.
    fn hang_up(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// The receiving half.
pub trait Listener: Send {
    /// The next thing worth knowing; `None` when the server has closed the connection in good order.
    ///
    /// # Errors
    ///
    /// The connection broke, and we had not hung up. Said once; after it there is nothing more.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Heard>, Disconnected>>;
}

/// What a server said, in words that all protocols share.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// Text that may still change, or a piece of it.
    Delta {
        /// The text, or the piece.
        text: String,
        /// Where in the stream the speech begins that it is of, if the protocol says so.
        start: Option<Duration>,
    },
    /// The final text of a stretch of speech.
    Final(Final),
    /// A stretch of speech that ended without text.
    Failed {
        /// The server's code for why.
        code: String,
        /// As in [`Final::stretch`].
        stretch: Option<Stretch>,
    },
    /// A piece of the spoken reply, that long.
    ReplyAudio(Duration),
    /// The reply is complete.
    ReplyDone,
    /// An error that did not end the connection.
    Trouble {
        /// The server's code, or the protocol's word for it.
        code: String,
        /// The server's sentence.
        message: String,
    },
}

/// The final text of a stretch of speech, and what the server says of how it came about.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Final {
    /// The text; empty when the server heard nothing in it.
    pub text: String,
    /// Which part of the stream it is of, if the protocol says so.
    pub stretch: Option<Stretch>,
    /// How long it waited for a slot.
    pub waited: Option<Duration>,
    /// How long the decode took.
    pub decoded: Option<Duration>,
    /// Words in which it differs from the deltas before it.
    pub diverged_words: Option<u64>,
    /// Its deltas, joined; `None` where none came, or the protocol takes them back.
    pub streamed: Option<String>,
}

/// A part of a person's stream, from its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stretch {
    /// Where it begins.
    pub start: Duration,
    /// Where it ends.
    pub end: Duration,
}

/// Why there is no connection: why none came about, or why there is no driver that could try.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The address makes no sense.
    #[error("{url} is not the address of a server: {reason}")]
    BadAddress {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody answers at the address, or this machine has no usable TLS.
    #[error("cannot reach {url}: {reason}")]
    Unreachable {
        /// The address.
        url: String,
        /// What the network said.
        reason: String,
    },
    /// Somebody answers, but speaks something else.
    #[error("{url} does not speak {protocol}: {reason}")]
    WrongProtocol {
        /// The address.
        url: String,
        /// What was spoken to it.
        protocol: &'static str,
        /// What came back.
        reason: String,
    },
    /// It speaks the protocol, and refuses what was asked for, or closed before it was ready.
    #[error("{url} refuses: {reason}")]
    Refused {
        /// The address.
        url: String,
        /// What it said.
        reason: String,
    },
    /// The server does not know the caller, or the key cannot be sent.
    #[error("{url} refuses the key: {reason}")]
    Unauthorized {
        /// The address.
        url: String,
        /// What came back.
        reason: String,
    },
    /// The server is full and says so, or asks to come back later.
    #[error("the server is full: {reason}")]
    Rejected {
        /// What came back.
        reason: String,
    },
}

impl ConnectError {
    /// The stable name of this error in reports.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadAddress { .. } => "bad_address",
            Self::Unreachable { .. } => "unreachable",
            Self::WrongProtocol { .. } => "wrong_protocol",
            Self::Refused { .. } => "refused",
            Self::Unauthorized { .. } => "unauthorized",
            Self::Rejected { .. } => REJECTED,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::BadAddress { .. } => "name the server as in http://127.0.0.1:8080",
            Self::Unreachable { .. } => "start the server first, and check host and port",
            Self::WrongProtocol { .. } => "choose another --protocol, or check host and port",
            Self::Refused { .. } => "choose another --model or --language",
            Self::Unauthorized { .. } => "give its key with --api-key",
            Self::Rejected { .. } => "wait until others have left, or raise the server's limits",
        }
    }
}

/// The connection ended before its time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the connection was lost ({code}): {reason}")]
pub struct Disconnected {
    /// `connection_lost`, `stalled` when it took nothing any more, the server's own code, `closed_` and a WebSocket code, or `rejected` when it turned us away.
    pub code: String,
    /// What is known about it.
    pub reason: String,
}

impl Disconnected {
    /// Whether the server, or another one in its place, may well take us again in a moment: it goes away, is full, or the
    /// network broke. Any other reason is one that stays.
    pub fn may_pass(&self) -> bool {
        // 1001 and 1012, with our own server's reasons for them and without any.
        const PASSING: [&str; 8] = [
            "closed_1001",
            "closed_1012",
            "connection_lost",
            "crashed",
            REJECTED,
            "session_lifetime",
            "shutdown",
            "stalled",
        ];
        PASSING.contains(&self.code.as_str())
    }

    fn connection(reason: impl Into<String>) -> Self {
        Self { code: "connection_lost".to_owned(), reason: reason.into() }
    }

    fn rejected(reason: impl Into<String>) -> Self {
        Self { code: REJECTED.to_owned(), reason: reason.into() }
    }
}

/// The code of everything that a server does not take because it is full.
pub(super) const REJECTED: &str = "rejected";
