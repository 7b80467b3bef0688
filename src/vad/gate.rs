//! Two thresholds and a hangover: probabilities to edges. Pure.

/// Speech started or stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// Speech began in this frame.
    Started {
        /// Frame index since the beginning of the stream.
        frame: u64,
    },
    /// The last frame of speech was this one; the silence after it has lasted long enough to be sure.
    Stopped {
        /// Frame index since the beginning of the stream.
        frame: u64,
    },
}

/// Hysteresis over frame probabilities.
#[derive(Debug, Clone)]
pub struct Gate {}
