//! Cuts utterances out of a stream of frames. Pure.
//!
//! The endpointer keeps a bounded ring of samples (longest utterance + pre-roll). An utterance that grows to the bound
//! is cut at the quietest pause in its later half, and what lies behind the cut begins the next utterance, so that
//! nothing is lost and no word is halved if it can be helped.

use crate::audio::{Frame, Utterance};
use std::time::Duration;

/// When speech begins and ends.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointSettings {
    /// Probability from which a frame is speech, 0 to 1.
    pub threshold: f32,
    /// How much of the stream before the first speech goes into the utterance.
    pub prefix: Duration,
    /// How long silence must last to end the utterance; it is part of the utterance.
    pub end_silence: Duration,
    /// Speech shorter than this is a click, not speech.
    pub min_speech: Duration,
    /// No utterance gets longer than this.
    pub longest: Duration,
    /// `true`: the detector cuts (and `commit` cuts early). `false`: only `commit` cuts, and the whole stream
    /// since the last cut is the utterance.
    pub automatic: bool,
}

impl Default for EndpointSettings {
    fn default() -> Self {
        Self {
            threshold: 0.5,
            prefix: Duration::from_millis(300),
            end_silence: Duration::from_millis(500),
            min_speech: Duration::from_millis(100),
            longest: Duration::from_secs(28),
            automatic: true,
        }
    }
}

/// Why an utterance ended where it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Silence followed.
    Silence,
    /// It reached the longest length; speech may go on in the next.
    Longest,
    /// Somebody asked for it: a client's commit, or the end of the stream.
    Commit,
}

/// What happened in the stream. Positions are samples at 16 kHz from the beginning of the stream.
#[derive(Debug, Clone, PartialEq)]
pub enum EndpointEvent {
    /// Speech began; `at` includes the pre-roll. In manual mode this is never sent.
    SpeechStarted {
        /// Where the utterance begins.
        at: u64,
    },
    /// Speech is over; `at` includes the end silence. In manual mode this is never sent.
    SpeechStopped {
        /// Where the utterance ends.
        at: u64,
    },
    /// An utterance is complete. Follows `SpeechStopped` at once when silence ended it. After [`Cut::Longest`] in
    /// automatic mode a `SpeechStarted` follows if speech goes on.
    Utterance(Utterance, Cut),
}

/// Builds utterances from frames and their probabilities.
#[derive(Debug)]
pub struct Endpointer {}

impl Endpointer {
    /// An endpointer at the beginning of a stream.
    pub fn new(_settings: EndpointSettings) -> Self {
        todo!()
    }

    /// The settings in force.
    pub fn settings(&self) -> &EndpointSettings {
        todo!()
    }

    /// Changes the settings from here on; an utterance in progress goes on.
    pub fn configure(&mut self, _settings: EndpointSettings) {
        todo!()
    }

    /// Takes one frame and how likely it is speech; appends what happened to `events`.
    pub fn push(&mut self, _frame: &Frame, _probability: f32, _events: &mut Vec<EndpointEvent>) {
        todo!()
    }

    /// Cuts now: what has been said since the last cut is an utterance. `tail` are the samples since the last whole
    /// frame (fewer than 512), which belong to it. In automatic mode without speech in progress, and in manual mode
    /// without any sample, there is nothing to cut and nothing is appended.
    pub fn commit(&mut self, _tail: &[f32], _events: &mut Vec<EndpointEvent>) {
        todo!()
    }

    /// Forgets what has been said since the last cut. In automatic mode speech in progress is dropped without an event.
    pub fn clear(&mut self) {
        todo!()
    }

    /// Samples that a commit would cut now (without `tail`); 0 when there is nothing.
    pub fn pending(&self) -> u64 {
        todo!()
    }

    /// Whether speech is in progress.
    pub fn speaking(&self) -> bool {
        todo!()
    }
}
