//! Speech probability → edges → utterances.
//!
//! [`Silero`] says how likely each 32 ms frame is speech, [`Gate`] turns probabilities into edges, and [`Endpointer`]
//! cuts utterances out of the stream. Weights belong to a thread, [`VadState`] to a session.

mod endpoint;
pub mod fake;
mod gate;
#[cfg(test)]
pub(crate) mod recorded;
mod silero;

pub use endpoint::{Cut, EndpointEvent, EndpointSettings, Endpointer};
pub use gate::{Edge, Gate};
pub use silero::{Silero, VadState};

use crate::audio::Frame;
use crate::onnx::RuntimeError;

pub use crate::onnx::{Provider, cuda_part};

/// A model that hears speech.
pub trait Detector: Send {
    /// Says for each frame how likely it is speech, 0 to 1, in the order of `steps`.
    ///
    /// Many sessions' frames go through in one run; a session may stand in `steps` only once, because each step
    /// changes its state.
    ///
    /// # Errors
    ///
    /// [`VadError::Run`]; the states are then as they were.
    fn probabilities(
        &mut self,
        steps: &mut [(&mut VadState, &Frame)],
        out: &mut [f32],
    ) -> Result<(), VadError>;
}

/// Why speech could not be detected.
#[derive(Debug, thiserror::Error)]
pub enum VadError {
    /// ONNX Runtime is missing or unusable.
    #[error("cannot load ONNX Runtime from {path}: {reason}")]
    Runtime {
        /// The library that was tried.
        path: std::path::PathBuf,
        /// What the loader said.
        reason: String,
    },
    /// The model file is missing or damaged.
    #[error("cannot load the Silero model from {path}: {reason}")]
    Model {
        /// The file that was tried.
        path: std::path::PathBuf,
        /// What the loader said.
        reason: String,
    },
    /// The device that was asked for cannot be used.
    #[error("the voice detector cannot run where it was asked to: {0}")]
    Device(String),
    /// The model failed on a frame.
    #[error("voice detection failed: {0}")]
    Run(String),
}

impl From<RuntimeError> for VadError {
    fn from(RuntimeError { path, reason }: RuntimeError) -> Self {
        Self::Runtime { path, reason }
    }
}

impl VadError {
    /// The stable name of this error on the wire, in logs and in metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Runtime { .. } => "vad_runtime_missing",
            Self::Model { .. } => "vad_model_unusable",
            Self::Device(_) => "vad_device_unusable",
            Self::Run(_) => "vad_failed",
        }
    }

    /// What the user can do about it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Device(_) => Some(
                "it takes a GPU that decodes, ONNX Runtime's part for CUDA (scripts/setup.sh cuda-runtime), and CUDA's libraries \
                 and cuDNN where the loader finds them; or use --vad-device cpu",
            ),
            Self::Runtime { .. } | Self::Model { .. } => {
                Some("run `make setup`, and `stenopool doctor` to see what is missing")
            }
            Self::Run(_) => None,
        }
    }
}
