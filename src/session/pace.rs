//! How often speech in progress is read. Pure.
//!
//! Interims are worth something only while nobody who is done has to wait for them. So they get rarer as soon as they
//! have to wait themselves, and stop when they wait for long; then one is tried now and then, to see whether the slots
//! have become free.

use super::live::InterimSettings;
use std::time::Duration;

/// An interim that waits longer than this is given up, and no more are asked for.
const STARVED: Duration = Duration::from_secs(2);

/// While they are paused one is tried after so much new speech.
const PROBE: Duration = Duration::from_secs(2);

/// How many times rarer they get at most before they stop.
const RAREST: u32 = 4;

/// A session's interims: how often, and whether at all.
#[derive(Debug)]
pub(super) struct Pace {
    settings: InterimSettings,
    /// How many times rarer than asked for.
    stretch: u32,
    /// How long the last one took to decode.
    decode: Duration,
    paused: bool,
}

impl Pace {
    pub(super) fn new(settings: InterimSettings) -> Self {
        Self { settings, stretch: 1, decode: Duration::ZERO, paused: false }
    }

    /// Goes on with other settings.
    pub(super) fn configure(&mut self, settings: InterimSettings) {
        self.settings = settings;
    }

    /// How much new speech calls for the next reading; sooner until any of the text was told.
    ///
    /// One that takes long to decode comes so seldom that a slot does nothing for it half of the time.
    pub(super) fn interval(&self, is_told: bool) -> Duration {
        if self.paused {
            return PROBE;
        }
        let InterimSettings { first, every } = self.settings;
        (if is_told { every } else { first.min(every) } * self.stretch).max(2 * self.decode)
    }

    /// How long one may be under way.
    pub(super) fn patience(&self) -> Duration {
        STARVED + 4 * self.decode
    }

    /// One was read. `true` when that ends a pause.
    pub(super) fn read(&mut self, waited: Duration, decode: Duration) -> bool {
        self.decode = decode;
        let every = self.settings.every;
        if waited > every / 2 {
            self.stretch = (self.stretch * 2).min(RAREST);
            return false;
        }
        if waited <= every / 10 {
            self.stretch = (self.stretch / 2).max(1);
        }
        std::mem::take(&mut self.paused)
    }

    /// One was given up. `true` when that begins a pause.
    pub(super) fn starved(&mut self) -> bool {
        self.stretch = RAREST;
        !std::mem::replace(&mut self.paused, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_millis(500);

    fn pace() -> Pace {
        Pace::new(InterimSettings { first: Duration::from_millis(300), every: EVERY })
    }

    /// The interval after interims that waited so many milliseconds; `!` is one that was given up.
    fn interval_after(waits: &str) -> u128 {
        let mut pace = pace();
        for wait in waits.split_whitespace() {
            match wait {
                "!" => drop(pace.starved()),
                wait => drop(pace.read(Duration::from_millis(wait.parse().unwrap()), Duration::ZERO)),
            }
        }
        pace.interval(true).as_millis()
    }

    #[test]
    fn interims_get_rarer_while_they_wait_and_come_back_when_they_do_not() {
        let cases = [
            ("", 500),
            ("0 0", 500),
            ("300", 1_000),
            ("300 300", 2_000),
            ("300 300 300 300", 2_000),
            ("300 300 100", 2_000),
            ("300 300 10", 1_000),
            ("300 300 10 10", 500),
        ];
        for (waits, expected) in cases {
            assert_eq!(interval_after(waits), expected, "{waits}");
        }
    }

    #[test]
    fn one_that_is_given_up_pauses_them_until_one_is_served_at_once() {
        let mut pace = pace();
        assert!(pace.starved() && !pace.starved(), "a pause is told once");
        assert_eq!(pace.interval(false), PROBE);
        assert!(!pace.read(Duration::from_secs(1), Duration::ZERO));
        assert!(pace.read(Duration::from_millis(10), Duration::ZERO));
        assert!(!pace.read(Duration::from_millis(10), Duration::ZERO), "its end is told once");
    }

    #[test]
    fn the_first_words_are_looked_for_sooner() {
        assert_eq!(pace().interval(false), Duration::from_millis(300));
    }

    #[test]
    fn decodes_that_take_long_take_no_more_than_half_of_a_slot() {
        let mut pace = pace();
        pace.read(Duration::ZERO, Duration::from_secs(1));
        assert_eq!(pace.interval(false), Duration::from_secs(2));
        assert_eq!(pace.patience(), Duration::from_secs(6));
    }
}
