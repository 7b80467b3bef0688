//! What is still done when ggml ends the process: a line in the log, and a word to everybody who is connected.
//!
//! A failing call to a GPU is no error that comes back, so the plan for it is to go down well and to be started again. The
//! thread that failed is held up for a moment, while the others, which are well, tell clients when to come back.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{Span, error};

/// How long the end is put off, at most.
const PATIENCE: Duration = Duration::from_millis(500);

/// Says the last words of a server.
pub(super) struct LastWords {
    /// Tells everybody who is connected, once it is cancelled.
    crashing: CancellationToken,
    /// Lets nobody in any more, likewise.
    stopping: CancellationToken,
    patience: Duration,
    state: Mutex<State>,
    changed: Condvar,
}

/// What the end waits for.
#[derive(Debug, Default)]
struct State {
    /// Somebody may be connected.
    has_audience: bool,
    /// Lines that are not in the log yet.
    unwritten: usize,
}

impl LastWords {
    /// For a server that does as these tokens say.
    pub(super) fn new(crashing: CancellationToken, stopping: CancellationToken) -> Self {
        Self { crashing, stopping, patience: PATIENCE, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Somebody may be connected from now on, or nobody is any more.
    pub(super) fn set_audience(&self, has_audience: bool) {
        self.lock().has_audience = has_audience;
        self.changed.notify_all();
    }

    /// Tells everybody, and the log, that the process ends, and why. Returns when they know, or after half a second.
    ///
    /// Nothing here waits without a limit: whoever reads the log, or a client, may have stopped reading long ago.
    pub(super) fn say(self: &Arc<Self>, message: &str) {
        // In this order: who sees the second, has to see the first.
        self.crashing.cancel();
        self.stopping.cancel();
        self.write(message);
        let waits = |state: &mut State| state.has_audience || state.unwritten > 0;
        drop(self.changed.wait_timeout_while(self.lock(), self.patience, waits));
    }

    /// Writes to the log, on a thread of its own: writing can take for ever, and this one has half a second.
    fn write(self: &Arc<Self>, message: &str) {
        let (thread, span) = (thread::current().name().unwrap_or_default().to_owned(), Span::current());
        let line = format!("the engine has failed and ends the process: {message}");
        let write = move || span.in_scope(|| error!(code = "crashed", thread, "{line}"));
        self.lock().unwritten += 1;
        let this = Arc::clone(self);
        let writer = thread::Builder::new().name("last-words".into()).spawn(move || {
            write();
            this.lock().unwritten -= 1;
            this.changed.notify_all();
        });
        if let Err(error) = writer {
            error!(code = "crashed", %error, "the engine has failed and ends the process: {message}");
            self.lock().unwritten -= 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Longer than any test takes.
    const FOR_EVER: Duration = Duration::from_secs(600);

    fn last_words(patience: Duration) -> Arc<LastWords> {
        let token = CancellationToken::new;
        Arc::new(LastWords { patience, ..LastWords::new(token(), token()) })
    }

    #[test]
    fn without_an_audience_the_end_waits_for_the_log_alone() {
        let words = last_words(FOR_EVER);
        words.say("CUDA error");
        assert_eq!(words.lock().unwritten, 0);
        assert!(words.crashing.is_cancelled() && words.stopping.is_cancelled());
    }

    #[test]
    fn the_end_waits_until_the_audience_has_gone_and_several_may_wait_for_it() {
        let words = last_words(FOR_EVER);
        words.set_audience(true);
        let (said, out) = mpsc::channel();
        let fail = || {
            let (words, said) = (Arc::clone(&words), said.clone());
            thread::spawn(move || {
                words.say("CUDA error");
                said.send(()).unwrap();
            })
        };
        let failing = [fail(), fail()];
        while !words.stopping.is_cancelled() {
            thread::yield_now();
        }
        assert!(out.try_recv().is_err(), "somebody still listens");
        words.set_audience(false);
        for thread in failing {
            thread.join().unwrap();
        }
        assert_eq!(out.try_iter().count(), 2);
    }

    #[test]
    fn an_audience_that_stays_does_not_put_off_the_end_for_ever() {
        let words = last_words(Duration::from_millis(20));
        words.set_audience(true);
        words.say("CUDA error");
    }
}
