//! What this process uses of its machine, under the names that every Prometheus client gives it.

use procfs::ProcResult;
use std::time::Duration;

/// What this process uses, as the operating system counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Process {
    /// Processor time of all its threads since it began.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub resident: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// Threads.
    pub threads: u64,
}

impl Process {
    /// Reads it now; `None` where the operating system does not say.
    pub fn read() -> Option<Self> {
        Self::from_procfs().ok()
    }

    fn from_procfs() -> ProcResult<Self> {
        let process = procfs::process::Process::myself()?;
        let stat = process.stat()?;
        let ticks = (stat.utime + stat.stime) as f64;
        Ok(Self {
            cpu: Duration::from_secs_f64(ticks / procfs::ticks_per_second() as f64),
            resident: stat.rss * procfs::page_size(),
            open_fds: process.fd_count()? as u64,
            threads: u64::try_from(stat.num_threads).unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory_descriptors_and_threads() {
        let process = Process::read().expect("Linux says so");
        assert!(process.resident > 1 << 20, "{process:?}");
        assert!(process.open_fds >= 3 && process.threads >= 1, "{process:?}");
    }
}
