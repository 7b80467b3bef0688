//! Which devices decode, and what there is besides.

use super::failure::Failure;
use crate::asr::{Device, Placement};
use crate::gpu::{
    Bytes, CudaBuild, CudaVersion, DeviceKind, DeviceSelector, Driver, Gpu, GpuError, HostProbe, Meter, Mig,
    choose, default_reserve,
};
use std::sync::Arc;
use tracing::{info, warn};

/// What the engine of this build decodes on, where there is such a device.
pub(super) const fn build_decodes_on() -> DeviceKind {
    if cfg!(feature = "cuda") { DeviceKind::Cuda } else { DeviceKind::Cpu }
}

/// What this build was made for; `None` for one that decodes on the CPU.
pub(super) fn cuda_build() -> Option<CudaBuild> {
    let version = option_env!("STENOPOOL_CUDA_VERSION")?;
    let architectures = option_env!("STENOPOOL_CUDA_ARCHITECTURES")?.to_owned();
    Some(CudaBuild { version: CudaVersion::from_text(version), architectures })
}

/// A device that was found.
#[derive(Clone)]
pub(super) struct Found {
    /// Which it is, and its memory.
    pub(super) device: Device,
    /// The GPU, by CUDA's number; `None` for the CPU.
    pub(super) gpu: Option<u32>,
}

impl Found {
    fn cpu() -> Self {
        Self { device: Device { info: HostProbe::info(), probe: Arc::new(HostProbe::new()) }, gpu: None }
    }

    fn gpu(driver: &Driver, gpu: &Gpu) -> Self {
        let device = Device { info: gpu.info(), probe: Arc::new(driver.probe(gpu)) };
        Self { device, gpu: Some(gpu.index) }
    }

    /// Where the weights go.
    pub(super) fn placement(&self) -> Placement {
        Placement { gpu: self.gpu, meter: Meter::of(Arc::clone(&self.device.probe)) }
    }
}

/// The first GPU among these, by CUDA's number: small networks share it.
pub(super) fn first_gpu(found: &[Found]) -> Option<u32> {
    found.iter().find_map(|found| found.gpu)
}

/// The GPUs of this machine, and the driver that told of them.
pub(super) struct Gpus {
    /// Reads their memory.
    pub(super) driver: Driver,
    /// Numbered as CUDA numbers them.
    pub(super) gpus: Vec<Gpu>,
}

/// The devices that were asked for, one at least.
///
/// # Errors
///
/// A [`Failure`] when one of them is not there, or of no use to this build.
pub(super) fn find(selector: &DeviceSelector) -> Result<Vec<Found>, Failure> {
    let mut driver = None;
    let listed = || {
        let listed = list_gpus()?;
        driver = Some(listed.driver);
        Ok(listed.gpus)
    };
    let usable = |gpu: &Gpu| can_use(gpu, cuda_build().as_ref());
    let gpus = pick(selector, build_decodes_on(), listed, usable)?;
    let found: Vec<Found> =
        driver.iter().flat_map(|driver| gpus.iter().map(|gpu| Found::gpu(driver, gpu))).collect();
    Ok(if found.is_empty() { vec![Found::cpu()] } else { found })
}

/// All GPUs, numbered as CUDA numbers them.
///
/// # Errors
///
/// [`GpuError`] without a driver, or when it refuses.
pub(super) fn list_gpus() -> Result<Gpus, GpuError> {
    let driver = Driver::load()?;
    let gpus = as_cuda_numbers_them(driver.gpus()?)?;
    Ok(Gpus { driver, gpus })
}

#[cfg(feature = "cuda")]
fn as_cuda_numbers_them(gpus: Vec<Gpu>) -> Result<Vec<Gpu>, GpuError> {
    if let Some(reason) = crate::asr::missing_cuda_library() {
        return Err(GpuError::LibraryMissing { reason });
    }
    Ok(crate::gpu::numbered(gpus, &crate::gpu::cuda_uuids()?))
}

#[cfg(not(feature = "cuda"))]
#[expect(clippy::unnecessary_wraps, reason = "a build for GPUs has to ask, and may get no answer")]
fn as_cuda_numbers_them(gpus: Vec<Gpu>) -> Result<Vec<Gpu>, GpuError> {
    let variable = std::env::var_os("CUDA_VISIBLE_DEVICES").map(|value| value.to_string_lossy().into_owned());
    Ok(crate::gpu::visible(gpus, variable.as_deref()))
}

