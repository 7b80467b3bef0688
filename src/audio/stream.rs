//! Raw audio as it comes over a socket, to 16 kHz mono.

use super::{AudioError, SampleRate};

/// What the bytes of a live stream are. Always one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamFormat {
    /// Signed 16-bit little endian at 8 to 48 kHz.
    Pcm16 {
        /// Samples per second.
        rate: SampleRate,
    },
    /// G.711 µ-law at 8 kHz.
    MuLaw,
    /// G.711 A-law at 8 kHz.
    ALaw,
}

impl StreamFormat {
    /// PCM16 at `hertz`.
    ///
    /// # Errors
    ///
    /// [`AudioError::UnsupportedRate`] outside 8000 to 48000.
    pub fn pcm16(_hertz: u32) -> Result<Self, AudioError> {
        todo!()
    }
}

/// Decodes and resamples one live stream.
pub struct StreamDecoder {}

impl StreamDecoder {
    /// A decoder at the beginning of a stream.
    pub fn new(_format: StreamFormat) -> Self {
        todo!()
    }

    /// The format it was made for.
    pub fn format(&self) -> StreamFormat {
        todo!()
    }

    /// Takes the next bytes and appends 16 kHz mono samples to `out`.
    ///
    /// # Errors
    ///
    /// [`AudioError::OddByteCount`] for PCM16; nothing of that chunk is taken, and the stream goes on.
    pub fn push(&mut self, _bytes: &[u8], _out: &mut Vec<f32>) -> Result<(), AudioError> {
        todo!()
    }

    /// Appends the samples that the resampler still holds back, and begins anew.
    pub fn finish(&mut self, _out: &mut Vec<f32>) {
        todo!()
    }
}
