//! The thread that reads a device's memory again and again, so that nobody who must not block has to.

use super::{DeviceMemory, DeviceProbe, GpuError};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::watch;
use tracing::{info, warn};

/// The thread `gpu-probe`. It ends when this is dropped, as soon as the reading under way is done.
#[derive(Debug)]
pub struct ProbeThread {
    /// Nothing is ever sent: the thread ends when this is dropped.
    alive: Sender<Infallible>,
    readings: watch::Receiver<DeviceMemory>,
    thread: JoinHandle<()>,
}

impl ProbeThread {
    /// Reads `probe` every `interval`. Until the first reading `memory` is what is told: whoever sized the pool has it.
    ///
    /// A reading that fails leaves the last one as it is; the log says so once, and once more when it works again.
    ///
    /// # Errors
    ///
    /// [`GpuError::NoThread`] when the operating system gives us none.
    pub fn start(
        probe: Arc<dyn DeviceProbe>,
        memory: DeviceMemory,
        interval: Duration,
    ) -> Result<Self, GpuError> {
        let (alive, handle) = channel();
        let (told, readings) = watch::channel(memory);
        let thread = thread::Builder::new()
            .name("gpu-probe".into())
            .spawn(move || run(&*probe, interval, &handle, &told))
            .map_err(|error| GpuError::NoThread { reason: error.to_string() })?;
        Ok(Self { alive, readings, thread })
    }

    /// The last reading; it counts as changed with each reading that succeeds, also when it says the same as before.
    /// The channel closes when the thread ends.
    pub fn readings(&self) -> watch::Receiver<DeviceMemory> {
        self.readings.clone()
    }

    /// Ends the thread and waits for it, and so for the reading under way: blocks, so not on a runtime.
    pub fn stop(self) {
        drop(self.alive);
        if self.thread.join().is_err() {
            warn!("the thread gpu-probe had panicked");
        }
    }
}

/// Reads whenever time is up, until its handle is dropped.
fn run(
    probe: &dyn DeviceProbe,
    interval: Duration,
    handle: &Receiver<Infallible>,
    told: &watch::Sender<DeviceMemory>,
) {
    let mut streak = Streak::default();
    while handle.recv_timeout(interval) != Err(RecvTimeoutError::Disconnected) {
        let reading = probe.memory();
        match (streak.note(reading.is_ok()), &reading) {
            (Some(Turn::Broke), Err(error)) => {
                warn!(%error, code = error.code(), "device memory cannot be read");
            }
            (Some(Turn::Healed), _) => info!("device memory can be read again"),
            _ => {}
        }
        if let Ok(memory) = reading {
            told.send_replace(memory);
        }
    }
}

/// A row of failures, which is worth one line in the log and not one a second.
#[derive(Debug, Default)]
struct Streak {
    failing: bool,
}

/// What is worth a line.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    Broke,
    Healed,
}

impl Streak {
    fn note(&mut self, worked: bool) -> Option<Turn> {
        let was_failing = std::mem::replace(&mut self.failing, !worked);
        match (was_failing, worked) {
            (false, false) => Some(Turn::Broke),
            (true, true) => Some(Turn::Healed),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::Bytes;
    use crate::gpu::fake::FakeProbe;

    /// Never, as far as a test is concerned.
    const NEVER: Duration = Duration::from_secs(1_000_000);

    fn free(free: u64) -> DeviceMemory {
        DeviceMemory { total: Bytes(100), free: Bytes(free) }
    }

    fn started(interval: Duration) -> (FakeProbe, ProbeThread) {
        let probe = FakeProbe::new(Bytes(100), Bytes(60));
        let thread = ProbeThread::start(Arc::new(probe.clone()), free(70), interval).unwrap();
        (probe, thread)
    }

    #[tokio::test]
    async fn the_last_reading_is_there_before_the_first() {
        let (probe, thread) = started(NEVER);
        assert_eq!(*thread.readings().borrow(), free(70));
        assert_eq!(probe.reads(), 0);
    }

    #[tokio::test]
    async fn memory_is_read_again_and_again_without_being_asked() {
        let (probe, thread) = started(Duration::from_millis(1));
        let mut readings = thread.readings();
        readings.wait_for(|memory| *memory == free(60)).await.unwrap();
        probe.set_free(Bytes(20));
        readings.wait_for(|memory| *memory == free(20)).await.unwrap();
    }

    #[tokio::test]
    async fn the_same_reading_again_is_news_too() {
        let (_probe, thread) = started(Duration::from_millis(1));
        let mut readings = thread.readings();
        // Whoever waits for calm counts the readings.
        for _ in 0..2 {
            readings.changed().await.unwrap();
            assert_eq!(*readings.borrow_and_update(), free(60));
        }
    }

    #[tokio::test]
    async fn a_failure_leaves_the_last_reading() {
        let (probe, thread) = started(Duration::from_millis(1));
        let mut readings = thread.readings();
        readings.wait_for(|memory| *memory == free(60)).await.unwrap();
        probe.fail(Some(GpuError::NoHostMemory));
        probe.set_free(Bytes(10));
        probe.read_times(probe.reads() + 3).await;
        assert_eq!(*readings.borrow(), free(60));
        probe.fail(None);
        readings.wait_for(|memory| *memory == free(10)).await.unwrap();
    }

    #[tokio::test]
    async fn the_thread_ends_when_its_handle_is_dropped() {
        let (_probe, thread) = started(NEVER);
        let mut readings = thread.readings();
        drop(thread);
        assert!(readings.changed().await.is_err(), "the thread still holds its end of the channel");
    }

    #[test]
    fn stopping_waits_for_the_thread() {
        let (_probe, thread) = started(NEVER);
        let readings = thread.readings();
        thread.stop();
        assert!(readings.has_changed().is_err());
    }

    #[test]
    fn a_row_of_failures_is_told_once() {
        use Turn::{Broke, Healed};
        let mut streak = Streak::default();
        let told: Vec<_> =
            [true, false, false, false, true, true, false].map(|worked| streak.note(worked)).into();
        assert_eq!(told, [None, Some(Broke), None, None, Some(Healed), None, Some(Broke)]);
    }
}
