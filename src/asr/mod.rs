//! An utterance and a slot → a hypothesis.
//!
//! [`Engine`] is the seam: it opens slots, runs jobs on them and closes them, and nothing outside this module can tell
//! how slots share the device. [`Supervisor`] drives the engine and the pool; a [`Lane`] is what a session holds.

mod align;
mod cost;
mod engine;
pub mod fake;
mod guard;
mod lane;
mod noise;
mod seam;
mod spoken;
mod stabilizer;
mod strikes;
mod supervisor;
mod thread_engine;
mod watch;
mod whisper;
mod words;

pub use engine::{Engine, Job, Outcome, Recognizer};
pub use guard::{Doubt, Withheld, doubt};
pub use lane::{Lane, LaneEvent, LaneSettings, Lanes, Transcript};
pub use noise::noise;
pub use seam::{Repeat, Seam, seam, without_repeat};
pub use spoken::append;
pub use stabilizer::{Ending, Stabilizer};
pub use supervisor::{
    Alerts, Capacity, Device, Knee, KneeFound, Site, SiteCapacity, StartError, Supervisor, SupervisorSettings,
};
pub use thread_engine::{RecognizerFactory, ThreadEngine};
pub use watch::JobLimits;
#[cfg(feature = "cuda")]
pub use whisper::missing_cuda_library;
pub use whisper::{Placement, WeightsSource, Whisper, WhisperSettings, on_fatal};

use crate::audio::Span;
use crate::pool::AcquireError;
use crate::telemetry::metrics;
use std::time::Duration;

/// What the encoder looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncoderWindow {
    /// Only as much as the utterance is long: several times cheaper, for models that were trained for it.
    Fit,
    /// Always 30 seconds, as OpenAI's models expect.
    Full,
}

impl EncoderWindow {
    /// As the settings spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fit => "fit",
            Self::Full => "full",
        }
    }
}

/// What is known about the loaded model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelInfo {
    /// As in the manifest, or the file's stem.
    pub name: String,
    /// Whether it knows languages other than English (and can translate).
    pub multilingual: bool,
    /// Its encoder window.
    pub window: EncoderWindow,
}

/// What to do with the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Task {
    /// Write them down.
    #[default]
    Transcribe,
    /// Write them down in English.
    Translate,
}

/// How closely times are wanted. Closer costs more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Timestamps {
    /// The utterance's own bounds will do.
    #[default]
    None,
    /// Begin and end of each segment.
    Segment,
    /// Begin and end of each word, too.
    Word,
}

/// How to decode one utterance.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DecodeOptions {
    /// ISO 639-1 code; `None` lets a multilingual model decide.
    pub language: Option<String>,
    /// Transcribe or translate.
    pub task: Task,
    /// Text that may have come before; it steers spelling and style.
    pub prompt: Option<String>,
    /// Sampling temperature, 0 to 1; 0 is greedy with fallback.
    pub temperature: f32,
    /// How closely times are wanted.
    pub timestamps: Timestamps,
    /// Whether the text may still change. An interim one is not worth a second try at a higher temperature.
    pub stability: Stability,
    /// For measurements: the decode ends with so many tokens, 2 or more, and is not tried again at a higher temperature.
    pub max_tokens: Option<u16>,
}

/// One word with its time.
#[derive(Debug, Clone, PartialEq)]
pub struct Word {
    /// Without surrounding spaces, with its punctuation.
    pub text: String,
    /// Where it lies in the stream.
    pub span: Span,
    /// How sure the model is, 0 to 1.
    pub probability: f32,
}

/// One text token, as the model chose it.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    /// Its number in the model's vocabulary.
    pub id: i32,
    /// Its bytes; a character may be spread over several tokens.
    pub bytes: Vec<u8>,
    /// Its log probability.
    pub logprob: f32,
}

