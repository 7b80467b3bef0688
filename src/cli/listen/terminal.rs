//! What is known of the terminal: whether it is one, what it can show, and how wide it is.

use super::screen::Look;
use std::env;
use std::fs::File;
use std::io;
use std::process::{Command, Stdio};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Where nobody says how wide a terminal is.
const USUAL_WIDTH: usize = 80;

/// How texts are shown there.
pub(super) fn look(is_terminal: bool) -> Look {
    let set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = env::var_os("TERM").is_none_or(|term| term == "dumb");
    match is_terminal {
        false => Look::Plain,
        true if set("NO_COLOR") || is_dumb => Look::Timed,
        true => Look::Live,
    }
}

/// How many characters stand on a line. The system's `stty` is asked, because asking the kernel takes unsafe code.
pub(super) fn width() -> usize {
    asked().filter(|width| *width > 0).unwrap_or(USUAL_WIDTH)
}

fn asked() -> Option<usize> {
    let terminal = File::open("/dev/tty").ok()?;
    let told = Command::new("stty").arg("size").stdin(terminal).stderr(Stdio::null()).output().ok()?;
    String::from_utf8(told.stdout).ok()?.split_whitespace().nth(1)?.parse().ok()
}

/// Tells when the terminal has another size.
pub(super) struct Resizes(Signal);

impl Resizes {
    pub(super) fn new() -> io::Result<Self> {
        signal(SignalKind::window_change()).map(Self)
    }

    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) {
        self.0.recv().await;
    }
}
