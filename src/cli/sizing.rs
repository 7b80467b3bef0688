//! How slots share the cores, and what is known of the knee before anything is measured. Pure.

use super::assembly::Purpose;
use crate::asr::{Knee, KneeFound};
use crate::config::{KneeSetting, SlotSettings};
use crate::gpu::DeviceKind;
use std::num::NonZero;

/// A command that does not measure takes at most so many slots on a GPU that nobody knows yet.
const SLOTS_OF_A_COMMAND: u16 = 4;

/// How slots share the cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CoreShare {
    /// Cores that this process may use.
    pub(super) cores: u16,
    /// Utterances decoded at once: as asked for, or as many as keep the cores busy.
    pub(super) slots: u16,
    /// Threads for each of them.
    pub(super) threads: u16,
}

impl CoreShare {
    /// Shares the cores so that slots times threads fill the cores; what was asked for is left alone.
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

/// What is known of the knee before the start. Who asks for a number of slots gets them, knee or not.
pub(super) fn knee(
    settings: &SlotSettings,
    purpose: Purpose,
    kind: DeviceKind,
    share: CoreShare,
    found_before: Option<KneeFound>,
) -> Knee {
    let remembered = |found: KneeFound| match found.knee {
        Some(knee) => Knee::Known(knee),
        None => Knee::Measure { beyond: found.reached },
    };
    let knee = match (settings.slots, settings.knee, kind) {
        (Some(_), ..) | (None, KneeSetting::Off, _) => Knee::Off,
        (None, KneeSetting::Slots(slots), _) => Knee::Known(slots),
        (None, KneeSetting::Measure, _) => Knee::Measure { beyond: 1 },
        (None, KneeSetting::Auto, DeviceKind::Cpu) => Knee::Known(share.slots),
        (None, KneeSetting::Auto, DeviceKind::Cuda) => {
            found_before.map_or(Knee::Measure { beyond: 1 }, remembered)
        }
    };
    match (purpose, knee, kind) {
        (Purpose::Command, Knee::Measure { .. }, DeviceKind::Cpu) => Knee::Known(share.slots),
        (Purpose::Command, Knee::Measure { .. }, DeviceKind::Cuda) => Knee::Known(SLOTS_OF_A_COMMAND),
        (_, knee, _) => knee,
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
            let CoreShare { slots, threads, .. } = CoreShare::new(cores, None, None);
            (slots, threads)
        };
        let cases =
            [(0, (1, 1)), (1, (1, 1)), (2, (2, 1)), (4, (4, 1)), (8, (4, 2)), (16, (4, 4)), (64, (16, 4))];
        for (cores, expected) in cases {
            assert_eq!(sized(cores), expected, "{cores} cores");
        }
    }

    #[test]
    fn the_knee_comes_from_where_the_settings_say() {
        use DeviceKind::{Cpu, Cuda};
        use KneeSetting::{Auto, Measure, Off, Slots};
        let share = CoreShare::new(16, None, None);
        let measure = |beyond| Knee::Measure { beyond };
        let found = |knee, reached| Some(KneeFound { knee, reached });
        let cases = [
            (Some(3), Measure, Cuda, None, Knee::Off, Knee::Off),
            (None, Off, Cuda, found(Some(5), 8), Knee::Off, Knee::Off),
            (None, Slots(7), Cpu, None, Knee::Known(7), Knee::Known(7)),
            (None, Auto, Cpu, found(Some(9), 16), Knee::Known(4), Knee::Known(4)),
            (None, Auto, Cuda, None, measure(1), Knee::Known(4)),
            (None, Auto, Cuda, found(Some(5), 8), Knee::Known(5), Knee::Known(5)),
            (None, Auto, Cuda, found(None, 6), measure(6), Knee::Known(4)),
            (None, Measure, Cuda, found(Some(5), 8), measure(1), Knee::Known(4)),
            (None, Measure, Cpu, None, measure(1), Knee::Known(4)),
        ];
        for (slots, setting, kind, found, server, command) in cases {
            let settings = SlotSettings { slots, knee: setting, ..slot_settings() };
            let known = |purpose| knee(&settings, purpose, kind, share, found);
            let told = (known(Purpose::Server), known(Purpose::Command));
            assert_eq!(told, (server, command), "{slots:?} {setting:?} {kind} {found:?}");
        }
    }

    fn slot_settings() -> SlotSettings {
        let nothing = std::collections::BTreeMap::<String, String>::new();
        crate::config::load(None, &nothing).expect("the defaults are valid").slots
    }

    #[test]
    fn what_was_asked_for_is_left_alone() {
        assert_eq!(CoreShare::new(8, Some(2), None), CoreShare { cores: 8, slots: 2, threads: 3 });
        assert_eq!(CoreShare::new(2, Some(1), None), CoreShare { cores: 2, slots: 1, threads: 1 });
        assert_eq!(CoreShare::new(8, None, Some(8)), CoreShare { cores: 8, slots: 1, threads: 8 });
        let both = CoreShare::new(2, Some(4), Some(4));
        assert_eq!(both, CoreShare { cores: 2, slots: 4, threads: 4 });
        assert!(both.oversubscribed());
    }

    proptest! {
        // Fails when either division forgets its lower bound, or when threads are rounded up.
        #[test]
        fn a_pool_never_chooses_more_threads_than_cores(cores in 1_u16..512, slots in prop::option::of(1_u16..64)) {
            let share = CoreShare::new(cores, slots, None);
            prop_assert!(share.slots >= 1 && share.threads >= 1);
            prop_assert!(!share.oversubscribed() || share.threads == 1);
            if slots.is_none() {
                prop_assert!(!share.oversubscribed());
            }
        }
    }
}
