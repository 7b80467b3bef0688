//! Many ears on real threads: nobody disturbs, delays or hears anybody else.

use super::*;
use crate::audio::{Frame, SampleRate, Span, StreamFormat, Utterance};
use crate::vad::fake::FakeDetector;
use crate::vad::recorded::{recording, silero};
use crate::vad::{Cut, EndpointSettings, VadState};
use futures_util::future::join_all;
use proptest::prelude::*;
use std::future::Future;
use std::sync::mpsc as blocking;
use std::time::Duration;
use tokio::task::yield_now;

const PCM16: StreamFormat = StreamFormat::Pcm16 { rate: SampleRate::SPEECH };

fn ear() -> Ear {
    Ear::new(PCM16, EndpointSettings::default())
}

fn manual_ear() -> Ear {
    Ear::new(PCM16, EndpointSettings { automatic: false, ..EndpointSettings::default() })
}

fn frontend(detector: impl Detector + 'static) -> Frontend {
    Frontend::start(vec![Box::new(detector)])
}

/// Silence that can be heard.
const HISS: f32 = 0.01;

/// A loud second between two silent ones, for [`FakeDetector`].
fn talk(loudness: f32) -> Vec<f32> {
    [0.0, loudness, 0.0].iter().flat_map(|sample| vec![*sample; 16_000]).collect()
}

fn bytes(samples: &[f32]) -> Vec<u8> {
    samples.iter().flat_map(|sample| ((sample * 32_768.0) as i16).to_le_bytes()).collect()
}

/// Everything that `ear` hears in `inputs` and a commit at their end.
async fn hear_all(frontend: &Frontend, mut ear: Ear, inputs: Vec<EarInput>) -> Vec<EndpointEvent> {
    let mut events = Vec::new();
    for input in inputs.into_iter().chain([EarInput::Commit]) {
        let (home, heard) = frontend.hear(ear, input).await.unwrap();
        ear = home;
        events.extend(heard.unwrap());
    }
    events
}

/// `samples` in chunks of the given sizes, over and over.
fn chunks<T: Clone>(samples: &[T], sizes: &[usize]) -> Vec<Vec<T>> {
    let mut rest = samples;
    let mut sizes = sizes.iter().cycle();
    let next = || {
        let (chunk, behind) = rest.split_at((*sizes.next()?).min(rest.len()));
        rest = behind;
        (!chunk.is_empty()).then(|| chunk.to_vec())
    };
    std::iter::from_fn(next).collect()
}

fn samples_in_chunks(samples: &[f32], sizes: &[usize]) -> Vec<EarInput> {
    chunks(samples, sizes).into_iter().map(EarInput::Samples).collect()
}

fn utterances<'e>(events: &'e [EndpointEvent]) -> Vec<&'e Utterance> {
    let utterance = |event: &'e EndpointEvent| match event {
        EndpointEvent::Utterance(utterance, _) => Some(utterance),
        _ => None,
    };
    events.iter().filter_map(utterance).collect()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Fails if a sample is lost, doubled or moved at the seam between two chunks.
    #[test]
    fn events_do_not_depend_on_how_speech_was_cut_into_chunks(
        sizes in prop::collection::vec(1_usize..9_000, 1..8),
        automatic in any::<bool>(),
    ) {
        let speech = recording("speech/jfk");
        let frontend = frontend(silero());
        let settings = EndpointSettings { automatic, longest: Duration::from_secs(5), ..EndpointSettings::default() };
        let listen = |inputs| hear_all(&frontend, Ear::new(PCM16, settings.clone()), inputs);
        let whole = block_on(listen(vec![EarInput::Samples(speech.clone())]));
        prop_assert!(utterances(&whole).len() > 2, "{whole:?}");
        prop_assert_eq!(&whole, &block_on(listen(samples_in_chunks(&speech, &sizes))));
        prop_assert_eq!(&whole, &block_on(listen(samples_in_chunks(&speech, &[speech.len() - 1, 1]))));
    }

    /// Fails if a chunk of bytes is decoded with a seam, or if a commit forgets what the resampler holds back.
    #[test]
    fn events_do_not_depend_on_how_bytes_were_cut_into_chunks(sizes in prop::collection::vec(1_usize..5_000, 1..8)) {
        let frontend = frontend(FakeDetector);
        let rate = SampleRate::new(24_000).unwrap();
        let ear = || Ear::new(StreamFormat::Pcm16 { rate }, EndpointSettings::default());
        let stream = bytes(&[talk(0.5), talk(0.8), vec![0.5; 7_777]].concat());
        let sizes: Vec<usize> = sizes.into_iter().map(|samples| 2 * samples).collect();
        let pieces = chunks(&stream, &sizes).into_iter().map(EarInput::Bytes).collect();
        let whole = block_on(hear_all(&frontend, ear(), vec![EarInput::Bytes(stream)]));
        prop_assert_eq!(&whole, &block_on(hear_all(&frontend, ear(), pieces)));
        prop_assert_eq!(utterances(&whole).len(), 3);
        let end = utterances(&whole)[2].span.end;
        prop_assert!(end.abs_diff((96_000 + 7_777) * 2 / 3) <= 2, "the stream ends at {end}");
    }
}

