//! How often speech in progress is read. Pure: it is told what time it is.
//!
//! Interims are worth something only while nobody who is done has to wait for them. So they get rarer as soon as they
//! have to wait themselves, and stop when they wait for long; then one is tried now and then, to see whether the slots
//! have become free.

use super::live::InterimSettings;
use std::time::Duration;
use tokio::time::Instant;

/// An interim that waits longer than this is given up, and no more are asked for.
const STARVED: Duration = Duration::from_secs(2);

/// While they are paused one is tried so long after the last: by the clock, because turns may be shorter than this.
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
    /// While they are paused: when the last one was tried.
    paused: Option<Instant>,
}

impl Pace {
    pub(super) fn new(settings: InterimSettings) -> Self {
        Self { settings, stretch: 1, decode: Duration::ZERO, paused: None }
    }

    /// Goes on with other settings.
    pub(super) fn configure(&mut self, settings: InterimSettings) {
        self.settings = settings;
    }

    /// How much new speech calls for the next reading; sooner until any of the text was told. `None`: nothing does, for now.
    ///
    /// One that takes long to decode comes so seldom that a slot does nothing for it half of the time.
    pub(super) fn interval(&self, is_told: bool, now: Instant) -> Option<Duration> {
        let InterimSettings { first, every } = self.settings;
        let first = first.min(every);
        match self.paused {
            Some(tried) => (now >= tried + PROBE).then_some(first),
            None => Some((if is_told { every } else { first } * self.stretch).max(2 * self.decode)),
        }
    }

    /// One is asked for whose decode is expected to take so long. Gives for how long it may be under way.
    pub(super) fn ask(&mut self, expected: Duration, now: Instant) -> Duration {
        self.paused = self.paused.map(|_| now);
        STARVED + 4 * self.decode.max(expected)
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
        self.paused.take().is_some()
    }

    /// One was given up. `true` when that begins a pause.
    pub(super) fn starved(&mut self, now: Instant) -> bool {
        self.stretch = RAREST;
        // Perhaps it did not wait at all and took that long. The next one shows, if it is given the time.
        self.decode = self.decode.max(STARVED);
        self.paused.replace(now).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_millis(500);

    fn pace() -> Pace {
        Pace::new(InterimSettings { first: Duration::from_millis(300), every: EVERY })
    }

    /// The interval after interims that waited so many milliseconds.
    fn interval_after(waits: &str) -> u128 {
        let mut pace = pace();
        for wait in waits.split_whitespace() {
            pace.read(Duration::from_millis(wait.parse().unwrap()), Duration::ZERO);
        }
        pace.interval(true, Instant::now()).unwrap().as_millis()
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
        let (mut pace, now) = (pace(), Instant::now());
        assert!(pace.starved(now) && !pace.starved(now), "a pause is told once");
        assert!(!pace.read(Duration::from_secs(1), Duration::ZERO));
        assert!(pace.read(Duration::from_millis(10), Duration::ZERO));
        assert!(!pace.read(Duration::from_millis(10), Duration::ZERO), "its end is told once");
    }

    #[test]
    fn while_they_are_paused_one_is_tried_every_two_seconds_with_whatever_was_said() {
        let (mut pace, start) = (pace(), Instant::now());
        let after = |ms| start + Duration::from_millis(ms);
        let first = Some(Duration::from_millis(300));
        pace.starved(start);
        assert_eq!([1_999, 2_000].map(|ms| pace.interval(true, after(ms))), [None, first]);
        pace.ask(Duration::ZERO, after(2_500));
        assert_eq!([4_499, 4_500].map(|ms| pace.interval(false, after(ms))), [None, first]);
    }

    #[test]
    fn the_first_words_are_looked_for_sooner() {
        assert_eq!(pace().interval(false, Instant::now()), Some(Duration::from_millis(300)));
    }

    #[test]
    fn decodes_that_take_long_take_no_more_than_half_of_a_slot() {
        let (mut pace, now) = (pace(), Instant::now());
        pace.read(Duration::ZERO, Duration::from_secs(1));
        assert_eq!(pace.interval(false, now), Some(Duration::from_secs(2)));
    }

    #[test]
    fn a_decode_that_takes_long_is_not_taken_for_one_that_waits() {
        let (mut pace, now) = (pace(), Instant::now());
        let patience = |pace: &mut Pace, expected| pace.ask(Duration::from_secs(expected), now).as_secs();
        assert_eq!(patience(&mut pace, 0), 2);
        assert_eq!(patience(&mut pace, 1), 6, "others have shown what it takes");
        pace.starved(now);
        assert_eq!(patience(&mut pace, 0), 10, "nobody has, so it is found out");
        pace.read(Duration::ZERO, Duration::from_millis(500));
        assert_eq!(patience(&mut pace, 0), 4);
    }
}
