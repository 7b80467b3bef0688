//! The waiting room around the [`Ledger`]: futures, leases and their destructors.
//!
//! One `std::sync::Mutex` guards the ledger and the waiters and is never held across an `await`. Decisions are made
//! under the lock and delivered after it, because a delivery that finds its waiter gone drops a [`Lease`], whose
//! destructor takes the same lock.

use super::{
    Ask, Class, Cost, FlowId, Generation, Grant, LeaseScope, Ledger, LedgerSettings, SlotId, Snapshot, Ticket,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::warn;

/// How the pool treats those who wait.
#[derive(Debug, Clone)]
pub struct PoolSettings {
    /// How many may wait before a new flow is refused.
    pub queue_limit: usize,
}

/// Why no lease was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcquireError {
    /// The line is full.
    #[error("pool is saturated: {queued} requests already wait (limit {limit})")]
    Saturated {
        /// Tickets in line.
        queued: usize,
        /// How many may be.
        limit: usize,
    },
    /// The caller's deadline passed.
    #[error("no slot became free within {waited:.1?}")]
    DeadlineExceeded {
        /// How long the caller waited.
        waited: Duration,
    },
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
            Self::Draining => "pool_draining",
        }
    }
}

#[derive(Debug)]
struct Waiter {
    deliver: oneshot::Sender<Lease>,
    since: Instant,
}

#[derive(Debug)]
struct State {
    ledger: Ledger,
    waiters: BTreeMap<Ticket, Waiter>,
    draining: bool,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    settings: PoolSettings,
    retirements: mpsc::UnboundedSender<SlotId>,
    started: Instant,
}

/// The async front of the pool. Clones share one pool.
#[derive(Debug, Clone)]
pub struct Allocator {
    shared: Arc<Shared>,
}

impl Allocator {
    /// An empty pool, and where the slots that leave it are announced.
    ///
    /// That channel needs no bound of its own: a slot stands in it at most once, and is rebuilt only by its reader.
    pub fn new(settings: PoolSettings) -> (Self, mpsc::UnboundedReceiver<SlotId>) {
        let (retirements, retired) = mpsc::unbounded_channel();
        let started = Instant::now();
        let state = State {
            ledger: Ledger::new(LedgerSettings::default()),
            waiters: BTreeMap::new(),
            draining: false,
        };
        (
            Self { shared: Arc::new(Shared { state: Mutex::new(state), settings, retirements, started }) },
            retired,
        )
    }

    /// Puts a slot into service and serves whoever waits for one.
    pub fn add(&self, slot: SlotId) {
        self.shared.lock().ledger.add(slot);
        self.shared.serve();
    }

    /// Checks whether a new flow may come in: the limits apply at the door, not to work of those already inside.
    ///
    /// # Errors
    ///
    /// [`AcquireError::Saturated`] or [`AcquireError::Draining`].
    pub fn admit(&self) -> Result<(), AcquireError> {
        let state = self.shared.lock();
        let (queued, limit) = (state.ledger.queued(), self.shared.settings.queue_limit);
        if state.draining {
            return Err(AcquireError::Draining);
        }
        if queued >= limit {
            return Err(AcquireError::Saturated { queued, limit });
        }
        Ok(())
    }

    /// Waits for a slot in order; without a deadline, for as long as it takes.
    ///
    /// Who has a deadline is a newcomer: the line may have filled up since [`admit`](Self::admit), so it is looked at
    /// again.
    ///
    /// # Errors
    ///
    /// [`AcquireError::DeadlineExceeded`], and for newcomers [`AcquireError::Saturated`].
    ///
    /// # Cancel safety
    ///
    /// Dropping this future withdraws the ticket. A lease that was already on its way is released by its own
    /// destructor, so no slot is lost.
    pub async fn acquire(
        &self,
        flow: FlowId,
        class: Class,
        deadline: Option<Instant>,
    ) -> Result<Lease, AcquireError> {
        let since = Instant::now();
        let limit = deadline.map_or(usize::MAX, |_| self.shared.settings.queue_limit);
        let (place, delivery) = self.enqueue(flow, class, since, limit)?;
        let lease = match deadline {
            Some(deadline) => tokio::time::timeout_at(deadline, delivery)
                .await
                .map_err(|_| AcquireError::DeadlineExceeded { waited: since.elapsed() })?,
            None => delivery.await,
        };
        drop(place);
        Ok(lease.expect("a waiter is answered before it is forgotten"))
    }

