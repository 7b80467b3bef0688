//! MP3 through LAME, which is under the LGPL: whoever wants a program without it builds without the feature `mp3`.

use super::{SoundEncoder, failed};
use crate::audio::AudioError;
use mp3lame_encoder::{
    Bitrate, Builder, Encoder, FlushNoGap, Mode, MonoPcm, Quality, max_required_buffer_size,
};

/// What LAME wants as room for the end, by its documentation.
const ROOM_FOR_THE_END: usize = 7_200;

pub(super) struct Mp3 {
    encoder: Encoder,
}

impl Mp3 {
    pub(super) fn new() -> Result<Self, AudioError> {
        let wrong = |error: mp3lame_encoder::BuildError| failed(format!("MP3: {error}"));
        let mut builder = Builder::new().ok_or_else(|| failed("MP3: no memory"))?;
        builder.set_num_channels(1).map_err(wrong)?;
        builder.set_sample_rate(SoundEncoder::RATE.hertz()).map_err(wrong)?;
        builder.set_mode(Mode::Mono).map_err(wrong)?;
        builder.set_brate(Bitrate::Kbps64).map_err(wrong)?;
        builder.set_quality(Quality::Good).map_err(wrong)?;
        // It would stand at the beginning and tell the length, which nobody knows there.
        builder.set_to_write_vbr_tag(false).map_err(wrong)?;
        Ok(Self { encoder: builder.build().map_err(wrong)? })
    }

    pub(super) fn push(&mut self, samples: &[f32]) -> Result<Vec<u8>, AudioError> {
        let mut out = Vec::with_capacity(max_required_buffer_size(samples.len()));
        if !samples.is_empty() {
            self.encoder.encode_to_vec(MonoPcm(samples), &mut out).map_err(failed)?;
        }
        Ok(out)
    }

    pub(super) fn finish(mut self) -> Result<Vec<u8>, AudioError> {
        let mut out = Vec::with_capacity(ROOM_FOR_THE_END);
        self.encoder.flush_to_vec::<FlushNoGap>(&mut out).map_err(failed)?;
        Ok(out)
    }
}
