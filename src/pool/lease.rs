//! The exclusive right to one slot.

use super::allocator::Shared;
use super::{Generation, LeaseScope, Retirement, SlotId};
use crate::telemetry::metrics;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Which lease: a slot is leased at most once at a time, and of an older generation not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LeaseKey {
    pub(super) slot: SlotId,
    pub(super) generation: Generation,
}

/// The exclusive right to one slot. Dropping it gives the slot to whoever is next.
#[derive(Debug)]
pub struct Lease {
    key: LeaseKey,
    waited: Duration,
    since: Instant,
    shared: Arc<Shared>,
}

impl Lease {
    pub(super) fn new(key: LeaseKey, waited: Duration, since: Instant, shared: Arc<Shared>) -> Self {
        Self { key, waited, since, shared }
    }

    /// The slot it is for.
    pub fn slot(&self) -> SlotId {
        self.key.slot
    }

    /// The slot's generation.
    pub fn generation(&self) -> Generation {
        self.key.generation
    }

    /// How long its holder stood in line.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// How long it has been held.
    pub fn held(&self) -> Duration {
        self.since.elapsed()
    }

    /// Notes that its holder decodes with it from now on.
    pub fn works(&self) {
        self.shared.works(self.key);
    }

    /// Notes that a decode of this length is over, and whether it showed that the slot works.
    pub fn rests(&self, decode: Duration, proven: bool) {
        self.shared.rests(self.key, decode, proven);
    }

    /// Ends the lease and takes the slot out of service until it was rebuilt.
    pub fn retire(self, cause: Retirement, detail: &str) {
        // The release that follows finds the lease ended.
        self.shared.retire(self.key, cause, detail);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shared.release(self.key);
    }
}

impl From<LeaseScope> for metrics::LeaseScope {
    fn from(scope: LeaseScope) -> Self {
        match scope {
            LeaseScope::Utterance => Self::Utterance,
            LeaseScope::Session => Self::Session,
        }
    }
}
