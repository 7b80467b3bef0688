//! Recordings through the pipeline: file, frontend, slots; with a scripted engine and loudness for speech.

#![allow(clippy::unwrap_used)]

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;
use stenopool::asr::fake::{Act, FakeEngine};
use stenopool::asr::{AsrError, DecodeOptions, EncoderWindow, Lanes, ModelInfo};
use stenopool::audio::{FileReader, Utterance};
use stenopool::pool::{Allocator, Ask, Class, Cost, FlowInfo, Lease, PoolSettings, SlotId};
use stenopool::session::{Frontend, Part, Recording, RecordingError};
use stenopool::vad::EndpointSettings;
use stenopool::vad::fake::FakeDetector;

/// A WAV of a second of silence and `n` beeps of a second each, each louder than the one before, with a second of silence
/// after each.
fn beeps(n: u32) -> FileReader {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut bytes = Cursor::new(Vec::new());
    let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
    (0..16_000).for_each(|_| writer.write_sample(0_i16).unwrap());
    for beep in 1..=n {
        for sample in 0..16_000_u32 {
            let sign = if (sample / 20) % 2 == 0 { 1 } else { -1 };
            writer.write_sample(sign * (4_000 + 500 * beep) as i16).unwrap();
        }
        (0..16_000).for_each(|_| writer.write_sample(0_i16).unwrap());
    }
    writer.finalize().unwrap();
    FileReader::open(bytes, Some("wav")).unwrap()
}

/// Which beep an utterance is, by its loudness.
fn beep(utterance: &Utterance) -> u32 {
    let peak = utterance.samples.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
    ((peak * 32_768.0 - 4_000.0) / 500.0).round() as u32
}

fn lanes(slots: u16, script: impl Fn(&Utterance, &DecodeOptions) -> Act + Send + Sync + 'static) -> Lanes {
    let (allocator, _retired) = Allocator::new(PoolSettings::default());
    (0..slots).for_each(|slot| allocator.add(SlotId(slot)));
    let model = ModelInfo { name: "fake".into(), multilingual: false, window: EncoderWindow::Fit };
    Lanes::new(Arc::new(FakeEngine::new(script)), allocator, model)
}

fn start(lanes: &Lanes, file: FileReader, wait: Option<Duration>) -> Recording {
    let frontend = Frontend::start(vec![Box::new(FakeDetector)]);
    let endpoint = EndpointSettings::default();
    Recording::start(
        file,
        &frontend,
        lanes.open(FlowInfo::request("test")),
        DecodeOptions::default(),
        endpoint,
        wait,
    )
}

/// Waits until so many slots are leased; a pool that never gets there fails the test.
async fn until_leased(lanes: &Lanes, slots: usize) {
    let leased = async {
        while lanes.allocator().slots().leased < slots {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), leased).await.expect("the slots are leased");
}

async fn texts(mut recording: Recording) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some(part) = recording.next().await {
        texts.push(part.unwrap().hypothesis.text());
    }
    texts
}

#[tokio::test]
async fn parts_are_told_in_order_of_time_though_later_ones_are_decoded_sooner() {
    let lanes = lanes(4, |utterance, _| {
        let beep = beep(utterance);
        Act::Say(format!("beep {beep}"), Duration::from_millis(if beep == 1 { 50 } else { 0 }))
    });
    let texts = texts(start(&lanes, beeps(4), None)).await;
    assert_eq!(texts, ["beep 1", "beep 2", "beep 3", "beep 4"]);
}

#[tokio::test]
async fn a_recording_uses_as_many_slots_as_there_are_and_waits_for_no_more() {
    let lanes = lanes(3, |_, _| Act::Never);
    let _recording = start(&lanes, beeps(12), None);
    until_leased(&lanes, 3).await;
    assert_eq!(lanes.allocator().snapshot().queue.depth(), 0);
}

#[tokio::test]
async fn dropping_a_recording_gives_every_slot_back() {
    let lanes = lanes(2, |_, _| Act::Never);
    let recording = start(&lanes, beeps(4), None);
    until_leased(&lanes, 2).await;
    drop(recording);
    let _both = [lease(&lanes).await, lease(&lanes).await];
}

/// Takes a slot away from everybody else.
async fn lease(lanes: &Lanes) -> Lease {
    let flow = lanes.allocator().enroll(FlowInfo::request("other"));
    lanes.allocator().acquire(&flow, Ask::new(Class::Final, Cost::default()), None).await.unwrap()
}

#[tokio::test]
async fn the_first_error_ends_the_recording_and_what_came_before_was_told() {
    let lanes = lanes(1, |utterance, _| match beep(utterance) {
        1 => Act::Say("beep 1".into(), Duration::ZERO),
        _ => Act::Fail(AsrError::Decode("as scripted".into()), Duration::ZERO),
    });
    let mut recording = start(&lanes, beeps(3), None);
    let first = recording.next().await.unwrap().unwrap();
    assert_eq!(first.hypothesis.text(), "beep 1");
    let error = recording.next().await.unwrap().unwrap_err();
    assert_eq!(error.code(), "decode_failed");
    assert!(recording.next().await.is_none());
}

#[tokio::test]
async fn who_waits_for_a_first_slot_for_too_long_is_told_so() {
    let lanes = lanes(1, |_, _| Act::Say("beep".into(), Duration::ZERO));
    let _held = lease(&lanes).await;
    let mut recording = start(&lanes, beeps(1), Some(Duration::from_millis(20)));
    let error: RecordingError = recording.next().await.unwrap().unwrap_err();
    assert_eq!(error.code(), "pool_deadline_exceeded");
}

#[tokio::test]
async fn a_defect_is_an_error_and_never_a_shorter_transcript() {
    let lanes = lanes(1, |utterance, _| match beep(utterance) {
        1 => Act::Say("beep 1".into(), Duration::ZERO),
        _ => panic!("as scripted"),
    });
    let mut recording = start(&lanes, beeps(2), None);
    let parts: Vec<Result<Part, RecordingError>> =
        [recording.next().await, recording.next().await].into_iter().flatten().collect();
    assert_eq!(parts.len(), 2);
    assert!(parts[1].is_err(), "{parts:?}");
}

#[tokio::test]
async fn silence_has_no_parts_and_its_whole_duration() {
    let lanes = lanes(1, |_, _| Act::Never);
    let mut recording = start(&lanes, beeps(0), None);
    assert!(recording.next().await.is_none());
    assert_eq!((recording.duration(), recording.truncated()), (Duration::from_secs(1), false));
}
