//! How many slots the cores carry, and how many threads each decode gets. Pure.

use std::num::NonZero;

/// What the pool is made of on a CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizing {
    /// Cores that this process may use.
    pub(super) cores: u16,
    /// Utterances decoded at once.
    pub(super) slots: u16,
    /// Threads for each of them.
    pub(super) threads: u16,
}

impl Sizing {
    /// Sizes the pool so that slots times threads fill the cores; what was asked for is left alone.
    ///
    /// Left to itself a decode gets a quarter of the cores, 1 to 4: more threads hardly shorten a decode, more slots
    /// serve more people. Where the slots are given, one core is left to everything else: the threads of one decode
    /// wait for each other busily, so that a decode whose threads have to share a core takes many times as long.
    pub(super) fn new(cores: u16, slots: Option<u16>, threads: Option<u16>) -> Self {
        let cores = cores.max(1);
        let threads = threads.unwrap_or_else(|| match slots {
            Some(slots) => ((cores - 1) / slots).clamp(1, 8),
            None => (cores / 4).clamp(1, 4),
        });
        let slots = slots.unwrap_or_else(|| (cores / threads).max(1));
        Self { cores, slots, threads }
    }

    /// Whether the slots together want more cores than there are.
    pub(super) fn oversubscribed(self) -> bool {
        u32::from(self.slots) * u32::from(self.threads) > u32::from(self.cores)
    }
}

/// The cores that this process may use, with its limits in mind.
pub(super) fn cores() -> u16 {
    std::thread::available_parallelism().map_or(1, NonZero::get).try_into().unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_pool_left_to_itself_fills_the_cores() {
        let sized = |cores| {
            let Sizing { slots, threads, .. } = Sizing::new(cores, None, None);
            (slots, threads)
        };
        let cases =
            [(0, (1, 1)), (1, (1, 1)), (2, (2, 1)), (4, (4, 1)), (8, (4, 2)), (16, (4, 4)), (64, (16, 4))];
        for (cores, expected) in cases {
            assert_eq!(sized(cores), expected, "{cores} cores");
        }
    }

    #[test]
    fn what_was_asked_for_is_left_alone() {
        assert_eq!(Sizing::new(8, Some(2), None), Sizing { cores: 8, slots: 2, threads: 3 });
        assert_eq!(Sizing::new(2, Some(1), None), Sizing { cores: 2, slots: 1, threads: 1 });
        assert_eq!(Sizing::new(8, None, Some(8)), Sizing { cores: 8, slots: 1, threads: 8 });
        let both = Sizing::new(2, Some(4), Some(4));
        assert_eq!(both, Sizing { cores: 2, slots: 4, threads: 4 });
        assert!(both.oversubscribed());
    }

    proptest! {
        // Fails when either division forgets its lower bound, or when threads are rounded up.
        #[test]
        fn a_pool_never_chooses_more_threads_than_cores(cores in 1_u16..512, slots in prop::option::of(1_u16..64)) {
            let sizing = Sizing::new(cores, slots, None);
            prop_assert!(sizing.slots >= 1 && sizing.threads >= 1);
            prop_assert!(!sizing.oversubscribed() || sizing.threads == 1);
            if slots.is_none() {
                prop_assert!(!sizing.oversubscribed());
            }
        }
    }
}
