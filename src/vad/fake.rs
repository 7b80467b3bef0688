//! A detector for tests that takes loudness for speech.

use super::{Detector, VadError, VadState};
use crate::audio::Frame;

/// Hears speech (0.95) in every frame whose peak is 0.1 or more, is not sure (0.4) from 0.05 on, and hears none (0.02) in the
/// others.
#[derive(Debug, Default)]
pub struct FakeDetector;

impl Detector for FakeDetector {
    fn probabilities(
        &mut self,
        steps: &mut [(&mut VadState, &Frame)],
        out: &mut [f32],
    ) -> Result<(), VadError> {
        for ((_, frame), probability) in steps.iter().zip(out) {
            let peak = frame.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
            *probability = match peak {
                0.1.. => 0.95,
                0.05.. => 0.4,
                _ => 0.02,
            };
        }
        Ok(())
    }
}