#[tokio::test]
async fn ears_at_the_same_time_hear_their_own_speech_only() {
    let names = ["long-000", "long-003", "human-digits-009", "seen-voice-000", "seen-voice-004"];
    let names = names.map(|name| format!("eval/{name}"));
    let others = ["eval/unseen-voice-001", "eval/silence-noise-003", "speech/jfk"];
    let recordings: Vec<Vec<f32>> = names.iter().map(String::as_str).chain(others).map(recording).collect();
    let frontend = Frontend::start(vec![Box::new(silero()), Box::new(silero())]);
    let listen = |speech| hear_all(&frontend, ear(), samples_in_chunks(speech, &[320]));
    let heard = join_all(recordings.iter().map(|speech| listen(speech))).await;
    for (index, (speech, events)) in recordings.iter().zip(&heard).enumerate() {
        assert_eq!(utterances(events).is_empty(), index == 6, "only noise has no speech: {events:?}");
        for utterance in utterances(events) {
            let span = utterance.span.start as usize..utterance.span.end as usize;
            assert!(utterance.samples == speech[span], "recording {index}: {:?}", utterance.span);
        }
    }
}

#[tokio::test]
async fn a_commit_cuts_to_the_last_sample() {
    let frontend = frontend(FakeDetector);
    let (ear, events) = frontend.hear(manual_ear(), EarInput::Samples(vec![0.5; 1_300])).await.unwrap();
    assert!(events.unwrap().is_empty());
    assert_eq!((ear.position(), ear.pending()), (1_300, 1_300));
    let (ear, events) = frontend.hear(ear, EarInput::Commit).await.unwrap();
    let events = events.unwrap();
    assert!(matches!(&events[..], [EndpointEvent::Utterance(_, Cut::Commit)]), "{events:?}");
    assert_eq!((utterances(&events)[0].span.end, utterances(&events)[0].speech.len()), (1_300, 1_300));
    assert_eq!((ear.position(), ear.pending()), (1_300, 0));
}

#[tokio::test]
async fn a_commit_into_silence_leaves_the_stream_as_it_is() {
    let frontend = frontend(FakeDetector);
    let silence = || EarInput::Samples(vec![0.0; 5_000]);
    let inputs = vec![silence(), EarInput::Commit, EarInput::Samples(vec![0.5; 16_000])];
    let events = hear_all(&frontend, ear(), inputs).await;
    let start = utterances(&events)[0].span.start;
    assert!(start < 400, "the pre-roll of 300 ms begins at {start}");
}

#[tokio::test]
async fn a_clear_forgets_but_the_stream_goes_on() {
    let frontend = frontend(FakeDetector);
    let speech = || EarInput::Samples(vec![0.5; 1_300]);
    let (ear, _) = frontend.hear(manual_ear(), speech()).await.unwrap();
    let (ear, _) = frontend.hear(ear, EarInput::Clear).await.unwrap();
    assert_eq!((ear.position(), ear.pending()), (1_300, 0));
    let events = hear_all(&frontend, ear, vec![speech()]).await;
    let span = utterances(&events)[0].span;
    assert_eq!((span.start, span.end), (1_300, 2_600));
}