/// A stretch of text with its time.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// Trimmed, never empty.
    pub text: String,
    /// Where it lies in the stream.
    pub span: Span,
    /// Text tokens, without specials.
    pub tokens: Vec<Token>,
    /// Its words, when they were asked for.
    pub words: Vec<Word>,
    /// Mean log probability of the tokens.
    pub avg_logprob: f32,
    /// How likely the window held no speech, 0 to 1; `None` where the engine's figure means nothing.
    pub no_speech_prob: Option<f32>,
    /// The temperature that it was sampled at.
    pub temperature: f32,
}

/// May a text still change?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Stability {
    /// It may.
    Interim,
    /// It will not.
    #[default]
    Final,
}

impl From<Stability> for metrics::Stability {
    fn from(stability: Stability) -> Self {
        match stability {
            Stability::Interim => Self::Interim,
            Stability::Final => Self::Final,
        }
    }
}

/// The log probability of a token that is somewhat more likely than not: 0.6.
const LIKELY: f32 = -0.5;

/// The reading of one utterance.
#[derive(Debug, Clone, PartialEq)]
pub struct Hypothesis {
    /// In order of time; empty when nothing was said.
    pub segments: Vec<Segment>,
    /// ISO 639-1 code of the language, as given or as detected.
    pub language: String,
    /// May it still change?
    pub stability: Stability,
}

impl Hypothesis {
    /// The whole text: the segments, one [behind](append) the other.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for segment in &self.segments {
            append(&mut text, &segment.text);
        }
        text
    }

    /// Its beginning, up to the first word that is hardly more likely than not.
    pub fn believed(&self) -> String {
        let mut believed = Vec::new();
        for segment in &self.segments {
            let likely = words::likely(&segment.tokens, LIKELY);
            let is_whole = likely == segment.tokens.len();
            if !is_whole {
                believed.push(words::text(&segment.tokens[..likely]));
                break;
            }
            believed.push(segment.text.clone());
        }
        believed.join(" ").trim_end().to_owned()
    }
}

/// Why an utterance got no text.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AsrError {
    /// The weights cannot be read or are no Whisper model.
    #[error("cannot load the model {model}: {reason}")]
    Load {
        /// Name or path.
        model: String,
        /// What the loader said.
        reason: String,
    },
    /// A slot's working memory could not be made, or its warm-up failed.
    #[error("slot {slot} cannot be opened: {reason}")]
    Open {
        /// Which.
        slot: u16,
        /// What went wrong.
        reason: String,
    },
    /// The decoder failed on this utterance; the slot is fine.
    #[error("decoding failed: {0}")]
    Decode(String),
    /// This model cannot do what was asked for; no slot can.
    #[error("this model cannot do that: {0}")]
    Unsupported(String),
    /// The decoder did not end in time, and stopped when it was told to; the slot is fine.
    #[error("decoding did not end within {limit:.1?}")]
    Overrun {
        /// How long it had.
        limit: Duration,
    },
    /// The slot was lost while it decoded (panic, memory); it will be rebuilt.
    #[error("the slot was lost while decoding: {0}")]
    SlotLost(String),
    /// The caller gave up.
    #[error("decoding was cancelled")]
    Cancelled,
    /// No lease was given.
    #[error(transparent)]
    Acquire(#[from] AcquireError),
}

impl AsrError {
    /// The stable name of this error on the wire, in logs and in metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Load { .. } => "model_unusable",
            Self::Open { .. } => "slot_unusable",
            Self::Decode(_) => "decode_failed",
            Self::Unsupported(_) => "decode_unsupported",
            Self::Overrun { .. } => "decode_overrun",
            Self::SlotLost(_) => "slot_lost",
            Self::Cancelled => "decode_cancelled",
            Self::Acquire(error) => error.code(),
        }
    }

    /// Whether the same utterance may well be read on another slot.
    fn may_pass(&self) -> bool {
        matches!(self, Self::Decode(_) | Self::Overrun { .. } | Self::SlotLost(_))
    }
}

/// How long something took, for clients and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timing {
    /// Standing in line for a slot.
    pub waited: Duration,
    /// Decoding.
    pub decode: Duration,
}
