//! On what a network runs: the processor, or a CUDA device where ONNX Runtime has its part for it.
//!
//! That part is a library of its own beside ONNX Runtime's (`scripts/setup.sh cuda-runtime` brings both), which needs
//! CUDA's libraries and cuDNN in turn. What is missing of that is found out here, and told.

use super::{environment, expect_whole};
use ort::environment::Environment;
use ort::ep::cuda::ConvAlgorithmSearch;
use ort::ep::{self, ArenaExtendStrategy};
use ort::logging::LogLevel;
use ort::session::Session;
use std::fmt;
use std::path::Path;
use tracing::{info, warn};

/// ONNX Runtime's part for CUDA devices, and what it stands on.
const CUDA_PARTS: [&str; 2] = ["libonnxruntime_providers_cuda.so", "libonnxruntime_providers_shared.so"];

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

impl fmt::Display for Provider {
    /// As devices are called: `cpu`, `cuda:0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda { device, .. } => write!(f, "cuda:{device}"),
        }
    }
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
    /// Whether hardly any run is as long as another one. Otherwise memory is planned for each length that comes again: a little
    /// faster, at the price of as much memory again as the run takes.
    pub(crate) lengths_vary: bool,
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

/// Loads a network. `try_out` makes of its session what its owner wants, and runs it: memory that is too small, or a
/// library that does not know the GPU, shows in the first run and not before, and the processor is to take over then, too.
///
/// # Errors
///
/// [`OpenError`]; what `try_out` says against the processor is the [model's](OpenError::Model) fault.
pub(crate) fn open<N>(
    network: Network<'_>,
    provider: Provider,
    try_out: impl Fn(Session, Provider) -> Result<N, String>,
) -> Result<N, OpenError> {
    let runtime = environment(network.runtime)?;
    let found = first_that_works(provider, |provider| {
        if provider != Provider::Cpu {
            cuda_part(network.runtime)?;
        }
        try_out(session(&runtime, network, provider)?, provider)
    })?;
    if let Provider::Cuda { device, .. } = provider {
        tell(network, device, found.against_gpu.as_deref());
    }
    Ok(found.network)
}

/// Tells where a network runs that may run on a GPU, and what is against that if anything is.
fn tell(network: Network<'_>, device: u32, against_gpu: Option<&str>) {
    let name = network.name;
    let Some(reason) = against_gpu else {
        info!(network = name, device, "runs on the GPU");
        return;
    };
    let hint = match cuda_part(network.runtime) {
        Ok(()) => {
            "it needs CUDA's libraries and cuDNN where the loader finds them (LD_LIBRARY_PATH), and memory"
        }
        Err(_) => "scripts/setup.sh cuda-runtime brings ONNX Runtime's part for CUDA",
    };
    warn!(network = name, device, reason, hint, "runs on the processor: the GPU cannot be used for it");
}

/// A network that works, and what is to be said against the GPU that was tried before, if one was.
#[derive(Debug, PartialEq, Eq)]
struct Found<N> {
    network: N,
    against_gpu: Option<String>,
}

/// Tries a network `on` the provider that is wanted, and on the processor where that fails.
///
/// # Errors
///
/// [`OpenError::Model`] where the processor cannot run it either: what ails the model itself ails it everywhere, and is told
/// as such. [`OpenError::Cuda`] where it could, and may not.
fn first_that_works<N>(
    wanted: Provider,
    on: impl Fn(Provider) -> Result<N, String>,
) -> Result<Found<N>, OpenError> {
    let on_cpu = || on(Provider::Cpu).map_err(OpenError::Model);
    let Provider::Cuda { device, required } = wanted else {
        return Ok(Found { network: on_cpu()?, against_gpu: None });
    };
    match on(wanted) {
        Ok(network) => Ok(Found { network, against_gpu: None }),
        Err(reason) => match on_cpu()? {
            _ if required => Err(OpenError::Cuda { device, reason }),
            network => Ok(Found { network, against_gpu: Some(reason) }),
        },
    }
}