#[tokio::test]
async fn silence_can_be_committed_and_counts_anew() {
    let frontend = frontend(FakeDetector);
    let (ear, _) = frontend.hear(ear(), EarInput::Samples(vec![HISS; 10_000])).await.unwrap();
    assert_eq!((ear.silence(), ear.position()), (19 * 512, 10_000), "whole frames of it");
    let (ear, events) = frontend.hear(ear, EarInput::CommitSilence).await.unwrap();
    let [EndpointEvent::Utterance(utterance, Cut::Silence)] = &events.unwrap()[..] else {
        panic!("nothing but an utterance is told")
    };
    assert_eq!((utterance.span.start, utterance.span.end), (0, 19 * 512));
    assert_eq!((utterance.samples.len(), utterance.voiced), (0, 0));
    assert_eq!((ear.silence(), ear.position()), (0, 10_000), "what is no whole frame stays");
    let (ear, _) = frontend.hear(ear, EarInput::Samples(vec![0.5; 16_000])).await.unwrap();
    let (ear, events) = frontend.hear(ear, EarInput::CommitSilence).await.unwrap();
    assert_eq!((events.unwrap().len(), ear.silence()), (0, 0), "somebody speaks");
}

#[tokio::test]
async fn what_was_said_so_far_can_be_looked_at() {
    let frontend = frontend(FakeDetector);
    let (mut ear, _) = frontend.hear(ear(), EarInput::Samples(vec![0.5; 16_000])).await.unwrap();
    let shown = ear.so_far(Span::new(512, u64::MAX)).unwrap();
    assert_eq!((shown.span.start, shown.span.end), (512, 31 * 512));
    assert_eq!((shown.voiced, ear.voiced_since(512)), (30 * 512, 30 * 512));
    ear.set_end_silence(Duration::from_millis(60));
    let (ear, _) = frontend.hear(ear, EarInput::Samples(vec![HISS; 16_000])).await.unwrap();
    assert_eq!((ear.so_far(Span::new(0, u64::MAX)), ear.voiced_since(0)), (None, 0));
}

#[tokio::test]
async fn half_a_sample_is_refused_and_leaves_no_trace() {
    let frontend = frontend(FakeDetector);
    let (ear, outcome) = frontend.hear(ear(), EarInput::Bytes(vec![0; 9_999])).await.unwrap();
    assert!(matches!(outcome, Err(AudioError::OddByteCount { bytes: 9_999 })), "{outcome:?}");
    assert_eq!(ear.position(), 0);
    assert_eq!(utterances(&hear_all(&frontend, ear, vec![EarInput::Samples(talk(0.5))]).await).len(), 1);
}

#[tokio::test]
async fn a_silent_ear_is_small() {
    let frontend = frontend(FakeDetector);
    let mut ear = ear();
    for input in samples_in_chunks(&[talk(0.5), vec![0.0; 160_100]].concat(), &[20_000, 320]) {
        ear = frontend.hear(ear, input).await.unwrap().0;
    }
    assert!(ear.bytes() <= 32 * 1024, "{} bytes", ear.bytes());
}

/// Waits for a permit before each run, and says of how many frames it was.
struct Gated {
    entered: tokio::sync::mpsc::UnboundedSender<usize>,
    permits: blocking::Receiver<()>,
}

/// The test's side of [`Gated`].
struct Warden {
    entered: tokio::sync::mpsc::UnboundedReceiver<usize>,
    permits: blocking::Sender<()>,
}

impl Warden {
    fn new() -> (Self, Gated) {
        let (tell, entered) = tokio::sync::mpsc::unbounded_channel();
        let (permits, wait) = blocking::channel();
        (Self { entered, permits }, Gated { entered: tell, permits: wait })
    }

    /// Waits until a run is about to begin: of how many frames.
    async fn run(&mut self) -> usize {
        self.entered.recv().await.unwrap()
    }

    fn permit(&self) {
        self.permits.send(()).unwrap();
    }
}

impl Detector for Gated {
    fn probabilities(
        &mut self,
        steps: &mut [(&mut VadState, &Frame)],
        out: &mut [f32],
    ) -> Result<(), VadError> {
        self.entered.send(steps.len()).ok();
        self.permits.recv().ok();
        FakeDetector.probabilities(steps, out)
    }
}

#[tokio::test]
async fn a_long_recording_does_not_delay_a_live_ear() {
    let (mut warden, detector) = Warden::new();
    let frontend = frontend(detector);
    let (file, live) = (frontend.clone(), frontend.clone());
    let hour = vec![HISS; 512 * 10_000];
    let file = tokio::spawn(async move { file.hear(ear(), EarInput::Samples(hour)).await });
    assert_eq!(warden.run().await, 1);
    let live = tokio::spawn(async move { live.hear(ear(), EarInput::Samples(vec![HISS; 512])).await });
    yield_now().await;
    warden.permit();
    assert_eq!(warden.run().await, 2, "the live ear joins in the very next run");
    warden.permit();
    live.await.unwrap().unwrap().1.unwrap();
    assert!(!file.is_finished());
    file.abort();
}

