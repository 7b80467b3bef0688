//! Which slots are open, which are to be opened, and when. Pure: times are handed in.

use crate::pool::SlotId;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a slot that could not be opened is left alone before it is tried again; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// An opening that was stuck, and failed in the end, counts as so many failures.
const STUCK: u32 = 2;

/// Why a slot is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OpenFor {
    /// There is to be one more; if there is no room for it, that is that.
    Growth,
    /// It was lost, or could not be opened before; it is tried until it is back.
    Rebuild,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Berth {
    Open,
    /// To be opened, not before `due`.
    Waiting {
        purpose: OpenFor,
        failures: u32,
        due: Duration,
    },
    /// Being opened.
    Opening {
        purpose: OpenFor,
        failures: u32,
        /// It was lost again before anybody heard that it is open.
        lost: bool,
    },
    /// Being opened for so long that nobody waits for it any more; no other attempt is made meanwhile.
    Stuck {
        /// As above.
        lost: bool,
    },
}

impl Berth {
    fn rebuild(now: Duration) -> Self {
        Self::Waiting { purpose: OpenFor::Rebuild, failures: 0, due: now }
    }
}

/// The slots of the pool, as the supervisor sees them. Slots are opened one at a time: before each one the memory is
/// read, and what the last one took must show in it.
#[derive(Debug)]
pub(super) struct Roster {
    berths: BTreeMap<SlotId, Berth>,
    /// The lowest number of its slots.
    first: u16,
}

impl Roster {
    /// Slots have numbers from `first` on: so many of them are open, others are to be opened now, as many as are wanted
    /// in all.
    pub(super) fn new(first: u16, open: u16, wanted: u16) -> Self {
        let growth = Berth::Waiting { purpose: OpenFor::Growth, failures: 0, due: Duration::ZERO };
        let berth = |slot| (SlotId(first + slot), if slot < open { Berth::Open } else { growth });
        Self { berths: (0..wanted.max(open)).map(berth).collect(), first }
    }

    /// One more slot is wanted.
    pub(super) fn grow(&mut self, now: Duration) {
        let free = (self.first..=u16::MAX).map(SlotId).find(|slot| !self.berths.contains_key(slot));
        let growth = Berth::Waiting { purpose: OpenFor::Growth, failures: 0, due: now };
        self.berths.extend(free.map(|slot| (slot, growth)));
    }

    /// An open slot was lost. It may have been open for so short a time that nobody has heard of that yet.
    pub(super) fn lost(&mut self, slot: SlotId, now: Duration) {
        match self.berths.get_mut(&slot) {
            Some(berth @ Berth::Open) => *berth = Berth::rebuild(now),
            Some(Berth::Opening { lost, .. } | Berth::Stuck { lost }) => *lost = true,
            // Of one that is not open that is no news.
            Some(Berth::Waiting { .. }) | None => {}
        }
    }

    /// The slot to open now, unless one is being opened: the one that has been due for longest.
    pub(super) fn next(&mut self, now: Duration) -> Option<(SlotId, OpenFor)> {
        let (_, slot) = self.first_due().filter(|(due, _)| *due <= now)?;
        let berth = self.berths.get_mut(&slot)?;
        let Berth::Waiting { purpose, failures, .. } = *berth else { return None };
        *berth = Berth::Opening { purpose, failures, lost: false };
        Some((slot, purpose))
    }

