//! Who holds which slot, and who is next. Pure: no clock, no locks, no tokio.
//!
//! The discipline is first come, first served within a class, and finals before batch work.

use super::{Class, FlowId, Generation, SlotId};
use std::collections::{BTreeMap, VecDeque};

/// A place in line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A ticket that got a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// Whose turn it is.
    pub ticket: Ticket,
    /// The flow behind the ticket.
    pub flow: FlowId,
    /// The slot it got.
    pub slot: SlotId,
    /// The slot's generation, to be shown on release.
    pub generation: Generation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tenure {
    Idle,
    Leased(FlowId),
    Retired,
}

#[derive(Debug)]
struct SlotEntry {
    generation: Generation,
    tenure: Tenure,
}

/// The book of slots and waiting tickets.
#[derive(Debug, Default)]
pub struct Ledger {
    slots: BTreeMap<SlotId, SlotEntry>,
    finals: VecDeque<(Ticket, FlowId)>,
    batch: VecDeque<(Ticket, FlowId)>,
    next_ticket: u64,
}

impl Ledger {
    /// Puts a slot into service: a new one, or a retired one that was rebuilt.
    ///
    /// Returns its generation, one higher than before when it was rebuilt.
    pub fn add(&mut self, slot: SlotId) -> Generation {
        let entry = self
            .slots
            .entry(slot)
            .and_modify(|entry| entry.generation.0 += 1)
            .or_insert(SlotEntry { generation: Generation(0), tenure: Tenure::Idle });
        entry.tenure = Tenure::Idle;
        entry.generation
    }

