//! How long a decode will take, learned from those that came to their end. Pure.
//!
//! A [`Full`](EncoderWindow::Full) window costs the same for every 30 seconds that were begun; a
//! [`Fit`](EncoderWindow::Fit) one a little at the start, and then so much for every second. Both are fitted by least
//! squares of the *relative* error, which is what an estimate is judged by, and older decodes count less and less.

use super::EncoderWindow;
use crate::pool::Cost;
use std::time::Duration;

/// What a decode counts for, in relation to the one after it: the last 30 or so decide.
const MEMORY: f64 = 0.97;

/// A decode that took so many times what was expected is an accident, and taken for no longer than this.
const LONGEST_SURPRISE: f64 = 2.0;

/// So many decodes are believed as they are.
const BELIEVED: u32 = 3;

/// Where the shape of the first guess is held against the decodes, in seconds of audio.
const ANCHORS: [f64; 2] = [1.0, 20.0];

/// What each of these anchors counts for, in decodes: enough to say what decodes of only one length leave open.
const ANCHOR_WEIGHT: f64 = 0.2;

/// No estimate is shorter: work that costs nothing could not be shared out.
const SHORTEST: Duration = Duration::from_millis(1);

/// No estimate is longer.
const LONGEST: Duration = Duration::from_hours(1);

/// Seconds of slot time for so much audio: `start + slope * audio`, where audio is counted in seconds, or in windows.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Line {
    start: f64,
    slope: f64,
}

impl Line {
    fn at(self, audio: f64) -> f64 {
        self.start + self.slope * audio
    }

    fn scaled(self, by: f64) -> Self {
        Self { start: self.start * by, slope: self.slope * by }
    }
}

/// Sums over observations, each weighted.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    weight: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
}

impl Sums {
    fn add(&mut self, weight: f64, x: f64, y: f64) {
        self.weight += weight;
        self.x += weight * x;
        self.y += weight * y;
        self.xx += weight * x * x;
        self.xy += weight * x * y;
    }

    fn fade(&mut self, by: f64) {
        for sum in [&mut self.weight, &mut self.x, &mut self.y, &mut self.xx, &mut self.xy] {
            *sum *= by;
        }
    }

    /// The best line that neither starts below zero nor falls.
    fn line(&self) -> Line {
        let spread = self.weight * self.xx - self.x * self.x;
        let slope = (self.weight * self.xy - self.x * self.y) / spread;
        let start = (self.y - slope * self.x) / self.weight;
        match (start >= 0.0, slope >= 0.0) {
            (true, true) => Line { start, slope },
            (true, false) => Line { start: self.y / self.weight, slope: 0.0 },
            // Also where the spread was none, and neither of them is a number.
            (false, _) => Line { start: 0.0, slope: self.xy / self.xx },
        }
    }
}

/// What decodes cost.
#[derive(Debug, Clone)]
pub(super) struct CostModel {
    window: EncoderWindow,
    guess: Line,
    /// By weight over the guess squared, so that errors count in relation to what they are errors of.
    sums: Sums,
    /// How many times the guess the decodes took, and the weight of that.
    ratio: (f64, f64),
    decodes: u32,
}

impl CostModel {
    /// Knows nothing yet, and guesses: half a second for a full window, 50 ms and 25 for every second for one that fits.
    pub(super) fn new(window: EncoderWindow) -> Self {
        let guess = match window {
            EncoderWindow::Full => Line { start: 0.0, slope: 0.5 },
            EncoderWindow::Fit => Line { start: 0.05, slope: 0.025 },
        };
        Self { window, guess, sums: Sums::default(), ratio: (0.0, 0.0), decodes: 0 }
    }

    /// Guesses from one decode that was not for a user, as in a warm-up. Forgotten with the first real one.
    pub(super) fn guess(&mut self, audio: Duration, took: Duration) {
        if self.decodes == 0 {
            let by = took.max(SHORTEST).as_secs_f64() / self.guess.at(self.measure(audio));
            self.guess = self.guess.scaled(by);
        }
    }

