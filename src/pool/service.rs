//! How the pool has served lately: durations, load, fairness. Pure: every moment is passed in.

use super::{FlowId, Service, Weight, jain, percentile};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;
use tokio::time::Instant;

/// How far back quantiles look: so many values, and so much time.
const KEPT: usize = 512;
const KEPT_FOR: Duration = Duration::from_mins(5);

/// How far back load and fairness look.
const WINDOW: Duration = Duration::from_mins(1);

/// A flow that has nothing to do for longer than this is not backlogged: shorter is the time between two decodes.
const BREATH: Duration = Duration::from_millis(100);

/// What was measured lately.
#[derive(Debug)]
pub(super) struct ServiceLog {
    decodes: Recent,
    waits: Recent,
    load: Load,
    flows: HashMap<FlowId, Served>,
}

impl ServiceLog {
    /// An empty log that begins now.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            decodes: Recent::default(),
            waits: Recent::default(),
            load: Load::new(now),
            flows: HashMap::new(),
        }
    }

    /// A decode took so long.
    pub(super) fn decoded(&mut self, took: Duration, now: Instant) {
        self.decodes.add(took, now);
    }

    /// Somebody got a lease after so long.
    pub(super) fn waited(&mut self, wait: Duration, now: Instant) {
        self.waits.add(wait, now);
    }

    /// From now on, so many of so many slots work.
    pub(super) fn load(&mut self, working: usize, in_service: usize, now: Instant) {
        self.load.change(working, in_service, now);
    }

    /// A flow wants something.
    pub(super) fn wants(&mut self, flow: FlowId, now: Instant) {
        self.flows.entry(flow).or_insert_with(|| Served::new(now)).wants(now);
    }

    /// A flow was served for so long.
    pub(super) fn served(&mut self, flow: FlowId, weight: Weight, held: Duration, now: Instant) {
        if let Some(served) = self.flows.get_mut(&flow) {
            served.add(held.as_secs_f64() / f64::from(weight.get()), now);
        }
    }

    /// A flow wants nothing, and has nothing.
    pub(super) fn rests(&mut self, flow: FlowId, now: Instant) {
        if let Some(served) = self.flows.get_mut(&flow) {
            served.resting_since = Some(now);
        }
    }

    /// A flow is gone.
    pub(super) fn forget(&mut self, flow: FlowId) {
        self.flows.remove(&flow);
    }

    /// The figures.
    pub(super) fn summary(&mut self, now: Instant) -> Service {
        let ([decode_p50, decode_p95], [wait_p50, wait_p95]) =
            (self.decodes.quantiles(now), self.waits.quantiles(now));
        Service { decode_p50, decode_p95, wait_p50, wait_p95, utilization: self.load.utilization(now) }
    }

    /// Jain's index over the flows that were backlogged all through the last minute, when they were two at least.
    pub(super) fn fairness(&mut self, now: Instant) -> Option<f64> {
        let backlogged = self.flows.values_mut().filter(|served| served.was_always_backlogged(now));
        let shares: Vec<_> = backlogged.map(|served| served.work(now)).collect();
        if shares.len() < 2 { None } else { jain(&shares) }
    }
}

/// The newest durations of one kind.
#[derive(Debug, Default)]
struct Recent(VecDeque<(Instant, Duration)>);

impl Recent {
    fn add(&mut self, took: Duration, now: Instant) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back((now, took));
    }

    /// Median and 95th percentile.
    fn quantiles(&mut self, now: Instant) -> [Option<Duration>; 2] {
        while self.0.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > KEPT_FOR) {
            self.0.pop_front();
        }
        let mut sorted: Vec<_> = self.0.iter().map(|(_, took)| *took).collect();
        sorted.sort_unstable();
        [50, 95].map(|percent| percentile(&sorted, percent))
    }
}

/// Slot time, worked and offered, as integrals over time.
#[derive(Debug)]
struct Load {
    now: Sums,
    working: f64,
    in_service: f64,
    /// About one for each second of the window, and one before it.
    past: VecDeque<Sums>,
}

#[derive(Debug, Clone, Copy)]
struct Sums {
    at: Instant,
    worked: f64,
    offered: f64,
}

impl Load {
    fn new(now: Instant) -> Self {
        let sums = Sums { at: now, worked: 0.0, offered: 0.0 };
        Self { now: sums, working: 0.0, in_service: 0.0, past: VecDeque::from([sums]) }
    }

    fn change(&mut self, working: usize, in_service: usize, now: Instant) {
        self.advance(now);
        (self.working, self.in_service) = (working as f64, in_service as f64);
    }

