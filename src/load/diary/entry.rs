//! One turn in the diary: where it lies in the stream, when it was sent, what came of it.

use super::{Fate, TurnOutcome};
use crate::audio::duration_of;
use crate::load::clips::Clip;
use crate::load::protocol::Stretch;
use std::sync::Arc;
use std::time::Duration;

/// A server hears the end of speech so much earlier than the label says, at most.
const EARLY: Duration = Duration::from_millis(500);

/// What a stretch has in common with a turn by being cut a little differently than its label.
const BLUR: Duration = Duration::from_millis(300);

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) clip: Arc<Clip>,
    /// Where its recording begins in the stream.
    pub(super) position: Duration,
    /// From its first speech to its last, in the stream; the whole recording where there is none.
    speech: Stretch,
    first_sent: Option<Duration>,
    last_sent: Option<Duration>,
    /// How far into the stream the server has heard it.
    heard_until: Option<Duration>,
    failed: bool,
    /// When its last final came.
    last_final: Option<Duration>,
    /// Whether any text came.
    told: bool,
    first_delta: Option<Duration>,
    first_audio: Option<Duration>,
}

impl Entry {
    pub(super) fn new(clip: Arc<Clip>, position: Duration) -> Self {
        let (start, end) = match (clip.speech.first(), clip.speech.last()) {
            (Some(first), Some(last)) => (duration_of(first.start), duration_of(last.end)),
            _ => (Duration::ZERO, clip.duration()),
        };
        Self {
            speech: Stretch { start: position + start, end: position + end },
            clip,
            position,
            first_sent: None,
            last_sent: None,
            heard_until: None,
            failed: false,
            last_final: None,
            told: false,
            first_delta: None,
            first_audio: None,
        }
    }

    /// Whether there is something to be heard in it.
    pub(super) fn has_text(&self) -> bool {
        !self.clip.text.is_empty()
    }

    /// Whether its first speech was sent.
    pub(super) fn started(&self) -> bool {
        self.first_sent.is_some()
    }

    /// Whether its last speech was sent.
    pub(super) fn finished(&self) -> bool {
        self.last_sent.is_some()
    }

    /// Whether the server is done with it, for better or worse.
    pub(super) fn settled(&self) -> bool {
        self.failed || self.heard_until.is_some_and(|until| until + EARLY >= self.speech.end)
    }

    /// Whether its text may still come: it is not too long since all of it was sent, and the server is not done with it.
    /// Once it is not awaited any more, it never is again.
    pub(super) fn awaits_text(&self, now: Duration, patience: Duration) -> bool {
        let hopes = |sent| now < sent + patience;
        self.has_text() && self.last_sent.is_none_or(hopes) && !self.settled()
    }

    /// Everything up to `position` has been sent by `now`.
    pub(super) fn said(&mut self, position: Duration, now: Duration) {
        if position > self.speech.start {
            self.first_sent.get_or_insert(now);
        }
        if position >= self.speech.end {
            self.last_sent.get_or_insert(now);
        }
    }

    /// How much of its recording was sent, if everything up to `position` was.
    pub(super) fn spoken(&self, position: Duration) -> Duration {
        position.saturating_sub(self.position).min(self.clip.duration())
    }

    /// How much of its speech lies in `heard`.
    pub(super) fn overlap(&self, heard: Stretch) -> Duration {
        self.speech.end.min(heard.end).saturating_sub(self.speech.start.max(heard.start))
    }

    /// Whether a stretch is clearly of this turn, and does not just touch it.
    pub(super) fn is_clearly_in(&self, heard: Stretch) -> bool {
        let shorter = length_of(self.speech).min(length_of(heard));
        let overlap = self.overlap(heard);
        !overlap.is_zero() && overlap >= BLUR.min(shorter / 2)
    }

    /// How far a stretch is from its speech; zero where they touch.
    pub(super) fn distance(&self, heard: Stretch) -> Duration {
        let before = self.speech.start.saturating_sub(heard.end);
        before.max(heard.start.saturating_sub(self.speech.end))
    }

    /// A final came. The server has heard the turn to the end of that; without a position, to the end of the turn if
    /// that was sent. What only says that nothing more comes is not what people wait for, unless
    /// all that came before it was of a part.
    pub(super) fn answer(&mut self, now: Duration, heard: Option<Stretch>, has_text: bool) {
        let until = heard.map(|heard| heard.end).or(self.last_sent.map(|_| self.speech.end));
        self.heard_until = self.heard_until.max(until);
        if has_text || self.last_final.is_none() || self.last_final < self.last_sent {
            self.last_final = Some(now);
        }
        self.told |= has_text;
    }

    pub(super) fn fail(&mut self) {
        self.failed = true;
    }

    /// Whether speech that begins at `start` of the stream is of this turn or an earlier one: there is speech after it
    /// that is more than a difference between a server's ear and the label.
    pub(super) fn reaches(&self, start: Duration) -> bool {
        self.speech.end > start + BLUR.min(length_of(self.speech) / 2)
    }

    pub(super) fn delta(&mut self, now: Duration) {
        self.first_delta.get_or_insert(now);
    }

    pub(super) fn reply(&mut self, now: Duration) {
        self.first_audio.get_or_insert(now);
    }

    /// What became of it; `hopeless`: nothing more comes, even if we were to wait.
    pub(super) fn fate(&self, hopeless: bool) -> Fate {
        match self {
            _ if !self.has_text() => Fate::Silent,
            _ if !self.finished() => Fate::Unfinished,
            _ if self.failed => Fate::Lost,
            _ if self.settled() => Fate::Answered,
            _ if hopeless => Fate::Lost,
            _ => Fate::Awaited,
        }
    }

    pub(super) fn outcome(&self, hopeless: bool, steady: bool) -> TurnOutcome {
        let fate = self.fate(hopeless);
        let counts = steady && self.has_text();
        let since = |from: Option<Duration>, to: Option<Duration>| {
            let (from, to) = (from.filter(|_| counts)?, to?);
            Some(to.saturating_sub(from))
        };
        let last_final = self.last_final.filter(|_| fate == Fate::Answered && self.told);
        TurnOutcome {
            clip: Arc::clone(&self.clip),
            position: self.position,
            fate,
            steady,
            final_latency: since(self.last_sent, last_final),
            first_delta: since(self.first_sent, self.first_delta),
            first_audio: since(self.last_sent, self.first_audio),
        }
    }
}

fn length_of(stretch: Stretch) -> Duration {
    stretch.end.saturating_sub(stretch.start)
}
