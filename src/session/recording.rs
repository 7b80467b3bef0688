//! A recording: decoded, cut at silences, transcribed on as many slots as are free, told in order.

use super::{Frontend, FrontendError};
use crate::asr::{AsrError, DecodeOptions, Hypothesis, Lane, Timing};
use crate::audio::{AudioError, FileReader, Span};
use crate::vad::EndpointSettings;
use std::time::Duration;

/// Why a recording could not be transcribed (to its end).
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The file.
    #[error(transparent)]
    Audio(#[from] AudioError),
    /// The frontend.
    #[error(transparent)]
    Frontend(#[from] FrontendError),
    /// The recognizer.
    #[error(transparent)]
    Asr(#[from] AsrError),
}

/// The text of one stretch of a recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Where it lies in the recording.
    pub span: Span,
    /// Its text.
    pub hypothesis: Hypothesis,
    /// What it took.
    pub timing: Timing,
}

/// A transcription in progress. Dropping it ends all its work.
pub struct Recording {}

impl Recording {
    /// Begins to transcribe. `wait` bounds how long the first slot may be waited for.
    pub fn start(
        _file: FileReader,
        _frontend: &Frontend,
        _lane: Lane,
        _options: DecodeOptions,
        _endpoint: EndpointSettings,
        _wait: Option<Duration>,
    ) -> Self {
        todo!()
    }

    /// The next part in order of time, or `None` after the last.
    ///
    /// # Errors
    ///
    /// The first error ends the recording; parts before it have been told.
    ///
    /// # Cancel safety
    ///
    /// Dropping this future loses nothing.
    pub async fn next(&mut self) -> Option<Result<Part, RecordingError>> {
        todo!()
    }

    /// How much audio was read so far; all of it once `next` gave `None`.
    pub fn duration(&self) -> Duration {
        todo!()
    }

    /// Whether the file broke off before its time (known at its end).
    pub fn truncated(&self) -> bool {
        todo!()
    }
}
