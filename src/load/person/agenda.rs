//! When a person speaks: pauses, waiting for the text or the reply, interrupting it, and going home. Pure.
//!
//! All times are since the person's stream began.

use crate::load::turns::Turn;
use std::time::Duration;

/// How a person behaves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// No turn begins from then on.
    pub(super) until: Duration,
    /// How long to wait for a text or a reply at most.
    pub(super) patience: Duration,
    pub(super) waits_for_text: bool,
    pub(super) converses: bool,
}

/// What the person knows of the other side.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct View {
    /// Something that was said has no final text yet.
    pub(super) awaits_text: bool,
    /// The spoken reply to what was said last, as far as it came.
    pub(super) reply: Reply,
}

/// A spoken reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Reply {
    /// When its first piece came.
    pub(super) began: Option<Duration>,
    /// How long it is so far.
    pub(super) length: Duration,
    /// Whether that is all.
    pub(super) complete: bool,
}

impl Reply {
    /// A piece of it came.
    pub(super) fn hear(&mut self, now: Duration, length: Duration) {
        self.began.get_or_insert(now);
        self.length += length;
    }

    /// Whether the listener has heard it to its end.
    fn is_over(&self, now: Duration) -> bool {
        self.complete && self.began.is_none_or(|began| began + self.length <= now)
    }

    /// Whether it has been going on for so long.
    fn has_gone_on(&self, how_long: Duration, now: Duration) -> bool {
        self.began.is_some_and(|began| now >= began + how_long)
    }
}

/// What somebody says, one thing after the other, without end.
pub(in crate::load) type Topics = Box<dyn Iterator<Item = Turn> + Send>;

/// What to do with the next frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Go on with what is being said, or be silent.
    Continue,
    /// Begin to say this recording.
    Say(usize),
    /// It is over: hang up.
    Leave,
}

/// What is waited for after a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Text,
    /// The text, and what the server says to it.
    Reply,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Pausing { until: Duration },
    Speaking,
    Listening { since: Duration, to: Expected },
    Leaving { since: Duration },
}

/// What a person has yet to say, and what it is doing.
pub(super) struct Agenda {
    rules: Rules,
    topics: Topics,
    /// What it says next, or is saying until the recording is over.
    turn: Turn,
    phase: Phase,
    /// Replies that did not come, or not to their end.
    pub(super) missed_replies: u64,
}

impl Agenda {
    pub(super) fn new(rules: Rules, mut topics: Topics) -> Self {
        let turn = take(&mut topics);
        let phase = Phase::Pausing { until: turn.pause };
        Self { rules, topics, turn, phase, missed_replies: 0 }
    }

    /// What to do now. It is asked before every frame.
    pub(super) fn step(&mut self, now: Duration, view: View) -> Step {
        if let Phase::Listening { since, to } = self.phase {
            self.listen(since, to, now, view);
        }
        match self.phase {
            Phase::Pausing { .. } if now >= self.rules.until => {
                self.phase = Phase::Leaving { since: now };
                Step::Continue
            }
            Phase::Pausing { until } if now >= until => {
                self.phase = Phase::Speaking;
                Step::Say(self.turn.clip)
            }
            Phase::Leaving { since } if !view.awaits_text || now >= since + self.rules.patience => {
                Step::Leave
            }
            _ => Step::Continue,
        }
    }

    /// The recording is over. Nobody replies to one that `has_text` says has none.
    pub(super) fn turn_ended(&mut self, now: Duration, has_text: bool) {
        self.turn = take(&mut self.topics);
        let replied = self.rules.converses && has_text;
        self.phase = if self.rules.waits_for_text || replied {
            let to = if replied { Expected::Reply } else { Expected::Text };
            Phase::Listening { since: now, to }
        } else {
            Phase::Pausing { until: now + self.turn.pause }
        };
    }

    /// Begins to think about what comes next when what was waited for has come, or nothing does; or cuts in.
    fn listen(&mut self, since: Duration, to: Expected, now: Duration, view: View) {
        let replied = to == Expected::Text || view.reply.is_over(now);
        let answered = !view.awaits_text && replied;
        let interrupts = self.turn.interrupts.filter(|_| to == Expected::Reply);
        let cuts_in = interrupts.is_some_and(|after| view.reply.has_gone_on(after, now));
        let gave_up = now >= since + self.rules.patience;
        if !(answered || cuts_in || gave_up) {
            return;
        }
        if gave_up && !replied && !cuts_in {
            self.missed_replies += 1;
        }
        let pause = if cuts_in && !answered { Duration::ZERO } else { self.turn.pause };
        self.phase = Phase::Pausing { until: now + pause };
    }
}

