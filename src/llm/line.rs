//! Who may ask the model next. Pure: no clock, no lock, no tokio.
//!
//! Askers take turns: of those who wait, each is served once before anybody is served twice. Whoever has many requests
//! in line keeps nobody waiting for all of them.

use std::collections::{HashMap, VecDeque};

/// A number in line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

/// What a newcomer is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// Go ahead.
    Admitted,
    /// Wait for this number.
    Waiting(Ticket),
    /// So many wait already.
    Full(usize),
}

/// The line before a number of places.
#[derive(Debug)]
pub(super) struct Line {
    /// Places that nobody has; 0 while anybody waits.
    free: usize,
    /// How many may wait.
    limit: usize,
    waiting: usize,
    /// Who waits, in order of turns; each of them stands here once.
    turns: VecDeque<u64>,
    /// What each of them waits with, oldest first, never empty.
    tickets: HashMap<u64, VecDeque<Ticket>>,
    next: u64,
}

impl Line {
    /// So many places, and a line of at most `limit`.
    pub(super) fn new(places: usize, limit: usize) -> Self {
        Self { free: places, limit, waiting: 0, turns: VecDeque::new(), tickets: HashMap::new(), next: 0 }
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Somebody wants a place.
    pub(super) fn enter(&mut self, asker: u64) -> Entry {
        if self.free > 0 {
            self.free -= 1;
            return Entry::Admitted;
        }
        if self.waiting >= self.limit {
            return Entry::Full(self.waiting);
        }
        let ticket = Ticket(self.next);
        self.next += 1;
        self.waiting += 1;
        let own = self.tickets.entry(asker).or_default();
        if own.is_empty() {
            self.turns.push_back(asker);
        }
        own.push_back(ticket);
        Entry::Waiting(ticket)
    }

    /// A place is free again; whose turn it is gets it.
    pub(super) fn release(&mut self) -> Option<Ticket> {
        let Some(asker) = self.turns.pop_front() else {
            self.free += 1;
            return None;
        };
        let own = self.tickets.get_mut(&asker)?;
        let ticket = own.pop_front();
        if own.is_empty() {
            self.tickets.remove(&asker);
        } else {
            self.turns.push_back(asker);
        }
        self.waiting -= 1;
        ticket
    }

    /// Somebody no longer waits. Whoever is not in line any more leaves no trace.
    pub(super) fn leave(&mut self, asker: u64, ticket: Ticket) {
        let Some(own) = self.tickets.get_mut(&asker) else { return };
        let before = own.len();
        own.retain(|other| *other != ticket);
        self.waiting -= before - own.len();
        if own.is_empty() {
            self.tickets.remove(&asker);
            self.turns.retain(|other| *other != asker);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// A line in which everybody's ticket is known.
    struct Watched {
        line: Line,
        waiting: BTreeMap<Ticket, u64>,
        held: usize,
    }

    impl Watched {
        fn new(places: usize, limit: usize) -> Self {
            Self { line: Line::new(places, limit), waiting: BTreeMap::new(), held: 0 }
        }

        fn enter(&mut self, asker: u64) -> Entry {
            let entry = self.line.enter(asker);
            match entry {
                Entry::Admitted => self.held += 1,
                Entry::Waiting(ticket) => drop(self.waiting.insert(ticket, asker)),
                Entry::Full(_) => {}
            }
            entry
        }

        /// Who got the place that was given back.
        fn release(&mut self) -> Option<u64> {
            let ticket = self.line.release();
            self.held -= usize::from(ticket.is_none());
            ticket.map(|ticket| self.waiting.remove(&ticket).expect("only who waits is served"))
        }
    }

    #[test]
    fn who_asks_often_does_not_keep_others_waiting() {
        let mut line = Watched::new(1, 9);
        line.enter(1);
        for asker in [1, 1, 1, 2, 3, 2] {
            line.enter(asker);
        }
        let served: Vec<_> = std::iter::from_fn(|| line.release()).collect();
        assert_eq!(served, [1, 2, 3, 1, 2, 1]);
    }

    #[test]
    fn a_line_has_an_end() {
        let mut line = Watched::new(1, 2);
        assert_eq!(line.enter(1), Entry::Admitted);
        line.enter(1);
        line.enter(2);
        assert_eq!(line.enter(3), Entry::Full(2));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Enter(u64),
        Release,
        /// One of those who wait goes away.
        Leave(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0..5_u64).prop_map(Step::Enter),
            2 => Just(Step::Release),
            1 => (0..9_usize).prop_map(Step::Leave),
        ];
        proptest::collection::vec(step, 0..120)
    }

    proptest! {
        #[test]
        fn no_place_is_lost_and_nobody_waits_before_a_free_one(
            steps in steps(), places in 1..4_usize, limit in 0..9_usize,
        ) {
            let mut line = Watched::new(places, limit);
            for step in steps {
                match step {
                    Step::Enter(asker) => drop(line.enter(asker)),
                    Step::Release if line.held > 0 => drop(line.release()),
                    Step::Release => {}
                    Step::Leave(n) => {
                        if let Some((&ticket, &asker)) = line.waiting.iter().nth(n) {
                            line.waiting.remove(&ticket);
                            line.line.leave(asker, ticket);
                            // Once more, as a guard does whose ticket was served meanwhile.
                            line.line.leave(asker, ticket);
                        }
                    }
                }
                prop_assert_eq!(line.line.waiting(), line.waiting.len());
                prop_assert!(line.waiting.len() <= limit);
                prop_assert_eq!(line.line.free, places - line.held);
                prop_assert!(line.waiting.is_empty() || line.held == places);
            }
        }

        #[test]
        fn while_somebody_waits_nobody_is_served_twice(steps in steps()) {
            let mut line = Watched::new(1, 50);
            line.enter(9);
            // Who was served since each of those who wait began to.
            let mut since: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Enter(asker) => {
                        if matches!(line.enter(asker), Entry::Waiting(_)) {
                            since.entry(asker).or_default();
                        }
                    }
                    Step::Release | Step::Leave(_) => {
                        if line.held == 0 {
                            continue;
                        }
                        let Some(served) = line.release() else { continue };
                        since.remove(&served);
                        for (asker, others) in &mut since {
                            prop_assert!(!others.contains(&served), "{} twice before {}", served, asker);
                            others.push(served);
                        }
                        if line.waiting.values().any(|asker| *asker == served) {
                            since.insert(served, Vec::new());
                        }
                    }
                }
            }
        }

        #[test]
        fn an_askers_own_requests_are_served_in_order(askers in proptest::collection::vec(0..4_u64, 0..40)) {
            let mut line = Line::new(0, 50);
            let mut owner = BTreeMap::new();
            for asker in askers {
                if let Entry::Waiting(ticket) = line.enter(asker) {
                    owner.insert(ticket, asker);
                }
            }
            let mut last: BTreeMap<u64, Ticket> = BTreeMap::new();
            while let Some(ticket) = line.release() {
                let before = last.insert(owner[&ticket], ticket);
                prop_assert!(before.is_none_or(|before| before < ticket));
            }
        }
    }
}
