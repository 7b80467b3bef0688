//! How fast a machine is from one moment to the next. Pure.
//!
//! A machine that shares its processor with others, or becomes warm, is not equally fast all the time, and while it is slow
//! a line forms that a mean knows nothing of. So the ups and downs that a load test saw go on in the simulation.

use std::iter::repeat_n;
use std::time::Duration;

/// How finely: shorter ups and downs are like chance, from one decode to the next.
const STEP: Duration = Duration::from_secs(5);

/// A load test does not last longer than two weeks: what claims to be from later is no time.
const MOST_STEPS: usize = 250_000;

/// A decode, when it was done, and how long it should have taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Decoded {
    /// In seconds from some beginning.
    pub(super) at: f64,
    /// In the unit of `expected`.
    pub(super) took: f64,
    pub(super) expected: f64,
}

/// By how much everything takes longer than on average, step by step; then it begins anew.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Drift {
    steps: Vec<f64>,
}

impl Drift {
    /// The same at all times.
    pub(super) fn even() -> &'static Self {
        static EVEN: Drift = Drift { steps: Vec::new() };
        &EVEN
    }

    /// What is common to the decodes of each step, as far as it is more than chance.
    ///
    /// How long a decode takes differs by chance, too, and the mean of a step with few of them would show ups and downs
    /// of a machine that has none. What chance alone does to the means follows from how decodes of the same step differ
    /// from each other; the rest of the variance is the machine's (the method of moments of a random-effects model), and
    /// the means are drawn together until they vary by as much.
    pub(super) fn of(decodes: &[Decoded]) -> Self {
        let mut steps: Vec<Step> = Vec::new();
        let placed = || {
            let told = decodes.iter().filter(|decoded| decoded.is_sound());
            told.map(|decoded| ((decoded.at / STEP.as_secs_f64()) as usize, decoded))
        };
        for (step, decoded) in placed().filter(|(step, _)| *step < MOST_STEPS) {
            let missing = (step + 1).saturating_sub(steps.len());
            steps.extend(repeat_n(Step::default(), missing));
            steps[step].add(decoded);
        }
        let (took, expected) = sums(&steps);
        if expected <= 0.0 {
            return Self::even().clone();
        }
        let mean = took / expected;
        let weighted = |value: fn(&Step, f64) -> f64| -> f64 {
            let sum: f64 = steps
                .iter()
                .filter(|step| step.count > 0)
                .map(|step| step.expected * value(step, mean))
                .sum();
            sum / expected
        };
        let varies = weighted(|step, mean| (step.ratio(mean) - mean).powi(2));
        let by_chance = noise(&steps) * weighted(|step, _| step.squares / step.expected.powi(2));
        let kept = if varies > 0.0 { (1.0 - by_chance / varies).max(0.0).sqrt() } else { 0.0 };
        let drawn = |step: &Step| (1.0 + kept * (step.ratio(mean) / mean - 1.0)).max(0.0);
        Self::with_mean_one(steps.iter().map(drawn).collect())
    }

    fn with_mean_one(steps: Vec<f64>) -> Self {
        let mean = steps.iter().sum::<f64>() / steps.len() as f64;
        if mean > 0.0 {
            Self { steps: steps.into_iter().map(|step| step / mean).collect() }
        } else {
            Self::even().clone()
        }
    }

    /// By how much everything takes longer at this moment than on average.
    pub(super) fn at(&self, moment: Duration) -> f64 {
        let step = (moment.as_nanos() / STEP.as_nanos()) as usize;
        if self.steps.is_empty() { 1.0 } else { self.steps[step % self.steps.len()] }
    }

    /// After so long it begins anew.
    pub(super) fn period(&self) -> Duration {
        STEP.mul_f64(self.steps.len() as f64)
    }
}

/// One after the other.
impl FromIterator<Drift> for Drift {
    fn from_iter<T: IntoIterator<Item = Drift>>(drifts: T) -> Self {
        Self { steps: drifts.into_iter().flat_map(|drift| drift.steps).collect() }
    }
}

impl Decoded {
    fn is_sound(&self) -> bool {
        self.at >= 0.0 && self.took.is_finite() && self.expected.is_finite() && self.expected > 0.0
    }
}

