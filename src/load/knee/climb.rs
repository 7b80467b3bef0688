//! Which number of people to try next. Pure: knows no clock and no server.
//!
//! Doubles while all is well, then halves what lies between the last good and the first bad number.

/// How near is near enough: this part of the good number, and at least one person.
const RESOLUTION: f64 = 0.05;

/// A search for the largest number that passes. It assumes that what fails with some fails with more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Climb {
    first: u32,
    most: u32,
    good: u32,
    bad: Option<u32>,
}

impl Climb {
    /// A search that begins with `first` (at least one) and never tries more than `most`.
    pub fn new(first: u32, most: u32) -> Self {
        let most = most.max(1);
        Self { first: first.clamp(1, most), most, good: 0, bad: None }
    }

    /// The number to try; `None` when the answer is known as well as it has to be.
    pub fn next(&self) -> Option<u32> {
        match self.bad {
            Some(bad) => (bad - self.good > self.resolution()).then(|| self.good + (bad - self.good) / 2),
            None if self.good == 0 => Some(self.first),
            None if self.good < self.most => Some(self.good.saturating_mul(2).min(self.most)),
            None => None,
        }
    }

    /// `n` were served well.
    pub fn passed(&mut self, n: u32) {
        self.good = self.good.max(n);
    }

    /// `n` were not.
    pub fn failed(&mut self, n: u32) {
        self.bad = Some(self.bad.map_or(n, |bad| bad.min(n)));
    }

    /// The largest number that passed; `None` when none did.
    pub fn good(&self) -> Option<u32> {
        (self.good > 0).then_some(self.good)
    }

    /// Whether a number failed, so that the good one is a limit and not only as far as was tried.
    pub fn is_bounded(&self) -> bool {
        self.bad.is_some()
    }

    fn resolution(&self) -> u32 {
        ((self.good as f64 * RESOLUTION) as u32).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is tried against a server that holds `knee`, and what is found.
    fn search(first: u32, most: u32, knee: u32) -> (Vec<u32>, Option<u32>) {
        let (mut climb, mut tried) = (Climb::new(first, most), Vec::new());
        while let Some(n) = climb.next() {
            tried.push(n);
            if n <= knee { climb.passed(n) } else { climb.failed(n) }
        }
        (tried, climb.good())
    }

    #[test]
    fn it_doubles_until_it_fails_and_then_halves_what_is_between() {
        assert_eq!(search(4, 1_000, 21), (vec![4, 8, 16, 32, 24, 20, 22, 21], Some(21)));
        assert_eq!(search(1, 1_000, 3), (vec![1, 2, 4, 3], Some(3)));
    }

    #[test]
    fn it_never_tries_more_than_the_most() {
        assert_eq!(search(8, 20, u32::MAX), (vec![8, 16, 20], Some(20)));
        assert_eq!(search(8, 5, u32::MAX), (vec![5], Some(5)));
        assert_eq!(search(u32::MAX / 2 + 1, u32::MAX, u32::MAX).1, Some(u32::MAX));
    }

    #[test]
    fn when_the_first_fails_it_looks_below() {
        assert_eq!(search(8, 100, 5), (vec![8, 4, 6, 5], Some(5)));
        assert_eq!(search(8, 100, 0), (vec![8, 4, 2, 1], None));
    }

    #[test]
    fn large_numbers_are_found_to_a_twentieth() {
        assert_eq!(
            search(1, 10_000, 700),
            (vec![1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 768, 640, 704, 672], Some(672))
        );
    }

    proptest! {
        #[test]
        fn the_knee_is_found_within_the_resolution_in_few_steps(
            first in 1_u32..64, most in 1_u32..100_000, knee in 0_u32..200_000
        ) {
            let (tried, good) = search(first, most, knee);
            let good = good.unwrap_or(0);
            prop_assert!(good <= knee && good <= most);
            prop_assert!(knee.min(most) - good <= (good / 20).max(1), "{good} of {knee}");
            prop_assert!(tried.len() < 40 && tried.iter().all(|n| (1..=most).contains(n)), "{tried:?}");
            let mut once = tried.clone();
            once.sort_unstable();
            once.dedup();
            prop_assert_eq!(once.len(), tried.len(), "nothing is tried twice");
        }
    }
}
