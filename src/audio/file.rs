//! Audio files of any common format to 16 kHz mono, in bounded memory.
//!
//! Files come from strangers: a container is taken for what its bytes say, damage costs what is damaged and no more,
//! and a decoder that panics takes down its own file only.

use super::sniff::sniff;
use super::track::{Step, Track};
use super::{AudioError, Resampler, SampleRate};
use std::fmt;
use std::io::{Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// What one [`FileReader::read`] tries to bring, and never exceeds: 200 and 500 ms of samples.
const ENOUGH: usize = 3_200;
const AT_MOST: usize = 8_000;

/// Decodes a file piece by piece to 16 kHz mono, the mean of its channels.
///
/// Memory does not grow with the length of the file. A file that breaks off in the middle yields what came before the
/// break and then ends, with [`FileReader::truncated`] telling so. A damaged packet in the middle is left out. Of
/// several tracks the first one that can be decoded is read; Ogg streams that follow one another are read as one.
pub struct FileReader {
    /// `None` once the file has ended.
    track: Option<Track>,
    /// Made when the first samples tell their rate; made anew where a file changes it.
    resampler: Option<(SampleRate, Resampler)>,
    /// Samples at the file's rate, of one packet; kept for its capacity.
    mono: Vec<f32>,
    ready: Vec<f32>,
    duration: Option<Duration>,
    truncated: bool,
    /// Whether any sample has been decoded, and what the last damage was.
    heard: bool,
    damage: Option<String>,
}

impl FileReader {
    /// Opens audio; `extension` (without the dot) is only a hint for the error message, the content decides.
    ///
    /// # Errors
    ///
    /// [`AudioError::Empty`], [`AudioError::UnknownFormat`], [`AudioError::NoTrack`], or [`AudioError::Damaged`] when
    /// the container is known but its header broken; [`AudioError::Read`] when the source fails.
    pub fn open<S: Read + Seek + Send + Sync + 'static>(
        mut source: S,
        extension: Option<&str>,
    ) -> Result<Self, AudioError> {
        let len = source.seek(SeekFrom::End(0))?;
        if len == 0 {
            return Err(AudioError::Empty);
        }
        let sniffed = sniff(&mut source, len).map_err(|error| with_extension(error, extension))?;
        let track = contain(|| Track::open(source, sniffed.container, sniffed.start, len))
            .unwrap_or_else(|panicked| Err(AudioError::Damaged { detail: panicked.into() }))?;
        Ok(Self {
            duration: track.duration(),
            track: Some(track),
            resampler: None,
            mono: Vec::new(),
            ready: Vec::new(),
            truncated: false,
            heard: false,
            damage: None,
        })
    }

    /// How long the file says it is, if it says so.
    pub fn duration(&self) -> Option<Duration> {
        self.duration
    }

    /// Whether the file ended before its time; known when [`FileReader::read`] has brought its end.
    pub fn truncated(&self) -> bool {
        self.truncated
    }

    /// The next samples (16 kHz mono, at most 500 ms), or `None` at the end.
    ///
    /// # Errors
    ///
    /// [`AudioError::Damaged`] when not one sample of the file could be decoded, [`AudioError::NoSamples`] when there is
    /// none in it, [`AudioError::Read`] when the source fails. After an error the file has ended.
    pub fn read(&mut self) -> Result<Option<Vec<f32>>, AudioError> {
        while self.ready.len() < ENOUGH && self.track.is_some() {
            self.step().inspect_err(|_| self.track = None)?;
        }
        match self.ready.len() {
            0 => self.nothing_more(),
            len => Ok(Some(self.ready.drain(..len.min(AT_MOST)).collect())),
        }
    }

    /// The end, once; an error if there was nothing before it.
    fn nothing_more(&mut self) -> Result<Option<Vec<f32>>, AudioError> {
        let anything = std::mem::replace(&mut self.heard, true);
        match self.damage.take() {
            Some(detail) => Err(AudioError::Damaged { detail }),
            None if anything => Ok(None),
            None => Err(AudioError::NoSamples),
        }
    }

    fn step(&mut self) -> Result<(), AudioError> {
        let Some(track) = &mut self.track else { return Ok(()) };
        self.mono.clear();
        match contain(|| track.step(&mut self.mono)) {
            Ok(Ok(Step::Samples(rate))) => self.resample(rate),
            Ok(Ok(Step::Nothing)) => {}
            Ok(Ok(Step::End { truncated })) => self.end(truncated, "no packet of it was whole"),
            Ok(Err(AudioError::NoTrack { detail })) if self.heard => self.end(true, &detail),
            Ok(Err(error)) => return Err(error),
            Err(panicked) => self.end(true, panicked),
        }
        Ok(())
    }

    fn resample(&mut self, rate: SampleRate) {
        if self.resampler.as_ref().is_none_or(|(current, _)| *current != rate) {
            self.flush();
            self.resampler = Some((rate, Resampler::new(rate, SampleRate::SPEECH)));
        }
        let Some((_, resampler)) = &mut self.resampler else { return };
        resampler.push(&self.mono, &mut self.ready);
        self.heard |= !self.mono.is_empty();
    }

    fn end(&mut self, truncated: bool, cause: &str) {
        self.flush();
        self.truncated = truncated;
        let damage = self.track.take().and_then(|track| track.last_error().map(str::to_owned));
        if !self.heard && (truncated || damage.is_some()) {
            self.damage = Some(damage.unwrap_or_else(|| cause.to_owned()));
        }
    }

    fn flush(&mut self) {
        if let Some((_, mut resampler)) = self.resampler.take() {
            resampler.finish(&mut self.ready);
        }
    }
}

impl fmt::Debug for FileReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileReader")
            .field("duration", &self.duration)
            .field("truncated", &self.truncated)
            .field("ended", &self.track.is_none())
            .finish_non_exhaustive()
    }
}

/// Runs decoder code that others wrote; what it was working on is given up when it panics.
fn contain<T>(work: impl FnOnce() -> T) -> Result<T, &'static str> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| "its decoder failed on it")
}

fn with_extension(error: AudioError, extension: Option<&str>) -> AudioError {
    match (error, extension) {
        (AudioError::UnknownFormat { detail }, Some(extension)) => {
            AudioError::UnknownFormat { detail: format!("{detail}, though it is called .{extension}") }
        }
        (error, _) => error,
    }
}
