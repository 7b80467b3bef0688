//! Process entry: parse, run, exit code.

use std::process::ExitCode;

/// Thousands of sessions allocate and free a frame ten times a second, in between what they keep: with the C library's
/// allocator a silent session took two thirds more memory.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    stenopool::cli::run()
}
