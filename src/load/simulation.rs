//! A discrete-event simulation of speaking sessions on slots: virtual time, seeded chance, the real ledger.
//!
//! [`World`] is the event loop, whoever its [`Crowd`] is: the [`Scenario`] below, or the people of a plan.
//!
//! What it leaves out on purpose: interims, speculation and batch work, slots that fail, the network. Every ticket is a
//! final, because finals are what people wait for.

mod chance;
mod crowd;
mod line;
mod notes;
mod report;
mod world;

pub(super) use chance::Chance;
pub(super) use crowd::{Crowd, Habit};
pub(super) use line::fair;
pub(super) use notes::Served;
pub use report::{Comparison, ScenarioReport, Waits};
pub(super) use world::World;

use crate::pool::{Cost, LedgerSettings, Weight};
use crowd::Evening;
use std::iter::repeat_n;
use std::time::Duration;

/// Who is next when a slot becomes free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discipline {
    /// The real [`Ledger`](crate::pool::Ledger).
    Fair,
    /// One queue in order of arrival, for comparison.
    FirstCome,
}

/// Sessions and slots, to be simulated.
///
/// *Ordinary* sessions converse: they think, speak, wait for the text of what they said, and think again. *Backlogged*
/// ones always have work waiting, as a client does that sends recordings faster than they can be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// Where chance begins. The same seed gives the same hour.
    pub seed: u64,
    /// How long it goes on.
    pub duration: Duration,
    /// Slots, all in service all the time.
    pub slots: u16,
    /// Sessions that converse.
    pub ordinary: u32,
    /// Tickets that each backlogged session keeps waiting.
    pub backlogged: Vec<usize>,
    /// What the slots would be busy if *all* sessions conversed, in percent. It decides how long people think.
    pub load_percent: u32,
    /// How the ledger weighs those who wait.
    pub ledger: LedgerSettings,
}

impl Scenario {
    /// A busy evening: one hour, 8 slots, 200 sessions whose conversations would keep the slots busy for 90 % of the time.
    /// Twenty of them do not converse but always have a ticket or two waiting, and one of those is greedy: it keeps
    /// fifty.
    ///
    /// First come, first served fails here because it serves *tickets*: the greedy session, with more tickets in line
    /// than all others together, gets more slot time than all other backlogged sessions together, and who says one
    /// sentence waits behind all of them. Fair queueing serves *sessions*: the backlogged ones share in equal parts what
    /// the conversations leave over, and who says a sentence now and then is ahead of all of them.
    ///
    /// The slots are always busy here, whatever the discipline, because somebody always waits: utilization shows that no
    /// slot is left idle then. What fairness costs shows in the slowest hundredth of the waits: who has just talked for
    /// half a minute has had more than a session's part, and waits for as long as the others need to catch up.
    pub fn evening() -> Self {
        let modest = (0..19).map(|session| 1 + session % 2);
        Self {
            seed: 0x5eed,
            duration: Duration::from_secs(3600),
            slots: 8,
            ordinary: 180,
            backlogged: modest.chain([50]).collect(),
            load_percent: 90,
            ledger: LedgerSettings::default(),
        }
    }

    /// Plays the scenario with one discipline.
    pub fn run(&self, discipline: Discipline) -> ScenarioReport {
        let sessions = self.backlogged.len() + self.ordinary as usize;
        let line = match discipline {
            Discipline::Fair => fair(self.slots, repeat_n(Weight::default(), sessions), self.ledger),
            Discipline::FirstCome => line::first_come(self.slots),
        };
        let notes = World::new(Evening::new(self), line, self.ledger.starvation).run(self.duration);
        report::report(&notes, self.backlogged.len(), self.duration * u32::from(self.slots))
    }

    /// Plays the same scenario with both disciplines.
    pub fn compare(&self) -> Comparison {
        Comparison { fair: self.run(Discipline::Fair), first_come: self.run(Discipline::FirstCome) }
    }

    /// How long an ordinary session thinks, on average, so that all sessions together offer the load.
    ///
    /// Waiting is not in it: who has to wait speaks less often, as people do.
    fn mean_pause(&self) -> Duration {
        let sessions = f64::from(self.ordinary) + self.backlogged.len() as f64;
        let capacity = f64::from(self.slots) * f64::from(self.load_percent) / 100.0;
        let speech = Utterance::mean();
        let decode = estimate(speech).0;
        let cycle = decode.mul_f64(sessions / capacity);
        cycle.saturating_sub(speech + decode)
    }
}

/// What is said at once, and what it takes to decode it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Utterance {
    pub(super) speech: Duration,
    /// What the ledger is told beforehand.
    pub(super) estimate: Cost,
    /// What it really takes.
    pub(super) truth: Duration,
}

