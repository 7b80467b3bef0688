//! One conversation, or one recording: audio in, text out.
//!
//! [`Frontend`] turns bytes into utterances on its own threads; [`Ear`] is the part of that which belongs to one
//! session. [`Recording`] transcribes a file as fast as slots allow, and [`Driver`] transcribes a live stream.

mod backlog;
mod draft;
mod driver;
mod frontend;
mod interpreter;
mod jam;
mod live;
mod pace;
mod patience;
mod recording;
mod talk;
mod turns;
mod waiting;
mod windows;

pub use driver::{Driver, Ended, Session, SessionEvents, open};
pub use frontend::{Ear, EarInput, Frontend, FrontendError};
pub use live::{
    Command, Dropped, InterimSettings, Keeping, LiveSettings, Refusal, Request, SessionEvent, SessionSettings,
};
pub use patience::{Closing, Patience, closing};
pub use recording::{Part, Recording, RecordingError, recording_endpoints};
pub use talk::{
    Assistant, Body, Content, EchoSettings, Epoch, History, Input, Item, ItemError, ItemStatus, Latency,
    Manners, Origin, Part as ReplyPart, Place, Reason, ReplyEvent, ReplyId, ReplyRequest, ReplyStatus,
    ReplyView, Role, Script, TalkSettings, TalkTerms,
};
pub use turns::ItemId;
pub(crate) use waiting::at;
