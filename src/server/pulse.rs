//! When a connection was last seen alive, byte by byte: a large message is many reads and only one frame.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// The signs of life of one connection.
#[derive(Debug)]
pub(super) struct Pulse {
    since: Instant,
    last_ms: AtomicU64,
}

impl Pulse {
    /// Of a connection that begins now.
    pub(super) fn new() -> Self {
        Self { since: Instant::now(), last_ms: AtomicU64::new(0) }
    }

    /// The other side has sent something, or made room for something.
    pub(super) fn beat(&self) {
        self.last_ms.store(self.since.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// When it last did.
    pub(super) fn last(&self) -> Instant {
        self.since + Duration::from_millis(self.last_ms.load(Ordering::Relaxed))
    }
}
