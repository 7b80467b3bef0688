//! Waits until everybody has left a server, and reads what it then holds.

use super::super::server_watch::{ServerWatch, Usage};
use super::levels::Levels;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// How long a server may take to become quiet once everybody has left.
pub(super) const QUIET: Duration = Duration::from_secs(90);

/// How often it is looked at meanwhile, and how many looks alike make a baseline.
const LOOK: Duration = Duration::from_millis(500);
const ALIKE: u32 = 4;

/// What was seen of a server that nobody uses.
#[derive(Debug, Clone, Default)]
pub(super) struct Rest {
    /// What it held when it was looked at last.
    pub(super) levels: Levels,
    /// What is wrong with that, one line each: it has not come to rest, or one of ours does not say what it holds.
    pub(super) doubts: Vec<String>,
}

impl Rest {
    /// `ours` are expected to say what they hold.
    fn new(levels: Levels, has_settled: bool, ours: bool) -> Self {
        let unknown = levels.unsaid().into_iter().map(|quantity| format!("{quantity} unknown"));
        let mut doubts: Vec<_> = unknown.filter(|_| ours).collect();
        if ours && doubts.is_empty() && !has_settled {
            doubts.push(format!("the server did not come to rest within {} s", QUIET.as_secs()));
        }
        Self { levels, doubts }
    }
}

/// Looks until nobody is there, one of ours says so, and `is_settled` says that it is enough; or the server had its time,
/// or `stop` is cancelled.
pub(super) async fn at_rest(
    watch: &Arc<ServerWatch>,
    ours: bool,
    stop: &CancellationToken,
    mut is_settled: impl FnMut(&Levels) -> bool,
) -> Rest {
    let deadline = Instant::now() + QUIET;
    loop {
        let pool = watch.pool().await;
        let levels = Levels::new(usage(watch).await, pool.as_ref(), watch.tasks().await);
        let is_known = !ours || levels.unsaid().is_empty();
        let has_settled = is_settled(&levels) && is_known && levels.is_quiet();
        let is_late = Instant::now() >= deadline;
        if has_settled || is_late || stop.run_until_cancelled(sleep(LOOK)).await.is_none() {
            return Rest::new(levels, has_settled, ours);
        }
    }
}

/// Whether tasks, descriptors and threads have been the same for some looks.
pub(super) fn still() -> impl FnMut(&Levels) -> bool {
    let (mut last, mut alike) = (None, 0);
    move |levels| {
        let now = Some([levels.tasks, levels.open_fds, levels.threads]);
        alike = if now == last { alike + 1 } else { 1 };
        last = now;
        alike >= ALIKE
    }
}

/// Looking through processes takes milliseconds, which those who talk on this thread would notice.
pub(super) async fn usage(watch: &Arc<ServerWatch>) -> Option<Usage> {
    let watch = Arc::clone(watch);
    tokio::task::spawn_blocking(move || watch.usage()).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_still_when_nothing_changes_for_some_looks() {
        let mut still = still();
        let levels = |tasks| Levels { tasks: Some(tasks), ..Levels::default() };
        let seen = [5, 5, 5, 4, 4, 4, 4, 4].map(|tasks| still(&levels(tasks)));
        assert_eq!(seen, [false, false, false, false, false, false, true, true]);
    }

    #[test]
    fn a_server_of_ours_says_what_it_holds_and_comes_to_rest_in_time() {
        let said = Levels {
            slots_total: Some(2),
            slots_idle: Some(2),
            sessions: Some(0),
            tasks: Some(9),
            ..Levels::default()
        };
        let cases: [(Levels, bool, &[&str]); 3] = [
            (said, true, &[]),
            (said, false, &["the server did not come to rest within 90 s"]),
            (Levels { tasks: None, sessions: None, ..said }, false, &["sessions unknown", "tasks unknown"]),
        ];
        for (levels, has_settled, doubts) in cases {
            assert_eq!(Rest::new(levels, has_settled, true).doubts, doubts);
            assert_eq!(Rest::new(levels, has_settled, false).doubts, [""; 0], "others need not");
        }
    }
}
