//! An engine that gives every slot a thread of its own (`asr-slot-N`) and a recognizer that lives on it.
//!
//! It knows nothing of Whisper: it contains panics, keeps the lease with the job and joins threads. What a recognizer
//! is, its factory says.

use super::{AsrError, Engine, Hypothesis, Job, Outcome, Recognizer};
use crate::gpu::Footprint;
use crate::pool::SlotId;
use crate::telemetry::metrics;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{debug, error, info_span};

/// Makes the recognizer of a slot, warmed up, and says what it costs.
pub trait RecognizerFactory: Send + Sync {
    /// Makes one recognizer. Blocks.
    ///
    /// # Errors
    ///
    /// [`AsrError::Open`].
    fn make(&self, slot: SlotId) -> Result<(Box<dyn Recognizer>, Footprint), AsrError>;
}

struct SlotThread {
    /// Holds at most one job: its lease is the only one for this slot.
    jobs: SyncSender<Job>,
    thread: JoinHandle<()>,
}

/// One thread and one recognizer per slot.
pub struct ThreadEngine {
    factory: Box<dyn RecognizerFactory>,
    slots: Mutex<HashMap<SlotId, SlotThread>>,
}

impl ThreadEngine {
    /// An engine without slots.
    pub fn new(factory: impl RecognizerFactory + 'static) -> Self {
        Self { factory: Box::new(factory), slots: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SlotId, SlotThread>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine for ThreadEngine {
    fn open(&self, slot: SlotId) -> Result<Footprint, AsrError> {
        let failed = |reason: String| AsrError::Open { slot: slot.0, reason };
        let (recognizer, footprint) = catch_unwind(AssertUnwindSafe(|| self.factory.make(slot)))
            .map_err(|panic| failed(panic_message(&*panic)))??;
        let (jobs, inbox) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name(format!("asr-slot-{}", slot.0))
            .spawn(move || work(slot, recognizer, inbox))
            .map_err(|error| failed(error.to_string()))?;
        // The thread of a slot that is rebuilt has ended or will never end; either way nobody waits for it.
        self.lock().insert(slot, SlotThread { jobs, thread });
        Ok(footprint)
    }

    fn submit(&self, job: Job) {
        let jobs = self.lock().get(&job.lease.slot()).map(|slot| slot.jobs.clone());
        let refused = match jobs {
            Some(jobs) => jobs
                .try_send(job)
                .err()
                .map(|(TrySendError::Full(job) | TrySendError::Disconnected(job))| job),
            None => Some(job),
        };
        if let Some(job) = refused {
            answer(job, Err(AsrError::SlotLost("its thread is not there".into())), Duration::ZERO);
        }
    }

    fn close(&self, slot: SlotId) {
        let Some(SlotThread { jobs, thread }) = self.lock().remove(&slot) else { return };
        drop(jobs);
        if thread.join().is_err() {
            error!(slot = slot.0, "slot thread had panicked");
        }
    }
}

/// Decodes jobs until the slot is closed or lost.
fn work(slot: SlotId, mut recognizer: Box<dyn Recognizer>, inbox: Receiver<Job>) {
    while let Ok(job) = inbox.recv() {
        if job.cancel.is_cancelled() {
            answer(job, Err(AsrError::Cancelled), Duration::ZERO);
            continue;
        }
        let since = Instant::now();
        let result = job
            .span
            .in_scope(|| info_span!("asr.decode", slot = slot.0).in_scope(|| decode(&mut *recognizer, &job)));
        let decode = since.elapsed();
        if let Ok(read) = &result {
            metrics::decoded(read.stability.into(), decode, job.utterance.span.duration());
        }
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

fn answer(job: Job, result: Result<Hypothesis, AsrError>, decode: Duration) {
    // If nobody listens any more, the lease comes back in the error and is dropped here.
    drop(job.reply.send(Outcome::new(job.lease, result, decode)));
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panicked: {}", text.as_deref().unwrap_or("without a message"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asr::{
        DecodeOptions, EncoderWindow, Lanes, ModelInfo, Segment, Stability, Supervisor, SupervisorSettings,
    };
    use crate::audio::{Span, Utterance};
    use crate::pool::{Class, FlowInfo};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::mpsc;
    use tokio_util::sync::CancellationToken;

    /// What the recognizer does, by the number of samples in the utterance.
    const ANSWERS: u64 = 1;
    const PANICS: u64 = 2;
    const FAILS: u64 = 3;
    const WORKS_UNTIL_CANCELLED: u64 = 4;
    const PANICS_WHEN_CANCELLED: u64 = 5;

    struct Scripted {
        began: mpsc::UnboundedSender<SlotId>,
        slot: SlotId,
    }

    impl Recognizer for Scripted {
        fn recognize(
            &mut self,
            utterance: &Utterance,
            _options: &DecodeOptions,
            cancel: &CancellationToken,
            _on_segment: &mut dyn FnMut(Segment),
        ) -> Result<Hypothesis, AsrError> {
            // Not every test listens.
            let _ = self.began.send(self.slot);
            match utterance.span.len() {
                PANICS => panic!("as scripted"),
                FAILS => Err(AsrError::Decode("as scripted".into())),
                script @ (WORKS_UNTIL_CANCELLED | PANICS_WHEN_CANCELLED) => {
                    while !cancel.is_cancelled() {
                        std::thread::yield_now();
                    }
                    assert_ne!(script, PANICS_WHEN_CANCELLED, "as scripted");
                    Err(AsrError::Cancelled)
                }
                _ => Ok(Hypothesis {
                    segments: Vec::new(),
                    language: "en".into(),
                    stability: Stability::Final,
                }),
            }
        }
    }

    struct Factory {
        began: mpsc::UnboundedSender<SlotId>,
        made: Arc<AtomicUsize>,
    }

    impl RecognizerFactory for Factory {
        fn make(&self, slot: SlotId) -> Result<(Box<dyn Recognizer>, Footprint), AsrError> {
            self.made.fetch_add(1, Ordering::SeqCst);
            Ok((Box::new(Scripted { began: self.began.clone(), slot }), Footprint::default()))
        }
    }

    struct Bench {
        supervisor: Supervisor,
        began: mpsc::UnboundedReceiver<SlotId>,
        made: Arc<AtomicUsize>,
    }

    async fn bench(slots: u16) -> Bench {
        let (began_tx, began) = mpsc::unbounded_channel();
        let made = Arc::new(AtomicUsize::new(0));
        let engine = Arc::new(ThreadEngine::new(Factory { began: began_tx, made: Arc::clone(&made) }));
        let model = ModelInfo { name: "scripted".into(), multilingual: false, window: EncoderWindow::Fit };
        let settings = SupervisorSettings::fixed(slots);
        let supervisor = Supervisor::start(engine, model, settings).await.expect("scripted slots open");
        Bench { supervisor, began, made }
    }

    async fn transcribe(lanes: &Lanes, script: u64) -> Result<(), AsrError> {
        let span = Span::new(0, script);
        let utterance = Arc::new(Utterance { span, speech: span, samples: vec![0.0; script as usize] });
        lanes
            .open(FlowInfo::request("test"))
            .transcribe(utterance, DecodeOptions::default(), Class::Final, None)
            .await
            .map(drop)
    }

    #[tokio::test]
    async fn a_panic_costs_one_slot_for_a_moment_and_nobody_else() {
        let Bench { supervisor, made, .. } = bench(1).await;
        let error = transcribe(supervisor.lanes(), PANICS).await.unwrap_err();
        assert!(matches!(&error, AsrError::SlotLost(reason) if reason.contains("as scripted")), "{error}");
        transcribe(supervisor.lanes(), ANSWERS).await.expect("the slot was rebuilt");
        assert_eq!(made.load(Ordering::SeqCst), 3, "the first, and one after each of the two attempts");
        supervisor.stop().await;
    }

    #[tokio::test]
    async fn a_failed_decode_keeps_its_slot() {
        let Bench { supervisor, made, .. } = bench(1).await;
        let error = transcribe(supervisor.lanes(), FAILS).await.unwrap_err();
        assert_eq!(error.code(), "decode_failed");
        transcribe(supervisor.lanes(), ANSWERS).await.expect("the slot still works");
        assert_eq!(made.load(Ordering::SeqCst), 1);
        supervisor.stop().await;
    }

    #[tokio::test]
    async fn a_caller_that_vanishes_ends_its_decode_and_the_slot_comes_back() {
        let Bench { supervisor, mut began, .. } = bench(1).await;
        let lanes = supervisor.lanes().clone();
        let caller = tokio::spawn(async move { transcribe(&lanes, WORKS_UNTIL_CANCELLED).await });
        began.recv().await.expect("the decode began");
        caller.abort();
        transcribe(supervisor.lanes(), ANSWERS).await.expect("the slot came back");
        assert_eq!(supervisor.lanes().allocator().slots().idle, 1);
        supervisor.stop().await;
    }

    #[tokio::test]
    async fn a_slot_that_is_lost_after_its_caller_vanished_is_rebuilt_before_anybody_gets_it() {
        let Bench { supervisor, mut began, made } = bench(1).await;
        let lanes = supervisor.lanes().clone();
        let caller = tokio::spawn(async move { transcribe(&lanes, PANICS_WHEN_CANCELLED).await });
        began.recv().await.expect("the decode began");
        caller.abort();
        transcribe(supervisor.lanes(), ANSWERS).await.expect("the rebuilt slot works");
        assert_eq!(made.load(Ordering::SeqCst), 2);
        supervisor.stop().await;
    }

    #[tokio::test]
    async fn all_slots_decode_at_the_same_time() {
        let Bench { supervisor, mut began, .. } = bench(3).await;
        let callers: Vec<_> = (0..3)
            .map(|_| {
                let lanes = supervisor.lanes().clone();
                tokio::spawn(async move { transcribe(&lanes, WORKS_UNTIL_CANCELLED).await })
            })
            .collect();
        let mut slots = Vec::new();
        for _ in 0..3 {
            slots.push(began.recv().await.expect("three decodes begin though none has ended"));
        }
        slots.sort();
        assert_eq!(slots, [SlotId(0), SlotId(1), SlotId(2)]);
        callers.iter().for_each(tokio::task::JoinHandle::abort);
        supervisor.stop().await;
    }
}
