//! Whether an endpoint that fails is asked at all. Pure: every moment is passed in.
//!
//! *Closed*, requests pass. After so many failures in a row it is *open*: none passes, for a while. Then it is *half
//! open*: one request, the probe, tries it, and what becomes of it decides.

use super::BreakerSettings;
use std::time::Duration;
use tokio::time::Instant;

/// How a request passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// As one of many.
    Usual,
    /// As the probe with this number.
    Probe(u64),
}

/// What became of a request that passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The endpoint does its work.
    Served,
    /// It does not.
    Failed,
    /// It wants to be left alone for so long.
    Rest(Duration),
    /// Nobody waited for it.
    Unknown,
}

/// What a verdict changed, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing passes for so long.
    Opened(Duration),
    /// Requests pass again.
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    HalfOpen { probe: u64 },
}

/// The breaker before one endpoint.
#[derive(Debug)]
pub(super) struct Breaker {
    settings: BreakerSettings,
    state: State,
    probes: u64,
}

impl Breaker {
    /// One that lets everything pass.
    pub(super) fn new(settings: BreakerSettings) -> Self {
        Self { settings, state: State::Closed { failures: 0 }, probes: 0 }
    }

    /// Lets a request pass, or says for how long none does. What becomes of it must be [told](Self::settle).
    pub(super) fn admit(&mut self, now: Instant) -> Result<Pass, Duration> {
        match self.state {
            State::Closed { .. } => Ok(Pass::Usual),
            State::Open { until } if until > now => Err(until - now),
            State::Open { .. } => {
                self.probes += 1;
                self.state = State::HalfOpen { probe: self.probes };
                Ok(Pass::Probe(self.probes))
            }
            // As long as the probe needs, and if it fails, at least so long.
            State::HalfOpen { .. } => Err(self.settings.cool_down),
        }
    }

    /// Hears what became of a request.
    ///
    /// Of requests that passed before it opened only a wish for rest still counts: the others' fate is old news.
    pub(super) fn settle(&mut self, pass: Pass, verdict: Verdict, now: Instant) -> Option<Change> {
        match (self.state, pass, verdict) {
            (_, Pass::Usual, Verdict::Rest(rest)) => self.open(rest, now),
            (State::Closed { .. }, Pass::Usual, Verdict::Served) => {
                self.state = State::Closed { failures: 0 };
                None
            }
            (State::Closed { failures }, Pass::Usual, Verdict::Failed) => self.count(failures + 1, now),
            (State::HalfOpen { probe }, Pass::Probe(number), verdict) if probe == number => {
                self.judge_probe(verdict, now)
            }
            _ => None,
        }
    }

    fn count(&mut self, failures: u32, now: Instant) -> Option<Change> {
        if failures >= self.settings.failures.get() {
            return self.open(self.settings.cool_down, now);
        }
        self.state = State::Closed { failures };
        None
    }

    fn judge_probe(&mut self, verdict: Verdict, now: Instant) -> Option<Change> {
        match verdict {
            Verdict::Served => {
                self.state = State::Closed { failures: 0 };
                Some(Change::Closed)
            }
            Verdict::Failed => self.open(self.settings.cool_down, now),
            Verdict::Rest(rest) => self.open(rest, now),
            // The next one may try.
            Verdict::Unknown => {
                self.state = State::Open { until: now };
                None
            }
        }
    }

