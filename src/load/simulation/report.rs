//! What an hour was like: the figures made of what was noted.

use super::notes::{Notes, Served};
use crate::pool::{jain, percentile};
use std::fmt;
use std::time::Duration;

/// What was noted, as figures. The first sessions are the backlogged ones; `capacity` is what all slots could have worked.
pub(super) fn report(notes: &Notes, backlogged: usize, capacity: Duration) -> ScenarioReport {
    let worked: Duration = notes.work.iter().sum();
    let shares: Vec<f64> = notes.work[..backlogged].iter().map(Duration::as_secs_f64).collect();
    let ordinary = notes.served.iter().filter(|served| served.session >= backlogged);
    ScenarioReport {
        grants: notes.served.len(),
        // All got the same when nobody got anything.
        jain: jain(&shares).unwrap_or(1.0),
        largest_share: largest_share(&shares),
        utilization: worked.as_secs_f64() / capacity.as_secs_f64(),
        longest_head_wait: notes.longest_head_wait,
        bound: bound(notes),
        waits: Waits::of(ordinary.map(Served::waited).collect()),
    }
}

/// The longest that a head may wait: until it is over the starvation bound, and then four grants for each head over it.
/// Those took as long as the slowest such stretch of grants did.
fn bound(notes: &Notes) -> Duration {
    let stretch = 4 * notes.most_overdue;
    let pairs = notes.served.iter().zip(notes.served.iter().skip(stretch));
    let slowest = pairs.map(|(from, to)| to.granted.saturating_sub(from.granted)).max().unwrap_or_default();
    notes.starvation.saturating_add(slowest)
}

/// The largest share as a multiple of an equal one.
fn largest_share(shares: &[f64]) -> f64 {
    let sum: f64 = shares.iter().sum();
    if sum == 0.0 { 1.0 } else { shares.iter().copied().fold(0.0, f64::max) * shares.len() as f64 / sum }
}

/// How long the finals of ordinary sessions waited for a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waits {
    /// How many there were.
    pub count: usize,
    /// Half of them waited no longer.
    pub p50: Duration,
    /// 95 of 100 waited no longer.
    pub p95: Duration,
    /// 99 of 100 waited no longer.
    pub p99: Duration,
    /// None waited longer.
    pub max: Duration,
}

impl Waits {
    fn of(mut waits: Vec<Duration>) -> Self {
        waits.sort_unstable();
        let at = |percent| percentile(&waits, percent).unwrap_or_default();
        Self { count: waits.len(), p50: at(50), p95: at(95), p99: at(99), max: at(100) }
    }
}

/// What an hour was like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScenarioReport {
    /// Leases granted.
    pub grants: usize,
    /// Jain's index over the slot time of the backlogged sessions: 1 when all got the same.
    pub jain: f64,
    /// The largest slot time of a backlogged session, as a multiple of an equal share.
    pub largest_share: f64,
    /// The part of their time in which slots were busy, 0 to 1.
    pub utilization: f64,
    /// How long the finals of ordinary sessions waited.
    pub waits: Waits,
    /// The longest that any session's next ticket waited.
    pub longest_head_wait: Duration,
    /// What the ledger's promise comes to: the starvation bound, and four grants for each ticket that was over it.
    pub bound: Duration,
}

/// The same scenario under both disciplines. Shown as a table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// With the real ledger.
    pub fair: ScenarioReport,
    /// First come, first served.
    pub first_come: ScenarioReport,
}

impl Comparison {
    fn rows(&self) -> [(&'static str, [String; 2]); 10] {
        let both = |figure: fn(&ScenarioReport) -> String| [figure(&self.fair), figure(&self.first_come)];
        [
            ("leases granted", both(|report| report.grants.to_string())),
            ("slots busy", both(|report| format!("{:.1} %", 100.0 * report.utilization))),
            ("Jain's index, backlogged sessions", both(|report| format!("{:.3}", report.jain))),
            ("largest share, of an equal one", both(|report| format!("{:.2}", report.largest_share))),
            ("wait of ordinary finals, p50", both(|report| seconds(report.waits.p50))),
            ("wait of ordinary finals, p95", both(|report| seconds(report.waits.p95))),
            ("wait of ordinary finals, p99", both(|report| seconds(report.waits.p99))),
            ("wait of ordinary finals, longest", both(|report| seconds(report.waits.max))),
            ("wait of any next ticket, longest", both(|report| seconds(report.longest_head_wait))),
            ("bound on that, by the ledger", [seconds(self.fair.bound), "-".to_owned()]),
        ]
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:34} {:>10} {:>12}", "", "fair", "first come")?;
        for (name, [fair, first_come]) in self.rows() {
            write!(f, "\n{name:34} {fair:>10} {first_come:>12}")?;
        }
        Ok(())
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_share_is_one_for_equals_and_n_for_a_winner_who_takes_all() {
        let cases: [(&[f64], f64); 4] =
            [(&[2.0; 5], 1.0), (&[0.0, 0.0, 0.0, 7.0], 4.0), (&[1.0, 3.0], 1.5), (&[], 1.0)];
        for (shares, largest) in cases {
            assert!((largest_share(shares) - largest).abs() < 1e-9, "{shares:?}");
        }
    }

    #[test]
    fn a_percentile_is_a_wait_that_somebody_had() {
        let second = Duration::from_secs(1);
        let waits = Waits::of((1..=200).rev().map(|n| second * n).collect());
        let expected =
            Waits { count: 200, p50: second * 100, p95: second * 190, p99: second * 198, max: second * 200 };
        assert_eq!(waits, expected);
        assert_eq!(Waits::of(Vec::new()), Waits::default());
    }
}
