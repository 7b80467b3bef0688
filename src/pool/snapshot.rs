//! What the pool looks like at one moment.

use super::{Class, LeaseScope, SlotId, Standing};
use std::sync::Arc;
use std::time::Duration;

/// The pool's numbers, all read under one lock.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The slots.
    pub slots: Slots,
    /// Who holds one, in order of slots.
    pub holders: Vec<Holder>,
    /// Who waits for one.
    pub queue: Queue,
    /// How those inside were served.
    pub service: Service,
    /// Live sessions.
    pub sessions: Talkers,
    /// Jain's index over the flows that were always backlogged in the last minute, by work per weight; `None` when there
    /// were fewer than two.
    pub fairness: Option<f64>,
    /// Whether the pool takes no new flows any more.
    pub draining: bool,
}

/// How many slots there are, by what they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Slots {
    /// All that the pool has: the sum of the others.
    pub total: usize,
    /// Nobody holds them.
    pub idle: usize,
    /// Somebody holds them.
    pub leased: usize,
    /// They are being opened or rebuilt.
    pub warming: usize,
    /// They are out of service.
    pub retired: usize,
}

impl Slots {
    /// Those that serve.
    pub fn in_service(self) -> usize {
        self.idle + self.leased
    }
}

/// Somebody who holds a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Which.
    pub slot: SlotId,
    /// Who.
    pub name: Arc<str>,
    /// How long the lease is meant to be kept.
    pub scope: LeaseScope,
    /// The name of its tier; `house` when it is not a flow's.
    pub tier: Arc<str>,
    /// For how long it has held it.
    pub held: Duration,
    /// How long nothing was done with it; zero while it works.
    pub idle: Duration,
}

/// The line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Queue {
    /// How many may wait before new flows are refused.
    pub limit: usize,
    /// How long the first of them has waited; zero when none waits.
    pub oldest_wait: Duration,
    /// Everybody in line, in order of service.
    pub waiters: Vec<Waiter>,
}

impl Queue {
    /// How many wait.
    pub fn depth(&self) -> usize {
        self.waiters.len()
    }
}

/// Somebody in line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiter {
    /// Who.
    pub name: Arc<str>,
    /// The name of its tier.
    pub tier: Arc<str>,
    /// For what.
    pub class: Class,
    /// Where.
    pub standing: Standing,
}

/// How those inside were served in the last minutes; `None` where nothing was measured.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Service {
    /// Median decode.
    pub decode_p50: Option<Duration>,
    /// Nineteen of twenty decodes were shorter.
    pub decode_p95: Option<Duration>,
    /// Median wait for a lease.
    pub wait_p50: Option<Duration>,
    /// Nineteen of twenty waits were shorter.
    pub wait_p95: Option<Duration>,
    /// Part of the slots' time in which they worked, in the last minute, 0 to 1.
    pub utilization: f64,
}

/// Live sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Talkers {
    /// All of them.
    pub connected: usize,
    /// Those in which somebody speaks now.
    pub speaking: usize,
}