#[tokio::test]
async fn a_session_that_is_gone_does_not_disturb_others() {
    let (mut warden, detector) = Warden::new();
    let frontend = frontend(detector);
    let [leaving, staying] = [0, 1].map(|_| {
        let frontend = frontend.clone();
        tokio::spawn(async move { frontend.hear(ear(), EarInput::Samples(vec![HISS; 512 * 4])).await })
    });
    let together = loop {
        let frames = warden.run().await;
        if frames == 2 {
            break frames;
        }
        warden.permit();
    };
    assert_eq!(together, 2);
    leaving.abort();
    assert!(leaving.await.unwrap_err().is_cancelled());
    warden.permit();
    assert_eq!(warden.run().await, 1, "the ear of the session that left is dropped");
    drop(warden);
    assert!(staying.await.unwrap().unwrap().1.unwrap().is_empty());
}

/// Tells how many frames each run was of, and hears speech in loud ones.
struct Counting(blocking::Sender<usize>);

impl Detector for Counting {
    fn probabilities(
        &mut self,
        steps: &mut [(&mut VadState, &Frame)],
        out: &mut [f32],
    ) -> Result<(), VadError> {
        self.0.send(steps.len()).ok();
        FakeDetector.probabilities(steps, out)
    }
}

#[tokio::test]
async fn frames_without_sound_need_no_detector() {
    let (tell, runs) = blocking::channel();
    let frontend = frontend(Counting(tell));
    let heard = async |samples: Vec<f32>| {
        let events = hear_all(&frontend, ear(), samples_in_chunks(&samples, &[777])).await;
        (runs.try_iter().sum::<usize>(), utterances(&events).len())
    };
    let (silence, speech) = (vec![0.0; 512 * 100], vec![0.5; 512 * 10]);
    assert_eq!(heard(silence.clone()).await, (0, 0), "not even at the beginning");
    assert_eq!(heard(vec![2.0 / 32_768.0; 512 * 10]).await, (0, 0), "nor for less than can be heard");
    assert_eq!(heard(vec![HISS; 512 * 10]).await, (10, 0));
    let after_hiss = [vec![HISS; 512], silence.clone()].concat();
    assert_eq!(heard(after_hiss).await, (1, 0));
    let between = [silence.clone(), speech.clone(), silence.clone(), speech].concat();
    let end_silence = 16;
    assert_eq!(heard(between).await, (10 + end_silence + 10, 2), "until it is sure that nobody speaks");
}

#[tokio::test]
async fn an_hour_without_sound_does_not_delay_a_live_ear() {
    let (mut warden, detector) = Warden::new();
    let frontend = frontend(detector);
    let listen = |samples: Vec<f32>| {
        let frontend = frontend.clone();
        tokio::spawn(async move { frontend.hear(ear(), EarInput::Samples(samples)).await })
    };
    let live = listen(vec![HISS; 512 * 3]);
    assert_eq!(warden.run().await, 1);
    let hour = listen(vec![0.0; 512 * 112_500]);
    yield_now().await;
    for _ in 0..2 {
        warden.permit();
        assert_eq!(warden.run().await, 1, "only the live ear has anything to hear");
    }
    warden.permit();
    live.await.unwrap().unwrap().1.unwrap();
    let (ear, _) = hour.await.unwrap().unwrap();
    assert_eq!(ear.silence(), 512 * 112_500);
}

/// The real model: what stands still while nothing can be heard must hear as well as what listened all the time.
#[tokio::test]
async fn speech_after_silence_without_sound_is_heard_as_well() {
    let frontend = frontend(silero());
    let speech = recording("speech/jfk");
    let heard = async |background: f32| {
        let noise = (0..40_000_u32)
            .map(|n| background * (f64::from(n.wrapping_mul(2_654_435_761)) / 2_147_483_648.0 - 1.0) as f32);
        let stream = noise.chain(speech.iter().copied()).collect();
        hear_all(&frontend, ear(), vec![EarInput::Samples(stream)]).await
    };
    let (still, hissing) = (heard(0.0).await, heard(4.0 / 32_768.0).await);
    let (still, hissing) = (utterances(&still), utterances(&hissing));
    assert_eq!(still.len(), hissing.len());
    for (still, hissing) in still.iter().zip(hissing) {
        assert!(
            still.speech.start.abs_diff(hissing.speech.start) <= 512,
            "{:?}",
            (still.speech, hissing.speech)
        );
        assert!(still.speech.end.abs_diff(hissing.speech.end) <= 512, "{:?}", (still.speech, hissing.speech));
    }
}

