//! The slots themselves: which exist, who holds them, and which generation they are in.

use super::order::Charge;
use crate::pool::{Bank, Generation, SlotId};
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;

/// Whom a slot is lent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LentTo {
    /// The house itself, which is charged nothing.
    House,
    /// A flow that was charged.
    Flow(Charge),
}

/// A slot's life: warming → idle → leased → idle, or retired → warming. A closed slot is not counted any more, but its
/// generation is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SlotState {
    Warming,
    Idle,
    Leased(LentTo),
    Retired,
    Closed,
}

impl SlotState {
    fn is_in_service(self) -> bool {
        matches!(self, Self::Idle | Self::Leased(_))
    }
}

/// What became of a slot whose lease ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Nobody holds it.
    Idle,
    /// It is out of service.
    Retired,
    /// It is no part of the pool any more.
    Closed,
}

#[derive(Debug)]
struct Slot {
    state: SlotState,
    /// Of the current or last time in service; `None` before the first.
    generation: Option<Generation>,
}

/// The book of slots.
#[derive(Debug, Default)]
pub(super) struct SlotBook {
    slots: BTreeMap<SlotId, Slot>,
    idle: BTreeSet<SlotId>,
    /// How many numbers a bank has; `None` for one bank of all.
    bank: Option<NonZeroU16>,
    /// The banks of which the next free slot leaves.
    taken_back: BTreeSet<Bank>,
}

impl SlotBook {
    pub(super) fn new(bank: Option<NonZeroU16>) -> Self {
        Self { bank, ..Self::default() }
    }

    fn bank_of(&self, id: SlotId) -> Bank {
        Bank(self.bank.map_or(0, |bank| id.0 / bank))
    }

    pub(super) fn take_back(&mut self, bank: Bank) {
        self.taken_back.insert(bank);
    }

    pub(super) fn keep(&mut self, bank: Bank) {
        self.taken_back.remove(&bank);
    }

    pub(super) fn warm(&mut self, id: SlotId) {
        let slot = self.slots.entry(id).or_insert(Slot { state: SlotState::Closed, generation: None });
        if matches!(slot.state, SlotState::Retired | SlotState::Closed) {
            slot.state = SlotState::Warming;
        }
    }

    pub(super) fn add(&mut self, id: SlotId) -> Generation {
        self.warm(id);
        let slot = self.slots.get_mut(&id).expect("a slot that was warmed exists");
        if slot.state == SlotState::Warming {
            slot.state = SlotState::Idle;
            slot.generation = Some(slot.generation.map_or(Generation(0), |last| Generation(last.0 + 1)));
            self.idle.insert(id);
        }
        slot.generation.expect("a slot in service has a generation")
    }

    pub(super) fn fail(&mut self, id: SlotId) {
        if let Some(slot) = self.slots.get_mut(&id).filter(|slot| slot.state == SlotState::Warming) {
            slot.state = SlotState::Retired;
        }
    }

    pub(super) fn close(&mut self, id: SlotId) -> bool {
        let closable = |slot: &&mut Slot| matches!(slot.state, SlotState::Idle | SlotState::Retired);
        let Some(slot) = self.slots.get_mut(&id).filter(closable) else { return false };
        slot.state = SlotState::Closed;
        self.idle.remove(&id);
        true
    }

    /// The idle slot of the lowest number, so that the high ones stay idle and the pool can shrink, in the bank that is
    /// busy least; `avoid` only when no other is idle.
    pub(super) fn choose(&self, avoid: Option<SlotId>) -> Option<SlotId> {
        let others = self.idle.iter().copied().filter(|id| Some(*id) != avoid);
        // With one bank for all, nothing need be counted.
        let busy = self.bank.map(|_| self.busy()).unwrap_or_default();
        let chosen = others.min_by_key(|id| (busy.get(&self.bank_of(*id)).copied(), *id));
        chosen.or_else(|| self.idle.first().copied())
    }

    /// How busy each bank is: its leased slots in 65536ths of those in service. O(n) in slots.
    fn busy(&self) -> BTreeMap<Bank, u64> {
        let mut counts: BTreeMap<Bank, (u64, u64)> = BTreeMap::new();
        for (id, slot) in &self.slots {
            let (leased, in_service) = counts.entry(self.bank_of(*id)).or_default();
            *leased += u64::from(matches!(slot.state, SlotState::Leased(_)));
            *in_service += u64::from(slot.state.is_in_service());
        }
        counts.into_iter().map(|(bank, (leased, all))| (bank, (leased << 16) / all.max(1))).collect()
    }

    /// Leases an idle slot; `None`, and nothing happens, when it is not idle.
    pub(super) fn lease(&mut self, id: SlotId, holder: LentTo) -> Option<Generation> {
        let slot = self.slots.get_mut(&id).filter(|slot| slot.state == SlotState::Idle)?;
        slot.state = SlotState::Leased(holder);
        self.idle.remove(&id);
        slot.generation
    }

    /// Ends a lease and tells who held it and what became of the slot; `None`, and nothing happens, for an older
    /// generation or a slot nobody holds.
    pub(super) fn end(
        &mut self,
        id: SlotId,
        generation: Generation,
        retired: bool,
    ) -> Option<(LentTo, Left)> {
        let bank = self.bank_of(id);
        // The last one that serves is of more use here than its memory is to others.
        let is_last = self.count(SlotState::is_in_service) == 1;
        let slot = self.slots.get_mut(&id).filter(|slot| slot.generation == Some(generation))?;
        let SlotState::Leased(holder) = slot.state else { return None };
        let (state, left) = if retired {
            (SlotState::Retired, Left::Retired)
        } else if !is_last && self.taken_back.remove(&bank) {
            (SlotState::Closed, Left::Closed)
        } else {
            self.idle.insert(id);
            (SlotState::Idle, Left::Idle)
        };
        slot.state = state;
        Some((holder, left))
    }

