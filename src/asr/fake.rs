//! A scripted engine for tests: it takes time, obeys cancellation, and fails when it is told to.

use super::{
    Alerts, AsrError, Capacity, DecodeOptions, Device, Engine, Hypothesis, Job, Knee, Outcome, Segment, Site,
    SiteCapacity, SupervisorSettings, Token,
};
use crate::audio::{Span, Utterance};
use crate::gpu::fake::FakeProbe;
use crate::gpu::{Bytes, DeviceInfo, DeviceKind, Footprint, Loaded, MemoryBudget};
use crate::pool::SlotId;
use std::collections::HashMap;
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// So many slots, whatever the memory says, and nothing that goes on by itself but the rebuilding of lost slots.
pub fn fixed(slots: u16) -> SupervisorSettings {
    let settings = SupervisorSettings::default();
    SupervisorSettings { max_slots: slots, readings: None, elastic: false, canary: None, ..settings }
}

/// A device whose memory never ends.
pub fn boundless() -> Device {
    let info = DeviceInfo { kind: DeviceKind::Cpu, name: "unmeasured".into(), uuid: None };
    Device { info, probe: Arc::new(FakeProbe::new(Bytes(u64::MAX), Bytes(u64::MAX))) }
}

/// This engine on a [boundless] device, and nothing else.
pub fn alone(engine: Arc<dyn Engine>) -> Vec<Site> {
    vec![Site { engine, device: boundless(), reserve: Bytes(0), knee: Knee::Off }]
}

/// What one slot has and needs of which nothing was measured, for servers without a supervisor.
pub fn capacity() -> watch::Receiver<Capacity> {
    let Device { info, probe } = boundless();
    let memory = probe.memory().expect("nobody told this probe to fail");
    let sizing = MemoryBudget::up_to(NonZeroU16::MIN, Bytes(0))
        .size(memory, Footprint::default(), Loaded::Nothing)
        .expect("it says that everything fits");
    let site = SiteCapacity { device: info, memory, sizing, alerts: Alerts::default() };
    watch::channel(Capacity { sites: vec![site] }).1
}

/// What the fake does with one utterance.
#[derive(Debug, Clone)]
pub enum Act {
    /// Reads this text after this time.
    Say(String, Duration),
    /// Fails after this time; [`AsrError::SlotLost`] loses the slot.
    Fail(AsrError, Duration),
    /// Works until it is cancelled.
    Never,
    /// Works on though it is cancelled, until this gate is; a gate that nobody keeps never is.
    Stuck(CancellationToken),
    /// Panics, which loses the slot.
    Panic,
}

type Script = dyn Fn(SlotId, &Utterance, &DecodeOptions) -> Act + Send + Sync;

/// An [`Engine`] that acts out a script, in virtual time when tokio's clock is paused.
///
/// `submit` must be called on a tokio runtime.
pub struct FakeEngine {
    script: Arc<Script>,
    opened: Mutex<Vec<SlotId>>,
    abandoned: Mutex<Vec<SlotId>>,
    /// Slots that do not open, and how often they still will not.
    broken: Mutex<HashMap<SlotId, u32>>,
}

impl FakeEngine {
    /// An engine that asks `script` about every utterance.
    pub fn new(script: impl Fn(&Utterance, &DecodeOptions) -> Act + Send + Sync + 'static) -> Self {
        Self::by_slot(move |_, utterance, options| script(utterance, options))
    }

    /// The same, with a script that sees on which slot it is acted out.
    pub fn by_slot(
        script: impl Fn(SlotId, &Utterance, &DecodeOptions) -> Act + Send + Sync + 'static,
    ) -> Self {
        Self {
            script: Arc::new(script),
            opened: Mutex::default(),
            abandoned: Mutex::default(),
            broken: Mutex::default(),
        }
    }

    /// An engine that reads the same text out of everything, at once.
    pub fn saying(text: &'static str) -> Self {
        Self::new(move |_, _| Act::Say(text.into(), Duration::ZERO))
    }

