//! What is measured of a reply, however it ends.

use super::super::{Delta, LlmError};
use crate::telemetry::metrics;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::time::Instant;

/// A request that is open upstream, until it is dropped.
pub(super) struct Open(Arc<AtomicUsize>);

impl Open {
    pub(super) fn new(count: Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        metrics::llm_opened();
        Self(count)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
        metrics::llm_closed();
    }
}

/// A wish for a reply. Unless it sees the end or an error, whoever asked went away.
pub(super) struct Record {
    since: Instant,
    has_begun: bool,
    outcome: &'static str,
}

impl Record {
    pub(super) fn begin() -> Self {
        Self { since: Instant::now(), has_begun: false, outcome: "dropped" }
    }

    pub(super) fn saw(&mut self, item: &Result<Delta, LlmError>) {
        match item {
            Ok(Delta::End { .. }) => self.outcome = "answered",
            Ok(_) if !self.has_begun => {
                self.has_begun = true;
                metrics::llm_began(self.since.elapsed());
            }
            Ok(_) => {}
            Err(error) => self.outcome = error.code(),
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        metrics::llm_ended(self.outcome);
    }
}
