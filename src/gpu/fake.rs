//! A device for tests: its memory is what it is told, and it fails when it is told to.

use super::{Bytes, DeviceMemory, DeviceProbe, GpuError};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// A [`DeviceProbe`] whose memory a test sets. Clones are the same device, so a test can change it while it is read.
#[derive(Debug, Clone)]
pub struct FakeProbe {
    state: Arc<Mutex<State>>,
    /// It says what this process has: all that is taken.
    tells_apart: bool,
    reads: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    memory: DeviceMemory,
    failing: Option<GpuError>,
    /// The next answers, before the memory is asked.
    script: VecDeque<Result<DeviceMemory, GpuError>>,
}

impl FakeProbe {
    /// A device with so much memory.
    pub fn new(total: Bytes, free: Bytes) -> Self {
        let state = State { memory: DeviceMemory { total, free }, failing: None, script: VecDeque::new() };
        Self { state: Arc::new(Mutex::new(state)), tells_apart: false, reads: watch::Sender::new(0) }
    }

    /// The same device; whether it says what this process has of it.
    pub fn telling_processes_apart(self, tells_apart: bool) -> Self {
        Self { tells_apart, ..self }
    }

    /// From now on so much is free.
    pub fn set_free(&self, free: Bytes) {
        self.state().memory.free = free;
    }

    /// Somebody takes memory, as much as there is.
    pub fn take(&self, taken: Bytes) {
        let mut state = self.state();
        state.memory.free = state.memory.free.since(taken);
    }

    /// Somebody gives memory back, up to the total.
    pub fn give(&self, given: Bytes) {
        let mut state = self.state();
        state.memory.free = state.memory.free.and(given).min(state.memory.total);
    }

    /// From now on every reading fails; with `None` none does any more.
    pub fn fail(&self, error: Option<GpuError>) {
        self.state().failing = error;
    }

    /// The next readings are these, in this order.
    pub fn answer(&self, answers: impl IntoIterator<Item = Result<DeviceMemory, GpuError>>) {
        self.state().script.extend(answers);
    }

    /// How often it was read.
    pub fn reads(&self) -> u64 {
        *self.reads.borrow()
    }

    /// Waits until it has been read so many times in all.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost: the readings are counted, whoever waits.
    pub async fn read_times(&self, times: u64) {
        let read = self.reads.subscribe().wait_for(|reads| *reads >= times).await.map(|_| ());
        read.expect("the sender lives as long as this device");
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DeviceProbe for FakeProbe {
    fn memory(&self) -> Result<DeviceMemory, GpuError> {
        let mut state = self.state();
        let now = state.failing.clone().map_or(Ok(state.memory), Err);
        let answer = state.script.pop_front().unwrap_or(now);
        drop(state);
        self.reads.send_modify(|reads| *reads += 1);
        answer
    }

    fn own(&self) -> Option<Bytes> {
        self.tells_apart.then(|| self.state().memory.used())
    }
}
