//! What the device has, what a slot costs, and how many slots fit.
//!
//! [`HostProbe`] and [`NvmlProbe`] read, [`ProbeThread`] reads again and again; everything else decides on what was
//! read, without clock, lock or channel: [`choose`] which device, [`MemoryBudget`] how many slots, [`KneeSearch`] how
//! many are of use, [`Elasticity`] when to give one back. What opens and closes slots is not here.

mod budget;
mod cgroup;
mod choose;
mod elasticity;
mod error;
mod facts;
pub mod fake;
mod host;
mod knee;
mod nvml;
mod probe_thread;
mod selector;

pub use budget::{Binding, BudgetError, Loaded, MemoryBudget, Sizing, default_reserve};
pub use choose::{Gpu, Mig, choose, visible};
pub use elasticity::{Change, Elasticity, ElasticitySettings, OpenSlots};
pub use error::GpuError;
pub use facts::GpuFacts;
pub use host::{HostProbe, process_memory};
pub use knee::{KneeKey, KneeSearch};
pub use nvml::{Driver, NvmlProbe};
pub use probe_thread::ProbeThread;
pub use selector::DeviceSelector;

use std::fmt;

/// An amount of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bytes(pub u64);

impl Bytes {
    /// So many MiB.
    pub const fn mib(mib: u64) -> Self {
        Self(mib.saturating_mul(1024 * 1024))
    }

    /// How much more this is than `before`; zero when it is less.
    pub fn since(self, before: Self) -> Self {
        Self(self.0.saturating_sub(before.0))
    }

    /// Both together, or the largest amount there is.
    pub fn and(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// So many times as much, or the largest amount there is.
    pub fn times(self, n: u16) -> Self {
        Self(self.0.saturating_mul(n.into()))
    }
}

impl fmt::Display for Bytes {
    /// MiB with one decimal, as in log lines and errors.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} MiB", self.0 as f64 / (1024.0 * 1024.0))
    }
}

/// What a model needs: its weights once, and the working memory of one decode for every slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Footprint {
    /// Shared by all slots.
    pub weights: Bytes,
    /// For each slot.
    pub slot: Bytes,
}

/// What a device has, as it says itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeviceMemory {
    /// All of it, or the limit that was set for this process.
    pub total: Bytes,
    /// What can still be had. On a host that includes what the kernel only caches.
    pub free: Bytes,
}

impl DeviceMemory {
    /// What cannot be had, whoever holds it.
    pub fn used(self) -> Bytes {
        self.total.since(self.free)
    }
}

/// What kind of device the slots run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceKind {
    /// The cores, with the host's memory.
    Cpu,
    /// An NVIDIA GPU, with its own.
    Cuda,
}

impl DeviceKind {
    /// As `/pool` spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        }
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which device the slots run on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceInfo {
    /// What kind it is.
    pub kind: DeviceKind,
    /// As people know it: `NVIDIA H200`, or the processor's name.
    pub name: String,
    /// What names it for good, where there is such a thing: `GPU-…` or `MIG-…`.
    pub uuid: Option<String>,
}

/// Reads a device's memory.
///
/// Blocks for as long as the device takes to answer (microseconds as a rule): ask on a thread of its own, such as
/// [`ProbeThread`].
pub trait DeviceProbe: Send + Sync {
    /// Reads it now.
    ///
    /// # Errors
    ///
    /// [`GpuError`] when the device does not answer; it may again later.
    fn memory(&self) -> Result<DeviceMemory, GpuError>;
}