    /// Takes no new flows from now on. Those inside are served to their end.
    pub fn drain(&self) {
        self.shared.lock().draining = true;
    }

    /// The pool's numbers, from one lock.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.shared.lock();
        let oldest = state.waiters.values().map(|waiter| waiter.since.elapsed()).max();
        Snapshot {
            total: state.ledger.total(),
            idle: state.ledger.idle(),
            leased: state.ledger.leased(),
            retired: state.ledger.retired(),
            queued: state.ledger.queued(),
            oldest_wait: oldest.unwrap_or_default(),
            queue_limit: self.shared.settings.queue_limit,
            draining: state.draining,
        }
    }

    fn enqueue(
        &self,
        flow: FlowId,
        class: Class,
        since: Instant,
        limit: usize,
    ) -> Result<(PlaceInLine, oneshot::Receiver<Lease>), AcquireError> {
        let (deliver, delivery) = oneshot::channel();
        let ticket = {
            let mut state = self.shared.lock();
            let queued = state.ledger.queued();
            if queued >= limit {
                return Err(AcquireError::Saturated { queued, limit });
            }
            let ask = Ask {
                class,
                cost: Cost(Duration::from_millis(100)),
                scope: LeaseScope::Utterance,
                avoid: None,
            };
            let ticket = state.ledger.enqueue(flow, ask, since - self.shared.started).ticket;
            state.waiters.insert(ticket, Waiter { deliver, since });
            ticket
        };
        let place = PlaceInLine { ticket, shared: Arc::clone(&self.shared) };
        self.shared.serve();
        Ok((place, delivery))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Grants what can be granted: decided under the lock, delivered after it.
    fn serve(self: &Arc<Self>) {
        while let Some((grant, waiter)) = self.next_grant() {
            let lease = Lease {
                slot: grant.slot,
                generation: grant.generation,
                waited: waiter.since.elapsed(),
                since: Instant::now(),
                open: true,
                shared: Arc::clone(self),
            };
            // A waiter that is gone hands the lease back, and its destructor frees the slot.
            drop(waiter.deliver.send(lease));
        }
    }

    fn next_grant(&self) -> Option<(Grant, Waiter)> {
        let mut state = self.lock();
        let grant = state.ledger.grant(self.started.elapsed())?;
        let waiter = state.waiters.remove(&grant.ticket).expect("every ticket in line has a waiter");
        Some((grant, waiter))
    }
}

/// Withdraws its ticket when dropped; a ticket that was served is not in line any more.
struct PlaceInLine {
    ticket: Ticket,
    shared: Arc<Shared>,
}

impl Drop for PlaceInLine {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if state.ledger.withdraw(self.ticket) {
            state.waiters.remove(&self.ticket);
        }
    }
}

/// The exclusive right to one slot. Dropping it gives the slot to whoever is next.
#[derive(Debug)]
pub struct Lease {
    slot: SlotId,
    generation: Generation,
    waited: Duration,
    since: Instant,
    open: bool,
    shared: Arc<Shared>,
}

impl Lease {
    /// The slot it is for.
    pub fn slot(&self) -> SlotId {
        self.slot
    }

