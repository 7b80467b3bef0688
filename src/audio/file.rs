//! Audio files of any common format to 16 kHz mono, in bounded memory.

use super::AudioError;
use std::io::{Read, Seek};
use std::time::Duration;

/// Decodes a file piece by piece to 16 kHz mono.
///
/// Memory does not grow with the length of the file. A file that breaks off in the middle yields what came before the
/// break and then ends, with [`FileReader::truncated`] telling so.
pub struct FileReader {}

impl FileReader {
    /// Opens audio; `extension` (without the dot) is only a hint, the content decides.
    ///
    /// # Errors
    ///
    /// [`AudioError::Empty`], [`AudioError::UnknownFormat`] or [`AudioError::NoTrack`].
    pub fn open<S: Read + Seek + Send + Sync + 'static>(
        _source: S,
        _extension: Option<&str>,
    ) -> Result<Self, AudioError> {
        todo!()
    }

    /// How long the file says it is, if it says so.
    pub fn duration(&self) -> Option<Duration> {
        todo!()
    }

    /// Whether the file ended before its time.
    pub fn truncated(&self) -> bool {
        todo!()
    }

    /// The next samples (16 kHz mono, some 10 to 500 ms), or `None` at the end.
    ///
    /// # Errors
    ///
    /// [`AudioError::Damaged`] when not one sample of the file could be decoded.
    pub fn read(&mut self) -> Result<Option<Vec<f32>>, AudioError> {
        todo!()
    }
}
