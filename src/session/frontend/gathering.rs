//! When pieces of input are begun: at once, or a moment later together with others. Pure: it is told what time it is.
//!
//! A run of the detector over many frames costs a fraction per frame of what single runs cost. Where many sessions
//! stream, their pieces come at any time, and who begins each at once hardly ever has two frames for one run; who waits a
//! few milliseconds has a dozen. Where few stream there is nothing to wait for.

use std::time::Duration;
use tokio::time::Instant;

/// So long a piece waits for others at most.
const PATIENCE: Duration = Duration::from_millis(8);

/// From so many sessions on that a thread heard of lately, it is worth waiting for others.
const MANY: usize = 32;

/// So many pieces need no others.
const ENOUGH: usize = 32;

/// Sessions are counted anew in each such round. Several times as long as the pieces that clients send.
const ROUND: Duration = Duration::from_millis(500);

/// Knows since when pieces wait, and how many sessions there are that send some.
#[derive(Debug)]
pub(super) struct Gathering {
    /// When the first round began.
    epoch: Instant,
    /// The round in progress, counted from 1 on.
    round: u64,
    /// Sessions heard of in it, and in the round before it.
    n_sessions: usize,
    n_before: usize,
    /// Pieces that wait, and until when.
    n_waiting: usize,
    due: Option<Instant>,
}

impl Gathering {
    /// Nobody was heard of and nothing waits. Threads that serve the same ears begin their rounds at the same `epoch`;
    /// then each counts about its share of them.
    pub(super) fn new(epoch: Instant) -> Self {
        Self { epoch, round: 1, n_sessions: 0, n_before: 0, n_waiting: 0, due: None }
    }

    /// Takes note of a piece that has come. `counted_in` is the round in which its session was counted last, and
    /// becomes the present one. With a piece that is in a hurry all are.
    pub(super) fn arrive(&mut self, now: Instant, counted_in: &mut u64, hurry: bool) {
        self.turn_to(now);
        self.n_sessions += usize::from(*counted_in != self.round);
        *counted_in = self.round;
        self.n_waiting += 1;
        let at_once = hurry || self.n_waiting >= ENOUGH || self.n_sessions.max(self.n_before) < MANY;
        let due = if at_once { now } else { now + PATIENCE };
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
    }

    /// Until when what waits may wait; `None` when nothing does.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Nothing waits any more.
    pub(super) fn begin(&mut self) {
        (self.n_waiting, self.due) = (0, None);
    }

    fn turn_to(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.epoch).as_millis() / ROUND.as_millis();
        let round = 1 + passed as u64;
        if round > self.round {
            let follows = round == self.round + 1;
            self.n_before = if follows { self.n_sessions } else { 0 };
            (self.round, self.n_sessions) = (round, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A thread with its clock, and sessions that send it pieces.
    struct Hall {
        gathering: Gathering,
        now: Instant,
        sessions: Vec<u64>,
    }

    impl Hall {
        fn of(n_sessions: usize) -> Self {
            let now = Instant::now();
            Self { gathering: Gathering::new(now), now, sessions: vec![0; n_sessions] }
        }

        fn pass(&mut self, ms: u64) {
            self.now += Duration::from_millis(ms);
        }

        fn send(&mut self, session: usize, hurry: bool) {
            self.gathering.arrive(self.now, &mut self.sessions[session], hurry);
        }

        /// Each session has sent a piece, and all were begun.
        fn roll_call(mut self) -> Self {
            for session in 0..self.sessions.len() {
                self.send(session, false);
                self.gathering.begin();
            }
            self
        }

        /// For how many milliseconds what waits may wait.
        fn wait(&self) -> Option<u128> {
            Some(self.gathering.due()?.saturating_duration_since(self.now).as_millis())
        }
    }

    #[test]
    fn where_few_stream_nothing_waits() {
        let mut hall = Hall::of(MANY - 1).roll_call().roll_call();
        assert_eq!(hall.wait(), None);
        hall.send(0, false);
        assert_eq!(hall.wait(), Some(0));
        let mut busy = Hall::of(1);
        for _ in 0..10_000 {
            busy.send(0, false);
            assert_eq!(busy.wait(), Some(0), "however much one sends");
            busy.gathering.begin();
        }
    }

    #[test]
    fn where_many_stream_the_first_piece_waits_for_others() {
        let mut hall = Hall::of(MANY).roll_call();
        hall.send(0, false);
        assert_eq!(hall.wait(), Some(8));
        hall.pass(5);
        hall.send(1, false);
        assert_eq!(hall.wait(), Some(3), "later ones do not make it wait longer");
        hall.gathering.begin();
        assert_eq!(hall.wait(), None);
    }

    #[test]
    fn enough_pieces_wait_for_no_others() {
        let mut hall = Hall::of(MANY).roll_call();
        (1..ENOUGH).for_each(|session| hall.send(session, false));
        assert_eq!(hall.wait(), Some(8));
        hall.send(0, false);
        assert_eq!(hall.wait(), Some(0));
    }

    #[test]
    fn one_in_a_hurry_hurries_all() {
        let mut hall = Hall::of(MANY).roll_call();
        hall.send(0, false);
        hall.send(1, true);
        hall.send(2, false);
        assert_eq!(hall.wait(), Some(0));
    }

    #[test]
    fn sessions_that_left_are_forgotten() {
        let waits_after = |ms| {
            let mut hall = Hall::of(MANY).roll_call();
            hall.pass(ms);
            hall.send(0, false);
            hall.wait()
        };
        assert_eq!([0, 499, 500, 999].map(waits_after), [Some(8); 4]);
        assert_eq!([1_000, 60_000].map(waits_after), [Some(0); 2]);
    }

    proptest! {
        /// Fails if a later piece puts off an earlier one. (It does when `arrive` keeps the later of the two moments.)
        #[test]
        fn no_piece_waits_longer_than_it_must(
            pieces in prop::collection::vec((0_usize..50, 0_u64..12, prop::bool::weighted(0.05)), 1..300),
        ) {
            let mut hall = Hall::of(50).roll_call();
            let mut oldest = None;
            for (session, ms, hurry) in pieces {
                hall.pass(ms);
                if hall.wait() == Some(0) {
                    hall.gathering.begin();
                    oldest = None;
                }
                hall.send(session, hurry);
                let since = *oldest.get_or_insert(hall.now);
                prop_assert!(hall.gathering.due().is_some_and(|due| due <= since + PATIENCE));
            }
        }
    }
}
