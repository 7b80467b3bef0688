//! The people on one simulated device: what each says next, and what that is expected to cost.

use super::device::Device;
use super::drift::Drift;
use super::repertoire::Player;
use super::service::Sample;
use crate::load::simulation::{Chance, Crowd, Habit, Utterance};
use crate::load::turns::Pauses;
use crate::pool::Cost;
use std::time::Duration;

/// Somebody has been speaking for up to so many turns when the simulation begins, so that nobody is in step.
const TURNS_BEFORE: f64 = 10.0;
/// Who has nothing to say speaks then, which is after the end of every simulation.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);

/// People who speak on their own schedule.
pub(super) struct People<'a> {
    scale: f64,
    drift: &'a Drift,
    /// Where in the drift that was measured the simulation begins.
    drift_from: Duration,
    estimate: Estimate,
    cycle: Duration,
    all: Vec<Person<'a>>,
}

struct Person<'a> {
    chance: Chance,
    talk: Talk<'a>,
    /// What it says next, and how long after what it said last; `None` for who says nothing.
    next: Option<(Duration, Sample)>,
}

/// Where what somebody says comes from.
pub(super) enum Talk<'a> {
    /// Recordings of a load test, in turns like there.
    Played(Box<Player<'a>>),
    /// Chance.
    Drawn { samples: &'a [Sample], pauses: Pauses, chance: Chance },
}

impl Iterator for Talk<'_> {
    type Item = (Duration, Sample);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Played(player) => player.next(),
            Self::Drawn { samples, pauses, chance } => {
                let sample = samples[(chance.unit() * samples.len() as f64) as usize];
                Some((pauses.draw(chance.normal()) + sample.speech, sample))
            }
        }
    }
}

impl<'a> People<'a> {
    pub(super) fn new(device: &Device<'a>, people: u32) -> Self {
        let person = |(number, mut talk): (u32, Talk<'a>)| Person {
            chance: Chance::new(device.seed.wrapping_mul(7_368_787).wrapping_add(u64::from(number))),
            next: talk.next(),
            talk,
        };
        Self {
            scale: device.service.slowdown(people),
            drift: device.service.drift(),
            drift_from: device.service.drift().period().mul_f64(Chance::new(device.seed).unit()),
            estimate: Estimate::of(device.service.samples()),
            cycle: device.cycle(people),
            all: (0..).zip(device.talks(people)).map(person).collect(),
        }
    }
}

impl Crowd for People<'_> {
    fn sessions(&self) -> usize {
        self.all.len()
    }

    fn habit(&self, _: usize) -> Habit {
        Habit::SpeaksOn
    }

    /// The first utterance that is complete after somewhere in the middle of all that it ever says.
    fn arrival(&mut self, session: usize) -> Duration {
        let begin = self.cycle.mul_f64(TURNS_BEFORE * self.all[session].chance.unit());
        let mut said = self.pause(session);
        while said < begin {
            self.say(session, said);
            said += self.pause(session);
        }
        said.saturating_sub(begin)
    }

    fn say(&mut self, session: usize, now: Duration) -> Utterance {
        let person = &mut self.all[session];
        let (_, Sample { speech, decode }) = person.next.expect("only who has something to say speaks");
        person.next = person.talk.next();
        let estimate = Cost(self.estimate.decode(speech).mul_f64(self.scale));
        let slower = self.scale * self.drift.at(self.drift_from + now);
        Utterance { speech, estimate, truth: decode.mul_f64(slower) }
    }

    fn pause(&mut self, session: usize) -> Duration {
        self.all[session].next.map_or(NEVER, |(pause, _)| pause)
    }
}

/// What the ledger is told of a decode beforehand: a straight line through the samples, as the server fits one.
struct Estimate {
    base: f64,
    slope: f64,
}

impl Estimate {
    fn of(samples: &[Sample]) -> Self {
        let count = samples.len() as f64;
        let pairs =
            || samples.iter().map(|sample| (sample.speech.as_secs_f64(), sample.decode.as_secs_f64()));
        let (speech, decode) = pairs().fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1));
        let (speech, decode) = (speech / count, decode / count);
        let (both, square) = pairs().fold((0.0, 0.0), |sum, (x, y)| {
            (sum.0 + (x - speech) * (y - decode), sum.1 + (x - speech).powi(2))
        });
        let slope = if square > 0.0 { (both / square).max(0.0) } else { 0.0 };
        Self { base: (decode - slope * speech).max(0.0), slope }
    }

    fn decode(&self, speech: Duration) -> Duration {
        Duration::from_secs_f64(self.base + self.slope * speech.as_secs_f64())
    }
}
