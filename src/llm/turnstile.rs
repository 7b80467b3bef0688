//! The async front of the [`Line`]: whoever may ask holds a [`Permit`].

use super::LlmError;
use super::line::{Entry, Line, Ticket};
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Lets so many through at the same time. Clones are the same one.
#[derive(Clone)]
pub(super) struct Turnstile {
    books: Arc<Mutex<Books>>,
}

struct Books {
    line: Line,
    /// Where those who wait are told.
    doors: HashMap<Ticket, oneshot::Sender<Permit>>,
}

/// The right to one request, given back when it is dropped.
pub(super) struct Permit {
    turnstile: Turnstile,
}

impl Turnstile {
    /// So many at the same time, and so many who wait.
    pub(super) fn new(places: NonZeroUsize, limit: usize) -> Self {
        let books = Books { line: Line::new(places.get(), limit), doors: HashMap::new() };
        Self { books: Arc::new(Mutex::new(books)) }
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.lock().line.waiting()
    }

    /// Waits for a turn, in fair order among askers.
    ///
    /// # Errors
    ///
    /// [`LlmError::Saturated`] at once when the line is full.
    ///
    /// # Cancel safety
    ///
    /// Dropping this future leaves the line; a permit that was on its way goes to the next.
    pub(super) async fn enter(&self, asker: u64) -> Result<Permit, LlmError> {
        let (ticket, answer) = {
            let mut books = self.lock();
            match books.line.enter(asker) {
                Entry::Admitted => return Ok(Permit { turnstile: self.clone() }),
                Entry::Full(waiting) => return Err(LlmError::Saturated { waiting, limit: waiting }),
                Entry::Waiting(ticket) => {
                    let (door, answer) = oneshot::channel();
                    books.doors.insert(ticket, door);
                    (ticket, answer)
                }
            }
        };
        let _leaves = Leaves { turnstile: self, asker, ticket };
        Ok(answer.await.expect("the other end is in the books until it was used, or this future is gone"))
    }

    /// The next one's turn. Decides under the lock and delivers after it: a permit that reaches nobody is dropped, which
    /// takes the lock again.
    fn release(&self) {
        let door = {
            let mut books = self.lock();
            let next = books.line.release();
            next.and_then(|ticket| books.doors.remove(&ticket))
        };
        if let Some(door) = door {
            drop(door.send(Permit { turnstile: self.clone() }));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.turnstile.release();
    }
}

/// Leaves the line when it is dropped; of no effect once the turn has come.
struct Leaves<'a> {
    turnstile: &'a Turnstile,
    asker: u64,
    ticket: Ticket,
}

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        let mut books = self.turnstile.lock();
        books.line.leave(self.asker, self.ticket);
        books.doors.remove(&self.ticket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    fn turnstile(limit: usize) -> Turnstile {
        Turnstile::new(NonZeroUsize::MIN, limit)
    }

    #[tokio::test]
    async fn whoever_gives_up_waiting_is_passed_over() {
        let turnstile = turnstile(9);
        let held = turnstile.enter(1).await.unwrap();
        let mut second = Box::pin(turnstile.enter(2));
        let mut third = Box::pin(turnstile.enter(3));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(third.as_mut().now_or_never().is_none());
        assert_eq!(turnstile.waiting(), 2);
        drop(second);
        assert_eq!(turnstile.waiting(), 1);
        drop(held);
        third.now_or_never().expect("it is its turn").unwrap();
    }

    #[tokio::test]
    async fn a_permit_that_was_on_its_way_to_somebody_who_left_goes_to_the_next() {
        let turnstile = turnstile(9);
        let held = turnstile.enter(1).await.unwrap();
        let mut second = Box::pin(turnstile.enter(2));
        let mut third = Box::pin(turnstile.enter(3));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(third.as_mut().now_or_never().is_none());
        drop(held);
        // It is the second's turn, who goes before it looks.
        drop(second);
        third.now_or_never().expect("it is its turn").unwrap();
        assert!(turnstile.enter(4).now_or_never().expect("it is free again").is_ok());
    }

    #[tokio::test]
    async fn who_finds_the_line_full_is_told_at_once() {
        let turnstile = turnstile(0);
        let _held = turnstile.enter(1).await.unwrap();
        let refused = turnstile.enter(2).now_or_never().expect("at once").err();
        assert_eq!(refused, Some(LlmError::Saturated { waiting: 0, limit: 0 }));
    }
}
