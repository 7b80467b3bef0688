//! What a server holds while nobody is there, and whether that has grown. Pure.

use super::super::server_watch::{PoolReading, Usage};
use serde::{Deserialize, Serialize};

const MIB: f64 = 1024.0 * 1024.0;

/// Tasks and descriptors that may be more than before: whoever asks has a connection, too.
const A_FEW: f64 = 2.0;

/// By how much resident memory may grow: this part of it, or so many bytes, whichever is more. Allocators keep pages.
const RSS_PART: f64 = 0.10;
const RSS_BYTES: f64 = 32.0 * MIB;

/// By how much the memory in use on the device may grow, which others may use as well.
const DEVICE_BYTES: f64 = 64.0 * MIB;

/// What a server holds at one moment; `None` where that cannot be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Levels {
    /// All slots.
    pub slots_total: Option<u64>,
    /// Slots that nobody holds.
    pub slots_idle: Option<u64>,
    /// Live sessions.
    pub sessions: Option<u64>,
    /// Tasks of its runtime.
    pub tasks: Option<u64>,
    /// Open file descriptors.
    pub open_fds: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Resident memory in bytes.
    pub rss_bytes: Option<u64>,
    /// Memory of the device in bytes.
    pub device_memory_bytes: Option<u64>,
}

/// How one of the levels has changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Growth {
    /// Which: the field's name in [`Levels`].
    pub quantity: String,
    /// Before.
    pub baseline: Option<u64>,
    /// After.
    pub after: Option<u64>,
    /// What it had to be at most (`slots_idle`: at least).
    pub limit: Option<u64>,
    /// Whether it was; `None` where nothing was known from the beginning, and for a soak that was stopped.
    pub passed: Option<bool>,
}

impl Levels {
    /// Puts together what was seen from outside and what the server says.
    pub(super) fn new(usage: Option<Usage>, pool: Option<&PoolReading>, tasks: Option<u64>) -> Self {
        Self {
            slots_total: pool.map(|pool| pool.slots.total.into()),
            slots_idle: pool.map(|pool| pool.slots.idle.into()),
            sessions: pool.map(PoolReading::sessions),
            tasks,
            open_fds: usage.map(|usage| usage.open_fds),
            threads: usage.map(|usage| usage.threads),
            rss_bytes: usage.map(|usage| usage.rss_bytes),
            device_memory_bytes: pool.and_then(PoolReading::device_memory_used),
        }
    }

    /// Whether nobody is there, as far as one can see.
    pub(super) fn is_quiet(&self) -> bool {
        self.slots_idle == self.slots_total && self.sessions.is_none_or(|sessions| sessions == 0)
    }

    /// Which of the levels that a server of ours tells are not known: it did not answer.
    pub(super) fn unsaid(&self) -> Vec<&'static str> {
        let told = [("slots_idle", self.slots_idle), ("sessions", self.sessions), ("tasks", self.tasks)];
        told.into_iter().filter(|(_, level)| level.is_none()).map(|(quantity, _)| quantity).collect()
    }

    /// Whether nothing has grown since `baseline`, as far as that is known.
    pub(super) fn is_back_at(&self, baseline: &Self) -> bool {
        self.growth(baseline).iter().all(|growth| growth.passed != Some(false))
    }

    /// What has become of each level that was known at `baseline`.
    pub(super) fn growth(&self, baseline: &Self) -> Vec<Growth> {
        let more = |quantity: &str, of: fn(&Self) -> Option<u64>, limit: fn(f64) -> f64| {
            let limit = of(baseline).map(|level| limit(level as f64) as u64);
            Growth::new(quantity, (of(baseline), of(self)), limit, |after, limit| after <= limit)
        };
        let idle = (baseline.slots_idle, self.slots_idle);
        vec![
            Growth::new("slots_idle", idle, baseline.slots_total, |after, limit| after >= limit),
            more("sessions", |levels| levels.sessions, |_| 0.0),
            more("tasks", |levels| levels.tasks, |tasks| tasks + A_FEW),
            more("open_fds", |levels| levels.open_fds, |fds| fds + A_FEW),
            more("threads", |levels| levels.threads, |threads| threads),
            more("rss_bytes", |levels| levels.rss_bytes, |rss| rss + (rss * RSS_PART).max(RSS_BYTES)),
            more("device_memory_bytes", |levels| levels.device_memory_bytes, |bytes| bytes + DEVICE_BYTES),
        ]
    }
}

