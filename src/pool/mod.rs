//! Leases on slots, in fair order. Has never heard of Whisper.
//!
//! [`Ledger`] decides and is pure; [`Allocator`] waits, and is the only thing that locks it; a [`Lease`] is the
//! exclusive right to one slot and gives it back when it is dropped, wherever that happens.

mod allocator;
mod books;
mod figures;
mod flow;
mod forecast;
mod lease;
mod ledger;
mod service;
mod snapshot;
mod standing;

pub use allocator::{AcquireError, Allocator, PoolSettings};
pub use figures::{jain, percentile};
pub use flow::{Flow, FlowInfo, FlowKind, Tier};
pub use lease::Lease;
pub use ledger::{Enqueued, Grant, Ledger, LedgerSettings, Left, Outlook};
pub use snapshot::{Holder, Queue, Service, Slots, Snapshot, Talkers, Waiter};
pub use standing::{Place, Standing};

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

/// One slot: the right to one decode at a time on shared weights, and the memory that decode needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId(pub u16);

/// Slots that share one device: the less of them are busy, the faster is each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bank(pub u16);

/// A slot that has left the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    /// It does not work any more, or nobody knows: it was retired, and should be rebuilt.
    Lost(SlotId),
    /// It was free, and [wanted back](Allocator::take_back): it is no part of the pool any more.
    TakenBack(SlotId),
}

impl Departure {
    /// The slot that has left.
    pub fn slot(self) -> SlotId {
        match self {
            Self::Lost(slot) | Self::TakenBack(slot) => slot,
        }
    }
}

/// How often a slot was rebuilt. A lease of an older generation gives nothing back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Generation(pub u32);

/// Whoever must be treated fairly: a session, or one REST request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId(pub u64);

/// A place in line. Later tickets have higher numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What kind of work a ticket asks for, in order of service. Each class has its own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The text of an utterance that is over: somebody waits for it. Never dropped.
    Final,
    /// The same, begun before it is sure that the utterance is over.
    Speculative,
    /// What an utterance reads like so far. A flow's newer one replaces its older one.
    Interim,
    /// A part of a long file.
    Batch,
}

impl Class {
    /// All of them, in order of service.
    pub const ALL: [Self; 4] = [Self::Final, Self::Speculative, Self::Interim, Self::Batch];

    /// Whether somebody is owed it. The rest may be dropped.
    pub fn is_owed(self) -> bool {
        matches!(self, Self::Final | Self::Batch)
    }

    /// Its name in logs, metrics and `/pool`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Final => "final",
            Self::Speculative => "speculative",
            Self::Interim => "interim",
            Self::Batch => "batch",
        }
    }
}

/// How long a lease is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum LeaseScope {
    /// For one decode.
    #[default]
    Utterance,
    /// For a session's life, or until it is reclaimed.
    Session,
}

impl LeaseScope {
    /// Its name in logs, metrics and `/pool`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Utterance => "utterance",
            Self::Session => "session",
        }
    }
}

/// Work, as slot time: one slot busy for so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Cost(pub Duration);

/// A flow's claim relative to others: twice the weight, twice the slot time when both wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(NonZeroU32);

impl Weight {
    /// The largest one.
    pub const MAX: u32 = 1000;

    /// A weight of 1 to [`Weight::MAX`]; `None` for anything else.
    pub fn new(weight: u32) -> Option<Self> {
        NonZeroU32::new(weight).filter(|weight| weight.get() <= Self::MAX).map(Self)
    }

    /// As a number.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self(NonZeroU32::MIN)
    }
}

/// An API key, whose flows share a cap on leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub u32);

/// How many leases the flows of one key may hold at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyCap {
    /// The key.
    pub key: KeyId,
    /// Its cap.
    pub leases: NonZeroU16,
}

/// What a ticket asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// What kind of work.
    pub class: Class,
    /// How much work, as far as anybody can tell beforehand.
    pub cost: Cost,
    /// How long the lease will be kept.
    pub scope: LeaseScope,
    /// A slot that the ticket would rather not have: the one that just lost its job.
    pub avoid: Option<SlotId>,
}

impl Ask {
    /// For one decode of this class and cost.
    pub fn new(class: Class, cost: Cost) -> Self {
        Self { class, cost, scope: LeaseScope::Utterance, avoid: None }
    }
}

/// Why a slot leaves service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Retirement {
    /// Its decoder broke down.
    Lost,
    /// Its decoder does not stop when it is told to.
    Stuck,
    /// One decode after the other failed on it.
    Failing,
    /// It was idle, and failed when it was tried.
    Canary,
}

impl Retirement {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Lost, Self::Stuck, Self::Failing, Self::Canary];

    /// Its name in logs and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lost => "slot_lost",
            Self::Stuck => "slot_stuck",
            Self::Failing => "slot_failing",
            Self::Canary => "canary_failed",
        }
    }
}
