//! Words for people, where `println!` and `eprintln!` would panic: into a pipe that nobody reads any more, or onto a full
//! disk.

use anyhow::Context;
use std::io::{self, ErrorKind, Write};

/// Writes what a command was asked for to standard output.
///
/// # Errors
///
/// When it cannot be written; [`is_unread`] tells the harmless case.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).context("cannot write to standard output")
}

/// Writes a line to standard error. Where nobody can be told, nobody is.
pub(super) fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Whether the reader of our output has gone, as in `| head -1`: it has seen enough, which is no error.
pub(super) fn is_unread(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(|error: &io::Error| error.kind() == ErrorKind::BrokenPipe)
}
