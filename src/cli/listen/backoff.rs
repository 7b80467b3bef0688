//! How long to wait before a lost connection is tried again. Pure.

use std::time::Duration;

/// The first wait where the server asked for none.
const FIRST: Duration = Duration::from_millis(500);

/// Waits grow up to this, or to what the server asked for if that is more.
const LONGEST: Duration = Duration::from_secs(10);

/// Waits that double, and that differ from one client to another: all of them lost their connection at the same moment.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    /// Begins with what the server asked for; zero: nothing.
    pub(super) fn after(asked: Duration) -> Self {
        let next = asked.max(FIRST);
        Self { next, longest: next.max(LONGEST) }
    }

    /// The next wait: by `chance`, a number from 0 to 1, up to half as long again as it would have to be.
    pub(super) fn next(&mut self, chance: f64) -> Duration {
        let wait = self.next.mul_f64(1.0 + chance / 2.0);
        self.next = (self.next * 2).min(self.longest);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first waits, in ms.
    fn waits(asked_ms: u64, chance: f64) -> Vec<u128> {
        let mut waits = Backoff::after(Duration::from_millis(asked_ms));
        (0..6).map(|_| waits.next(chance).as_millis()).collect()
    }

    #[test]
    fn waits_begin_with_what_the_server_asked_for_and_double() {
        assert_eq!(waits(0, 0.0), [500, 1_000, 2_000, 4_000, 8_000, 10_000]);
        assert_eq!(waits(2_000, 0.0), [2_000, 4_000, 8_000, 10_000, 10_000, 10_000]);
        assert_eq!(waits(30_000, 0.0), [30_000; 6]);
    }

    #[test]
    fn chance_makes_waits_longer_and_never_shorter_than_was_asked_for() {
        assert_eq!(waits(2_000, 1.0), [3_000, 6_000, 12_000, 15_000, 15_000, 15_000]);
        assert_eq!(waits(2_000, 0.5)[..2], [2_500, 5_000]);
    }
}