    /// When there will be one to open; `None` while one is being opened, too.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.first_due().map(|(due, _)| due)
    }

    fn first_due(&self) -> Option<(Duration, SlotId)> {
        if self.berths.values().any(|berth| matches!(berth, Berth::Opening { .. })) {
            return None;
        }
        let due = |(slot, berth): (&SlotId, &Berth)| match berth {
            Berth::Waiting { due, .. } => Some((*due, *slot)),
            Berth::Open | Berth::Opening { .. } | Berth::Stuck { .. } => None,
        };
        self.berths.iter().filter_map(due).min()
    }

    /// A slot was opened.
    pub(super) fn opened(&mut self, slot: SlotId, now: Duration) {
        let berth = self.berths.get(&slot);
        let lost = matches!(berth, Some(Berth::Opening { lost: true, .. } | Berth::Stuck { lost: true }));
        self.berths.insert(slot, if lost { Berth::rebuild(now) } else { Berth::Open });
    }

    /// A slot that is being opened does not open: others go first, and what comes of it may still come.
    pub(super) fn stuck(&mut self, slot: SlotId) {
        if let Some(berth @ Berth::Opening { .. }) = self.berths.get_mut(&slot) {
            // Whatever was lost before this attempt was noted then.
            *berth = Berth::Stuck { lost: false };
        }
    }

    /// A slot could not be opened: it is tried again after a pause, and that is a rebuild, whatever it was before.
    pub(super) fn failed(&mut self, slot: SlotId, now: Duration) {
        if let Some(berth @ (Berth::Opening { .. } | Berth::Stuck { .. })) = self.berths.get_mut(&slot) {
            let failures = if let Berth::Opening { failures, .. } = *berth { failures } else { STUCK };
            let due = now + pause_after(failures);
            *berth = Berth::Waiting { purpose: OpenFor::Rebuild, failures: failures.saturating_add(1), due };
        }
    }

    /// There was no room for a slot. Growth ends with that; what was there before is tried again.
    pub(super) fn no_room(&mut self, slot: SlotId, now: Duration) {
        match self.berths.get(&slot) {
            Some(Berth::Opening { purpose: OpenFor::Growth, .. }) => self.berths.retain(|_, berth| {
                !matches!(
                    berth,
                    Berth::Opening { purpose: OpenFor::Growth, .. }
                        | Berth::Waiting { purpose: OpenFor::Growth, .. }
                )
            }),
            _ => self.failed(slot, now),
        }
    }

    /// A slot has left the pool.
    pub(super) fn withdrawn(&mut self, slot: SlotId) {
        self.berths.remove(&slot);
    }

    /// The open slots, the highest first.
    pub(super) fn open_from_the_top(&self) -> impl Iterator<Item = SlotId> {
        self.berths.iter().rev().filter(|(_, berth)| **berth == Berth::Open).map(|(slot, _)| *slot)
    }

    /// All slots whose memory is taken or will be.
    pub(super) fn len(&self) -> usize {
        self.berths.len()
    }

    /// How many failed to open twice or more, or are stuck in that, and are not back yet.
    pub(super) fn stay_out(&self) -> usize {
        let stays_out = |berth: &&Berth| match berth {
            Berth::Open => false,
            Berth::Stuck { .. } => true,
            Berth::Waiting { failures, .. } | Berth::Opening { failures, .. } => *failures >= 2,
        };
        self.berths.values().filter(stays_out).count()
    }

    /// Whether slots are still to be opened that were never there before.
    pub(super) fn grows(&self) -> bool {
        self.berths.values().any(|berth| match berth {
            Berth::Open | Berth::Stuck { .. } => false,
            Berth::Waiting { purpose, .. } | Berth::Opening { purpose, .. } => *purpose == OpenFor::Growth,
        })
    }
}

