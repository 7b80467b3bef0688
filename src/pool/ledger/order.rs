//! Whose turn it is: flows, keys, and the queues of the classes. Knows nothing of slots.

use super::batch_share::BatchShare;
use super::flow::{Account, Line};
use super::keys::Keys;
use super::lineup::Group;
use super::queue::ClassQueue;
use super::{LedgerSettings, Outlook};
use crate::pool::{Ask, Class, Cost, FlowId, KeyCap, SlotId, Ticket, Weight};
use std::collections::BTreeMap;
use std::time::Duration;

/// What the holder of a lease was charged with, to be settled when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Charge {
    flow: FlowId,
    class: Class,
    group: Group,
    weight: Weight,
    estimate: Cost,
}

/// A ticket that is served next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    pub(super) ticket: Ticket,
    pub(super) flow: FlowId,
    pub(super) avoid: Option<SlotId>,
    pub(super) charge: Charge,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    flow: FlowId,
    ask: Ask,
}

/// Everybody who waits, and what everybody has had.
#[derive(Debug, Clone)]
pub(super) struct Order {
    starvation: Duration,
    flows: BTreeMap<FlowId, Account>,
    keys: Keys,
    tickets: BTreeMap<Ticket, Waiting>,
    queues: [ClassQueue; Class::ALL.len()],
    share: BatchShare,
    next_ticket: u64,
    /// The latest time it was told.
    now: Duration,
}

impl Order {
    pub(super) fn new(settings: LedgerSettings) -> Self {
        Self {
            starvation: settings.starvation,
            flows: BTreeMap::new(),
            keys: Keys::default(),
            tickets: BTreeMap::new(),
            queues: Default::default(),
            share: BatchShare::new(settings.batch_share),
            next_ticket: 0,
            now: Duration::ZERO,
        }
    }

    /// Makes a flow known, or changes what is known of it.
    pub(super) fn enroll(&mut self, id: FlowId, weight: Weight, cap: Option<KeyCap>) {
        self.rearrange_all(id, |flow| {
            flow.enrolled = true;
            flow.weight = weight;
            flow.group = cap.map(|cap| cap.key);
        });
        if let Some(cap) = cap {
            self.keys.set_cap(cap);
            self.follow_cap(Some(cap.key));
        }
    }

    /// Withdraws what a flow has waiting, and forgets it as soon as it holds and owes nothing.
    pub(super) fn dismiss(&mut self, id: FlowId) {
        let Some(flow) = self.flows.get_mut(&id) else { return };
        flow.enrolled = false;
        let waiting: Vec<Ticket> = flow.waiting().collect();
        for ticket in waiting {
            self.withdraw(ticket);
        }
        self.forget_if_gone(id);
    }

    /// Takes a place in line. A flow that is not enrolled has weight 1 and no key, or what it last had.
    pub(super) fn enqueue(&mut self, id: FlowId, ask: Ask, now: Duration) -> (Ticket, Option<Ticket>) {
        self.hear(now);
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.tickets.insert(ticket, Waiting { flow: id, ask });
        if !self.flows.contains_key(&id) {
            self.rearrange_all(id, |_| {});
        }
        let (clock, now) = (self.queues[ask.class as usize].clock(), self.now);
        let replaced = self.rearrange(id, ask.class, |line| {
            let replaced = if ask.class == Class::Interim { line.replace(ticket) } else { None };
            if replaced.is_none() {
                line.insert(ticket, clock, now);
            }
            replaced
        });
        match replaced {
            Some(older) => drop(self.tickets.remove(&older)),
            None => self.queues[ask.class as usize].enter(),
        }
        (ticket, replaced)
    }

    /// Leaves the line. `false` when the ticket does not wait (any more).
    pub(super) fn withdraw(&mut self, ticket: Ticket) -> bool {
        let Some(Waiting { flow, ask }) = self.tickets.remove(&ticket) else { return false };
        let now = self.now;
        self.rearrange(flow, ask.class, |line| line.remove(ticket, now));
        self.leave(ask.class);
        self.forget_if_gone(flow);
        true
    }

