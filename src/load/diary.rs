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
    /// No text of the entries before this one is awaited.
    awaited_from: usize,
    finals: Vec<Noted>,
    trouble: BTreeMap<String, u64>,
    deltas: u64,
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
    at: Duration,
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
            awaited_from: 0,
            finals: Vec::new(),
            trouble: BTreeMap::new(),
            deltas: 0,
            said: Duration::ZERO,
            replied: None,
        }
    }

    /// The first sample of the recording lies at that position of the stream, where nothing was sent yet.
    pub fn begin_turn(&mut self, clip: Arc<Clip>, position: Duration) {
        self.entries.push(Entry::new(clip, position));
    }

    /// Everything up to that position has been sent by now. Tells whether the last speech of a turn was in what is new.
    pub fn said(&mut self, position: Duration, now: Duration) -> bool {
        self.said = self.said.max(position);
        // Turns follow on one another: those before the last that was sent to its end are, too.
        let unsent = self.entries.iter().rposition(Entry::finished).map_or(0, |last| last + 1);
        for entry in &mut self.entries[unsent..] {
            entry.said(position, now);
        }
        self.entries[unsent..].iter().any(Entry::finished)
    }

    /// The server said something.
    pub fn hear(&mut self, now: Duration, heard: Heard) {
        match heard {
            Heard::Delta { text: _, start } => {
                self.deltas += 1;
                self.delta(now, start.filter(|_| self.tells_positions));
            }
            Heard::Final(told) => self.answer(now, told),
            Heard::Failed { code, stretch: heard } => {
                self.note(code);
                self.fail(self.position(heard));
            }
            Heard::ReplyAudio(_) => self.reply(now),
            Heard::ReplyDone => self.replied = None,
            Heard::Trouble { code, message: _ } => self.note(code),
        }
    }

    /// Whether some turn was begun and has no final text yet, although there is still hope.
    pub fn awaits_text(&mut self, now: Duration) -> bool {
        let awaits = |entry: &Entry| entry.awaits_text(now, self.patience);
        let awaited = self.entries[self.awaited_from..].iter().position(awaits);
        self.awaited_from = awaited.map_or(self.entries.len(), |ahead| self.awaited_from + ahead);
        awaited.is_some()
    }

    /// What is left when all is over, now. Latencies are told only of turns that begin at `steady_from` of the stream or later:
    /// before that, people were not yet at their pace.
    pub fn close(self, now: Duration, steady_from: Duration) -> PersonOutcome {
        let last_settled = self.entries.iter().rposition(Entry::settled).unwrap_or(0);
        let is_steady = |turn: usize| self.entries[turn].position >= steady_from;
        let outcome = |(turn, entry): (usize, &Entry)| {
            let hopeless = turn < last_settled || !entry.awaits_text(now, self.patience);
            entry.outcome(hopeless, is_steady(turn))
        };
        let turns: Vec<_> = self.entries.iter().enumerate().map(outcome).collect();
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
                    at: noted.at.saturating_sub(steady_from),
                })
                .collect(),
            turns,
            trouble: self.trouble,
            deltas: self.deltas,
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
        let heard = self.position(told.stretch);
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
            self.finals.push(Noted { told, turns, at: now });
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

    fn delta(&mut self, now: Duration, start: Option<Duration>) {
        let turn = match start {
            Some(start) => self.turn_at(start),
            None => self.turn_being_heard(),
        };
        if let Some(turn) = turn {
            self.entries[turn].delta(now);
        }
    }

    /// Whose speech begins there, if it is still being heard.
    fn turn_at(&self, start: Duration) -> Option<usize> {
        let later = self.entries.partition_point(|entry| !entry.reaches(start));
        let entry = self.entries.get(later)?;
        (entry.has_text() && entry.started() && !entry.settled()).then_some(later)
    }

    /// The first turn that is not behind: texts come in order, so those before one that is settled are.
    fn turn_being_heard(&self) -> Option<usize> {
        let ahead = self.entries.iter().rposition(Entry::settled).map_or(0, |last| last + 1);
        let heard = self.entries[ahead..].iter().position(|entry| entry.has_text() && entry.started())?;
        Some(ahead + heard)
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
