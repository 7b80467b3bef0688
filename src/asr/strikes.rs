//! Slots that fail one decode after the other. Pure.

use crate::pool::{Generation, SlotId};
use std::collections::HashMap;

/// So many failures in a row are not the utterances' fault.
const STRIKES: u32 = 3;

/// How many decodes in a row failed on each slot.
#[derive(Debug, Default)]
pub(super) struct Strikes {
    in_a_row: HashMap<SlotId, (Generation, u32)>,
}

impl Strikes {
    /// A decode failed, or did not end in time. `true` when the slot should be rebuilt for it; a rebuilt slot begins anew.
    pub(super) fn failed(&mut self, slot: SlotId, generation: Generation) -> bool {
        let (counted, strikes) = self.in_a_row.entry(slot).or_insert((generation, 0));
        if *counted != generation {
            (*counted, *strikes) = (generation, 0);
        }
        *strikes += 1;
        *strikes >= STRIKES
    }

    /// A decode gave a text.
    pub(super) fn worked(&mut self, slot: SlotId) {
        self.in_a_row.remove(&slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `x` is a failure, `.` a text, `|` a rebuilt slot; says after how many of them the slot is to be rebuilt.
    fn out_after(history: &str) -> Option<usize> {
        let mut strikes = Strikes::default();
        let mut generation = Generation(1);
        // Another slot that always fails changes nothing.
        strikes.failed(SlotId(1), Generation(1));
        history.chars().position(|event| {
            match event {
                'x' => return strikes.failed(SlotId(0), generation),
                '.' => strikes.worked(SlotId(0)),
                _ => generation.0 += 1,
            }
            false
        })
    }

    #[test]
    fn three_failures_in_a_row_cost_a_slot_its_place() {
        assert_eq!(out_after("xxx"), Some(2));
        assert_eq!(out_after("..x..xxx"), Some(7));
        assert_eq!(out_after("xx.xx.xx.xx"), None);
    }

    #[test]
    fn a_rebuilt_slot_begins_anew() {
        assert_eq!(out_after("xx|xx"), None);
        assert_eq!(out_after("xx|xxx"), Some(5));
    }
}
