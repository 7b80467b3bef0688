//! Band-limited resampling without seams.

use super::SampleRate;

/// Turns a stream at one rate into the same stream at another.
///
/// The output depends only on the samples and never on how they were cut into chunks; it has no delay at its
/// beginning and `finish` brings its end.
pub struct Resampler {}

impl Resampler {
    /// A resampler from one rate to another; equal rates copy.
    pub fn new(_from: SampleRate, _to: SampleRate) -> Self {
        todo!()
    }

    /// Takes the next samples and appends what is ready to `out`.
    pub fn push(&mut self, _samples: &[f32], _out: &mut Vec<f32>) {
        todo!()
    }

    /// Appends what was still held back, and begins anew.
    pub fn finish(&mut self, _out: &mut Vec<f32>) {
        todo!()
    }
}
