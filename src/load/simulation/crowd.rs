//! Who is in the world: how sessions behave, when each has said something, and what.

use super::{Chance, Scenario, Utterance};
use std::time::Duration;

/// Ordinary sessions of a scenario begin within this time, not all at once.
const ARRIVAL: Duration = Duration::from_secs(60);

/// How a session behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::load) enum Habit {
    /// Waits for the text of what it said, thinks, and speaks again.
    Converses,
    /// Always keeps so many tickets waiting.
    Pushes(usize),
    /// Speaks on its own schedule, whatever the server does. What it says while an older utterance is not read yet waits
    /// behind that one, as in a real session.
    SpeaksOn,
}

/// Sessions, numbered from 0.
pub(in crate::load) trait Crowd {
    /// How many there are.
    fn sessions(&self) -> usize;

    /// How this one behaves.
    fn habit(&self, session: usize) -> Habit;

    /// When this one has said its first utterance. Asked once, before everything else, and not of who pushes.
    fn arrival(&mut self, session: usize) -> Duration;

    /// What this one has just said.
    fn say(&mut self, session: usize, now: Duration) -> Utterance;

    /// How long this one takes until it has said the next utterance: it thinks, and it speaks.
    fn pause(&mut self, session: usize) -> Duration;
}

/// The sessions of a [`Scenario`]: first those that push, then those that converse.
pub(super) struct Evening {
    talkers: Vec<Talker>,
    mean_pause: Duration,
}

/// One session, with chances of its own, so that it says the same under every discipline.
struct Talker {
    depth: usize,
    /// What it will say next.
    next: Utterance,
    chance: Chance,
}

impl Evening {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let depths = scenario.backlogged.iter().copied().chain((0..scenario.ordinary).map(|_| 0));
        let talker = |(number, depth)| {
            let mut chance = Chance::new(scenario.seed.wrapping_mul(1_000_003).wrapping_add(number));
            Talker { depth, next: Utterance::random(&mut chance), chance }
        };
        Self { talkers: (0..).zip(depths).map(talker).collect(), mean_pause: scenario.mean_pause() }
    }
}

impl Crowd for Evening {
    fn sessions(&self) -> usize {
        self.talkers.len()
    }

    fn habit(&self, session: usize) -> Habit {
        match self.talkers[session].depth {
            0 => Habit::Converses,
            depth => Habit::Pushes(depth),
        }
    }

    fn arrival(&mut self, session: usize) -> Duration {
        ARRIVAL.mul_f64(self.talkers[session].chance.unit())
    }

    fn say(&mut self, session: usize, _: Duration) -> Utterance {
        let talker = &mut self.talkers[session];
        std::mem::replace(&mut talker.next, Utterance::random(&mut talker.chance))
    }

    fn pause(&mut self, session: usize) -> Duration {
        let talker = &mut self.talkers[session];
        talker.chance.pause(self.mean_pause) + talker.next.speech
    }
}
