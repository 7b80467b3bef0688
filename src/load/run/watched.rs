//! The server while it is under load, and whoever wants to know how it goes.

use crate::load::board::{Board, Progress};
use crate::load::protocol::Target;
use crate::load::report::ServerUsage;
use crate::load::server_watch::{Decodes, ServerWatch, Usage};
use std::pin::pin;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How often the progress is told.
const TICK: Duration = Duration::from_millis(500);

/// How often the server is looked at, which takes some milliseconds.
const LOOK: Duration = Duration::from_secs(5);

/// How long a server may take to notice that everybody has gone.
const EMPTYING: Duration = Duration::from_secs(6);

/// A server that is looked at again and again.
pub(super) struct Watched {
    server: ServerWatch,
    before: Option<Usage>,
    decodes_before: Option<Decodes>,
    rss_bytes: Option<u64>,
    device_memory_bytes: Option<u64>,
}

impl Watched {
    pub(super) async fn new(target: &Target) -> Self {
        let server = ServerWatch::of(&target.url).with_key(target.key.clone());
        let decodes_before = server.decodes().await;
        let before = server.usage();
        let rss_bytes = before.map(|usage| usage.rss_bytes);
        Self { server, before, decodes_before, rss_bytes, device_memory_bytes: None }
    }

    /// Tells how it goes, and looks at what the server uses, while `work` goes on.
    pub(super) async fn during<T>(
        &mut self,
        board: &Board,
        progress: &(dyn Fn(Progress) + Sync),
        work: impl Future<Output = T>,
    ) -> T {
        let mut work = pin!(work);
        let mut tick = interval(TICK);
        let mut look = interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        look.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = tick.tick() => progress(board.progress()),
                _ = look.tick() => self.look(),
            }
        }
    }

    /// Waits until a server that says who is connected says that nobody is; not for ever, because others may talk to it.
    pub(super) async fn until_empty(&self) {
        let emptying = async {
            let mut tick = interval(TICK);
            while self.server.pool().await.is_some_and(|pool| pool.sessions() > 0) {
                tick.tick().await;
            }
        };
        // Whether it is empty or not: what is said next is said once, by one person.
        let _ = timeout(EMPTYING, emptying).await;
    }

    /// How many slots the server has.
    pub(super) async fn slots(&self) -> Option<u16> {
        self.server.pool().await.map(|pool| pool.slots.total)
    }

    /// What the server used until now.
    pub(super) async fn used(&mut self) -> ServerUsage {
        self.look();
        let device_memory = self.server.pool().await.and_then(|pool| pool.device_memory_used());
        self.device_memory_bytes = self.device_memory_bytes.max(device_memory);
        let (before, after) = (self.decodes_before, self.server.decodes().await);
        let decodes = |of: fn(Decodes) -> u64| Some(of(after?).saturating_sub(of(before?)));
        let cpu = |after: Usage| Some(after.cpu.saturating_sub(self.before?.cpu).as_secs_f64());
        ServerUsage {
            interim_decodes: decodes(|done| done.interims),
            final_decodes: decodes(|done| done.finals),
            cpu_seconds: self.server.usage().and_then(cpu),
            rss_bytes: self.rss_bytes,
            device_memory_bytes: self.device_memory_bytes,
        }
    }

    fn look(&mut self) {
        self.rss_bytes = self.rss_bytes.max(self.server.usage().map(|usage| usage.rss_bytes));
    }
}