    /// Makes a final of a speculative ticket that waits. It keeps its age and its place among its flow's tickets.
    pub(super) fn promote(&mut self, ticket: Ticket, now: Duration) -> bool {
        self.hear(now);
        let speculative = |waiting: &&mut Waiting| waiting.ask.class == Class::Speculative;
        let Some(waiting) = self.tickets.get_mut(&ticket).filter(speculative) else { return false };
        waiting.ask.class = Class::Final;
        let (flow, now) = (waiting.flow, self.now);
        let since = self.rearrange(flow, Class::Speculative, |line| {
            let since = line.head(None).filter(|head| head.ticket == ticket).map_or(now, |head| head.since);
            line.remove(ticket, now);
            since
        });
        let clock = self.queues[Class::Final as usize].clock();
        self.rearrange(flow, Class::Final, |line| line.insert(ticket, clock, since));
        self.queues[Class::Final as usize].enter();
        self.leave(Class::Speculative);
        true
    }

    /// Serves the ticket whose turn it is, if there is one whose key has a lease to spare.
    pub(super) fn next(&mut self, now: Duration) -> Option<Turn> {
        self.hear(now);
        let ticket = self.choose()?;
        let Waiting { flow: id, ask } = self.tickets.remove(&ticket).expect("heads wait");
        let flow = self.flows.get_mut(&id).expect("who waits is known");
        flow.running += 1;
        let charge =
            Charge { flow: id, class: ask.class, group: flow.group, weight: flow.weight, estimate: ask.cost };
        self.charge(charge);
        self.keys.take(charge.group);
        self.follow_cap(charge.group);
        self.forget_the_paid(ask.class);
        Some(Turn { ticket, flow: id, avoid: ask.avoid, charge })
    }

    /// A lease ended: truth replaces the estimate, and its key has a lease to spare again.
    pub(super) fn settle(&mut self, charge: Charge, held: Cost) {
        let Charge { flow: id, class, group, weight, estimate } = charge;
        let finish = self.rearrange(id, class, |line| {
            line.set_finish(line.finish().corrected(estimate, held, weight));
            line.finish()
        });
        self.queues[class as usize].note_finish(finish);
        self.flows.get_mut(&id).expect("who holds a lease is known").running -= 1;
        self.leave(class);
        self.keys.give_back(group);
        self.follow_cap(group);
        self.forget_if_gone(id);
    }

    /// Waiting tickets in the order of service as things stand: as if leases did not end, with those whose key is at its
    /// cap behind all others.
    pub(super) fn line(&self) -> Outlook {
        let mut future = self.of_those_who_wait();
        let mut tickets = Vec::with_capacity(self.tickets.len());
        let mut uncapped = None;
        while future.queued() > 0 {
            if let Some(turn) = future.next(self.now) {
                tickets.push(turn.ticket);
            } else {
                uncapped.get_or_insert(tickets.len());
                future.lift_caps();
            }
        }
        Outlook { uncapped: uncapped.unwrap_or(tickets.len()), tickets }
    }

    /// The same order without the flows that have nothing in line, of which there may be many more.
    fn of_those_who_wait(&self) -> Self {
        let waiting = self.tickets.values().filter_map(|waiting| self.flows.get_key_value(&waiting.flow));
        Self {
            flows: waiting.map(|(id, flow)| (*id, flow.clone())).collect(),
            keys: self.keys.clone(),
            tickets: self.tickets.clone(),
            queues: self.queues.clone(),
            share: self.share.clone(),
            ..*self
        }
    }

    /// How many tickets wait.
    pub(super) fn queued(&self) -> usize {
        self.tickets.len()
    }

    /// How many tickets of one class wait.
    pub(super) fn queued_in(&self, class: Class) -> usize {
        self.tickets.values().filter(|waiting| waiting.ask.class == class).count()
    }

    fn hear(&mut self, now: Duration) {
        self.now = self.now.max(now);
    }

    /// Classes in strict order, except that batch work goes first when its share is due.
    fn choose(&mut self) -> Option<Ticket> {
        let [urgent @ .., batch] = Class::ALL;
        let urgent = urgent.into_iter().find_map(|class| self.first(class));
        let Some(batch) = self.first(batch) else {
            self.share.forfeit();
            return urgent;
        };
        let cost = |ticket: Ticket| self.tickets[&ticket].ask.cost;
        match urgent {
            Some(urgent) if !self.share.is_due(cost(batch)) => {
                let (passing, head) = (cost(urgent), cost(batch));
                self.share.pass_over(passing, head);
                Some(urgent)
            }
            _ => {
                let price = cost(batch);
                self.share.pay(price);
                Some(batch)
            }
        }
    }

