//! A session's async face: acquire, decode, release; or, with a dedicated slot, keep.

mod decode;
mod keeping;
mod kept;
#[cfg(test)]
mod misbehaviour;
mod teller;
#[cfg(test)]
mod tests;

use super::cost::CostModel;
use super::strikes::Strikes;
use super::{AsrError, DecodeOptions, Engine, Hypothesis, JobLimits, ModelInfo, Timing, Withheld};
use crate::audio::Utterance;
use crate::pool::{
    AcquireError, Allocator, Ask, Class, Cost, Flow, FlowInfo, Lease, LeaseScope, SlotId, Standing,
};
use decode::{Home, Work};
use futures_util::FutureExt as _;
use kept::{Kept, Renewal, RenewalTask};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use teller::Teller;
use tokio::sync::mpsc;
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
    /// The text that was read and is not told.
    pub withheld: Option<Withheld>,
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

/// How lanes treat decodes and leases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneSettings {
    /// How long a lease of [`LeaseScope::Session`] is kept while nothing is decoded and nobody speaks; `None`: for as
    /// long as the session lives.
    pub idle_reclaim: Option<Duration>,
    /// How long decodes may take.
    pub limits: JobLimits,
}

impl Default for LaneSettings {
    fn default() -> Self {
        Self { idle_reclaim: Some(Duration::from_secs(300)), limits: JobLimits::default() }
    }
}

/// What decodes have taught.
struct Experience {
    cost: CostModel,
    strikes: Strikes,
}

/// How much audio an utterance has for which a lease is asked that is kept: nobody knows it yet.
const TYPICAL: Duration = Duration::from_secs(5);

/// Opens lanes: the engine, its pool and the model behind them. Clones share them, and what decodes have taught.
#[derive(Clone)]
pub struct Lanes {
    engine: Arc<dyn Engine>,
    allocator: Allocator,
    model: Arc<ModelInfo>,
    settings: LaneSettings,
    experience: Arc<Mutex<Experience>>,
}

impl Lanes {
    /// Lanes into `engine`, by way of `allocator`.
    pub fn new(engine: Arc<dyn Engine>, allocator: Allocator, model: ModelInfo) -> Self {
        let experience = Experience { cost: CostModel::new(model.window), strikes: Strikes::default() };
        Self {
            engine,
            allocator,
            model: Arc::new(model),
            settings: LaneSettings::default(),
            experience: Arc::new(Mutex::new(experience)),
        }
    }

    /// The same lanes with these settings.
    pub fn with_settings(self, settings: LaneSettings) -> Self {
        Self { settings, ..self }
    }

    /// A lane for a new session or request, which is one flow to the pool.
    pub fn open(&self, info: FlowInfo) -> Lane {
        let teller = Teller::default();
        let kept = Arc::new(Kept::new(teller.clone()));
        let flow = self.allocator.enroll(info);
        Lane {
            seat: Arc::new(Seat { lanes: self.clone(), flow, teller, kept, renewal: RenewalTask::default() }),
        }
    }

    /// The pool behind the lanes.
    pub fn allocator(&self) -> &Allocator {
        &self.allocator
    }

    /// The model that every lane decodes with.
    pub fn model(&self) -> &ModelInfo {
        &self.model
    }

    /// Says what a decode took that was not for a user, as in a warm-up: the first estimate, until there are real ones.
    pub fn guess_cost(&self, audio: Duration, decode: Duration) {
        self.experience().cost.guess(audio, decode);
    }

    /// How long a slot will be busy with so much audio.
    pub fn expected(&self, audio: Duration) -> Cost {
        self.experience().cost.expected(audio)
    }

    fn experience(&self) -> MutexGuard<'_, Experience> {
        self.experience.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the clones of a lane share.
struct Seat {
    lanes: Lanes,
    flow: Arc<Flow>,
    teller: Teller,
    kept: Arc<Kept>,
    renewal: RenewalTask,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.kept.close();
    }
}

/// One session's way to a slot. Clones are the same flow. When the last of them is dropped, so is the lease that it keeps.
#[derive(Clone)]
pub struct Lane {
    seat: Arc<Seat>,
}

