//! Samples, rates, frames, utterances, resampling and decoding: vocabulary and pure functions.
//!
//! Everything downstream of this module is 16 kHz mono `f32` in −1…1; nothing upstream of it has to be. This module
//! reads bytes it is handed and never opens a socket or decides when speech ends.

mod encode;
mod extent;
mod file;
mod g711;
mod mp4;
mod resample;
mod sniff;
mod source;
mod stream;
mod track;
mod wav;

pub use encode::{SoundEncoder, SoundFormat, pcm16_bytes};
pub use file::FileReader;
pub use resample::Resampler;
pub use stream::{StreamDecoder, StreamFormat};

use std::time::Duration;

/// Samples per second of one channel, 1 or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SampleRate(u32);

impl SampleRate {
    /// The rate that Whisper and Silero work at: 16 kHz.
    pub const SPEECH: SampleRate = SampleRate(16_000);

    /// The rate of G.711: 8 kHz.
    pub const TELEPHONE: SampleRate = SampleRate(8_000);

    /// A rate in hertz; `None` for 0.
    pub fn new(hertz: u32) -> Option<Self> {
        (hertz > 0).then_some(Self(hertz))
    }

    /// The rate in hertz.
    pub fn hertz(self) -> u32 {
        self.0
    }
}

/// Mono samples in −1…1 and the rate they are at.
#[derive(Debug, Clone, PartialEq)]
pub struct Pcm {
    /// The samples, oldest first.
    pub samples: Vec<f32>,
    /// Samples per second.
    pub rate: SampleRate,
}

/// How many samples one [`Frame`] has: 32 ms at 16 kHz, one step of the voice detector.
pub const FRAME_SAMPLES: usize = 512;

/// One step of the voice detector: 512 samples of 16 kHz mono.
pub type Frame = [f32; FRAME_SAMPLES];

/// A half-open range `start..end` of samples at 16 kHz, counted from the beginning of its stream or file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Span {
    /// First sample.
    pub start: u64,
    /// One past the last sample.
    pub end: u64,
}

impl Span {
    /// The span `start..end`; empty when `end` comes before `start`.
    pub fn new(start: u64, end: u64) -> Self {
        Self { start, end: end.max(start) }
    }

    /// Samples in the span.
    pub fn len(self) -> u64 {
        self.end - self.start
    }

    /// What lies in both; empty, at the later start, when nothing does.
    pub fn overlap(self, other: Span) -> Span {
        Span::new(self.start.max(other.start), self.end.min(other.end))
    }

    /// Whether the span holds no sample.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// How long the span lasts.
    pub fn duration(self) -> Duration {
        duration_of(self.len())
    }

    /// Where the span begins, in seconds from the beginning of the stream.
    pub fn start_seconds(self) -> f64 {
        duration_of(self.start).as_secs_f64()
    }

    /// Where the span ends, in seconds from the beginning of the stream.
    pub fn end_seconds(self) -> f64 {
        duration_of(self.end).as_secs_f64()
    }
}

/// How long `samples` samples at 16 kHz last.
pub fn duration_of(samples: u64) -> Duration {
    // In two steps: a file of 320 hours is more nanoseconds than its samples may be multiplied to.
    let rate = u64::from(SampleRate::SPEECH.hertz());
    Duration::from_secs(samples / rate) + Duration::from_nanos(samples % rate * 1_000_000_000 / rate)
}

/// How many samples at 16 kHz `duration` is, rounded down.
pub fn samples_in(duration: Duration) -> u64 {
    (duration.as_nanos() * u128::from(SampleRate::SPEECH.hertz()) / 1_000_000_000) as u64
}

/// One stretch of speech with its pre-roll, as the endpointer cut it out of a stream.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Utterance {
    /// Where `samples` lie in the stream.
    pub span: Span,
    /// Where inside `span` the voice detector heard speech; empty when it heard none (a manual commit of silence).
    pub speech: Span,
    /// How many samples lie in frames that the voice detector took for speech; at most as many as `speech` has.
    pub voiced: u64,
    /// Those frames, in order, as far as they lie in `span`; neighbours are one.
    pub voices: Vec<Span>,
    /// The mean of the voice detector's three highest probabilities in `span`, 0 to 1. Speech that is loud enough comes near 1
    /// within a word; what only sounds a little like a voice hardly does.
    pub confidence: f32,
    /// 16 kHz mono; as many as `span` is long, or none where silence was committed.
    pub samples: Vec<f32>,
}

impl Utterance {
    /// An utterance in which the voice detector heard speech in these places, which are in order and lie in `span`, and was
    /// sure of it.
    pub fn new(span: Span, voices: Vec<Span>, samples: Vec<f32>) -> Self {
        let start = voices.first().map_or(span.start, |voice| voice.start);
        let speech = Span::new(start, voices.last().map_or(start, |voice| voice.end));
        let confidence = if voices.is_empty() { 0.0 } else { 1.0 };
        Self {
            span,
            speech,
            voiced: voices.iter().map(|voice| voice.len()).sum(),
            voices,
            confidence,
            samples,
        }
    }

