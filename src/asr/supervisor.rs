//! Drives the engine and the pool: opens slots at the start, rebuilds those that were lost, closes them at the end.

use super::{AsrError, Engine, Lanes, ModelInfo};
use crate::gpu::Footprint;
use crate::pool::{Allocator, PoolSettings, SlotId};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tracing::{error, info};

/// What the supervisor aims at.
#[derive(Debug, Clone)]
pub struct SupervisorSettings {
    /// How many slots, 1 or more.
    pub slots: u16,
    /// The waiting room.
    pub pool: PoolSettings,
}

/// How long a slot that could not be opened is left alone before it is tried again; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Keeps the slots open.
pub struct Supervisor {
    engine: Arc<dyn Engine>,
    lanes: Lanes,
    slots: u16,
    watching: JoinHandle<()>,
}

impl Supervisor {
    /// Opens the first slot (blocking work, done off the runtime) and returns; the others follow one by one in the
    /// background, and from then on lost slots are rebuilt.
    ///
    /// A slot that cannot be opened stays out, with an error in the log, and is tried again after a second, then two, and
    /// so on up to a minute.
    ///
    /// # Errors
    ///
    /// [`AsrError::Open`] when the first slot cannot be opened.
    pub async fn start(
        engine: Arc<dyn Engine>,
        model: ModelInfo,
        settings: SupervisorSettings,
    ) -> Result<Self, AsrError> {
        let (allocator, retired) = Allocator::new(settings.pool);
        let footprint = open(&engine, SlotId(0)).await?;
        allocator.add(SlotId(0));
        info!(slots = settings.slots, weights = %footprint.weights, per_slot = %footprint.slot, "pool opens");
        let watch = Watch { engine: Arc::clone(&engine), allocator: allocator.clone() };
        let watching = tokio::spawn(watch.run(settings.slots, retired));
        let lanes = Lanes::new(Arc::clone(&engine), allocator, model);
        Ok(Self { engine, lanes, slots: settings.slots, watching })
    }

    /// Lanes to the slots.
    pub fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// Closes all slots and waits for their threads, and so for the decodes that still run.
    pub async fn stop(self) {
        self.watching.abort();
        let closing = move || (0..self.slots).for_each(|slot| self.engine.close(SlotId(slot)));
        if let Err(error) = tokio::task::spawn_blocking(closing).await {
            error!(%error, "closing the slots failed");
        }
    }
}

async fn open(engine: &Arc<dyn Engine>, slot: SlotId) -> Result<Footprint, AsrError> {
    let engine = Arc::clone(engine);
    tokio::task::spawn_blocking(move || engine.open(slot))
        .await
        .map_err(|error| AsrError::Open { slot: slot.0, reason: error.to_string() })?
}

/// Brings slots into the pool.
#[derive(Clone)]
struct Watch {
    engine: Arc<dyn Engine>,
    allocator: Allocator,
}

impl Watch {
    async fn run(self, slots: u16, mut retired: mpsc::UnboundedReceiver<SlotId>) {
        // Slots that could not be opened at once; they are given up with this task.
        let mut late = JoinSet::new();
        for slot in (1..slots).map(SlotId) {
            if !self.open(slot).await {
                late.spawn(self.clone().keep_trying(slot));
            }
        }
        info!(slots = self.allocator.slots().total, "pool opened");
        while let Some(slot) = retired.recv().await {
            if !self.open(slot).await {
                late.spawn(self.clone().keep_trying(slot));
            }
        }
    }

    async fn open(&self, slot: SlotId) -> bool {
        match open(&self.engine, slot).await {
            Ok(_) => {
                self.allocator.add(slot);
                true
            }
            Err(error) => {
                error!(slot = slot.0, code = error.code(), %error, "slot stays out for now");
                false
            }
        }
    }

    /// What kept a slot from opening may pass: memory that something else held.
    async fn keep_trying(self, slot: SlotId) {
        let mut pause = FIRST_PAUSE;
        loop {
            tokio::time::sleep(pause).await;
            if self.open(slot).await {
                return;
            }
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asr::EncoderWindow;
    use crate::asr::fake::FakeEngine;
    use crate::pool::{Ask, Class, Cost, FlowInfo};
    use tokio::time::Instant;

    async fn start(engine: FakeEngine, slots: u16) -> Result<Supervisor, AsrError> {
        let model = ModelInfo { name: "fake".into(), multilingual: false, window: EncoderWindow::Fit };
        let settings = SupervisorSettings { slots, pool: PoolSettings::default() };
        Supervisor::start(Arc::new(engine), model, settings).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_slot_that_cannot_be_opened_is_tried_again_after_growing_pauses() {
        // The first slot opens, the second only at the fourth try: after 1 + 2 + 4 seconds.
        let supervisor = start(FakeEngine::saying("").failing_to_open(SlotId(1), 3), 2).await.unwrap();
        let begun = Instant::now();
        let allocator = supervisor.lanes().allocator();
        let flow = allocator.enroll(FlowInfo::request("test"));
        let ask = Ask::new(Class::Final, Cost::default());
        let _first = allocator.acquire(&flow, ask, None).await.unwrap();
        let second = allocator.acquire(&flow, ask, None).await.unwrap();
        assert_eq!(second.slot(), SlotId(1));
        assert_eq!(begun.elapsed().as_secs(), 7);
    }

    #[tokio::test]
    async fn without_a_first_slot_there_is_no_pool() {
        let error = start(FakeEngine::saying("").failing_to_open(SlotId(0), 1), 2).await.err();
        assert_eq!(error.map(|error| error.code()), Some("slot_unusable"));
    }
}
