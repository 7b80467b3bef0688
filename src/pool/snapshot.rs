//! What the pool looks like at one moment.

use std::time::Duration;

/// The pool's numbers, all read under one lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// Slots that exist, retired ones included.
    pub total: usize,
    /// Slots that nobody holds.
    pub idle: usize,
    /// Slots that a decode holds.
    pub leased: usize,
    /// Slots out of service, to be rebuilt.
    pub retired: usize,
    /// Tickets in line.
    pub queued: usize,
    /// How long the first of them has waited; zero when none waits.
    pub oldest_wait: Duration,
    /// How many may wait before new flows are refused.
    pub queue_limit: usize,
    /// Whether the pool takes no new flows any more.
    pub draining: bool,
}
