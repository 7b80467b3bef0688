//! Drives the engine and the pool: opens slots at the start, rebuilds those that were lost.

use super::{AsrError, Engine, Lanes, ModelInfo};
use crate::gpu::Footprint;
use crate::pool::PoolSettings;
use std::sync::Arc;

/// What the supervisor aims at.
#[derive(Debug, Clone)]
pub struct SupervisorSettings {
    /// How many slots.
    pub slots: u16,
    /// The waiting room.
    pub pool: PoolSettings,
}

/// Keeps the slots open.
pub struct Supervisor {}

impl Supervisor {
    /// Opens all slots (blocking work, done off the runtime) and watches over them.
    ///
    /// # Errors
    ///
    /// [`AsrError::Open`] when not one slot could be opened.
    pub async fn start(
        _engine: Arc<dyn Engine>,
        _model: ModelInfo,
        _settings: SupervisorSettings,
    ) -> Result<Self, AsrError> {
        todo!()
    }

    /// Lanes to the slots.
    pub fn lanes(&self) -> &Lanes {
        todo!()
    }

    /// What the model and its slots need, as measured when the first was opened.
    pub fn footprint(&self) -> Footprint {
        todo!()
    }

    /// Closes all slots and waits for their threads.
    pub async fn stop(self) {
        todo!()
    }
}
