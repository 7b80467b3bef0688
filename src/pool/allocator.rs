//! The async front of the [`Ledger`](super::Ledger): flows, places in line, leases.
//!
//! One `std::sync::Mutex` guards the books and is never held across an `await`. Decisions are made under the lock and
//! delivered after it, because a delivery that finds its waiter gone drops a [`Lease`], whose destructor takes the same
//! lock.

use super::books::{Answer, Books, EndedLease, InLine};
use super::lease::LeaseKey;
use super::{
    Ask, Bank, Class, Departure, Flow, FlowInfo, Generation, Lease, LedgerSettings, Left, Place, Retirement,
    SlotId, Slots, Snapshot, Standing, Ticket,
};
use crate::telemetry::metrics::{self, WaitOutcome};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::warn;

/// How often those who wait are told where they stand, at most.
const NEWS_PACE: Duration = Duration::from_millis(500);

/// How the pool treats those who wait.
#[derive(Debug, Clone, Copy)]
pub struct PoolSettings {
    /// How many may wait for work that is [owed](Class::is_owed) before a new flow is refused.
    pub queue_limit: usize,
    /// Who is next.
    pub ledger: LedgerSettings,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self { queue_limit: 256, ledger: LedgerSettings::default() }
    }
}

/// Why no lease was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcquireError {
    /// The line is full.
    #[error("pool is saturated: {queued} requests already wait (limit {limit})")]
    Saturated {
        /// Tickets in line for work that is owed.
        queued: usize,
        /// How many may be.
        limit: usize,
        /// When a newcomer would be served, as things stand; `None` where that would be a guess.
        retry_after: Option<Duration>,
    },
    /// The caller's deadline passed.
    #[error("no slot became free within {waited:.1?}")]
    DeadlineExceeded {
        /// How long the caller waited.
        waited: Duration,
        /// When it would have been served, as things stand; `None` where that would be a guess.
        retry_after: Option<Duration>,
    },
    /// A newer interim of the same flow took its place.
    #[error("a newer reading of the same speech took its place in line")]
    Superseded,
    /// The server is going down.
    #[error("pool is draining and takes no new work")]
    Draining,
}

impl AcquireError {
    /// The stable name of this error on the wire, in logs and in metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Saturated { .. } => "pool_saturated",
            Self::DeadlineExceeded { .. } => "pool_deadline_exceeded",
            Self::Superseded => "pool_superseded",
            Self::Draining => "pool_draining",
        }
    }

    /// When to try again, if somebody knows.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Saturated { retry_after, .. } | Self::DeadlineExceeded { retry_after, .. } => *retry_after,
            Self::Superseded | Self::Draining => None,
        }
    }
}

/// What the clones of an allocator, its leases and its places share.
#[derive(Debug)]
pub(super) struct Shared {
    books: Mutex<Books>,
    departures: mpsc::UnboundedSender<Departure>,
    /// Something happened that moves those who wait.
    moved: Notify,
}

/// The async front of the pool. Clones share one pool.
#[derive(Debug, Clone)]
pub struct Allocator {
    shared: Arc<Shared>,
}

impl Allocator {
    /// An empty pool, and where the slots that leave it are announced.
    ///
    /// That channel needs no bound of its own: a slot stands in it at most once, and comes back only by its reader.
    pub fn new(settings: PoolSettings) -> (Self, mpsc::UnboundedReceiver<Departure>) {
        let (departures, departed) = mpsc::unbounded_channel();
        let books = Books::new(settings.ledger, settings.queue_limit, Instant::now());
        let shared = Shared { books: Mutex::new(books), departures, moved: Notify::new() };
        (Self { shared: Arc::new(shared) }, departed)
    }

    /// Enters a flow into the books.
    pub fn enroll(&self, info: FlowInfo) -> Arc<Flow> {
        let id = self.shared.lock().enroll(info);
        Arc::new(Flow::new(id, Arc::clone(&self.shared)))
    }

    /// Checks whether a new flow may come in: the limits apply at the door, not to work of those already inside.
    ///
    /// # Errors
    ///
    /// [`AcquireError::Saturated`] or [`AcquireError::Draining`].
    pub fn admit(&self) -> Result<(), AcquireError> {
        let admitted = self.shared.lock().admit();
        admitted.inspect_err(|error| metrics::refused(error.code()))
    }