impl Growth {
    fn new(
        quantity: &str,
        (baseline, after): (Option<u64>, Option<u64>),
        limit: Option<u64>,
        fits: fn(u64, u64) -> bool,
    ) -> Self {
        // What was known and is not any more is a server that is gone.
        let passed = limit.map(|limit| after.is_some_and(|after| fits(after, limit)));
        Self { quantity: quantity.into(), baseline, after, limit, passed }
    }

    /// What is wrong, in one line; `None` when nothing is.
    pub(super) fn failure(&self) -> Option<String> {
        let Self { quantity, baseline, after, limit, passed } = self;
        let written = |level: Option<u64>| level.map_or_else(|| "unknown".into(), |level| level.to_string());
        (*passed == Some(false)).then(|| {
            let [before, after, limit] = [*baseline, *after, *limit].map(written);
            format!("{quantity} not back at baseline: {after}, was {before}, limit {limit}")
        })
    }
}

/// Least-squares slope of resident memory over the second half of a series of (seconds, bytes), in MiB per hour; `None`
/// of fewer than three points.
pub(super) fn slope(series: &[[f64; 2]]) -> Option<f64> {
    let half = &series[series.len() / 2..];
    let n = half.len() as f64;
    let mean = |at: usize| half.iter().map(|point| point[at]).sum::<f64>() / n;
    let (time, bytes) = (mean(0), mean(1));
    let spread: f64 = half.iter().map(|[t, _]| (t - time).powi(2)).sum();
    let together: f64 = half.iter().map(|[t, b]| (t - time) * (b - bytes)).sum();
    (half.len() >= 3 && spread > 0.0).then(|| together / spread * 3_600.0 / MIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Levels = Levels {
        slots_total: Some(2),
        slots_idle: Some(2),
        sessions: Some(0),
        tasks: Some(10),
        open_fds: Some(40),
        threads: Some(9),
        rss_bytes: Some(1_000 << 20),
        device_memory_bytes: Some(500 << 20),
    };

    fn failing(after: Levels) -> Vec<String> {
        let growth = after.growth(&BASE);
        growth.iter().filter(|one| one.failure().is_some()).map(|one| one.quantity.clone()).collect()
    }

    #[test]
    fn each_level_has_its_own_limit() {
        let cases: [(Levels, &[&str]); 9] = [
            (BASE, &[]),
            (Levels { tasks: Some(12), open_fds: Some(42), threads: Some(8), ..BASE }, &[]),
            (Levels { slots_idle: Some(1), ..BASE }, &["slots_idle"]),
            (Levels { sessions: Some(1), ..BASE }, &["sessions"]),
            (Levels { tasks: Some(13), open_fds: Some(43), ..BASE }, &["tasks", "open_fds"]),
            (Levels { threads: Some(10), ..BASE }, &["threads"]),
            (Levels { rss_bytes: Some(1_100 << 20), device_memory_bytes: Some(564 << 20), ..BASE }, &[]),
            (Levels { rss_bytes: Some(1_101 << 20), ..BASE }, &["rss_bytes"]),
            (Levels { device_memory_bytes: Some(565 << 20), ..BASE }, &["device_memory_bytes"]),
        ];
        for (after, expected) in cases {
            assert_eq!(failing(after), expected, "{after:?}");
        }
    }

    #[test]
    fn a_slot_that_was_not_back_at_the_baseline_still_has_to_come_back() {
        let early = Levels { slots_idle: Some(1), ..BASE };
        assert_eq!(early.growth(&early)[0].passed, Some(false));
    }

    #[test]
    fn of_what_was_never_known_nothing_is_said() {
        let nothing = Levels::default();
        assert!(nothing.growth(&nothing).iter().all(|one| one.passed.is_none() && one.failure().is_none()));
        assert!(nothing.is_quiet());
    }

    #[test]
    fn a_server_that_is_gone_is_not_back_at_its_baseline() {
        assert_eq!(failing(Levels::default()).len(), 7);
    }

    #[test]
    fn the_slope_is_that_of_the_second_half() {
        // Grows fast, then by one MiB a minute.
        let series: Vec<[f64; 2]> = (0..20_u32)
            .map(|n| {
                let t = f64::from(n) * 10.0;
                [t, if n < 10 { t * 1e9 } else { t / 60.0 * MIB }]
            })
            .collect();
        assert!((slope(&series).unwrap() - 60.0).abs() < 1e-6);
        assert_eq!(slope(&series[..4]), None);
        assert_eq!(slope(&[]), None);
    }
}