    /// Opens for so long, or leaves it open for longer.
    fn open(&mut self, rest: Duration, now: Instant) -> Option<Change> {
        let until = now + rest;
        match self.state {
            State::Open { until: already } if already >= until => None,
            _ => {
                self.state = State::Open { until };
                Some(Change::Opened(rest))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::num::NonZeroU32;

    const COOL_DOWN: Duration = Duration::from_secs(10);

    fn breaker(failures: u32) -> (Breaker, Instant) {
        let failures = NonZeroU32::new(failures).unwrap();
        (Breaker::new(BreakerSettings { failures, cool_down: COOL_DOWN }), Instant::now())
    }

    fn fail(breaker: &mut Breaker, times: u32, now: Instant) -> Option<Change> {
        (0..times).fold(None, |_, _| {
            let pass = breaker.admit(now).unwrap();
            breaker.settle(pass, Verdict::Failed, now)
        })
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_lets_one_probe_pass_later() {
        let (mut breaker, now) = breaker(3);
        assert_eq!(fail(&mut breaker, 2, now), None);
        assert_eq!(breaker.settle(Pass::Usual, Verdict::Served, now), None);
        assert_eq!(fail(&mut breaker, 3, now), Some(Change::Opened(COOL_DOWN)), "in a row");
        assert_eq!(breaker.admit(now + Duration::from_secs(4)), Err(Duration::from_secs(6)));
        let later = now + COOL_DOWN;
        let probe = breaker.admit(later).unwrap();
        assert!(breaker.admit(later).is_err(), "one probe at a time");
        assert_eq!(breaker.settle(probe, Verdict::Failed, later), Some(Change::Opened(COOL_DOWN)));
        let later = later + COOL_DOWN;
        let probe = breaker.admit(later).unwrap();
        assert_eq!(breaker.settle(probe, Verdict::Served, later), Some(Change::Closed));
        assert_eq!(breaker.admit(later), Ok(Pass::Usual));
        assert_eq!(fail(&mut breaker, 2, later), None, "it counts anew");
    }

    #[test]
    fn a_probe_that_nobody_waited_for_makes_room_for_the_next() {
        let (mut breaker, now) = breaker(1);
        fail(&mut breaker, 1, now);
        let later = now + COOL_DOWN;
        let dropped = breaker.admit(later).unwrap();
        breaker.settle(dropped, Verdict::Unknown, later);
        let probe = breaker.admit(later).expect("at once");
        assert_eq!(breaker.settle(dropped, Verdict::Served, later), None, "it is not the probe any more");
        assert!(breaker.admit(later).is_err());
        assert_eq!(breaker.settle(probe, Verdict::Served, later), Some(Change::Closed));
    }

    #[test]
    fn who_asks_for_rest_gets_it_at_once_and_is_not_asked_sooner_by_other_news() {
        let (mut breaker, now) = breaker(1);
        let (one, other) = (breaker.admit(now).unwrap(), breaker.admit(now).unwrap());
        let rest = Duration::from_secs(60);
        assert_eq!(breaker.settle(one, Verdict::Rest(rest), now), Some(Change::Opened(rest)));
        breaker.settle(other, Verdict::Failed, now);
        breaker.settle(other, Verdict::Served, now);
        breaker.settle(other, Verdict::Rest(Duration::from_secs(1)), now);
        assert_eq!(breaker.admit(now), Err(rest));
        let probe = breaker.admit(now + rest).unwrap();
        assert_eq!(breaker.settle(probe, Verdict::Rest(rest), now + rest), Some(Change::Opened(rest)));
    }

    fn verdict() -> impl Strategy<Value = Verdict> {
        prop_oneof![
            Just(Verdict::Served),
            Just(Verdict::Failed),
            Just(Verdict::Unknown),
            (0..30_u64).prop_map(|seconds| Verdict::Rest(Duration::from_secs(seconds))),
        ]
    }

    proptest! {
        /// Whatever happens in whatever order: there is one probe at a time, and nothing is shut for ever.
        #[test]
        fn it_never_shuts_for_good(
            steps in proptest::collection::vec((0..20_u64, any::<bool>(), any::<prop::sample::Index>(), verdict()), 0..80),
            failures in 1..4_u32,
        ) {
            let (mut breaker, mut now) = breaker(failures);
            let mut passed: Vec<Pass> = Vec::new();
            for (seconds, enters, which, verdict) in steps {
                now += Duration::from_secs(seconds);
                if enters {
                    passed.extend(breaker.admit(now));
                } else if !passed.is_empty() {
                    let pass = passed.swap_remove(which.index(passed.len()));
                    breaker.settle(pass, verdict, now);
                }
                let current = |pass: &&Pass| matches!((breaker.state, pass), (State::HalfOpen { probe }, Pass::Probe(number)) if probe == *number);
                let probes = passed.iter().filter(current).count();
                prop_assert_eq!(probes, usize::from(matches!(breaker.state, State::HalfOpen { .. })));
            }
            for pass in passed {
                breaker.settle(pass, Verdict::Unknown, now);
            }
            prop_assert!(breaker.admit(now + Duration::from_secs(30)).is_ok());
        }
    }
}
