//! A decode for the house itself, on a slot that is lent to it: does the slot work, and how fast?

use crate::asr::engine::Outcome;
use crate::asr::{AsrError, DecodeOptions, Engine, Hypothesis, Job};
use crate::audio::Utterance;
use crate::pool::{Allocator, Class, Generation, Lease, Retirement, SlotId};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::info_span;

/// How long a decoder may take to notice that it is to stop.
const GRACE: Duration = Duration::from_secs(5);

/// Tries slots.
#[derive(Clone)]
pub(super) struct Trial {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) allocator: Allocator,
    /// A trial that takes longer has failed.
    pub(super) limit: Duration,
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

/// Why a trial came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Over,
    Overrun,
    BrokenOff,
}

impl Trial {
    /// Decodes `utterance` with `lease`, until it is done, its time is up, or `break_off` is.
    ///
    /// # Cancel safety
    ///
    /// Dropping this future ends the decode soon, and the slot is free when it has ended.
    pub(super) async fn run(
        &self,
        lease: Lease,
        utterance: &Arc<Utterance>,
        break_off: impl Future<Output = ()>,
    ) -> Verdict {
        let (slot, generation) = (lease.slot(), lease.generation());
        let cancel = CancellationToken::new();
        let _cancel_on_drop = cancel.clone().drop_guard();
        lease.works();
        let mut reply = self.submit(lease, utterance, cancel.clone());
        let (end, outcome) = tokio::select! {
            biased;
            outcome = &mut reply => (End::Over, Some(outcome)),
            () = sleep(self.limit) => (End::Overrun, None),
            () = break_off => (End::BrokenOff, None),
        };
        cancel.cancel();
        let outcome = match outcome {
            Some(outcome) => Ok(outcome),
            None => timeout(GRACE, reply).await,
        };
        match outcome {
            Ok(Ok(outcome)) => judge(end, outcome, self.limit),
            Ok(Err(_)) => self.give_up(slot, generation, "its thread ended"),
            Err(_) => self.give_up(slot, generation, "it does not stop when it is told to"),
        }
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

    /// Retires a slot whose lease does not come back.
    fn give_up(&self, slot: SlotId, generation: Generation, why: &str) -> Verdict {
        // First the thread, then the slot: once the slot is retired somebody may open it again.
        self.engine.abandon(slot);
        self.allocator.retire(slot, generation, Retirement::Canary, why);
        Verdict::Dead(why.into())
    }
}

/// What an outcome says about the slot; one that does not work is retired.
fn judge(end: End, outcome: Outcome, limit: Duration) -> Verdict {
    let Outcome { result, lease, decode } = outcome;
    let fault = match (end, result) {
        (End::BrokenOff, Err(AsrError::Cancelled)) => return Verdict::BrokenOff,
        (End::Overrun, _) => format!("it took longer than {limit:?}"),
        (_, Err(error)) => error.to_string(),
        (_, Ok(hypothesis)) if !is_finite(&hypothesis) => "its probabilities are no numbers".into(),
        (_, Ok(_)) => {
            if let Some(lease) = lease {
                lease.rests(decode, true);
            }
            return Verdict::Works(decode);
        }
    };
    // Without a lease the engine has retired the slot.
    if let Some(lease) = lease {
        lease.retire(Retirement::Canary, &fault);
    }
    Verdict::Dead(fault)
}

fn is_finite(hypothesis: &Hypothesis) -> bool {
    let tokens = hypothesis.segments.iter().flat_map(|segment| &segment.tokens);
    tokens.map(|token| token.logprob).all(f32::is_finite)
}