/// Why an attempt gave no text, and on which slot that was.
struct Failure {
    error: AsrError,
    slot: Option<SlotId>,
}

impl From<AcquireError> for Failure {
    fn from(error: AcquireError) -> Self {
        Self { error: error.into(), slot: None }
    }
}

impl Lane {
    /// The model it decodes with.
    pub fn model(&self) -> &ModelInfo {
        self.seat.lanes.model()
    }

    /// How long a decode of so much audio will take, going by those before it.
    pub fn expected(&self, audio: Duration) -> Duration {
        self.seat.lanes.expected(audio).0
    }

    /// The same lane, which tells what happens to its leases: those for finals, and the one that it keeps.
    ///
    /// News of its place in line is told while at least half of the channel is free, since later news replaces it; news
    /// of leases while any of it is, which with 8 places or more is as good as always.
    pub fn telling(self, events: mpsc::Sender<LaneEvent>) -> Self {
        self.seat.teller.tell_to(events);
        self
    }

    /// Says whether somebody speaks in its session now. A lease that had been given back for idleness is asked for again.
    pub fn set_speaking(&self, speaking: bool) {
        self.seat.flow.set_speaking(speaking);
        self.seat.kept.set_speaking(speaking);
    }

    /// How long leases are kept from here on.
    ///
    /// For [`LeaseScope::Session`] one is asked for at once, and every decode but those of [`Class::Batch`] uses it. For
    /// [`LeaseScope::Utterance`] it is given back when the decode under way is done. To be called on a tokio runtime.
    pub fn set_scope(&self, scope: LeaseScope) {
        self.seat.kept.set_scope(scope);
        if scope == LeaseScope::Session {
            self.seat.renewal.begin(|| self.seat.renewal());
        }
    }

    /// How many slots the pool behind it has, and so how many of its decodes can run at once.
    pub fn slots(&self) -> usize {
        self.seat.lanes.allocator.slots().total
    }

    /// Waits for a slot, decodes, and gives the slot back, unless the lane keeps it.
    ///
    /// `deadline` is for a slot that is leased for this decode alone; the one that the lane keeps is waited for as long as
    /// it takes.
    ///
    /// A job that failed, did not end in time or whose slot was lost is tried once more, on another slot if there is one.
    ///
    /// # Errors
    ///
    /// [`AsrError::Acquire`] past the deadline, else what the decoder says, or [`AsrError::Overrun`].
    ///
    /// # Cancel safety
    ///
    /// Dropping this future leaves the line, or ends a running decode soon; the slot is free when the decoder has
    /// really stopped, or is rebuilt when it does not.
    pub async fn transcribe(
        &self,
        utterance: Arc<Utterance>,
        options: DecodeOptions,
        class: Class,
        deadline: Option<Instant>,
    ) -> Result<Transcript, AsrError> {
        self.carry_out(Work::new(utterance, options, class), deadline).await
    }

    /// As [`transcribe`](Self::transcribe), for an utterance of which it is not sure that it is over: behind all finals,
    /// until `wanted` is cancelled, which makes a final of it, wherever it is by then.
    ///
    /// # Errors
    ///
    /// As for `transcribe`.
    ///
    /// # Cancel safety
    ///
    /// As for `transcribe`.
    pub async fn transcribe_speculatively(
        &self,
        utterance: Arc<Utterance>,
        options: DecodeOptions,
        wanted: CancellationToken,
    ) -> Result<Transcript, AsrError> {
        let work = Work { wanted, ..Work::new(utterance, options, Class::Speculative) };
        self.carry_out(work, None).await
    }

    /// Whether finals wait for a slot, so that nothing should be asked for that may turn out useless.
    pub fn is_crowded(&self) -> bool {
        self.seat.lanes.allocator.waiting_for(Class::Final) > 0
    }

    async fn carry_out(&self, work: Work, deadline: Option<Instant>) -> Result<Transcript, AsrError> {
        let span = info_span!(
            "transcribe",
            flow = self.seat.flow.id().0,
            class = ?work.class,
            audio_ms = work.utterance.span.duration().as_millis()
        );
        self.seat.transcribe(work, deadline).instrument(span).await
    }
}

