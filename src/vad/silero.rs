//! Silero VAD through ONNX Runtime.

use super::{Detector, VadError};
use crate::audio::Frame;
use std::path::Path;

/// What the model remembers of one stream: 64 samples of context and its recurrent state, about 1.3 KB.
#[derive(Debug, Clone)]
pub struct VadState {}

impl Default for VadState {
    fn default() -> Self {
        Self {}
    }
}

/// The model, one set of weights; owned by one thread.
pub struct Silero {}

impl Silero {
    /// Loads ONNX Runtime (once per process) and the model.
    ///
    /// # Errors
    ///
    /// [`VadError::Runtime`] or [`VadError::Model`].
    pub fn load(_runtime: &Path, _model: &Path) -> Result<Self, VadError> {
        todo!()
    }
}

impl Detector for Silero {
    fn probabilities(
        &mut self,
        _steps: &mut [(&mut VadState, &Frame)],
        _out: &mut [f32],
    ) -> Result<(), VadError> {
        todo!()
    }
}