fn pause_after(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << failures.min(16)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn slots_are_opened_one_at_a_time_in_order() {
        let mut roster = Roster::new(0, 1, 3);
        assert_eq!(roster.next(s(0)), Some((SlotId(1), OpenFor::Growth)));
        assert_eq!((roster.next(s(0)), roster.next_due()), (None, None));
        roster.opened(SlotId(1), s(100));
        assert_eq!(roster.next(s(0)), Some((SlotId(2), OpenFor::Growth)));
        roster.opened(SlotId(2), s(100));
        assert!(!roster.grows() && roster.next_due().is_none());
    }

    #[test]
    fn a_slot_that_does_not_open_is_tried_after_pauses_that_double_up_to_a_minute() {
        let mut roster = Roster::new(0, 1, 1);
        let mut now = s(0);
        roster.lost(SlotId(0), now);
        let mut pauses = Vec::new();
        for _ in 0..9 {
            assert_eq!(roster.next(now), Some((SlotId(0), OpenFor::Rebuild)));
            roster.failed(SlotId(0), now);
            let due = roster.next_due().unwrap();
            assert_eq!(roster.next(due.saturating_sub(Duration::from_millis(1))), None);
            pauses.push(due.saturating_sub(now).as_secs());
            now = due;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn a_slot_that_is_stuck_while_it_opens_stays_out_and_lets_others_by() {
        let mut roster = Roster::new(0, 1, 3);
        assert_eq!(roster.next(s(0)), Some((SlotId(1), OpenFor::Growth)));
        roster.stuck(SlotId(1));
        assert_eq!((roster.stay_out(), roster.len()), (1, 3));
        assert_eq!(roster.next(s(0)), Some((SlotId(2), OpenFor::Growth)));
        roster.opened(SlotId(2), s(100));
        assert_eq!(roster.next(s(3_600)), None, "it is not opened twice at once");
        roster.failed(SlotId(1), s(3_600));
        assert_eq!((roster.next_due(), roster.stay_out()), (Some(s(3_604)), 1));
        roster.opened(SlotId(1), s(100));
        assert_eq!((roster.next_due(), roster.stay_out()), (None, 0));
    }

    #[test]
    fn a_slot_stays_out_from_its_second_failure_until_it_is_back() {
        let mut roster = Roster::new(0, 1, 2);
        let stays_out = [1, 3].map(|at| {
            roster.next(s(at));
            roster.failed(SlotId(1), s(at));
            roster.stay_out()
        });
        assert_eq!(stays_out, [0, 1]);
        roster.next(s(100));
        assert_eq!(roster.stay_out(), 1, "it is not back before it is open");
        roster.opened(SlotId(1), s(100));
        assert_eq!(roster.stay_out(), 0);
    }

    #[test]
    fn without_room_growth_ends_but_a_rebuild_goes_on() {
        let mut roster = Roster::new(0, 2, 5);
        roster.lost(SlotId(0), s(1));
        assert_eq!(roster.next(s(1)), Some((SlotId(2), OpenFor::Growth)));
        roster.no_room(SlotId(2), s(1));
        assert_eq!((roster.len(), roster.grows()), (2, false));
        assert_eq!(roster.next(s(1)), Some((SlotId(0), OpenFor::Rebuild)));
        roster.no_room(SlotId(0), s(1));
        assert_eq!((roster.len(), roster.next_due()), (2, Some(s(2))));
    }

    #[test]
    fn a_slot_that_grows_takes_the_lowest_free_number() {
        let mut roster = Roster::new(0, 3, 3);
        roster.withdrawn(SlotId(1));
        roster.grow(s(5));
        assert_eq!(roster.next(s(5)), Some((SlotId(1), OpenFor::Growth)));
    }

    #[test]
    fn the_slots_of_another_device_begin_at_another_number() {
        let mut roster = Roster::new(16, 1, 2);
        assert_eq!(roster.next(s(0)), Some((SlotId(17), OpenFor::Growth)));
        roster.opened(SlotId(17), s(0));
        roster.withdrawn(SlotId(16));
        roster.grow(s(5));
        assert_eq!(roster.next(s(5)), Some((SlotId(16), OpenFor::Growth)));
    }

    #[test]
    fn a_slot_that_is_lost_before_its_opening_is_heard_of_is_rebuilt_all_the_same() {
        let mut roster = Roster::new(0, 1, 2);
        assert_eq!(roster.next(s(0)), Some((SlotId(1), OpenFor::Growth)));
        roster.lost(SlotId(1), s(1));
        roster.opened(SlotId(1), s(1));
        assert_eq!(roster.next(s(1)), Some((SlotId(1), OpenFor::Rebuild)));
        roster.opened(SlotId(1), s(2));
        assert_eq!(roster.next_due(), None, "what was lost before does not count for this opening");
    }

    #[test]
    fn a_slot_that_was_withdrawn_cannot_be_lost() {
        let mut roster = Roster::new(0, 2, 2);
        roster.withdrawn(SlotId(1));
        roster.lost(SlotId(1), s(1));
        assert_eq!((roster.len(), roster.next_due()), (1, None));
        assert_eq!(roster.open_from_the_top().collect::<Vec<_>>(), [SlotId(0)]);
    }
}
