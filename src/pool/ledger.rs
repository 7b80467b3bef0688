//! Who holds which slot, and who is next. Pure: no clock, no locks, no tokio; times are passed in.
//!
//! # The discipline
//!
//! Start-time fair queueing (Goyal, Vin, Cheng, SIGCOMM 1996), in each [`Class`] by itself. Of each flow only the first
//! ticket, its *head*, is in the running. Its start tag is the flow's last finish tag, or what the class's clock said
//! when the flow began to wait, if that is later; the smallest start tag goes next and sets the clock, and the flow's
//! finish tag becomes start + cost / weight. On release the truth replaces the estimate. What it promises: over any
//! stretch of grants two flows *f* and *g* that always wait get work *W* with
//! `|W_f/w_f − W_g/w_g| ≤ c_f/w_f + c_g/w_g`, where *c* is their largest cost, and twice the error of the estimates in
//! flight on top.
//!
//! - **Classes** are served in strict order, but batch work gets at least its share of what is granted while it waits.
//! - **Starvation.** A head that has waited longer than the bound is *rescued*: of four grants of its class, one at
//!   least goes to the head that has waited longest. So a ticket over the bound is served within 4 × (tickets over the
//!   bound that are older + 1) grants of its class. It is charged as usual.
//! - **Keys.** Flows of a key at its cap are passed over. That time saves up neither credit nor age.
//! - **Debts** are forgiven when a class has nobody waiting and nothing running.
//!
//! Every operation is O(log n) in waiting tickets, except [`Ledger::line`].

mod batch_share;
mod flow;
mod keys;
mod lineup;
mod order;
mod queue;
mod slots;
mod virtual_time;

#[cfg(test)]
mod tests;

use super::{Ask, Bank, Class, Cost, FlowId, Generation, KeyCap, SlotId, Ticket, Weight};
use order::Order;
pub use slots::Left;
use slots::{LentTo, SlotBook};
use std::num::NonZeroU16;
use std::time::Duration;

/// How the ledger weighs those who wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerSettings {
    /// How long a flow's next ticket may wait before it is helped over its weight.
    pub starvation: Duration,
    /// What batch work gets at least of the work that is granted while it waits, in percent, at most 50.
    pub batch_share: u8,
    /// So many numbers, from each multiple of this on, are of slots that share a [`Bank`]; `None` when all share one.
    pub bank: Option<NonZeroU16>,
}

impl Default for LedgerSettings {
    fn default() -> Self {
        Self { starvation: Duration::from_secs(30), batch_share: 10, bank: None }
    }
}

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

/// A ticket that was taken into the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enqueued {
    /// The ticket.
    pub ticket: Ticket,
    /// The older interim of its flow that it replaced, which waits no more.
    pub replaced: Option<Ticket>,
}

/// Who waits, in the order of service as things stand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outlook {
    /// Everybody.
    pub tickets: Vec<Ticket>,
    /// So many of them, from the first on, are served when slots come free; those behind also need the end of a lease of
    /// their own key.
    pub uncapped: usize,
}

/// The book of slots and waiting tickets. `now` is the time since the pool was made.
#[derive(Debug)]
pub struct Ledger {
    slots: SlotBook,
    order: Order,
}

/// The slots: warming → idle → leased → idle, or retired → warming; closed from idle or retired.
impl Ledger {
    /// A ledger without slots.
    pub fn new(settings: LedgerSettings) -> Self {
        Self { slots: SlotBook::new(settings.bank), order: Order::new(settings) }
    }

    /// Counts a slot that is being opened or rebuilt: a new one, or one that was retired or closed. It cannot be lent
    /// yet. Nothing happens to a slot in service.
    pub fn warm(&mut self, slot: SlotId) {
        self.slots.warm(slot);
    }

    /// Puts a slot into service and tells its generation, which this slot never had before.
    ///
    /// A slot that is in service stays as it is.
    pub fn add(&mut self, slot: SlotId) -> Generation {
        self.slots.add(slot)
    }

    /// A warming slot could not be opened: it is retired. Nothing happens to others.
    pub fn fail(&mut self, slot: SlotId) {
        self.slots.fail(slot);
    }

    /// Lends an idle slot to the house itself, charged to nobody; it is released or retired as any other. `None`, and
    /// nothing happens, for a slot that is not idle.
    pub fn lend(&mut self, slot: SlotId) -> Option<Generation> {
        self.slots.lease(slot, LentTo::House)
    }

    /// Takes an idle or retired slot out of the pool. `false`, and nothing happens, for any other.
    pub fn close(&mut self, slot: SlotId) -> bool {
        self.slots.close(slot)
    }

