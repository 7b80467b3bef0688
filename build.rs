//! Puts the commit, the features and the target into the binary, for `--version` and `doctor`.
//!
//! The commit is `unknown` outside a checkout of this repository; packagers set `STENOPOOL_COMMIT`. "Dirty" looks at
//! what the binary is made of and nothing else, and so does the question when to run this again.

use std::path::{Path, PathBuf};
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
    if !env("CARGO_FEATURE_CUDA").is_empty() {
        cuda();
    }
}

/// What a build for GPUs links beside whisper.cpp, and what it says of itself: the version of CUDA, and the
/// architectures that it has code for, in `CMake`'s notation.
fn cuda() {
    const SOURCE: &str = "src/asr/cuda_libraries.c";
    for name in ["CUDA_HOME", "CUDA_PATH", "CMAKE_CUDA_ARCHITECTURES", "DOCS_RS"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    let given = env("CMAKE_CUDA_ARCHITECTURES");
    let architectures = if given.is_empty() { "native" } else { &given };
    println!("cargo:rustc-env=STENOPOOL_CUDA_ARCHITECTURES={architectures}");
    // whisper-rs-sys compiles nothing then, so that the Rust code can be checked without a toolkit.
    if !env("DOCS_RS").is_empty() {
        println!("cargo:rustc-env=STENOPOOL_CUDA_VERSION=0");
        return;
    }
    let toolkit = toolkit();
    println!("cargo:rustc-env=STENOPOOL_CUDA_VERSION={}", cuda_version(&toolkit));
    let mut build = cc::Build::new();
    build.file(SOURCE).include(toolkit.join("include")).std("gnu11").warnings(true).cargo_metadata(false);
    // Hidden, or the linker lets others see what a library of CUDA has, too: ONNX Runtime's part is to call cuBLAS itself.
    build.flag("-fvisibility=hidden");
    build.define("TOOLKIT", format!("{:?}", toolkit.to_string_lossy()).as_str()).compile("cuda_libraries");
    println!("cargo:rustc-link-search=native={}", env("OUT_DIR"));
    for folder in ["lib64", "lib64/stubs", "lib"] {
        println!("cargo:rustc-link-search=native={}", toolkit.join(folder).display());
    }
    // Whole, because what refers to them comes behind them. With their functions at hand the linker needs none of the
    // shared libraries that whisper-rs-sys names.
    for library in ["cuda_libraries", "cudart_static"] {
        println!("cargo:rustc-link-lib=static:+whole-archive={library}");
    }
    for library in ["dl", "rt", "pthread"] {
        println!("cargo:rustc-link-lib=dylib={library}");
    }
}

/// The folder of the CUDA toolkit; `make build-cuda` says which.
fn toolkit() -> PathBuf {
    let given = ["CUDA_HOME", "CUDA_PATH"].map(env);
    let named = given.iter().map(String::as_str).find(|folder| !folder.is_empty());
    let folder = PathBuf::from(named.unwrap_or("/usr/local/cuda"));
    assert!(
        folder.join("include/cublas_v2.h").exists(),
        "no CUDA toolkit in {}: build with `make build-cuda`, which finds or fetches one, or set CUDA_HOME",
        folder.display()
    );
    folder
}

/// As in `13.0`, from the toolkit's header.
fn cuda_version(toolkit: &Path) -> String {
    let header = std::fs::read_to_string(toolkit.join("include/cuda.h")).unwrap_or_default();
    let number = header.lines().find_map(|line| line.strip_prefix("#define CUDA_VERSION "));
    let number: u32 = number.and_then(|number| number.trim().parse().ok()).expect("cuda.h tells its version");
    format!("{}.{}", number / 1000, number % 1000 / 10)
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
