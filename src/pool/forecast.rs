//! When those who wait will be served, if nobody comes or leaves. Pure.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// Somebody in line, seen by those behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ahead {
    /// How long it will work.
    pub(super) cost: Duration,
    /// Whether it gives its slot back after that.
    pub(super) returns: bool,
}

/// The wait of everybody in `line`, and at the end that of a newcomer: each takes the slot that comes free first.
///
/// `busy` are the leased slots: how long each will probably go on, `None` where nobody knows. A wait is `None` where it
/// hangs on such a slot.
pub(super) fn forecast(
    idle: usize,
    busy: impl Iterator<Item = Option<Duration>>,
    line: impl Iterator<Item = Ahead>,
) -> Vec<Option<Duration>> {
    let known = busy.flatten().chain(std::iter::repeat_n(Duration::ZERO, idle));
    let mut free_at: BinaryHeap<_> = known.map(Reverse).collect();
    let mut waits: Vec<_> = line.map(|ahead| take(&mut free_at, ahead)).collect();
    waits.push(free_at.peek().map(|Reverse(at)| *at));
    waits
}

fn take(free_at: &mut BinaryHeap<Reverse<Duration>>, Ahead { cost, returns }: Ahead) -> Option<Duration> {
    let Reverse(at) = free_at.pop()?;
    if returns {
        free_at.push(Reverse(at + cost));
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits in seconds, `?` where nobody knows; `busy` and `line` in seconds, 0 for a lease that is kept.
    fn waits(idle: usize, busy: &[u64], line: &[u64]) -> String {
        let busy = busy.iter().map(|left| (*left > 0).then(|| Duration::from_secs(*left)));
        let line = line.iter().map(|cost| Ahead { cost: Duration::from_secs(*cost), returns: *cost > 0 });
        let shown = |wait: Option<Duration>| wait.map_or("?".into(), |wait| wait.as_secs().to_string());
        forecast(idle, busy, line).into_iter().map(shown).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn one_slot_serves_one_after_the_other() {
        assert_eq!(waits(0, &[2], &[3, 4]), "2 5 9");
    }

    #[test]
    fn everybody_takes_the_slot_that_comes_free_first() {
        assert_eq!(waits(0, &[1, 5], &[10, 1, 1]), "1 5 6 7");
    }

    #[test]
    fn an_idle_slot_is_taken_at_once() {
        assert_eq!(waits(1, &[3], &[1]), "0 1");
    }

    #[test]
    fn nobody_knows_when_a_lease_ends_that_is_kept() {
        assert_eq!(waits(0, &[0], &[1]), "? ?");
        assert_eq!(waits(0, &[0, 2], &[1, 0, 1]), "2 3 ? ?");
    }

    #[test]
    fn without_slots_nobody_knows_anything() {
        assert_eq!(waits(0, &[], &[1]), "? ?");
    }
}
