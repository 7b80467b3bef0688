//! Leases on slots, in order of arrival. Has never heard of Whisper.
//!
//! [`Ledger`] decides and is pure; [`Allocator`] waits, and is the only thing that locks it; a [`Lease`] is the
//! exclusive right to one slot and gives it back when it is dropped, wherever that happens.

mod allocator;
mod ledger;
mod snapshot;

pub use allocator::{AcquireError, Allocator, Lease, PoolSettings};
pub use ledger::{Grant, Ledger, Ticket};
pub use snapshot::Snapshot;

/// One slot: the right to one decode at a time on shared weights, and the memory that decode needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId(pub u16);

/// How often a slot was rebuilt. A lease of an older generation gives nothing back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Generation(pub u32);

/// Whoever must be treated fairly: a session, or one REST request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId(pub u64);

/// What kind of work a ticket asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The text of an utterance that is over: somebody waits for it.
    Final,
    /// A part of a long file.
    Batch,
}
