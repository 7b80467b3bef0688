//! How many slots a device carries: `min(fits, knee, max_slots)`. Pure: memory and measurements are handed in.

use super::{Bytes, DeviceKind, DeviceMemory, Footprint};
use std::fmt;
use std::num::NonZeroU16;

/// What a slot is counted as when it was measured as less: the operating system counts in pages, and an allocator may
/// serve a whole state out of what it kept. No Whisper state is smaller.
const SMALLEST_SLOT: Bytes = Bytes::mib(1);

/// The memory that stays untouched unless the user says otherwise: a twentieth, and not too little.
///
/// ggml ends the process when its CUDA pool cannot grow, so this is a safety limit and not a tuning knob. A host is
/// more forgiving, but its other programs need memory, too.
pub fn default_reserve(kind: DeviceKind, total: Bytes) -> Bytes {
    let least = match kind {
        DeviceKind::Cpu => Bytes::mib(256),
        DeviceKind::Cuda => Bytes::mib(512),
    };
    least.max(Bytes(total.0 / 20))
}

/// The terms that bound the number of slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryBudget {
    reserve: Bytes,
    knee: Option<u16>,
    max_slots: NonZeroU16,
}

/// Which term binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Binding {
    /// The memory: more would not fit.
    Fits,
    /// The device: more would only slow each other down.
    Knee,
    /// The user: more were not asked for.
    MaxSlots,
}

impl Binding {
    /// As `/pool` spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fits => "fits",
            Self::Knee => "knee",
            Self::MaxSlots => "max_slots",
        }
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What of the model is already in the memory that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loaded {
    /// Nothing: the footprint is an estimate.
    Nothing,
    /// The weights, and so many slots.
    Weights {
        /// Slots that are open, or being opened.
        slots: u16,
    },
}

impl Loaded {
    /// How much of what is taken is ours.
    fn taken(self, footprint: Footprint) -> Bytes {
        match self {
            Self::Nothing => Bytes(0),
            Self::Weights { slots } => footprint.weights.and(footprint.slot.times(slots)),
        }
    }
}

/// Why there is no pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BudgetError {
    /// Not even one slot fits.
    #[error(
        "model needs {needs} for weights and one slot, {left} is left for it: {free} free less a reserve of {reserve}"
    )]
    DoesNotFit {
        /// Weights and one slot.
        needs: Bytes,
        /// What it may have.
        left: Bytes,
        /// What would be free if nothing of it was loaded.
        free: Bytes,
        /// What stays untouched.
        reserve: Bytes,
    },
}

impl BudgetError {
    /// The stable name of this error, for logs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::DoesNotFit { .. } => "model_does_not_fit",
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::DoesNotFit { .. } => {
                "choose a smaller model, or lower `gpu.reserve_mib` if nothing else uses this device"
            }
        }
    }
}

impl MemoryBudget {
    /// As many slots as fit, up to `max_slots`. The knee is added when it is known.
    pub fn up_to(max_slots: NonZeroU16, reserve: Bytes) -> Self {
        Self { reserve, knee: None, max_slots }
    }

    /// Stops where more slots would only slow each other down. Leave it out where the user asked for a number of slots.
    pub fn with_knee(self, knee: u16) -> Self {
        Self { knee: Some(knee.max(1)), ..self }
    }

    /// Not more than so many slots, whatever was allowed before.
    pub fn at_most(self, max_slots: NonZeroU16) -> Self {
        Self { max_slots, ..self }
    }

    /// What stays untouched.
    pub fn reserve(&self) -> Bytes {
        self.reserve
    }

    /// How many slots there may be in all, those that are open included.
    ///
    /// `memory` was read while `loaded` was in it, so the answer is the same before the weights are loaded and while
    /// the slots grow, as long as the footprint is right.
    ///
    /// # Errors
    ///
    /// [`BudgetError::DoesNotFit`] when not even one fits without touching the reserve.
    pub fn size(
        &self,
        memory: DeviceMemory,
        footprint: Footprint,
        loaded: Loaded,
    ) -> Result<Sizing, BudgetError> {
        let footprint = Footprint { slot: footprint.slot.max(SMALLEST_SLOT), ..footprint };
        let free = memory.free.and(loaded.taken(footprint));
        let fits = self.slots_that_fit(free, footprint)?;
        let (slots, binding) = self.least(fits);
        let Self { reserve, knee, max_slots } = *self;
        Ok(Sizing { fits, knee, max_slots: max_slots.get(), binding, slots, footprint, reserve, memory })
    }

