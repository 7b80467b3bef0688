//! The lease that a lane keeps, and the task that stands in line for it.
//!
//! The lease itself is never in that task: whoever drops the lane takes it from here, at once.

use super::keeping::{Keeping, Step};
use super::teller::Teller;
use crate::pool::{AcquireError, Allocator, Ask, Flow, Lease, LeaseScope};
use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

/// A lease that is kept from one decode to the next.
pub(super) struct Kept {
    keeping: Mutex<Keeping<Lease>>,
    changed: Notify,
    teller: Teller,
}

impl Kept {
    pub(super) fn new(teller: Teller) -> Self {
        Self { keeping: Mutex::new(Keeping::new()), changed: Notify::new(), teller }
    }

    pub(super) fn scope(&self) -> LeaseScope {
        self.look(|keeping| keeping.scope())
    }

    pub(super) fn set_scope(&self, scope: LeaseScope) {
        self.change(|keeping| keeping.set_scope(scope));
    }

    pub(super) fn set_speaking(&self, speaking: bool) {
        self.change(|keeping| keeping.set_speaking(speaking, Instant::now()));
    }

    /// Nobody will decode any more: the lease goes back now, or when its decode is over.
    pub(super) fn close(&self) {
        self.change(Keeping::close);
    }

    /// The lease came back from its decode, or did not.
    pub(super) fn take_back(&self, lease: Option<Lease>) {
        self.change(|keeping| match lease {
            Some(lease) => keeping.put(lease, Instant::now()),
            None => keeping.lose(),
        });
    }

    /// Waits for the lease, for one decode.
    ///
    /// # Errors
    ///
    /// [`AcquireError::Draining`].
    ///
    /// # Cancel safety
    ///
    /// Dropping this future leaves the lease where it is.
    pub(super) async fn take(&self) -> Result<Lease, AcquireError> {
        let _wanting = Wanting::new(self);
        self.until(Keeping::take).await
    }

    fn look<T>(&self, look: impl FnOnce(&mut Keeping<Lease>) -> T) -> T {
        look(&mut self.keeping.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes something, and lets go of the lease if it is not to be kept any more.
    fn change(&self, change: impl FnOnce(&mut Keeping<Lease>)) {
        let surplus = self.look(|keeping| {
            change(keeping);
            keeping.surplus()
        });
        if let Some(lease) = surplus {
            self.give_back(lease);
        }
        self.changed.notify_waiters();
    }

    fn give_back(&self, lease: Lease) {
        let held = lease.held();
        drop(lease);
        self.teller.released(held);
    }

    /// Looks after every change, until there is something to be seen.
    async fn until<T>(&self, mut look: impl FnMut(&mut Keeping<Lease>) -> Option<T>) -> T {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(seen) = self.look(&mut look) {
                return seen;
            }
            changed.await;
        }
    }
}

/// A decode that waits for the lease, for as long as this lives.
struct Wanting<'a>(&'a Kept);

impl<'a> Wanting<'a> {
    fn new(kept: &'a Kept) -> Self {
        kept.change(Keeping::want);
        Self(kept)
    }
}

impl Drop for Wanting<'_> {
    fn drop(&mut self) {
        self.0.change(Keeping::want_no_more);
    }
}

/// Stands in line for the lease whenever one is wanted, and gives it back when nobody used it for long.
pub(super) struct Renewal {
    pub(super) kept: Arc<Kept>,
    pub(super) allocator: Allocator,
    pub(super) flow: Arc<Flow>,
    /// What it asks for.
    pub(super) ask: Ask,
    pub(super) idle_reclaim: Option<Duration>,
}

impl Renewal {
    /// Keeps until it is dropped.
    async fn run(self) {
        loop {
            let mut changed = pin!(self.kept.changed.notified());
            changed.as_mut().enable();
            match self.kept.look(|keeping| keeping.step(Instant::now(), self.idle_reclaim)) {
                Step::Ask => self.stand_in_line().await,
                Step::GiveBack(lease) => self.kept.give_back(lease),
                Step::WaitUntil(moment) => tokio::select! {
                    () = changed => {}
                    () = sleep_until(moment) => {}
                },
                Step::Wait => changed.await,
            }
        }
    }

    /// Waits for a lease for as long as one is wanted.
    async fn stand_in_line(&self) {
        let mut place = match self.allocator.enqueue(&self.flow, self.ask, None) {
            Ok(place) => place,
            Err(error) => return self.kept.change(|keeping| keeping.refuse(error)),
        };
        tokio::select! {
            biased;
            answer = self.kept.teller.stand_in_line(&mut place) => self.kept.change(|keeping| match answer {
                Ok(lease) => keeping.put(lease, Instant::now()),
                Err(error) => keeping.refuse(error),
            }),
            () = self.kept.until(|keeping| (!keeping.is_wanted()).then_some(())) => {}
        }
    }
}

/// The task of a [`Renewal`]; begun when it is first needed, and ended with its lane.
#[derive(Default)]
pub(super) struct RenewalTask(OnceLock<AbortOnDropHandle<()>>);

impl RenewalTask {
    pub(super) fn begin(&self, renewal: impl FnOnce() -> Renewal) {
        self.0.get_or_init(|| AbortOnDropHandle::new(tokio::spawn(renewal().run())));
    }
}
