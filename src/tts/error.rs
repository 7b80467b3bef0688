//! What can go wrong with a voice, under stable names.

use std::path::PathBuf;
use std::time::Duration;

/// Why a phrase is not said, or not to its end, or why there is no voice at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TtsError {
    /// Nobody waits for it any more.
    #[error("the phrase was cancelled")]
    Cancelled,
    /// There is no such voice.
    #[error("there is no voice {name:?}; known are {known}")]
    VoiceUnknown {
        /// What was asked for.
        name: String,
        /// Names, separated by commas.
        known: String,
    },
    /// The engine failed on this phrase; the next one may well be said.
    #[error("the phrase could not be said: {0}")]
    Failed(String),
    /// No sound within the time for it.
    #[error("no sound came within {waited:?}")]
    Timeout {
        /// The time for it.
        waited: Duration,
    },
    /// The speech server behind us cannot be reached, or hung up.
    #[error("the speech server cannot be reached: {0}")]
    Unreachable(String),
    /// The speech server behind us does not want to.
    #[error("the speech server refused with status {status}: {reason}")]
    Refused {
        /// As in HTTP.
        status: u16,
        /// The beginning of its answer.
        reason: String,
    },
    /// Too many phrases already wait.
    #[error("{queued} phrases already wait to be said (limit {limit})")]
    Saturated {
        /// How many.
        queued: usize,
        /// How many may.
        limit: usize,
    },
    /// A file of weights, or of a voice, is missing or not what it should be.
    #[error("cannot use {path} as a voice: {reason}")]
    ModelInvalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// ONNX Runtime is missing or unusable.
    #[error("cannot load ONNX Runtime for a voice: {0}")]
    Runtime(String),
    /// The device that was asked for cannot be used.
    #[error("the voice cannot run where it was asked to: {0}")]
    Device(String),
    /// A program that speaks is not there, or cannot be run.
    #[error("cannot run {program}: {reason}")]
    ProgramMissing {
        /// Its name or path.
        program: String,
        /// What the operating system said.
        reason: String,
    },
    /// Nothing on this machine speaks, and no speech server was named.
    #[error("there is nothing to speak with: {0}")]
    NotInstalled(String),
    /// The threads that speak have ended.
    #[error("the voices are shut down")]
    Closed,
}

impl TtsError {
    /// The stable name of this error on the wire, in logs and in metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Cancelled => "tts_cancelled",
            Self::VoiceUnknown { .. } => "voice_unknown",
            Self::Failed(_) => "tts_failed",
            Self::Timeout { .. } => "tts_timeout",
            Self::Unreachable(_) => "tts_unreachable",
            Self::Refused { .. } => "tts_refused",
            Self::Saturated { .. } => "tts_saturated",
            Self::ModelInvalid { .. } => "tts_model_invalid",
            Self::Runtime(_) => "tts_runtime_missing",
            Self::Device(_) => "tts_device_unusable",
            Self::ProgramMissing { .. } => "tts_program_missing",
            Self::NotInstalled(_) => "tts_not_installed",
            Self::Closed => "tts_closed",
        }
    }

    /// What the user can do about it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::ProgramMissing { .. } | Self::NotInstalled(_) => Some(
                "install espeak-ng (`apt install espeak-ng`), or Kokoro's model and voices, or name a speech server",
            ),
            Self::ModelInvalid { .. } => {
                Some("fetch the file again; a voice is 510 rows of 256 numbers, 522240 bytes")
            }
            Self::Device(_) => Some(
                "it takes a GPU that decodes, ONNX Runtime's part for CUDA (scripts/setup.sh cuda-runtime), and CUDA's libraries \
                 and cuDNN where the loader finds them; or use --tts-device cpu",
            ),
            Self::Unreachable(_) => Some("see whether the speech server runs and its address is right"),
            _ => None,
        }
    }
}