    /// Takes a place in line. Without a deadline it is kept for as long as it takes.
    ///
    /// Who has a deadline is a newcomer: the line may have filled up since [`admit`](Self::admit), so it is looked at
    /// again.
    ///
    /// # Errors
    ///
    /// For newcomers [`AcquireError::Saturated`]; [`AcquireError::Draining`] when nobody is served any more.
    pub fn enqueue(
        &self,
        flow: &Arc<Flow>,
        ask: Ask,
        deadline: Option<Instant>,
    ) -> Result<Place, AcquireError> {
        let (deliver, delivery) = oneshot::channel();
        let (standing, standing_out) = watch::channel(None);
        let now = Instant::now();
        let enqueued =
            self.shared.lock().enqueue(flow.id(), ask, deadline.is_some(), (deliver, standing), now);
        let (ticket, replaced) = enqueued.inspect_err(|error| metrics::refused(error.code()))?;
        let place = Place::new(ticket, Arc::clone(flow), delivery, standing_out, (now, deadline));
        if let Some(replaced) = replaced {
            replaced.answer(Err(AcquireError::Superseded));
        }
        self.shared.serve();
        self.shared.welcome(ticket);
        Ok(place)
    }

    /// Waits for a lease in fair order: [`enqueue`](Self::enqueue) and [`Place::lease`] in one.
    ///
    /// # Errors
    ///
    /// As for both.
    ///
    /// # Cancel safety
    ///
    /// Dropping this future withdraws the ticket. A lease that was already on its way is released by its own
    /// destructor, so no slot is lost.
    pub async fn acquire(
        &self,
        flow: &Arc<Flow>,
        ask: Ask,
        deadline: Option<Instant>,
    ) -> Result<Lease, AcquireError> {
        self.enqueue(flow, ask, deadline)?.lease().await
    }

    /// Takes no new flows from now on. Those inside are served to their end.
    pub fn drain(&self) {
        self.shared.lock().drain();
    }

    /// Whether it takes no new flows any more.
    pub fn is_draining(&self) -> bool {
        self.shared.lock().is_draining()
    }

    /// Serves nobody any more: whoever waits is told [`AcquireError::Draining`].
    pub fn close(&self) {
        let waiting = self.shared.lock().close();
        for waiting in waiting {
            waiting.answer(Err(AcquireError::Draining));
        }
    }

    /// The pool's numbers, from one lock.
    pub fn snapshot(&self) -> Snapshot {
        self.shared.lock().snapshot(Instant::now())
    }

    /// How many slots there are: a small part of the [`snapshot`](Self::snapshot), for whoever needs no more.
    pub fn slots(&self) -> Slots {
        self.shared.lock().slots()
    }

    /// How many wait: likewise.
    pub fn waiting(&self) -> usize {
        self.shared.lock().waiting()
    }

    /// How many wait for work of one class. O(n) in those who wait.
    pub fn waiting_for(&self, class: Class) -> usize {
        self.shared.lock().waiting_for(class)
    }
}

/// For whoever looks after the slots.
impl Allocator {
    /// A slot is being opened or rebuilt.
    pub fn warm(&self, slot: SlotId) {
        self.shared.lock().change_slots(Instant::now(), |ledger| ledger.warm(slot));
    }

    /// Puts a slot into service and serves whoever waits for one.
    pub fn add(&self, slot: SlotId) {
        self.shared.lock().add(slot, Instant::now());
        self.shared.serve();
        self.shared.moved.notify_one();
    }

    /// A slot that was being opened could not be: it is out of service.
    pub fn fail(&self, slot: SlotId) {
        self.shared.lock().change_slots(Instant::now(), |ledger| ledger.fail(slot));
    }

    /// Takes a slot out of the pool altogether. `false`, and nothing happens, while somebody holds it or it is opened.
    pub fn withdraw_slot(&self, slot: SlotId) -> bool {
        self.shared.lock().change_slots(Instant::now(), |ledger| ledger.close(slot))
    }

    /// The next slot of this bank that is released leaves the pool, and is announced as
    /// [taken back](Departure::TakenBack), unless [`keep`](Self::keep) comes first.
    pub fn take_back(&self, bank: Bank) {
        self.shared.lock().change_slots(Instant::now(), |ledger| ledger.take_back(bank));
    }

    /// No slot of this bank need leave the pool any more.
    pub fn keep(&self, bank: Bank) {
        self.shared.lock().change_slots(Instant::now(), |ledger| ledger.keep(bank));
    }

    /// How many slots of this bank nobody holds.
    pub fn idle_in(&self, bank: Bank) -> usize {
        self.shared.lock().idle_in(bank)
    }

    /// Lends an idle slot to the house itself, past the line and charged to nobody; `name` is what `/pool` calls the
    /// holder. `None` when the slot is not idle.
    pub fn lend(&self, slot: SlotId, name: &str) -> Option<Lease> {
        let now = Instant::now();
        let key = self.shared.lock().lend(slot, name, now)?;
        Some(Lease::new(key, Duration::ZERO, now, Arc::clone(&self.shared)))
    }

    /// Retires a leased slot over its holder's head: the lease sits in a decode that does not end, and when it comes back
    /// it gives nothing back. `false` when the lease has ended meanwhile.
    pub fn retire(&self, slot: SlotId, generation: Generation, cause: Retirement, detail: &str) -> bool {
        self.shared.retire(LeaseKey { slot, generation }, cause, detail)
    }

