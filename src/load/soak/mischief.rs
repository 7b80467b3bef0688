//! How clients misbehave, and when. Pure.

use super::super::turns::chance::Chance;
use std::time::Duration;

/// One way of misbehaving.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mischief {
    /// Connects and says nothing at all.
    SilentSocket,
    /// Begins to ask for a connection and never comes to the end.
    HalfHandshake,
    /// Comes in, then neither sends nor reads.
    SilentSession,
    /// Is gone in the middle of a sentence.
    Vanish,
    /// The same, with a reset.
    Reset,
    /// Comes, speaks a little, leaves, and is there again at once.
    Reconnect,
    /// Speaks and never reads.
    SlowReader,
    /// Sends what no protocol knows.
    Malformed,
}

/// What can be done to any server.
pub(super) const ANYBODY: &[Mischief] = &[
    Mischief::SilentSocket,
    Mischief::HalfHandshake,
    Mischief::SilentSession,
    Mischief::Vanish,
    Mischief::Reconnect,
];

/// What is done to ours.
pub(super) const OURS: &[Mischief] = &[
    Mischief::SilentSocket,
    Mischief::HalfHandshake,
    Mischief::SilentSession,
    Mischief::Vanish,
    Mischief::Reset,
    Mischief::Reconnect,
    Mischief::SlowReader,
    Mischief::Malformed,
];

impl Mischief {
    /// Its name in reports.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::SilentSocket => "silent_socket",
            Self::HalfHandshake => "half_handshake",
            Self::SilentSession => "silent_session",
            Self::Vanish => "vanish",
            Self::Reset => "reset",
            Self::Reconnect => "reconnect",
            Self::SlowReader => "slow_reader",
            Self::Malformed => "malformed",
        }
    }
}

/// Who misbehaves next.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Act {
    /// How long after the one before.
    pub(super) pause: Duration,
    /// In which way.
    pub(super) mischief: Mischief,
    /// For how long it speaks, or is silent.
    pub(super) lasts: Duration,
    /// Chooses among what there is to choose in it.
    pub(super) choice: usize,
}

/// Acts without end: the same for the same seed. Each kind has its turn once in every round, in changing order.
#[derive(Debug)]
pub(super) struct Acts {
    chance: Chance,
    kinds: &'static [Mischief],
    round: Vec<Mischief>,
    mean: Duration,
}

/// Sets these acts apart from the turns of people, which are drawn from the same seed.
const CULPRITS: u32 = u32::MAX;

/// How long an act lasts at least and at most.
const LASTS: [f64; 2] = [0.2, 5.0];

impl Acts {
    /// `mean` between one and the next, on average.
    pub(super) fn new(seed: u64, kinds: &'static [Mischief], mean: Duration) -> Self {
        Self { chance: Chance::of_person(seed, CULPRITS), kinds, round: Vec::new(), mean }
    }
}

impl Iterator for Acts {
    type Item = Act;

    fn next(&mut self) -> Option<Act> {
        if self.round.is_empty() {
            self.round = self.kinds.to_vec();
            self.chance.shuffle(&mut self.round);
        }
        let mischief = self.round.pop()?;
        let [least, most] = LASTS;
        Some(Act {
            pause: self.mean.mul_f64(2.0 * self.chance.unit()),
            mischief,
            lasts: Duration::from_secs_f64(least + (most - least) * self.chance.unit()),
            choice: (self.chance.unit() * 1e6) as usize,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEAN: Duration = Duration::from_millis(300);

    #[test]
    fn the_same_seed_gives_the_same_mischief_and_another_one_another() {
        let acts = |seed| Acts::new(seed, OURS, MEAN).take(50).collect::<Vec<_>>();
        assert_eq!(acts(1), acts(1));
        assert_ne!(acts(1), acts(2));
    }

    #[test]
    fn every_kind_has_its_turn_in_every_round() {
        for kinds in [ANYBODY, OURS] {
            let mut round: Vec<_> = Acts::new(7, kinds, MEAN)
                .skip(kinds.len())
                .take(kinds.len())
                .map(|act| act.mischief)
                .collect();
            round.sort_unstable();
            let mut all = kinds.to_vec();
            all.sort_unstable();
            assert_eq!(round, all);
        }
    }

    #[test]
    fn acts_are_as_frequent_as_asked_and_none_lasts_long() {
        let acts: Vec<_> = Acts::new(3, OURS, MEAN).take(4_000).collect();
        let mean = acts.iter().map(|act| act.pause).sum::<Duration>() / 4_000;
        assert!(mean > MEAN.mul_f64(0.95) && mean < MEAN.mul_f64(1.05), "{mean:?}");
        assert!(acts.iter().all(|act| act.lasts <= Duration::from_secs(5)));
    }

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = OURS.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(names.len(), OURS.len());
        assert!(ANYBODY.iter().all(|kind| OURS.contains(kind)));
    }
}
