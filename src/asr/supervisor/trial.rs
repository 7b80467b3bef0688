//! A decode for the house itself, on a slot that is lent to it: does the slot work, and how fast?

use crate::asr::engine::Outcome;
use crate::asr::watch::Watch;
use crate::asr::{AsrError, DecodeOptions, Engine, Job};
use crate::audio::Utterance;
use crate::pool::{Allocator, Class, Lease, Retirement};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::info_span;

/// Tries slots.
#[derive(Clone)]
pub(super) struct Trial {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) allocator: Allocator,
    /// A trial that takes longer has failed.
    pub(super) limit: Duration,
    /// How long a decoder that was told to stop may go on.
    pub(super) abort_grace: Duration,
}

/// How a trial ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The slot decoded, in this time.
    Works(Duration),
    /// It was broken off, and nothing is known.
    BrokenOff,
    /// The slot does not work and was retired.
    Dead(String),
}

impl Trial {
    /// Decodes `utterance` with `lease`, until it is done, its time is up, or `break_off` is.
    ///
    /// # Cancel safety
    ///
    /// Dropping this future ends the decode soon, and the slot is free when it has ended. One that does not end keeps its
    /// slot.
    pub(super) async fn run(
        &self,
        lease: Lease,
        utterance: &Arc<Utterance>,
        break_off: impl Future<Output = ()>,
    ) -> Verdict {
        let watch = Watch::new(&self.engine, &self.allocator, &lease, self.limit, self.abort_grace);
        let cancel = watch.cancel.clone();
        let _cancel_on_drop = cancel.clone().drop_guard();
        lease.works();
        let reply = self.submit(lease, utterance, cancel.clone());
        let mut outcome = pin!(watch.outcome(reply));
        let (broken_off, outcome) = tokio::select! {
            biased;
            outcome = &mut outcome => (false, outcome),
            () = break_off => {
                cancel.cancel();
                (true, outcome.await)
            }
        };
        self.judge(broken_off, outcome)
    }

    fn submit(
        &self,
        lease: Lease,
        utterance: &Arc<Utterance>,
        cancel: CancellationToken,
    ) -> oneshot::Receiver<Outcome> {
        // A temperature of 1 is the end of the ladder that whisper.cpp climbs when noise makes no sense to it.
        let options =
            DecodeOptions { language: Some("en".into()), temperature: 1.0, ..DecodeOptions::default() };
        let span = info_span!("trial", slot = lease.slot().0);
        let (reply, outcome) = oneshot::channel();
        let utterance = Arc::clone(utterance);
        self.engine.submit(Job { utterance, options, class: Class::Batch, lease, cancel, span, reply });
        outcome
    }

    /// What an outcome says about the slot; one that does not work is retired.
    fn judge(&self, broken_off: bool, Outcome { result, lease, decode }: Outcome) -> Verdict {
        let fault = match result {
            Err(AsrError::Cancelled) if broken_off => return Verdict::BrokenOff,
            Err(error) => error.to_string(),
            Ok(_) if !broken_off && decode > self.limit => format!("it took longer than {:?}", self.limit),
            Ok(_) => return Verdict::Works(decode),
        };
        // Without a lease the slot is retired already: by the engine, or by the watch.
        if let Some(lease) = lease {
            lease.retire(Retirement::Canary, &fault);
        }
        Verdict::Dead(fault)
    }
}