    /// The next slot of this bank that is released leaves the pool, unless [`keep`](Self::keep) comes first. Where all
    /// are at work without a break, none would ever be idle and could be [closed](Self::close).
    pub fn take_back(&mut self, bank: Bank) {
        self.slots.take_back(bank);
    }

    /// No slot of this bank need leave the pool any more.
    pub fn keep(&mut self, bank: Bank) {
        self.slots.keep(bank);
    }

    /// Takes a slot back that was held for `held`, which replaces the estimate its holder was charged with. `None`, and
    /// nothing happens, for an older generation or a slot nobody holds.
    pub fn release(&mut self, slot: SlotId, generation: Generation, held: Cost) -> Option<Left> {
        self.end(slot, generation, held, false)
    }

    /// Takes a leased slot out of service; otherwise as [`release`](Self::release).
    pub fn retire(&mut self, slot: SlotId, generation: Generation, held: Cost) -> Option<Left> {
        self.end(slot, generation, held, true)
    }

    fn end(&mut self, slot: SlotId, generation: Generation, held: Cost, retired: bool) -> Option<Left> {
        let (holder, left) = self.slots.end(slot, generation, retired)?;
        if let LentTo::Flow(charge) = holder {
            self.order.settle(charge, held);
        }
        Some(left)
    }

    /// How many slots of this bank nobody holds.
    pub fn idle_in(&self, bank: Bank) -> usize {
        self.slots.idle_in(bank)
    }

    /// The slots that nobody holds, in order.
    pub fn idle_slots(&self) -> impl Iterator<Item = SlotId> {
        self.slots.idle_slots()
    }

    /// How many slots exist, closed ones not counted.
    pub fn total(&self) -> usize {
        self.slots.total()
    }

    /// How many slots nobody holds.
    pub fn idle(&self) -> usize {
        self.slots.idle()
    }

    /// How many slots somebody holds.
    pub fn leased(&self) -> usize {
        self.slots.leased()
    }

    /// How many slots are being opened.
    pub fn warming(&self) -> usize {
        self.slots.warming()
    }

    /// How many slots are out of service.
    pub fn retired(&self) -> usize {
        self.slots.retired()
    }
}

/// The line.
impl Ledger {
    /// Makes a flow known, with its weight and the cap it shares; or changes them, also for what it has waiting.
    pub fn enroll(&mut self, flow: FlowId, weight: Weight, key: Option<KeyCap>) {
        self.order.enroll(flow, weight, key);
    }

    /// Withdraws what a flow has waiting and forgets it as soon as it holds and owes nothing. Its leases end as usual.
    pub fn dismiss(&mut self, flow: FlowId) {
        self.order.dismiss(flow);
    }

    /// Takes a place in line.
    ///
    /// A flow that is not enrolled is served with weight 1 and without a key, or as it last was, and forgotten when it
    /// holds, wants and owes nothing.
    pub fn enqueue(&mut self, flow: FlowId, ask: Ask, now: Duration) -> Enqueued {
        let (ticket, replaced) = self.order.enqueue(flow, ask, now);
        Enqueued { ticket, replaced }
    }

    /// Leaves the line. `false` when the ticket does not wait (any more).
    pub fn withdraw(&mut self, ticket: Ticket) -> bool {
        self.order.withdraw(ticket)
    }

    /// Makes a final of a speculative ticket, which keeps its age and its place among its flow's tickets. `false`, and
    /// nothing happens, when no such ticket waits (any more).
    pub fn promote(&mut self, ticket: Ticket, now: Duration) -> bool {
        self.order.promote(ticket, now)
    }

    /// Grants one idle slot to the ticket that is next, if both exist.
    pub fn grant(&mut self, now: Duration) -> Option<Grant> {
        if self.slots.idle() == 0 {
            return None;
        }
        let turn = self.order.next(now)?;
        let slot = self.slots.choose(turn.avoid).expect("a slot is idle");
        let generation =
            self.slots.lease(slot, LentTo::Flow(turn.charge)).expect("it was just chosen among the idle");
        Some(Grant { ticket: turn.ticket, flow: turn.flow, slot, generation })
    }

    /// The waiting tickets in the order of service as things stand: as if nobody came or left and no lease ended, with
    /// tickets over the cap of their key behind all others. O(n log n).
    pub fn line(&self) -> Outlook {
        self.order.line()
    }

    /// How many tickets wait.
    pub fn queued(&self) -> usize {
        self.order.queued()
    }

    /// How many tickets of one class wait. O(n) in waiting tickets.
    pub fn queued_in(&self, class: Class) -> usize {
        self.order.queued_in(class)
    }
}
