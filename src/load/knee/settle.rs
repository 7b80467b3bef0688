//! Waits between two loads: what is left of the one would be charged to the other.

use super::super::server_watch::{PoolReading, ServerWatch};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a server may take to be done with a load whose people have left.
const MOST: Duration = Duration::from_secs(10);

/// How often it is asked meanwhile.
const LOOK: Duration = Duration::from_millis(250);

/// Returns when the server says that nobody is there any more, ten seconds later at most, and at once where it does not
/// say what it holds.
///
/// # Cancel safety
///
/// Dropping the future stops asking.
pub async fn settled(watch: &ServerWatch) {
    until_quiet(async || watch.pool().await.map(|pool| PoolReading::is_quiet(&pool))).await;
}

async fn until_quiet(is_quiet: impl AsyncFn() -> Option<bool>) {
    let deadline = Instant::now() + MOST;
    while is_quiet().await == Some(false) && Instant::now() < deadline {
        sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long is waited for a server that is quiet after so long, if it says so at all.
    async fn waited(quiet_after: Option<Duration>) -> Duration {
        let began = Instant::now();
        until_quiet(async || quiet_after.map(|after| began.elapsed() >= after)).await;
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_load_waits_until_the_one_before_is_over_and_not_forever() {
        let cases = [(Some(0), 0), (Some(3), 3), (Some(60), 10), (None, 0)];
        for (quiet_after, expected) in cases {
            assert_eq!(waited(quiet_after.map(Duration::from_secs)).await, Duration::from_secs(expected));
        }
    }
}
