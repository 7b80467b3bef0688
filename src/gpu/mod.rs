//! What the device has and what a slot costs.
//!
//! Types and measurements only: how many slots a pool really gets is decided where they are opened.

use std::fmt;
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// An amount of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bytes(pub u64);

impl Bytes {
    /// How much more this is than `before`; zero when it is less.
    pub fn since(self, before: Self) -> Self {
        Self(self.0.saturating_sub(before.0))
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

/// The resident memory of this process, as the operating system counts it; zero where it does not say.
pub fn process_memory() -> Bytes {
    let pid = Pid::from_u32(std::process::id());
    let mut system = System::new();
    let memory_only = ProcessRefreshKind::nothing().with_memory();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, memory_only);
    Bytes(system.process(pid).map_or(0, sysinfo::Process::memory))
}
