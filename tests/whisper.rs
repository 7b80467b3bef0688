//! The real engine with the demo model on recorded speech.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use stenopool::asr::fake;
use stenopool::asr::{
    AsrError, DecodeOptions, EncoderWindow, Lanes, Recognizer, RecognizerFactory as _, Stability, Supervisor,
    ThreadEngine, Timestamps, WeightsSource, Whisper, WhisperSettings,
};
use stenopool::audio::{Span, Utterance};
use stenopool::pool::{Class, FlowInfo, SlotId};
use tokio_util::sync::CancellationToken;

fn eval(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings/eval").join(file)
}

fn weights() -> &'static [u8] {
    static WEIGHTS: OnceLock<Vec<u8>> = OnceLock::new();
    WEIGHTS.get_or_init(stenopool::store::demo_weights)
}

fn utterance(file: &str) -> Arc<Utterance> {
    let mut reader = hound::WavReader::open(eval(file)).expect("a WAV file");
    let samples: Vec<f32> =
        reader.samples::<i16>().map(|sample| f32::from(sample.unwrap()) / 32_768.0).collect();
    let span = Span::new(16_000, 16_000 + samples.len() as u64);
    Arc::new(Utterance::spoken(span, samples))
}

async fn start(window: EncoderWindow, settings: WhisperSettings, slots: u16) -> Supervisor {
    let (whisper, model) =
        Whisper::load("demo.en", WeightsSource::Bytes(weights()), window, settings).unwrap();
    let settings = fake::fixed(slots);
    Supervisor::start(fake::alone(Arc::new(ThreadEngine::new(whisper))), model, settings).await.unwrap()
}

async fn text(lanes: &Lanes, file: &str, options: DecodeOptions) -> String {
    let transcript = lanes
        .open(FlowInfo::request("test"))
        .transcribe(utterance(file), options, Class::Final, None)
        .await
        .unwrap();
    transcript.hypothesis.text()
}

const TIMER: (&str, &str) = ("seen-voice-000.wav", "Set a timer for fifteen minutes.");
const DIGITS: (&str, &str) = ("human-digits-004.wav", "Five six.");

#[tokio::test]
async fn speech_becomes_the_right_text_in_both_encoder_windows() {
    for window in [EncoderWindow::Fit, EncoderWindow::Full] {
        let supervisor = start(window, WhisperSettings::default(), 1).await;
        for (file, expected) in [TIMER, DIGITS] {
            assert_eq!(
                text(supervisor.lanes(), file, DecodeOptions::default()).await,
                expected,
                "{window:?}"
            );
        }
        supervisor.stop().await;
    }
}

#[tokio::test]
async fn beams_and_candidates_read_the_same_clear_speech() {
    let settings = WhisperSettings { beam: 3, best_of: 3, ..WhisperSettings::default() };
    let supervisor = start(EncoderWindow::Fit, settings, 1).await;
    assert_eq!(text(supervisor.lanes(), TIMER.0, DecodeOptions::default()).await, TIMER.1);
    supervisor.stop().await;
}

#[tokio::test]
async fn slots_decode_side_by_side_without_mixing_their_texts() {
    let supervisor = start(EncoderWindow::Fit, WhisperSettings::default(), 2).await;
    let lanes = supervisor.lanes();
    for _ in 0..4 {
        let (timer, digits) = tokio::join!(
            text(lanes, TIMER.0, DecodeOptions::default()),
            text(lanes, DIGITS.0, DecodeOptions::default())
        );
        assert_eq!((timer.as_str(), digits.as_str()), (TIMER.1, DIGITS.1));
    }
    supervisor.stop().await;
}

#[tokio::test]
async fn words_lie_in_order_inside_their_segment_and_the_segment_where_it_was_said() {
    let supervisor = start(EncoderWindow::Fit, WhisperSettings::default(), 1).await;
    let options = DecodeOptions { timestamps: Timestamps::Word, ..DecodeOptions::default() };
    let utterance = utterance(TIMER.0);
    let transcript = supervisor
        .lanes()
        .open(FlowInfo::request("test"))
        .transcribe(utterance, options, Class::Final, None)
        .await
        .unwrap();
    let segment = &transcript.hypothesis.segments[0];
    // The recording's label says 0.13 to 2.59 s; it lies one second into its stream.
    assert!((segment.span.start_seconds() - 1.13).abs() < 0.1, "{segment:?}");
    assert!((segment.span.end_seconds() - 3.59).abs() < 0.1, "{segment:?}");
    let words: Vec<_> = segment.words.iter().map(|word| word.text.as_str()).collect();
    assert_eq!(words, ["Set", "a", "timer", "for", "fifteen", "minutes."]);
    for pair in segment.words.windows(2) {
        assert!(pair[0].span.end <= pair[1].span.start, "{pair:?}");
    }
    assert!(
        segment
            .words
            .iter()
            .all(|word| word.span.start >= segment.span.start && word.span.end <= segment.span.end)
    );
    supervisor.stop().await;
}

