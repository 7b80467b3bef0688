//! What a lane does about the lease that it keeps. Pure: moments are passed in.

use crate::pool::{AcquireError, LeaseScope};
use std::time::Duration;
use tokio::time::Instant;

#[derive(Debug)]
enum Hold<L> {
    Nothing,
    /// Nothing is done with it, since then.
    Here {
        lease: L,
        since: Instant,
    },
    /// It is in a decode.
    Out,
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<L> {
    /// Stand in line for a lease, until it is there or [`Keeping::is_wanted`] says no.
    Ask,
    /// It was not used for so long that others should have it.
    GiveBack(L),
    /// Look again then, or when something has happened.
    WaitUntil(Instant),
    /// Look again when something has happened.
    Wait,
}

/// A lease that is kept from one decode to the next; `L` is the lease.
#[derive(Debug)]
pub(super) struct Keeping<L> {
    scope: LeaseScope,
    speaking: bool,
    /// Nobody will ever decode here again.
    closed: bool,
    /// A lease was asked for, and is still wanted whatever happens meanwhile: nobody gives up a place in line for a
    /// pause between two words.
    asked: bool,
    /// Decodes that wait for it.
    waiting: usize,
    /// The pool gives no leases any more.
    refused: Option<AcquireError>,
    hold: Hold<L>,
}

impl<L> Keeping<L> {
    pub(super) fn new() -> Self {
        Self {
            scope: LeaseScope::Utterance,
            speaking: false,
            closed: false,
            asked: false,
            waiting: 0,
            refused: None,
            hold: Hold::Nothing,
        }
    }

    pub(super) fn scope(&self) -> LeaseScope {
        self.scope
    }

    pub(super) fn set_scope(&mut self, scope: LeaseScope) {
        if self.scope != scope {
            self.scope = scope;
            self.refused = None;
            self.asked = scope == LeaseScope::Session && matches!(self.hold, Hold::Nothing);
        }
    }

    /// Somebody speaks, or has stopped at this moment.
    pub(super) fn set_speaking(&mut self, speaking: bool, now: Instant) {
        if let Hold::Here { since, .. } = &mut self.hold
            && self.speaking
        {
            *since = now;
        }
        self.speaking = speaking;
    }

    /// A decode begins to wait for the lease.
    pub(super) fn want(&mut self) {
        self.waiting += 1;
    }

    /// A decode waits no more: it has the lease, or has given up.
    pub(super) fn want_no_more(&mut self) {
        self.waiting -= 1;
    }

    /// Takes the lease for a decode, when it is there; an error when it will never be.
    pub(super) fn take(&mut self) -> Option<Result<L, AcquireError>> {
        match std::mem::replace(&mut self.hold, Hold::Nothing) {
            Hold::Here { lease, .. } => {
                self.hold = Hold::Out;
                Some(Ok(lease))
            }
            other => {
                self.hold = other;
                self.refused.clone().map(Err)
            }
        }
    }

    /// The lease has come: from the line, or back from a decode.
    pub(super) fn put(&mut self, lease: L, now: Instant) {
        self.asked = false;
        self.hold = Hold::Here { lease, since: now };
    }

    /// The lease did not come back from its decode.
    pub(super) fn lose(&mut self) {
        self.hold = Hold::Nothing;
        self.asked = self.scope == LeaseScope::Session;
    }

    /// No lease will come.
    pub(super) fn refuse(&mut self, error: AcquireError) {
        self.refused = Some(error);
    }

    /// Nobody will decode here any more.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// A lease that nobody wants to have kept: to be given back. To be asked for after every change.
    pub(super) fn surplus(&mut self) -> Option<L> {
        let is_kept = !self.closed && (self.scope == LeaseScope::Session || self.waiting > 0);
        if is_kept { None } else { self.let_go() }
    }

    /// Whether a lease is worth standing in line for.
    pub(super) fn is_wanted(&self) -> bool {
        let is_kept = self.scope == LeaseScope::Session && (self.asked || self.speaking);
        !self.closed && self.refused.is_none() && (self.waiting > 0 || is_kept)
    }

    /// What is to be done now. A lease that nobody used for `idle_reclaim`, and in whose session nobody speaks, is given
    /// back; never, if that is `None`.
    pub(super) fn step(&mut self, now: Instant, idle_reclaim: Option<Duration>) -> Step<L> {
        match &self.hold {
            Hold::Nothing if self.is_wanted() => {
                self.asked = self.scope == LeaseScope::Session;
                Step::Ask
            }
            Hold::Here { since, .. } if !self.speaking && self.waiting == 0 => {
                let Some(idle_reclaim) = idle_reclaim else { return Step::Wait };
                let until = *since + idle_reclaim;
                if until > now {
                    return Step::WaitUntil(until);
                }
                self.let_go().map_or(Step::Wait, Step::GiveBack)
            }
            _ => Step::Wait,
        }
    }

