//! One decode on one lease: watched to its end, learned from, and its lease taken home.

use super::kept::Kept;
use super::teller::Teller;
use super::{Lanes, Transcript};
use crate::asr::engine::Outcome;
use crate::asr::watch::Watch;
use crate::asr::{AsrError, DecodeOptions, Hypothesis, Job, JobLimits, Stability, Timing, Withheld, doubt};
use crate::audio::Utterance;
use crate::pool::{Class, Generation, Lease, Retirement, SlotId};
use crate::telemetry::metrics;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::Instrument;

/// What is to be decoded.
#[derive(Clone)]
pub(super) struct Work {
    pub(super) utterance: Arc<Utterance>,
    pub(super) options: DecodeOptions,
    pub(super) class: Class,
    /// Cancelled once a speculative decode is needed for sure.
    pub(super) wanted: CancellationToken,
}

impl Work {
    pub(super) fn new(utterance: Arc<Utterance>, options: DecodeOptions, class: Class) -> Self {
        Self { utterance, options, class, wanted: CancellationToken::new() }
    }

    /// What it is by now: a speculative decode that is needed for sure is a final one.
    pub(super) fn class(&self) -> Class {
        match self.class {
            Class::Speculative if self.wanted.is_cancelled() => Class::Final,
            class => class,
        }
    }
}

/// Where a lease goes when its decode is over.
pub(super) enum Home {
    /// Back to the pool; the teller says so.
    Pool(Option<Teller>),
    /// Back to its lane.
    Lane(Arc<Kept>, Teller),
}

/// A lease that is in a decode. Dropping this says that it will not come back.
struct Away {
    home: Home,
    /// Since when the lease is held.
    since: Instant,
    is_back: bool,
}

impl Away {
    fn new(lease: &Lease, home: Home) -> Self {
        let now = Instant::now();
        Self { home, since: now.checked_sub(lease.held()).unwrap_or(now), is_back: false }
    }

    fn end(mut self, lease: Option<Lease>) {
        self.take_back(lease);
    }

    fn take_back(&mut self, lease: Option<Lease>) {
        self.is_back = true;
        let lost = lease.is_none();
        match &self.home {
            Home::Pool(teller) => {
                drop(lease);
                if let Some(teller) = teller {
                    teller.released(self.since.elapsed());
                }
            }
            Home::Lane(kept, teller) => {
                if lost {
                    teller.released(self.since.elapsed());
                }
                kept.take_back(lease);
            }
        }
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        if !self.is_back {
            self.take_back(None);
        }
    }
}

/// What was read, or that it is not told.
struct Read {
    hypothesis: Hypothesis,
    withheld: Option<Withheld>,
}

impl Read {
    /// What of this reading is told. Interim ones are read again, so only final ones count.
    fn guarded(mut hypothesis: Hypothesis, utterance: &Utterance) -> Self {
        let withheld = doubt(&hypothesis, utterance).map(|doubt| {
            if hypothesis.stability == Stability::Final {
                metrics::text_withheld(doubt.code());
            }
            let text = hypothesis.text();
            hypothesis.segments.clear();
            tracing::trace!(reason = doubt.code(), text, "text withheld");
            Withheld { doubt, text }
        });
        Self { hypothesis, withheld }
    }
}

/// A decode under way. Dropping it ends the decode soon.
pub(super) struct Decoding {
    answer: oneshot::Receiver<(Result<Read, AsrError>, Duration)>,
    _cancel_on_drop: DropGuard,
}

impl Decoding {
    /// What was decoded, by a caller that had waited so long for its lease.
    pub(super) async fn transcript(self, waited: Duration) -> Result<Transcript, AsrError> {
        let ended = |_| AsrError::SlotLost("the runtime ended".into());
        let (result, decode) = self.answer.await.map_err(ended)?;
        let Read { hypothesis, withheld } = result?;
        Ok(Transcript { hypothesis, timing: Timing { waited, decode }, withheld })
    }
}

impl Lanes {
    /// Begins a decode. It is watched by a task of its own, which ends when the decoder has returned or was given up,
    /// and by then the lease is home.
    pub(super) fn decode(&self, work: Work, lease: Lease, home: Home) -> Decoding {
        lease.works();
        let away = Away::new(&lease, home);
        let utterance = Arc::clone(&work.utterance);
        let audio = utterance.span.duration();
        let JobLimits { abort_grace, .. } = self.settings.limits;
        let limit = self.settings.limits.deadline(self.expected(audio));
        let watch = Watch::new(&self.engine, &self.allocator, &lease, limit, abort_grace);
        let cancel = watch.cancel.clone();
        let (reply, replied) = oneshot::channel();
        let (tell, answer) = oneshot::channel();
        self.engine.submit(job(work, lease, cancel.clone(), reply));
        let lanes = self.clone();
        let watching = async move {
            let (slot, generation) = (watch.slot, watch.generation);
            let mut outcome = watch.outcome(replied).await;
            lanes.learn(audio, &outcome);
            if lanes.is_out(slot, generation, &outcome)
                && let Some(lease) = outcome.lease.take()
            {
                lease.retire(Retirement::Failing, "several decodes in a row failed");
            }
            away.end(outcome.lease);
            let read = outcome.result.map(|hypothesis| Read::guarded(hypothesis, &utterance));
            // The caller may have left.
            let _ = tell.send((read, outcome.decode));
        };
        tokio::spawn(watching.in_current_span());
        Decoding { answer, _cancel_on_drop: cancel.drop_guard() }
    }

    fn learn(&self, audio: Duration, outcome: &Outcome) {
        match &outcome.result {
            Ok(read) => {
                metrics::decoded(read.stability.into(), outcome.decode, audio);
                self.experience().cost.learn(audio, outcome.decode);
            }
            // It would have taken longer. Without this, a machine too slow for the first guess would never be known.
            Err(AsrError::Overrun { limit }) => self.experience().cost.learn(audio, *limit),
            Err(_) => {}
        }
    }

    /// Whether the slot has failed too often to be trusted any more.
    fn is_out(&self, slot: SlotId, generation: Generation, outcome: &Outcome) -> bool {
        match &outcome.result {
            Ok(_) => {
                self.experience().strikes.worked(slot);
                false
            }
            Err(AsrError::Decode(_) | AsrError::Overrun { .. }) => {
                self.experience().strikes.failed(slot, generation)
            }
            Err(_) => false,
        }
    }
}

fn job(work: Work, lease: Lease, cancel: CancellationToken, reply: oneshot::Sender<Outcome>) -> Job {
    let class = work.class();
    let Work { utterance, options, .. } = work;
    Job { utterance, options, class, lease, cancel, span: tracing::Span::current(), reply }
}
