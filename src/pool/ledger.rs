//! Who holds which slot, and who is next. Pure: no clock, no locks, no tokio.

use super::{Ask, Class, Cost, FlowId, Generation, KeyId, SlotId, Weight};
use std::collections::BTreeMap;
use std::num::NonZero;
use std::time::Duration;

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

/// A ticket that was taken, and the one of the same flow that it made pointless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enqueued {
    /// The new ticket.
    pub ticket: Ticket,
    /// An older interim of the same flow, which does not wait any more.
    pub replaced: Option<Ticket>,
}

/// A key, and how many leases its flows may hold at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyCap {
    /// The key.
    pub key: KeyId,
    /// Its leases at once.
    pub leases: NonZero<u16>,
}

/// How the ledger treats those who wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerSettings {
    /// A ticket that waited longer is served out of turn.
    pub starvation: Duration,
    /// Percent of the work that batch gets while it waits.
    pub batch_share: u8,
}

impl Default for LedgerSettings {
    fn default() -> Self {
        Self { starvation: Duration::from_secs(10), batch_share: 10 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tenure {
    Warming,
    Idle,
    Leased,
    Retired,
    Closed,
}

/// The book of slots and waiting tickets.
#[derive(Debug, Default)]
pub struct Ledger {
    slots: BTreeMap<SlotId, (Generation, Tenure)>,
    line: BTreeMap<(Class, Ticket), FlowId>,
    next_ticket: u64,
}

#[allow(missing_docs)]
impl Ledger {
    pub fn new(_: LedgerSettings) -> Self {
        Self::default()
    }
    pub fn warm(&mut self, slot: SlotId) {
        self.slots.entry(slot).or_insert((Generation(0), Tenure::Warming)).1 = Tenure::Warming;
    }
    pub fn add(&mut self, slot: SlotId) -> Generation {
        let entry = self.slots.entry(slot).or_insert((Generation(0), Tenure::Idle));
        entry.0.0 += 1;
        entry.1 = Tenure::Idle;
        entry.0
    }
    pub fn fail(&mut self, slot: SlotId) {
        if let Some(entry) = self.slots.get_mut(&slot) {
            entry.1 = Tenure::Retired;
        }
    }
    pub fn lend(&mut self, slot: SlotId) -> Option<Generation> {
        let entry = self.slots.get_mut(&slot).filter(|entry| entry.1 == Tenure::Idle)?;
        entry.1 = Tenure::Leased;
        Some(entry.0)
    }
    pub fn close(&mut self, slot: SlotId) -> bool {
        let entry = self.slots.get_mut(&slot).filter(|e| matches!(e.1, Tenure::Idle | Tenure::Retired));
        entry.map(|entry| entry.1 = Tenure::Closed).is_some()
    }
    pub fn enroll(&mut self, _: FlowId, _: Weight, _: Option<KeyCap>) {}
    pub fn dismiss(&mut self, flow: FlowId) {
        self.line.retain(|_, waiting| *waiting != flow);
    }
    pub fn enqueue(&mut self, flow: FlowId, ask: Ask, _now: Duration) -> Enqueued {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.line.insert((ask.class, ticket), flow);
        Enqueued { ticket, replaced: None }
    }
    pub fn withdraw(&mut self, ticket: Ticket) -> bool {
        let before = self.line.len();
        self.line.retain(|(_, waiting), _| *waiting != ticket);
        self.line.len() < before
    }
    pub fn promote(&mut self, ticket: Ticket, _now: Duration) -> bool {
        let Some(flow) = self.line.remove(&(Class::Speculative, ticket)) else { return false };
        self.line.insert((Class::Final, ticket), flow);
        true
    }
    pub fn grant(&mut self, _now: Duration) -> Option<Grant> {
        let (&slot, entry) = self.slots.iter_mut().find(|(_, entry)| entry.1 == Tenure::Idle)?;
        let ((_, ticket), flow) = self.line.pop_first()?;
        entry.1 = Tenure::Leased;
        Some(Grant { ticket, flow, slot, generation: entry.0 })
    }
    pub fn line(&self) -> Vec<Ticket> {
        self.line.keys().map(|(_, ticket)| *ticket).collect()
    }
    pub fn release(&mut self, slot: SlotId, generation: Generation, _: Cost) -> bool {
        self.end_tenure(slot, generation, Tenure::Idle)
    }
    pub fn retire(&mut self, slot: SlotId, generation: Generation, _: Cost) -> bool {
        self.end_tenure(slot, generation, Tenure::Retired)
    }
    pub fn idle_slots(&self) -> impl Iterator<Item = SlotId> {
        self.slots.iter().filter(|(_, entry)| entry.1 == Tenure::Idle).map(|(slot, _)| *slot)
    }
    pub fn queued(&self) -> usize {
        self.line.len()
    }
    pub fn idle(&self) -> usize {
        self.count(Tenure::Idle)
    }
    pub fn leased(&self) -> usize {
        self.count(Tenure::Leased)
    }
    pub fn warming(&self) -> usize {
        self.count(Tenure::Warming)
    }
    pub fn retired(&self) -> usize {
        self.count(Tenure::Retired)
    }
    pub fn total(&self) -> usize {
        self.slots.len() - self.count(Tenure::Closed)
    }
    fn end_tenure(&mut self, slot: SlotId, generation: Generation, next: Tenure) -> bool {
        match self.slots.get_mut(&slot) {
            Some(entry) if *entry == (generation, Tenure::Leased) => {
                entry.1 = next;
                true
            }
            _ => false,
        }
    }
    fn count(&self, tenure: Tenure) -> usize {
        self.slots.values().filter(|entry| entry.1 == tenure).count()
    }
}