    /// How long a decode of so much audio will take.
    pub(super) fn expected(&self, audio: Duration) -> Cost {
        let seconds = self.line().at(self.measure(audio));
        let seconds = seconds.clamp(SHORTEST.as_secs_f64(), LONGEST.as_secs_f64());
        Cost(Duration::from_secs_f64(seconds))
    }

    /// Learns from a decode: of so much audio, and so long.
    pub(super) fn learn(&mut self, audio: Duration, took: Duration) {
        let at_most = match self.decodes {
            ..BELIEVED => LONGEST,
            _ => self.expected(audio).0.mul_f64(LONGEST_SURPRISE),
        };
        let (x, y) = (self.measure(audio), took.clamp(SHORTEST, at_most).as_secs_f64());
        let guess = self.guess.at(x);
        self.sums.fade(MEMORY);
        self.sums.add(guess.powi(-2), x, y);
        self.ratio = (self.ratio.0 * MEMORY + y / guess, self.ratio.1 * MEMORY + 1.0);
        self.decodes = self.decodes.saturating_add(1);
    }

    fn line(&self) -> Line {
        if self.decodes == 0 {
            return self.guess;
        }
        let scaled = self.guess.scaled(self.ratio.0 / self.ratio.1);
        if self.window == EncoderWindow::Full {
            return scaled;
        }
        let mut sums = self.sums;
        for anchor in ANCHORS {
            sums.add(ANCHOR_WEIGHT * self.guess.at(anchor).powi(-2), anchor, scaled.at(anchor));
        }
        sums.line()
    }

