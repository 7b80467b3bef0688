//! Silero on recorded speech with known segments, on noise, and on files that are no model.

use super::*;
use crate::vad::Gate;
use crate::vad::recorded::{asset, recording, silero};
use std::fs;

const FRAME_SECONDS: f64 = 0.032;

fn frames(name: &str) -> Vec<Frame> {
    recording(name).as_chunks().0.to_vec()
}

fn listen(silero: &mut Silero, frames: &[Frame]) -> Vec<f32> {
    let mut state = VadState::default();
    let mut probability = [0.0];
    let mut hear = |frame| {
        silero.probabilities(&mut [(&mut state, frame)], &mut probability).unwrap();
        probability[0]
    };
    frames.iter().map(&mut hear).collect()
}

/// Each labelled recording and its spans of speech in seconds.
fn labelled() -> Vec<(String, Vec<(f64, f64)>)> {
    let table = fs::read_to_string(asset("tests/recordings/eval/transcripts.tsv")).unwrap();
    let number = |text: &str| text.parse().unwrap();
    let span = |text: &str| text.split_once('-').map(|(start, end)| (number(start), number(end))).unwrap();
    let row = |line: &str| {
        let columns: Vec<&str> = line.split('\t').collect();
        let spans = columns[5].split('|').filter(|text| !text.is_empty()).map(span).collect();
        (format!("eval/{}", columns[0].trim_end_matches(".wav")), spans)
    };
    table.lines().skip(1).map(row).collect()
}

/// How many frames lie wholly inside speech or wholly outside (0.1 s around its edges count as neither), and how many of
/// them were heard rightly.
fn score(probabilities: &[f32], spans: &[(f64, f64)]) -> [(u32, u32); 2] {
    let [mut speech, mut silence] = [(0, 0); 2];
    for (index, probability) in probabilities.iter().enumerate() {
        let (start, end) = (index as f64 * FRAME_SECONDS, (index + 1) as f64 * FRAME_SECONDS);
        if spans.iter().any(|&(from, to)| from + 0.1 <= start && end <= to - 0.1) {
            speech.0 += 1;
            speech.1 += u32::from(*probability >= 0.5);
        } else if spans.iter().all(|&(from, to)| end <= from - 0.1 || to + 0.1 <= start) {
            silence.0 += 1;
            silence.1 += u32::from(*probability < 0.5);
        }
    }
    [speech, silence]
}

#[test]
fn speech_is_heard_where_the_labels_say() {
    let mut silero = silero();
    let [mut speech, mut silence] = [(0, 0); 2];
    for (file, spans) in labelled().iter().filter(|(_, spans)| !spans.is_empty()) {
        let probabilities = listen(&mut silero, &frames(file));
        let [heard, unheard] = score(&probabilities, spans);
        assert!(3 * heard.1 > heard.0, "{file}: frames of speech, heard: {heard:?}");
        speech = (speech.0 + heard.0, speech.1 + heard.1);
        silence = (silence.0 + unheard.0, silence.1 + unheard.1);
    }
    assert!(f64::from(speech.1) > 0.85 * f64::from(speech.0), "frames of speech, heard: {speech:?}");
    assert!(f64::from(silence.1) > 0.98 * f64::from(silence.0), "frames of silence, so heard: {silence:?}");
}

#[test]
fn no_speech_is_heard_in_silence_and_noise() {
    let mut silero = silero();
    for (file, _) in labelled().iter().filter(|(_, spans)| spans.is_empty()) {
        let mut gate = Gate::new(0.5, 16);
        let probabilities = listen(&mut silero, &frames(file));
        let began = probabilities.iter().filter_map(|probability| gate.push(*probability)).count();
        assert_eq!(began, 0, "{file}: {probabilities:?}");
    }
}

