//! FLAC, a frame at a time: lengths and checksum in the head of the stream are left unknown, as the format allows.

use super::{SoundEncoder, failed, pcm16};
use crate::audio::AudioError;
use flacenc::bitsink::ByteSink;
use flacenc::component::{BitRepr, Stream, StreamInfo};
use flacenc::config;
use flacenc::error::{Verified, Verify as _};
use flacenc::source::{Fill as _, FrameBuf};

/// Samples of a frame: 43 ms.
const FRAME: usize = 1_024;

/// Samples of the shortest frame.
const SHORTEST: usize = flacenc::constant::MIN_BLOCK_SIZE;

pub(super) struct Flac {
    config: Verified<config::Encoder>,
    info: StreamInfo,
    /// Samples that do not fill a frame yet.
    pending: Vec<i32>,
    frames: usize,
    begun: bool,
}

impl Flac {
    pub(super) fn new() -> Result<Self, AudioError> {
        let config = config::Encoder::default().into_verified().map_err(|(_, error)| failed(error))?;
        let mut info = StreamInfo::new(SoundEncoder::RATE.hertz() as usize, 1, 16).map_err(failed)?;
        info.set_block_sizes(FRAME, FRAME).map_err(failed)?;
        Ok(Self { config, info, pending: Vec::new(), frames: 0, begun: false })
    }

    pub(super) fn push(&mut self, samples: &[f32]) -> Result<Vec<u8>, AudioError> {
        self.pending.extend(samples.iter().map(|sample| i32::from(pcm16(*sample))));
        let mut out = self.head()?;
        while self.pending.len() >= FRAME {
            let rest = self.pending.split_off(FRAME);
            let frame = std::mem::replace(&mut self.pending, rest);
            out.extend(self.frame(&frame)?);
        }
        Ok(out)
    }

    pub(super) fn finish(mut self) -> Result<Vec<u8>, AudioError> {
        let mut out = self.head()?;
        let mut last = std::mem::take(&mut self.pending);
        if !last.is_empty() {
            last.resize(last.len().max(SHORTEST), 0);
            out.extend(self.frame(&last)?);
        }
        Ok(out)
    }

    /// The head of the stream, the first time.
    fn head(&mut self) -> Result<Vec<u8>, AudioError> {
        if std::mem::replace(&mut self.begun, true) {
            return Ok(Vec::new());
        }
        bytes(&Stream::with_stream_info(self.info.clone()))
    }

    fn frame(&mut self, samples: &[i32]) -> Result<Vec<u8>, AudioError> {
        let mut buffer = FrameBuf::with_size(1, samples.len()).map_err(failed)?;
        buffer.fill_interleaved(samples).map_err(failed)?;
        let frame = flacenc::encode_fixed_size_frame(&self.config, &buffer, self.frames, &self.info);
        self.frames += 1;
        bytes(&frame.map_err(failed)?)
    }
}

fn bytes(part: &impl BitRepr) -> Result<Vec<u8>, AudioError> {
    let mut sink = ByteSink::new();
    part.write(&mut sink).map_err(|_| failed("a frame of FLAC cannot be written"))?;
    Ok(sink.into_inner())
}
