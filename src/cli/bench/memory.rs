//! What memory is held, and the least that was free.

use crate::asr::Device;
use crate::cli::assembly::off_the_runtime;
use crate::cli::failure::Failure;
use crate::gpu::{Bytes, DeviceKind, DeviceMemory, DeviceProbe, ProbeThread, process_memory};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// How often the memory is read while the least is looked for.
const EVERY: Duration = Duration::from_millis(20);

/// How long memory that is given back is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// Reads memory.
#[derive(Clone)]
pub(super) struct MemoryWatcher {
    probe: Arc<dyn DeviceProbe>,
    kind: DeviceKind,
}

impl MemoryWatcher {
    /// Of a device.
    pub(super) fn of(device: &Device) -> Self {
        Self { probe: Arc::clone(&device.probe), kind: device.info.kind }
    }

    /// What the device says now.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub(super) async fn memory(&self) -> anyhow::Result<DeviceMemory> {
        let probe = Arc::clone(&self.probe);
        off_the_runtime(move || probe.memory().map_err(Failure::from)).await
    }

    /// What is held: on a host by this process, since others come and go there; on a GPU by all, since only the whole can be
    /// read everywhere.
    ///
    /// # Errors
    ///
    /// As for [`memory`](Self::memory).
    pub(super) async fn held(&self) -> anyhow::Result<Bytes> {
        match self.kind {
            DeviceKind::Cpu => off_the_runtime(|| Ok::<_, Failure>(process_memory())).await,
            DeviceKind::Cuda => Ok(self.memory().await?.used()),
        }
    }

    /// The same, when it is no more than `hoped`, or after two seconds: drivers and allocators give back with some delay.
    ///
    /// # Errors
    ///
    /// As for [`memory`](Self::memory).
    pub(super) async fn held_in_the_end(&self, hoped: Bytes) -> anyhow::Result<Bytes> {
        let begun = Instant::now();
        loop {
            let held = self.held().await?;
            if held <= hoped || begun.elapsed() >= PATIENCE {
                return Ok(held);
            }
            sleep(EVERY).await;
        }
    }

    /// Looks for the least that is free, from now on.
    ///
    /// # Errors
    ///
    /// As for [`memory`](Self::memory).
    pub(super) async fn watch(&self) -> anyhow::Result<LowWater> {
        let memory = self.memory().await?;
        let thread = ProbeThread::start(Arc::clone(&self.probe), memory, EVERY).map_err(Failure::from)?;
        let ended = CancellationToken::new();
        let lowest = tokio::spawn(lowest(memory.free, thread.readings(), ended.clone()));
        Ok(LowWater { thread, ended, lowest })
    }
}

/// The least that was free since it began.
pub(super) struct LowWater {
    thread: ProbeThread,
    ended: CancellationToken,
    lowest: JoinHandle<Bytes>,
}

impl LowWater {
    /// What it was.
    pub(super) async fn end(self) -> anyhow::Result<Bytes> {
        self.ended.cancel();
        let lowest = self.lowest.await?;
        drop(self.thread);
        Ok(lowest)
    }
}

async fn lowest(
    first: Bytes,
    mut readings: watch::Receiver<DeviceMemory>,
    ended: CancellationToken,
) -> Bytes {
    let mut lowest = first;
    loop {
        tokio::select! {
            changed = readings.changed() => match changed {
                Ok(()) => lowest = lowest.min(readings.borrow_and_update().free),
                Err(_) => return lowest,
            },
            () = ended.cancelled() => return lowest,
        }
    }
}

/// How much more `a` is than `b`, which may be less than nothing.
pub(super) fn signed(a: Bytes, b: Bytes) -> i64 {
    a.0 as i64 - b.0 as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::DeviceInfo;
    use crate::gpu::fake::FakeProbe;

    #[tokio::test]
    async fn the_least_is_remembered_when_memory_is_free_again() {
        let probe = FakeProbe::new(Bytes::mib(100), Bytes::mib(80));
        let info = DeviceInfo { kind: DeviceKind::Cuda, name: "fake".into(), uuid: None };
        let meter = MemoryWatcher::of(&Device { info, probe: Arc::new(probe.clone()) });
        let watch = meter.watch().await.unwrap();
        probe.set_free(Bytes::mib(30));
        // One reading may have been under way; of those after it the task has seen all but the last.
        probe.read_times(probe.reads() + 3).await;
        probe.set_free(Bytes::mib(90));
        probe.read_times(probe.reads() + 3).await;
        assert_eq!(meter.held().await.unwrap(), Bytes::mib(10));
        assert_eq!(watch.end().await.unwrap(), Bytes::mib(30));
    }
}