/// How long the quickest of 20 such inputs takes to be heard.
async fn quickest(frontend: &Frontend, input: impl Fn() -> EarInput) -> Duration {
    let (mut ear, mut quickest) = (ear(), Duration::MAX);
    for _ in 0..20 {
        let since = Instant::now();
        ear = frontend.hear(ear, input()).await.unwrap().0;
        quickest = quickest.min(since.elapsed());
    }
    quickest
}

#[tokio::test]
async fn pieces_wait_for_each_other_where_many_stream() {
    const PATIENCE: Duration = Duration::from_millis(8);
    let frontend = frontend(FakeDetector);
    let piece = || EarInput::Bytes(bytes(&[HISS; 512]));
    assert!(quickest(&frontend, piece).await < PATIENCE, "nobody else is there");
    join_all((0..40).map(|_| frontend.hear(ear(), piece()))).await;
    assert!(quickest(&frontend, piece).await >= PATIENCE);
    assert!(quickest(&frontend, || EarInput::Commit).await < PATIENCE, "somebody waits for the answer");
    assert!(quickest(&frontend, || EarInput::Samples(vec![HISS; 512])).await < PATIENCE, "this is a file");
}

/// Fails or panics over a certain sample, and with it the whole run.
struct Choosy;

const POISON: f32 = 0.7;
const EXPLOSIVE: f32 = 0.8;

impl Detector for Choosy {
    fn probabilities(
        &mut self,
        steps: &mut [(&mut VadState, &Frame)],
        out: &mut [f32],
    ) -> Result<(), VadError> {
        let holds = |bad: f32| steps.iter().any(|(_, frame)| frame.contains(&bad));
        assert!(!holds(EXPLOSIVE), "this frame explodes");
        if holds(POISON) {
            return Err(VadError::Run("this frame is poison".to_owned()));
        }
        FakeDetector.probabilities(steps, out)
    }
}

#[tokio::test]
async fn a_frame_that_fails_costs_only_its_own_session() {
    let frontend = frontend(Choosy);
    let sounds = [0.2, POISON, 0.3, EXPLOSIVE, 0.4];
    let listen = |sound| frontend.hear(ear(), EarInput::Samples(talk(sound)));
    let outcomes = join_all(sounds.map(listen)).await;
    let codes: Vec<String> = outcomes
        .iter()
        .map(|outcome| outcome.as_ref().map_or_else(ToString::to_string, |_| "heard".to_owned()))
        .collect();
    let [poisoned, exploded] = ["this frame is poison", "panicked: this frame explodes"]
        .map(|why| format!("voice detection failed: {why}"));
    assert_eq!(codes, ["heard", &poisoned, "heard", &exploded, "heard"]);
    assert_eq!(utterances(&hear_all(&frontend, ear(), vec![EarInput::Samples(talk(0.5))]).await).len(), 1);
}

/// Tells when it is dropped, which happens when its thread ends.
struct Mortal(blocking::Sender<()>);

impl Detector for Mortal {
    fn probabilities(
        &mut self,
        steps: &mut [(&mut VadState, &Frame)],
        out: &mut [f32],
    ) -> Result<(), VadError> {
        FakeDetector.probabilities(steps, out)
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        self.0.send(()).ok();
    }
}

#[tokio::test]
async fn threads_end_with_the_last_handle() {
    let (tell, ended) = blocking::channel();
    let first = Frontend::start(vec![Box::new(Mortal(tell.clone())), Box::new(Mortal(tell))]);
    let second = first.clone();
    drop(first);
    assert_eq!(utterances(&hear_all(&second, ear(), samples_in_chunks(&talk(0.5), &[999])).await).len(), 1);
    assert!(ended.try_recv().is_err(), "a handle is left");
    drop(second);
    for _ in 0..2 {
        ended.recv_timeout(Duration::from_mins(1)).expect("a thread ends");
    }
}

#[tokio::test]
async fn a_frontend_without_threads_says_that_it_has_stopped() {
    let outcome = Frontend::start(Vec::new()).hear(ear(), EarInput::Commit).await;
    assert!(matches!(outcome, Err(FrontendError::Stopped)));
}
