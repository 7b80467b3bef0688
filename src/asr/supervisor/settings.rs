//! What the supervisor aims at, and why there may be no pool at all.

use crate::asr::{AsrError, Engine, LaneSettings};
use crate::gpu::{BudgetError, Bytes, DeviceInfo, DeviceProbe, GpuError};
use crate::pool::PoolSettings;
use std::sync::Arc;
use std::time::Duration;

/// The device that carries the slots.
#[derive(Clone)]
pub struct Device {
    /// Which it is.
    pub info: DeviceInfo,
    /// Reads its memory.
    pub probe: Arc<dyn DeviceProbe>,
}

/// From where it is known past how many slots more of them only slow each other down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Knee {
    /// Nobody knows, and nobody asks.
    #[default]
    Off,
    /// This many: given, worked out from the cores, or measured before.
    Known(u16),
    /// It is measured at the start, if there are more slots than so many: up to there throughput is known to grow.
    Measure {
        /// 1 where nothing is known.
        beyond: u16,
    },
}

/// A device, the engine that works on it with weights of its own, and what is known of both.
#[derive(Clone)]
pub struct Site {
    /// Opens and runs the slots.
    pub engine: Arc<dyn Engine>,
    /// Where they are.
    pub device: Device,
    /// The memory that stays untouched.
    pub reserve: Bytes,
    /// How many slots are of use.
    pub knee: Knee,
}

/// What the supervisor aims at.
#[derive(Clone)]
pub struct SupervisorSettings {
    /// The most slots on all devices together, 1 or more.
    pub max_slots: u16,
    /// The waiting room.
    pub pool: PoolSettings,
    /// How sessions use their slots.
    pub lanes: LaneSettings,
    /// How often the memory is read while the pool runs; `None` for never.
    pub readings: Option<Duration>,
    /// Whether slots are given back when memory becomes scarce, and taken again when it returns.
    pub elastic: bool,
    /// For how long an idle slot is believed to work before it is tried; `None` for ever.
    pub canary: Option<Duration>,
}

impl Default for SupervisorSettings {
    /// Up to 16 slots, looked after in every way.
    fn default() -> Self {
        Self {
            max_slots: 16,
            pool: PoolSettings::default(),
            lanes: LaneSettings::default(),
            readings: Some(Duration::from_secs(1)),
            elastic: true,
            canary: Some(Duration::from_secs(60)),
        }
    }
}

/// Why there is no pool.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StartError {
    /// The first slot cannot be opened.
    #[error(transparent)]
    Open(#[from] AsrError),
    /// Not even one slot fits.
    #[error(transparent)]
    DoesNotFit(#[from] BudgetError),
    /// The device does not say how much memory it has.
    #[error(transparent)]
    Device(#[from] GpuError),
}

impl StartError {
    /// The stable name of this error, for logs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Open(error) => error.code(),
            Self::DoesNotFit(error) => error.code(),
            Self::Device(error) => error.code(),
        }
    }
}
