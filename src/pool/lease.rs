//! The exclusive right to one slot.

use super::allocator::Shared;
use super::{Generation, LeaseScope, Retirement, SlotId};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The exclusive right to one slot. Dropping it gives the slot to whoever is next.
#[derive(Debug)]
pub struct Lease {
    slot: SlotId,
    generation: Generation,
    scope: LeaseScope,
    waited: Duration,
    since: Instant,
    shared: Arc<Shared>,
}

impl Lease {
    pub(super) fn new(
        (slot, generation): (SlotId, Generation),
        scope: LeaseScope,
        waited: Duration,
        since: Instant,
        shared: Arc<Shared>,
    ) -> Self {
        Self { slot, generation, scope, waited, since, shared }
    }

    /// The slot it is for.
    pub fn slot(&self) -> SlotId {
        self.slot
    }

    /// The slot's generation.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// How long it is kept.
    pub fn scope(&self) -> LeaseScope {
        self.scope
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
        self.shared.works(self.slot, self.generation);
    }

    /// Notes that a decode of this length is over, and whether it showed that the slot works.
    pub fn rests(&self, decode: Duration, proven: bool) {
        self.shared.rests(self.slot, self.generation, decode, proven);
    }

    /// Ends the lease and takes the slot out of service until it was rebuilt.
    pub fn retire(self, cause: Retirement, detail: &str) {
        // The release that follows finds the lease ended.
        self.shared.retire(self.slot, self.generation, cause, detail);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shared.release(self.slot, self.generation);
    }
}
