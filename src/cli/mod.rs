//! Commands; the only place that wires the others together.

#[allow(dead_code)] // Wired with the other commands.
mod models;

use std::process::ExitCode;

/// Runs the command line and says how it went.
pub fn run() -> ExitCode {
    ExitCode::SUCCESS
}
