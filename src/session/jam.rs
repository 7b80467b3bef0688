//! Whether it is the pool's line that holds a session's texts up, or its own decodes that are behind. Pure.

use crate::asr::LaneEvent;
use std::time::Duration;
use tokio::time::Instant;

/// What is known about the lease that the oldest utterance needs.
#[derive(Debug, Default)]
pub(super) struct Jam {
    /// Whether there is one.
    held: bool,
    need: Need,
}

/// Whether somebody needs one.
#[derive(Debug, Default, Clone, Copy)]
enum Need {
    #[default]
    Nobody,
    /// If nobody says that it waits, it has one of which nothing was told.
    Perhaps,
    /// Since then.
    Since(Instant),
}

impl Jam {
    /// An utterance is now the oldest, and cannot be read without a lease.
    pub(super) fn begin(&mut self, now: Instant) {
        self.need = Need::Since(now);
    }

    /// An utterance is now the oldest whose decode was begun before. It may hold a lease by now; if it does not, the first
    /// news will be that it waits.
    pub(super) fn go_on(&mut self) {
        self.need = Need::Perhaps;
    }

    /// Nobody needs a lease.
    pub(super) fn end(&mut self) {
        self.need = Need::Nobody;
    }

    /// Takes note of what happened to the leases.
    pub(super) fn follow(&mut self, event: LaneEvent, now: Instant) {
        match event {
            LaneEvent::Waiting(_) => {
                if let Need::Perhaps = self.need {
                    self.need = Need::Since(now);
                }
            }
            LaneEvent::Granted { .. } => self.held = true,
            LaneEvent::Released { .. } => {
                self.held = false;
                // Whoever still waits (its slot was lost) begins anew.
                if let Need::Since(since) = &mut self.need {
                    *since = now;
                }
            }
        }
    }

    /// From when on the line is to blame, if nothing happens until then; `None` while nobody waits in it.
    pub(super) fn blocks_from(&self, patience: Duration) -> Option<Instant> {
        match self.need {
            Need::Since(since) if !self.held => Some(since + patience),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::{SlotId, Standing};

    /// Lets one thing happen every second: `b` an utterance becomes the oldest, `o` one that was begun before, `e` it is read; `w`, `g` and `r` the
    /// lane waits, was granted a lease, has released it. Gives the second from which the line is to blame, with a
    /// patience of 10 s.
    fn blocks_from(script: &str) -> Option<u64> {
        let start = Instant::now();
        let mut jam = Jam::default();
        for (second, step) in script.chars().enumerate() {
            let now = start + Duration::from_secs(second as u64);
            match step {
                'b' => jam.begin(now),
                'o' => jam.go_on(),
                'e' => jam.end(),
                'w' => jam.follow(LaneEvent::Waiting(Standing { position: 1, estimated_wait: None }), now),
                'g' => jam.follow(LaneEvent::Granted { slot: SlotId(0), waited: Duration::ZERO }, now),
                'r' => jam.follow(LaneEvent::Released { held: Duration::ZERO }, now),
                other => unreachable!("no such step: {other}"),
            }
        }
        jam.blocks_from(Duration::from_secs(10)).map(|at| (at - start).as_secs())
    }

    #[test]
    fn the_line_is_to_blame_only_while_an_utterance_waits_in_it() {
        let cases = [
            ("", None),
            ("b", Some(10)),
            ("bww", Some(10)),
            ("bwg", None),
            ("bgre", None),
            ("bgreb", Some(14)),
            // Its slot was lost, and it waits for another.
            ("bgr", Some(12)),
            // A lease that is kept.
            ("gb", None),
            ("gbebe", None),
            ("gbr", Some(12)),
            ("gr", None),
            // What was begun before it was the oldest has its lease, or says that it waits.
            ("o", None),
            ("oww", Some(11)),
            ("owg", None),
            ("gor", None),
            ("oeb", Some(12)),
        ];
        for (script, expected) in cases {
            assert_eq!(blocks_from(script), expected, "{script}");
        }
    }
}
