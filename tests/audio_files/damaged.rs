//! Files that break off, are damaged, very long, or on a disk that fails.

use super::*;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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
    let codes = [
        "decoded",
        "audio_empty",
        "audio_format_unknown",
        "audio_track_missing",
        "audio_damaged",
        "audio_too_short",
    ];
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
