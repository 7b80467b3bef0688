//! An engine that gives every slot a thread of its own (`asr-slot-N`) and a recognizer that lives on it.
//!
//! It knows nothing of Whisper: it contains panics, keeps the lease with the job and joins threads. What a recognizer
//! is, its factory says.

mod slot_thread;
#[cfg(test)]
mod tests;

use super::{AsrError, Engine, Job, Recognizer};
use crate::gpu::Footprint;
use crate::pool::SlotId;
use slot_thread::{SlotThread, answer, panic_message};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tracing::{error, warn};

/// Makes the recognizer of a slot, warmed up, and says what it costs.
pub trait RecognizerFactory: Send + Sync {
    /// Makes one recognizer. Blocks.
    ///
    /// # Errors
    ///
    /// [`AsrError::Open`].
    fn make(&self, slot: SlotId) -> Result<(Box<dyn Recognizer>, Footprint), AsrError>;
}

/// One thread and one recognizer per slot.
pub struct ThreadEngine {
    factory: Box<dyn RecognizerFactory>,
    threads: Mutex<Threads>,
}

#[derive(Default)]
struct Threads {
    open: HashMap<SlotId, SlotThread>,
    /// Those that nobody waits for any more, as long as they go on.
    abandoned: Vec<JoinHandle<()>>,
}

impl ThreadEngine {
    /// An engine without slots.
    pub fn new(factory: impl RecognizerFactory + 'static) -> Self {
        Self { factory: Box::new(factory), threads: Mutex::default() }
    }

    /// How many threads are in a decode that does not end, and keep their memory.
    #[cfg(test)]
    pub fn stuck(&self) -> usize {
        let mut threads = self.lock();
        threads.abandoned.retain(|thread| !thread.is_finished());
        threads.abandoned.len()
    }

    fn lock(&self) -> MutexGuard<'_, Threads> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the thread that the slot had before. A decode that it is still in, on a slot that is being rebuilt, does not
    /// end; of any other the memory is free before the new one needs it.
    fn clear(&self, slot: SlotId) {
        let is_busy = self.lock().open.get(&slot).is_some_and(SlotThread::is_busy);
        if is_busy {
            self.abandon(slot);
        } else {
            self.close(slot);
        }
    }
}

impl Engine for ThreadEngine {
    fn open(&self, slot: SlotId) -> Result<Footprint, AsrError> {
        let failed = |reason: String| AsrError::Open { slot: slot.0, reason };
        self.clear(slot);
        let (recognizer, footprint) = catch_unwind(AssertUnwindSafe(|| self.factory.make(slot)))
            .map_err(|panic| failed(panic_message(&*panic)))??;
        let thread = SlotThread::start(slot, recognizer).map_err(|error| failed(error.to_string()))?;
        self.lock().open.insert(slot, thread);
        Ok(footprint)
    }

    fn submit(&self, job: Job) {
        let slot = job.lease.slot();
        let refused = match self.lock().open.get(&slot) {
            Some(thread) => thread.submit(job),
            None => Some(job),
        };
        if let Some(job) = refused {
            answer(job, Err(AsrError::SlotLost("its thread is not there".into())), Duration::ZERO);
        }
    }

    fn abandon(&self, slot: SlotId) {
        let mut threads = self.lock();
        let Some(thread) = threads.open.remove(&slot) else { return };
        warn!(slot = slot.0, "slot thread abandoned in a decode that does not end");
        threads.abandoned.push(thread.abandon());
    }

    fn close(&self, slot: SlotId) {
        let closing = self.lock().open.get_mut(&slot).map(SlotThread::close);
        let Some(life) = closing else { return };
        life.until_left();
        // An abandoned one is not there any more.
        let ended = self.lock().open.remove(&slot);
        if ended.is_some_and(|thread| thread.join().is_err()) {
            error!(slot = slot.0, "slot thread had panicked");
        }
    }
}
