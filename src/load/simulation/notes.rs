//! Notes, taken while a simulation runs. What is made of them is in `report` and in the plan.

use std::time::Duration;

/// Somebody got a slot; all times are those since the simulation began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::load) struct Served {
    /// Who.
    pub(in crate::load) session: usize,
    /// When it had been said.
    pub(in crate::load) said: Duration,
    /// Since when it stood in line: later than `said` when older utterances of the session had to be read first.
    pub(in crate::load) since: Duration,
    /// When the slot was granted.
    pub(in crate::load) granted: Duration,
    /// How long the decode takes.
    pub(in crate::load) decode: Duration,
}

impl Served {
    /// How long it stood in line: what a server calls its wait.
    pub(in crate::load) fn waited(&self) -> Duration {
        self.granted.saturating_sub(self.since)
    }

    /// From the end of the speech to the text.
    pub(in crate::load) fn answered_after(&self) -> Duration {
        self.granted.saturating_sub(self.said) + self.decode
    }
}

/// What was noted.
#[derive(Debug)]
pub(in crate::load) struct Notes {
    pub(super) starvation: Duration,
    /// Slot time by session.
    pub(super) work: Vec<Duration>,
    /// All grants, in order.
    pub(super) served: Vec<Served>,
    pub(super) longest_head_wait: Duration,
    /// The most sessions whose next ticket was over the starvation bound at one time.
    pub(super) most_overdue: usize,
}

impl Notes {
    pub(super) fn new(sessions: usize, starvation: Duration) -> Self {
        Self {
            starvation,
            work: vec![Duration::ZERO; sessions],
            served: Vec::new(),
            longest_head_wait: Duration::ZERO,
            most_overdue: 0,
        }
    }

    /// A ticket is granted while the heads of all sessions that wait have waited since then, the oldest first.
    pub(super) fn served(&mut self, served: Served, heads: impl Iterator<Item = Duration>) {
        let now = served.granted;
        let overdue = heads.take_while(|since| now.saturating_sub(*since) > self.starvation).count();
        self.most_overdue = self.most_overdue.max(overdue);
        self.served.push(served);
    }

    pub(super) fn head_wait(&mut self, waited: Duration) {
        self.longest_head_wait = self.longest_head_wait.max(waited);
    }

    pub(super) fn work(&mut self, session: usize, busy: Duration) {
        self.work[session] += busy;
    }

    /// All grants, in order.
    pub(in crate::load) fn into_served(self) -> Vec<Served> {
        self.served
    }
}
