//! Files of every format, whole, broken and hostile, through the public face of `stenopool::audio`.

#![allow(
    clippy::unwrap_used,
    reason = "clippy's exception for tests does not reach the functions they share"
)]

use hound::{SampleFormat, WavSpec, WavWriter};
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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

#[test]
fn every_format_brings_the_same_speech() {
    let speech = speech();
    assert_eq!(speech.len(), 16_000);
    // How far length and beginning may be off, in ms: bare and MP4 AAC and untagged MP3 do not tell the encoder's delay.
    let cases = [
        ("speech.flac", 0),
        ("alac.m4a", 0),
        ("speech.aiff", 0),
        ("alaw.wav", 0),
        ("mulaw.wav", 0),
        ("adpcm.wav", 21),
        ("speech.mp3", 0),
        ("stereo.mp3", 0),
        ("noxing.mp3", 50),
        ("vorbis.ogg", 0),
        ("vorbis.webm", 16),
        ("opus.ogg", 1),
        ("opus.webm", 14),
        ("video.webm", 14),
        ("speech.m4a", 43),
        ("faststart.m4a", 43),
        ("fragmented.mp4", 43),
        ("video.mp4", 43),
        ("speech.aac", 43),
    ];
    for (name, tolerance_ms) in cases {
        let Decoded { samples, truncated } =
            decode(fixture(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let tolerance = 16 * tolerance_ms;
        assert!(samples.len().abs_diff(16_000) <= tolerance, "{name} has {} samples", samples.len());
        let likeness = likeness(&samples, &speech, tolerance.max(1));
        assert!(likeness > 0.93, "{name} correlates with {likeness:.3} only");
        assert!(!truncated, "{name} is whole");
    }
}

#[test]
fn the_stated_duration_is_about_right() {
    let names = [
        "speech.wav",
        "adpcm.wav",
        "speech.flac",
        "speech.mp3",
        "vorbis.ogg",
        "opus.webm",
        "video.mp4",
        "speech.aac",
    ];
    for name in names {
        let reader = FileReader::open(Cursor::new(fixture(name)), None).unwrap();
        let seconds = reader.duration().unwrap_or_else(|| panic!("{name} states none")).as_secs_f64();
        assert!((seconds - 1.0).abs() < 0.08, "{name} states {seconds} s");
    }
}

#[test]
fn streams_that_follow_one_another_are_one_recording() {
    let samples = decode(fixture("chained.ogg")).unwrap().samples;
    assert!(samples.len().abs_diff(32_000) < 100, "{}", samples.len());
    assert!(likeness(&samples[samples.len() / 2..], &speech(), 50) > 0.95);
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

#[test]
fn wav_files_of_every_shape_sound_the_same() {
    let float = WavSpec { sample_format: SampleFormat::Float, ..spec(2, 44_100, 32) };
    let specs = [
        spec(1, 8_000, 8),
        spec(2, 11_025, 16),
        spec(1, 16_000, 24),
        spec(2, 48_000, 32),
        float,
        spec(8, 48_000, 16),
        spec(8, 48_000, 24),
        spec(1, 192_000, 16),
        spec(2, 384_000, 16),
        spec(1, 4_000, 8),
    ];
    for spec in specs {
        let samples = decode(sine_wav(spec, 0.5)).unwrap_or_else(|error| panic!("{spec:?}: {error}")).samples;
        assert!(samples.len().abs_diff(8_000) <= 1, "{spec:?}: {}", samples.len());
        let middle = &samples[2_000..6_000];
        let level = (middle.iter().map(|s| s * s).sum::<f32>() / middle.len() as f32).sqrt();
        assert!((level - 0.5 / 2.0_f32.sqrt()).abs() < 0.01, "{spec:?} is {level} loud");
    }
}

/// A mono WAV of 64-bit floats at 16 kHz.
fn float64_wav(samples: &[f64]) -> Vec<u8> {
    let mut bytes =
        b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x03\0\x01\0\x80\x3e\0\0\0\xf4\x01\0\x08\0\x40\0data\0\0\0\0"
            .to_vec();
    bytes.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    bytes
}

#[test]
fn floats_that_are_no_loudness_become_silence() {
    let wild = [0.25, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e9, -7.0, 1e-310];
    assert_eq!(decode(float64_wav(&wild)).unwrap().samples, [0.25, 0.0, 0.0, 0.0, 1.0, -1.0, 0.0]);
}

#[test]
fn channels_are_averaged() {
    let mut file = Cursor::new(Vec::new());
    let mut writer = WavWriter::new(&mut file, spec(2, 16_000, 16)).unwrap();
    for sample in [16_384_i16, 0, -16_384, 16_384] {
        writer.write_sample(sample).unwrap();
    }
    writer.finalize().unwrap();
    assert_eq!(decode(file.into_inner()).unwrap().samples, [0.25, 0.0]);
}

#[test]
fn a_recording_of_no_seconds_is_no_error() {
    let decoded = decode(sine_wav(spec(1, 44_100, 16), 0.0)).unwrap();
    assert!(decoded.samples.is_empty() && !decoded.truncated);
}

#[test]
fn what_is_not_audio_is_refused() {
    assert_eq!(code(b"".as_slice()), "audio_empty");
    let png = [b"\x89PNG\r\n\x1a\n".as_slice(), &b"\xff".repeat(70_000)].concat();
    let utf16 = [b"\xff\xfe".as_slice(), &b"t\0e\0x\0t\0".repeat(500)].concat();
    let text = b"It was a bright cold day in April. ".repeat(3_000);
    for bytes in [png, utf16, text, b"R".to_vec(), vec![0; 100_000], b"RIFF\x04\0\0\0WEBPVP8 ".to_vec()] {
        assert_eq!(code(bytes), "audio_format_unknown");
    }
}

#[test]
fn the_name_of_a_file_that_is_not_audio_is_mentioned() {
    let error = FileReader::open(Cursor::new(b"not music"), Some("mp3")).unwrap_err();
    assert!(error.to_string().contains("called .mp3"), "{error}");
}

#[test]
fn a_film_without_sound_has_no_track() {
    assert_eq!(code(fixture("silent.mp4")), "audio_track_missing");
}

#[test]
fn surround_opus_is_refused_by_name() {
    let error = decode(fixture("surround.opus")).unwrap_err();
    assert!(error.to_string().contains("channels"), "{error}");
    assert_eq!(error.code(), "audio_track_missing");
}

#[test]
fn absurd_rates_and_channels_are_refused() {
    let mut bytes = sine_wav(spec(1, 16_000, 16), 0.1);
    for rate in [0_u32, 1, 999, 768_001, u32::MAX] {
        bytes[24..28].copy_from_slice(&rate.to_le_bytes());
        assert_eq!(code(bytes.clone()), "audio_track_missing", "{rate} Hz");
    }
    bytes[22..24].copy_from_slice(&u16::MAX.to_le_bytes());
    assert_eq!(code(bytes), "audio_track_missing");
}

#[test]
fn a_file_that_breaks_off_yields_what_came_before() {
    let speech = speech();
    // An MP3 without a tag is frames until they end: nobody can tell that some are missing.
    let cases = [
        ("speech.wav", true),
        ("alaw.wav", true),
        ("adpcm.wav", true),
        ("speech.flac", true),
        ("speech.mp3", true),
        ("noxing.mp3", false),
        ("vorbis.ogg", true),
        ("opus.ogg", true),
        ("vorbis.webm", true),
        ("opus.webm", true),
        ("video.webm", true),
        ("faststart.m4a", true),
        ("video.mp4", true),
        ("fragmented.mp4", true),
        ("speech.aac", true),
    ];
    for (name, noticed) in cases {
        let mut bytes = fixture(name);
        bytes.truncate(bytes.len() * 85 / 100);
        let decoded = decode(bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(decoded.truncated, noticed, "{name}");
        assert!((10_400..15_200).contains(&decoded.samples.len()), "{name}: {}", decoded.samples.len());
        let likeness = likeness(&decoded.samples, &speech, 400);
        assert!(likeness > 0.9, "{name} correlates with {likeness:.3} only");
    }
}

#[test]
fn a_film_whose_table_of_contents_is_missing_is_damaged() {
    let bytes = fixture("speech.m4a");
    assert_eq!(code(&bytes[..bytes.len() / 2]), "audio_damaged");
}

#[test]
fn promised_samples_that_are_all_missing_are_damage() {
    assert_eq!(code(&fixture("speech.wav")[..44]), "audio_damaged");
}

/// A small generator; the same damage in every run.
fn noise(seed: u64) -> impl Iterator<Item = u32> {
    std::iter::successors(Some(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1), |state| {
        Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
    })
    .map(|state| (state >> 33) as u32)
}

const EVERY_FIXTURE: [&str; 19] = [
    "speech.wav",
    "alaw.wav",
    "adpcm.wav",
    "speech.aiff",
    "speech.flac",
    "speech.mp3",
    "noxing.mp3",
    "vorbis.ogg",
    "opus.ogg",
    "chained.ogg",
    "surround.opus",
    "vorbis.webm",
    "video.webm",
    "speech.m4a",
    "faststart.m4a",
    "fragmented.mp4",
    "video.mp4",
    "alac.m4a",
    "speech.aac",
];

/// Whatever comes of it, it comes as samples or as an error that says so.
fn check_survives(name: &str, what: &str, bytes: Vec<u8>) {
    let codes = ["decoded", "audio_empty", "audio_format_unknown", "audio_track_missing", "audio_damaged"];
    let code = code(bytes);
    assert!(codes.contains(&code), "{name}, {what}: {code}");
}

#[test]
fn a_file_may_break_off_anywhere() {
    for name in EVERY_FIXTURE {
        let bytes = fixture(name);
        let near_the_beginning = (0..400).step_by(7);
        for len in near_the_beginning.chain((400..bytes.len()).step_by(bytes.len() / 12)) {
            check_survives(name, &format!("{len} bytes"), bytes[..len.min(bytes.len())].to_vec());
        }
    }
}

#[test]
fn damaged_bytes_do_no_harm() {
    for name in EVERY_FIXTURE {
        for seed in 0..30 {
            let mut bytes = fixture(name);
            // Half of the damage goes to the headers, where lengths and counts are.
            let reach = if seed % 2 == 0 { bytes.len() } else { bytes.len().min(600) };
            let mut noise = noise(seed);
            for _ in 0..=seed {
                let at = noise.next().unwrap() as usize % reach;
                bytes[at] = noise.next().unwrap() as u8;
            }
            check_survives(name, &format!("seed {seed}"), bytes);
        }
    }
}

#[test]
fn damage_late_in_a_file_costs_nothing_before_it() {
    let speech = speech();
    for name in
        ["speech.mp3", "speech.flac", "vorbis.ogg", "opus.ogg", "opus.webm", "faststart.m4a", "speech.aac"]
    {
        let mut bytes = fixture(name);
        let middle = bytes.len() * 85 / 100;
        bytes[middle..middle + 40].fill(0x5a);
        let samples = decode(bytes).unwrap_or_else(|error| panic!("{name}: {error}")).samples;
        assert!(samples.len() > 13_000, "{name} has only {} samples left", samples.len());
        assert!(likeness(&samples, &speech, 400) > 0.9, "{name} is not what was said before the damage");
    }
}

/// A µ-law WAV file that is made while it is read, and counts how far it was read.
struct LongRecording {
    header: Vec<u8>,
    len: u64,
    position: u64,
    read: Arc<AtomicU64>,
}

impl LongRecording {
    fn new(seconds: u32, read: Arc<AtomicU64>) -> Self {
        let data_len = seconds * 8_000;
        let mut header =
            b"RIFF\0\0\0\0WAVEfmt \x12\0\0\0\x07\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0\0\0data"
                .to_vec();
        header.extend_from_slice(&data_len.to_le_bytes());
        Self { len: header.len() as u64 + u64::from(data_len), header, position: 0, read }
    }
}

impl Read for LongRecording {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = buffer.len().min((self.len - self.position) as usize);
        for (byte, at) in buffer[..n].iter_mut().zip(self.position..) {
            *byte = self.header.get(at as usize).copied().unwrap_or(at as u8);
        }
        self.position += n as u64;
        self.read.fetch_max(self.position, Ordering::Relaxed);
        Ok(n)
    }
}

impl Seek for LongRecording {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.position = match to {
            SeekFrom::Start(position) => position.min(self.len),
            SeekFrom::End(offset) => self.len.saturating_add_signed(offset).min(self.len),
            SeekFrom::Current(offset) => self.position.saturating_add_signed(offset).min(self.len),
        };
        Ok(self.position)
    }
}

#[test]
fn a_long_file_is_read_only_as_far_as_it_was_asked_for() {
    let read = Arc::new(AtomicU64::new(0));
    let mut reader = FileReader::open(LongRecording::new(300, Arc::clone(&read)), None).unwrap();
    assert_eq!(reader.duration().unwrap().as_secs(), 300);
    let mut samples = 0;
    while let Some(piece) = reader.read().unwrap() {
        samples += piece.len() as u64;
        let ahead = read.load(Ordering::Relaxed).saturating_sub(samples / 2);
        assert!(ahead < 128 * 1024, "{ahead} bytes read ahead after {samples} samples");
    }
    assert_eq!(samples, 300 * 16_000);
}

/// A source that fails after its first 100 000 bytes.
struct Failing(Cursor<Vec<u8>>);

impl Read for Failing {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.0.position() > 100_000 {
            return Err(std::io::Error::other("the disk is gone"));
        }
        self.0.read(buffer)
    }
}

impl Seek for Failing {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.0.seek(to)
    }
}

#[test]
fn a_source_that_fails_is_not_mistaken_for_a_damaged_file() {
    let mut reader =
        FileReader::open(Failing(Cursor::new(sine_wav(spec(1, 16_000, 16), 10.0))), None).unwrap();
    let error = loop {
        match reader.read() {
            Ok(piece) => assert!(piece.is_some(), "the failure was swallowed"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), "audio_unreadable");
    assert!(error.to_string().contains("the disk is gone"), "{error}");
}

#[test]
fn a_reader_can_move_to_another_thread() {
    fn check<T: Send + std::fmt::Debug>() {}
    check::<FileReader>();
}
