//! How a load test is going: one line that is redrawn on a terminal, a line now and then elsewhere.

use crate::cli::output;
use crate::load::Progress;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::Duration;

/// Without a terminal, a line after each so long.
const EVERY: Duration = Duration::from_secs(10);

/// The progress line, on standard error.
pub(super) struct Live {
    drawn: ProgressBar,
    total: Option<Duration>,
    /// When the next line is due, where there is no terminal to draw on.
    next_line: Option<Mutex<Duration>>,
}

impl Live {
    /// A line for a run of `total`, if that is known.
    pub(super) fn new(total: Option<Duration>) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let drawn = if terminal { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        let style = ProgressStyle::with_template("{spinner} {msg}").expect("the template is valid");
        Self { drawn: drawn.with_style(style), total, next_line: (!terminal).then(|| Mutex::new(EVERY)) }
    }

    /// Shows how it is going.
    pub(super) fn tell(&self, progress: &Progress) {
        let line = self.line(progress);
        let Some(next_line) = &self.next_line else {
            self.drawn.set_message(line);
            self.drawn.tick();
            return;
        };
        let mut next_line = next_line.lock().expect("nobody panics with it");
        // A run that begins anew, as the next step of a curve does, begins to count anew.
        if progress.elapsed < EVERY {
            *next_line = EVERY;
        }
        if progress.elapsed >= *next_line {
            output::tell(&line);
            *next_line = progress.elapsed + EVERY;
        }
    }

    /// Takes the line away.
    pub(super) fn clear(&self) {
        self.drawn.finish_and_clear();
    }

    fn line(&self, progress: &Progress) -> String {
        let Progress { elapsed, connected, speaking, finals, errors, lag_p99 } = progress;
        let elapsed = elapsed.as_secs();
        let total = self.total.map_or(String::new(), |total| format!(" of {}", total.as_secs()));
        let lag = lag_p99.as_secs_f64() * 1e3;
        format!(
            "{elapsed}{total} s  {connected} connected, {speaking} speaking, {finals} texts, {errors} errors, own lag {lag:.1} ms"
        )
    }
}
