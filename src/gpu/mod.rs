//! What the device has and what a slot costs.
//!
//! Types and measurements only: how many slots a pool really gets is decided where they are opened.

use std::fmt;

/// An amount of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    /// MiB with one decimal, as in log lines and errors.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} MiB", self.0 as f64 / (1024.0 * 1024.0))
    }
}

/// What a model needs: its weights once, and the working memory of one decode for every slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Footprint {
    /// Shared by all slots.
    pub weights: Bytes,
    /// For each slot.
    pub slot: Bytes,
}
