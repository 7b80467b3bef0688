//! How long people are silent between two turns. Pure, and without chance of its own: who draws hands it in.

use std::time::Duration;

/// How heavy the tail of pauses is: with a deviation of 1 of the logarithm, one pause in a hundred lasts six times the
/// mean and more, and half of them less than two thirds of it.
const SPREAD: f64 = 1.0;

/// People speak for this part of the time at least, or their pauses would be longer than any time that can be told.
const LEAST_DUTY: f64 = 1e-6;

/// Pauses that are never shorter than the shortest one, and lognormal beyond it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) struct Pauses {
    shortest: Duration,
    /// Mean of what a pause lasts beyond the shortest, in seconds.
    mean_rest: f64,
}

impl Pauses {
    /// Pauses that last so long on average, unless even the shortest one is longer.
    pub(in super::super) fn lasting(mean: Duration, shortest: Duration) -> Self {
        Self { shortest, mean_rest: mean.saturating_sub(shortest).as_secs_f64() }
    }

    /// Pauses after turns of this mean length, so that people speak for that part of the time.
    pub(in super::super) fn between(turns: Duration, duty: f64, shortest: Duration) -> Self {
        let duty = duty.clamp(LEAST_DUTY, 1.0);
        Self::lasting(turns.mul_f64((1.0 - duty) / duty), shortest)
    }

    /// How long they are on average.
    pub(in super::super) fn mean(&self) -> Duration {
        self.shortest + Duration::from_secs_f64(self.mean_rest)
    }

    /// One of them, for a number that is normally distributed around 0 with deviation 1.
    pub(in super::super) fn draw(&self, normal: f64) -> Duration {
        let rest = self.mean_rest * (SPREAD * normal - SPREAD * SPREAD / 2.0).exp();
        self.shortest + Duration::from_secs_f64(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn pauses_leave_the_part_of_the_time_that_the_duty_says() {
        for (duty, mean_ms) in [(0.3, 7_000), (0.5, 3_000), (0.75, 1_000), (0.9, 1_000)] {
            let mean = Pauses::between(SECOND * 3, duty, SECOND).mean();
            assert_eq!(mean.as_secs_f64().mul_add(1e3, 0.5) as u64, mean_ms, "duty {duty}");
        }
    }

    #[test]
    fn half_of_them_last_less_than_two_thirds_of_what_is_beyond_the_shortest() {
        let pauses = Pauses::lasting(SECOND * 11, SECOND);
        assert_eq!(pauses.draw(0.0).as_millis(), 7_065);
        assert_eq!(pauses.draw(-1e3), SECOND);
        assert_eq!(Pauses::lasting(SECOND / 2, SECOND).draw(3.0), SECOND);
    }
}
