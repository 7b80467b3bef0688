//! People on one device, simulated: who they are, and how their texts come.

use super::Tier;
use super::figures::Figures;
use super::service::{Sample, Service};
use crate::load::simulation::{Chance, Crowd, Habit, Utterance, World, fair};
use crate::load::turns::{Pauses, TurnSettings};
use crate::pool::{Cost, LedgerSettings, Weight};
use std::time::Duration;

/// Somebody has been speaking for up to so many turns when the simulation begins, so that nobody is in step.
const TURNS_BEFORE: f64 = 10.0;
/// Of each simulation, this part comes first and is not counted: the line has to form.
const WARM_UP: f64 = 0.1;
/// No simulation goes on for longer.
const MOST_UTTERANCES: u32 = 2_000_000;

/// What every simulated device has in common.
#[derive(Debug, Clone)]
pub(super) struct Device<'a> {
    pub(super) service: &'a Service,
    pub(super) duty: f64,
    pub(super) tiers: &'a [Tier],
    pub(super) overhead: Duration,
    pub(super) seed: u64,
    pub(super) length: Length,
}

/// For how long a simulation goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// Until so many utterances have been read, on average.
    Utterances(u32),
    /// For so long, or until two million utterances have been read: nobody learns anything from more.
    Time(Duration),
}

impl Device<'_> {
    /// How long a person takes from one utterance to the next, on average. The shortest pause is kept, whatever the duty.
    pub(super) fn cycle(&self) -> Duration {
        let speech = self.service.speech_per_utterance();
        speech + Pauses::between(speech, self.duty, TurnSettings::SHORTEST_PAUSE).mean()
    }

    /// What is silent of a cycle, as the load test's people are. What was played for an utterance may be longer than what
    /// the server took for one, and shorter; the cycle is what is kept.
    fn pauses(&self) -> Pauses {
        let mean = self.cycle().saturating_sub(self.service.mean_speech());
        Pauses::lasting(mean, TurnSettings::SHORTEST_PAUSE)
    }

    /// The work that so many people bring, of what the slots can do.
    pub(super) fn load(&self, people: u32, slots: u16) -> f64 {
        let busy = self.service.mean_decode(people).as_secs_f64() * f64::from(people);
        busy / (self.cycle().as_secs_f64() * f64::from(slots))
    }

    /// Lets so many people speak.
    pub(super) fn simulate(&self, people: u32, slots: u16) -> Figures {
        let until = |count| self.cycle().mul_f64(f64::from(count) / f64::from(people));
        let counted = match self.length {
            Length::Time(time) => time.min(until(MOST_UTTERANCES)),
            Length::Utterances(count) => until(count.min(MOST_UTTERANCES)),
        };
        let warm_up = counted.mul_f64(WARM_UP);
        let settings = LedgerSettings::default();
        let tiers = self.tier_of(people);
        let weights =
            tiers.iter().map(|tier| self.tiers.get(*tier).map_or(Weight::default(), |tier| tier.weight));
        let line = fair(slots, weights, settings);
        let world = World::new(People::new(self, people), line, settings.starvation);
        let mut served = world.run(warm_up + counted).into_served();
        served.retain(|served| served.granted >= warm_up);
        let busy: Duration = served.iter().map(|served| served.decode).sum();
        let utilization = busy.as_secs_f64() / (counted.as_secs_f64() * f64::from(slots));
        Figures::new(&served, utilization, self.overhead, self.tiers, &tiers)
    }

    /// Each person's tier: the first ones are in the first tier, as many as its share says, and so on.
    fn tier_of(&self, people: u32) -> Vec<usize> {
        let all: f64 = self.tiers.iter().map(|tier| tier.share).sum();
        let mut share = 0.0;
        let mut tiers = Vec::with_capacity(people as usize);
        for (number, tier) in self.tiers.iter().enumerate() {
            share += tier.share;
            let until = (f64::from(people) * share / all).round() as usize;
            tiers.resize(until.max(tiers.len()), number);
        }
        tiers.resize(people as usize, self.tiers.len().saturating_sub(1));
        tiers
    }
}

/// People who speak on their own schedule.
struct People<'a> {
    samples: &'a [Sample],
    scale: f64,
    estimate: Estimate,
    pauses: Pauses,
    cycle: Duration,
    all: Vec<Person>,
}

struct Person {
    chance: Chance,
    /// What it says next.
    next: Sample,
}

impl<'a> People<'a> {
    fn new(device: &Device<'a>, people: u32) -> Self {
        let samples = device.service.samples();
        let person = |number: u32| {
            let mut chance = Chance::new(device.seed.wrapping_mul(1_000_003).wrapping_add(u64::from(number)));
            Person { next: pick(samples, &mut chance), chance }
        };
        Self {
            samples,
            scale: device.service.scale(people),
            estimate: Estimate::of(samples),
            pauses: device.pauses(),
            cycle: device.cycle(),
            all: (0..people).map(person).collect(),
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

    /// The first turn that is complete after somewhere in the middle of all that it ever says.
    fn arrival(&mut self, session: usize) -> Duration {
        let begin = self.cycle.mul_f64(TURNS_BEFORE * self.all[session].chance.unit());
        let mut said = Duration::ZERO;
        while said < begin {
            said += self.pause(session);
            self.say(session);
        }
        said.saturating_sub(begin)
    }

    fn say(&mut self, session: usize) -> Utterance {
        let person = &mut self.all[session];
        let Sample { speech, decode } =
            std::mem::replace(&mut person.next, pick(self.samples, &mut person.chance));
        let estimate = Cost(self.estimate.decode(speech).mul_f64(self.scale));
        Utterance { speech, estimate, truth: decode.mul_f64(self.scale) }
    }

    fn pause(&mut self, session: usize) -> Duration {
        let person = &mut self.all[session];
        self.pauses.draw(person.chance.normal()) + person.next.speech
    }
}

fn pick(samples: &[Sample], chance: &mut Chance) -> Sample {
    samples[(chance.unit() * samples.len() as f64) as usize]
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
