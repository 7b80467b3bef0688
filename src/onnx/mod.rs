//! ONNX Runtime, loaded once per process.
//!
//! A module of its own because `vad` and `tts` both run networks and may not know each other. What a network is and what
//! goes in and out is theirs; here is the library, and on what it runs a network.
//!
//! The library and its environment are global to a process and cannot be exchanged, so whoever comes first decides, and
//! they stay until the process ends. A first try that failed may be repeated.

mod provider;

pub(crate) use provider::{Network, OpenError, open};
pub use provider::{Provider, cuda_part};

use ort::environment::Environment;
use ort::logging::LogLevel;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Why ONNX Runtime cannot be used. Whoever runs a network makes an error of its own of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot load ONNX Runtime from {path}: {reason}")]
pub(crate) struct RuntimeError {
    /// The library that was tried.
    pub(crate) path: PathBuf,
    /// What the loader said.
    pub(crate) reason: String,
}

/// The library that was loaded and its environment.
static LOADED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// The environment of the ONNX Runtime library at `path`, which is loaded if it is not yet.
///
/// # Errors
///
/// [`RuntimeError`] when the file is missing or is no ONNX Runtime of a fitting version, or when another one has
/// been loaded before.
fn environment(path: &Path) -> Result<Environment, RuntimeError> {
    let failed = |reason: String| RuntimeError { path: path.to_owned(), reason };
    let library = path.canonicalize().map_err(|error| failed(error.to_string()))?;
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    match &*loaded {
        Some((first, environment)) if *first == library => Ok(environment.clone()),
        Some((first, _)) => Err(failed(format!("{} is already loaded", first.display()))),
        None => {
            let environment = expect_whole(&library).and_then(|()| load(&library)).map_err(failed)?;
            *loaded = Some((library, environment.clone()));
            Ok(environment)
        }
    }
}

/// Refuses a library that is shorter than its own table of contents says, as a broken copy leaves it: the loader maps
/// what is missing all the same, and the first look at it ends the process.
fn expect_whole(library: &Path) -> Result<(), String> {
    let mut file = File::open(library).map_err(|error| error.to_string())?;
    let size = file.metadata().map_err(|error| error.to_string())?.len();
    match segments_end(&mut file) {
        Ok(end) if end <= size => Ok(()),
        Ok(end) => Err(format!("the file is cut off: it has {size} bytes and needs {end}")),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(format!("the file is cut off: it has only {size} bytes"))
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Where the last segment of a 64-bit little-endian ELF file ends; 0 for files of other kinds, which the loader judges.
fn segments_end(file: &mut File) -> io::Result<u64> {
    /// Bytes of an `Elf64_Phdr`.
    const ENTRY: usize = 56;
    let mut head = [0; 64];
    file.read_exact(&mut head)?;
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return Ok(0);
    }
    let n_segments = u16::from_le_bytes([head[0x38], head[0x39]]);
    let mut table = vec![0; usize::from(n_segments) * ENTRY];
    file.seek(SeekFrom::Start(number(&head[0x20..])))?;
    file.read_exact(&mut table)?;
    let ends =
        table.chunks_exact(ENTRY).map(|entry| number(&entry[8..]).saturating_add(number(&entry[32..])));
    Ok(ends.max().unwrap_or(0))
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(*bytes.first_chunk().expect("callers leave eight bytes"))
}

/// Loads the library. `ort` panics on a library whose interface is not the one it was built for; that must not end
/// the process, so it becomes a reason like the others.
fn load(library: &Path) -> Result<Environment, String> {
    let attempt = || {
        let builder = ort::init_from(library).map_err(|error| error.to_string())?;
        builder.with_name("stenopool").with_telemetry(false).build().map_err(|error| error.to_string())
    };
    let environment = catch_unwind(AssertUnwindSafe(attempt))
        .unwrap_or_else(|_| Err("its interface is not one that this program knows".to_owned()))?;
    environment.set_log_level(LogLevel::Warning);
    Ok(environment)
}
