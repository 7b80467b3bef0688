//! What can go wrong when a device is looked for or asked.

use super::choose::Gpu;
use super::compatibility::{Capability, CudaVersion};

/// Why there is no device, or no answer from it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GpuError {
    /// No NVML library, or no driver behind it.
    #[error("no NVIDIA driver: {reason}")]
    NoDriver {
        /// What the loader or the library said.
        reason: String,
    },
    /// NVML is there and refuses.
    #[error("{call} failed: {reason}")]
    Failed {
        /// The function that was called.
        call: &'static str,
        /// What it said.
        reason: String,
    },
    /// The device that was asked for is not there.
    #[error("there is no device {wanted} among {count} that were found")]
    NotFound {
        /// As it was asked for.
        wanted: String,
        /// How many were found.
        count: usize,
        /// What could have been asked for.
        known: Vec<String>,
    },
    /// The GPU is split up by MIG, and no part of it was named.
    #[error("device {device} is in MIG mode and split into {n_instances} instances", n_instances = instances.len())]
    Partitioned {
        /// As `cuda:0`.
        device: String,
        /// The UUIDs of its parts.
        instances: Vec<String>,
    },
    /// The driver is older than the toolkit that this program was built with.
    #[error("the driver speaks CUDA {found}, this build needs {needed}")]
    DriverTooOld {
        /// What the driver speaks.
        found: CudaVersion,
        /// What the program was built with.
        needed: CudaVersion,
    },
    /// The program was built for other GPUs.
    #[error(
        "this build has no code for {name}, whose compute capability is {capability}: it was built for {architectures}"
    )]
    NoCodeFor {
        /// The GPU.
        name: String,
        /// What it can do.
        capability: Capability,
        /// What the program was built for, in `CMake`'s notation.
        architectures: String,
    },
    /// A library that decoding on a GPU needs is not there.
    #[error("a library of CUDA is missing: {reason}")]
    LibraryMissing {
        /// What the loader said.
        reason: String,
    },
    /// The text names no device.
    #[error(
        "`{text}` names no device: expected auto, cpu, all, cuda:N, GPU-… or MIG-…, several with commas between"
    )]
    Unintelligible {
        /// The text.
        text: String,
    },
    /// The operating system does not say how much memory there is.
    #[error("the operating system does not say how much memory it has")]
    NoHostMemory,
    /// The thread that reads the memory could not be started.
    #[error("the thread gpu-probe could not be started: {reason}")]
    NoThread {
        /// What the operating system said.
        reason: String,
    },
}

impl GpuError {
    /// The stable name of this error on the wire, in logs and in metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoDriver { .. } => "gpu_no_driver",
            Self::Failed { .. } => "gpu_call_failed",
            Self::NotFound { .. } => "gpu_not_found",
            Self::Partitioned { .. } => "gpu_partitioned",
            Self::DriverTooOld { .. } => "gpu_driver_too_old",
            Self::NoCodeFor { .. } => "gpu_no_code",
            Self::LibraryMissing { .. } => "gpu_library_missing",
            Self::Unintelligible { .. } => "gpu_selector_invalid",
            Self::NoHostMemory => "host_memory_unknown",
            Self::NoThread { .. } => "gpu_probe_not_started",
        }
    }

    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoDriver { .. } => Some(
                "install the NVIDIA driver, start the container with its GPUs, or use the device `cpu`"
                    .into(),
            ),
            Self::NotFound { known, .. } if known.is_empty() => Some("use the device `cpu`".into()),
            Self::NotFound { known, .. } => Some(format!("there are {}", known.join(", "))),
            Self::Partitioned { instances, .. } if instances.is_empty() => {
                Some("create an instance with `nvidia-smi mig -cgi`, or turn MIG mode off".into())
            }
            Self::Partitioned { instances, .. } => {
                Some(format!("name the instance to use: {}", instances.join(", ")))
            }
            Self::DriverTooOld { needed, .. } => Some(format!(
                "install a driver that speaks CUDA {} (`nvidia-smi` says which it is), or build with an older toolkit",
                needed.major
            )),
            Self::NoCodeFor { capability: Capability { major, minor }, .. } => Some(format!(
                "build it for this GPU: make build-cuda CUDA_ARCHITECTURES={major}{minor}-real; or use --device cpu"
            )),
            Self::LibraryMissing { .. } => Some(
                "install the driver with its CUDA part (in a container: NVIDIA_DRIVER_CAPABILITIES=compute,utility) \
                 and cuBLAS, put libcublas.so.* and libcublasLt.so.* beside the program or name their folder in \
                 LD_LIBRARY_PATH; or use --device cpu"
                    .into(),
            ),
            Self::Failed { .. } => Some("see what `nvidia-smi` says about this GPU".into()),
            Self::Unintelligible { .. } | Self::NoHostMemory | Self::NoThread { .. } => None,
        }
    }

    /// There is no `wanted` among `gpus`.
    pub(super) fn not_found(wanted: &impl ToString, gpus: &[Gpu]) -> Self {
        let known = gpus.iter().map(Gpu::to_string).collect();
        Self::NotFound { wanted: wanted.to_string(), count: gpus.len(), known }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_failed_and_what_to_do() {
        let instances = vec!["MIG-1".to_owned(), "MIG-2".to_owned()];
        let error = GpuError::Partitioned { device: "cuda:0".into(), instances };
        assert_eq!(error.to_string(), "device cuda:0 is in MIG mode and split into 2 instances");
        assert_eq!(error.hint().unwrap(), "name the instance to use: MIG-1, MIG-2");
        let error = GpuError::not_found(&"cuda:3", &[]);
        assert_eq!(error.to_string(), "there is no device cuda:3 among 0 that were found");
        assert_eq!(error.hint().unwrap(), "use the device `cpu`");
    }
}
