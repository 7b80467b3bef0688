//! Opens and closes slots: the engine's blocking calls, off the runtime, and the pool's books beside them.

use crate::asr::{AsrError, Engine};
use crate::gpu::{Bytes, DeviceMemory, DeviceProbe, Footprint, GpuError, Meter};
use crate::pool::{Allocator, SlotId};
use std::ops::Range;
use std::sync::Arc;
use tracing::error;

/// Brings slots into the pool and takes them out of it.
#[derive(Clone)]
pub(super) struct Opener {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) allocator: Allocator,
    pub(super) probe: Arc<dyn DeviceProbe>,
}

/// What came of opening a slot.
#[derive(Debug)]
pub(super) enum Opening {
    /// It serves, and takes so much.
    Opened(Footprint),
    /// Too little memory is free.
    NoRoom(DeviceMemory),
    /// It does not work.
    Failed(AsrError),
}

impl Opener {
    /// Opens a slot if so much memory is free, and puts it into service. Where the memory cannot be read it is tried.
    pub(super) async fn open(self, slot: SlotId, needed: Bytes) -> Opening {
        match self.memory().await {
            Ok(memory) if memory.free < needed => return Opening::NoRoom(memory),
            // A reading that fails is told by the thread that reads again and again.
            Ok(_) | Err(_) => {}
        }
        self.allocator.warm(slot);
        match self.open_alone(slot).await {
            Ok(footprint) => {
                self.allocator.add(slot);
                Opening::Opened(footprint)
            }
            Err(error) => {
                self.allocator.fail(slot);
                Opening::Failed(error)
            }
        }
    }

    /// Opens a slot without telling the pool.
    pub(super) async fn open_alone(&self, slot: SlotId) -> Result<Footprint, AsrError> {
        let engine = Arc::clone(&self.engine);
        tokio::task::spawn_blocking(move || engine.open(slot))
            .await
            .map_err(|error| AsrError::Open { slot: slot.0, reason: error.to_string() })?
    }

    /// Closes a slot that the pool lends no more.
    pub(super) async fn close(self, slot: SlotId) {
        let engine = self.engine;
        if let Err(error) = tokio::task::spawn_blocking(move || engine.close(slot)).await {
            error!(slot = slot.0, %error, "closing a slot failed");
        }
    }

    /// Takes slots that nobody holds out of the pool, and closes them.
    pub(super) async fn close_all(&self, slots: Range<u16>) {
        for slot in slots.map(SlotId) {
            self.allocator.withdraw_slot(slot);
            self.clone().close(slot).await;
        }
    }

    /// Whether what a slot takes is measured without what other processes take meanwhile.
    pub(super) async fn measures_alone(&self) -> bool {
        let meter = Meter::of(Arc::clone(&self.probe));
        tokio::task::spawn_blocking(move || meter.is_certain()).await.unwrap_or(false)
    }

    /// Reads the device's memory now.
    pub(super) async fn memory(&self) -> Result<DeviceMemory, GpuError> {
        let probe = Arc::clone(&self.probe);
        let failed = |error: tokio::task::JoinError| GpuError::Failed {
            call: "reading the memory",
            reason: error.to_string(),
        };
        tokio::task::spawn_blocking(move || probe.memory()).await.map_err(failed)?
    }
}
