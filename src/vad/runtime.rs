//! ONNX Runtime, loaded once per process.
//!
//! The library and its environment are global to a process and cannot be exchanged, so whoever comes first decides, and
//! they stay until the process ends. A first try that failed may be repeated.

use super::VadError;
use ort::environment::Environment;
use ort::logging::LogLevel;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The library that was loaded and its environment.
static LOADED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// The environment of the ONNX Runtime library at `path`, which is loaded if it is not yet.
///
/// # Errors
///
/// [`VadError::Runtime`] when the file is missing or is no ONNX Runtime of a fitting version, or when another one has
/// been loaded before.
pub(super) fn environment(path: &Path) -> Result<Environment, VadError> {
    let failed = |reason: String| VadError::Runtime { path: path.to_owned(), reason };
    let library = path.canonicalize().map_err(|error| failed(error.to_string()))?;
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    match &*loaded {
        Some((first, environment)) if *first == library => Ok(environment.clone()),
        Some((first, _)) => Err(failed(format!("{} is already loaded", first.display()))),
        None => {
            let environment = load(&library).map_err(failed)?;
            *loaded = Some((library, environment.clone()));
            Ok(environment)
        }
    }
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
