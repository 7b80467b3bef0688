//! A place in line, and what is known about it.

use super::{AcquireError, Flow, Lease, Ticket};
use crate::telemetry::metrics::{self, WaitOutcome};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout_at};

/// Where somebody stands in line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// 1 is next.
    pub position: usize,
    /// From now on, as things stand; `None` where it would be a guess.
    pub estimated_wait: Option<Duration>,
}

/// A place in line. Dropping it leaves the line.
#[derive(Debug)]
pub struct Place {
    ticket: Ticket,
    flow: Arc<Flow>,
    delivery: oneshot::Receiver<Result<Lease, AcquireError>>,
    standing: watch::Receiver<Option<Standing>>,
    since: Instant,
    deadline: Option<Instant>,
    /// How it ends, unless it is answered.
    outcome: WaitOutcome,
}

impl Place {
    pub(super) fn new(
        ticket: Ticket,
        flow: Arc<Flow>,
        delivery: oneshot::Receiver<Result<Lease, AcquireError>>,
        standing: watch::Receiver<Option<Standing>>,
        (since, deadline): (Instant, Option<Instant>),
    ) -> Self {
        Self { ticket, flow, delivery, standing, since, deadline, outcome: WaitOutcome::Withdrawn }
    }

    /// News of where it stands: `None` until the first, and as good as none once the lease is there.
    pub fn standing(&self) -> watch::Receiver<Option<Standing>> {
        self.standing.clone()
    }

    /// Makes a speculative ticket final, where it stands. `false` when it was served already, or never speculative.
    pub fn promote(&self) -> bool {
        self.flow.shared().promote(self.ticket)
    }

    /// Waits for the lease. To be called until it has given an answer, once.
    ///
    /// # Errors
    ///
    /// [`AcquireError::DeadlineExceeded`], if there is a deadline; [`AcquireError::Superseded`] by a newer interim;
    /// [`AcquireError::Draining`] when the pool was closed meanwhile.
    ///
    /// # Cancel safety
    ///
    /// Dropping this future loses nothing; dropping the place withdraws the ticket, and a lease that was already on its
    /// way is released by its own destructor.
    pub async fn lease(&mut self) -> Result<Lease, AcquireError> {
        self.answer().await.inspect_err(|error| metrics::refused(error.code()))
    }

    async fn answer(&mut self) -> Result<Lease, AcquireError> {
        let delivery = &mut self.delivery;
        let answer = match self.deadline {
            Some(deadline) => match timeout_at(deadline, delivery).await {
                Ok(answer) => answer,
                Err(_) => return Err(self.too_late()),
            },
            None => delivery.await,
        };
        // Only the end of the whole pool leaves a waiter without an answer.
        answer.unwrap_or(Err(AcquireError::Draining))
    }

    fn too_late(&mut self) -> AcquireError {
        self.outcome = WaitOutcome::DeadlineExceeded;
        let standing = *self.standing.borrow();
        let retry_after = standing.map_or_else(|| self.flow.shared().newcomer_wait(), |at| at.estimated_wait);
        AcquireError::DeadlineExceeded { waited: self.since.elapsed(), retry_after }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.flow.shared().withdraw(self.ticket) {
            metrics::waited(self.outcome, self.since.elapsed());
        }
    }
}
