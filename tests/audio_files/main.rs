//! Files of every format, whole, broken and hostile, through the public face of `stenopool::audio`.
//!
//! The recordings are in `tests/fixtures/audio`; its README says how they were made.

#![allow(
    clippy::unwrap_used,
    reason = "clippy's exception for tests does not reach the functions they share"
)]

mod damaged;
mod whole;

use hound::{SampleFormat, WavSpec, WavWriter};
use std::io::Cursor;
use std::path::PathBuf;
use stenopool::audio::{AudioError, FileReader};

/// Samples that were read and whether the file broke off.
#[derive(Debug)]
struct Decoded {
    samples: Vec<f32>,
    truncated: bool,
}

fn decode(bytes: impl Into<Vec<u8>>) -> Result<Decoded, AudioError> {
    let mut reader = FileReader::open(Cursor::new(bytes.into()), None)?;
    let mut samples = Vec::new();
    while let Some(piece) = reader.read()? {
        assert!(!piece.is_empty() && piece.len() <= 8_000, "a piece of {} samples", piece.len());
        samples.extend(piece);
    }
    assert!(samples.iter().all(|sample| sample.is_finite()));
    assert!(reader.read().unwrap().is_none(), "a file that has ended stays ended");
    Ok(Decoded { samples, truncated: reader.truncated() })
}

fn code(bytes: impl Into<Vec<u8>>) -> &'static str {
    decode(bytes).map_or_else(|error| error.code(), |_| "decoded")
}

fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/audio").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The one second of speech that all fixtures hold.
fn speech() -> Vec<f32> {
    decode(fixture("speech.wav")).unwrap().samples
}

/// The best normalized correlation of what is said between 250 and 625 ms, at lags up to `max_lag` samples either way.
fn likeness(heard: &[f32], spoken: &[f32], max_lag: usize) -> f64 {
    let window = &spoken[4_000..10_000];
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| f64::from(x * y)).sum::<f64>();
    let at = |start: usize| {
        let heard = &heard[start..start + window.len()];
        dot(heard, window) / (dot(heard, heard) * dot(window, window)).sqrt().max(1e-9)
    };
    (4_000 - max_lag..=4_000 + max_lag).map(at).fold(f64::MIN, f64::max)
}

/// A WAV file of a sine in every channel, as `spec` says, with `seconds` in it.
fn sine_wav(spec: WavSpec, seconds: f32) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    let mut writer = WavWriter::new(&mut file, spec).unwrap();
    for n in 0..(seconds * spec.sample_rate as f32) as u32 {
        let value = 0.5 * (std::f32::consts::TAU * 300.0 * n as f32 / spec.sample_rate as f32).sin();
        for _ in 0..spec.channels {
            match spec.sample_format {
                SampleFormat::Float => writer.write_sample(value).unwrap(),
                SampleFormat::Int => {
                    let scale = f64::from(1_u32 << (spec.bits_per_sample - 1)) - 1.0;
                    writer.write_sample((f64::from(value) * scale) as i32).unwrap();
                }
            }
        }
    }
    writer.finalize().unwrap();
    file.into_inner()
}

fn spec(channels: u16, sample_rate: u32, bits_per_sample: u16) -> WavSpec {
    WavSpec { channels, sample_rate, bits_per_sample, sample_format: SampleFormat::Int }
}
