//! The way to a thread. Unlike a channel it does not wake the thread for each piece that can wait: while the thread gathers
//! pieces, only one in a hurry, or enough of them, wake it before its time.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// What a thread waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// Nothing: it has other work.
    No,
    /// The next piece.
    ForAny,
    /// A moment, or before it a piece in a hurry or so many pieces.
    Until(Instant, usize),
}

/// The side of those who send. The queue has no bound of its own: who sends holds a permit for each piece.
#[derive(Debug)]
pub(super) struct Sender<T>(Arc<Shared<T>>);

/// The side of the thread.
#[derive(Debug)]
pub(super) struct Receiver<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    awake: Condvar,
}

#[derive(Debug)]
struct State<T> {
    pieces: Vec<T>,
    hurry: bool,
    /// So many pieces wake the thread, if it sleeps.
    wakes_at: usize,
    /// Whether one of the two sides is gone.
    closed: bool,
}

/// A queue with nothing in it.
pub(super) fn queue<T>() -> (Sender<T>, Receiver<T>) {
    let state = State { pieces: Vec::new(), hurry: false, wakes_at: usize::MAX, closed: false };
    let shared = Arc::new(Shared { state: Mutex::new(state), awake: Condvar::new() });
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

impl<T> Sender<T> {
    /// Sends a piece; `false` when the thread is gone.
    pub(super) fn send(&self, piece: T, hurry: bool) -> bool {
        let mut state = self.0.lock();
        if state.closed {
            return false;
        }
        state.pieces.push(piece);
        state.hurry |= hurry;
        if state.is_awaited() {
            self.0.awake.notify_one();
        }
        true
    }
}

impl<T> Receiver<T> {
    /// All that has come, in its order; `None` when there is nothing and nothing will come any more.
    pub(super) fn take(&self, wait: Wait) -> Option<Vec<T>> {
        let mut state = self.0.lock();
        state.wakes_at = match wait {
            Wait::No => 0,
            Wait::ForAny => 1,
            Wait::Until(_, enough) => enough,
        };
        while !state.is_awaited() {
            let Wait::Until(due, _) = wait else {
                state = self.0.awake.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.0.awake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        (state.wakes_at, state.hurry) = (usize::MAX, false);
        let pieces = std::mem::take(&mut state.pieces);
        (!state.closed || !pieces.is_empty()).then_some(pieces)
    }
}

impl<T> State<T> {
    /// Whether the thread need not sleep any longer.
    fn is_awaited(&self) -> bool {
        self.pieces.len() >= self.wakes_at || self.hurry || self.closed
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.lock().closed = true;
        self.awake.notify_one();
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl<T> Drop for Receiver<T> {
    /// What nobody will take is dropped now, and whoever waits for an answer learns that there is none.
    fn drop(&mut self) {
        self.0.close();
        let pieces = std::mem::take(&mut self.0.lock().pieces);
        drop(pieces);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;
    use std::time::Duration;

    /// Longer than any test takes.
    fn far_away(enough: usize) -> Wait {
        Wait::Until(Instant::now() + Duration::from_secs(600), enough)
    }

    #[test]
    fn who_has_other_work_gets_what_there_is() {
        let (sender, receiver) = queue();
        assert_eq!(receiver.take(Wait::No), Some(vec![]));
        assert!(sender.send(1, false) && sender.send(2, false));
        assert_eq!(receiver.take(Wait::No), Some(vec![1, 2]));
    }

    #[test]
    fn a_thread_sleeps_until_something_comes() {
        let (sender, receiver) = queue();
        let thread = thread::spawn(move || receiver.take(Wait::ForAny));
        sender.send(1, false);
        assert_eq!(thread.join().unwrap(), Some(vec![1]));
    }

    #[test]
    fn enough_pieces_or_one_in_a_hurry_end_the_wait() {
        for (pieces, enough) in [(vec![(1, false), (2, false)], 2), (vec![(1, true)], 2)] {
            let (sender, receiver) = queue();
            let thread = thread::spawn(move || receiver.take(far_away(enough)));
            for &(piece, hurry) in &pieces {
                sender.send(piece, hurry);
            }
            assert_eq!(thread.join().unwrap().map(|came| came.len()), Some(pieces.len()));
        }
    }

    #[test]
    fn who_waits_for_enough_gets_at_its_time_what_there_is() {
        let (sender, receiver) = queue();
        sender.send(1, false);
        assert_eq!(receiver.take(Wait::Until(Instant::now(), 2)), Some(vec![1]));
        assert_eq!(receiver.take(Wait::Until(Instant::now() + Duration::from_millis(1), 2)), Some(vec![]));
    }

    #[test]
    fn when_the_senders_are_gone_the_rest_is_taken() {
        let (sender, receiver) = queue();
        sender.send(1, false);
        drop(sender);
        assert_eq!(receiver.take(far_away(9)), Some(vec![1]));
        assert_eq!(receiver.take(Wait::ForAny), None);
        assert_eq!(receiver.take(Wait::No), None);
    }

    #[test]
    fn when_the_thread_is_gone_nothing_is_kept() {
        let (sender, receiver) = queue();
        let piece = Arc::new(());
        sender.send(Arc::clone(&piece), false);
        drop(receiver);
        assert_eq!(Arc::strong_count(&piece), 1);
        assert!(!sender.send(piece, false));
    }
}