    /// How long its holder stood in line.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// Ends the lease and takes the slot out of service until it was rebuilt.
    pub fn retire(mut self, reason: &str) {
        self.open = false;
        if self.shared.lock().ledger.retire(self.slot, self.generation, Cost(self.since.elapsed())) {
            warn!(slot = self.slot.0, reason, "slot retired");
            // Nobody rebuilds once the supervisor is gone, and then nobody needs the slot.
            let _ = self.shared.retirements.send(self.slot);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.open {
            self.shared.lock().ledger.release(self.slot, self.generation, Cost(self.since.elapsed()));
            self.shared.serve();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn pool(slots: u16) -> (Allocator, mpsc::UnboundedReceiver<SlotId>) {
        let (allocator, retired) = Allocator::new(PoolSettings { queue_limit: 2 });
        for slot in 0..slots {
            allocator.add(SlotId(slot));
        }
        (allocator, retired)
    }

    async fn lease(allocator: &Allocator, flow: u64) -> Lease {
        allocator.acquire(FlowId(flow), Class::Final, None).await.expect("no deadline was set")
    }

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiter_that_gives_up_does_not_keep_a_slot() {
        let (allocator, _retired) = pool(1);
        let held = lease(&allocator, 1).await;
        let deadline = Instant::now() + Duration::from_millis(250);
        let error = allocator.acquire(FlowId(2), Class::Final, Some(deadline)).await.unwrap_err();
        assert_eq!(error, AcquireError::DeadlineExceeded { waited: Duration::from_millis(250) });
        drop(held);
        assert_eq!((allocator.snapshot().idle, allocator.snapshot().queued), (1, 0));
    }

    #[tokio::test]
    async fn a_lease_whose_waiter_vanished_on_delivery_moves_on() {
        let (allocator, _retired) = pool(1);
        let held = lease(&allocator, 1).await;
        let mut next = pin!(allocator.acquire(FlowId(3), Class::Final, None));
        {
            let mut vanishing = Box::pin(allocator.acquire(FlowId(2), Class::Final, None));
            assert!(poll(vanishing.as_mut()).is_pending());
            assert!(poll(next.as_mut()).is_pending());
            drop(held);
            assert!(poll(next.as_mut()).is_pending(), "the first in line was served first");
        }
        assert!(poll(next.as_mut()).is_ready());
    }

    #[tokio::test]
    async fn a_retired_slot_serves_nobody_until_it_is_rebuilt() {
        let (allocator, mut retired) = pool(1);
        lease(&allocator, 1).await.retire("test");
        let mut waiting = pin!(allocator.acquire(FlowId(2), Class::Final, None));
        assert!(poll(waiting.as_mut()).is_pending());
        assert_eq!(allocator.snapshot().retired, 1);
        let slot = retired.recv().await.expect("the retirement is announced");
        allocator.add(slot);
        assert!(poll(waiting.as_mut()).is_ready());
    }

    #[tokio::test]
    async fn a_full_line_refuses_newcomers_at_the_door() {
        let (allocator, _retired) = pool(1);
        let _held = lease(&allocator, 1).await;
        let mut first = pin!(allocator.acquire(FlowId(2), Class::Final, None));
        let mut second = pin!(allocator.acquire(FlowId(3), Class::Final, None));
        assert_eq!(allocator.admit(), Ok(()));
        assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
        assert_eq!(allocator.admit(), Err(AcquireError::Saturated { queued: 2, limit: 2 }));
    }

    #[tokio::test]
    async fn a_newcomer_that_was_let_in_before_the_line_filled_up_is_refused_at_its_end() {
        let (allocator, _retired) = pool(1);
        let _held = lease(&allocator, 1).await;
        let mut first = pin!(allocator.acquire(FlowId(2), Class::Final, None));
        let mut second = pin!(allocator.acquire(FlowId(3), Class::Final, None));
        assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
        let deadline = Instant::now() + Duration::from_secs(30);
        let refused = allocator.acquire(FlowId(4), Class::Final, Some(deadline)).await;
        assert_eq!(refused.unwrap_err(), AcquireError::Saturated { queued: 2, limit: 2 });
        let mut inside = pin!(allocator.acquire(FlowId(2), Class::Final, None));
        assert!(poll(inside.as_mut()).is_pending(), "work of those inside is never refused");
    }

    #[tokio::test]
    async fn a_draining_pool_still_serves_those_inside() {
        let (allocator, _retired) = pool(1);
        let held = lease(&allocator, 1).await;
        let mut waiting = pin!(allocator.acquire(FlowId(1), Class::Final, None));
        assert!(poll(waiting.as_mut()).is_pending());
        allocator.drain();
        assert_eq!(allocator.admit(), Err(AcquireError::Draining));
        drop(held);
        assert!(poll(waiting.as_mut()).is_ready());
    }
}