#[test]
fn a_batch_of_streams_gives_what_each_gives_alone() {
    let files = ["speech/jfk", "eval/long-000", "eval/human-digits-009"];
    let streams: Vec<Vec<Frame>> = files.iter().map(|file| frames(file)[..150].to_vec()).collect();
    let mut silero = silero();
    let alone: Vec<Vec<f32>> = streams.iter().map(|stream| listen(&mut silero, stream)).collect();
    let mut states = vec![VadState::default(); streams.len()];
    for index in 0..150 {
        let frames = streams.iter().map(|stream| &stream[index]);
        let mut steps: Vec<_> = states.iter_mut().zip(frames).collect();
        let mut together = vec![0.0; steps.len()];
        silero.probabilities(&mut steps, &mut together).unwrap();
        for (stream, probability) in together.iter().enumerate() {
            let difference = (alone[stream][index] - probability).abs();
            assert!(difference < 1e-4, "{} frame {index}: {difference}", files[stream]);
        }
    }
}

/// What the same model says about `jfk.wav` in ONNX Runtime's Python binding, one frame at a time.
fn reference() -> Vec<f32> {
    include_str!("jfk.txt").split_whitespace().map(|number| number.parse().unwrap()).collect()
}

/// The largest difference between two lists of the same length.
fn deviation(left: &[f32], right: &[f32]) -> f32 {
    assert_eq!(left.len(), right.len());
    left.iter().zip(right).map(|(left, right)| (left - right).abs()).fold(0.0, f32::max)
}

#[test]
fn probabilities_are_those_of_the_reference() {
    let heard = listen(&mut silero(), &frames("speech/jfk"));
    assert!(deviation(&heard, &reference()) < 1e-3, "off by {}", deviation(&heard, &reference()));
}

/// The counter-check of the test above.
#[test]
fn forgetting_the_context_would_be_noticed() {
    let (mut silero, mut state, mut heard) = (silero(), VadState::default(), Vec::new());
    for frame in &frames("speech/jfk") {
        let mut probability = [0.0];
        state.context = [0.0; CONTEXT];
        silero.probabilities(&mut [(&mut state, frame)], &mut probability).unwrap();
        heard.push(probability[0]);
    }
    assert!(deviation(&heard, &reference()) > 0.1, "off by {}", deviation(&heard, &reference()));
}

#[test]
fn samples_that_are_no_numbers_do_not_spoil_the_stream() {
    let mut silero = silero();
    let mut frames = frames("speech/jfk");
    frames.splice(0..0, [[f32::NAN; 512], [f32::INFINITY; 512], [1e30; 512], [0.0; 512], [0.0; 512]]);
    let probabilities = listen(&mut silero, &frames);
    assert!(probabilities.iter().filter(|probability| **probability >= 0.5).count() > frames.len() / 2);
}

#[test]
fn an_empty_batch_is_no_error() {
    silero().probabilities(&mut [], &mut []).unwrap();
}

#[test]
fn a_missing_or_damaged_model_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let [missing, damaged, truncated] =
        ["missing.onnx", "damaged.onnx", "truncated.onnx"].map(|name| folder.path().join(name));
    fs::write(&damaged, b"this is not a model").unwrap();
    let whole = fs::read(asset("models/silero_vad.onnx")).unwrap();
    fs::write(&truncated, &whole[..whole.len() / 2]).unwrap();
    for path in [missing, damaged, truncated, folder.path().to_owned()] {
        let error = Silero::load(&asset("models/libonnxruntime.so"), &path).err().unwrap();
        assert!(matches!(&error, VadError::Model { path: named, .. } if *named == path), "{error}");
    }
}

#[test]
fn a_gpu_that_is_not_there_is_replaced_by_the_processor_unless_it_must_be_used() {
    let load = |required| {
        // No machine has so many, though ONNX Runtime may have its part for CUDA here.
        let provider = Provider::Cuda { device: 999, required };
        let (runtime, model) = (asset("models/libonnxruntime.so"), asset("models/silero_vad.onnx"));
        Silero::load_on(&runtime, &model, provider).map(|silero| silero.provider())
    };
    assert_eq!(load(false).unwrap(), Provider::Cpu);
    let error = load(true).unwrap_err();
    assert_eq!(error.code(), "vad_device_unusable");
    assert!(error.to_string().contains("cuda:999"), "{error}");
}
