//! What is left of a person when its run is over.

use crate::load::clips::Clip;
use crate::load::protocol::Final;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What one person said, heard and missed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PersonOutcome {
    /// Its turns, in order.
    pub turns: Vec<TurnOutcome>,
    /// The finals, as they came.
    pub finals: Vec<FinalOutcome>,
    /// Wrong words, turn by turn.
    pub scores: Vec<Score>,
    /// Errors that came on the connection, by code: failed stretches of speech and trouble.
    pub trouble: BTreeMap<String, u64>,
    /// How much of its recordings was sent, without the silence between them.
    pub spoken: Duration,
    /// Deltas that came.
    pub deltas: u64,
}

impl PersonOutcome {
    /// Adds what the same person did on a later connection.
    pub fn absorb(&mut self, later: PersonOutcome) {
        let turns_before = self.turns.len();
        self.turns.extend(later.turns);
        self.finals.extend(
            later
                .finals
                .into_iter()
                .map(|heard| FinalOutcome { turn: heard.turn.map(|turn| turns_before + turn), ..heard }),
        );
        self.scores.extend(later.scores);
        for (code, count) in later.trouble {
            *self.trouble.entry(code).or_default() += count;
        }
        self.spoken += later.spoken;
        self.deltas += later.deltas;
    }

    /// Finals with text that nobody said: they belong to no turn.
    pub fn strays(&self) -> impl Iterator<Item = &str> {
        self.finals.iter().filter(|heard| heard.turn.is_none()).map(|heard| heard.told.text.as_str())
    }
}

/// One turn of a person. Latencies are `None` where nothing came, or no text, where the recording has no speech, and in turns that
/// were begun before people were at their pace.
#[derive(Debug, Clone, PartialEq)]
pub struct TurnOutcome {
    /// What was played.
    pub clip: Arc<Clip>,
    /// Where its recording begins in the stream.
    pub position: Duration,
    /// What became of it.
    pub fate: Fate,
    /// Whether it was begun when people were at their pace.
    pub steady: bool,
    /// From the moment its last speech was sent to its last final.
    pub final_latency: Option<Duration>,
    /// From the moment its first speech was sent to the first delta.
    pub first_delta: Option<Duration>,
    /// From the moment its last speech was sent to the first sound of the reply.
    pub first_audio: Option<Duration>,
}

/// What became of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// There was nothing to be heard in it.
    Silent,
    /// Its text came.
    Answered,
    /// Its text never came, or only in part: it failed, text came of what was said later, or it took too long.
    Lost,
    /// Its text had not come when the connection ended, and no later one either, but it could have.
    Awaited,
    /// It was broken off before all of its speech was sent.
    Unfinished,
}

/// A final text, and what it belongs to.
#[derive(Debug, Clone, PartialEq)]
pub struct FinalOutcome {
    /// As the server told it.
    pub told: Final,
    /// The first of the turns that it is of; `None` where nobody said anything.
    pub turn: Option<usize>,
    /// Whether it is of a turn that was begun when people were at their pace.
    pub steady: bool,
    /// When it came, since people were at their pace; zero before that.
    pub at: Duration,
}

/// How right a text is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Score {
    /// Of what kind the recording is.
    pub kind: String,
    /// Words that were said; 0 for text of which nobody said anything.
    pub words: u64,
    /// Words to change in the text.
    pub errors: u64,
    /// Words to change in what the deltas came to; `None` where none came.
    pub streamed_errors: Option<u64>,
    /// Whether the text, or some of it, was still awaited at the end ([`Fate::Awaited`]).
    pub awaited: bool,
}
