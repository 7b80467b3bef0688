//! CUDA's own list of devices. Only which they are: the memory is read through NVML, and whisper.cpp does the rest.

use super::GpuError;
use cudarc::driver::result::{self, DriverError};

/// The UUIDs of the devices that CUDA sees, in its order, as 32 hexadecimal digits each.
///
/// The driver's library must be there: whoever has not made sure of that gets a panic out of the loader.
///
/// # Errors
///
/// [`GpuError::Failed`] when the driver refuses.
pub fn cuda_uuids() -> Result<Vec<String>, GpuError> {
    let failed = |call| move |error: DriverError| GpuError::Failed { call, reason: error.to_string() };
    result::init().map_err(failed("cuInit"))?;
    let count = result::device::get_count().map_err(failed("cuDeviceGetCount"))?;
    (0..count)
        .map(|ordinal| {
            let device = result::device::get(ordinal).map_err(failed("cuDeviceGet"))?;
            let uuid = result::device::get_uuid(device).map_err(failed("cuDeviceGetUuid_v2"))?;
            Ok(format!("{:032x}", u128::from_be_bytes(uuid.bytes.map(|byte| byte as u8))))
        })
        .collect()
}
