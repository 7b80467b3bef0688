//! Words for people, where `println!` and `eprintln!` would panic: into a pipe that nobody reads any more, or onto a full
//! disk.

use super::failure::Failure;
use anyhow::Context;
use serde::Serialize;
use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

/// Writes what a command was asked for to standard output.
///
/// # Errors
///
/// When it cannot be written; [`is_unread`] tells the harmless case.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).context("cannot write to standard output")
}

/// What is to be written at the end may take an hour: whether it can be written shows before that begins.
///
/// # Errors
///
/// When it cannot. A file that was not there is there afterwards, and empty.
pub(super) fn check_writable(path: &Path) -> anyhow::Result<()> {
    if is_stdout(path) {
        return Ok(());
    }
    let opened = OpenOptions::new().append(true).create(true).open(path);
    opened.map(drop).map_err(|error| {
        Failure::new(format!("cannot write {}: {error}", path.display()), "choose another file").into()
    })
}

/// Prints the table, or the JSON where that goes to standard output; writes the JSON where it was asked for.
///
/// # Errors
///
/// When it cannot be written.
pub(super) fn deliver(report: &(impl Display + Serialize), json: Option<&Path>) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(report)? + "\n";
    match json {
        Some(path) if is_stdout(path) => return print(&text),
        Some(path) => {
            std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        None => {}
    }
    print(&format!("{}\n", report.to_string().trim_end()))
}

fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

/// Writes a line to standard error. Where nobody can be told, nobody is.
pub(super) fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Whether the reader of our output has gone, as in `| head -1`: it has seen enough, which is no error.
pub(super) fn is_unread(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(|error: &io::Error| error.kind() == ErrorKind::BrokenPipe)
}
