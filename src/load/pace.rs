//! The pace of real time, and how late this generator keeps it.

use super::board::LagHistogram;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// What sending may take without being the server's doing.
const HELD_UP: Duration = Duration::from_millis(1);

/// Says when each frame is due.
///
/// A frame is due when it has been spoken, which is when a microphone delivers it. Latencies count from there, so that
/// a server that holds a frame up does not hide what that costs.
pub(super) struct Pace {
    began: Instant,
    frame: Duration,
    due: Duration,
    /// Until when the server last held a frame up.
    held_until: Instant,
}

impl Pace {
    /// Of a stream that began then, in frames that are so long.
    pub(super) fn new(began: Instant, frame: Duration) -> Self {
        Self { began, frame, due: Duration::ZERO, held_until: began }
    }

    /// Waits until the next frame has been spoken, and says when that was, since the stream began.
    ///
    /// Notes how late this generator is: what came later than the frame was due *and* later than the server let go of
    /// one that it had held up. A frame that waits for its generator makes those after it late, too.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub(super) async fn next_frame(&mut self, lag: &LagHistogram) -> Duration {
        let spoken = self.due + self.frame;
        let due = self.began + spoken;
        sleep_until(due).await;
        self.due = spoken;
        lag.record(Instant::now().saturating_duration_since(due.max(self.held_until)));
        self.due
    }

    /// A frame that was given to the server at `from` is out.
    pub(super) fn sent(&mut self, from: Instant) {
        let now = Instant::now();
        if now.saturating_duration_since(from) > HELD_UP {
            self.held_until = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    /// The lag over 100 frames when something takes 400 ms in the middle.
    async fn lag(server: Duration, generator: Duration) -> Duration {
        let (lag, mut pace) = (LagHistogram::default(), Pace::new(Instant::now(), Duration::from_millis(40)));
        for frame in 0..100 {
            pace.next_frame(&lag).await;
            let from = Instant::now();
            advance(if frame == 50 { server } else { Duration::from_micros(50) }).await;
            pace.sent(from);
            advance(if frame == 50 { generator } else { Duration::ZERO }).await;
        }
        lag.p99()
    }

    #[tokio::test(start_paused = true)]
    async fn every_frame_that_a_sleepy_generator_sends_late_counts() {
        let none = Duration::ZERO;
        let long = Duration::from_millis(400);
        let late = lag(none, long).await;
        assert!(late > Duration::from_millis(300), "the second latest of a hundred frames: {late:?}");
        assert!(lag(long, none).await < Duration::from_millis(2), "the server's time is not the generator's");
    }
}
