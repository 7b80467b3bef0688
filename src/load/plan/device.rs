//! People on one device, simulated: who they are, and how their texts come.

use super::Tier;
use super::figures::Figures;
use super::people::{People, Talk};
use super::repertoire::Demand;
use super::search::MOST_PEOPLE;
use super::service::Service;
use crate::load::simulation::{Chance, World, fair};
use crate::load::turns::{Pauses, TurnSettings};
use crate::pool::{LedgerSettings, Weight};
use std::time::Duration;

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

impl<'a> Device<'a> {
    /// What so many people say, and what they ask for.
    pub(super) fn demand(&self, people: u32) -> Demand {
        let service = self.service;
        let unhurried = match service.repertoire() {
            Some(repertoire) => {
                // More than anybody plans for say as much each as those do.
                let counted = people.min(MOST_PEOPLE);
                let weight = f64::from(people) / f64::from(counted);
                let settings = self.turn_settings();
                let sets = repertoire.sets(counted, self.seed);
                let each = sets.iter().map(|set| repertoire.demand(set, &settings));
                each.fold(Demand::default(), |sum, person| sum.and(person, weight))
            }
            None => self.drawn_demand(people),
        };
        Demand { work: unhurried.work * service.slowdown(people), ..unhurried }
    }

    fn drawn_demand(&self, people: u32) -> Demand {
        let service = self.service;
        let speech = service.mean_speech();
        let utterances = f64::from(people) / (self.pauses().mean() + speech).as_secs_f64();
        Demand {
            utterances,
            work: utterances * service.mean_decode().as_secs_f64(),
            speech: utterances * speech.as_secs_f64(),
        }
    }

    /// How long a person takes from one utterance to the next, on average. The shortest pause is kept, whatever the duty.
    pub(super) fn cycle(&self, people: u32) -> Duration {
        Duration::from_secs_f64(f64::from(people) / self.demand(people).utterances)
    }

    /// What is silent of a cycle, as the load test's people are. What was played for an utterance may be longer than what
    /// the server took for one, and shorter; the cycle is what is kept.
    fn pauses(&self) -> Pauses {
        let played = self.service.speech_per_utterance();
        let pauses = self.turn_settings().pauses(&[played]);
        let mean = (played + pauses.mean()).saturating_sub(self.service.mean_speech());
        Pauses::lasting(mean, TurnSettings::SHORTEST_PAUSE)
    }

    fn turn_settings(&self) -> TurnSettings {
        TurnSettings { duty: self.duty, seed: self.seed, ..TurnSettings::default() }
    }

    /// What each of so many people says.
    pub(super) fn talks(&self, people: u32) -> Vec<Talk<'a>> {
        let service = self.service;
        let settings = self.turn_settings();
        match service.repertoire() {
            Some(repertoire) => {
                let player = |(person, set): (u32, Vec<usize>)| {
                    Talk::Played(Box::new(repertoire.player(&set, &settings, person)))
                };
                (0..).zip(repertoire.sets(people, self.seed)).map(player).collect()
            }
            None => (0..people).map(|person| self.drawn(person)).collect(),
        }
    }

    fn drawn(&self, person: u32) -> Talk<'a> {
        let chance = Chance::new(self.seed.wrapping_mul(1_000_003).wrapping_add(u64::from(person)));
        Talk::Drawn { samples: self.service.samples(), pauses: self.pauses(), chance }
    }

    /// The work that so many people bring, of what the slots can do.
    pub(super) fn load(&self, people: u32, slots: u16) -> f64 {
        self.demand(people).work / f64::from(slots)
    }

    /// Lets so many people speak.
    pub(super) fn simulate(&self, people: u32, slots: u16) -> Figures {
        let utterance = 1.0 / self.demand(people).utterances;
        let until = |count| Duration::from_secs_f64(utterance * f64::from(count));
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
