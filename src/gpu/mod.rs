//! What the device has, what a slot costs, and how many slots fit.
//!
//! [`HostProbe`] and [`NvmlProbe`] read, [`ProbeThread`] reads again and again; everything else decides on what was
//! read, without clock, lock or channel: [`choose`] which device, [`MemoryBudget`] how many slots, [`KneeSearch`] how
//! many are of use, [`Elasticity`] when to give one back. What opens and closes slots is not here.

mod budget;
mod cgroup;
mod choose;
mod compatibility;
#[cfg(feature = "cuda")]
mod cuda;
mod deal;
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
pub use choose::{Gpu, Mig, choose, numbered, visible};
pub use compatibility::{Capability, CudaBuild, CudaVersion};
#[cfg(feature = "cuda")]
pub use cuda::cuda_uuids;
pub use deal::deal;
pub use elasticity::{Change, Elasticity, ElasticitySettings, OpenSlots};
pub use error::GpuError;
pub use facts::GpuFacts;
pub use host::{HostProbe, process_memory};
pub use knee::{KneeKey, KneeSearch};
pub use nvml::{Driver, NvmlProbe};
pub use probe_thread::ProbeThread;
pub use selector::{DeviceSelector, GpuName};

use std::fmt;
use std::sync::Arc;

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

impl Footprint {
    /// What is known when a second slot took `second`: all that the first took beyond that is paid once for each device
    /// (the kernels that were loaded, what libraries set up), and belongs to what all share.
    pub fn with_second(self, second: Bytes) -> Self {
        Self { weights: self.weights.and(self.slot.since(second)), slot: second }
    }
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

    /// What this process has of it, where the device tells processes apart.
    fn own(&self) -> Option<Bytes> {
        None
    }
}

/// Tells what this process takes of a device: as the device counts it for this process, else as it counts it for everybody,
/// so that what others do meanwhile is in it.
#[derive(Clone)]
pub struct Meter(Arc<dyn DeviceProbe>);

impl Meter {
    /// A meter of this device.
    pub fn of(probe: Arc<dyn DeviceProbe>) -> Self {
        Self(probe)
    }

    /// What is taken now. Blocks as [`DeviceProbe::memory`] does.
    pub fn read(&self) -> Taken {
        Taken { own: self.0.own(), by_all: self.0.memory().map(DeviceMemory::used).unwrap_or_default() }
    }

    /// Whether it tells this process from others, which it may only once this process has something of the device.
    pub fn is_certain(&self) -> bool {
        self.0.own().is_some()
    }
}

/// What was taken of a device at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// By this process. A process that has nothing yet is not known to the device, which is no answer either.
    own: Option<Bytes>,
    /// By everybody; nothing where the device did not answer.
    by_all: Bytes,
}

impl Taken {
    /// How much more it is than `before`.
    pub fn since(self, before: Self) -> Bytes {
        match self.own {
            Some(own) => own.since(before.own.unwrap_or_default()),
            None => self.by_all.since(before.by_all),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fake::FakeProbe;
    use super::*;

    #[test]
    fn what_a_process_takes_is_told_from_what_others_have() {
        // Others have 700 MiB. The device comes to know this process with its first 300, in a container never.
        let device = || FakeProbe::new(Bytes::mib(1_000), Bytes::mib(300));
        let taken = |known_first: bool, known_then: bool| {
            let before = Meter::of(Arc::new(device().telling_processes_apart(known_first))).read();
            let then = device();
            then.take(Bytes::mib(200));
            Meter::of(Arc::new(then.telling_processes_apart(known_then))).read().since(before)
        };
        assert_eq!(taken(false, false), Bytes::mib(200));
        assert_eq!(taken(true, true), Bytes::mib(200));
        // The fake counts all that is taken as this process's.
        assert_eq!(taken(false, true), Bytes::mib(900));
    }
}
