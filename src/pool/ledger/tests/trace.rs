//! What a ledger did, as a list of events, and a checker that knows nothing of how it decides.

use crate::pool::{Class, FlowId, Generation, Grant, KeyId, SlotId, Ticket};
use std::collections::{BTreeMap, BTreeSet};

/// One thing that happened.
#[derive(Debug, Clone, Copy)]
pub(super) enum Event {
    Warming(SlotId),
    Failed(SlotId),
    Added(SlotId, Generation),
    Lent(SlotId),
    Released(SlotId),
    Retired(SlotId),
    Closed(SlotId),
    Enrolled(FlowId, Option<(KeyId, u16)>),
    Enqueued(Ticket, FlowId, Class),
    Replaced(Ticket),
    Promoted(Ticket),
    Withdrawn(Ticket),
    Granted(Grant),
    /// A grant was asked for and there was none.
    NothingGranted,
    /// What the ledger counted: idle, leased, warming, retired, total slots; waiting tickets.
    Counted([usize; 6]),
    /// Slots came back until nothing was granted any more.
    Drained,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Warming,
    Idle,
    /// With the key that the lease counts for.
    Leased(Option<KeyId>),
    Retired,
    Closed,
}

/// What can be known from the events so far.
#[derive(Default)]
struct Model {
    slots: BTreeMap<SlotId, State>,
    generations: BTreeSet<(SlotId, Generation)>,
    waiting: BTreeMap<Ticket, (FlowId, Class)>,
    withdrawn: BTreeSet<Ticket>,
    keys: BTreeMap<FlowId, KeyId>,
    caps: BTreeMap<KeyId, u16>,
    violations: Vec<&'static str>,
}

/// What is wrong with a trace; a rule that was broken before is told again. Batch work is exempt from the strict order of
/// classes when it has a share.
pub(super) fn violations(trace: &[Event], batch_has_share: bool) -> Vec<&'static str> {
    let mut model = Model::default();
    for event in trace {
        model.take(*event, batch_has_share);
    }
    model.violations
}

impl Model {
    fn take(&mut self, event: Event, batch_has_share: bool) {
        match event {
            Event::Warming(slot) => self.move_to(slot, State::Warming),
            Event::Failed(slot) | Event::Retired(slot) => self.move_to(slot, State::Retired),
            Event::Released(slot) => self.move_to(slot, State::Idle),
            Event::Closed(slot) => self.move_to(slot, State::Closed),
            Event::Added(slot, generation) => {
                self.rule(self.generations.contains(&(slot, generation)), "a generation came back");
                self.generations.insert((slot, generation));
                self.move_to(slot, State::Idle);
            }
            Event::Lent(slot) => self.hold(slot, None),
            Event::Enrolled(flow, key) => self.enroll(flow, key),
            Event::Enqueued(ticket, flow, class) => drop(self.waiting.insert(ticket, (flow, class))),
            Event::Replaced(ticket) => {
                let class = self.waiting.remove(&ticket).map(|(_, class)| class);
                self.rule(class != Some(Class::Interim), "something else than an interim was dropped");
            }
            Event::Promoted(ticket) => {
                self.waiting.entry(ticket).and_modify(|(_, class)| *class = Class::Final);
            }
            Event::Withdrawn(ticket) => {
                self.waiting.remove(&ticket);
                self.withdrawn.insert(ticket);
            }
            Event::Granted(grant) => self.grant(grant, batch_has_share),
            Event::NothingGranted => {
                let idle = self.slots.values().any(|state| *state == State::Idle);
                let eligible = self.waiting.values().any(|(flow, _)| self.has_room(*flow));
                self.rule(idle && eligible, "a slot idles while an eligible ticket waits");
            }
            Event::Counted(counts) => self.rule(counts != self.counts(), "slots or tickets are miscounted"),
            Event::Drained => self.rule(!self.waiting.is_empty(), "a waiter got no answer"),
        }
    }

    fn grant(&mut self, grant: Grant, batch_has_share: bool) {
        self.rule(self.withdrawn.contains(&grant.ticket), "a withdrawn ticket was granted");
        let Some((flow, class)) = self.waiting.remove(&grant.ticket) else {
            return self
                .rule(!self.withdrawn.contains(&grant.ticket), "a ticket was granted that does not wait");
        };
        self.rule(flow != grant.flow, "a ticket was granted to another flow");
        let older =
            self.waiting.iter().any(|(other, place)| *place == (flow, class) && *other < grant.ticket);
        self.rule(older, "a flow was not served in its own order");
        self.rule(!self.has_room(flow), "a key is over its cap");
        let higher = self.waiting.values().any(|(flow, other)| *other < class && self.has_room(*flow));
        let exempt = class == Class::Batch && batch_has_share;
        self.rule(higher && !exempt, "a lower class went first");
        self.rule(!self.generations.contains(&(grant.slot, grant.generation)), "a generation was made up");
        self.hold(grant.slot, self.keys.get(&flow).copied());
    }

    fn hold(&mut self, slot: SlotId, key: Option<KeyId>) {
        self.rule(self.slots.get(&slot) != Some(&State::Idle), "a slot was lent that is not idle");
        self.move_to(slot, State::Leased(key));
    }

    fn enroll(&mut self, flow: FlowId, key: Option<(KeyId, u16)>) {
        self.keys.remove(&flow);
        if let Some((key, cap)) = key {
            self.keys.insert(flow, key);
            self.caps.insert(key, cap);
        }
    }

    fn has_room(&self, flow: FlowId) -> bool {
        let Some(key) = self.keys.get(&flow) else { return true };
        let held = self.slots.values().filter(|state| **state == State::Leased(Some(*key))).count();
        held < usize::from(self.caps[key])
    }

    fn counts(&self) -> [usize; 6] {
        let count = |claim: fn(&State) -> bool| self.slots.values().filter(|state| claim(state)).count();
        [
            count(|state| *state == State::Idle),
            count(|state| matches!(state, State::Leased(_))),
            count(|state| *state == State::Warming),
            count(|state| *state == State::Retired),
            count(|state| *state != State::Closed),
            self.waiting.len(),
        ]
    }

    fn move_to(&mut self, slot: SlotId, state: State) {
        self.slots.insert(slot, state);
    }

    fn rule(&mut self, broken: bool, violation: &'static str) {
        if broken {
            self.violations.push(violation);
        }
    }
}
