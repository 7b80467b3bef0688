//! Noise to decode where nobody speaks: to warm a state up, to measure, to see whether a slot still works.

use crate::audio::{Span, Utterance, samples_in};
use std::time::Duration;

/// An utterance of quiet noise that lasts so long, the same every time.
pub fn noise(duration: Duration) -> Utterance {
    let span = Span::new(0, samples_in(duration));
    Utterance::spoken(span, samples(span.len() as usize))
}

/// White noise by xorshift.
fn samples(n: usize) -> Vec<f32> {
    let mut state = 0x2545_F491_u32;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state as f32 / u32::MAX as f32 - 0.5) * 0.1
    })
    .take(n)
    .collect()
}
