//! Keeps the slots of one device open: grows the pool at the start, rebuilds what was lost, follows the memory.
//!
//! It waits; [`Roster`], [`Elasticity`] and [`SiteCapacity`] decide.

use super::capacity::{Capacity, SiteCapacity};
use super::opener::{Opener, Opening};
use super::roster::{OpenFor, Roster};
use crate::asr::AsrError;
use crate::gpu::{Bytes, Change, DeviceMemory, Elasticity, Loaded, MemoryBudget, OpenSlots, Sizing};
use crate::pool::{Bank, Departure, SlotId};
use crate::telemetry::metrics;
use std::future::pending;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info};

/// What the keeper works with.
pub(super) struct Keeper {
    pub(super) opener: Opener,
    /// The slots of this device that leave the pool.
    pub(super) departed: mpsc::UnboundedReceiver<Departure>,
    pub(super) readings: Option<watch::Receiver<DeviceMemory>>,
    pub(super) elasticity: Option<Elasticity>,
    pub(super) budget: MemoryBudget,
    pub(super) roster: Roster,
    /// Shared with the keepers of the other devices.
    pub(super) capacity: watch::Sender<Capacity>,
    /// Which of its sites this is.
    pub(super) site: usize,
    pub(super) bank: Bank,
    /// A slot is to leave as soon as it comes free.
    pub(super) leaving: bool,
    pub(super) begun: Instant,
    /// A slot that takes longer to open is not waited for.
    pub(super) limit: Duration,
    /// Openings that took too long, and still go on.
    pub(super) late: JoinSet<Done>,
}

/// Something that was done off the runtime.
#[derive(Debug)]
pub(super) enum Done {
    Opening(SlotId, OpenFor, Opening),
    /// It takes too long, and goes on.
    Stuck(SlotId, OpenFor, AbortOnDropHandle<Opening>),
    Closed,
}

impl Done {
    fn opening(slot: SlotId, purpose: OpenFor, opened: Result<Opening, JoinError>) -> Self {
        let panicked =
            |error: JoinError| Opening::Failed(AsrError::Open { slot: slot.0, reason: error.to_string() });
        Self::Opening(slot, purpose, opened.unwrap_or_else(panicked))
    }
}

impl Keeper {
    /// Runs until it is dropped. A slot that is being opened then is opened to its end, and closed with the engine.
    pub(super) async fn run(mut self) {
        // One slot is opened at a time, and none while one is being closed.
        let mut under_way = JoinSet::new();
        let mut grew = true;
        loop {
            self.begin_next(&mut under_way);
            if grew && !self.roster.grows() {
                grew = false;
                info!(slots = self.roster.len(), "pool opened");
            }
            self.publish();
            let due = self.roster.next_due().filter(|_| under_way.is_empty());
            tokio::select! {
                Some(departure) = self.departed.recv() => self.depart(departure, &mut under_way),
                Some(Ok(done)) = under_way.join_next() => self.note(done),
                Some(Ok(done)) = self.late.join_next() => self.note(done),
                memory = next_reading(&mut self.readings) => self.follow(memory, &mut under_way),
                () = until(due.map(|due| self.begun + due)) => {}
            }
        }
    }

    /// Begins to open the slot that is due, if there is one.
    fn begin_next(&mut self, under_way: &mut JoinSet<Done>) {
        if !under_way.is_empty() {
            return;
        }
        let Some((slot, purpose)) = self.roster.next(self.begun.elapsed()) else { return };
        let (opening, limit) = (self.opener.clone().open(slot, self.needed(purpose)), self.limit);
        under_way.spawn(async move {
            let mut opening = AbortOnDropHandle::new(tokio::spawn(opening));
            match timeout(limit, &mut opening).await {
                Ok(opened) => Done::opening(slot, purpose, opened),
                Err(_) => Done::Stuck(slot, purpose, opening),
            }
        });
    }

    /// How much must be free for a slot. The reserve is left alone, unless there would be no service at all.
    fn needed(&self, purpose: OpenFor) -> Bytes {
        let sizing = self.sizing();
        let last_hope = purpose == OpenFor::Rebuild && self.opener.allocator.slots().in_service() == 0;
        let reserve = if last_hope { Bytes(0) } else { sizing.reserve };
        sizing.footprint.slot.and(reserve)
    }

    fn sizing(&self) -> Sizing {
        self.capacity.borrow().sites[self.site].sizing
    }

    /// Changes what is told of this device, and says whether that is news.
    fn tell(&self, change: impl FnOnce(&mut SiteCapacity) -> bool) {
        self.capacity.send_if_modified(|capacity| change(&mut capacity.sites[self.site]));
    }

    fn note(&mut self, done: Done) {
        let now = self.begun.elapsed();
        match done {
            Done::Closed => {}
            Done::Stuck(slot, purpose, opening) => self.leave_behind(slot, purpose, opening),
            Done::Opening(slot, purpose, Opening::Opened(_)) => {
                info!(slot = slot.0, ?purpose, "slot serves");
                self.roster.opened(slot, now);
                self.note_growth();
            }
            Done::Opening(slot, purpose, Opening::NoRoom(memory)) => {
                let reserve = self.sizing().reserve;
                info!(slot = slot.0, ?purpose, free = %memory.free, %reserve, "no room for the slot");
                self.roster.no_room(slot, now);
            }
            Done::Opening(slot, _, Opening::Failed(error)) => {
                metrics::failed(metrics::Module::Asr, error.code());
                error!(slot = slot.0, code = error.code(), %error, "slot stays out for now");
                self.roster.failed(slot, now);
            }
        }
    }