/// Sums over the decodes of a step.
#[derive(Debug, Clone, Copy, Default)]
struct Step {
    count: usize,
    took: f64,
    expected: f64,
    /// Of what was expected.
    squares: f64,
    /// Of how long they took, in parts of what was expected; for the spread within the step.
    ratios: f64,
    ratio_squares: f64,
}

impl Step {
    fn add(&mut self, decoded: &Decoded) {
        let ratio = decoded.took / decoded.expected;
        self.count += 1;
        self.took += decoded.took;
        self.expected += decoded.expected;
        self.squares += decoded.expected.powi(2);
        self.ratios += ratio;
        self.ratio_squares += ratio * ratio;
    }

    /// `mean` where nothing was decoded.
    fn ratio(&self, mean: f64) -> f64 {
        if self.count == 0 { mean } else { self.took / self.expected }
    }
}

fn sums(steps: &[Step]) -> (f64, f64) {
    steps.iter().fold((0.0, 0.0), |(took, expected), step| (took + step.took, expected + step.expected))
}

/// By how much the decodes of the same step differ: the variance of how long they take, in parts of what was expected.
fn noise(steps: &[Step]) -> f64 {
    let (mut deviations, mut freedom) = (0.0, 0.0);
    for step in steps.iter().filter(|step| step.count > 1) {
        let count = step.count as f64;
        deviations += step.ratio_squares - step.ratios.powi(2) / count;
        freedom += count - 1.0;
    }
    if freedom > 0.0 { (deviations / freedom).max(0.0) } else { f64::INFINITY }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::simulation::Chance;

    /// Five decodes a second for ten minutes, each off by chance by a fifth, on a machine of this drift.
    fn heard(drift: impl Fn(f64) -> f64) -> Vec<Decoded> {
        let mut chance = Chance::new(7);
        let decode = |number: u32| {
            let at = f64::from(number) / 5.0;
            let expected = 50.0 + 200.0 * chance.unit();
            Decoded { at, took: expected * drift(at) * (1.0 + 0.2 * chance.normal()), expected }
        };
        (0..3_000).map(decode).collect()
    }

    fn deviation(drift: &Drift) -> f64 {
        (drift.steps.iter().map(|step| (step - 1.0).powi(2)).sum::<f64>() / drift.steps.len() as f64).sqrt()
    }

    #[test]
    fn a_machine_that_is_equally_fast_all_the_time_does_not_drift_whatever_chance_does() {
        assert!(deviation(&Drift::of(&heard(|_| 1.0))) < 0.02);
        assert!(deviation(&Drift::of(&heard(|_| 3.0))) < 0.02, "slower than expected, but evenly so");
    }

    #[test]
    fn slow_minutes_and_fast_ones_are_found_where_they_were_and_come_again() {
        let slow_minutes = |at: f64| if ((at / 60.0) as u64).is_multiple_of(2) { 1.2 } else { 0.8 };
        let drift = Drift::of(&heard(slow_minutes));
        let at = |second| drift.at(Duration::from_secs(second));
        let minute = |from: u64| (from..from + 60).map(at).sum::<f64>() / 60.0;
        assert!((minute(0) - 1.2).abs() < 0.05 && (minute(60) - 0.8).abs() < 0.05);
        assert!((minute(1_200) - 1.2).abs() < 0.05, "after ten minutes it begins anew");
        assert!((deviation(&drift) - 0.2).abs() < 0.02);
    }

    #[test]
    fn nothing_and_nonsense_do_not_drift() {
        let decoded = |at, took, expected| Decoded { at, took, expected };
        let nonsense = [
            vec![],
            vec![decoded(1.0, 100.0, 0.0)],
            vec![decoded(f64::NAN, 100.0, 100.0)],
            vec![decoded(1e18, 100.0, 100.0)],
            vec![decoded(1.0, f64::INFINITY, 100.0)],
            vec![decoded(1.0, 100.0, 100.0)],
            vec![decoded(1.0, 0.0, 100.0), decoded(2.0, 0.0, 100.0)],
        ];
        for decodes in nonsense {
            let drift = Drift::of(&decodes);
            assert!((drift.at(Duration::from_secs(3)) - 1.0).abs() < 1e-9, "{decodes:?} {drift:?}");
        }
        assert!((Drift::even().at(Duration::MAX) - 1.0).abs() < 1e-9);
    }
}
