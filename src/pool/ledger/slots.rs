//! The slots themselves: which exist, who holds them, and which generation they are in.

use super::order::Charge;
use crate::pool::{Generation, SlotId};
use std::collections::{BTreeMap, BTreeSet};

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
}

impl SlotBook {
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

    /// The idle slot of the lowest number, so that the high ones stay idle and the pool can shrink; `avoid` only when
    /// no other is idle.
    pub(super) fn choose(&self, avoid: Option<SlotId>) -> Option<SlotId> {
        let mut idle = self.idle.iter().copied();
        let first = idle.next()?;
        if Some(first) == avoid { Some(idle.next().unwrap_or(first)) } else { Some(first) }
    }

    /// Leases an idle slot; `None`, and nothing happens, when it is not idle.
    pub(super) fn lease(&mut self, id: SlotId, holder: LentTo) -> Option<Generation> {
        let slot = self.slots.get_mut(&id).filter(|slot| slot.state == SlotState::Idle)?;
        slot.state = SlotState::Leased(holder);
        self.idle.remove(&id);
        slot.generation
    }

    /// Ends a lease and tells who held it; `None`, and nothing happens, for an older generation or
    /// a slot nobody holds.
    pub(super) fn end(&mut self, id: SlotId, generation: Generation, retired: bool) -> Option<LentTo> {
        let slot = self.slots.get_mut(&id).filter(|slot| slot.generation == Some(generation))?;
        let SlotState::Leased(holder) = slot.state else { return None };
        slot.state = if retired { SlotState::Retired } else { SlotState::Idle };
        if !retired {
            self.idle.insert(id);
        }
        Some(holder)
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
