//! How a load test is going: one line that is redrawn on a terminal, a line now and then elsewhere.

use crate::cli::output;
use crate::load::Progress;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Without a terminal, a line after each so long.
const EVERY: Duration = Duration::from_secs(10);

/// The progress line, on standard error.
pub(super) struct Live {
    drawn: ProgressBar,
    terminal: bool,
    state: Mutex<State>,
}

/// What the line is about.
#[derive(Default)]
struct State {
    /// What goes on.
    what: String,
    /// How long it takes.
    total: Duration,
    /// When the next line is due, where there is no terminal to draw on.
    next_line: Duration,
}

impl Live {
    pub(super) fn new() -> Self {
        let terminal = std::io::stderr().is_terminal();
        let drawn = if terminal { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        let style = ProgressStyle::with_template("{spinner} {msg}").expect("the template is valid");
        Self { drawn: drawn.with_style(style), terminal, state: Mutex::default() }
    }

    /// A run begins that takes so long.
    pub(super) fn begin(&self, what: &str, total: Duration) {
        *self.state() = State { what: what.to_owned(), total, next_line: EVERY };
    }

    /// Shows how it is going.
    pub(super) fn tell(&self, progress: &Progress) {
        let mut state = self.state();
        let line = state.line(progress);
        if self.terminal {
            self.drawn.set_message(line);
            self.drawn.tick();
        } else if progress.elapsed >= state.next_line {
            output::tell(&line);
            state.next_line = progress.elapsed + EVERY;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the line away.
    pub(super) fn clear(&self) {
        self.drawn.finish_and_clear();
    }
}

impl State {
    fn line(&self, progress: &Progress) -> String {
        let Progress { elapsed, connected, speaking, finals, errors, lag_p99 } = progress;
        let (what, elapsed, total) = (&self.what, elapsed.as_secs(), self.total.as_secs());
        let lag = lag_p99.as_secs_f64() * 1e3;
        format!(
            "{what}{elapsed} of {total} s, {connected} connected, {speaking} speaking, {finals} texts, {errors} errors, \
             own lag {lag:.1} ms"
        )
    }
}
