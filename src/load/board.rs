//! What goes on in a run right now: counters that all people write and the progress line reads.

use super::protocol::Heard;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::Instant;

/// How a run is going.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Since the first person connected.
    pub elapsed: Duration,
    /// People whose connection is open.
    pub connected: u32,
    /// People whose recording is being played.
    pub speaking: u32,
    /// Final texts that came.
    pub finals: u64,
    /// Errors, failures and refusals.
    pub errors: u64,
    /// How late the generator itself is: 99 of 100 frames are sent with less delay.
    pub lag_p99: Duration,
}

/// The counters of one run.
#[derive(Debug)]
pub(super) struct Board {
    began: Instant,
    connected: AtomicU32,
    speaking: AtomicU32,
    finals: AtomicU64,
    errors: AtomicU64,
    pub(super) lag: LagHistogram,
}

impl Board {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            connected: AtomicU32::new(0),
            speaking: AtomicU32::new(0),
            finals: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            lag: LagHistogram::default(),
        }
    }

    pub(super) fn heard(&self, heard: &Heard) {
        match heard {
            Heard::Final(_) => self.finals.fetch_add(1, Relaxed),
            Heard::Failed { .. } | Heard::Trouble { .. } => self.errors.fetch_add(1, Relaxed),
            Heard::Delta { .. } | Heard::ReplyAudio(_) | Heard::ReplyDone => 0,
        };
    }

    pub(super) fn error(&self) {
        self.errors.fetch_add(1, Relaxed);
    }

    /// Counts somebody as connected for as long as the value lives.
    pub(super) fn connected(&self) -> Present<'_> {
        Present::new(&self.connected)
    }

    /// Counts somebody as speaking for as long as the value lives.
    pub(super) fn speaking(&self) -> Present<'_> {
        Present::new(&self.speaking)
    }

    pub(super) fn progress(&self) -> Progress {
        Progress {
            elapsed: self.began.elapsed(),
            connected: self.connected.load(Relaxed),
            speaking: self.speaking.load(Relaxed),
            finals: self.finals.load(Relaxed),
            errors: self.errors.load(Relaxed),
            lag_p99: self.lag.p99(),
        }
    }
}

/// One of those who are counted.
#[derive(Debug)]
pub(super) struct Present<'a>(&'a AtomicU32);

impl<'a> Present<'a> {
    fn new(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count)
    }
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// How late frames were sent, as a histogram: a run has millions of them.
#[derive(Debug)]
pub(super) struct LagHistogram {
    /// Each is [`LagHistogram::STEP`] wide; the last also holds all that was later.
    counts: Box<[AtomicU32]>,
}

impl Default for LagHistogram {
    fn default() -> Self {
        Self { counts: (0..Self::STEPS).map(|_| AtomicU32::new(0)).collect() }
    }
}

impl LagHistogram {
    const STEP: Duration = Duration::from_micros(100);
    const STEPS: usize = 20_000;

    pub(super) fn record(&self, late: Duration) {
        let step = (late.as_micros() / Self::STEP.as_micros()) as usize;
        self.counts[step.min(Self::STEPS - 1)].fetch_add(1, Relaxed);
    }

    /// The upper end of the step below which 99 of 100 frames lie; zero before the first frame.
    pub(super) fn p99(&self) -> Duration {
        let counts: Vec<u64> = self.counts.iter().map(|count| u64::from(count.load(Relaxed))).collect();
        let total: u64 = counts.iter().sum();
        let rank = (total * 99).div_ceil(100);
        let mut seen = 0;
        let reaches = |count: &u64| {
            seen += count;
            seen >= rank
        };
        if total == 0 {
            return Duration::ZERO;
        }
        let step = counts.iter().position(reaches).expect("the sum reaches every rank");
        Self::STEP * (step as u32 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_late_frame_in_a_hundred_is_not_the_p99_and_two_are() {
        let lag = LagHistogram::default();
        assert_eq!(lag.p99(), Duration::ZERO);
        (0..99).for_each(|_| lag.record(Duration::from_micros(250)));
        lag.record(Duration::from_millis(30));
        assert_eq!(lag.p99(), Duration::from_micros(300));
        lag.record(Duration::from_secs(60));
        assert_eq!(lag.p99(), Duration::from_micros(30_100));
        (0..99).for_each(|_| lag.record(Duration::from_secs(60)));
        assert_eq!(lag.p99(), Duration::from_secs(2), "what is later than the scale counts as its end");
    }

    #[test]
    fn who_has_gone_is_not_counted_any_more() {
        let board = Board::new();
        let here = board.connected();
        let there = board.connected();
        drop(here);
        assert_eq!(board.progress().connected, 1);
        drop(there);
        assert_eq!(board.progress().connected, 0);
    }
}
