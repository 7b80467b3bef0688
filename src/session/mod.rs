//! One conversation, or one recording: audio in, text out.
//!
//! [`Frontend`] turns bytes into utterances on its own threads; [`Ear`] is the part of that which belongs to one
//! session. [`Recording`] transcribes a file as fast as slots allow, and the realtime driver transcribes a live stream.

mod frontend;
mod recording;

pub use frontend::{Ear, EarInput, Frontend, FrontendError};
pub use recording::{Part, Recording, RecordingError, recording_endpoints};
