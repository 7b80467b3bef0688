//! Drives the engine and the pool: opens slots at the start, rebuilds those that were lost, closes them at the end.

use super::{AsrError, Engine, Lanes, ModelInfo};
use crate::gpu::Footprint;
use crate::pool::{Allocator, PoolSettings, SlotId};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

/// What the supervisor aims at.
#[derive(Debug, Clone)]
pub struct SupervisorSettings {
    /// How many slots, 1 or more.
    pub slots: u16,
    /// The waiting room.
    pub pool: PoolSettings,
}

/// How often a slot's warm-up is tried before the slot stays out.
const ATTEMPTS: u32 = 2;

/// Keeps the slots open.
pub struct Supervisor {
    engine: Arc<dyn Engine>,
    lanes: Lanes,
    footprint: Footprint,
    slots: u16,
    watching: JoinHandle<()>,
}

impl Supervisor {
    /// Opens the first slot (blocking work, done off the runtime) and returns; the others follow one by one in the
    /// background, and from then on lost slots are rebuilt.
    ///
    /// A slot that cannot be opened stays out, with an error in the log, as long as the first could be.
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
        Ok(Self { engine, lanes, footprint, slots: settings.slots, watching })
    }

    /// Lanes to the slots.
    pub fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// What the model and its slots need, as measured when the first was opened.
    pub fn footprint(&self) -> Footprint {
        self.footprint
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
struct Watch {
    engine: Arc<dyn Engine>,
    allocator: Allocator,
}

impl Watch {
    async fn run(self, slots: u16, mut retired: mpsc::UnboundedReceiver<SlotId>) {
        for slot in (1..slots).map(SlotId) {
            self.bring_in(slot).await;
        }
        info!(slots = self.allocator.snapshot().total, "pool opened");
        while let Some(slot) = retired.recv().await {
            self.bring_in(slot).await;
        }
    }

    async fn bring_in(&self, slot: SlotId) {
        for attempt in 1..=ATTEMPTS {
            match open(&self.engine, slot).await {
                Ok(_) => return self.allocator.add(slot),
                Err(error) if attempt == ATTEMPTS => error!(slot = slot.0, %error, "slot stays out"),
                Err(error) => warn!(slot = slot.0, %error, "slot could not be opened, trying again"),
            }
        }
    }
}
