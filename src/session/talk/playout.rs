//! When sound is sent, and how much of it the listener has heard. Pure: the time is handed in.
//!
//! A listener has a little more sound than it plays (the *lead*), so that the network may be late, and not much more, so that
//! an interruption finds little to take back. How much it has played follows from the clock: it plays without a break as
//! long as it has something to play. What it says itself about that counts more.

use super::dialogue::Epoch;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// One thing on its way to the listener.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cargo<M> {
    /// A stretch of sound, encoded.
    Sound {
        /// As the listener wants it.
        bytes: Vec<u8>,
        /// How long it is.
        duration: Duration,
    },
    /// Something that is due when everything before it was sent.
    Mark(M),
}

/// Paces what one reply sounds like.
#[derive(Debug)]
pub(super) struct Playout<M> {
    lead: Duration,
    epoch: Epoch,
    queue: VecDeque<Cargo<M>>,
    sent: Duration,
    played: Duration,
    /// When `played` was true.
    at: Instant,
}

impl<M> Playout<M> {
    /// Nothing has been sent.
    pub(super) fn new(epoch: Epoch, lead: Duration, now: Instant) -> Self {
        let queue = VecDeque::new();
        Self { lead, epoch, queue, sent: Duration::ZERO, played: Duration::ZERO, at: now }
    }

    /// Queues something, unless it belongs to another epoch; says whether it did.
    pub(super) fn push(&mut self, epoch: Epoch, cargo: Cargo<M>) -> bool {
        let current = epoch == self.epoch;
        if current {
            self.queue.push_back(cargo);
        }
        current
    }

    /// What is to be sent now, if anything is.
    pub(super) fn due(&mut self, now: Instant) -> Option<Cargo<M>> {
        self.advance(now);
        let is_due = match self.queue.front()? {
            Cargo::Sound { .. } => self.buffered() <= self.lead,
            Cargo::Mark(_) => true,
        };
        let cargo = if is_due { self.queue.pop_front() } else { None };
        if let Some(Cargo::Sound { duration, .. }) = cargo {
            self.sent += duration;
        }
        cargo
    }

    /// When something will be due, if nothing more is queued.
    pub(super) fn next(&self) -> Option<Instant> {
        match self.queue.front()? {
            Cargo::Sound { .. } => Some(self.at + self.buffered().saturating_sub(self.lead)),
            Cargo::Mark(_) => Some(self.at),
        }
    }

    /// How much the listener has heard.
    pub(super) fn heard(&mut self, now: Instant) -> Duration {
        self.advance(now);
        self.played
    }

    /// Whether the listener still has something to play, or will get it.
    pub(super) fn is_audible(&self, now: Instant) -> bool {
        let played = self.played + now.saturating_duration_since(self.at);
        played < self.sent || self.queue.iter().any(|cargo| matches!(cargo, Cargo::Sound { .. }))
    }

    /// The listener says how much it has heard.
    pub(super) fn acknowledge(&mut self, heard: Duration, now: Instant) {
        (self.played, self.at) = (heard.min(self.sent), now);
    }

    /// Forgets what has not been sent, and takes nothing any more.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
        self.epoch = Epoch(u64::MAX);
    }

    /// What the listener has and has not played.
    fn buffered(&self) -> Duration {
        self.sent.saturating_sub(self.played)
    }

    fn advance(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.at);
        self.played = self.sent.min(self.played + elapsed);
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EPOCH: Epoch = Epoch(7);
    const LEAD: Duration = ms(200);

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn sound(duration: u64) -> Cargo<u32> {
        Cargo::Sound { bytes: Vec::new(), duration: ms(duration) }
    }

    /// A playout with `n` pieces of 40 ms, and when it began.
    fn playout(n: usize) -> (Playout<u32>, Instant) {
        let now = Instant::now();
        let mut playout = Playout::new(EPOCH, LEAD, now);
        (0..n).for_each(|_| assert!(playout.push(EPOCH, sound(40))));
        (playout, now)
    }

    fn sent_by(playout: &mut Playout<u32>, now: Instant) -> usize {
        std::iter::from_fn(|| playout.due(now)).count()
    }

    #[test]
    fn the_lead_is_sent_at_once_and_the_rest_as_it_is_played() {
        let (mut playout, start) = playout(100);
        assert_eq!(sent_by(&mut playout, start), 6);
        assert_eq!(playout.next(), Some(start + ms(40)));
        assert_eq!(sent_by(&mut playout, start + ms(39)), 0);
        assert_eq!(sent_by(&mut playout, start + ms(40)), 1);
        let sent: usize = (2..=26).map(|n| sent_by(&mut playout, start + ms(n * 40))).sum();
        assert_eq!((sent, playout.heard(start + ms(1040))), (25, ms(1040)));
    }

    #[test]
    fn a_listener_that_ran_dry_has_not_heard_the_gap() {
        let (mut playout, start) = playout(2);
        assert_eq!(sent_by(&mut playout, start), 2);
        assert_eq!(playout.heard(start + ms(5000)), ms(80));
        playout.push(EPOCH, sound(40));
        assert_eq!(sent_by(&mut playout, start + ms(5000)), 1);
        assert_eq!(playout.heard(start + ms(5010)), ms(90));
    }

    #[test]
    fn what_the_listener_says_counts_more_than_the_clock() {
        let (mut playout, start) = playout(5);
        sent_by(&mut playout, start);
        playout.acknowledge(ms(20), start + ms(100));
        assert_eq!(playout.heard(start + ms(100)), ms(20));
        assert_eq!(playout.heard(start + ms(130)), ms(50));
        playout.acknowledge(ms(9000), start + ms(140));
        assert_eq!(playout.heard(start + ms(140)), ms(200), "no more than was sent");
    }

    #[test]
    fn stale_sound_is_not_taken() {
        let (mut playout, start) = playout(1);
        assert!(!playout.push(Epoch(6), sound(40)));
        playout.clear();
        assert!(!playout.push(EPOCH, sound(40)));
        assert_eq!(sent_by(&mut playout, start), 0);
    }

    #[test]
    fn a_mark_is_due_right_after_what_was_before_it() {
        let (mut playout, start) = playout(1);
        playout.push(EPOCH, Cargo::Mark(1));
        let all: Vec<_> = std::iter::from_fn(|| playout.due(start)).collect();
        assert_eq!(all, [sound(40), Cargo::Mark(1)]);
        assert!(playout.is_audible(start + ms(39)) && !playout.is_audible(start + ms(40)));
    }

    proptest! {
        #[test]
        fn the_listener_never_has_more_than_the_lead_and_one_piece_and_never_waits_for_what_is_there(
            pieces in prop::collection::vec(1_u64..120, 1..40), ticks in prop::collection::vec(0_u64..150, 1..60),
        ) {
            let start = Instant::now();
            let mut playout = Playout::new(EPOCH, LEAD, start);
            for piece in pieces {
                playout.push(EPOCH, sound(piece));
            }
            let mut now = start;
            for tick in ticks {
                now += ms(tick);
                while let Some(Cargo::Sound { duration, .. }) = playout.due(now) {
                    prop_assert!(playout.buffered() <= LEAD + duration);
                }
                prop_assert!(playout.next().is_none_or(|next| next > now));
                prop_assert!(playout.heard(now) <= playout.sent);
            }
        }
    }
}
