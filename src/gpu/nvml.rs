//! NVIDIA's management library, loaded at run time. Reads only: what the readings mean is decided elsewhere.

use super::choose::{Gpu, Mig};
use super::facts::GpuFacts;
use super::{Bytes, Capability, CudaVersion, DeviceMemory, DeviceProbe, GpuError};
use nvml_wrapper::enum_wrappers::device::Clock;
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};
use std::path::Path;
use std::sync::Arc;
use tracing::warn;

/// The driver, as NVML lets us see it. It may be used on any thread; clones share one initialisation.
#[derive(Debug, Clone)]
pub struct Driver(Arc<Nvml>);

impl Driver {
    /// Loads `libnvidia-ml.so.1` from where the system keeps it. Takes some 100 ms where GPUs have to wake up.
    ///
    /// # Errors
    ///
    /// [`GpuError::NoDriver`] when there is no such library or no driver behind it, [`GpuError::Failed`] when there is
    /// one that refuses (no permission, or library and kernel module of different versions).
    pub fn load() -> Result<Self, GpuError> {
        Self::loaded(Nvml::init())
    }

    /// As [`load`](Self::load), from this file.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn load_from(library: &Path) -> Result<Self, GpuError> {
        Self::loaded(Nvml::builder().lib_path(library.as_os_str()).init())
    }

    fn loaded(nvml: Result<Nvml, NvmlError>) -> Result<Self, GpuError> {
        nvml.map(|nvml| Self(Arc::new(nvml))).map_err(|error| match error {
            NvmlError::LibloadingError(error) => GpuError::NoDriver { reason: error.to_string() },
            NvmlError::FailedToLoadSymbol(_) | NvmlError::LibraryNotFound | NvmlError::DriverNotLoaded => {
                GpuError::NoDriver { reason: error.to_string() }
            }
            refused => failed("nvmlInit_v2")(refused),
        })
    }

    /// Lists the GPUs and, behind each one in MIG mode, its instances.
    ///
    /// A GPU that does not answer is left out, with a warning: the others can still be used.
    ///
    /// # Errors
    ///
    /// [`GpuError::Failed`] when NVML cannot even count them.
    pub fn gpus(&self) -> Result<Vec<Gpu>, GpuError> {
        let count = self.0.device_count().map_err(failed("nvmlDeviceGetCount_v2"))?;
        let listed =
            (0..count).map(|index| self.gpu(index).inspect_err(|error| warn!(index, %error, "gpu skipped")));
        Ok(listed.flatten().flatten().collect())
    }

    /// One GPU, followed by its instances.
    fn gpu(&self, index: u32) -> Result<Vec<Gpu>, GpuError> {
        let device = self.0.device_by_index(index).map_err(failed("nvmlDeviceGetHandleByIndex_v2"))?;
        // A GPU or a driver that has never heard of MIG says that the call is not supported.
        let split = device.mig_mode().is_ok_and(|mode| mode.current == 1);
        if !split {
            return Ok(vec![described(&device, index, Mig::Off, memory_of(&device)?)?]);
        }
        // Nothing runs on a GPU that is split, and only root may read its memory.
        let mut found = vec![described(&device, index, Mig::Split, DeviceMemory::default())?];
        let most = device.mig_device_count().map_err(failed("nvmlDeviceGetMaxMigDeviceCount"))?;
        // The count is of places for instances; most of them are empty.
        for part in (0..most).filter_map(|at| device.mig_device_by_index(at).ok()) {
            found.push(described(&part, index, Mig::Instance, memory_of(&part)?)?);
        }
        Ok(found)
    }

    /// The driver's own version, as in `580.95.05`.
    pub fn version(&self) -> Option<String> {
        self.0.sys_driver_version().ok()
    }

    /// The latest CUDA that it speaks, where it says so.
    pub fn cuda_version(&self) -> Option<CudaVersion> {
        self.0.sys_cuda_driver_version().ok().map(CudaVersion::from_number)
    }

    /// What the driver and the GPU with this UUID say about themselves.
    ///
    /// # Errors
    ///
    /// [`GpuError::Failed`] when there is no such GPU. What it does not tell is no error.
    pub fn facts(&self, uuid: &str) -> Result<GpuFacts, GpuError> {
        let device = self.0.device_by_uuid(uuid).map_err(failed("nvmlDeviceGetHandleByUUID"))?;
        Ok(GpuFacts {
            driver: self.version(),
            cuda: self.cuda_version().map(|version| version.to_string()),
            compute_capability: capability_of(&device).map(|capability| capability.to_string()),
            power_limit_watts: device
                .enforced_power_limit()
                .ok()
                .map(|milliwatts| f64::from(milliwatts) / 1e3),
            sm_clock_mhz: device.max_clock_info(Clock::SM).ok(),
            memory_clock_mhz: device.max_clock_info(Clock::Memory).ok(),
        })
    }

    /// Reads the memory of `gpu` from now on.
    pub fn probe(&self, gpu: &Gpu) -> NvmlProbe {
        NvmlProbe { driver: self.clone(), uuid: gpu.uuid.clone() }
    }
}

/// Reads one GPU's memory, or that of one MIG instance. It goes by UUID, because numbers depend on who counts.
#[derive(Debug)]
pub struct NvmlProbe {
    driver: Driver,
    uuid: String,
}

impl DeviceProbe for NvmlProbe {
    fn memory(&self) -> Result<DeviceMemory, GpuError> {
        let device = self.driver.0.device_by_uuid(self.uuid.as_str());
        memory_of(&device.map_err(failed("nvmlDeviceGetHandleByUUID"))?)
    }

    /// Nothing in a container, where NVML knows this process by another number, and on MIG instances.
    fn own(&self) -> Option<Bytes> {
        let device = self.driver.0.device_by_uuid(self.uuid.as_str()).ok()?;
        let processes = device.running_compute_processes().ok()?;
        let own = processes.into_iter().find(|process| process.pid == std::process::id())?;
        match own.used_gpu_memory {
            UsedGpuMemory::Used(bytes) => Some(Bytes(bytes)),
            UsedGpuMemory::Unavailable => None,
        }
    }
}

fn described(device: &Device<'_>, index: u32, mig: Mig, memory: DeviceMemory) -> Result<Gpu, GpuError> {
    Ok(Gpu {
        capability: capability_of(device),
        index,
        uuid: device.uuid().map_err(failed("nvmlDeviceGetUUID"))?,
        name: device.name().map_err(failed("nvmlDeviceGetName"))?,
        memory,
        mig,
    })
}

fn capability_of(device: &Device<'_>) -> Option<Capability> {
    let found = device.cuda_compute_capability().ok()?;
    Some(Capability { major: found.major as u32, minor: found.minor as u32 })
}

fn memory_of(device: &Device<'_>) -> Result<DeviceMemory, GpuError> {
    let memory = device.memory_info().map_err(failed("nvmlDeviceGetMemoryInfo_v2"))?;
    Ok(DeviceMemory { total: Bytes(memory.total), free: Bytes(memory.free) })
}

fn failed(call: &'static str) -> impl Fn(NvmlError) -> GpuError {
    move |error| GpuError::Failed { call, reason: error.to_string() }
}
