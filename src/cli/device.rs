//! Which device decodes, and what there is besides.

use super::failure::Failure;
use crate::asr::Device;
use crate::gpu::{
    Bytes, DeviceKind, DeviceSelector, Driver, Gpu, GpuError, HostProbe, Mig, choose, default_reserve,
    visible,
};
use std::sync::Arc;

/// What the engine of this build decodes on. The one place that a build with another engine has to change.
pub(super) const fn build_decodes_on() -> DeviceKind {
    DeviceKind::Cpu
}

/// The device that was asked for.
///
/// # Errors
///
/// A [`Failure`] when it is not there, or of no use to this build.
pub(super) fn find(selector: &DeviceSelector) -> Result<Device, Failure> {
    let mut driver = None;
    let listed = || {
        let (loaded, gpus) = list_gpus()?;
        driver = Some(loaded);
        Ok(gpus)
    };
    let gpu = pick(selector, build_decodes_on(), listed)?;
    Ok(match (gpu, driver) {
        (Some(gpu), Some(driver)) => Device { info: gpu.info(), probe: Arc::new(driver.probe(&gpu)) },
        _ => Device { info: HostProbe::info(), probe: Arc::new(HostProbe::new()) },
    })
}

/// All GPUs, numbered as CUDA numbers them.
///
/// # Errors
///
/// [`GpuError`] without a driver, or when it refuses.
pub(super) fn list_gpus() -> Result<(Driver, Vec<Gpu>), GpuError> {
    let driver = Driver::load()?;
    let gpus = driver.gpus()?;
    let variable = std::env::var_os("CUDA_VISIBLE_DEVICES").map(|value| value.to_string_lossy().into_owned());
    Ok((driver, visible(gpus, variable.as_deref())))
}

/// What is to stay untouched: what was asked for, else what is usual.
pub(super) fn reserve(asked: Option<Bytes>, kind: DeviceKind, total: Bytes) -> Bytes {
    asked.unwrap_or_else(|| default_reserve(kind, total))
}

/// One GPU for people.
pub(super) fn describe(gpu: &Gpu) -> String {
    let Gpu { index, uuid, name, memory, mig } = gpu;
    match mig {
        Mig::Off => format!("cuda:{index} {name}, {} free of {} ({uuid})", memory.free, memory.total),
        Mig::Split => format!("cuda:{index} {name}, split by MIG ({uuid})"),
        Mig::Instance => {
            format!("{uuid}, a part of cuda:{index}, {} free of {}", memory.free, memory.total)
        }
    }
}

/// The GPU that was asked for; none for the CPU. GPUs are looked for only where one may be of use.
fn pick(
    selector: &DeviceSelector,
    decodes_on: DeviceKind,
    gpus: impl FnOnce() -> Result<Vec<Gpu>, GpuError>,
) -> Result<Option<Gpu>, Failure> {
    match (decodes_on, selector) {
        (_, DeviceSelector::Cpu) | (DeviceKind::Cpu, DeviceSelector::Auto) => Ok(None),
        (DeviceKind::Cpu, wanted) => Err(of_no_use(wanted, &gpus().unwrap_or_default())),
        (DeviceKind::Cuda, wanted) => {
            let gpus = match (wanted, gpus()) {
                (DeviceSelector::Auto, Err(GpuError::NoDriver { .. })) => return Ok(None),
                (_, gpus) => gpus?,
            };
            Ok(choose(&gpus, wanted)?.cloned())
        }
    }
}

fn of_no_use(wanted: &DeviceSelector, gpus: &[Gpu]) -> Failure {
    let found: Vec<String> = gpus.iter().map(describe).collect();
    let found = if found.is_empty() { "no NVIDIA GPU was found".into() } else { found.join("; ") };
    Failure::unavailable(
        format!("this build decodes on the CPU and cannot use the device {wanted} ({found})"),
        "use --device cpu, or leave it out",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::DeviceMemory;

    fn gpu(index: u32) -> Gpu {
        let memory = DeviceMemory { total: Bytes::mib(81_920), free: Bytes::mib(80_000) };
        Gpu { index, uuid: format!("GPU-{index}"), name: "NVIDIA H100".into(), memory, mig: Mig::Off }
    }

    fn picked(selector: &str, decodes_on: DeviceKind) -> Result<Option<String>, String> {
        let gpu = pick(&selector.parse().unwrap(), decodes_on, || Ok(vec![gpu(0), gpu(1)]));
        gpu.map(|gpu| gpu.map(|gpu| gpu.uuid)).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_build_for_the_cpu_refuses_gpus_and_names_those_it_found() {
        for selector in ["auto", "cpu"] {
            assert_eq!(picked(selector, DeviceKind::Cpu), Ok(None));
        }
        let refusal = picked("cuda:1", DeviceKind::Cpu).unwrap_err();
        assert!(refusal.contains("cannot use the device cuda:1 (cuda:0 NVIDIA H100"), "{refusal}");
        let nothing = pick(&DeviceSelector::Cuda(0), DeviceKind::Cpu, || Ok(Vec::new())).unwrap_err();
        assert!(nothing.to_string().contains("no NVIDIA GPU was found"), "{nothing}");
    }

    #[test]
    fn a_build_for_gpus_takes_the_one_that_was_asked_for() {
        assert_eq!(picked("auto", DeviceKind::Cuda), Ok(Some("GPU-0".into())));
        assert_eq!(picked("cuda:1", DeviceKind::Cuda), Ok(Some("GPU-1".into())));
        assert_eq!(picked("cpu", DeviceKind::Cuda), Ok(None));
        assert!(picked("cuda:2", DeviceKind::Cuda).is_err());
    }

    #[test]
    fn without_a_driver_a_build_for_gpus_falls_back_to_the_cpu_only_where_nobody_asked() {
        let without = |selector: &DeviceSelector| {
            let driver = || Err(GpuError::NoDriver { reason: "as scripted".into() });
            pick(selector, DeviceKind::Cuda, driver)
        };
        assert_eq!(without(&DeviceSelector::Auto).unwrap(), None);
        assert!(without(&DeviceSelector::Cuda(0)).unwrap_err().to_string().contains("no NVIDIA driver"));
    }
}