    fn let_go(&mut self) -> Option<L> {
        match std::mem::replace(&mut self.hold, Hold::Nothing) {
            Hold::Here { lease, .. } => Some(lease),
            other => {
                self.hold = other;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::test_runner::TestRunner;

    const RECLAIM: Duration = Duration::from_secs(300);

    /// A lane in a story, with an eye on its leases.
    struct Play {
        keeping: Keeping<()>,
        now: Instant,
        granted: usize,
        gone: usize,
        out: bool,
        /// Asks for the surplus, as it should.
        careful: bool,
    }

    impl Play {
        fn new(careful: bool) -> Self {
            Self { keeping: Keeping::new(), now: Instant::now(), granted: 0, gone: 0, out: false, careful }
        }

        fn has_one(&self) -> bool {
            matches!(self.keeping.hold, Hold::Here { .. })
        }

        /// Whether this can happen here and now.
        fn may(&self, event: char) -> bool {
            match event {
                't' => self.has_one() && self.keeping.waiting > 0,
                'p' | 'l' => self.out,
                'g' => !self.has_one() && !self.out && (self.keeping.is_wanted() || self.keeping.closed),
                _ => true,
            }
        }

        /// Lets something happen: `S` and `U` choose the scope, `(` and `)` begin and end speech, `w` waits for the
        /// lease, `t` takes it, `p` puts it back, `l` loses it, `g` grants one, `1` lets a minute pass, `x` closes.
        ///
        /// Tells what follows: `?` a lease is asked for, `!` it is given back, `-` neither.
        fn act(&mut self, event: char) -> char {
            assert!(self.may(event), "{event} cannot happen");
            match event {
                'S' => self.keeping.set_scope(LeaseScope::Session),
                'U' => self.keeping.set_scope(LeaseScope::Utterance),
                '(' | ')' => self.keeping.set_speaking(event == '(', self.now),
                'w' => self.keeping.want(),
                't' => {
                    self.keeping.take().expect("it is there").expect("nobody refused it");
                    self.keeping.want_no_more();
                }
                'p' | 'g' => self.keeping.put((), self.now),
                'l' => self.keeping.lose(),
                '1' => self.now += Duration::from_secs(60),
                _ => self.keeping.close(),
            }
            self.granted += usize::from(event == 'g');
            self.gone += usize::from(event == 'l');
            self.out = event == 't' || self.out && event != 'p' && event != 'l';
            self.follow()
        }

        fn follow(&mut self) -> char {
            if self.careful && self.keeping.surplus().is_some() {
                self.gone += 1;
                return '!';
            }
            match self.keeping.step(self.now, Some(RECLAIM)) {
                Step::Ask => '?',
                Step::GiveBack(()) => {
                    self.gone += 1;
                    '!'
                }
                Step::Wait | Step::WaitUntil(_) => '-',
            }
        }
    }

    fn story(events: &str) -> String {
        let mut play = Play::new(true);
        events.chars().map(|event| if event == ' ' { ' ' } else { play.act(event) }).collect()
    }

    #[test]
    fn a_lease_is_asked_for_at_once_and_kept_from_decode_to_decode() {
        assert_eq!(story("S g wtp wtp"), "? - --- ---");
    }

    #[test]
    fn a_lease_that_nobody_uses_goes_back_and_is_asked_for_when_it_is_needed() {
        assert_eq!(story("Sg 11111 1 ( g"), "?- ----! - ? -");
        assert_eq!(story("Sg 11111 1 w g t"), "?- ----! - ? - -");
    }

    #[test]
    fn a_lease_stays_while_somebody_speaks_and_for_a_while_after() {
        assert_eq!(story("Sg ( 1111111 ) 1111 1"), "?- - ------- - ---- !");
        assert_eq!(story("Sg 1111 wt 1111111 p 1111 1"), "?- ---- -- ------- - ---- !");
    }

    #[test]
    fn a_place_in_line_is_not_given_up_for_a_pause() {
        assert_eq!(story("Sg 11111 ( ) 1 g"), "?- ----! ? ? ? -");
    }

    #[test]
    fn a_lost_slot_is_asked_for_again() {
        assert_eq!(story("Sg wtl g"), "?- --? -");
    }

    #[test]
    fn another_scope_gives_it_back_when_the_decode_is_done() {
        assert_eq!(story("Sg U"), "?- !");
        assert_eq!(story("Sg wt U p"), "?- -- - !");
        assert_eq!(story("S w U g t p"), "? ? ? - - !", "a decode that waits for it still gets it");
        assert_eq!(story("S U"), "? -", "and nobody goes on asking for it");
    }

    #[test]
    fn a_closed_lane_keeps_nothing() {
        assert_eq!(story("Sg x"), "?- !");
        assert_eq!(story("Sg wt x p"), "?- -- - !");
        assert_eq!(story("S x g"), "? - !", "not even one that was on its way");
    }

    /// Plays what can be played of the events, closes, and ends the decode under way: every lease that was granted must
    /// have gone back, or been lost.
    fn leases_are_conserved(careful: bool) -> bool {
        let stories = proptest::collection::vec(proptest::sample::select("SU()wtplg1".as_bytes()), 0..60);
        let plays = |events: Vec<u8>| {
            let mut play = Play::new(careful);
            for event in events.into_iter().map(char::from).chain(['x', 'p']) {
                if play.may(event) {
                    play.act(event);
                }
            }
            prop_assert_eq!(play.granted, play.gone);
            prop_assert!(!play.keeping.is_wanted());
            Ok(())
        };
        TestRunner::deterministic().run(&stories, plays).is_ok()
    }

    #[test]
    fn every_lease_that_was_granted_goes_back() {
        assert!(leases_are_conserved(true));
        assert!(!leases_are_conserved(false), "whoever forgets the surplus keeps a lease");
    }
}
