//! Whose phrase is said next. Pure: no clock, no locks, no threads.
//!
//! Narrators take turns: of those that have something to say and say nothing now, the one that has waited longest since
//! its last phrase began gets the next thread. What one narrator says, it says in order and never twice at once.

use std::collections::{HashMap, HashSet, VecDeque};

/// A narrator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct NarratorId(pub(super) u64);

/// Lines of things to say, one for each narrator. One without anything to say takes no memory.
#[derive(Debug)]
pub(super) struct Turns<T> {
    lines: HashMap<NarratorId, VecDeque<T>>,
    /// Those with a line that are not speaking, the next first.
    order: VecDeque<NarratorId>,
    speaking: HashSet<NarratorId>,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self { lines: HashMap::new(), order: VecDeque::new(), speaking: HashSet::new() }
    }
}

impl<T> Turns<T> {
    /// Puts something at the end of a narrator's line.
    pub(super) fn push(&mut self, narrator: NarratorId, item: T) {
        let line = self.lines.entry(narrator).or_default();
        line.push_back(item);
        if line.len() == 1 && !self.speaking.contains(&narrator) {
            self.order.push_back(narrator);
        }
    }

    /// What is to be said next, by whom; that narrator speaks until [`done`](Self::done).
    pub(super) fn next(&mut self) -> Option<(NarratorId, T)> {
        let narrator = self.order.pop_front()?;
        let line = self.lines.get_mut(&narrator)?;
        let item = line.pop_front()?;
        if line.is_empty() {
            self.lines.remove(&narrator);
        }
        self.speaking.insert(narrator);
        Some((narrator, item))
    }

    /// A narrator has said what it was given; if it has more, it waits for its turn behind the others.
    pub(super) fn done(&mut self, narrator: NarratorId) {
        if self.speaking.remove(&narrator) && self.lines.contains_key(&narrator) {
            self.order.push_back(narrator);
        }
    }

    /// Forgets what does not matter any more.
    pub(super) fn retain(&mut self, mut matters: impl FnMut(&T) -> bool) {
        self.lines.retain(|_, line| {
            line.retain(&mut matters);
            !line.is_empty()
        });
        self.order.retain(|narrator| self.lines.contains_key(narrator));
    }

    /// How much stands in a narrator's line.
    pub(super) fn len_of(&self, narrator: NarratorId) -> usize {
        self.lines.get(&narrator).map_or(0, VecDeque::len)
    }

    /// How much stands in all lines.
    pub(super) fn len(&self) -> usize {
        self.lines.values().map(VecDeque::len).sum()
    }

    /// Takes everything out of all lines.
    pub(super) fn clear(&mut self) -> Vec<T> {
        self.order.clear();
        self.lines.drain().flat_map(|(_, line)| line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `a1 a2 b1`: what is pushed; narrators are letters.
    fn said(pushed: &str) -> String {
        let mut turns = Turns::default();
        for item in pushed.split(' ') {
            turns.push(NarratorId(u64::from(item.as_bytes()[0])), item.to_owned());
        }
        let mut said = Vec::new();
        while let Some((narrator, item)) = turns.next() {
            said.push(item);
            turns.done(narrator);
        }
        said.join(" ")
    }

    #[test]
    fn narrators_take_turns_and_keep_their_own_order() {
        let cases = [
            ("a1", "a1"),
            ("a1 a2 a3 b1", "a1 b1 a2 a3"),
            ("a1 a2 b1 b2 c1", "a1 b1 c1 a2 b2"),
            ("b1 a1 b2 a2", "b1 a1 b2 a2"),
        ];
        for (pushed, expected) in cases {
            assert_eq!(said(pushed), expected, "{pushed}");
        }
    }

    #[test]
    fn a_narrator_that_speaks_gets_no_second_thread() {
        let mut turns = Turns::default();
        let (a, b) = (NarratorId(1), NarratorId(2));
        for item in ["a1", "a2"] {
            turns.push(a, item);
        }
        assert_eq!(turns.next(), Some((a, "a1")));
        assert_eq!(turns.next(), None);
        turns.push(b, "b1");
        assert_eq!(turns.next(), Some((b, "b1")));
        turns.done(a);
        assert_eq!(turns.next(), Some((a, "a2")));
    }

    #[test]
    fn what_is_forgotten_leaves_no_empty_turn_behind() {
        let mut turns = Turns::default();
        for n in 0..4 {
            turns.push(NarratorId(n % 2), n);
        }
        turns.retain(|n| n % 2 == 1);
        assert_eq!((turns.len(), turns.len_of(NarratorId(0)), turns.order.len()), (2, 0, 1));
        assert_eq!(turns.next(), Some((NarratorId(1), 1)));
        assert_eq!(turns.clear(), [3]);
        turns.done(NarratorId(1));
        assert_eq!(turns.next(), None);
    }

    proptest! {
        /// Of two narrators that always have something to say, neither says two phrases more than the other, whatever
        /// else goes on; and on any number of threads each says its own in order.
        #[test]
        fn nobody_is_overtaken_twice(threads in 1_usize..4, ends in proptest::collection::vec(0_usize..4, 1..60)) {
            let mut turns = Turns::default();
            let (a, b) = (NarratorId(0), NarratorId(1));
            for n in 0..200_u32 {
                turns.push(NarratorId(u64::from(n % 2)), n);
            }
            let mut speaking = Vec::new();
            let mut begun = [Vec::new(), Vec::new()];
            for end in ends {
                while speaking.len() < threads {
                    let Some((narrator, n)) = turns.next() else { break };
                    begun[narrator.0 as usize].push(n);
                    speaking.push(narrator);
                }
                prop_assert!(threads < 2 || speaking.contains(&a) && speaking.contains(&b));
                let ended = speaking.swap_remove(end % speaking.len());
                turns.done(ended);
                // With one thread each, who is slower is behind because of its own phrases.
                prop_assert!(threads > 1 || begun[0].len().abs_diff(begun[1].len()) <= 1, "{begun:?}");
            }
            prop_assert!(begun.iter().all(|line| line.is_sorted()));
        }
    }
}