    /// Waits no more for a slot to open before others do. What comes of it in the end is as good as if it came in time:
    /// until then the slot is opened no second time.
    fn leave_behind(&mut self, slot: SlotId, purpose: OpenFor, opening: AbortOnDropHandle<Opening>) {
        error!(slot = slot.0, limit_s = self.limit.as_secs(), "slot takes too long to open, and stays out");
        self.opener.allocator.fail(slot);
        self.roster.stuck(slot);
        self.late.spawn(async move { Done::opening(slot, purpose, opening.await) });
    }

    /// A pool that could grow beyond what fitted at the start is a larger pool from then on.
    fn note_growth(&mut self) {
        let slots = u16::try_from(self.roster.len()).unwrap_or(u16::MAX);
        self.tell(|SiteCapacity { sizing, memory, .. }| {
            let resized = self.budget.size(*memory, sizing.footprint, Loaded::Weights { slots });
            let larger = resized.ok().filter(|resized| resized.slots > sizing.slots && slots > sizing.slots);
            larger.is_some_and(|larger| {
                // What would fit besides is not missing: it may grow there, or not.
                *sizing = Sizing { slots, ..larger };
                true
            })
        });
    }

    /// Follows the memory: gives a slot back, or takes one.
    fn follow(&mut self, memory: DeviceMemory, under_way: &mut JoinSet<Done>) {
        self.tell(|site| {
            site.read(memory);
            true
        });
        // Memory has returned; or a slot is idle after all, and the one that was to leave need not be waited for.
        if self.leaving
            && (memory.free >= self.sizing().reserve || self.opener.allocator.idle_in(self.bank) > 0)
        {
            self.opener.allocator.keep(self.bank);
            self.leaving = false;
        }
        let Some(elasticity) = &mut self.elasticity else { return };
        let open = u16::try_from(self.roster.len()).unwrap_or(u16::MAX);
        let now = self.begun.elapsed();
        match elasticity.decide(now, memory, OpenSlots { open, leaving: self.leaving }) {
            Change::Stay => {}
            Change::Grow => self.roster.grow(now),
            Change::Shrink => self.shrink(memory, under_way),
        }
    }

    /// Closes the idle slot with the highest number, or where all are at work the next that comes free; but never the
    /// last one that serves: others may be counted on that are still to be opened, or do not come back.
    fn shrink(&mut self, memory: DeviceMemory, under_way: &mut JoinSet<Done>) {
        let allocator = &self.opener.allocator;
        if allocator.slots().in_service() <= 1 {
            return;
        }
        let free = memory.free;
        let idle = self.roster.open_from_the_top().find(|slot| allocator.withdraw_slot(*slot));
        if let Some(slot) = idle {
            info!(slot = slot.0, %free, "slot given back, because memory is low");
            self.close(slot, under_way);
        } else {
            info!(%free, "memory is low and all slots are at work: the next that comes free is given back");
            allocator.take_back(self.bank);
            self.leaving = true;
        }
    }

    /// Takes note of a slot that has left the pool.
    fn depart(&mut self, departure: Departure, under_way: &mut JoinSet<Done>) {
        match departure {
            Departure::Lost(slot) => self.roster.lost(slot, self.begun.elapsed()),
            Departure::TakenBack(slot) => {
                info!(slot = slot.0, "slot given back after its decode, because memory is low");
                self.leaving = false;
                self.close(slot, under_way);
            }
        }
    }

    /// Closes a slot that the pool lends no more.
    fn close(&mut self, slot: SlotId, under_way: &mut JoinSet<Done>) {
        self.roster.withdrawn(slot);
        let opener = self.opener.clone();
        under_way.spawn(async move {
            opener.close(slot).await;
            Done::Closed
        });
    }

    /// Counts the slots; while the pool grows for the first time, nothing is missing yet.
    fn publish(&self) {
        let (slots, stay_out) = (self.roster.len(), self.roster.stay_out());
        self.tell(|site| {
            let before = site.alerts;
            site.count(slots, stay_out);
            site.alerts != before
        });
    }
}

/// The next reading; never, when there are none or no more.
///
/// # Cancel safety
///
/// No reading is lost that is not followed by another one.
async fn next_reading(readings: &mut Option<watch::Receiver<DeviceMemory>>) -> DeviceMemory {
    if let Some(receiver) = readings {
        if receiver.changed().await.is_ok() {
            return *receiver.borrow_and_update();
        }
        *readings = None;
    }
    pending().await
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
    }
}

/// How long a slot may take to open, when the first, which also loads what all share, took so long.
pub(super) fn opening_limit(first: Duration) -> Duration {
    (10 * first).max(Duration::from_secs(120))
}

/// How long a trial may take, when opening a slot (with the widest decode there is) took so long.
pub(super) fn trial_limit(opening: Duration) -> Duration {
    (10 * opening).max(Duration::from_secs(30))
}
