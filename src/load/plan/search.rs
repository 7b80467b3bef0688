//! The fewest slots and the most people, by bisection over simulations.

use super::device::Device;
use super::figures::Figures;
use std::collections::BTreeMap;

/// No device is planned for more people.
pub(super) const MOST_PEOPLE: u32 = 100_000;

/// A simulation is about to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimulationStep {
    /// So many came before.
    pub done: usize,
    /// So many people.
    pub people: u32,
    /// On so many slots.
    pub slots: u16,
}

/// Simulations of one device, each done once.
pub(super) struct Search<'a> {
    device: Device<'a>,
    target_ms: f64,
    known: BTreeMap<(u32, u16), Figures>,
    progress: &'a mut dyn FnMut(SimulationStep),
}

impl<'a> Search<'a> {
    pub(super) fn new(
        device: Device<'a>,
        target_ms: f64,
        progress: &'a mut dyn FnMut(SimulationStep),
    ) -> Self {
        Self { device, target_ms, known: BTreeMap::new(), progress }
    }

    pub(super) fn device(&self) -> &Device<'a> {
        &self.device
    }

    pub(super) fn target_ms(&self) -> f64 {
        self.target_ms
    }

    /// So many people on so many slots; `None` when they bring more work than the slots can do.
    pub(super) fn figures(&mut self, people: u32, slots: u16) -> Option<&Figures> {
        if self.device.load(people, slots) >= 1.0 {
            return None;
        }
        let step = SimulationStep { done: self.known.len(), people, slots };
        let Self { device, known, progress, .. } = self;
        Some(known.entry((people, slots)).or_insert_with(|| {
            progress(step);
            device.simulate(people, slots)
        }))
    }

    /// Whether so many people on so many slots have their texts in time.
    pub(super) fn meets(&mut self, people: u32, slots: u16) -> bool {
        let target = self.target_ms;
        self.figures(people, slots).is_some_and(|figures| figures.waits.final_p95_ms <= target)
    }

    /// The fewest slots, of at most so many, on which so many people have their texts in time.
    pub(super) fn fewest_slots(&mut self, people: u32, most: u16) -> Option<u16> {
        let (mut too_few, mut enough) = (0, most);
        if !self.meets(people, most) {
            return None;
        }
        while enough - too_few > 1 {
            let slots = too_few + (enough - too_few) / 2;
            if self.meets(people, slots) { enough = slots } else { too_few = slots }
        }
        Some(enough)
    }

    /// The most people on so many slots who have their texts in time; 0 when not even one has.
    pub(super) fn most_people(&mut self, slots: u16) -> u32 {
        let mut too_many = self.overloading(slots);
        let mut fit = 0;
        while too_many - fit > 1 {
            let people = fit + (too_many - fit) / 2;
            if self.meets(people, slots) { fit = people } else { too_many = people }
        }
        fit
    }

    /// The fewest people who bring more work than so many slots can do, as far as anybody plans.
    fn overloading(&self, slots: u16) -> u32 {
        let (mut fit, mut too_many) = (0, MOST_PEOPLE + 1);
        while too_many - fit > 1 {
            let people = fit + (too_many - fit) / 2;
            if self.device.load(people, slots) < 1.0 { fit = people } else { too_many = people }
        }
        too_many
    }
}
