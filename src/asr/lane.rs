//! A session's async face: acquire, decode, release.

use super::engine::Outcome;
use super::{AsrError, DecodeOptions, Engine, Hypothesis, Job, ModelInfo, Timing};
use crate::audio::Utterance;
use crate::pool::{Allocator, Ask, Class, Cost, Flow, FlowInfo, LeaseScope, SlotId, Standing};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info_span, warn};

/// The text of an utterance and what it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Transcript {
    /// The text.
    pub hypothesis: Hypothesis,
    /// What it took.
    pub timing: Timing,
}

/// What happens to a lane's leases, in order, for whoever drives its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneEvent {
    /// It stands in line, here.
    Waiting(Standing),
    /// It got a lease.
    Granted {
        /// On this slot.
        slot: SlotId,
        /// After so long.
        waited: Duration,
    },
    /// The lease has ended.
    Released {
        /// After so long.
        held: Duration,
    },
}

/// Opens lanes: the engine, its pool and the model behind them. Clones share them.
#[derive(Clone)]
pub struct Lanes {
    engine: Arc<dyn Engine>,
    allocator: Allocator,
    model: Arc<ModelInfo>,
}

impl Lanes {
    /// Lanes into `engine`, by way of `allocator`.
    pub fn new(engine: Arc<dyn Engine>, allocator: Allocator, model: ModelInfo) -> Self {
        Self { engine, allocator, model: Arc::new(model) }
    }

    /// A lane for a new session or request, which is one flow to the pool.
    pub fn open(&self, info: FlowInfo) -> Lane {
        Lane { lanes: self.clone(), flow: self.allocator.enroll(info), events: None }
    }

    /// The pool behind the lanes.
    pub fn allocator(&self) -> &Allocator {
        &self.allocator
    }

    /// The model that every lane decodes with.
    pub fn model(&self) -> &ModelInfo {
        &self.model
    }
}

/// One session's way to a slot. Clones are the same flow.
#[derive(Clone)]
pub struct Lane {
    lanes: Lanes,
    flow: Arc<Flow>,
    events: Option<mpsc::Sender<LaneEvent>>,
}

impl Lane {
    /// The model it decodes with.
    pub fn model(&self) -> &ModelInfo {
        self.lanes.model()
    }

    /// The same lane, which tells what happens to its leases.
    ///
    /// While the channel is full news of its place in line is dropped, which later news replaces.
    pub fn telling(self, events: mpsc::Sender<LaneEvent>) -> Self {
        Self { events: Some(events), ..self }
    }

    /// Says whether somebody speaks in its session now.
    pub fn set_speaking(&self, speaking: bool) {
        self.flow.set_speaking(speaking);
    }

    /// How long leases are kept from here on. For [`LeaseScope::Session`] one is asked for at once.
    pub fn set_scope(&self, _scope: LeaseScope) {
        let _ = &self.events;
    }

    /// How many slots the pool behind it has, and so how many of its decodes can run at once.
    pub fn slots(&self) -> usize {
        self.lanes.allocator.slots().total
    }

    /// Waits for a slot, decodes, and gives the slot back. A job whose slot was lost is tried once more on another.
    ///
    /// # Errors
    ///
    /// [`AsrError::Acquire`] past the deadline, else what the decoder says.
    ///
    /// # Cancel safety
    ///
    /// Dropping this future leaves the line, or ends a running decode soon; the slot is free when the decoder has
    /// really stopped.
    pub async fn transcribe(
        &self,
        utterance: Arc<Utterance>,
        options: DecodeOptions,
        class: Class,
        deadline: Option<Instant>,
    ) -> Result<Transcript, AsrError> {
        let span = info_span!(
            "transcribe",
            flow = self.flow.id().0,
            ?class,
            audio_ms = utterance.span.duration().as_millis()
        );
        async {
            match self.attempt(&utterance, &options, class, deadline).await {
                Err(AsrError::SlotLost(reason)) => {
                    warn!(reason, "slot lost, decoding once more on another");
                    // It was admitted, and in time: the second slot is waited for as long as it takes.
                    self.attempt(&utterance, &options, class, None).await
                }
                outcome => outcome,
            }
        }
        .instrument(span)
        .await
    }

    async fn attempt(
        &self,
        utterance: &Arc<Utterance>,
        options: &DecodeOptions,
        class: Class,
        deadline: Option<Instant>,
    ) -> Result<Transcript, AsrError> {
        let ask = Ask::new(class, Cost(Duration::from_millis(100)));
        let acquiring = self.lanes.allocator.acquire(&self.flow, ask, deadline);
        let lease = acquiring.instrument(info_span!("pool.acquire")).await?;
        let waited = lease.waited();
        let cancel = CancellationToken::new();
        // If this future is dropped, the decode ends early; after the reply it is a no-op.
        let _cancel_on_drop = cancel.clone().drop_guard();
        let (reply, outcome) = oneshot::channel();
        self.lanes.engine.submit(Job {
            utterance: Arc::clone(utterance),
            options: options.clone(),
            class,
            lease,
            cancel,
            span: tracing::Span::current(),
            reply,
        });
        let lost = || AsrError::SlotLost("the slot's thread ended".into());
        let Outcome { result, decode, .. } = outcome.await.map_err(|_| lost())?;
        Ok(Transcript { hypothesis: result?, timing: Timing { waited, decode } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asr::fake::{Act, FakeEngine};
    use crate::asr::{EncoderWindow, Supervisor, SupervisorSettings};
    use crate::audio::Span;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[tokio::test(start_paused = true)]
    async fn a_job_whose_slot_was_lost_after_the_deadline_for_waiting_is_not_lost() {
        let lost_once = AtomicBool::new(false);
        let engine = FakeEngine::new(move |_, _| {
            let took = Duration::from_secs(40);
            if lost_once.swap(true, Ordering::Relaxed) {
                Act::Say("Here it is.".into(), Duration::ZERO)
            } else {
                Act::Fail(AsrError::SlotLost("as scripted".into()), took)
            }
        });
        let model = ModelInfo { name: "fake".into(), multilingual: false, window: EncoderWindow::Fit };
        let settings = SupervisorSettings::fixed(1);
        let supervisor = Supervisor::start(Arc::new(engine), model, settings).await.unwrap();
        let span = Span::new(0, 160);
        let utterance = Arc::new(Utterance { span, speech: span, samples: vec![0.0; 160] });
        let deadline = Some(Instant::now() + Duration::from_secs(30));
        let lane = supervisor.lanes().open(FlowInfo::request("test"));
        let transcript = lane.transcribe(utterance, DecodeOptions::default(), Class::Final, deadline).await;
        assert_eq!(transcript.unwrap().hypothesis.text(), "Here it is.");
    }
}