#[tokio::test]
async fn silence_gives_no_text() {
    let supervisor = start(EncoderWindow::Fit, WhisperSettings::default(), 1).await;
    for timestamps in [Timestamps::None, Timestamps::Segment] {
        let options = DecodeOptions { timestamps, ..DecodeOptions::default() };
        assert_eq!(text(supervisor.lanes(), "silence-noise-000.wav", options).await, "");
    }
    supervisor.stop().await;
}

#[test]
fn an_abort_ends_a_decode_and_the_slot_goes_on_working() {
    let (whisper, _) = Whisper::load(
        "demo.en",
        WeightsSource::Bytes(weights()),
        EncoderWindow::Fit,
        WhisperSettings::default(),
    )
    .unwrap();
    let (mut recognizer, _) = whisper.make(SlotId(0)).unwrap();
    let mut decode = |cancel: &CancellationToken| {
        recognizer.recognize(&utterance(TIMER.0), &DecodeOptions::default(), cancel, &mut |_| {})
    };
    // Nobody looks at the token but whisper.cpp, through the callback: if that did not work, this would be a text.
    let cancelled = CancellationToken::new();
    cancelled.cancel();
    assert!(matches!(decode(&cancelled), Err(AsrError::Cancelled)));
    assert_eq!(decode(&CancellationToken::new()).unwrap().text(), TIMER.1);
}

/// How many tokens were made.
fn made(recognizer: &mut dyn Recognizer, file: &str, options: &DecodeOptions) -> usize {
    let read =
        recognizer.recognize(&utterance(file), options, &CancellationToken::new(), &mut |_| {}).unwrap();
    read.segments.iter().map(|segment| segment.tokens.len()).sum()
}

fn bounded(max_tokens: Option<u16>) -> Box<dyn Recognizer> {
    let settings = WhisperSettings { max_tokens, ..WhisperSettings::default() };
    Whisper::load("demo.en", WeightsSource::Bytes(weights()), EncoderWindow::Fit, settings)
        .unwrap()
        .0
        .make(SlotId(0))
        .unwrap()
        .0
}

#[test]
fn a_bound_on_tokens_holds_for_every_kind_of_decode() {
    let (mut free, mut bounded) = (bounded(None), bounded(Some(3)));
    for timestamps in [Timestamps::None, Timestamps::Segment, Timestamps::Word] {
        for stability in [Stability::Interim, Stability::Final] {
            let options = DecodeOptions { timestamps, stability, ..DecodeOptions::default() };
            for file in [TIMER.0, "long-000.wav"] {
                let (least, most) = (made(&mut *free, file, &options), made(&mut *bounded, file, &options));
                assert!(
                    (1..=3).contains(&most) && least > 3,
                    "{file} {timestamps:?} {stability:?}: {most} {least}"
                );
                // What this decode alone is told counts where it is less, and only there.
                let told = |max_tokens| DecodeOptions { max_tokens: Some(max_tokens), ..options.clone() };
                assert!(made(&mut *bounded, file, &told(2)) <= 2);
                assert!(made(&mut *bounded, file, &told(100)) <= 3);
                assert!(made(&mut *free, file, &told(2)) <= 2);
            }
        }
    }
}

#[tokio::test]
async fn a_prompt_with_strange_characters_and_any_length_is_taken() {
    let supervisor = start(EncoderWindow::Fit, WhisperSettings::default(), 1).await;
    for prompt in [String::new(), "\0".into(), "é".repeat(3_000), "Turn on the light. ".repeat(400)] {
        let options = DecodeOptions { prompt: Some(prompt), ..DecodeOptions::default() };
        let transcript = supervisor
            .lanes()
            .open(FlowInfo::request("test"))
            .transcribe(utterance(TIMER.0), options, Class::Final, None)
            .await;
        transcript.expect("a prompt never fails a decode");
    }
    supervisor.stop().await;
}

#[test]
fn a_file_that_is_no_model_is_refused_with_its_name() {
    let error = Whisper::load(
        "junk",
        WeightsSource::Bytes(b"not a model"),
        EncoderWindow::Full,
        WhisperSettings::default(),
    );
    let Err(error) = error else { panic!("junk was loaded") };
    assert_eq!((error.code(), error.to_string().contains("junk")), ("model_unusable", true));
}

#[test]
fn weights_that_are_damaged_behind_a_sound_header_fail_the_warm_up() {
    let mut weights = weights().to_vec();
    // A tensor's name stands right before its numbers, which here are f32: all bits set is no number.
    let name = b"encoder.positional_embedding";
    let data = weights.windows(name.len()).position(|window| window == name).unwrap() + name.len();
    weights[data..data + 100_000].fill(0xff);
    let loaded = Whisper::load(
        "damaged",
        WeightsSource::Bytes(&weights),
        EncoderWindow::Fit,
        WhisperSettings::default(),
    );
    let opened = loaded.and_then(|(whisper, _)| whisper.make(SlotId(0)).map(drop));
    assert!(matches!(opened, Err(AsrError::Open { .. } | AsrError::Load { .. })), "{:?}", opened.err());
}
