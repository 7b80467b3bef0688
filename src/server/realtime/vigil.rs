//! Whether a client that says nothing is still there. Pure.
//!
//! One that has left without a word (its network is gone, or its machine) looks like one that is silent. So silence is
//! answered with a ping, which every client's library answers, and only one that leaves it unanswered is given up.

use std::time::Duration;
use tokio::time::Instant;

/// What silence calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Ask the client whether it is there.
    Ping,
    /// It has been silent for so long, and is gone.
    GiveUp(Duration),
}

/// The silence of one client.
#[derive(Debug)]
pub(super) struct Vigil {
    busy_silence: Duration,
    idle_silence: Duration,
    heard: Instant,
    /// When it was asked, if it has not been heard since.
    asked: Option<Instant>,
    gave_up: bool,
}

impl Vigil {
    /// For a client that is there now. It may be silent for `busy_silence` while there is work for it, and for
    /// `idle_silence` otherwise.
    pub(super) fn new(busy_silence: Duration, idle_silence: Duration, now: Instant) -> Self {
        Self { busy_silence, idle_silence, heard: now, asked: None, gave_up: false }
    }

    /// The client gave a sign of life.
    pub(super) fn heard(&mut self, at: Instant) {
        if at > self.heard {
            self.heard = at;
            self.asked = None;
        }
    }

    /// When to ask [`due`](Self::due) again, unless the client begins or ends to be `busy` before.
    pub(super) fn next(&self, busy: bool) -> Instant {
        let (allowed, patience) = self.limits(busy);
        match self.asked {
            // A client that becomes busy late in its silence is given the time for an answer all the same.
            Some(asked) => (self.heard + allowed).max(asked + allowed - patience),
            None => self.heard + patience,
        }
    }

    /// What is due now.
    pub(super) fn due(&mut self, busy: bool, now: Instant) -> Option<Act> {
        if now < self.next(busy) {
            return None;
        }
        if self.asked.is_some() {
            self.gave_up = true;
            return Some(Act::GiveUp(now - self.heard));
        }
        self.asked = Some(now);
        Some(Act::Ping)
    }

    /// Whether nobody is there any more.
    pub(super) fn gave_up(&self) -> bool {
        self.gave_up
    }

    /// How long it may be silent, and for how long of that it is not asked.
    fn limits(&self, busy: bool) -> (Duration, Duration) {
        let allowed = if busy { self.busy_silence } else { self.idle_silence };
        (allowed, allowed * 2 / 5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// What happens, and when, to a client that is heard at these seconds, and busy from this second on.
    fn acts(heard: &[u32], busy_from: u32) -> Vec<String> {
        let start = Instant::now();
        let mut vigil = Vigil::new(SECOND * 5, SECOND * 30, start);
        let mut acts = Vec::new();
        for second in 0.. {
            let (now, busy) = (start + SECOND * second, second >= busy_from);
            if heard.contains(&second) {
                vigil.heard(now);
            }
            if let Some(act) = vigil.due(busy, now) {
                acts.push(format!("{second}s {act:?}"));
                if matches!(act, Act::GiveUp(_)) {
                    return acts;
                }
            }
        }
        unreachable!("every silence ends")
    }

    #[test]
    fn a_busy_client_that_vanishes_is_given_up_after_five_seconds() {
        assert_eq!(acts(&[], 0), ["2s Ping", "5s GiveUp(5s)"]);
    }

    #[test]
    fn an_idle_client_has_more_time() {
        assert_eq!(acts(&[], 1_000), ["12s Ping", "30s GiveUp(30s)"]);
    }

    #[test]
    fn an_answer_begins_a_new_silence() {
        assert_eq!(acts(&[3, 6], 0), ["2s Ping", "5s Ping", "8s Ping", "11s GiveUp(5s)"]);
    }

    #[test]
    fn a_client_that_sends_all_the_time_is_not_asked() {
        let heard: Vec<u32> = (0..100).collect();
        assert_eq!(acts(&heard, 0), ["101s Ping", "104s GiveUp(5s)"]);
    }

    #[test]
    fn a_client_that_becomes_busy_in_its_silence_is_asked_before_it_is_given_up() {
        assert_eq!(acts(&[], 11), ["11s Ping", "14s GiveUp(14s)"]);
        assert_eq!(acts(&[], 13), ["12s Ping", "15s GiveUp(15s)"]);
        assert_eq!(acts(&[], 28), ["12s Ping", "28s GiveUp(28s)"]);
    }
}