/// Whether this build runs on that GPU, under the driver that is here.
pub(super) fn can_use(gpu: &Gpu, build: Option<&CudaBuild>) -> Result<(), GpuError> {
    let Some(build) = build else { return Ok(()) };
    build.runs_on(gpu, Driver::load().ok().and_then(|driver| driver.cuda_version()))
}

/// What is to stay untouched: what was asked for, else what is usual.
pub(super) fn reserve(asked: Option<Bytes>, kind: DeviceKind, total: Bytes) -> Bytes {
    asked.unwrap_or_else(|| default_reserve(kind, total))
}

/// One GPU for people.
pub(super) fn describe(gpu: &Gpu) -> String {
    let Gpu { index, uuid, name, memory, mig, .. } = gpu;
    match mig {
        Mig::Off => format!("cuda:{index} {name}, {} free of {} ({uuid})", memory.free, memory.total),
        Mig::Split => format!("cuda:{index} {name}, split by MIG ({uuid})"),
        Mig::Instance => {
            format!("{uuid}, a part of cuda:{index}, {} free of {}", memory.free, memory.total)
        }
    }
}

/// The GPUs that were asked for; none for the CPU. GPUs are looked for only where one may be of use.
///
/// Where nobody asked for a certain one, those that this build cannot use are passed over, and the CPU decodes if none is
/// left: that is told, because it is slow.
fn pick(
    selector: &DeviceSelector,
    decodes_on: DeviceKind,
    gpus: impl FnOnce() -> Result<Vec<Gpu>, GpuError>,
    usable: impl Fn(&Gpu) -> Result<(), GpuError>,
) -> Result<Vec<Gpu>, Failure> {
    match (decodes_on, selector) {
        (_, DeviceSelector::Cpu) | (DeviceKind::Cpu, DeviceSelector::Auto) => Ok(Vec::new()),
        (DeviceKind::Cpu, wanted) => Err(of_no_use(wanted, &gpus().unwrap_or_default())),
        (DeviceKind::Cuda, DeviceSelector::Auto) => match gpus().and_then(|gpus| those_of_use(gpus, &usable))
        {
            Ok(gpus) => Ok(chosen(&gpus, selector)?),
            Err(error) => {
                decode_on_the_cpu(&error);
                Ok(Vec::new())
            }
        },
        (DeviceKind::Cuda, DeviceSelector::All) => Ok(chosen(&those_of_use(gpus()?, &usable)?, selector)?),
        (DeviceKind::Cuda, DeviceSelector::Gpus(_)) => {
            let gpus = chosen(&gpus()?, selector)?;
            gpus.iter().try_for_each(usable)?;
            Ok(gpus)
        }
    }
}

fn chosen(gpus: &[Gpu], selector: &DeviceSelector) -> Result<Vec<Gpu>, GpuError> {
    Ok(choose(gpus, selector)?.into_iter().cloned().collect())
}

/// Those that this build can use. Where it can use none of several, the reason is that of the first.
fn those_of_use(gpus: Vec<Gpu>, usable: impl Fn(&Gpu) -> Result<(), GpuError>) -> Result<Vec<Gpu>, GpuError> {
    let mut first = None;
    let of_use = gpus.into_iter().filter(|gpu| match usable(gpu) {
        Ok(()) => true,
        Err(error) => {
            warn!(%error, "gpu passed over");
            first.get_or_insert(error);
            false
        }
    });
    let of_use: Vec<Gpu> = of_use.collect();
    match first {
        Some(error) if of_use.is_empty() => Err(error),
        _ => Ok(of_use),
    }
}

fn decode_on_the_cpu(error: &GpuError) {
    match error {
        GpuError::NoDriver { reason } => info!(reason, "no NVIDIA driver here: the CPU decodes"),
        error => {
            let hint = error.hint().unwrap_or_default();
            warn!(code = error.code(), %error, hint, "the GPU cannot be used: the CPU decodes, which is many times slower");
        }
    }
}