    /// An utterance that is speech from its first sample to its last.
    pub fn spoken(span: Span, samples: Vec<f32>) -> Self {
        Self::new(span, vec![span], samples)
    }

    /// The part of it that lies in `span`; the detector is taken to have been as sure of it as of the whole.
    pub fn part(&self, span: Span) -> Self {
        let span = self.span.overlap(span);
        let voices = self.voices.iter().map(|voice| voice.overlap(span)).filter(|voice| !voice.is_empty());
        let at = |position: u64| ((position - self.span.start) as usize).min(self.samples.len());
        let samples = self.samples[at(span.start)..at(span.end)].to_vec();
        Self { confidence: self.confidence, ..Self::new(span, voices.collect(), samples) }
    }

    /// Where the first voice from the position `from` on is heard.
    pub fn voice_from(&self, from: u64) -> Option<u64> {
        self.voices.iter().find(|voice| voice.end > from).map(|voice| voice.start.max(from))
    }
}

/// Why audio could not be understood as audio.
#[derive(Debug, thiserror::Error)]
pub enum AudioError {
    /// No byte at all.
    #[error("the audio is empty (0 bytes)")]
    Empty,
    /// A container or codec that no decoder here knows, or no audio at all.
    #[error("this is not audio in a known format ({detail}); known are {KNOWN_FORMATS}")]
    UnknownFormat {
        /// What the prober said.
        detail: String,
    },
    /// A container without a decodable audio track.
    #[error("the file has no audio track that can be decoded ({detail})")]
    NoTrack {
        /// What is in it instead.
        detail: String,
    },
    /// A whole file without a single sample.
    #[error("the audio is 0 seconds long")]
    NoSamples,
    /// The format is known, but no sample could be decoded.
    #[error("the audio is damaged and nothing of it could be decoded: {detail}")]
    Damaged {
        /// What the decoder said.
        detail: String,
    },
    /// A PCM16 chunk that does not end at a sample.
    #[error("a chunk of 16-bit PCM has an odd number of bytes ({bytes})")]
    OddByteCount {
        /// Bytes in the chunk.
        bytes: usize,
    },
    /// A sample rate outside what is accepted on a stream.
    #[error("sample rate {hertz} Hz is outside 8000 to 48000")]
    UnsupportedRate {
        /// The rate asked for.
        hertz: u32,
    },
    /// Sound could not be written in the format that was asked for.
    #[error("cannot write the audio: {0}")]
    Encode(String),
    /// The bytes could not be read at all.
    #[error("cannot read the audio: {0}")]
    Read(std::io::Error),
}

/// The formats that [`FileReader`] reads, as told to users.
pub const KNOWN_FORMATS: &str = "wav, flac, mp3, ogg (Vorbis, Opus), m4a/mp4 (AAC) and webm (Opus, Vorbis)";

impl From<std::io::Error> for AudioError {
    /// The reason is part of the message and not a source, so that it is told once.
    fn from(reason: std::io::Error) -> Self {
        Self::Read(reason)
    }
}

impl AudioError {
    /// The stable name of this error on the wire, in logs and in metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "audio_empty",
            Self::UnknownFormat { .. } => "audio_format_unknown",
            Self::NoTrack { .. } => "audio_track_missing",
            Self::NoSamples => "audio_too_short",
            Self::Damaged { .. } => "audio_damaged",
            Self::OddByteCount { .. } => "audio_odd_byte_count",
            Self::UnsupportedRate { .. } => "audio_rate_unsupported",
            Self::Encode(_) => "audio_encoder_failed",
            Self::Read(_) => "audio_unreadable",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_an_utterance_has_the_speech_that_lies_in_it() {
        let voices = vec![Span::new(120, 140), Span::new(150, 160), Span::new(190, 200)];
        let whole = Utterance::new(Span::new(100, 210), voices, vec![0.0; 110]);
        assert_eq!((whole.speech, whole.voiced), (Span::new(120, 200), 40));
        let cases = [
            ((0, 300), (120, 200), 40),
            ((100, 130), (120, 130), 10),
            ((130, 195), (130, 195), 25),
            ((140, 160), (150, 160), 10),
            ((160, 190), (160, 160), 0),
        ];
        for ((start, end), speech, voiced) in cases {
            let part = whole.part(Span::new(start, end));
            assert_eq!((part.speech, part.voiced), (Span::new(speech.0, speech.1), voiced), "{start}..{end}");
            assert_eq!(part.samples.len() as u64, part.span.len());
        }
    }

    #[test]
    fn the_next_voice_is_found_from_anywhere() {
        let voices = vec![Span::new(120, 140), Span::new(190, 200)];
        let whole = Utterance::new(Span::new(100, 210), voices, vec![0.0; 110]);
        let found = [0, 120, 130, 140, 200].map(|from| whole.voice_from(from));
        assert_eq!(found, [Some(120), Some(120), Some(130), Some(190), None]);
    }
}
