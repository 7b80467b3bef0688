//! What the pool could carry, and what is wrong with it now.

use super::settings::Device;
use crate::gpu::{Bytes, DeviceInfo, DeviceMemory, Sizing};
use tracing::{info, warn};

/// What carries the pool, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capacity {
    /// Each device, of which there is one at least.
    pub sites: Vec<SiteCapacity>,
}

impl Capacity {
    /// How many slots there may be on all devices, and why.
    pub fn sizing(&self) -> Sizing {
        Sizing::together(&self.sites.iter().map(|site| site.sizing).collect::<Vec<_>>())
    }

    /// The memory of all devices, as it was read last.
    pub fn memory(&self) -> DeviceMemory {
        let sum = |what: fn(&SiteCapacity) -> Bytes| self.sites.iter().map(what).fold(Bytes(0), Bytes::and);
        DeviceMemory { total: sum(|site| site.memory.total), free: sum(|site| site.memory.free) }
    }

    /// What is wrong anywhere.
    pub fn alerts(&self) -> Alerts {
        let any = |alert: fn(&Alerts) -> bool| self.sites.iter().any(|site| alert(&site.alerts));
        Alerts {
            capacity_lost: any(|alerts| alerts.capacity_lost),
            memory_low: any(|alerts| alerts.memory_low),
        }
    }

    /// What the devices are called, together: `2 × NVIDIA H200`, or one name after another.
    pub fn device_names(&self) -> String {
        let names: Vec<&str> = self.sites.iter().map(|site| site.device.name.as_str()).collect();
        match names.as_slice() {
            [name] => (*name).into(),
            [name, others @ ..] if others.iter().all(|other| other == name) => {
                format!("{} × {name}", names.len())
            }
            _ => names.join(", "),
        }
    }
}

/// What carries the slots of one device, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteCapacity {
    /// The device.
    pub device: DeviceInfo,
    /// Its memory, as it was read last.
    pub memory: DeviceMemory,
    /// How many slots there may be, and why.
    pub sizing: Sizing,
    /// What somebody should look into.
    pub alerts: Alerts,
}

/// What somebody should look into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Alerts {
    /// A slot failed to open twice or more and is still out, or there are fewer slots than the pool was sized for.
    pub capacity_lost: bool,
    /// Less than the reserve is free.
    pub memory_low: bool,
}

impl SiteCapacity {
    pub(super) fn new(device: &Device, sizing: Sizing) -> Self {
        Self { device: device.info.clone(), memory: sizing.memory, sizing, alerts: Alerts::default() }
    }

    /// Takes a new reading of the memory.
    ///
    /// The alert goes off a little above where it went on: memory that wavers around the reserve is one event, not many.
    pub(super) fn read(&mut self, memory: DeviceMemory) {
        self.memory = memory;
        let Sizing { reserve, footprint, .. } = self.sizing;
        let margin = if self.alerts.memory_low { Bytes(footprint.slot.0 / 4) } else { Bytes(0) };
        let memory_low = memory.free < reserve.and(margin);
        if memory_low != self.alerts.memory_low {
            self.alerts.memory_low = memory_low;
            let DeviceMemory { free, total } = memory;
            if memory_low {
                warn!(%free, %reserve, %total, "alert: memory is low");
            } else {
                info!(%free, %reserve, "alert over: memory is low");
            }
        }
    }

    /// Takes note of `slots` that the pool has, of which so many failed to open again and again.
    pub(super) fn count(&mut self, slots: usize, stay_out: usize) {
        let sized = usize::from(self.sizing.slots);
        let capacity_lost = stay_out > 0 || slots < sized;
        if capacity_lost != self.alerts.capacity_lost {
            self.alerts.capacity_lost = capacity_lost;
            if capacity_lost {
                warn!(slots, sized, stay_out, "alert: capacity is lost");
            } else {
                info!(slots, sized, "alert over: capacity is lost");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asr::fake;
    use crate::gpu::{Footprint, Loaded, MemoryBudget};
    use std::num::NonZeroU16;

    /// Four slots of 100 MiB, with 1000 MiB in reserve.
    fn capacity() -> SiteCapacity {
        let footprint = Footprint { weights: Bytes(0), slot: Bytes::mib(100) };
        let budget = MemoryBudget::up_to(NonZeroU16::new(4).unwrap(), Bytes::mib(1_000));
        let sizing = budget.size(free(9_000), footprint, Loaded::Nothing).unwrap();
        SiteCapacity::new(&fake::boundless(), sizing)
    }

    fn free(mib: u64) -> DeviceMemory {
        DeviceMemory { total: Bytes::mib(10_000), free: Bytes::mib(mib) }
    }

    #[test]
    fn several_devices_carry_one_pool() {
        let mut pressed = capacity();
        pressed.read(free(1));
        let pool = Capacity { sites: vec![capacity(), pressed] };
        assert_eq!((pool.sizing().slots, pool.memory().free), (8, Bytes::mib(9_001)));
        assert_eq!(pool.alerts(), Alerts { memory_low: true, capacity_lost: false });
        assert_eq!(pool.device_names(), "2 × unmeasured");
        let mut other = pool.clone();
        other.sites[1].device.name = "NVIDIA Test".into();
        assert_eq!(other.device_names(), "unmeasured, NVIDIA Test");
    }

    #[test]
    fn memory_that_wavers_around_the_reserve_is_one_alert() {
        let mut capacity = capacity();
        let told = [1_000, 999, 1_000, 1_024, 999, 1_025, 1_000].map(|mib| {
            capacity.read(free(mib));
            capacity.alerts.memory_low
        });
        assert_eq!(told, [false, true, true, true, true, false, false]);
    }

    #[test]
    fn capacity_is_lost_with_a_slot_that_stays_out_or_is_missing() {
        let mut capacity = capacity();
        let told = [(4, 0), (4, 1), (4, 0), (3, 0), (5, 0)].map(|(slots, stay_out)| {
            capacity.count(slots, stay_out);
            capacity.alerts.capacity_lost
        });
        assert_eq!(told, [false, true, false, true, false]);
    }
}