fn of_no_use(wanted: &DeviceSelector, gpus: &[Gpu]) -> Failure {
    let found: Vec<String> = gpus.iter().map(describe).collect();
    let found = if found.is_empty() { "no NVIDIA GPU was found".into() } else { found.join("; ") };
    Failure::unavailable(
        format!("this build decodes on the CPU and cannot use the device {wanted} ({found})"),
        "build one for GPUs with `make build-cuda`; or use --device cpu, or leave it out",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{Capability, DeviceMemory};

    fn gpu(index: u32) -> Gpu {
        let memory = DeviceMemory { total: Bytes::mib(81_920), free: Bytes::mib(80_000 + u64::from(index)) };
        let (uuid, name) = (format!("GPU-{index}"), "NVIDIA H100".into());
        Gpu { index, uuid, name, memory, mig: Mig::Off, capability: Some(Capability { major: 9, minor: 0 }) }
    }

    /// Picks among two GPUs, of which this build can use those numbers.
    fn picked_of_use(selector: &str, decodes_on: DeviceKind, of_use: &[u32]) -> Result<String, String> {
        let missing = || GpuError::LibraryMissing { reason: "as scripted".into() };
        let usable = |gpu: &Gpu| of_use.contains(&gpu.index).then_some(()).ok_or_else(missing);
        let gpus = pick(&selector.parse().unwrap(), decodes_on, || Ok(vec![gpu(0), gpu(1)]), usable);
        let names = |gpus: Vec<Gpu>| gpus.iter().map(|gpu| gpu.uuid.clone()).collect::<Vec<_>>().join(" ");
        gpus.map(names).map_err(|failure| failure.to_string())
    }

    fn picked(selector: &str, decodes_on: DeviceKind) -> Result<String, String> {
        picked_of_use(selector, decodes_on, &[0, 1])
    }

    #[test]
    fn a_build_for_the_cpu_refuses_gpus_and_names_those_it_found() {
        for selector in ["auto", "cpu"] {
            assert_eq!(picked(selector, DeviceKind::Cpu), Ok(String::new()));
        }
        let refusal = picked("cuda:1", DeviceKind::Cpu).unwrap_err();
        assert!(refusal.contains("cannot use the device cuda:1 (cuda:0 NVIDIA H100"), "{refusal}");
        let nothing = pick(&"cuda:0".parse().unwrap(), DeviceKind::Cpu, || Ok(Vec::new()), |_| Ok(()));
        let nothing = nothing.unwrap_err().to_string();
        assert!(nothing.contains("no NVIDIA GPU was found"), "{nothing}");
    }

    #[test]
    fn a_build_for_gpus_takes_those_that_were_asked_for() {
        let cases = [
            ("auto", "GPU-1"),
            ("cuda:0", "GPU-0"),
            ("cpu", ""),
            ("all", "GPU-0 GPU-1"),
            ("cuda:1,cuda:0", "GPU-1 GPU-0"),
        ];
        for (selector, expected) in cases {
            assert_eq!(picked(selector, DeviceKind::Cuda), Ok(expected.into()), "{selector}");
        }
        assert!(picked("cuda:2", DeviceKind::Cuda).is_err());
    }

    #[test]
    fn a_gpu_that_this_build_cannot_use_is_passed_over_unless_it_was_named() {
        let of_use = |selector, numbers| picked_of_use(selector, DeviceKind::Cuda, numbers);
        assert_eq!(of_use("auto", &[0]), Ok("GPU-0".into()));
        assert_eq!(of_use("auto", &[]), Ok(String::new()), "the CPU decodes then");
        assert_eq!(of_use("all", &[1]), Ok("GPU-1".into()));
        for (selector, numbers) in [("all", &[][..]), ("cuda:0", &[1]), ("cuda:0,cuda:1", &[1])] {
            let refusal = of_use(selector, numbers).unwrap_err();
            assert!(refusal.contains("a library of CUDA is missing"), "{selector}: {refusal}");
        }
    }

    #[test]
    fn without_a_driver_a_build_for_gpus_falls_back_to_the_cpu_only_where_nobody_asked() {
        let without = |selector: &str| {
            let driver = || Err(GpuError::NoDriver { reason: "as scripted".into() });
            pick(&selector.parse().unwrap(), DeviceKind::Cuda, driver, |_| Ok(()))
        };
        assert_eq!(without("auto").unwrap(), Vec::new());
        for selector in ["cuda:0", "all"] {
            let refusal = without(selector).unwrap_err().to_string();
            assert!(refusal.contains("no NVIDIA driver"), "{selector}: {refusal}");
        }
    }
}