    pub(super) fn idle_in(&self, bank: Bank) -> usize {
        self.idle.iter().filter(|id| self.bank_of(**id) == bank).count()
    }

    pub(super) fn total(&self) -> usize {
        self.count(|state| state != SlotState::Closed)
    }

    pub(super) fn idle_slots(&self) -> impl Iterator<Item = SlotId> {
        self.idle.iter().copied()
    }

    pub(super) fn idle(&self) -> usize {
        self.idle.len()
    }

    pub(super) fn leased(&self) -> usize {
        self.count(|state| matches!(state, SlotState::Leased(_)))
    }

    pub(super) fn warming(&self) -> usize {
        self.count(|state| state == SlotState::Warming)
    }

    pub(super) fn retired(&self) -> usize {
        self.count(|state| state == SlotState::Retired)
    }

    fn count(&self, claim: impl Fn(SlotState) -> bool) -> usize {
        self.slots.values().filter(|slot| claim(slot.state)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays steps on slot 0: `w`arm, `a`dd, `f`ail, `l`ease, `r`elease, `t` retire, `c`lose. Tells the state after each
    /// as a letter (`.` closed), with the generation of a slot in service.
    fn life(steps: &str) -> String {
        let (mut slots, id) = (SlotBook::default(), SlotId(0));
        let mut current = Generation(0);
        let mut told = String::new();
        for step in steps.chars() {
            match step {
                'w' => slots.warm(id),
                'a' => current = slots.add(id),
                'f' => slots.fail(id),
                'l' => drop(slots.lease(id, LentTo::House)),
                'r' => drop(slots.end(id, current, false)),
                't' => drop(slots.end(id, current, true)),
                _ => drop(slots.close(id)),
            }
            let state =
                [('W', slots.warming()), ('I', slots.idle()), ('L', slots.leased()), ('R', slots.retired())];
            let letter = state.into_iter().find(|(_, count)| *count == 1).map_or('.', |(letter, _)| letter);
            told.push(letter);
            if matches!(letter, 'I' | 'L') {
                told.push_str(&current.0.to_string());
            }
        }
        told
    }

    #[test]
    fn a_slot_lives_as_the_map_says_and_never_repeats_a_generation() {
        let cases = [
            ("walrlt", "WI0L0I0L0R"),
            ("altwawa", "I0L0RWI1I1I1"),
            ("acwfacla", "I0.WRI1..I2"),
            ("wfwa", "WRWI0"),
            ("alcwtc", "I0L0L0L0R."),
            ("lfrtc", "....."),
        ];
        for (steps, expected) in cases {
            assert_eq!(life(steps), expected, "{steps}");
        }
    }

    #[test]
    fn of_a_bank_that_is_to_give_one_back_the_next_slot_that_comes_free_leaves() {
        let mut slots = SlotBook::new(NonZeroU16::new(2));
        let generations = [0, 1, 2].map(|id| slots.add(SlotId(id)));
        for id in [0, 1, 2] {
            slots.lease(SlotId(id), LentTo::House);
        }
        slots.take_back(Bank(0));
        let mut end = |id: u16, retired| {
            let ended = slots.end(SlotId(id), generations[usize::from(id)], retired);
            ended.map(|(_, left)| left)
        };
        assert_eq!(end(2, false), Some(Left::Idle), "it is of another bank");
        assert_eq!(end(1, true), Some(Left::Retired), "one that is lost is not one that is given back");
        assert_eq!(end(0, false), Some(Left::Closed));
        assert_eq!((slots.total(), slots.idle_in(Bank(0)), slots.idle_in(Bank(1))), (2, 0, 1));
        assert_eq!(slots.add(SlotId(0)), Generation(1), "it can come back, and only one was wanted");
        slots.lease(SlotId(0), LentTo::House);
        slots.take_back(Bank(0));
        slots.keep(Bank(0));
        assert_eq!(slots.end(SlotId(0), Generation(1), false).map(|(_, left)| left), Some(Left::Idle));
    }

    #[test]
    fn work_goes_to_the_bank_that_is_busy_least() {
        // Four slots on one device and two on another.
        let mut slots = SlotBook::new(NonZeroU16::new(4));
        for id in [0, 1, 2, 3, 4, 5] {
            slots.add(SlotId(id));
        }
        let mut taken = Vec::new();
        while let Some(slot) = slots.choose(None) {
            slots.lease(slot, LentTo::House);
            taken.push(slot.0);
        }
        assert_eq!(taken, [0, 4, 1, 2, 5, 3]);
    }

    #[test]
    fn the_lowest_idle_slot_is_taken_and_the_avoided_one_only_when_it_is_the_last() {
        let mut slots = SlotBook::default();
        for id in 0..3 {
            slots.add(SlotId(id));
        }
        assert_eq!(slots.choose(None), Some(SlotId(0)));
        assert_eq!(slots.choose(Some(SlotId(0))), Some(SlotId(1)));
        for id in [1, 2] {
            slots.lease(SlotId(id), LentTo::House);
        }
        assert_eq!(slots.choose(Some(SlotId(0))), Some(SlotId(0)));
    }
}
