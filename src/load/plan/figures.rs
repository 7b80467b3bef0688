//! What a simulated device was like, in figures, and how sure they are.

use super::Tier;
use crate::load::report::NO_WAIT;
use crate::load::simulation::Served;
use crate::pool::percentile;
use serde::Serialize;
use std::time::Duration;

/// Figures of so many stretches of time are compared to see how sure the figure of all is.
const BATCHES: usize = 20;
/// Student's t for 95 % and that many stretches.
const STUDENT: f64 = 2.093;

/// What a device was like; times in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// Utterances that were counted.
    pub utterances: usize,
    /// The part of their time in which slots work, 0 to 1.
    pub utilization: f64,
    /// How people wait.
    #[serde(flatten)]
    pub waits: WaitFigures,
    /// By how much the figures of another simulation may differ, in 95 of 100 cases.
    pub plus_minus: PlusMinus,
    /// Tier by tier, where there are several.
    pub tiers: Vec<TierFigures>,
}

/// How people wait; times in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct WaitFigures {
    /// The part of the utterances that wait for more than 1 ms: how likely it is to wait, 0 to 1.
    pub waited_share: f64,
    /// The mean wait, of those too who do not wait.
    pub wait_mean_ms: f64,
    /// Median wait.
    pub wait_p50_ms: f64,
    /// 95 of 100 waits are no longer.
    pub wait_p95_ms: f64,
    /// 99 of 100 waits are no longer.
    pub wait_p99_ms: f64,
    /// Median time from the end of the speech to its text.
    pub final_p50_ms: f64,
    /// 95 of 100 texts come no later.
    pub final_p95_ms: f64,
}

/// Half the width of 95 % confidence intervals.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct PlusMinus {
    /// Of the part that waits.
    pub waited_share: f64,
    /// Of the mean wait.
    pub wait_mean_ms: f64,
    /// Of the 95th percentile of waits.
    pub wait_p95_ms: f64,
    /// Of the 95th percentile of final latencies.
    pub final_p95_ms: f64,
}

/// What one tier gets.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TierFigures {
    /// Its name.
    pub name: String,
    /// Its weight.
    pub weight: u32,
    /// How many people are in it.
    pub people: usize,
    /// How they wait.
    #[serde(flatten)]
    pub waits: WaitFigures,
}

impl Figures {
    /// Of all that was served, in order; `tier_of` gives each session's tier.
    pub(super) fn new(
        served: &[Served],
        utilization: f64,
        overhead: Duration,
        tiers: &[Tier],
        tier_of: &[usize],
    ) -> Self {
        let size = served.len().div_ceil(BATCHES).max(1);
        let batches: Vec<_> =
            served.chunks(size).map(|batch| WaitFigures::of(batch.iter(), overhead)).collect();
        let of_tier = |(number, tier): (usize, &Tier)| TierFigures {
            name: tier.name.clone(),
            weight: tier.weight.get(),
            people: tier_of.iter().filter(|of| **of == number).count(),
            waits: WaitFigures::of(
                served.iter().filter(|served| tier_of[served.session] == number),
                overhead,
            ),
        };
        Self {
            utterances: served.len(),
            utilization,
            waits: WaitFigures::of(served.iter(), overhead),
            plus_minus: PlusMinus::of(&batches),
            tiers: if tiers.len() > 1 { tiers.iter().enumerate().map(of_tier).collect() } else { Vec::new() },
        }
    }
}

impl WaitFigures {
    fn of<'a>(served: impl Iterator<Item = &'a Served>, overhead: Duration) -> Self {
        let (mut waits, mut answers): (Vec<_>, Vec<_>) =
            served.map(|served| (served.waited(), overhead + served.answered_after())).unzip();
        if waits.is_empty() {
            return Self::default();
        }
        waits.sort_unstable();
        answers.sort_unstable();
        let count = waits.len() as f64;
        let at = |sorted: &[Duration], percent| millis(percentile(sorted, percent).unwrap_or_default());
        Self {
            waited_share: waits.iter().filter(|wait| **wait > NO_WAIT).count() as f64 / count,
            wait_mean_ms: millis(waits.iter().sum()) / count,
            wait_p50_ms: at(&waits, 50),
            wait_p95_ms: at(&waits, 95),
            wait_p99_ms: at(&waits, 99),
            final_p50_ms: at(&answers, 50),
            final_p95_ms: at(&answers, 95),
        }
    }
}

impl PlusMinus {
    /// By the method of batch means.
    fn of(batches: &[WaitFigures]) -> Self {
        let of =
            |figure: fn(&WaitFigures) -> f64| half_width(&batches.iter().map(figure).collect::<Vec<_>>());
        Self {
            waited_share: of(|batch| batch.waited_share),
            wait_mean_ms: of(|batch| batch.wait_mean_ms),
            wait_p95_ms: of(|batch| batch.wait_p95_ms),
            final_p95_ms: of(|batch| batch.final_p95_ms),
        }
    }
}

/// Half the width of the interval that holds the true mean in 95 of 100 cases.
fn half_width(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    if count < 2.0 {
        return 0.0;
    }
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    STUDENT * (variance / count).sqrt()
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_what_was_served() {
        let ms = Duration::from_millis;
        let served = |n: u64| Served {
            session: 0,
            said: ms(1_000 * n),
            since: ms(1_000 * n + 2),
            granted: ms(1_000 * n + 2 + n),
            decode: ms(100),
        };
        let served: Vec<_> = (0..20).map(served).collect();
        let waits = WaitFigures::of(served.iter(), ms(50));
        // Waits are 0 to 19 ms, and each had 2 ms of its own backlog before.
        assert!((waits.waited_share - 0.9).abs() < 1e-9, "{waits:?}");
        assert!((waits.wait_mean_ms - 9.5).abs() < 1e-9 && (waits.wait_p95_ms - 18.0).abs() < 1e-9);
        assert!((waits.final_p95_ms - 170.0).abs() < 1e-9, "{waits:?}");
        assert_eq!(WaitFigures::of([].iter(), ms(50)), WaitFigures::default());
    }

    #[test]
    fn what_is_always_the_same_is_sure() {
        assert!(half_width(&[3.0; 20]).abs() < 1e-12);
        assert!(half_width(&[3.0]).abs() < 1e-12);
        assert!((half_width(&[1.0, 3.0]) - STUDENT).abs() < 1e-9);
    }
}
