use super::*;
use proptest::prelude::*;

/// `(` speech starts, `|` the detector ends it, `c` a client commits, `w` a text with words comes, `-` one without, `x` the input
/// is cleared, `z` silence times out, `!` a client asks for a reply, `~` it cancels, `.` the reply has been told.
fn cue(step: char) -> Cue {
    match step {
        '(' => Cue::SpeechStarted,
        '|' => Cue::Committed { detected: true },
        'c' => Cue::Committed { detected: false },
        'w' => Cue::Read { words: true },
        '-' => Cue::Read { words: false },
        'x' => Cue::Cleared,
        'z' => Cue::TimedOut,
        '!' => Cue::Create,
        '~' => Cue::Cancel,
        '.' => Cue::Ended,
        other => unreachable!("no such step: {other}"),
    }
}

/// Plays a script of [`cue`]s and writes down what was done: `B` begin after a turn, `C` begin for a client, `?` ask, `S` stop interrupted, `K` stop cancelled,
/// `e` refused because a reply is active, `n` because there is none.
fn played(script: &str, manners: Manners) -> (String, Phase) {
    let mut dialogue = Dialogue::default();
    dialogue.behave(manners);
    let mut done = String::new();
    for step in script.chars() {
        let cue = cue(step);
        match dialogue.take(cue) {
            Ok(acts) => done.extend(acts.into_iter().map(letter)),
            Err(Untimely::ReplyActive) => done.push('e'),
            Err(Untimely::NoReply) => done.push('n'),
        }
    }
    (done, dialogue.phase())
}

fn letter(act: Act) -> char {
    match act {
        Act::Begin(_, Origin::Turn) => 'B',
        Act::Begin(_, Origin::Client) => 'C',
        Act::Ask(_) => '?',
        Act::Stop(_, Reason::Interrupted) => 'S',
        Act::Stop(_, Reason::Cancelled) => 'K',
    }
}

const BOTH: Manners = Manners { create: true, interrupt: true };
const NO_CREATE: Manners = Manners { create: false, interrupt: true };
const NO_INTERRUPT: Manners = Manners { create: true, interrupt: false };

#[test]
fn every_order_of_events_ends_in_the_right_phase() {
    use Phase::{Hearing, Interrupted, Listening, Replying, Transcribing};
    let table = [
        ("nothing happened", BOTH, "", "", Listening),
        ("somebody speaks", BOTH, "(", "", Hearing),
        ("a turn waits for its text", BOTH, "(|", "", Transcribing),
        ("a turn is answered when its text is there", BOTH, "(|w", "B?", Replying),
        ("and then it is quiet again", BOTH, "(|w.", "B?", Listening),
        ("a cough is not answered", BOTH, "(|-", "", Listening),
        ("speech ends the reply", BOTH, "(|w(", "B?S", Interrupted),
        ("the interruption is answered", BOTH, "(|w(|w", "B?SB?", Replying),
        ("a cough that interrupts is no new question", BOTH, "(|w(|-", "B?S", Listening),
        ("who speaks on before the text came is answered once", BOTH, "(|(w|w", "B?", Replying),
        ("also when the rest is only a cough", BOTH, "(|(w|-", "B?", Replying),
        ("also when the rest is cleared", BOTH, "(|(wx", "B?", Replying),
        ("two turns in line are answered once", BOTH, "(|(|ww", "B?", Replying),
        ("speech after the reply interrupts nothing", BOTH, "(|w.(", "B?", Hearing),
        ("nobody asked for a reply", NO_CREATE, "(|w", "", Listening),
        ("then a client did", NO_CREATE, "(|w!", "C?", Replying),
        ("a client asks before the text is there", NO_CREATE, "(|!", "C", Transcribing),
        ("and gets its reply when it is", NO_CREATE, "(|!w", "C?", Replying),
        ("even if there are no words in it", NO_CREATE, "(|!-", "C?", Replying),
        ("a client's commit is not answered", BOTH, "cw", "", Listening),
        ("unless it asks", BOTH, "c!w", "C?", Replying),
        ("a reply waits for all texts before it", BOTH, "cc!ww", "C?", Replying),
        ("and for none that comes later", NO_CREATE, "c!cw", "C?", Replying),
        ("a client asks twice", BOTH, "!!", "C?e", Replying),
        ("a client asks while a turn is answered", BOTH, "(|w!", "B?e", Replying),
        ("a client asks before the turn is answered by itself", BOTH, "(|!w.", "C?", Listening),
        ("a client cancels", BOTH, "(|w~", "B?K", Listening),
        ("a client cancels what is not there", BOTH, "~", "n", Listening),
        ("a client cancels before the reply began", BOTH, "(|~w", "n", Listening),
        ("a client cancels while texts are awaited", BOTH, "c!~w", "CK", Listening),
        ("a cancelled reply is not answered again", BOTH, "(|w~(|w", "B?KB?", Replying),
        ("speech while texts are awaited", BOTH, "c!(w|w", "CSB?", Replying),
        ("a reply that may not be interrupted goes on", NO_INTERRUPT, "(|w(", "B?", Hearing),
        ("and what was said meanwhile is answered after it", NO_INTERRUPT, "(|w(|w.", "B?B?", Replying),
        ("or when its text comes, if that is later", NO_INTERRUPT, "(|w(|.w", "B?B?", Replying),
        ("text without audio: a client just asks", BOTH, "!.!", "C?C?", Replying),
        (
            "a client's commit that nobody answered is no reason to answer a cough",
            BOTH,
            "cw(|-",
            "",
            Listening,
        ),
        ("nor is a turn that was cancelled", BOTH, "(|~w(|-", "n", Listening),
        ("clearing the input leaves the reply alone", BOTH, "(|wx", "B?", Replying),
        ("silence that lasts too long is answered", BOTH, "z|-", "B?", Replying),
        ("unless nothing is answered by itself", NO_CREATE, "z|-", "", Listening),
        ("interrupted and cancelled at once", BOTH, "(|w(~", "B?Sn", Interrupted),
    ];
    for (name, manners, script, expected, phase) in table {
        assert_eq!(played(script, manners), (expected.to_owned(), phase), "{name}: {script}");
    }
}

