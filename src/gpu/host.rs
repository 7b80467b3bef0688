//! The host's memory, as the operating system counts it.

use super::{Bytes, DeviceInfo, DeviceKind, DeviceMemory, DeviceProbe, GpuError, cgroup};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use sysinfo::{
    CpuRefreshKind, MemoryRefreshKind, Pid, ProcessRefreshKind, ProcessesToUpdate, RefreshKind, System,
};

/// Reads the host's memory, within the limits of this process's control groups.
///
/// Free is what can be had without swapping (`MemAvailable`), so what the kernel only caches counts as free.
#[derive(Debug)]
pub struct HostProbe {
    /// Kept, because making one reads more than the memory.
    system: Mutex<System>,
}

impl HostProbe {
    /// A probe of this machine.
    pub fn new() -> Self {
        Self { system: Mutex::new(System::new()) }
    }

    /// What this machine calls its processor.
    pub fn info() -> DeviceInfo {
        let system = System::new_with_specifics(RefreshKind::nothing().with_cpu(CpuRefreshKind::nothing()));
        let brand = system.cpus().first().map(|cpu| cpu.brand().trim()).filter(|brand| !brand.is_empty());
        DeviceInfo { kind: DeviceKind::Cpu, name: brand.unwrap_or("CPU").into(), uuid: None }
    }
}

impl Default for HostProbe {
    fn default() -> Self {
        Self::new()
    }
}

impl DeviceProbe for HostProbe {
    fn memory(&self) -> Result<DeviceMemory, GpuError> {
        let mut system = self.system.lock().unwrap_or_else(PoisonError::into_inner);
        system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        let host =
            DeviceMemory { total: Bytes(system.total_memory()), free: Bytes(system.available_memory()) };
        if host.total == Bytes(0) {
            return Err(GpuError::NoHostMemory);
        }
        Ok(cgroup::limited(host, Path::new("/")))
    }

    fn own(&self) -> Option<Bytes> {
        Some(process_memory())
    }
}

/// The resident memory of this process, as the operating system counts it; zero where it does not say.
pub fn process_memory() -> Bytes {
    let pid = Pid::from_u32(std::process::id());
    let mut system = System::new();
    let memory_only = ProcessRefreshKind::nothing().with_memory();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, memory_only);
    Bytes(system.process(pid).map_or(0, sysinfo::Process::memory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_has_the_memory_that_this_process_uses() {
        let memory = HostProbe::new().memory().unwrap();
        assert!(memory.free > Bytes(0) && memory.free <= memory.total, "{memory:?}");
        assert!(process_memory() > Bytes::mib(1) && process_memory() < memory.total);
    }

    #[test]
    fn a_host_has_a_name_and_no_uuid() {
        let info = HostProbe::info();
        assert_eq!((info.kind, info.uuid), (DeviceKind::Cpu, None));
        assert!(!info.name.is_empty());
    }
}