    /// Idle slots that have not been known to work for so long, or longer.
    pub fn unproven(&self, for_so_long: Duration) -> Vec<SlotId> {
        let moment = Instant::now().checked_sub(for_so_long);
        moment.map(|moment| self.shared.lock().unproven_since(moment)).unwrap_or_default()
    }

    /// Tells all who wait where they stand, whenever that changes, at most twice a second. Runs until it is dropped.
    pub async fn keep_informed(self) {
        loop {
            self.shared.moved.notified().await;
            let news = self.shared.lock().news(Instant::now());
            for news in news {
                tell(news);
            }
            tokio::time::sleep(NEWS_PACE).await;
        }
    }
}

/// Tells somebody in line where it stands, if that is new.
fn tell((standing, at): (watch::Sender<Option<Standing>>, Standing)) {
    standing.send_if_modified(|told| told.replace(at) != Some(at));
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Grants what can be granted: decided under the lock, delivered after it.
    fn serve(self: &Arc<Self>) {
        while let Some((lease, waiting)) = self.next_grant() {
            waiting.answer(Ok(lease));
        }
    }

    fn next_grant(self: &Arc<Self>) -> Option<(Lease, InLine)> {
        let now = Instant::now();
        let mut books = self.lock();
        let (grant, waiting) = books.grant(now)?;
        let others_move = books.waiting() > 0;
        drop(books);
        if others_move {
            self.moved.notify_one();
        }
        let key = LeaseKey { slot: grant.slot, generation: grant.generation };
        let waited = now.saturating_duration_since(waiting.since);
        let lease = Lease::new(key, waited, now, Arc::clone(self));
        Some((lease, waiting))
    }

    /// Tells one who has just come where it stands, unless it was served at once.
    fn welcome(&self, ticket: Ticket) {
        let news = self.lock().first_news(ticket, Instant::now());
        if let Some(news) = news {
            tell(news);
        }
        self.moved.notify_one();
    }

    /// Leaves the line. `false` when the ticket does not wait any more.
    pub(super) fn withdraw(&self, ticket: Ticket) -> bool {
        let withdrawn = self.lock().withdraw(ticket, Instant::now());
        if withdrawn {
            self.moved.notify_one();
        }
        withdrawn
    }

    pub(super) fn promote(&self, ticket: Ticket) -> bool {
        self.lock().promote(ticket, Instant::now())
    }

    pub(super) fn newcomer_wait(&self) -> Option<Duration> {
        self.lock().newcomer_wait()
    }

    pub(super) fn works(&self, lease: LeaseKey) {
        self.lock().works(lease, Instant::now());
    }

    pub(super) fn rests(&self, lease: LeaseKey, decode: Duration, proven: bool) {
        self.lock().rests(lease, decode, proven, Instant::now());
    }

    /// Ends a lease, and serves whoever is next.
    pub(super) fn release(self: &Arc<Self>, lease: LeaseKey) {
        let ended = self.lock().release(lease, Instant::now());
        let Some(ended) = ended else { return };
        ended.record();
        if ended.left == Left::Closed {
            self.announce(Departure::TakenBack(lease.slot));
        }
        self.serve();
    }

    /// Ends a lease and takes its slot out of service. `false` when it had ended before.
    ///
    /// Its key has a lease to spare then, for which another slot may be idle.
    pub(super) fn retire(self: &Arc<Self>, lease: LeaseKey, cause: Retirement, detail: &str) -> bool {
        let ended = self.lock().retire(lease, Instant::now());
        let Some(ended) = ended else { return false };
        ended.record();
        metrics::slot_retired(cause.name());
        warn!(slot = lease.slot.0, cause = cause.name(), detail, "slot retired");
        self.moved.notify_one();
        self.announce(Departure::Lost(lease.slot));
        self.serve();
        true
    }

    /// Nobody hears this once the supervisor is gone, and then nobody needs the slot.
    fn announce(&self, departure: Departure) {
        let _ = self.departures.send(departure);
    }
}

impl EndedLease {
    fn record(self) {
        if !self.by_house {
            metrics::lease_held(self.scope.into(), self.held);
        }
    }
}

impl InLine {
    fn answer(self, answer: Answer) {
        let outcome = match &answer {
            Ok(_) => WaitOutcome::Granted,
            Err(AcquireError::Superseded) => WaitOutcome::Superseded,
            Err(_) => WaitOutcome::Draining,
        };
        metrics::waited(outcome, self.since.elapsed());
        // A waiter that is gone hands the lease back, and its destructor frees the slot.
        drop(self.deliver.send(answer));
    }
}

#[cfg(test)]
mod tests;
