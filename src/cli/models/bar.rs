//! How far a long read or download is: a bar with rate and ETA on a terminal, a line now and then elsewhere.

use crate::cli::output;
use crate::store::Step;
use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;

const KNOWN: &str = "{msg:20} {wide_bar} {bytes:>10}/{total_bytes:10} {bytes_per_sec:>12} {eta:>4}";
const UNKNOWN: &str = "{msg:20} {spinner} {bytes:>10} {bytes_per_sec:>12}";
/// Without a terminal, a line for each so many percent.
const PERCENT_STEP: u64 = 10;

/// Progress of one file, on standard error.
pub(super) struct Bar {
    drawn: ProgressBar,
    /// Percent of the next line, when there is no terminal to draw on.
    next_line: Option<u64>,
    name: String,
}

impl Bar {
    /// A bar for the file `name` of `total` bytes, if that is known.
    pub(super) fn new(name: &str, total: Option<u64>) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let drawn = ProgressBar::with_draw_target(None, target).with_message(name.to_owned());
        let mut this = Self { drawn, next_line: (!terminal).then_some(0), name: name.to_owned() };
        this.set_total(total);
        this
    }

    /// The same, but nothing at all without a terminal: for what takes seconds.
    pub(super) fn quiet(name: &str, total: Option<u64>) -> Self {
        Self { next_line: None, ..Self::new(name, total) }
    }

    /// Moves to `done` bytes.
    pub(super) fn set(&mut self, done: u64) {
        self.drawn.set_position(done);
        let (Some(next), Some(total)) = (self.next_line, self.drawn.length()) else { return };
        let percent = (done * 100).checked_div(total).unwrap_or(100);
        if percent >= next {
            output::tell(&format!(
                "{}: {percent} %, {} of {}",
                self.name,
                HumanBytes(done),
                HumanBytes(total)
            ));
            self.next_line = Some((percent / PERCENT_STEP + 1) * PERCENT_STEP);
        }
    }

    /// Follows a download.
    pub(super) fn step(&mut self, step: &Step<'_>) {
        match step {
            Step::Rehashing(done) | Step::Arrived(done) => self.set(*done),
            Step::Receiving { from, total } => self.receive(*from, *total),
            Step::Retrying { cause, wait } => {
                self.say(&format!("{cause}; trying again in {} ms", wait.as_millis()));
            }
        }
    }

    /// Takes the bar away.
    pub(super) fn clear(&self) {
        self.drawn.finish_and_clear();
    }

    /// Starts the clock anew, so that the rate is the network's and not that of the bytes that were here before.
    fn receive(&mut self, from: u64, total: Option<u64>) {
        if from > 0 {
            self.say(&format!("going on after {}", HumanBytes(from)));
        }
        self.set_total(total);
        self.drawn.set_position(from);
        self.drawn.reset_eta();
        self.next_line = self.next_line.map(|_| 0);
    }

    fn say(&self, line: &str) {
        let line = format!("{}: {line}", self.name);
        if self.next_line.is_some() {
            output::tell(&line);
        } else {
            self.drawn.println(line);
        }
    }

    fn set_total(&mut self, total: Option<u64>) {
        let template = if total.is_some() { KNOWN } else { UNKNOWN };
        self.drawn
            .set_style(ProgressStyle::with_template(template).expect("the templates are fixed and valid"));
        match total {
            Some(total) => self.drawn.set_length(total),
            None => self.drawn.unset_length(),
        }
    }
}
