//! One slot's thread: it owns a recognizer, decodes what it is handed, and says what it is doing.

use crate::asr::{AsrError, Hypothesis, Job, Outcome, Recognizer};
use crate::pool::SlotId;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{debug, info_span};

/// The thread of a slot, and the way to it.
pub(super) struct SlotThread {
    /// Holds at most one job: its lease is the only one for this slot. `None` once the slot is being closed.
    jobs: Option<SyncSender<Job>>,
    thread: JoinHandle<()>,
    life: Arc<Life>,
}

impl SlotThread {
    /// Starts it with its recognizer.
    pub(super) fn start(slot: SlotId, recognizer: Box<dyn Recognizer>) -> std::io::Result<Self> {
        let (jobs, inbox) = sync_channel(1);
        let life = Arc::new(Life::default());
        let ends = EndsOnDrop(Arc::clone(&life));
        let thread = std::thread::Builder::new().name(format!("asr-slot-{}", slot.0)).spawn(move || {
            let ends = ends;
            work(slot, recognizer, inbox, &ends.0);
        })?;
        Ok(Self { jobs: Some(jobs), thread, life })
    }

    /// Hands it a job; gives the job back when the thread is not there for it.
    pub(super) fn submit(&self, job: Job) -> Option<Job> {
        let Some(jobs) = &self.jobs else { return Some(job) };
        jobs.try_send(job).err().map(|(TrySendError::Full(job) | TrySendError::Disconnected(job))| job)
    }

    /// Whether it is in a decode.
    pub(super) fn is_busy(&self) -> bool {
        *self.life.lock() == Stage::Busy
    }

    /// Lets it end after the decode that it may be in; how that goes is to be seen in its life.
    pub(super) fn close(&mut self) -> Arc<Life> {
        self.jobs = None;
        Arc::clone(&self.life)
    }

    /// Says that nobody waits for it any more.
    pub(super) fn abandon(self) -> JoinHandle<()> {
        self.life.leave(Stage::Abandoned);
        self.thread
    }

    /// Waits for it, after it has ended.
    pub(super) fn join(self) -> std::thread::Result<()> {
        self.thread.join()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Stage {
    #[default]
    Waiting,
    Busy,
    Ended,
    Abandoned,
}

/// What a slot's thread does, for whoever closes the slot.
#[derive(Default)]
pub(super) struct Life {
    stage: Mutex<Stage>,
    left: Condvar,
}

impl Life {
    fn lock(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_busy(&self, busy: bool) {
        let mut stage = self.lock();
        if *stage != Stage::Abandoned {
            *stage = if busy { Stage::Busy } else { Stage::Waiting };
        }
    }

    fn leave(&self, how: Stage) {
        *self.lock() = how;
        self.left.notify_all();
    }

    /// Blocks until the thread has ended or is abandoned.
    pub(super) fn until_left(&self) {
        let going_on = |stage: &mut Stage| matches!(stage, Stage::Waiting | Stage::Busy);
        drop(self.left.wait_while(self.lock(), going_on).unwrap_or_else(PoisonError::into_inner));
    }
}

/// Says that the thread has ended, when everything else that it owned is gone.
struct EndsOnDrop(Arc<Life>);

impl Drop for EndsOnDrop {
    fn drop(&mut self) {
        self.0.leave(Stage::Ended);
    }
}

/// Decodes jobs until the slot is closed or lost.
fn work(slot: SlotId, mut recognizer: Box<dyn Recognizer>, inbox: Receiver<Job>, life: &Life) {
    while let Ok(job) = inbox.recv() {
        if job.cancel.is_cancelled() {
            answer(job, Err(AsrError::Cancelled), Duration::ZERO);
            continue;
        }
        let since = Instant::now();
        life.set_busy(true);
        let result = job
            .span
            .in_scope(|| info_span!("asr.decode", slot = slot.0).in_scope(|| decode(&mut *recognizer, &job)));
        // Before the answer: whoever has that may close the slot, and must not take it for busy.
        life.set_busy(false);
        let decode = since.elapsed();
        debug!(slot = slot.0, decode_ms = decode.as_millis(), ok = result.is_ok(), "decoded");
        if matches!(result, Err(AsrError::SlotLost(_))) {
            // Its memory goes before the slot is announced as lost, so that the rebuilt one finds room.
            drop((recognizer, inbox));
            return answer(job, result, decode);
        }
        answer(job, result, decode);
    }
}

fn decode(recognizer: &mut dyn Recognizer, job: &Job) -> Result<Hypothesis, AsrError> {
    let decode = || recognizer.recognize(&job.utterance, &job.options, &job.cancel, &mut |_| {});
    catch_unwind(AssertUnwindSafe(decode))
        .unwrap_or_else(|panic| Err(AsrError::SlotLost(panic_message(&*panic))))
}

/// Answers a job, whose lease goes with the answer.
pub(super) fn answer(job: Job, result: Result<Hypothesis, AsrError>, decode: Duration) {
    // If nobody listens any more, the lease comes back in the error and is dropped here.
    drop(job.reply.send(Outcome::new(job.lease, result, decode)));
}

/// What was said in a panic.
pub(super) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panicked: {}", text.as_deref().unwrap_or("without a message"))
}