    /// How many slots fit into `free` beside the weights.
    fn slots_that_fit(&self, free: Bytes, footprint: Footprint) -> Result<u16, BudgetError> {
        let left = free.since(self.reserve);
        let fits = left.since(footprint.weights).0 / footprint.slot.0;
        if fits == 0 {
            let needs = footprint.weights.and(footprint.slot);
            return Err(BudgetError::DoesNotFit { needs, left, free, reserve: self.reserve });
        }
        Ok(u16::try_from(fits).unwrap_or(u16::MAX))
    }

    /// The least of the terms, and which it is. Who gets all that was asked for hears nothing of memory.
    fn least(&self, fits: u16) -> (u16, Binding) {
        let terms = [
            Some((self.max_slots.get(), Binding::MaxSlots)),
            self.knee.map(|knee| (knee, Binding::Knee)),
            Some((fits, Binding::Fits)),
        ];
        let least = terms.into_iter().flatten().min_by_key(|(slots, _)| *slots);
        least.expect("two of the terms are always there")
    }
}

/// How many slots there may be, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizing {
    /// How many the memory carries.
    pub fits: u16,
    /// How many are of use, if that was measured.
    pub knee: Option<u16>,
    /// How many were asked for, or allowed.
    pub max_slots: u16,
    /// Which of these three binds.
    pub binding: Binding,
    /// The least of them, 1 or more.
    pub slots: u16,
    /// What the model needs.
    pub footprint: Footprint,
    /// What stays untouched.
    pub reserve: Bytes,
    /// What the device said.
    pub memory: DeviceMemory,
}

impl Sizing {
    /// Of several devices together, of which there is one at least. What a slot needs is the most that one needs; what
    /// binds is the memory if it binds anywhere, else the knee.
    pub fn together(sizings: &[Self]) -> Self {
        let sum = |what: fn(&Self) -> Bytes| sizings.iter().map(what).fold(Bytes(0), Bytes::and);
        let count = |what: fn(&Self) -> u16| sizings.iter().map(what).fold(0, u16::saturating_add);
        let knees: Option<Vec<u16>> = sizings.iter().map(|sizing| sizing.knee).collect();
        let binds = |binding| sizings.iter().any(|sizing| sizing.binding == binding);
        let bindings = [Binding::Fits, Binding::Knee, Binding::MaxSlots];
        Self {
            fits: count(|sizing| sizing.fits),
            knee: knees.map(|knees| knees.into_iter().fold(0, u16::saturating_add)),
            max_slots: count(|sizing| sizing.max_slots),
            binding: bindings.into_iter().find(|binding| binds(*binding)).unwrap_or(Binding::MaxSlots),
            slots: count(|sizing| sizing.slots),
            footprint: Footprint {
                weights: sum(|sizing| sizing.footprint.weights),
                slot: sizings.iter().map(|sizing| sizing.footprint.slot).max().unwrap_or_default(),
            },
            reserve: sum(|sizing| sizing.reserve),
            memory: DeviceMemory {
                total: sum(|sizing| sizing.memory.total),
                free: sum(|sizing| sizing.memory.free),
            },
        }
    }
}

