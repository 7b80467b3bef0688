//! One class of work: its clock, and the head tickets that wait in it.
//!
//! Start-time fair queueing (Goyal, Vin, Cheng, SIGCOMM 1996), and a rescue for those whom weights alone would keep
//! waiting too long.

use super::lineup::{Group, Lineup};
use super::virtual_time::VirtualTime;
use crate::pool::{Cost, FlowId, Ticket, Weight};
use std::collections::BTreeSet;
use std::time::Duration;

/// One grant in so many goes to the longest waiting head that is over the bound, if there is one.
pub(super) const RESCUE_EVERY: u8 = 4;

/// The ticket of a flow that is next, as it stands in the lineups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) group: Group,
    pub(super) ticket: Ticket,
    /// Its start tag.
    pub(super) start: VirtualTime,
    /// Since when it is its flow's head.
    pub(super) since: Duration,
}

impl Head {
    /// Its place by start tag; of equal tags the older head goes first.
    fn place(&self) -> (VirtualTime, Duration) {
        (self.start, self.since)
    }
}

/// The heads of one class, and its clock.
#[derive(Debug, Clone, Default)]
pub(super) struct ClassQueue {
    clock: VirtualTime,
    by_tag: Lineup<(VirtualTime, Duration)>,
    by_age: Lineup<Duration>,
    /// The highest finish tag that was ever given.
    latest_finish: VirtualTime,
    /// Tickets that wait and leases that run.
    busy: usize,
    /// Grants since the last rescue, as far as they matter.
    unrescued: u8,
    /// Dismissed flows that are remembered until the clock has passed their finish tag.
    debtors: BTreeSet<(VirtualTime, FlowId)>,
}

impl ClassQueue {
    /// What its clock says.
    pub(super) fn clock(&self) -> VirtualTime {
        self.clock
    }

    /// Lines a head up.
    pub(super) fn insert(&mut self, head: Head) {
        self.by_tag.insert(head.group, head.place(), head.ticket);
        self.by_age.insert(head.group, head.since, head.ticket);
    }

    /// Takes a head out, as it was lined up.
    pub(super) fn remove(&mut self, head: Head) {
        self.by_tag.remove(head.group, head.place(), head.ticket);
        self.by_age.remove(head.group, head.since, head.ticket);
    }

    /// Passes a group over until it is opened again.
    pub(super) fn close(&mut self, group: Group) {
        self.by_tag.close(group);
        self.by_age.close(group);
    }

    /// Lets a group take part again, from the present on.
    pub(super) fn open(&mut self, group: Group, now: Duration) {
        self.by_tag.open(group, (self.clock, now));
        self.by_age.open(group, now);
    }

    /// Whose turn it is: the smallest start tag, or in a rescue the longest waiting head over the bound.
    pub(super) fn first(&self, now: Duration, bound: Duration) -> Option<Ticket> {
        let (_, ticket) = self.by_tag.first()?;
        let (since, oldest) = self.by_age.first()?;
        let overdue = now.saturating_sub(since) > bound;
        Some(if overdue && self.unrescued + 1 >= RESCUE_EVERY { oldest } else { ticket })
    }

    /// Charges a head that is served and tells its flow's new finish tag. The head is taken out.
    ///
    /// Only a grant in order moves the clock: a rescued ticket may be far ahead, and taking the clock there would forgive
    /// its flow what it owes to the others.
    pub(super) fn serve(&mut self, head: Head, cost: Cost, weight: Weight) -> VirtualTime {
        let (start, _) = self.by_tag.lifted(head.group, head.place());
        let in_order = self.by_tag.first().is_some_and(|(_, ticket)| ticket == head.ticket);
        let oldest = self.by_age.first().is_some_and(|(_, ticket)| ticket == head.ticket);
        if in_order {
            self.clock = self.clock.max(start);
        }
        self.unrescued = if oldest { 0 } else { (self.unrescued + 1).min(RESCUE_EVERY) };
        self.remove(head);
        let finish = start.after(cost, weight);
        self.note_finish(finish);
        finish
    }

    /// A flow's finish tag moved.
    pub(super) fn note_finish(&mut self, finish: VirtualTime) {
        self.latest_finish = self.latest_finish.max(finish);
    }

    /// A ticket begins to wait.
    pub(super) fn enter(&mut self) {
        self.busy += 1;
    }

    /// A ticket left the line, or a lease ended. When it was the last, the busy period is over: the clock jumps to the
    /// highest finish tag, and nobody owes anybody anything.
    pub(super) fn leave(&mut self) {
        self.busy -= 1;
        if self.busy == 0 {
            self.clock = self.clock.max(self.latest_finish);
        }
    }

    /// Remembers a dismissed flow until its debt is paid.
    pub(super) fn remember(&mut self, finish: VirtualTime, flow: FlowId) {
        self.debtors.insert((finish, flow));
    }

    /// A dismissed flow whose debt is paid by now. It is told once.
    pub(super) fn paid(&mut self) -> Option<FlowId> {
        let &(finish, _) = self.debtors.first()?;
        if finish > self.clock {
            return None;
        }
        self.debtors.pop_first().map(|(_, flow)| flow)
    }

    /// How many dismissed flows it remembers.
    #[cfg(test)]
    pub(super) fn debtors(&self) -> usize {
        self.debtors.len()
    }
}
