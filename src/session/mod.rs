//! One conversation, or one recording: audio in, text out.
//!
//! [`Frontend`] turns bytes into utterances on its own threads; [`Ear`] is the part of that which belongs to one
//! session. [`Recording`] transcribes a file as fast as slots allow, and [`Driver`] transcribes a live stream.

mod backlog;
mod driver;
mod frontend;
mod jam;
mod live;
#[allow(dead_code, reason = "the driver will wait by it")]
mod patience;
mod recording;
mod turns;

pub use driver::{Driver, Ended, Session, SessionEvents, open};
pub use frontend::{Ear, EarInput, Frontend, FrontendError};
pub use live::{Command, Dropped, Keeping, Refusal, Request, SessionEvent, SessionSettings};
pub use recording::{Part, Recording, RecordingError, recording_endpoints};
pub use turns::ItemId;