    fn first(&self, class: Class) -> Option<Ticket> {
        self.queues[class as usize].first(self.now, self.starvation)
    }

    /// Takes the head of a line out and charges its flow.
    fn charge(&mut self, charge: Charge) {
        let (now, queue) = (self.now, &mut self.queues[charge.class as usize]);
        let flow = self.flows.get_mut(&charge.flow).expect("who is charged is known");
        let line = flow.line_mut(charge.class);
        let head = line.head(charge.group).expect("who is served has a head");
        let finish = queue.serve(head, charge.estimate, charge.weight);
        line.set_finish(finish);
        line.remove(head.ticket, now);
        if let Some(next) = line.head(charge.group) {
            queue.insert(next);
        }
    }

    /// Changes a flow's line in one class and puts its head where it belongs then.
    fn rearrange<R>(&mut self, id: FlowId, class: Class, change: impl FnOnce(&mut Line) -> R) -> R {
        let flow = self.flows.get_mut(&id).expect("a flow is known as long as it wants or owes something");
        let queue = &mut self.queues[class as usize];
        let group = flow.group;
        let line = flow.line_mut(class);
        if let Some(head) = line.head(group) {
            queue.remove(head);
        }
        let outcome = change(line);
        if let Some(head) = line.head(group) {
            queue.insert(head);
        }
        outcome
    }

    /// Changes a flow, which may be new, and puts its heads where they belong then.
    fn rearrange_all(&mut self, id: FlowId, change: impl FnOnce(&mut Account)) {
        let flow = self.flows.entry(id).or_default();
        let heads = |flow: &Account| Class::ALL.map(|class| flow.line(class).head(flow.group));
        let (before, known) = (heads(flow), flow.group);
        change(flow);
        let (after, group) = (heads(flow), flow.group);
        for (queue, (before, after)) in self.queues.iter_mut().zip(before.into_iter().zip(after)) {
            if let Some(head) = before {
                queue.remove(head);
            }
            if let Some(head) = after {
                queue.insert(head);
            }
        }
        if known != group {
            self.keys.leave(known);
            self.keys.join(group);
        }
    }

    /// One ticket or lease less in a class, which may end its busy period.
    fn leave(&mut self, class: Class) {
        self.queues[class as usize].leave();
        self.forget_the_paid(class);
    }

    /// Opens or closes a key's group in all classes, if that changed.
    fn follow_cap(&mut self, group: Group) {
        match self.keys.turned(group) {
            Some(true) => self.queues.iter_mut().for_each(|queue| queue.open(group, self.now)),
            Some(false) => self.queues.iter_mut().for_each(|queue| queue.close(group)),
            None => {}
        }
    }

    fn lift_caps(&mut self) {
        for group in self.keys.lift() {
            self.queues.iter_mut().for_each(|queue| queue.open(group, self.now));
        }
    }

    fn forget_the_paid(&mut self, class: Class) {
        while let Some(id) = self.queues[class as usize].paid() {
            self.forget_if_gone(id);
        }
    }

    /// Forgets a dismissed flow that holds, wants and owes nothing. One that owes is remembered until it does not, so
    /// that leaving and coming back pays no debts.
    fn forget_if_gone(&mut self, id: FlowId) {
        let Some(flow) = self.flows.get(&id).filter(|flow| flow.is_gone()) else { return };
        let mut owes = false;
        for class in Class::ALL {
            let (finish, queue) = (flow.line(class).finish(), &mut self.queues[class as usize]);
            if finish > queue.clock() {
                queue.remember(finish, id);
                owes = true;
            }
        }
        if !owes {
            self.keys.leave(flow.group);
            self.flows.remove(&id);
        }
    }

    /// Flows, keys and debts that it remembers.
    #[cfg(test)]
    pub(super) fn memory(&self) -> (usize, usize, usize) {
        (self.flows.len(), self.keys.len(), self.queues.iter().map(ClassQueue::debtors).sum())
    }
}
