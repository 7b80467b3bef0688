//! Settings in the units that an endpointer counts in, and within what it can do.

use super::EndpointSettings;
use crate::audio::{FRAME_SAMPLES, SampleRate, samples_in};
use std::time::Duration;

const FRAME: u64 = FRAME_SAMPLES as u64;

/// What [`EndpointSettings`] mean. An utterance has room for the pre-roll and for enough speech to be believed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Samples of pre-roll.
    pub(super) prefix: u64,
    /// Frames of silence that end speech.
    pub(super) end_silence: u64,
    /// Frames of silence that are a pause to be told; `None`: no pause is.
    pub(super) short_pause: Option<u64>,
    /// Frames of speech that are more than a click.
    pub(super) min_speech: u64,
    /// Samples that an utterance may have.
    pub(super) longest: u64,
}

impl Limits {
    pub(super) fn of(settings: &EndpointSettings) -> Self {
        let longest = samples_in(settings.longest).max(u64::from(SampleRate::SPEECH.hertz()));
        Self {
            prefix: samples_in(settings.prefix).min(longest / 2),
            end_silence: frames_in(settings.end_silence),
            short_pause: Some(frames_in(settings.short_pause)).filter(|frames| *frames > 0),
            min_speech: frames_in(settings.min_speech).clamp(1, longest / 4 / FRAME),
            longest,
        }
    }

    /// Whether an utterance of `samples` may grow by a frame.
    pub(super) fn fits_a_frame_more(self, samples: u64) -> bool {
        samples + FRAME <= self.longest
    }
}

/// How many frames it takes to cover `duration`.
pub(super) fn frames_in(duration: Duration) -> u64 {
    samples_in(duration).div_ceil(FRAME)
}