#[test]
fn what_an_interrupted_reply_left_behind_knows_that_it_is_stale() {
    let mut dialogue = Dialogue::default();
    dialogue.take(Cue::Create).unwrap();
    let Epoch(first) = dialogue.epoch;
    dialogue.take(Cue::SpeechStarted).unwrap();
    assert!(!dialogue.is_current(Epoch(first)));
    dialogue.take(Cue::Cleared).unwrap();
    dialogue.take(Cue::Create).unwrap();
    assert!(!dialogue.is_current(Epoch(first)) && dialogue.is_current(dialogue.epoch));
}

fn cues() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select("(|cw-xz!~.".chars().collect::<Vec<_>>()), 0..60)
        .prop_map(|steps| steps.into_iter().collect())
}

fn manners() -> impl Strategy<Value = Manners> {
    (any::<bool>(), any::<bool>()).prop_map(|(create, interrupt)| Manners { create, interrupt })
}

proptest! {
    /// Begin, then ask or stop, and never two replies at once, whatever happens.
    #[test]
    fn there_is_one_reply_at_a_time_and_each_is_asked_for_at_most_once(script in cues(), manners in manners()) {
        let mut dialogue = Dialogue::default();
        dialogue.behave(manners);
        let (mut open, mut asked) = (None, false);
        for step in script.chars() {
            if step == '.' {
                open = None;
            }
            let cue = cue(step);
            for act in dialogue.take(cue).unwrap_or_default() {
                match act {
                    Act::Begin(epoch, _) => {
                        prop_assert_eq!(open, None);
                        (open, asked) = (Some(epoch), false);
                    }
                    Act::Ask(epoch) => {
                        prop_assert_eq!(open, Some(epoch));
                        prop_assert!(!asked);
                        asked = true;
                    }
                    Act::Stop(epoch, _) => prop_assert_eq!(open.take(), Some(epoch)),
                }
            }
            prop_assert_eq!(open.is_some(), dialogue.has_reply());
        }
    }

    /// Once everything is read and told, nobody who said words is left without an answer.
    #[test]
    fn a_turn_with_words_is_answered_in_the_end(before in cues()) {
        let mut dialogue = Dialogue::default();
        for step in before.chars() {
            let _ = dialogue.take(cue(step));
        }
        let _ = dialogue.take(Cue::Ended);
        let _ = dialogue.take(Cue::SpeechStarted);
        let _ = dialogue.take(Cue::Committed { detected: true });
        let mut begun = Vec::new();
        while dialogue.unread > 0 {
            begun.extend(dialogue.take(Cue::Read { words: true }).unwrap());
        }
        prop_assert!(matches!(begun.as_slice(), [Act::Begin(_, Origin::Turn), Act::Ask(_)]), "{:?}", begun);
    }
}