/// Whether ONNX Runtime's part for CUDA lies beside its library `runtime`, and is whole.
///
/// # Errors
///
/// What is not where, or what is wrong with it.
pub fn cuda_part(runtime: &Path) -> Result<(), String> {
    // It looks where it was loaded from, and that is where a link leads.
    let library = runtime.canonicalize().map_err(|error| error.to_string())?;
    for name in CUDA_PARTS {
        let part = library.with_file_name(name);
        if !part.is_file() {
            return Err(format!("{name} is not beside {}", library.display()));
        }
        expect_whole(&part).map_err(|reason| format!("{}: {reason}", part.display()))?;
    }
    Ok(())
}

/// A session on `provider`. The environment shows that the library is loaded: until then `ort` panics even where it only makes
/// an error.
fn session(runtime: &Environment, network: Network<'_>, provider: Provider) -> Result<Session, String> {
    let build = || -> ort::Result<Session> {
        let mut builder = Session::builder(runtime)?
            .with_intra_threads(network.threads.max(1))?
            .with_inter_threads(1)?
            .with_intra_op_spinning(false)?
            .with_memory_pattern(!network.lengths_vary)?
            .with_log_level(log_level(provider))?;
        if let Provider::Cuda { device, .. } = provider {
            builder = builder.with_execution_providers([cuda(device).build().error_on_failure()])?;
        }
        builder.commit_from_file(network.model)
    };
    build().map_err(|error| error.to_string())
}

fn cuda(device: u32) -> ep::CUDA {
    ep::CUDA::default()
        .with_device_id(device as i32)
        // Doubled with every growth, as is usual, the arena would take memory that the slots are counted on.
        .with_arena_extend_strategy(ArenaExtendStrategy::SameAsRequested)
        // To try all ways of a convolution for each new length, as is usual, is of no use where every phrase has another.
        .with_conv_algorithm_search(ConvAlgorithmSearch::Heuristic)
}

/// On a GPU it warns at every start of small operations that are better left to the processor, which is as it should be.
fn log_level(provider: Provider) -> LogLevel {
    match provider {
        Provider::Cpu => LogLevel::Warning,
        Provider::Cuda { .. } => LogLevel::Error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_takes_over_from_a_gpu_that_fails_unless_that_must_be_used_or_the_model_is_at_fault() {
        let cuda = |required| Provider::Cuda { device: 3, required };
        // What is wanted; whether it works on a GPU, and on the processor; what comes of it.
        let cases = [
            (Provider::Cpu, true, true, "cpu"),
            (Provider::Cpu, true, false, "no network"),
            (cuda(false), true, true, "cuda:3"),
            (cuda(true), true, false, "cuda:3"),
            (cuda(false), false, true, "cpu, as: no memory"),
            (cuda(true), false, true, "cuda:3 cannot be used: no memory"),
            (cuda(false), false, false, "no network"),
            (cuda(true), false, false, "no network"),
        ];
        for (wanted, on_gpu, on_cpu, expected) in cases {
            let found = first_that_works(wanted, |provider| match provider {
                Provider::Cpu => on_cpu.then(|| "cpu".to_owned()).ok_or_else(|| "no network".to_owned()),
                Provider::Cuda { .. } => {
                    on_gpu.then(|| provider.to_string()).ok_or_else(|| "no memory".to_owned())
                }
            });
            let told = match found {
                Ok(Found { network, against_gpu: None }) => network,
                Ok(Found { network, against_gpu: Some(reason) }) => format!("{network}, as: {reason}"),
                Err(error) => error.to_string(),
            };
            assert_eq!(told, expected, "{wanted:?}");
        }
    }

    #[test]
    fn a_part_for_cuda_that_is_missing_or_cut_off_is_told_before_the_loader_maps_it() {
        let folder = tempfile::tempdir().unwrap();
        let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/libonnxruntime.so");
        let runtime = folder.path().join("libonnxruntime.so");
        std::fs::write(&runtime, "").unwrap();
        for name in CUDA_PARTS {
            let missing = cuda_part(&runtime).unwrap_err();
            assert!(missing.starts_with(&format!("{name} is not beside ")), "{missing}");
            let whole = std::fs::read(&library).unwrap();
            std::fs::write(folder.path().join(name), &whole[..whole.len() / 2]).unwrap();
            let cut = cuda_part(&runtime).unwrap_err();
            assert!(cut.contains(name) && cut.contains("cut off"), "{cut}");
            std::fs::write(folder.path().join(name), whole).unwrap();
        }
        assert_eq!(cuda_part(&runtime), Ok(()));
    }
}
