//! How long a session may be silent, and how long it may last. Pure.

use std::time::Duration;
use tokio::time::Instant;

/// A limit is announced this long before it strikes, or a tenth of itself before, whichever is shorter.
const LONGEST_NOTICE: Duration = Duration::from_secs(30);

/// Which limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// No audio and no event for too long.
    Idle,
    /// The session is too old.
    Lifetime,
}

/// What a limit does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// It will strike in this time.
    Notice(Limit, Duration),
    /// It strikes.
    Strike(Limit),
}

#[derive(Debug, Clone, Copy)]
struct Term {
    limit: Limit,
    allowed: Duration,
    since: Instant,
    announced: bool,
}

/// Both limits of one session.
#[derive(Debug)]
pub(super) struct Limits {
    idle: Term,
    lifetime: Term,
}

impl Limits {
    /// The limits of a session that begins now.
    pub(super) fn new(idle: Duration, lifetime: Duration, now: Instant) -> Self {
        let term = |limit, allowed| Term { limit, allowed, since: now, announced: false };
        Self { idle: term(Limit::Idle, idle), lifetime: term(Limit::Lifetime, lifetime) }
    }

    /// Something came: the silence is over, even one whose end was announced.
    pub(super) fn active(&mut self, now: Instant) {
        self.idle.since = now;
        self.idle.announced = false;
    }

    /// When to ask [`due`](Self::due) again.
    pub(super) fn next(&self) -> Instant {
        self.idle.next().min(self.lifetime.next())
    }

    /// What is due now; every notice is given once.
    pub(super) fn due(&mut self, now: Instant) -> Option<Due> {
        self.lifetime.due(now).or_else(|| self.idle.due(now))
    }
}

impl Term {
    fn notice(&self) -> Duration {
        (self.allowed / 10).min(LONGEST_NOTICE)
    }

    fn next(&self) -> Instant {
        let strike = self.since + self.allowed;
        if self.announced { strike } else { strike - self.notice() }
    }

    fn due(&mut self, now: Instant) -> Option<Due> {
        let strike = self.since + self.allowed;
        if now >= strike {
            return Some(Due::Strike(self.limit));
        }
        if self.announced || now < strike - self.notice() {
            return None;
        }
        self.announced = true;
        Some(Due::Notice(self.limit, strike - now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// What happens in a session that is active at these seconds, and when.
    fn events(idle: u32, lifetime: u32, active: &[u64]) -> Vec<String> {
        let start = Instant::now();
        let mut limits = Limits::new(SECOND * idle, SECOND * lifetime, start);
        let mut active = active.iter().map(|second| start + Duration::from_secs(*second)).peekable();
        let mut events = Vec::new();
        loop {
            let next = limits.next();
            if let Some(moment) = active.next_if(|moment| *moment < next) {
                limits.active(moment);
                continue;
            }
            let due = limits.due(next).expect("something is due at the time that was named");
            events.push(format!("{}s {due:?}", (next - start).as_secs()));
            if matches!(due, Due::Strike(_)) {
                return events;
            }
        }
    }

    #[test]
    fn silence_is_announced_and_then_ends_the_session() {
        assert_eq!(events(600, 86_400, &[]), ["570s Notice(Idle, 30s)", "600s Strike(Idle)"]);
    }

    #[test]
    fn activity_after_the_notice_saves_the_session() {
        let expected = ["90s Notice(Idle, 10s)", "185s Notice(Idle, 10s)", "195s Strike(Idle)"];
        assert_eq!(events(100, 86_400, &[95]), expected);
    }

    #[test]
    fn a_busy_session_ends_at_its_lifetime() {
        let busy: Vec<u64> = (0..200).collect();
        assert_eq!(events(10, 100, &busy), ["90s Notice(Lifetime, 10s)", "100s Strike(Lifetime)"]);
    }
}
