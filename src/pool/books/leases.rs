//! Leases: who holds which slot, since when, and whether anything is done with it.

use super::Books;
use crate::pool::lease::LeaseKey;
use crate::pool::{Cost, FlowId, FlowInfo, Generation, LeaseScope, Ledger, Left, SlotId};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Who holds a lease.
#[derive(Debug)]
pub(super) enum HeldBy {
    /// The house itself, for what is named.
    House(Arc<str>),
    Flow(FlowId, Arc<FlowInfo>),
}

/// A lease as the books know it.
#[derive(Debug)]
pub(super) struct Holding {
    pub(super) generation: Generation,
    pub(super) by: HeldBy,
    pub(super) scope: LeaseScope,
    pub(super) estimate: Cost,
    pub(super) since: Instant,
    /// Since when its holder does nothing with it.
    pub(super) idle_since: Option<Instant>,
}

/// A lease that has ended.
#[derive(Debug, Clone, Copy)]
pub(in crate::pool) struct EndedLease {
    pub(in crate::pool) scope: LeaseScope,
    pub(in crate::pool) held: Duration,
    /// Whether the house itself had it.
    pub(in crate::pool) by_house: bool,
    /// What became of its slot.
    pub(in crate::pool) left: Left,
}

impl Holding {
    /// How long it will probably go on; `None` for leases that are kept.
    pub(super) fn remaining(&self, now: Instant) -> Option<Duration> {
        if self.scope == LeaseScope::Session {
            return None;
        }
        let held = now.saturating_duration_since(self.since);
        // One that is late is not over at once.
        Some(self.estimate.0.saturating_sub(held).max(self.estimate.0 / 4))
    }
}

/// Leases.
impl Books {
    /// Lends an idle slot to the house, for what is named.
    pub(in crate::pool) fn lend(&mut self, slot: SlotId, name: &str, now: Instant) -> Option<LeaseKey> {
        let generation = self.ledger.lend(slot)?;
        let (by, scope, estimate) = (HeldBy::House(name.into()), LeaseScope::Utterance, Cost::default());
        self.holdings.insert(slot, Holding { generation, by, scope, estimate, since: now, idle_since: None });
        self.count_work(now);
        Some(LeaseKey { slot, generation })
    }

    pub(in crate::pool) fn works(&mut self, lease: LeaseKey, now: Instant) {
        if let Some(holding) = self.holding_mut(lease) {
            holding.idle_since = None;
            self.count_work(now);
        }
    }

    pub(in crate::pool) fn rests(&mut self, lease: LeaseKey, decode: Duration, proven: bool, now: Instant) {
        let Some(holding) = self.holding_mut(lease) else { return };
        holding.idle_since = Some(now);
        let by_house = matches!(holding.by, HeldBy::House(_));
        if proven {
            self.proven.insert(lease.slot, now);
        }
        if proven && !by_house {
            self.service.decoded(decode, now);
        }
        self.count_work(now);
    }

    /// Ends a lease: its slot is idle. `None`, and nothing happens, when it had ended before.
    pub(in crate::pool) fn release(&mut self, lease: LeaseKey, now: Instant) -> Option<EndedLease> {
        self.end_holding(lease, now, Ledger::release)
    }

    /// Ends a lease: its slot is out of service. `None`, and nothing happens, when it had ended before.
    pub(in crate::pool) fn retire(&mut self, lease: LeaseKey, now: Instant) -> Option<EndedLease> {
        self.end_holding(lease, now, Ledger::retire)
    }

    fn end_holding(
        &mut self,
        lease: LeaseKey,
        now: Instant,
        end: fn(&mut Ledger, SlotId, Generation, Cost) -> Option<Left>,
    ) -> Option<EndedLease> {
        self.holding_mut(lease)?;
        let holding = self.holdings.remove(&lease.slot).expect("it was just looked at");
        let held = now.saturating_duration_since(holding.since);
        let left = end(&mut self.ledger, lease.slot, lease.generation, Cost(held));
        let left = left.expect("a slot that is held is leased in the ledger");
        let by_house = matches!(holding.by, HeldBy::House(_));
        if let HeldBy::Flow(flow, info) = holding.by {
            if holding.scope == LeaseScope::Utterance {
                self.service.served(flow, info.tier.weight, held, now);
            }
            self.wants_less(flow, holding.scope, now);
        }
        self.count_work(now);
        Some(EndedLease { scope: holding.scope, held, by_house, left })
    }

    fn holding_mut(&mut self, lease: LeaseKey) -> Option<&mut Holding> {
        self.holdings.get_mut(&lease.slot).filter(|holding| holding.generation == lease.generation)
    }

    /// Keeps the log of how many slots are there and how many of them work.
    pub(super) fn count_work(&mut self, now: Instant) {
        let working = self.holdings.values().filter(|holding| holding.idle_since.is_none()).count();
        self.service.load(working, self.ledger.idle() + self.ledger.leased(), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_that_is_late_is_not_over_at_once_and_nobody_guesses_when_a_kept_one_ends() {
        let (since, estimate) = (Instant::now(), Cost(Duration::from_secs(4)));
        let remaining = |scope, held| {
            let (generation, by) = (Generation(0), HeldBy::House("test".into()));
            let holding = Holding { generation, by, scope, estimate, since, idle_since: None };
            holding.remaining(since + Duration::from_secs(held)).map(|left| left.as_secs())
        };
        let cases = [(0, Some(4)), (1, Some(3)), (4, Some(1)), (60, Some(1))];
        for (held, expected) in cases {
            assert_eq!(remaining(LeaseScope::Utterance, held), expected, "after {held} s");
            assert_eq!(remaining(LeaseScope::Session, held), None, "after {held} s");
        }
    }
}