impl Utterance {
    /// Lengths have a heavy tail: most are a second or two, some go on until the endpointer cuts them at 28 s.
    const SHORTEST: f64 = 0.5;
    const LONGEST: f64 = 28.0;
    const TAIL: f64 = 1.1;

    /// A bounded Pareto length. The truth differs from the estimate by up to 30 %, and one decode in forty falls back to
    /// higher temperatures and takes three times as long; on average the estimate is right.
    fn random(chance: &mut Chance) -> Self {
        let ratio = (Self::SHORTEST / Self::LONGEST).powf(Self::TAIL);
        let length = Self::SHORTEST * (1.0 - chance.unit() * (1.0 - ratio)).powf(-1.0 / Self::TAIL);
        let speech = Duration::from_secs_f64(length);
        let estimate = estimate(speech);
        let fallback = if chance.unit() < 1.0 / 40.0 { 3.0 } else { 1.0 };
        let truth = estimate.0.mul_f64((0.7 + 0.5 * chance.unit()) * fallback);
        Self { speech, estimate, truth }
    }

    /// The mean of that distribution.
    fn mean() -> Duration {
        let (low, high, tail) = (Self::SHORTEST, Self::LONGEST, Self::TAIL);
        let scale = low.powf(tail) / (1.0 - (low / high).powf(tail));
        let span = low.powf(1.0 - tail) - high.powf(1.0 - tail);
        Duration::from_secs_f64(scale * tail / (tail - 1.0) * span)
    }
}

/// What a large Whisper model takes on a GPU: 150 ms for the encoder, whose window is always 30 s, and about four tokens
/// for each second of speech at some 8 ms each.
fn estimate(speech: Duration) -> Cost {
    Cost(Duration::from_millis(150) + speech * 4 * 8 / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_evening_is_fair_busy_and_quick_where_first_come_first_served_is_not() {
        let Comparison { fair, first_come } = Scenario::evening().compare();
        assert!(fair.jain >= 0.95 && first_come.jain < 0.8, "{} {}", fair.jain, first_come.jain);
        assert!(fair.utilization >= 0.9, "{}", fair.utilization);
        assert!(fair.waits.p99 <= Duration::from_secs(5), "{:?}", fair.waits);
        assert!(fair.longest_head_wait <= fair.bound, "{:?}", fair.longest_head_wait);
        assert!(first_come.waits.p50 > fair.waits.p95, "{:?}", first_come.waits);
    }

    #[test]
    fn a_tight_starvation_bound_is_kept_and_helps_those_who_owe_much() {
        let hour = Scenario { duration: Duration::from_secs(900), ..Scenario::evening() };
        let tight = LedgerSettings { starvation: Duration::from_secs(5), ..hour.ledger };
        let lax = LedgerSettings { starvation: Duration::MAX, ..hour.ledger };
        let [tight, lax] =
            [tight, lax].map(|ledger| Scenario { ledger, ..hour.clone() }.run(Discipline::Fair));
        assert!(tight.longest_head_wait > Duration::from_secs(5), "the bound was put to the test");
        assert!(tight.longest_head_wait <= tight.bound, "{tight:?}");
        assert!(tight.longest_head_wait < lax.longest_head_wait, "{tight:?} {lax:?}");
    }

    #[test]
    fn utterances_are_as_long_as_their_mean_says_and_estimates_are_right_on_average() {
        let mut chance = Chance::new(1);
        let said: Vec<_> = (0..100_000).map(|_| Utterance::random(&mut chance)).collect();
        let mean = |of: fn(&Utterance) -> Duration| {
            said.iter().map(|utterance| of(utterance).as_secs_f64()).sum::<f64>() / said.len() as f64
        };
        let speech = mean(|utterance| utterance.speech) / Utterance::mean().as_secs_f64();
        let cost = mean(|utterance| utterance.truth) / mean(|utterance| utterance.estimate.0);
        assert!((0.98..1.02).contains(&speech) && (0.98..1.02).contains(&cost), "{speech} {cost}");
    }

    #[test]
    fn conversations_alone_keep_the_slots_as_busy_as_they_should() {
        let quiet = Scenario { backlogged: Vec::new(), load_percent: 50, ..Scenario::evening() };
        let report = quiet.run(Discipline::Fair);
        assert!((0.47..0.53).contains(&report.utilization), "{}", report.utilization);
    }

    #[test]
    fn the_same_seed_gives_the_same_hour_and_another_one_another() {
        let short = |seed| Scenario { seed, duration: Duration::from_secs(300), ..Scenario::evening() };
        let [first, again, other] = [1, 1, 2].map(|seed| short(seed).run(Discipline::Fair));
        assert_eq!(first, again);
        assert_ne!(first, other);
    }
}