fn take(topics: &mut Topics) -> Turn {
    topics.next().expect("people always have something to say")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::turns::{TurnSettings, Turns};

    const UNTIL: Duration = Duration::from_secs(1_000);
    const PATIENCE: Duration = Duration::from_secs(30);

    fn agenda(waits_for_text: bool, interrupts: Option<f64>) -> Agenda {
        let settings =
            TurnSettings { duty: 0.5, interrupts: interrupts.unwrap_or_default(), ..TurnSettings::default() };
        let rules =
            Rules { until: UNTIL, patience: PATIENCE, waits_for_text, converses: interrupts.is_some() };
        Agenda::new(rules, Box::new(Turns::new(&settings, 0, &[Duration::from_secs(2)])))
    }

    /// Lets frames go by until something is to be done; says when that was.
    fn next(agenda: &mut Agenda, from: Duration, view: View) -> (Duration, Step) {
        let mut now = from;
        loop {
            now += Duration::from_millis(40);
            assert!(now < UNTIL * 2, "it goes on for ever");
            match agenda.step(now, view) {
                Step::Continue => {}
                step => return (now, step),
            }
        }
    }

    /// Speaks the first recording, for two seconds; gives the time of its end.
    fn speak(agenda: &mut Agenda) -> Duration {
        let (begun, step) = next(agenda, Duration::ZERO, View::default());
        assert_eq!(step, Step::Say(0));
        let ended = begun + Duration::from_secs(2);
        agenda.turn_ended(ended, true);
        ended
    }

    const AWAITING: View =
        View { awaits_text: true, reply: Reply { began: None, length: Duration::ZERO, complete: false } };

    #[test]
    fn who_keeps_a_schedule_speaks_again_after_the_pause_whatever_has_come() {
        let mut agenda = agenda(false, None);
        let ended = speak(&mut agenda);
        let pause = agenda.turn.pause;
        let (again, step) = next(&mut agenda, ended, AWAITING);
        assert_eq!(step, Step::Say(0));
        assert!(again >= ended + pause && again < ended + pause + Duration::from_millis(80));
    }

    #[test]
    fn who_waits_for_the_text_does_not_speak_before_it_is_there_or_patience_is_over() {
        let mut agenda = agenda(true, None);
        let ended = speak(&mut agenda);
        let (again, _) = next(&mut agenda, ended, AWAITING);
        assert!(again >= ended + PATIENCE + agenda.turn.pause);
    }

    #[test]
    fn a_reply_is_heard_to_its_end_before_the_next_turn() {
        let mut agenda = agenda(false, Some(0.0));
        let ended = speak(&mut agenda);
        let mut reply = Reply::default();
        reply.hear(ended + Duration::from_secs(1), Duration::from_secs(6));
        let unfinished = View { awaits_text: false, reply };
        assert_eq!(agenda.step(ended + Duration::from_secs(20), unfinished), Step::Continue);
        reply.complete = true;
        let (again, _) = next(&mut agenda, ended, View { awaits_text: false, reply });
        assert!(again >= ended + Duration::from_secs(7) + agenda.turn.pause);
        assert_eq!(agenda.missed_replies, 0);
    }

    #[test]
    fn who_interrupts_speaks_while_the_reply_goes_on() {
        let mut agenda = agenda(false, Some(1.0));
        let ended = speak(&mut agenda);
        let mut reply = Reply::default();
        reply.hear(ended, Duration::from_secs(600));
        let after = agenda.turn.interrupts.expect("it always interrupts");
        let (again, step) = next(&mut agenda, ended, View { awaits_text: false, reply });
        assert_eq!(step, Step::Say(0));
        assert!(
            again >= ended + after && again < ended + after + Duration::from_millis(80),
            "{again:?} {after:?}"
        );
    }

    #[test]
    fn a_reply_that_never_comes_is_missed_once() {
        let mut agenda = agenda(false, Some(0.0));
        let ended = speak(&mut agenda);
        let (again, _) = next(&mut agenda, ended, View::default());
        assert!(again >= ended + PATIENCE);
        assert_eq!(agenda.missed_replies, 1);
    }

    #[test]
    fn a_reply_is_not_missed_when_only_the_text_is() {
        let mut agenda = agenda(true, Some(0.0));
        let ended = speak(&mut agenda);
        let reply = Reply { began: Some(ended), length: Duration::from_secs(2), complete: true };
        let (again, _) = next(&mut agenda, ended, View { awaits_text: true, reply });
        assert!(again >= ended + PATIENCE);
        assert_eq!(agenda.missed_replies, 0);
    }

    #[test]
    fn nobody_replies_to_a_recording_without_text() {
        for waits_for_text in [false, true] {
            let mut agenda = agenda(waits_for_text, Some(1.0));
            let begun = next(&mut agenda, Duration::ZERO, View::default()).0;
            agenda.turn_ended(begun, false);
            let pause = agenda.turn.pause;
            let (again, _) = next(&mut agenda, begun, View::default());
            assert!(again < begun + pause + Duration::from_millis(120), "{again:?} {pause:?}");
            assert_eq!(agenda.missed_replies, 0);
        }
    }

    #[test]
    fn nothing_new_is_said_after_the_end_and_the_last_text_is_waited_for() {
        for (view, waited) in [(View::default(), Duration::ZERO), (AWAITING, PATIENCE)] {
            let mut agenda = agenda(false, None);
            speak(&mut agenda);
            let (left, step) = next(&mut agenda, UNTIL, view);
            assert_eq!(step, Step::Leave);
            assert!(left >= UNTIL + waited && left < UNTIL + waited + Duration::from_millis(200), "{left:?}");
        }
    }
}