impl fmt::Display for Sizing {
    /// One line for the log of the start-up.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fits, max_slots, binding, slots, footprint, reserve, memory, .. } = self;
        let knee = self.knee.map_or("unknown".into(), |knee| knee.to_string());
        write!(f, "{slots} slots, bound by {binding} (fits {fits}, knee {knee}, max_slots {max_slots}): ")?;
        write!(f, "{} total, {} free, {reserve} reserve, ", memory.total, memory.free)?;
        write!(f, "{} weights, {} per slot", footprint.weights, footprint.slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn memory(free: u64) -> DeviceMemory {
        DeviceMemory { total: Bytes::mib(24_000), free: Bytes::mib(free) }
    }

    fn footprint(weights: u64, slot: u64) -> Footprint {
        Footprint { weights: Bytes::mib(weights), slot: Bytes::mib(slot) }
    }

    fn budget(max_slots: u16, reserve: u64) -> MemoryBudget {
        MemoryBudget::up_to(NonZeroU16::new(max_slots).unwrap(), Bytes::mib(reserve))
    }

    #[test]
    fn the_least_term_binds() {
        // (free, knee, max_slots) with 1000 MiB of weights, 300 per slot and 1000 in reserve.
        let cases = [
            ((5_000, None, 16), (10, 10, Binding::Fits)),
            ((5_000, Some(4), 16), (10, 4, Binding::Knee)),
            ((5_000, Some(4), 2), (10, 2, Binding::MaxSlots)),
            ((2_300, Some(4), 2), (1, 1, Binding::Fits)),
            ((5_000, Some(10), 10), (10, 10, Binding::MaxSlots)),
            ((5_000, Some(10), 11), (10, 10, Binding::Knee)),
            ((5_000, Some(0), 11), (10, 1, Binding::Knee)),
        ];
        for ((free, knee, max_slots), expected) in cases {
            let budget = budget(max_slots, 1_000);
            let budget = knee.map_or(budget, |knee| budget.with_knee(knee));
            let sizing = budget.size(memory(free), footprint(1_000, 300), Loaded::Nothing).unwrap();
            assert_eq!((sizing.fits, sizing.slots, sizing.binding), expected, "{free} {knee:?} {max_slots}");
        }
    }

    #[test]
    fn what_is_already_loaded_is_not_asked_for_twice() {
        let total =
            |free, loaded| budget(99, 1_000).size(memory(free), footprint(1_000, 300), loaded).unwrap().fits;
        assert_eq!(total(5_000, Loaded::Nothing), 10);
        assert_eq!(total(4_000, Loaded::Weights { slots: 0 }), 10);
        assert_eq!(total(3_700, Loaded::Weights { slots: 1 }), 10);
        assert_eq!(total(1_000, Loaded::Weights { slots: 10 }), 10);
        // Somebody else took 400 MiB meanwhile: two of the open slots sit in the reserve.
        assert_eq!(total(600, Loaded::Weights { slots: 10 }), 8);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_numbers() {
        let error = budget(4, 1_024).size(memory(4_096), footprint(3_772, 200), Loaded::Nothing).unwrap_err();
        assert_eq!(
            error.to_string(),
            "model needs 3972.0 MiB for weights and one slot, 3072.0 MiB is left for it: 4096.0 MiB free less a \
             reserve of 1024.0 MiB"
        );
        // Loaded or not, it is the same model on the same device.
        let loaded = Loaded::Weights { slots: 1 };
        assert_eq!(budget(4, 1_024).size(memory(124), footprint(3_772, 200), loaded).unwrap_err(), error);
    }

    #[test]
    fn a_slot_too_small_to_be_measured_is_counted_all_the_same() {
        let sizing = budget(16, 100).size(memory(200), footprint(0, 0), Loaded::Nothing).unwrap();
        assert_eq!((sizing.fits, sizing.slots, sizing.binding), (100, 16, Binding::MaxSlots));
        assert_eq!(
            budget(16, 200).size(memory(200), footprint(0, 0), Loaded::Nothing).unwrap_err().code(),
            "model_does_not_fit"
        );
    }

    #[test]
    fn the_reserve_grows_with_the_device_and_is_never_small() {
        let reserve = |kind, total| default_reserve(kind, Bytes::mib(total));
        assert_eq!(reserve(DeviceKind::Cuda, 8_000), Bytes::mib(512));
        assert_eq!(reserve(DeviceKind::Cuda, 80_000), Bytes::mib(4_000));
        assert_eq!(reserve(DeviceKind::Cpu, 2_000), Bytes::mib(256));
        assert_eq!(reserve(DeviceKind::Cpu, 64_000), Bytes::mib(3_200));
    }

    #[test]
    fn several_devices_are_sized_together() {
        let size = |free, max_slots| {
            budget(max_slots, 1_000).size(memory(free), footprint(1_000, 300), Loaded::Nothing).unwrap()
        };
        let together = Sizing::together(&[size(5_000, 4), size(2_600, 4)]);
        assert_eq!((together.slots, together.fits, together.max_slots), (6, 12, 8));
        assert_eq!((together.binding, together.knee), (Binding::Fits, None));
        assert_eq!(together.footprint, footprint(2_000, 300));
        assert_eq!((together.memory.free, together.reserve), (Bytes::mib(7_600), Bytes::mib(2_000)));
        let one = size(5_000, 4);
        assert_eq!(Sizing::together(&[one]), one);
    }

    #[test]
    fn what_only_the_first_slot_takes_is_paid_once() {
        let measured = footprint(1_000, 700);
        assert_eq!(measured.with_second(Bytes::mib(300)), footprint(1_400, 300));
        // One that takes more than the first is believed: a slot needs that much.
        assert_eq!(measured.with_second(Bytes::mib(800)), footprint(1_000, 800));
        // Seven slots fit where two would, if each cost what the first one did.
        let fits = |footprint| {
            budget(99, 500).size(memory(4_000), footprint, Loaded::Nothing).map(|sizing| sizing.fits)
        };
        assert_eq!((fits(measured), fits(measured.with_second(Bytes::mib(300)))), (Ok(3), Ok(7)));
    }

    #[test]
    fn a_sizing_explains_itself_in_one_line() {
        let sizing =
            budget(16, 1_000).with_knee(4).size(memory(5_000), footprint(1_000, 300), Loaded::Nothing);
        assert_eq!(
            sizing.unwrap().to_string(),
            "4 slots, bound by knee (fits 10, knee 4, max_slots 16): 24000.0 MiB total, 5000.0 MiB free, 1000.0 MiB \
             reserve, 1000.0 MiB weights, 300.0 MiB per slot"
        );
    }

    /// What is left of `free` when `slots` slots are open on these weights; `None` when it is less than nothing.
    fn left_over(free: u64, footprint: Footprint, slots: u16) -> Option<u64> {
        free.checked_sub(footprint.weights.0)?.checked_sub(footprint.slot.0 * u64::from(slots))
    }

    proptest! {
        /// Fails when the division rounds up, when the weights are forgotten, or when one more would have fitted.
        #[test]
        fn the_reserve_is_never_touched_and_nothing_is_wasted(
            free in 0_u64..60_000, reserve in 0_u64..5_000, weights in 0_u64..5_000, slot in 1_u64..2_000,
        ) {
            let (footprint, reserve) = (footprint(weights, slot), Bytes::mib(reserve));
            let budget = MemoryBudget::up_to(NonZeroU16::MAX, reserve);
            let fits = budget.size(memory(free), footprint, Loaded::Nothing).map_or(0, |sizing| sizing.fits);
            let left = |slots| left_over(Bytes::mib(free).0, footprint, slots);
            prop_assert!(fits == 0 || left(fits).is_some_and(|left| left >= reserve.0));
            prop_assert!(left(fits + 1).is_none_or(|left| left < reserve.0));
        }

        /// Fails when what is open, or the weights, are counted twice or not at all.
        #[test]
        fn the_answer_does_not_depend_on_how_far_the_start_has_come(
            free in 0_u64..100_000, weights in 0_u64..5_000, slot in 1_u64..2_000, open in 0_u16..50,
        ) {
            let footprint = footprint(weights, slot);
            let Some(later) = left_over(Bytes::mib(free).0, footprint, open) else { return Ok(()) };
            let size = |free, loaded| {
                let memory = DeviceMemory { free, ..memory(0) };
                budget(u16::MAX, 500).size(memory, footprint, loaded).map(|sizing| sizing.slots)
            };
            prop_assert_eq!(size(Bytes::mib(free), Loaded::Nothing), size(Bytes(later), Loaded::Weights { slots: open }));
        }
    }

    #[test]
    fn a_budget_that_rounds_up_would_be_found_out() {
        // The counter-check of the first property: 1000 MiB carry 3 slots of 300 beside a reserve of 100, not 4.
        let footprint = footprint(0, 300);
        assert!(left_over(Bytes::mib(1_000).0, footprint, 3).is_some_and(|left| left >= Bytes::mib(100).0));
        assert!(left_over(Bytes::mib(1_000).0, footprint, 4).is_none_or(|left| left < Bytes::mib(100).0));
    }
}