    /// Takes a place in line.
    pub fn enqueue(&mut self, flow: FlowId, class: Class) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.line_mut(class).push_back((ticket, flow));
        ticket
    }

    /// Leaves the line. `false` when the ticket does not wait (any more).
    pub fn withdraw(&mut self, ticket: Ticket) -> bool {
        let waiting = self.queued();
        self.finals.retain(|(waiter, _)| *waiter != ticket);
        self.batch.retain(|(waiter, _)| *waiter != ticket);
        self.queued() < waiting
    }

    /// Grants one idle slot to the ticket that is next, if both exist.
    pub fn grant(&mut self) -> Option<Grant> {
        let (&slot, entry) = self.slots.iter_mut().find(|(_, entry)| entry.tenure == Tenure::Idle)?;
        let (ticket, flow) = self.finals.pop_front().or_else(|| self.batch.pop_front())?;
        entry.tenure = Tenure::Leased(flow);
        Some(Grant { ticket, flow, slot, generation: entry.generation })
    }

    /// Takes a slot back from its holder. `false`, and nothing happens, for an older generation or a slot nobody holds.
    pub fn release(&mut self, slot: SlotId, generation: Generation) -> bool {
        self.end_tenure(slot, generation, Tenure::Idle)
    }

    /// Takes a leased slot out of service. `false`, and nothing happens, for an older generation or a slot nobody holds.
    pub fn retire(&mut self, slot: SlotId, generation: Generation) -> bool {
        self.end_tenure(slot, generation, Tenure::Retired)
    }

    /// How many tickets wait.
    pub fn queued(&self) -> usize {
        self.finals.len() + self.batch.len()
    }

    /// How many slots exist, retired ones included.
    pub fn total(&self) -> usize {
        self.slots.len()
    }

    /// How many slots nobody holds.
    pub fn idle(&self) -> usize {
        self.count(|tenure| tenure == Tenure::Idle)
    }

    /// How many slots somebody holds.
    pub fn leased(&self) -> usize {
        self.count(|tenure| matches!(tenure, Tenure::Leased(_)))
    }

    /// How many slots are out of service.
    pub fn retired(&self) -> usize {
        self.count(|tenure| tenure == Tenure::Retired)
    }

    fn end_tenure(&mut self, slot: SlotId, generation: Generation, next: Tenure) -> bool {
        match self.slots.get_mut(&slot) {
            Some(entry) if entry.generation == generation && matches!(entry.tenure, Tenure::Leased(_)) => {
                entry.tenure = next;
                true
            }
            _ => false,
        }
    }

    fn count(&self, claim: impl Fn(Tenure) -> bool) -> usize {
        self.slots.values().filter(|entry| claim(entry.tenure)).count()
    }

    fn line_mut(&mut self, class: Class) -> &mut VecDeque<(Ticket, FlowId)> {
        match class {
            Class::Final => &mut self.finals,
            Class::Batch => &mut self.batch,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ledger(slots: u16) -> Ledger {
        let mut ledger = Ledger::default();
        for slot in 0..slots {
            ledger.add(SlotId(slot));
        }
        ledger
    }

    #[test]
    fn who_comes_first_is_served_first() {
        let mut ledger = ledger(1);
        let tickets = [1, 2, 3].map(|flow| ledger.enqueue(FlowId(flow), Class::Final));
        for expected in tickets {
            let grant = ledger.grant().expect("the slot is idle");
            assert_eq!(grant.ticket, expected);
            assert!(ledger.release(grant.slot, grant.generation));
        }
    }

    #[test]
    fn a_final_overtakes_batch_work_that_waits() {
        let mut ledger = ledger(1);
        ledger.enqueue(FlowId(1), Class::Batch);
        let urgent = ledger.enqueue(FlowId(2), Class::Final);
        assert_eq!(ledger.grant().expect("the slot is idle").ticket, urgent);
    }

    #[test]
    fn a_lease_of_an_older_generation_gives_nothing_back() {
        let mut ledger = ledger(1);
        ledger.enqueue(FlowId(1), Class::Final);
        let stuck = ledger.grant().expect("the slot is idle");
        assert!(ledger.retire(stuck.slot, stuck.generation));
        ledger.add(stuck.slot);
        ledger.enqueue(FlowId(2), Class::Final);
        let current = ledger.grant().expect("the rebuilt slot is idle");
        assert!(!ledger.release(stuck.slot, stuck.generation));
        assert_eq!(ledger.leased(), 1);
        assert!(ledger.release(current.slot, current.generation));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Enqueue(u64, bool),
        Withdraw(usize),
        Grant,
        Release(usize),
        Retire(usize),
        Rebuild(u16),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0..5_u64, any::<bool>()).prop_map(|(flow, batch)| Step::Enqueue(flow, batch)),
            (0..8_usize).prop_map(Step::Withdraw),
            Just(Step::Grant),
            (0..4_usize).prop_map(Step::Release),
            (0..4_usize).prop_map(Step::Retire),
            (0..3_u16).prop_map(Step::Rebuild),
        ];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        #[test]
        fn slots_are_conserved_have_one_holder_and_never_idle_while_someone_waits(steps in steps()) {
            let mut ledger = ledger(3);
            let mut held: Vec<Grant> = Vec::new();
            let mut waiting: Vec<Ticket> = Vec::new();
            let mut gone: Vec<Ticket> = Vec::new();
            for step in steps {
                match step {
                    Step::Enqueue(flow, batch) => {
                        let class = if batch { Class::Batch } else { Class::Final };
                        waiting.push(ledger.enqueue(FlowId(flow), class));
                    }
                    Step::Withdraw(n) if n < waiting.len() => {
                        let ticket = waiting.remove(n);
                        prop_assert!(ledger.withdraw(ticket));
                        gone.push(ticket);
                    }
                    Step::Grant => {
                        let possible = ledger.idle() > 0 && ledger.queued() > 0;
                        let grant = ledger.grant();
                        prop_assert_eq!(grant.is_some(), possible);
                        if let Some(grant) = grant {
                            prop_assert!(!gone.contains(&grant.ticket), "a withdrawn ticket was granted");
                            prop_assert!(held.iter().all(|other| other.slot != grant.slot), "two holders");
                            waiting.retain(|ticket| *ticket != grant.ticket);
                            held.push(grant);
                        }
                    }
                    Step::Release(n) if n < held.len() => {
                        let grant = held.remove(n);
                        prop_assert!(ledger.release(grant.slot, grant.generation));
                        prop_assert!(!ledger.release(grant.slot, grant.generation), "released twice");
                    }
                    Step::Retire(n) if n < held.len() => {
                        let grant = held.remove(n);
                        prop_assert!(ledger.retire(grant.slot, grant.generation));
                    }
                    Step::Rebuild(slot) if held.iter().all(|grant| grant.slot != SlotId(slot)) => {
                        ledger.add(SlotId(slot));
                    }
                    _ => {}
                }
                prop_assert_eq!(ledger.idle() + ledger.leased() + ledger.retired(), ledger.total());
                prop_assert_eq!(ledger.leased(), held.len());
                prop_assert_eq!(ledger.queued(), waiting.len());
            }
        }
    }
}
