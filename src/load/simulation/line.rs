//! The line that sessions stand in: the real ledger, or a plain queue.

use crate::pool::{
    Ask, Class, Cost, FlowId, Generation, Grant, LeaseScope, Ledger, LedgerSettings, SlotId, Ticket, Weight,
};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// What the simulation needs of a pool.
pub(in crate::load) trait Line {
    fn enqueue(&mut self, flow: FlowId, estimate: Cost, now: Duration) -> Ticket;
    fn grant(&mut self, now: Duration) -> Option<Grant>;
    fn release(&mut self, grant: Grant, held: Cost);
}

/// The real ledger, with a flow of each of these weights.
pub(in crate::load) fn fair(
    slots: u16,
    flows: impl Iterator<Item = Weight>,
    settings: LedgerSettings,
) -> Box<dyn Line> {
    let mut ledger = Ledger::new(settings);
    for slot in 0..slots {
        ledger.add(SlotId(slot));
    }
    for (flow, weight) in (0..).zip(flows) {
        ledger.enroll(FlowId(flow), weight, None);
    }
    Box::new(ledger)
}

/// One queue in order of arrival.
pub(super) fn first_come(slots: u16) -> Box<dyn Line> {
    Box::new(FirstCome { idle: (0..slots).map(SlotId).collect(), ..FirstCome::default() })
}

impl Line for Ledger {
    fn enqueue(&mut self, flow: FlowId, estimate: Cost, now: Duration) -> Ticket {
        let ask = Ask { class: Class::Final, cost: estimate, scope: LeaseScope::Utterance, avoid: None };
        Self::enqueue(self, flow, ask, now).ticket
    }

    fn grant(&mut self, now: Duration) -> Option<Grant> {
        Self::grant(self, now)
    }

    fn release(&mut self, grant: Grant, held: Cost) {
        let released = Self::release(self, grant.slot, grant.generation, held);
        debug_assert!(released.is_some(), "the simulation holds what it gives back");
    }
}

#[derive(Debug, Default)]
struct FirstCome {
    idle: BTreeSet<SlotId>,
    waiting: VecDeque<(Ticket, FlowId)>,
    next_ticket: u64,
}

impl Line for FirstCome {
    fn enqueue(&mut self, flow: FlowId, _: Cost, _: Duration) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.waiting.push_back((ticket, flow));
        ticket
    }

    fn grant(&mut self, _: Duration) -> Option<Grant> {
        if self.idle.is_empty() {
            return None;
        }
        let (ticket, flow) = self.waiting.pop_front()?;
        let slot = self.idle.pop_first()?;
        Some(Grant { ticket, flow, slot, generation: Generation(0) })
    }

    fn release(&mut self, grant: Grant, _: Cost) {
        self.idle.insert(grant.slot);
    }
}
