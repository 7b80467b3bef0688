//! A model on a device with its slots open, as a server has it, but with nobody who looks after them: what is measured is
//! not to be changed meanwhile.

use super::memory::{MemoryWatcher, signed};
use crate::asr::{AsrError, DecodeOptions, EncoderWindow, Hypothesis, Job, Lanes, Outcome, Supervisor};
use crate::audio::Utterance;
use crate::cli::assembly::{Purpose, Slots, open_store};
use crate::cli::device::Found;
use crate::cli::failure::Failure;
use crate::cli::sizing::{CoreShare, cores};
use crate::cli::{assembly, device};
use crate::config::{KneeSetting, Settings};
use crate::pool::{Class, SlotId};
use crate::store::ResolvedModel;
use anyhow::Context;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// How often it is looked whether all slots are open.
const LOOK: Duration = Duration::from_millis(20);

/// Slots open one right after the other: when none has been opening for so long, no more will.
const CALM: Duration = Duration::from_secs(1);

/// How long a decode may take. Far past the knee each takes a multiple of what it takes alone, and hangs for all that not.
const DEADLINE: Duration = Duration::from_secs(300);

/// What stands are made of.
pub(super) struct Workshop {
    /// Everything that was said.
    pub(super) settings: Settings,
    /// With what.
    pub(super) model: ResolvedModel,
    /// Where.
    pub(super) found: Found,
    /// How slots share the cores.
    pub(super) share: CoreShare,
}

impl Workshop {
    /// Finds device and model.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when one of them is not there.
    pub(super) async fn open(settings: Settings) -> anyhow::Result<Self> {
        let selector = settings.device.selector.clone();
        let found = assembly::off_the_runtime(move || device::find(&selector)).await?;
        // One device at a time is measured: what several do together is the sum, as they share nothing.
        let found = found.into_iter().next().context("no device was found")?;
        let model = open_store(&settings.models).resolve(settings.models.model.as_deref());
        let model = model.map_err(Failure::from)?;
        let share = CoreShare::new(cores(), settings.slots.slots, settings.asr.threads);
        Ok(Self { settings, model, found, share })
    }

    /// The most slots that were asked for.
    pub(super) fn most_slots(&self) -> u16 {
        self.settings.slots.slots.unwrap_or(self.settings.slots.max_slots)
    }

    /// Opens at most so many slots; with `window` instead of the model's own.
    ///
    /// # Errors
    ///
    /// What also keeps a server from starting.
    pub(super) async fn stand(&self, most: u16, window: Option<EncoderWindow>) -> anyhow::Result<Stand> {
        let mut settings = self.settings.clone();
        settings.slots.slots = None;
        settings.slots.max_slots = most;
        settings.slots.knee = KneeSetting::Off;
        settings.slots.job_deadline.get_or_insert(DEADLINE);
        settings.asr.window = window.or(settings.asr.window);
        let (model, share) = (&self.model, self.share);
        let slots = Slots { model, share, settings: &settings, purpose: Purpose::Command };
        let begun = Instant::now();
        let supervisor = slots.start(vec![self.found.clone()]).await?;
        Ok(Stand { supervisor, ready: begun.elapsed() })
    }
}

/// What came of a decode.
pub(super) struct Decoded {
    pub(super) result: Result<Hypothesis, AsrError>,
    /// How long the decoder worked.
    pub(super) decode: Duration,
}

/// Open slots.
pub(super) struct Stand {
    pub(super) supervisor: Supervisor,
    /// How long it took until the first slot served.
    pub(super) ready: Duration,
}

impl Stand {
    /// Lanes to the slots.
    pub(super) fn lanes(&self) -> &Lanes {
        self.supervisor.lanes()
    }

    /// Waits until all slots are open, or no more will; says how many are.
    pub(super) async fn all_open(&self) -> u16 {
        let wanted = usize::from(self.supervisor.sizing().slots);
        let mut calm_since = Instant::now();
        loop {
            let slots = self.lanes().allocator().slots();
            if slots.warming > 0 {
                calm_since = Instant::now();
            }
            if slots.in_service() >= wanted || calm_since.elapsed() > CALM {
                return slots.in_service() as u16;
            }
            sleep(LOOK).await;
        }
    }

    /// One decode on the first slot, past the line, the guard and the second try that lanes have.
    ///
    /// # Errors
    ///
    /// When the slot is not there, or is busy. What the decoder says is in the result.
    ///
    /// # Cancel safety
    ///
    /// Dropping this future leaves the decode to its end.
    pub(super) async fn decode(
        &self,
        utterance: &Arc<Utterance>,
        options: &DecodeOptions,
        cancel: &CancellationToken,
    ) -> anyhow::Result<Decoded> {
        let lease =
            self.lanes().allocator().lend(SlotId(0), "bench").context("the first slot is gone or busy")?;
        lease.works();
        let (reply, outcome) = oneshot::channel();
        self.supervisor.engine().submit(Job {
            utterance: Arc::clone(utterance),
            options: options.clone(),
            class: Class::Batch,
            lease,
            cancel: cancel.clone(),
            span: tracing::Span::none(),
            reply,
        });
        // The lease in the outcome ends here: the slot is free again.
        let Outcome { result, decode, .. } =
            outcome.await.context("the slot's thread ended without an answer")?;
        Ok(Decoded { result, decode })
    }

    /// Closes slot after slot, the last one first, and then lets the weights go. Says what each gave back, in bytes.
    pub(super) async fn close(self, meter: &MemoryWatcher) -> anyhow::Result<Vec<i64>> {
        let open = self.lanes().allocator().slots().total as u16;
        let mut given_back = Vec::new();
        for slot in (0..open).rev().map(SlotId) {
            let before = meter.held().await?;
            self.lanes().allocator().withdraw_slot(slot);
            let engine = Arc::clone(self.supervisor.engine());
            let close = move || -> Result<(), AsrError> {
                engine.close(slot);
                Ok(())
            };
            assembly::off_the_runtime(close).await?;
            given_back.push(signed(before, meter.held().await?));
        }
        self.supervisor.stop().await;
        Ok(given_back)
    }
}