    /// An engine that does no more with five slots or fifty than with `knee`: of decodes that begin at the same moment,
    /// only so many go on at once, for 100 ms each.
    pub fn saturating_at(knee: u32) -> Self {
        let batch = Mutex::new((Instant::now(), 0_u32));
        Self::new(move |_, _| {
            let mut batch = batch.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            *batch = if batch.0 == now { (now, batch.1 + 1) } else { (now, 1) };
            Act::Say("noise".into(), Duration::from_millis(100) * batch.1.div_ceil(knee))
        })
    }

    /// The same engine, with a slot that cannot be opened so many times.
    pub fn failing_to_open(self, slot: SlotId, times: u32) -> Self {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).insert(slot, times);
        self
    }

    /// The slots that were abandoned in a decode that did not end, in that order.
    pub fn abandoned(&self) -> Vec<SlotId> {
        self.abandoned.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The slots that were opened, in that order; rebuilt ones stand there again.
    pub fn opened(&self) -> Vec<SlotId> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Engine for FakeEngine {
    fn open(&self, slot: SlotId) -> Result<Footprint, AsrError> {
        if let Some(times) = self.broken.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&slot)
            && *times > 0
        {
            *times -= 1;
            return Err(AsrError::Open { slot: slot.0, reason: "as scripted".into() });
        }
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).push(slot);
        Ok(Footprint { weights: Bytes(1_000), slot: Bytes(100) })
    }

    fn submit(&self, job: Job) {
        let act = (self.script)(job.lease.slot(), &job.utterance, &job.options);
        tokio::spawn(async move {
            let since = Instant::now();
            let obeys = !matches!(act, Act::Stuck(_));
            let working = perform(act, &job.utterance, &job.options);
            let result = tokio::select! {
                result = working => result,
                () = job.cancel.cancelled(), if obeys => Err(AsrError::Cancelled),
            };
            let outcome = Outcome::new(job.lease, result, since.elapsed());
            // Nobody listens any more: the lease in the outcome drops.
            drop(job.reply.send(outcome));
        });
    }

    /// The stuck decode is left alone with its task.
    fn abandon(&self, slot: SlotId) {
        self.abandoned.lock().unwrap_or_else(PoisonError::into_inner).push(slot);
    }

    fn close(&self, slot: SlotId) {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).retain(|open| *open != slot);
    }
}

/// The final reading of one second that begins the stream.
pub fn says(text: &str) -> Hypothesis {
    let span = Span::new(0, 16_000);
    reading(text, &Utterance::spoken(span, Vec::new()), &DecodeOptions::default())
}

async fn perform(act: Act, utterance: &Utterance, options: &DecodeOptions) -> Result<Hypothesis, AsrError> {
    match act {
        Act::Say(text, time) => {
            tokio::time::sleep(time).await;
            Ok(reading(&text, utterance, options))
        }
        Act::Fail(error, time) => {
            tokio::time::sleep(time).await;
            Err(error)
        }
        Act::Never => std::future::pending().await,
        Act::Stuck(gate) => {
            gate.cancelled().await;
            Err(AsrError::Cancelled)
        }
        Act::Panic => Err(AsrError::SlotLost("panicked: as scripted".into())),
    }
}

fn reading(text: &str, utterance: &Utterance, options: &DecodeOptions) -> Hypothesis {
    let segment = Segment {
        text: text.trim().to_owned(),
        span: utterance.span,
        tokens: vec![Token { id: 1, bytes: text.trim().into(), logprob: -0.1 }],
        words: Vec::new(),
        avg_logprob: -0.1,
        no_speech_prob: None,
        temperature: options.temperature,
    };
    Hypothesis {
        segments: if segment.text.is_empty() { Vec::new() } else { vec![segment] },
        language: options.language.clone().unwrap_or_else(|| "en".into()),
        stability: options.stability,
    }
}
