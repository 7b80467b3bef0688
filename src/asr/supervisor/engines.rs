//! The engines of several devices as one, and how the numbers of slots are shared out among them.

use crate::asr::{AsrError, Engine, Job};
use crate::gpu::Footprint;
use crate::pool::{Bank, SlotId};
use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::ops::Range;
use std::sync::Arc;

/// The numbers that slots may have: a bank of the same size for each device.
#[derive(Debug, Clone, Copy)]
pub(super) struct Banks {
    /// `None` where there is one device.
    pub(super) size: Option<NonZeroU16>,
    /// The most slots of one device.
    most: u16,
}

impl Banks {
    /// For so many devices, one of which may have all slots there are to be.
    pub(super) fn new(sites: usize, max_slots: u16) -> Self {
        let room = u16::MAX / u16::try_from(sites).unwrap_or(u16::MAX).max(1);
        let most = max_slots.clamp(1, room.max(1));
        Self { size: NonZeroU16::new(most).filter(|_| sites > 1), most }
    }

    /// The numbers of the slots of one device.
    pub(super) fn numbers(self, bank: Bank) -> Range<u16> {
        let first = bank.0 * self.most;
        first..first.saturating_add(self.most)
    }

    /// The device that a slot is on.
    pub(super) fn of(self, slot: SlotId) -> Bank {
        Bank(self.size.map_or(0, |size| slot.0 / size))
    }
}

/// Hands on to the engine whose slot it is.
pub(super) struct Engines {
    engines: BTreeMap<Bank, Arc<dyn Engine>>,
    banks: Banks,
}

impl Engines {
    /// The engines of these devices. Whatever is not among them is let go, with its weights.
    pub(super) fn of(engines: BTreeMap<Bank, Arc<dyn Engine>>, banks: Banks) -> Arc<dyn Engine> {
        match banks.size {
            None => engines.into_values().next().expect("a pool has a device"),
            Some(_) => Arc::new(Self { engines, banks }),
        }
    }

    fn of_slot(&self, slot: SlotId) -> &dyn Engine {
        let engine = self.engines.get(&self.banks.of(slot));
        &**engine.expect("slots have numbers of banks that there are")
    }
}

impl Engine for Engines {
    fn open(&self, slot: SlotId) -> Result<Footprint, AsrError> {
        self.of_slot(slot).open(slot)
    }

    fn submit(&self, job: Job) {
        self.of_slot(job.lease.slot()).submit(job);
    }

    fn abandon(&self, slot: SlotId) {
        self.of_slot(slot).abandon(slot);
    }

    fn close(&self, slot: SlotId) {
        self.of_slot(slot).close(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_device_has_numbers_of_its_own() {
        let banks = Banks::new(2, 16);
        assert_eq!((banks.numbers(Bank(0)), banks.numbers(Bank(1))), (0..16, 16..32));
        assert_eq!((banks.of(SlotId(15)), banks.of(SlotId(16))), (Bank(0), Bank(1)));
        let one = Banks::new(1, 16);
        assert_eq!((one.size, one.numbers(Bank(0)), one.of(SlotId(40))), (None, 0..16, Bank(0)));
        let huge = Banks::new(4, u16::MAX);
        assert_eq!(huge.numbers(Bank(3)).end, 4 * (u16::MAX / 4));
    }
}
