//! Tickets in order, in groups that can be closed: a key at its cap is passed over as a whole.
//!
//! Every operation is O(log n) in waiting tickets; closing a group does not touch the tickets in it.

use crate::pool::{KeyId, Ticket};
use std::collections::{BTreeMap, BTreeSet};

/// The flows of one key, or all flows without a key.
pub(super) type Group = Option<KeyId>;

/// Who is first by `K` among the open groups.
#[derive(Debug, Clone, Default)]
pub(super) struct Lineup<K> {
    /// Groups that are closed or not empty.
    groups: BTreeMap<Group, Ranks<K>>,
    /// The first of each open group, as its floor lifts it.
    fronts: BTreeSet<(K, Ticket)>,
}

#[derive(Debug, Clone)]
struct Ranks<K> {
    waiting: BTreeSet<(K, Ticket)>,
    floor: K,
    open: bool,
}

impl<K: Copy + Ord + Default> Default for Ranks<K> {
    fn default() -> Self {
        Self { waiting: BTreeSet::new(), floor: K::default(), open: true }
    }
}

impl<K: Copy + Ord + Default> Ranks<K> {
    /// The floor lifts all keys below it to the same height and leaves their order as it is.
    fn front(&self) -> Option<(K, Ticket)> {
        let (key, ticket) = *self.waiting.first().filter(|_| self.open)?;
        Some((key.max(self.floor), ticket))
    }
}

impl<K: Copy + Ord + Default> Lineup<K> {
    /// Puts a ticket in its place.
    pub(super) fn insert(&mut self, group: Group, key: K, ticket: Ticket) {
        self.change(group, |ranks| {
            ranks.waiting.insert((key, ticket));
        });
    }

    /// Takes a ticket out that was inserted with this key.
    pub(super) fn remove(&mut self, group: Group, key: K, ticket: Ticket) {
        self.change(group, |ranks| {
            ranks.waiting.remove(&(key, ticket));
        });
    }

    /// Passes the group over until it is opened again.
    pub(super) fn close(&mut self, group: Group) {
        self.change(group, |ranks| ranks.open = false);
    }

    /// Lets the group take part again. What waits in it counts as `floor` at least, so that the time spent closed has
    /// saved up nothing.
    pub(super) fn open(&mut self, group: Group, floor: K) {
        self.change(group, |ranks| {
            ranks.open = true;
            ranks.floor = floor;
        });
    }

    /// The smallest of the open groups, with the key it counts as.
    pub(super) fn first(&self) -> Option<(K, Ticket)> {
        self.fronts.first().copied()
    }

    /// What `key` counts as in this group.
    pub(super) fn lifted(&self, group: Group, key: K) -> K {
        self.groups.get(&group).map_or(key, |ranks| key.max(ranks.floor))
    }

    fn change(&mut self, group: Group, change: impl FnOnce(&mut Ranks<K>)) {
        let ranks = self.groups.entry(group).or_default();
        if let Some(front) = ranks.front() {
            self.fronts.remove(&front);
        }
        change(ranks);
        if let Some(front) = ranks.front() {
            self.fronts.insert(front);
        } else if ranks.open {
            self.groups.remove(&group);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Step {
        Insert(u32, u32),
        Remove(usize),
        Close(u32),
        Open(u32, u32),
    }

    /// The same by looking at everybody each time.
    #[derive(Default)]
    struct Plain {
        waiting: Vec<(u32, u32, Ticket)>,
        closed: BTreeSet<u32>,
        floors: BTreeMap<u32, u32>,
    }

    impl Plain {
        fn first(&self) -> Option<(u32, Ticket)> {
            let open = self.waiting.iter().filter(|(group, ..)| !self.closed.contains(group));
            let groups: BTreeSet<u32> = open.clone().map(|(group, ..)| *group).collect();
            let front = |group: u32| {
                let inside = self.waiting.iter().filter(|(other, ..)| *other == group);
                let (key, ticket) = inside.map(|(_, key, ticket)| (*key, *ticket)).min()?;
                Some((key.max(self.floors.get(&group).copied().unwrap_or(0)), ticket))
            };
            groups.into_iter().filter_map(front).min()
        }

        /// An open group that is empty is forgotten, and its floor with it.
        fn forget(&mut self) {
            let (waiting, closed) = (&self.waiting, &self.closed);
            self.floors.retain(|group, _| {
                closed.contains(group) || waiting.iter().any(|(other, ..)| other == group)
            });
        }
    }

    /// Whether the lineup agrees with the plain one after every step; a forgetful one never closes a group.
    fn agrees(steps: &[Step], forgetful: bool) -> bool {
        let (mut lineup, mut plain) = (Lineup::default(), Plain::default());
        steps.iter().enumerate().all(|(number, step)| {
            match *step {
                Step::Insert(group, key) => {
                    let ticket = Ticket(number as u64);
                    lineup.insert(Some(KeyId(group)), key, ticket);
                    plain.waiting.push((group, key, ticket));
                }
                Step::Remove(index) if index < plain.waiting.len() => {
                    let (group, key, ticket) = plain.waiting.remove(index);
                    lineup.remove(Some(KeyId(group)), key, ticket);
                }
                Step::Remove(_) => {}
                Step::Close(group) => {
                    plain.closed.insert(group);
                    if !forgetful {
                        lineup.close(Some(KeyId(group)));
                    }
                }
                Step::Open(group, floor) => {
                    plain.closed.remove(&group);
                    plain.floors.insert(group, floor);
                    lineup.open(Some(KeyId(group)), floor);
                }
            }
            plain.forget();
            lineup.first() == plain.first()
        })
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => (0..4_u32, 0..50_u32).prop_map(|(group, key)| Step::Insert(group, key)),
            2 => (0..12_usize).prop_map(Step::Remove),
            1 => (0..4_u32).prop_map(Step::Close),
            1 => (0..4_u32, 0..50_u32).prop_map(|(group, floor)| Step::Open(group, floor)),
        ];
        prop::collection::vec(step, 0..120)
    }

    proptest! {
        #[test]
        fn the_first_of_a_lineup_is_the_smallest_of_the_open_groups(steps in steps()) {
            prop_assert!(agrees(&steps, false));
        }
    }

    #[test]
    fn a_lineup_that_does_not_close_its_groups_is_found_out() {
        let steps = [Step::Insert(1, 5), Step::Insert(2, 7), Step::Close(1)];
        assert!(agrees(&steps, false));
        assert!(!agrees(&steps, true));
    }

    #[test]
    fn time_spent_closed_saves_up_nothing() {
        let mut lineup = Lineup::default();
        lineup.insert(Some(KeyId(1)), 3, Ticket(0));
        lineup.close(Some(KeyId(1)));
        lineup.insert(None, 10, Ticket(1));
        lineup.open(Some(KeyId(1)), 20);
        assert_eq!(lineup.first(), Some((10, Ticket(1))));
        lineup.remove(None, 10, Ticket(1));
        assert_eq!(lineup.first(), Some((20, Ticket(0))));
    }

    #[test]
    fn a_group_that_is_open_and_empty_takes_no_memory() {
        let mut lineup = Lineup::default();
        for key in 0..100 {
            lineup.insert(Some(KeyId(key)), 1, Ticket(0));
            lineup.close(Some(KeyId(key)));
            lineup.remove(Some(KeyId(key)), 1, Ticket(0));
            lineup.open(Some(KeyId(key)), 2);
        }
        assert!(lineup.groups.is_empty() && lineup.fronts.is_empty());
    }
}