impl Seat {
    async fn transcribe(&self, work: Work, deadline: Option<Instant>) -> Result<Transcript, AsrError> {
        let attempt = self.attempt(work.clone(), None, deadline).await;
        let attempt = match attempt {
            Err(Failure { error, slot: Some(slot) }) if error.may_pass() => {
                warn!(slot = slot.0, code = error.code(), %error, "decoding once more");
                // It was admitted, and in time: the second slot is waited for as long as it takes.
                self.attempt(work, Some(slot), None).await
            }
            attempt => attempt,
        };
        attempt.map_err(|failure| failure.error)
    }

    async fn attempt(
        &self,
        work: Work,
        avoid: Option<SlotId>,
        deadline: Option<Instant>,
    ) -> Result<Transcript, Failure> {
        let since = Instant::now();
        let acquiring = self.lease(&work, avoid, deadline);
        let (lease, home) = acquiring.instrument(info_span!("pool.acquire")).await?;
        let slot = Some(lease.slot());
        let waited = match home {
            Home::Pool(_) => lease.waited(),
            Home::Lane(..) => since.elapsed(),
        };
        let decoding = self.lanes.decode(work, lease, home);
        decoding.transcript(waited).await.map_err(|error| Failure { error, slot })
    }

    /// A lease for one decode, and where it belongs. From its return to the begin of the decode nothing may wait.
    async fn lease(
        &self,
        work: &Work,
        avoid: Option<SlotId>,
        deadline: Option<Instant>,
    ) -> Result<(Lease, Home), AcquireError> {
        if work.class == Class::Batch || self.kept.scope() == LeaseScope::Utterance {
            return self.borrow(work, avoid, deadline).await;
        }
        let lease = self.kept.take().await?;
        let lease = if avoid == Some(lease.slot()) { self.exchange(lease) } else { lease };
        Ok((lease, Home::Lane(Arc::clone(&self.kept), self.teller.clone())))
    }

    /// From the pool, for this decode alone.
    async fn borrow(
        &self,
        work: &Work,
        avoid: Option<SlotId>,
        deadline: Option<Instant>,
    ) -> Result<(Lease, Home), AcquireError> {
        let cost = self.lanes.expected(work.utterance.span.duration());
        let ask = Ask { avoid, ..Ask::new(work.class(), cost) };
        let mut place = self.lanes.allocator.enqueue(&self.flow, ask, deadline)?;
        if ask.class != Class::Final {
            tokio::select! {
                biased;
                lease = place.lease() => return Ok((lease?, Home::Pool(None))),
                () = work.wanted.cancelled() => drop(place.promote()),
            }
        }
        let lease = self.teller.stand_in_line(&mut place).await?;
        Ok((lease, Home::Pool(Some(self.teller.clone()))))
    }

    /// Another slot instead of the one that is kept, if one is idle at this moment: a place in line would be worth less
    /// than the slot that is here.
    fn exchange(&self, lease: Lease) -> Lease {
        let ask = Ask { avoid: Some(lease.slot()), ..self.ask_to_keep() };
        let Ok(mut place) = self.lanes.allocator.enqueue(&self.flow, ask, None) else { return lease };
        let Some(Ok(other)) = place.lease().now_or_never() else { return lease };
        let held = lease.held();
        drop(lease);
        self.teller.released(held);
        self.teller.granted(&other);
        other
    }

    fn renewal(&self) -> Renewal {
        Renewal {
            kept: Arc::clone(&self.kept),
            allocator: self.lanes.allocator.clone(),
            flow: Arc::clone(&self.flow),
            ask: self.ask_to_keep(),
            idle_reclaim: self.lanes.settings.idle_reclaim,
        }
    }

    /// A lease that is kept; what it costs is known when it ends.
    fn ask_to_keep(&self) -> Ask {
        Ask { scope: LeaseScope::Session, ..Ask::new(Class::Final, self.lanes.expected(TYPICAL)) }
    }
}
