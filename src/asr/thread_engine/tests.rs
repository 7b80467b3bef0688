use super::*;
use crate::asr::fake;
use crate::asr::{
    DecodeOptions, EncoderWindow, Hypothesis, JobLimits, LaneSettings, Lanes, ModelInfo, Segment, Stability,
    Supervisor,
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
const IGNORES_CANCELLATION: u64 = 6;

struct Scripted {
    began: mpsc::UnboundedSender<SlotId>,
    gate: CancellationToken,
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
            IGNORES_CANCELLATION => {
                while !self.gate.is_cancelled() {
                    std::thread::yield_now();
                }
                Err(AsrError::Cancelled)
            }
            _ => Ok(Hypothesis { segments: Vec::new(), language: "en".into(), stability: Stability::Final }),
        }
    }
}

struct Factory {
    began: mpsc::UnboundedSender<SlotId>,
    gate: CancellationToken,
    made: Arc<AtomicUsize>,
}

impl RecognizerFactory for Factory {
    fn make(&self, slot: SlotId) -> Result<(Box<dyn Recognizer>, Footprint), AsrError> {
        self.made.fetch_add(1, Ordering::SeqCst);
        let (began, gate) = (self.began.clone(), self.gate.clone());
        Ok((Box::new(Scripted { began, gate, slot }), Footprint::default()))
    }
}

struct Bench {
    supervisor: Supervisor,
    engine: Arc<ThreadEngine>,
    /// Ends the decodes that ignore their cancellation.
    gate: CancellationToken,
    began: mpsc::UnboundedReceiver<SlotId>,
    made: Arc<AtomicUsize>,
}

async fn bench(slots: u16) -> Bench {
    let (began_tx, began) = mpsc::unbounded_channel();
    let made = Arc::new(AtomicUsize::new(0));
    let gate = CancellationToken::new();
    let factory = Factory { began: began_tx, gate: gate.clone(), made: Arc::clone(&made) };
    let engine = Arc::new(ThreadEngine::new(factory));
    let model = ModelInfo { name: "scripted".into(), multilingual: false, window: EncoderWindow::Fit };
    let settings = fake::fixed(slots);
    let supervisor =
        Supervisor::start(fake::alone(engine.clone()), model, settings).await.expect("scripted slots open");
    Bench { supervisor, engine, gate, began, made }
}

async fn transcribe(lanes: &Lanes, script: u64) -> Result<(), AsrError> {
    let span = Span::new(0, script);
    let utterance = Arc::new(Utterance::spoken(span, vec![0.0; script as usize]));
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
    let Bench { supervisor, mut began, made, .. } = bench(1).await;
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

/// Lanes that wait for nothing when a decode is to be stopped.
fn impatient(supervisor: &Supervisor) -> Lanes {
    let limits = JobLimits { abort_grace: Duration::ZERO, ..JobLimits::default() };
    supervisor.lanes().clone().with_settings(LaneSettings { limits, ..LaneSettings::default() })
}

async fn until_none_is_stuck(engine: &ThreadEngine) {
    let gone = async {
        while engine.stuck() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.expect("the thread ends");
}

#[tokio::test]
async fn a_slot_is_rebuilt_while_its_old_thread_is_stuck() {
    let Bench { supervisor, engine, gate, mut began, made } = bench(1).await;
    let lanes = impatient(&supervisor);
    let caller = tokio::spawn(async move { transcribe(&lanes, IGNORES_CANCELLATION).await });
    began.recv().await.expect("the decode began");
    caller.abort();
    transcribe(supervisor.lanes(), ANSWERS).await.expect("the rebuilt slot works");
    assert_eq!((made.load(Ordering::SeqCst), engine.stuck()), (2, 1));
    gate.cancel();
    until_none_is_stuck(&engine).await;
    assert_eq!(supervisor.lanes().allocator().slots().idle, 1, "its late return gives nothing back");
    supervisor.stop().await;
}

#[tokio::test]
async fn the_end_does_not_wait_for_a_stuck_thread() {
    let Bench { supervisor, engine, gate, mut began, .. } = bench(2).await;
    let lanes = impatient(&supervisor);
    let caller = tokio::spawn(async move { transcribe(&lanes, IGNORES_CANCELLATION).await });
    began.recv().await.expect("the decode began");
    let stopping = tokio::spawn(supervisor.stop());
    caller.abort();
    stopping.await.expect("it ends, though the decode does not");
    assert_eq!(engine.stuck(), 1);
    gate.cancel();
    until_none_is_stuck(&engine).await;
}