    /// Audio as the line counts it.
    fn measure(&self, audio: Duration) -> f64 {
        match self.window {
            EncoderWindow::Full => (audio.as_secs_f64() / 30.0).ceil().max(1.0),
            EncoderWindow::Fit => audio.as_secs_f64(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::test_runner::TestRunner;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn expected(model: &CostModel, audio: f64) -> f64 {
        model.expected(seconds(audio)).0.as_secs_f64()
    }

    /// Whoever says how long a decode takes: the model, and wrong ones that the properties must find out.
    trait Estimate {
        fn learn(&mut self, audio: f64, took: f64);
        fn expected(&self, audio: f64) -> f64;
    }

    impl Estimate for CostModel {
        fn learn(&mut self, audio: f64, took: f64) {
            CostModel::learn(self, seconds(audio), seconds(took));
        }

        fn expected(&self, audio: f64) -> f64 {
            expected(self, audio)
        }
    }

    /// The mean of all decodes, whatever their length.
    #[derive(Default)]
    struct Mean(f64, f64);

    impl Estimate for Mean {
        fn learn(&mut self, _: f64, took: f64) {
            (self.0, self.1) = (self.0 + took, self.1 + 1.0);
        }

        fn expected(&self, _: f64) -> f64 {
            self.0 / self.1
        }
    }

    /// As long as the last one.
    #[derive(Default)]
    struct Last(f64);

    impl Estimate for Last {
        fn learn(&mut self, _: f64, took: f64) {
            self.0 = took;
        }

        fn expected(&self, _: f64) -> f64 {
            self.0
        }
    }

    /// Start and slope of a machine, and decodes on it: how much audio, and how many times what it should have taken.
    fn machine() -> impl Strategy<Value = (f64, f64)> {
        (0.001..2.0, 0.001..0.5)
    }

    fn decodes(n: usize) -> impl Strategy<Value = Vec<(f64, f64)>> {
        proptest::collection::vec((0.3..28.0, 0.7..1.4), n)
    }

    fn teach(model: &mut impl Estimate, (start, slope): (f64, f64), decodes: &[(f64, f64)]) {
        for (audio, noise) in decodes {
            model.learn(*audio, (start + slope * audio) * noise);
        }
    }

    /// Within a factor of two of the truth, on average over short and long audio.
    fn is_right(model: &impl Estimate, (start, slope): (f64, f64)) -> bool {
        let errors = [0.5, 2.0, 8.0, 28.0].map(|audio| model.expected(audio) / (start + slope * audio));
        errors.iter().map(|ratio| ratio.log2().abs()).sum::<f64>() / (errors.len() as f64) < 1.0
    }

    fn finds_out<M: Estimate>(new: impl Fn() -> M) -> bool {
        let property = |(machine, decodes): ((f64, f64), Vec<(f64, f64)>)| {
            let mut model = new();
            teach(&mut model, machine, &decodes);
            prop_assert!(is_right(&model, machine));
            Ok(())
        };
        TestRunner::deterministic().run(&(machine(), decodes(40)), property).is_ok()
    }

    #[test]
    fn after_some_decodes_estimates_are_right_within_a_factor_of_two_on_average() {
        assert!(finds_out(|| CostModel::new(EncoderWindow::Fit)));
        assert!(!finds_out(Mean::default), "the mean is wrong for short and for long audio");
        assert!(!finds_out(Last::default), "what the last one took says little about others");
    }

    proptest! {
        #[test]
        fn a_machine_that_becomes_faster_or_slower_is_noticed(
            machine in machine(),
            by in 0.1..10.0,
            before in decodes(100),
            after in decodes(200),
        ) {
            let mut model = CostModel::new(EncoderWindow::Fit);
            let now = (machine.0 * by, machine.1 * by);
            teach(&mut model, machine, &before);
            teach(&mut model, now, &after);
            prop_assert!(is_right(&model, now));
        }

        #[test]
        fn one_accident_changes_little(machine in machine(), before in decodes(60), audio in 0.5..28.0) {
            let mut model = CostModel::new(EncoderWindow::Fit);
            teach(&mut model, machine, &before);
            let settled = model.clone();
            model.learn(seconds(audio), Duration::from_secs(600));
            for audio in [1.0, 5.0, 28.0] {
                prop_assert!(expected(&model, audio) < 2.0 * expected(&settled, audio));
            }
        }

        #[test]
        fn no_history_makes_an_estimate_negative_or_endless(
            full in any::<bool>(),
            guess in proptest::option::of((0_u64..60_000, 0_u64..600_000)),
            history in proptest::collection::vec((0_u64..600_000, 0_u64..10_000_000), 0..50),
            audio in 0_u64..600_000,
        ) {
            let window = if full { EncoderWindow::Full } else { EncoderWindow::Fit };
            let mut model = CostModel::new(window);
            let millis = Duration::from_millis;
            if let Some((audio, took)) = guess {
                model.guess(millis(audio), millis(took));
            }
            for (audio, took) in history {
                model.learn(millis(audio), millis(took));
            }
            let Cost(expected) = model.expected(millis(audio));
            prop_assert!((SHORTEST..=LONGEST).contains(&expected), "{expected:?}");
        }
    }

    #[test]
    fn a_full_window_costs_the_same_for_every_thirty_seconds() {
        let mut model = CostModel::new(EncoderWindow::Full);
        model.learn(seconds(3.0), seconds(0.2));
        let costs = [0.0, 1.0, 29.0, 31.0, 90.0].map(|audio| model.expected(seconds(audio)).0.as_millis());
        assert_eq!(costs, [200, 200, 200, 400, 600]);
    }

    #[test]
    fn a_warm_up_is_a_guess_that_the_first_decode_corrects() {
        let mut model = CostModel::new(EncoderWindow::Full);
        model.guess(seconds(30.0), seconds(8.0));
        assert!((expected(&model, 2.0) - 8.0).abs() < 0.001);
        model.learn(seconds(2.0), seconds(3.0));
        model.guess(seconds(30.0), seconds(8.0));
        assert!((expected(&model, 2.0) - 3.0).abs() < 0.001);
    }

    #[test]
    fn decodes_of_one_length_say_something_about_all_others() {
        let mut model = CostModel::new(EncoderWindow::Fit);
        (0..20).for_each(|_| model.learn(seconds(2.0), seconds(10.0)));
        assert!((expected(&model, 2.0) - 10.0).abs() < 0.1, "as it was");
        assert!((15.0..60.0).contains(&expected(&model, 10.0)), "more, in the shape of the guess");
    }
}
