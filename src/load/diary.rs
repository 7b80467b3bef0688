//! The book of one person: when it said what, and what came back. Pure: all times are handed in, and count from the
//! moment at which the person's stream began.
//!
//! Where a protocol tells which part of the stream a text is of, texts belong to the turns that they overlap: a long
//! recording may yield several texts, and one text may be of several turns. Where it does not, a text belongs to the
//! latest turn that was begun before it came.

mod entry;
mod outcome;
mod score;
#[cfg(test)]
mod tests;

pub use outcome::{Fate, FinalOutcome, PersonOutcome, Score, TurnOutcome};

use super::clips::Clip;
use super::protocol::{Final, Heard, Stretch};
use super::words::words;
use entry::Entry;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A text that touches no speech is still of a turn this near to it: servers are not exact about where they heard it.
const NEAR: Duration = Duration::from_millis(500);

/// What one person said, and what came back.
#[derive(Debug)]
pub struct Diary {
    tells_positions: bool,
    /// How long a text may take before nobody waits for it any more.
    patience: Duration,
    entries: Vec<Entry>,
    finals: Vec<Noted>,
    trouble: BTreeMap<String, u64>,
    /// Everything up to here has been sent.
    said: Duration,
    /// Which turn the reply that is being heard answers.
    replied: Option<usize>,
}

/// A final, and the turns that it is of, in order.
#[derive(Debug)]
struct Noted {
    told: Final,
    turns: Vec<usize>,
}

impl Diary {
    /// An empty book. `tells_positions` is what [`Protocol::tells_positions`](super::Protocol::tells_positions) says.
    ///
    /// A text that has not come after `patience` is not awaited any more; when it comes, it counts all the same.
    pub fn new(tells_positions: bool, patience: Duration) -> Self {
        Self {
            tells_positions,
            patience,
            entries: Vec::new(),
            finals: Vec::new(),
            trouble: BTreeMap::new(),
            said: Duration::ZERO,
            replied: None,
        }
    }

    /// The first sample of the recording lies at that position of the stream, where nothing was sent yet.
    pub fn begin_turn(&mut self, clip: Arc<Clip>, position: Duration) {
        self.entries.push(Entry::new(clip, position));
    }

    /// Everything up to that position has been sent by now.
    pub fn said(&mut self, position: Duration, now: Duration) {
        self.said = self.said.max(position);
        // Turns follow on one another: those before the last that was sent to its end are, too.
        let unsent = self.entries.iter().rposition(Entry::finished).map_or(0, |last| last + 1);
        for entry in &mut self.entries[unsent..] {
            entry.said(position, now);
        }
    }

    /// The server said something.
    pub fn hear(&mut self, now: Duration, heard: Heard) {
        match heard {
            Heard::Delta => self.delta(now),
            Heard::Final(told) => self.answer(now, told),
            Heard::Failed { code, heard } => {
                self.note(code);
                self.fail(self.position(heard));
            }
            Heard::ReplyAudio(_) => self.reply(now),
            Heard::ReplyDone => self.replied = None,
            Heard::Trouble { code, message: _ } => self.note(code),
        }
    }

    /// Whether some turn was sent to its end and has no final text yet, although there is still hope.
    pub fn awaits_text(&self, now: Duration) -> bool {
        self.entries.iter().any(|entry| entry.awaits_text(now, self.patience))
    }

    /// What is left when all is over. Latencies are told only of turns that begin at `steady_from` of the stream or later:
    /// before that, people were not yet at their pace.
    pub fn close(self, steady_from: Duration) -> PersonOutcome {
        let last_settled = self.entries.iter().rposition(Entry::settled).unwrap_or(0);
        let is_steady = |turn: usize| self.entries[turn].position >= steady_from;
        let turns: Vec<_> = (0..self.entries.len())
            .map(|turn| self.entries[turn].outcome(turn < last_settled, is_steady(turn)))
            .collect();
        PersonOutcome {
            scores: score::scores(&turns, &self.finals),
            spoken: self.entries.iter().map(|entry| entry.spoken(self.said)).sum(),
            finals: self
                .finals
                .iter()
                .map(|noted| FinalOutcome {
                    told: noted.told.clone(),
                    turn: noted.turns.first().copied(),
                    steady: noted.turns.iter().copied().any(is_steady),
                })
                .collect(),
            turns,
            trouble: self.trouble,
        }
    }

    fn note(&mut self, code: String) {
        *self.trouble.entry(code).or_default() += 1;
    }

    /// A position, where it can be relied on.
    fn position(&self, heard: Option<Stretch>) -> Option<Stretch> {
        heard.filter(|_| self.tells_positions)
    }

    fn answer(&mut self, now: Duration, told: Final) {
        let heard = self.position(told.heard);
        // A full stop is no text.
        let has_text = !words(&told.text).is_empty();
        let turns = self.turns_of(heard, has_text);
        for turn in &turns {
            self.entries[*turn].answer(now, heard, has_text);
        }
        // Whoever got a new text no longer hears the reply to the old one, even if nobody said that it is over.
        if self.replied < turns.last().copied() {
            self.replied = None;
        }
        // That there is no text in silence is no news.
        if !turns.is_empty() || has_text {
            self.finals.push(Noted { told, turns });
        }
    }

    fn fail(&mut self, heard: Option<Stretch>) {
        for turn in self.turns_of(heard, true) {
            self.entries[turn].fail();
        }
    }

    /// Whose it is. What has no text is of nobody whose speech it merely touches: it is the silence beside it.
    fn turns_of(&self, heard: Option<Stretch>, has_text: bool) -> Vec<usize> {
        let Some(heard) = heard else { return self.turn_by_order().into_iter().collect() };
        let turns = 0..self.entries.len();
        let clearly: Vec<_> = turns.filter(|turn| self.entries[*turn].is_clearly_in(heard)).collect();
        if clearly.is_empty() && has_text { self.nearest(heard).into_iter().collect() } else { clearly }
    }

    /// Of a protocol that tells positions, what comes without one is of the first turn that waits.
    fn turn_by_order(&self) -> Option<usize> {
        let waits =
            |entry: &Entry| self.tells_positions && entry.has_text() && entry.finished() && !entry.settled();
        self.entries.iter().position(waits).or(self.entries.len().checked_sub(1))
    }

    fn nearest(&self, heard: Stretch) -> Option<usize> {
        let near = (0..self.entries.len()).filter(|turn| self.entries[*turn].distance(heard) <= NEAR);
        near.max_by_key(|turn| {
            (self.entries[*turn].overlap(heard), Reverse(self.entries[*turn].distance(heard)))
        })
    }

    /// A delta is of the first turn that is not behind: texts come in order, so those before one that is settled are.
    fn delta(&mut self, now: Duration) {
        let ahead = self.entries.iter().rposition(Entry::settled).map_or(0, |last| last + 1);
        let unsettled = self.entries[ahead..].iter_mut();
        if let Some(entry) = unsettled.into_iter().find(|entry| entry.has_text() && entry.started()) {
            entry.delta(now);
        }
    }

    /// The first sound of a reply is of the last turn that was sent to its end; the rest is of the same reply.
    fn reply(&mut self, now: Duration) {
        if self.replied.is_none() {
            self.replied = self.entries.iter().rposition(|entry| entry.has_text() && entry.finished());
            if let Some(turn) = self.replied {
                self.entries[turn].reply(now);
            }
        }
    }
}
