//! Models of the real shapes that have learned nothing, as `scripts/` writes them, through the code that loads real ones.

#![allow(clippy::unwrap_used)] // The helpers of tests may, too.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use stenopool::asr::{
    DecodeOptions, EncoderWindow, Hypothesis, Recognizer, RecognizerFactory as _, Stability, WeightsSource,
    Whisper, WhisperSettings,
};
use stenopool::audio::{SampleRate, Span, Utterance};
use stenopool::pool::SlotId;
use stenopool::store::{Kind, Manifest};
use tokio_util::sync::CancellationToken;

/// What a decoder says at most in one decode: half its text context, less four.
const MOST_TOKENS: usize = 220;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a script with Python's own library alone (`-S`); what it prints.
fn script(name: &str, arguments: &[&str]) -> String {
    let mut command = Command::new("python3");
    command.args(["-B", "-S"]).arg(root().join("scripts").join(name)).args(arguments);
    let output = command.output().expect("python3 is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A slot on the smallest shape.
fn tiny(kind: &str) -> Box<dyn Recognizer> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.bin");
    script("whisper_shapes.py", &["tiny", "--type", kind, "--out", path.to_str().unwrap()]);
    let source = WeightsSource::File(&path);
    let (whisper, _) =
        Whisper::load("tiny", source, EncoderWindow::Fit, WhisperSettings::default()).expect("it is a model");
    whisper.make(SlotId(0)).expect("what it computes is finite").0
}

/// What is read out of two seconds of a tone.
fn read(recognizer: &mut dyn Recognizer, options: &DecodeOptions) -> Hypothesis {
    let n_samples = 2 * SampleRate::SPEECH.hertz();
    let samples: Vec<f32> = (0..n_samples).map(|at| (at as f32 * 0.1).sin() * 0.3).collect();
    let utterance = Utterance::spoken(Span::new(0, u64::from(n_samples)), samples);
    recognizer.recognize(&utterance, options, &CancellationToken::new(), &mut |_| {}).unwrap()
}

fn english(stability: Stability) -> DecodeOptions {
    DecodeOptions { language: Some("en".into()), stability, ..DecodeOptions::default() }
}

/// The tokens of a reading that needed no second try and is sure of every word.
fn sure_tokens(reading: &Hypothesis) -> Vec<i32> {
    let tokens: Vec<_> = reading.segments.iter().flat_map(|segment| &segment.tokens).collect();
    assert!(reading.segments.iter().all(|segment| segment.temperature == 0.0), "{reading:?}");
    assert!(tokens.iter().all(|token| token.logprob > -0.01), "{reading:?}");
    tokens.iter().map(|token| token.id).collect()
}

#[test]
fn a_shape_says_the_same_words_in_every_type_until_a_limit_ends_it() {
    let all = sure_tokens(&read(&mut *tiny("f16"), &english(Stability::Final)));
    assert_eq!(all.len(), MOST_TOKENS);
    // An interim reading has a limit of its own.
    for kind in ["q5_0", "q8_0"] {
        let some = sure_tokens(&read(&mut *tiny(kind), &english(Stability::Interim)));
        assert!(some.len() > 24 && all.starts_with(&some), "{kind}: {} tokens", some.len());
    }
}

#[test]
fn asked_for_the_language_a_multilingual_shape_says_english() {
    let options = DecodeOptions { language: None, ..english(Stability::Interim) };
    assert_eq!(read(&mut *tiny("q4_0"), &options).language, "en");
}

#[test]
fn shapes_are_as_large_as_what_is_published() {
    let listed = script("whisper_shapes.py", &["--list"]);
    let mut lines = listed.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let head = lines.next().unwrap();
    let sizes: Vec<Vec<&str>> = lines.collect();
    let size = |name: &str| {
        let (shape, kind) =
            name.rsplit_once("-q").map_or((name, "f16"), |(shape, _)| (shape, &name[shape.len() + 1..]));
        let column = head.iter().position(|column| *column == kind).unwrap();
        let row = sizes.iter().find(|row| row[0] == shape);
        row.unwrap_or_else(|| panic!("there is no shape for {name}"))[column].parse::<f64>().unwrap()
    };
    let manifest = Manifest::embedded();
    let published =
        manifest.entries().iter().filter(|entry| entry.kind == Kind::Whisper && !entry.is_embedded());
    let names: Vec<&str> = published
        .map(|entry| {
            let mib = entry.mib.unwrap() as f64;
            let ratio = size(&entry.name) / (mib * 1024.0 * 1024.0);
            // Gibibytes are published with one digit behind the point, rounded up.
            assert!((ratio - 1.0).abs() < 0.09, "{}: {ratio}", entry.name);
            entry.name.as_str()
        })
        .collect();
    assert!(names.contains(&"large-v3-turbo-q5_0"), "{names:?}");
}

#[test]
fn a_disk_that_is_too_full_is_told_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let full = "import shutil, sys; from collections import namedtuple; import whisper_shapes; \
                shutil.disk_usage = lambda path: namedtuple('Usage', 'free')(7 << 20); whisper_shapes.main()";
    let output = Command::new("python3")
        .args(["-B", "-c", full, "--all", folder.path().to_str().unwrap()])
        .env("PYTHONPATH", root().join("scripts"))
        .output()
        .expect("python3 is there");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("takes 74 MiB, 7 MiB is free") && told.contains("hint:"), "{told}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// A voice whose numbers are all the same.
fn voice_in(folder: &Path) -> PathBuf {
    let numbers: Vec<u8> = std::iter::repeat_n(0.1_f32.to_le_bytes(), 510 * 256).flatten().collect();
    fs::write(folder.join("af_heart.bin"), numbers).unwrap();
    folder.to_owned()
}

/// Frames of what the network says of a text at a speed.
fn frames(model: &Path, voices: &Path, speed: &str) -> usize {
    let output = Command::new(env!("CARGO_BIN_EXE_stenopool"))
        .current_dir(root())
        .args(["speak", "--tts", "kokoro", "--kokoro-model"])
        .arg(model)
        .arg("--voices-dir")
        .arg(voices)
        .args(["--speed", speed, "--format", "pcm", "--output", "-", "Yes."])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout.len() / 2 / 600
}

#[test]
fn kokoro_at_full_size_speaks_for_as_long_as_the_speed_says() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.onnx");
    let told = script("full_kokoro.py", &[model.to_str().unwrap()]);
    assert!(told.contains("81.19 M parameters"), "{told}");
    let voices = voice_in(folder.path());
    let (slow, fast) = (frames(&model, &voices, "1"), frames(&model, &voices, "2"));
    assert!(fast > 4 && slow == 3 * fast, "{slow} {fast}");
}
