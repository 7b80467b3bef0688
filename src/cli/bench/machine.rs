//! What the device is, as far as it tells.

use super::figures::DeviceFigures;
use super::stand::Workshop;
use crate::cli::assembly::off_the_runtime;
use crate::cli::device::list_gpus;
use crate::cli::doctor::cpu_features;
use crate::cli::sizing::cores;
use crate::gpu::{GpuError, GpuFacts};

/// Describes the workshop's device. What a driver does not tell is left out.
///
/// # Errors
///
/// When the memory cannot be read.
pub(super) async fn describe(workshop: &Workshop) -> anyhow::Result<DeviceFigures> {
    let info = workshop.found.device.info.clone();
    let probe = std::sync::Arc::clone(&workshop.found.device.probe);
    let uuid = info.uuid.clone();
    let look = move || -> Result<_, GpuError> {
        let facts = uuid.map(|uuid| list_gpus().and_then(|listed| listed.driver.facts(&uuid)));
        Ok((probe.memory()?, facts.and_then(Result::ok).unwrap_or_default()))
    };
    let (memory, facts) = off_the_runtime(look).await?;
    let GpuFacts { driver, cuda, compute_capability, power_limit_watts, sm_clock_mhz, memory_clock_mhz } =
        facts;
    let features = cpu_features().into_iter().filter_map(|(name, has)| has.then_some(name));
    Ok(DeviceFigures {
        kind: info.kind.as_str().into(),
        name: info.name,
        uuid: info.uuid,
        memory_bytes: memory.total.0,
        cores: cores(),
        cpu_features: features.collect::<Vec<_>>().join(" "),
        driver,
        cuda,
        compute_capability,
        power_limit_watts,
        sm_clock_mhz,
        memory_clock_mhz,
    })
}
