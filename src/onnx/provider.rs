//! On what a network runs: the processor, or a CUDA device where ONNX Runtime has its part for it.
//!
//! That part is a library of its own beside ONNX Runtime's (`scripts/setup.sh cuda-runtime` brings both), which needs
//! CUDA's libraries and cuDNN in turn. What is missing of that is found out here, and told.

use super::environment;
use ort::environment::Environment;
use ort::ep::{self, ArenaExtendStrategy};
use ort::logging::LogLevel;
use ort::session::Session;
use std::path::Path;
use tracing::{info, warn};

/// ONNX Runtime's part for CUDA devices.
const CUDA_PART: &str = "libonnxruntime_providers_cuda.so";

/// On what a network runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Provider {
    /// The processor.
    #[default]
    Cpu,
    /// A CUDA device.
    Cuda {
        /// Its number, as CUDA counts.
        device: u32,
        /// Where it cannot be had loading fails; otherwise the processor takes its place, which is told.
        required: bool,
    },
}

/// A network's files, and how it is run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Network<'a> {
    /// As people know it, for the log.
    pub(crate) name: &'static str,
    /// ONNX Runtime's library.
    pub(crate) runtime: &'a Path,
    /// The network, an `.onnx` file.
    pub(crate) model: &'a Path,
    /// Threads of one run on the processor, 1 or more; they do not spin.
    pub(crate) threads: usize,
}

/// A network that is loaded.
pub(crate) struct Opened {
    pub(crate) session: Session,
    /// Where it really is.
    pub(crate) provider: Provider,
}

/// Why a network cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// There is no ONNX Runtime.
    #[error(transparent)]
    Runtime(#[from] super::RuntimeError),
    /// The file is no network.
    #[error("{0}")]
    Model(String),
    /// The CUDA device that must be used cannot be.
    #[error("cuda:{device} cannot be used: {reason}")]
    Cuda {
        /// Its number.
        device: u32,
        /// What is missing.
        reason: String,
    },
}

/// Loads a network.
///
/// # Errors
///
/// [`OpenError`].
pub(crate) fn open(network: Network<'_>, provider: Provider) -> Result<Opened, OpenError> {
    let name = network.name;
    if let Provider::Cuda { device, required } = provider {
        match open_on(network, device) {
            Ok(session) => {
                info!(network = name, device, "runs on the GPU");
                return Ok(Opened { session, provider });
            }
            Err(OpenError::Cuda { reason, .. }) if !required => {
                let hint = match cuda_part(network.runtime) {
                    Ok(()) => {
                        "it needs CUDA's libraries and cuDNN where the loader finds them (LD_LIBRARY_PATH)"
                    }
                    Err(_) => "scripts/setup.sh cuda-runtime brings ONNX Runtime's part for CUDA",
                };
                warn!(
                    network = name,
                    device, reason, hint, "runs on the processor: the GPU cannot be used for it"
                );
            }
            Err(error) => return Err(error),
        }
    }
    let runtime = environment(network.runtime)?;
    let session = commit(&runtime, network, None).map_err(|error| OpenError::Model(error.to_string()))?;
    Ok(Opened { session, provider: Provider::Cpu })
}

fn open_on(network: Network<'_>, device: u32) -> Result<Session, OpenError> {
    let failed = |reason: String| OpenError::Cuda { device, reason };
    let runtime = environment(network.runtime)?;
    cuda_part(network.runtime).map_err(failed)?;
    commit(&runtime, network, Some(device)).map_err(|error| failed(error.to_string()))
}

/// Whether ONNX Runtime's part for CUDA lies beside its library `runtime`.
///
/// # Errors
///
/// What is not where.
pub fn cuda_part(runtime: &Path) -> Result<(), String> {
    // It looks where it was loaded from, and that is where a link leads.
    let library = runtime.canonicalize().map_err(|error| error.to_string())?;
    let part = library.with_file_name(CUDA_PART);
    if part.is_file() { Ok(()) } else { Err(format!("{CUDA_PART} is not beside {}", library.display())) }
}

/// Takes the environment, as a sign that the library is loaded: until then `ort` panics even where it only makes an
/// error.
fn commit(runtime: &Environment, network: Network<'_>, cuda: Option<u32>) -> ort::Result<Session> {
    let mut builder = Session::builder(runtime)?
        .with_intra_threads(network.threads.max(1))?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?
        .with_log_level(LogLevel::Warning)?;
    if let Some(device) = cuda {
        // Doubled with every growth, as is usual, the arena would take memory that the slots are counted on.
        let provider = ep::CUDA::default()
            .with_device_id(device as i32)
            .with_arena_extend_strategy(ArenaExtendStrategy::SameAsRequested);
        builder = builder.with_execution_providers([provider.build().error_on_failure()])?;
    }
    builder.commit_from_file(network.model)
}
