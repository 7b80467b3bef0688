//! What the ledger knows of one flow: its weight, its key, and its own line in each class.

use super::lineup::Group;
use super::queue::Head;
use super::virtual_time::VirtualTime;
use crate::pool::{Class, Ticket, Weight};
use std::collections::BTreeSet;
use std::time::Duration;

/// A flow's tickets in one class, served in their own order.
#[derive(Debug, Clone, Default)]
pub(super) struct Line {
    waiting: BTreeSet<Ticket>,
    /// What the class's clock said when the flow began to wait: time in which it wanted nothing saves up nothing.
    ///
    /// While tickets wait it stays where it is, so that a flow that was charged too much at first gets all of it back.
    floor: VirtualTime,
    finish: VirtualTime,
    /// Since when the first ticket is the first.
    since: Duration,
}

impl Line {
    /// The ticket that stands for the flow in its class.
    pub(super) fn head(&self, group: Group) -> Option<Head> {
        let ticket = *self.waiting.first()?;
        Some(Head { group, ticket, start: self.floor.max(self.finish), since: self.since })
    }

    /// Takes a ticket into the line, in the order of ticket numbers. `since` counts if it becomes the first.
    pub(super) fn insert(&mut self, ticket: Ticket, clock: VirtualTime, since: Duration) {
        if self.waiting.is_empty() {
            self.floor = clock;
        }
        if self.waiting.first().is_none_or(|first| ticket < *first) {
            self.since = since;
        }
        self.waiting.insert(ticket);
    }

    /// Takes a ticket out of the line; the one behind it is the first since `now` if it was the first.
    pub(super) fn remove(&mut self, ticket: Ticket, now: Duration) {
        if self.waiting.first() == Some(&ticket) {
            self.since = now;
        }
        self.waiting.remove(&ticket);
    }

    /// Puts a ticket in place of all that wait, and tells which did. It keeps their age.
    pub(super) fn replace(&mut self, ticket: Ticket) -> Option<Ticket> {
        let replaced = self.waiting.pop_first()?;
        self.waiting.clear();
        self.waiting.insert(ticket);
        Some(replaced)
    }

    /// When the work it was granted is finished, on the class's clock.
    pub(super) fn finish(&self) -> VirtualTime {
        self.finish
    }

    pub(super) fn set_finish(&mut self, finish: VirtualTime) {
        self.finish = finish;
    }

    pub(super) fn waiting(&self) -> impl Iterator<Item = Ticket> + '_ {
        self.waiting.iter().copied()
    }
}

/// What is kept of one flow.
#[derive(Debug, Clone, Default)]
pub(super) struct Account {
    pub(super) weight: Weight,
    pub(super) group: Group,
    /// Not dismissed: it is remembered even while it wants and owes nothing.
    pub(super) enrolled: bool,
    /// Leases that it holds.
    pub(super) running: usize,
    lines: [Line; Class::ALL.len()],
}

impl Account {
    pub(super) fn line(&self, class: Class) -> &Line {
        &self.lines[class as usize]
    }

    pub(super) fn line_mut(&mut self, class: Class) -> &mut Line {
        &mut self.lines[class as usize]
    }

    /// Everything it has waiting.
    pub(super) fn waiting(&self) -> impl Iterator<Item = Ticket> + '_ {
        self.lines.iter().flat_map(Line::waiting)
    }

    /// Whether it holds nothing, waits for nothing and was dismissed.
    pub(super) fn is_gone(&self) -> bool {
        !self.enrolled && self.running == 0 && self.waiting().next().is_none()
    }
}
