//! Watches one decode until its decoder has returned, or is given up.
//!
//! It needs no more of an engine than the promise that the reply comes when the decoder has stopped, and does not trust
//! it to keep that.

use super::engine::Outcome;
use super::{AsrError, Engine};
use crate::pool::{Allocator, Cost, Generation, Lease, Retirement, SlotId};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How long decodes may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobLimits {
    /// The shortest deadline of any decode.
    pub shortest: Duration,
    /// A decode may take so many times what is expected of it.
    pub factor: u32,
    /// How long a decoder that was told to stop may go on; then its slot is given up and rebuilt.
    pub abort_grace: Duration,
}

impl Default for JobLimits {
    fn default() -> Self {
        Self { shortest: Duration::from_secs(30), factor: 20, abort_grace: Duration::from_secs(5) }
    }
}

impl JobLimits {
    /// How long a decode may take of which so much is expected.
    pub(super) fn deadline(&self, Cost(expected): Cost) -> Duration {
        expected.saturating_mul(self.factor).max(self.shortest)
    }
}

/// One decode under way.
pub(super) struct Watch {
    engine: Arc<dyn Engine>,
    allocator: Allocator,
    pub(super) slot: SlotId,
    pub(super) generation: Generation,
    /// Cancelled by a caller that gave up, and by the watch at the deadline.
    pub(super) cancel: CancellationToken,
    limit: Duration,
    abort_grace: Duration,
}

impl Watch {
    /// The watch over a decode that `lease` is for, with a token of its own to cancel it by.
    pub(super) fn new(
        engine: &Arc<dyn Engine>,
        allocator: &Allocator,
        lease: &Lease,
        limit: Duration,
        abort_grace: Duration,
    ) -> Self {
        Self {
            engine: Arc::clone(engine),
            allocator: allocator.clone(),
            slot: lease.slot(),
            generation: lease.generation(),
            cancel: CancellationToken::new(),
            limit,
            abort_grace,
        }
    }

    /// What came of the decode. Ends at the latest `abort_grace` after its deadline, or after its caller gave up.
    ///
    /// To be run to its end, whether anybody waits for the answer or not.
    ///
    /// # Cancel safety
    ///
    /// Dropping this future watches no more: a decoder that does not stop keeps its slot leased for ever.
    pub(super) async fn outcome(self, mut reply: oneshot::Receiver<Outcome>) -> Outcome {
        let since = Instant::now();
        let overran = tokio::select! {
            biased;
            reply = &mut reply => return arrived(reply, since),
            () = self.cancel.cancelled() => false,
            () = sleep(self.limit) => true,
        };
        self.cancel.cancel();
        match timeout(self.abort_grace, &mut reply).await {
            Ok(reply) if overran => self.stopped_at_the_deadline(arrived(reply, since)),
            Ok(reply) => arrived(reply, since),
            Err(_) => {
                self.quarantine();
                // Only now: while there is a receiver, the lease cannot have ended in some other way.
                drop(reply);
                lost("its decoder does not stop", since)
            }
        }
    }

    fn stopped_at_the_deadline(&self, mut outcome: Outcome) -> Outcome {
        if matches!(outcome.result, Err(AsrError::Cancelled)) {
            warn!(slot = self.slot.0, limit_ms = self.limit.as_millis(), "decode stopped at its deadline");
            outcome.result = Err(AsrError::Overrun { limit: self.limit });
        }
        outcome
    }

    /// Gives the slot up: the lease sits in a decode that does not end, and its late return gives nothing back.
    fn quarantine(&self) {
        // First the thread, then the slot: once the slot is retired somebody may open it again.
        self.engine.abandon(self.slot);
        let detail = "its decoder goes on though it was told to stop";
        self.allocator.retire(self.slot, self.generation, Retirement::Stuck, detail);
    }
}

fn arrived(reply: Result<Outcome, oneshot::error::RecvError>, since: Instant) -> Outcome {
    reply.unwrap_or_else(|_| lost("its decoder ended without an answer", since))
}

fn lost(reason: &str, since: Instant) -> Outcome {
    Outcome { result: Err(AsrError::SlotLost(reason.into())), lease: None, decode: since.elapsed() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_a_multiple_of_what_is_expected_and_never_short() {
        let deadline = |millis| JobLimits::default().deadline(Cost(Duration::from_millis(millis))).as_secs();
        assert_eq!([deadline(1), deadline(1_500), deadline(2_000)], [30, 30, 40]);
    }
}
