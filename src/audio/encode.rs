//! Samples to the bytes of a file, as they come: nothing is known of the end before it is there.
//!
//! Mono at 24 kHz, the rate of voices; decoding is [`FileReader`](super::FileReader)'s. There is no AAC: no well-kept
//! encoder for it can be had under a free licence.

mod flac;
#[cfg(feature = "mp3")]
mod mp3;
mod ogg_opus;
#[cfg(test)]
mod tests;

use super::{AudioError, SampleRate};
use flac::Flac;
#[cfg(feature = "mp3")]
use mp3::Mp3;
use ogg_opus::OggOpus;

/// A format that sound can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SoundFormat {
    /// Raw 16-bit samples, little end first.
    Pcm,
    /// The same behind a header that gives no length, because none is known.
    Wav,
    /// FLAC, lossless.
    Flac,
    /// Opus in Ogg.
    Opus,
    /// MP3; present unless the program was built without its encoder.
    #[cfg(feature = "mp3")]
    Mp3,
}

impl SoundFormat {
    /// Every format.
    pub const ALL: &[Self] = &[
        Self::Pcm,
        Self::Wav,
        Self::Flac,
        Self::Opus,
        #[cfg(feature = "mp3")]
        Self::Mp3,
    ];

    /// The format of that name, as in requests and endings of files' names.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|format| format.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pcm => "pcm",
            Self::Wav => "wav",
            Self::Flac => "flac",
            Self::Opus => "opus",
            #[cfg(feature = "mp3")]
            Self::Mp3 => "mp3",
        }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Pcm => "audio/pcm",
            Self::Wav => "audio/wav",
            Self::Flac => "audio/flac",
            Self::Opus => "audio/ogg",
            #[cfg(feature = "mp3")]
            Self::Mp3 => "audio/mpeg",
        }
    }
}

/// Writes one file of sound.
pub struct SoundEncoder {
    inner: Inner,
}

enum Inner {
    Pcm,
    Wav {
        begun: bool,
    },
    Flac(Box<Flac>),
    Opus(Box<OggOpus>),
    #[cfg(feature = "mp3")]
    Mp3(Box<Mp3>),
}

impl SoundEncoder {
    /// The rate of what it takes: 24 kHz.
    pub const RATE: SampleRate = SampleRate(24_000);

    /// An encoder at the beginning of a file.
    ///
    /// # Errors
    ///
    /// [`AudioError::Encode`] when the format's library does not start.
    pub fn new(format: SoundFormat) -> Result<Self, AudioError> {
        let inner = match format {
            SoundFormat::Pcm => Inner::Pcm,
            SoundFormat::Wav => Inner::Wav { begun: false },
            SoundFormat::Flac => Inner::Flac(Box::new(Flac::new()?)),
            SoundFormat::Opus => Inner::Opus(Box::new(OggOpus::new()?)),
            #[cfg(feature = "mp3")]
            SoundFormat::Mp3 => Inner::Mp3(Box::new(Mp3::new()?)),
        };
        Ok(Self { inner })
    }

    /// Takes the next samples at [`RATE`](Self::RATE) and gives the bytes that are ready, which may be none.
    ///
    /// # Errors
    ///
    /// [`AudioError::Encode`].
    pub fn push(&mut self, samples: &[f32]) -> Result<Vec<u8>, AudioError> {
        match &mut self.inner {
            Inner::Pcm => Ok(pcm16_bytes(samples)),
            Inner::Wav { begun } => {
                let head = if std::mem::replace(begun, true) { Vec::new() } else { wav_header() };
                Ok([head, pcm16_bytes(samples)].concat())
            }
            Inner::Flac(flac) => flac.push(samples),
            Inner::Opus(opus) => opus.push(samples),
            #[cfg(feature = "mp3")]
            Inner::Mp3(mp3) => mp3.push(samples),
        }
    }

    /// The last bytes of the file.
    ///
    /// # Errors
    ///
    /// [`AudioError::Encode`].
    pub fn finish(self) -> Result<Vec<u8>, AudioError> {
        match self.inner {
            Inner::Pcm | Inner::Wav { begun: true } => Ok(Vec::new()),
            Inner::Wav { begun: false } => Ok(wav_header()),
            Inner::Flac(flac) => flac.finish(),
            Inner::Opus(opus) => opus.finish(),
            #[cfg(feature = "mp3")]
            Inner::Mp3(mp3) => mp3.finish(),
        }
    }
}

/// A sample in 16 bits; what is too loud is clipped.
fn pcm16(sample: f32) -> i16 {
    // A cast from a float saturates.
    (sample * 32_768.0).round() as i16
}

/// Samples as 16-bit numbers, little end first.
pub fn pcm16_bytes(samples: &[f32]) -> Vec<u8> {
    samples.iter().flat_map(|sample| pcm16(*sample).to_le_bytes()).collect()
}

/// A WAV header for 16-bit mono whose lengths say "to the end".
fn wav_header() -> Vec<u8> {
    let rate = SoundEncoder::RATE.hertz();
    let mut header = Vec::with_capacity(44);
    header.extend(b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x01\0");
    header.extend(rate.to_le_bytes());
    header.extend((2 * rate).to_le_bytes());
    header.extend(b"\x02\0\x10\0data\xff\xff\xff\xff");
    header
}

fn failed(reason: impl std::fmt::Display) -> AudioError {
    AudioError::Encode(reason.to_string())
}