    fn advance(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.now.at).as_secs_f64();
        self.now.worked += self.working * passed;
        self.now.offered += self.in_service * passed;
        self.now.at = self.now.at.max(now);
        if self
            .past
            .back()
            .is_some_and(|last| now.saturating_duration_since(last.at) >= Duration::from_secs(1))
        {
            self.past.push_back(self.now);
        }
        while self.past.get(1).is_some_and(|second| now.saturating_duration_since(second.at) >= WINDOW) {
            self.past.pop_front();
        }
    }

    fn utilization(&mut self, now: Instant) -> f64 {
        self.advance(now);
        let Some(begin) = self.past.front() else { return 0.0 };
        let offered = self.now.offered - begin.offered;
        if offered > 0.0 { ((self.now.worked - begin.worked) / offered).clamp(0.0, 1.0) } else { 0.0 }
    }
}

/// What one flow got.
#[derive(Debug)]
struct Served {
    backlogged_since: Instant,
    resting_since: Option<Instant>,
    /// When, and how much work per weight.
    work: VecDeque<(Instant, f64)>,
}

impl Served {
    fn new(now: Instant) -> Self {
        Self { backlogged_since: now, resting_since: None, work: VecDeque::new() }
    }

    fn wants(&mut self, now: Instant) {
        if self.resting_since.take().is_some_and(|since| now.saturating_duration_since(since) > BREATH) {
            self.backlogged_since = now;
            self.work.clear();
        }
    }

    fn add(&mut self, work: f64, now: Instant) {
        self.work.push_back((now, work));
        self.prune(now);
    }

    fn prune(&mut self, now: Instant) {
        while self.work.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > WINDOW) {
            self.work.pop_front();
        }
    }

    fn was_always_backlogged(&self, now: Instant) -> bool {
        let rests = self.resting_since.is_some_and(|since| now.saturating_duration_since(since) > BREATH);
        !rests && now.saturating_duration_since(self.backlogged_since) >= WINDOW
    }

    fn work(&mut self, now: Instant) -> f64 {
        self.prune(now);
        self.work.iter().map(|(_, work)| work).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn quantiles_are_of_values_that_were_measured() {
        let now = Instant::now();
        let mut log = ServiceLog::new(now);
        assert_eq!(log.summary(now).decode_p50, None);
        (1..=20).for_each(|n| log.decoded(SECOND * n, now));
        let summary = log.summary(now);
        assert_eq!((summary.decode_p50, summary.decode_p95), (Some(SECOND * 10), Some(SECOND * 19)));
        assert_eq!(log.summary(now + KEPT_FOR * 2).decode_p50, None, "old values are forgotten");
    }

    #[test]
    fn utilization_is_the_part_of_the_last_minute_that_slots_worked() {
        let begin = Instant::now();
        let mut log = ServiceLog::new(begin);
        let mut at = |second: u32, working| {
            log.load(working, 2, begin + SECOND * second);
            (log.summary(begin + SECOND * second).utilization * 100.0).round() as u32
        };
        assert_eq!((at(0, 0), at(10, 1), at(20, 2)), (0, 0, 25));
        for second in 21..80 {
            at(second, 2);
        }
        assert_eq!((at(80, 0), at(140, 0)), (100, 0));
    }

    #[test]
    fn fairness_looks_at_flows_that_were_backlogged_for_the_whole_minute_only() {
        let begin = Instant::now();
        let mut log = ServiceLog::new(begin);
        let [always, also, late, resting] = [1, 2, 3, 4].map(FlowId);
        for flow in [always, also, resting] {
            log.wants(flow, begin);
        }
        log.wants(late, begin + SECOND * 30);
        for second in 0..=60 {
            let now = begin + SECOND * second;
            log.served(always, Weight::new(2).unwrap(), SECOND * 2, now);
            log.served(also, Weight::default(), SECOND, now);
            log.served(late, Weight::default(), SECOND * 9, now);
            log.served(resting, Weight::default(), SECOND * 9, now);
        }
        let now = begin + SECOND * 60;
        log.rests(resting, now - SECOND * 10);
        log.rests(also, now - BREATH / 2);
        assert_eq!(log.fairness(now).map(|jain| (jain * 1000.0).round()), Some(1000.0));
        log.served(also, Weight::default(), SECOND * 610, now);
        assert!(log.fairness(now).is_some_and(|jain| jain < 0.7));
        log.forget(also);
        assert_eq!(log.fairness(now), None, "one flow alone is neither treated well nor badly");
    }

    #[test]
    fn a_flow_that_paused_is_backlogged_from_its_return_on() {
        let begin = Instant::now();
        let mut served = Served::new(begin);
        served.resting_since = Some(begin + SECOND * 10);
        served.wants(begin + SECOND * 20);
        assert!(!served.was_always_backlogged(begin + SECOND * 79));
        assert!(served.was_always_backlogged(begin + SECOND * 80));
    }
}
