//! Labelled recordings: what people say in a load test, and what is right.

use crate::audio::{SampleRate, Span};
use std::sync::Arc;

/// One labelled recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Clip {
    /// The name of its file.
    pub file: String,
    /// What kind of recording it is, as the table says; `all` where it does not.
    pub kind: String,
    /// What is said in it; empty for silence and noise.
    pub text: String,
    /// 16-bit mono at `rate`.
    pub samples: Arc<[i16]>,
    /// Samples per second.
    pub rate: SampleRate,
    /// Where somebody speaks, counted in samples of 16 kHz whatever the rate, in order. Not empty where there is text.
    pub speech: Vec<Span>,
}
