//! Puts the commit, the features and the target into the binary, for `--version` and `doctor`.
//!
//! The commit is `unknown` outside a checkout of this repository; packagers set `STENOPOOL_COMMIT`. "Dirty" looks at
//! what the binary is made of and nothing else, and so does the question when to run this again.

use std::path::Path;
use std::process::Command;

/// What the binary is made of.
const SOURCES: [&str; 6] =
    ["src", "build.rs", "Cargo.toml", "Cargo.lock", "models/manifest.toml", "models/demo"];

fn main() {
    println!("cargo:rerun-if-env-changed=STENOPOOL_COMMIT");
    // A path that does not exist would run this script on every build.
    for path in SOURCES.iter().filter(|path| Path::new(path).exists()) {
        println!("cargo:rerun-if-changed={path}");
    }
    println!("cargo:rustc-env=STENOPOOL_BUILD_COMMIT={}", commit());
    println!("cargo:rustc-env=STENOPOOL_BUILD_FEATURES={}", features());
    println!("cargo:rustc-env=STENOPOOL_BUILD_TARGET={}", env("TARGET"));
}

fn commit() -> String {
    let given = env("STENOPOOL_COMMIT");
    if given.is_empty() { checked_out().unwrap_or_else(|| "unknown".into()) } else { given }
}

/// The commit that is checked out, with `-dirty` when the sources differ from it.
fn checked_out() -> Option<String> {
    // Unpacked inside somebody else's repository, that one's commit would be a lie.
    let top = git(&["rev-parse", "--show-toplevel"])?;
    if Path::new(&top).canonicalize().ok()? != Path::new(&env("CARGO_MANIFEST_DIR")).canonicalize().ok()? {
        return None;
    }
    watch_head();
    let commit = git(&["rev-parse", "--short=10", "HEAD"])?;
    let mut status = vec!["status", "--porcelain", "--untracked-files=no", "--"];
    status.extend(SOURCES);
    let changed = git(&status)?;
    Some(if changed.is_empty() { commit } else { format!("{commit}-dirty") })
}

/// Runs this script again after a commit or a checkout: both write a line to the log of HEAD, in worktrees too.
fn watch_head() {
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", name]).filter(|path| Path::new(path).exists()) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
}

fn git(arguments: &[&str]) -> Option<String> {
    // Without the lock, `git status` leaves the index alone.
    let output = Command::new("git").env("GIT_OPTIONAL_LOCKS", "0").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// The enabled features, comma separated; `default` says nothing and is left out.
fn features() -> String {
    let mut names: Vec<String> = std::env::vars()
        .filter_map(|(key, _)| key.strip_prefix("CARGO_FEATURE_").map(str::to_lowercase))
        .filter(|name| name != "default")
        .collect();
    names.sort();
    if names.is_empty() { "none".into() } else { names.join(",") }
}

#[expect(clippy::disallowed_methods, reason = "a build script's settings are its environment")]
fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}
