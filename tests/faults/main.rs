//! Recognizers that hang, panic or give nothing but errors, under a whole server with real sockets and slot threads:
//! nobody loses a word, and the capacity comes back by itself.

#[expect(dead_code, reason = "shared with the tests of the protocol, which need more of it")]
#[path = "../realtime/client.rs"]
mod client;
#[expect(dead_code, reason = "shared with the tests of the protocol, which need more of it")]
#[path = "../realtime/server.rs"]
mod server;

use client::{Client, voice};
use serde_json::{Value, json};
use server::{PATIENCE, Served, settings};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use stenopool::asr::fake;
use stenopool::asr::{
    AsrError, DecodeOptions, EncoderWindow, Hypothesis, JobLimits, LaneSettings, ModelInfo, Recognizer,
    RecognizerFactory, Segment, Stability, Supervisor, SupervisorSettings, ThreadEngine,
};
use stenopool::audio::Utterance;
use stenopool::gpu::Footprint;
use stenopool::pool::SlotId;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How loud the utterances are that meet a fault, in hundredths.
const HANGS: u8 = 20;
const PANICS: u8 = 30;
const BREAKS_THE_SLOT: u8 = 40;

const COMPLETED: &str = "conversation.item.input_audio_transcription.completed";

/// What all recognizers of a server share.
#[derive(Default)]
struct Faults {
    hung: AtomicBool,
    panicked: AtomicBool,
    broken: AtomicBool,
    made: AtomicUsize,
    /// Opened at the end, so that the thread that hangs can end, too.
    gate: (Mutex<bool>, Condvar),
}

impl Faults {
    /// Whether this has never happened before.
    fn is_first(fault: &AtomicBool) -> bool {
        !fault.swap(true, Ordering::SeqCst)
    }

    fn hang(&self) {
        let (open, opened) = &self.gate;
        let open = open.lock().expect("nobody panics while it is locked");
        drop(opened.wait_while(open, |open| !*open).expect("nobody panics while it is locked"));
    }

    fn open_the_gate(&self) {
        *self.gate.0.lock().expect("nobody panics while it is locked") = true;
        self.gate.1.notify_all();
    }
}

/// Reads `heard N` for a loudness of N hundredths. Each fault strikes once; a slot that it broke fails at everything.
struct Faulty {
    faults: Arc<Faults>,
    broken: bool,
}

impl Recognizer for Faulty {
    fn recognize(
        &mut self,
        utterance: &Utterance,
        _options: &DecodeOptions,
        _cancel: &CancellationToken,
        _on_segment: &mut dyn FnMut(Segment),
    ) -> Result<Hypothesis, AsrError> {
        let peak = utterance.samples.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
        let peak = (peak * 100.0).round() as u8;
        if peak == HANGS && Faults::is_first(&self.faults.hung) {
            self.faults.hang();
        }
        assert!(peak != PANICS || !Faults::is_first(&self.faults.panicked), "as scripted");
        self.broken |= peak == BREAKS_THE_SLOT && Faults::is_first(&self.faults.broken);
        if self.broken {
            return Err(AsrError::Decode("garbage".into()));
        }
        let text = format!("heard {peak}");
        let (span, tokens, words) = (utterance.span, Vec::new(), Vec::new());
        let segment =
            Segment { text, span, tokens, words, avg_logprob: 0.0, no_speech_prob: None, temperature: 0.0 };
        Ok(Hypothesis { segments: vec![segment], language: "en".into(), stability: Stability::Final })
    }
}

struct Factory(Arc<Faults>);

impl RecognizerFactory for Factory {
    fn make(&self, _slot: SlotId) -> Result<(Box<dyn Recognizer>, Footprint), AsrError> {
        self.0.made.fetch_add(1, Ordering::SeqCst);
        Ok((Box::new(Faulty { faults: Arc::clone(&self.0), broken: false }), Footprint::default()))
    }
}

/// Two slots, whose decodes have a fifth of a second, and a tenth more to stop.
async fn supervise(faults: &Arc<Faults>) -> Supervisor {
    let (shortest, abort_grace) = (Duration::from_millis(200), Duration::from_millis(100));
    let lanes =
        LaneSettings { limits: JobLimits { shortest, factor: 0, abort_grace }, ..LaneSettings::default() };
    let settings = SupervisorSettings { lanes, ..fake::fixed(2) };
    let model = ModelInfo { name: "faulty".into(), multilingual: false, window: EncoderWindow::Fit };
    let engine = Arc::new(ThreadEngine::new(Factory(Arc::clone(faults))));
    Supervisor::start(fake::alone(engine), model, settings).await.expect("recognizers can be made")
}

/// Says utterances of this loudness one after the other, and gives what was heard.
async fn converse(served: &Served, peaks: &[u8]) -> Vec<Value> {
    let mut client = Client::connect(served, "?intent=transcription").await;
    let manual = json!({ "audio": { "input": { "turn_detection": null } } });
    client.send(&json!({ "type": "session.update", "session": manual })).await;
    let mut heard = Vec::new();
    for peak in peaks {
        client.send_bytes(voice(*peak, 200)).await;
        client.send(&json!({ "type": "input_audio_buffer.commit" })).await;
        let completed = client.until(COMPLETED).await.pop().expect("the event that was waited for");
        heard.push(completed["transcript"].clone());
    }
    heard
}

fn said(peaks: &[u8]) -> Vec<Value> {
    peaks.iter().map(|peak| format!("heard {peak}").into()).collect()
}

/// Two talk at once, and nobody loses a word.
async fn both_slots_read(served: &Served) {
    let (one, other) = ([60, 61, 62], [70, 71, 72]);
    let heard = tokio::join!(converse(served, &one), converse(served, &other));
    assert_eq!(heard, (said(&one), said(&other)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recognizers_that_hang_panic_or_break_cost_nobody_a_word_and_capacity_returns() {
    let faults = Arc::<Faults>::default();
    let supervisor = supervise(&faults).await;
    let served = server::serve_lanes(supervisor.lanes().clone(), settings(), PATIENCE).await;
    served.until(|pool| pool.slots.idle == 2).await;
    let mut unlucky = vec![17, HANGS, 11, PANICS, 12, BREAKS_THE_SLOT];
    unlucky.extend(85..95);
    let bystander: Vec<u8> = (50..80).collect();
    let (first, second) = tokio::join!(converse(&served, &unlucky), converse(&served, &bystander));
    assert_eq!(first, said(&unlucky));
    assert_eq!(second, said(&bystander));
    // The slot that broke is found out by three failures; which slot reads what is left to the pool.
    let found_out = async {
        while faults.made.load(Ordering::SeqCst) < 5 {
            both_slots_read(&served).await;
        }
    };
    timeout(PATIENCE, found_out).await.expect("the slot that broke is rebuilt");
    served.until(|pool| (pool.slots.idle, pool.slots.total, pool.queue.depth()) == (2, 2, 0)).await;
    let lost = faults.made.load(Ordering::SeqCst) - 2;
    assert_eq!(lost, 3, "the one that hung, the one that panicked and the one that broke are rebuilt");
    both_slots_read(&served).await;
    faults.open_the_gate();
    supervisor.stop().await;
}
