//! The threads that decode, resample and listen for speech, for all sessions.
//!
//! A session's [`Ear`] travels to a thread together with each piece of input and comes back with what was heard. So a
//! session has at most one piece of work in the frontend (which is its backpressure), needs no lock, and is gone when
//! its task is gone. Frames of all ears that are at a thread at the same time go through the detector in one run.

use crate::audio::{AudioError, StreamFormat};
use crate::vad::{Detector, EndpointEvent, EndpointSettings, VadError};

/// What one session hears with: decoder, resampler, voice detector state and endpointer.
#[derive(Debug)]
pub struct Ear {}

impl Ear {
    /// An ear at the beginning of a stream.
    pub fn new(_format: StreamFormat, _settings: EndpointSettings) -> Self {
        todo!()
    }

    /// The endpoint settings in force.
    pub fn settings(&self) -> &EndpointSettings {
        todo!()
    }

    /// Changes the endpoint settings from here on.
    pub fn configure(&mut self, _settings: EndpointSettings) {
        todo!()
    }

    /// Changes the input format from here on; what the old decoder held back is heard first.
    pub fn set_format(&mut self, _format: StreamFormat) {
        todo!()
    }

    /// Samples at 16 kHz heard so far, from the beginning of the stream.
    pub fn position(&self) -> u64 {
        todo!()
    }

    /// Samples that a commit would cut now; 0 when there is nothing to commit.
    pub fn pending(&self) -> u64 {
        todo!()
    }
}

/// Something for an ear to hear or do.
#[derive(Debug)]
pub enum EarInput {
    /// Bytes in the ear's format.
    Bytes(Vec<u8>),
    /// Samples at 16 kHz mono (from a file).
    Samples(Vec<f32>),
    /// Cut now (a client's commit, or the end of the stream).
    Commit,
    /// Forget what was said since the last cut.
    Clear,
}

/// Why the frontend gave nothing back.
#[derive(Debug, thiserror::Error)]
pub enum FrontendError {
    /// The detector failed.
    #[error(transparent)]
    Vad(#[from] VadError),
    /// The frontend's thread is gone: the server is stopping.
    #[error("the frontend has stopped")]
    Stopped,
}

/// A handle on the frontend threads. Clones share them; they end when the last clone is dropped.
#[derive(Clone)]
pub struct Frontend {}

impl Frontend {
    /// Starts one thread (`frontend-N`) for each detector.
    pub fn start(_detectors: Vec<Box<dyn Detector>>) -> Self {
        todo!()
    }

    /// Lets `ear` hear `input`; gives the ear back with what happened.
    ///
    /// The ear comes back also when the bytes were not audio in its format; only a failed detector or a stopping server
    /// keeps it.
    ///
    /// # Errors
    ///
    /// [`FrontendError::Vad`] or [`FrontendError::Stopped`]; the inner result: [`AudioError::OddByteCount`].
    ///
    /// # Cancel safety
    ///
    /// Dropping this future loses the ear: only a session that ends may do it.
    pub async fn hear(
        &self,
        _ear: Ear,
        _input: EarInput,
    ) -> Result<(Ear, Result<Vec<EndpointEvent>, AudioError>), FrontendError> {
        todo!()
    }
}
