//! What one phrase took, for the metrics.

use super::TtsError;
use crate::audio::Pcm;
use crate::telemetry::metrics::{self, Saying, Speaker};
use std::time::Duration;
use tokio::time::Instant;

/// A phrase that is being said. What is dropped without a word was cancelled.
pub(super) struct Account {
    speaker: Speaker,
    asked: Instant,
    sounded: bool,
    outcome: Saying,
}

impl Account {
    /// Begins when the phrase is asked for.
    pub(super) fn open(speaker: Speaker) -> Self {
        Self { speaker, asked: Instant::now(), sounded: false, outcome: Saying::Cancelled }
    }

    /// A piece of sound is ready.
    pub(super) fn piece(&mut self, pcm: &Pcm) {
        if !self.sounded {
            self.sounded = true;
            metrics::first_sound(self.speaker, self.asked.elapsed());
        }
        let seconds = pcm.samples.len() as f64 / f64::from(pcm.rate.hertz());
        metrics::sound_made(Duration::from_secs_f64(seconds));
    }

    /// How it ended.
    pub(super) fn close(mut self, result: &Result<(), TtsError>) {
        self.outcome = match result {
            Ok(()) => Saying::Said,
            Err(TtsError::Cancelled) => Saying::Cancelled,
            Err(_) => Saying::Failed,
        };
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        metrics::phrase_ended(self.outcome);
    }
}
