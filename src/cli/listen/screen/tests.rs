//! Sessions, told line by line, and what a terminal shows of them: `E` erases a line, `EE` two, `<…>` is grey, `!…` a note.

use super::*;
use proptest::prelude::*;

/// What a line of a session says:
///
/// ```text
/// (a 1200        somebody begins to speak at 1200 ms
/// a+ words       more of its text
/// a= words       the final text
/// a! code        it fails
/// #2 3000        second in line for three seconds; `#2` without an estimate
/// go             the lease
/// pause, resume, other
/// x why          an error
/// ```
fn event(line: &str) -> DictationEvent {
    let (head, rest) = line.split_once(' ').unwrap_or((line, ""));
    let text = rest.to_owned();
    let ms = |text: &str| text.parse().ok().map(Duration::from_millis);
    let item = head.trim_matches(['(', '+', '=', '!']).to_owned();
    match head {
        "go" => DictationEvent::Granted,
        "pause" => DictationEvent::Interims { paused: true },
        "resume" => DictationEvent::Interims { paused: false },
        "closing" => DictationEvent::Closing { reason: text, retry_after: Duration::ZERO },
        "x" => DictationEvent::Trouble { code: "x".into(), message: text },
        "other" => DictationEvent::Other,
        _ if head.starts_with('#') => {
            DictationEvent::InLine { position: head[1..].parse().unwrap(), estimate: ms(rest) }
        }
        _ if head.starts_with('(') => DictationEvent::SpeechStarted { item, at: ms(rest).unwrap() },
        _ if head.ends_with('+') => DictationEvent::Delta { item, text },
        _ if head.ends_with('=') => DictationEvent::Final { item, text },
        _ => DictationEvent::Failed { item, code: text, message: String::new() },
    }
}

fn readable(pieces: Vec<Piece>) -> String {
    let piece = |piece| match piece {
        Piece::Note(line) => format!("!{line}|"),
        Piece::Out(text) => text
            .replace("\x1b[1A\r\x1b[J", "EE")
            .replace("\x1b[2A\r\x1b[J", "EEE")
            .replace("\x1b[3A\r\x1b[J", "EEEE")
            .replace(ERASE, "E")
            .replace(GREY, "<")
            .replace(PLAIN, ">")
            .replace('\n', "|"),
    };
    pieces.into_iter().map(piece).collect()
}

fn shown(look: Look, width: usize, session: &[&str]) -> Vec<String> {
    let mut screen = Screen::new(look, width);
    session.iter().map(|line| readable(screen.show(&event(line)))).collect()
}

/// A session and, beside each line, what it changes.
fn check(look: Look, width: usize, session: &[(&str, &str)]) {
    let (lines, expected): (Vec<_>, Vec<_>) = session.iter().copied().unzip();
    assert_eq!(shown(look, width, &lines), expected);
}

#[test]
fn words_appear_in_grey_and_become_a_line_of_their_own() {
    check(
        Look::Live,
        80,
        &[
            ("(a 1200", "<…>"),
            ("a+ Set a", "E<Set a>"),
            ("a+  timer", "E<Set a timer>"),
            ("other", ""),
            ("a= Set a timer.", "E  0:01.2  Set a timer.|"),
            ("(b 65000", "<…>"),
            ("b= ", "E"),
        ],
    );
}

#[test]
fn who_speaks_on_before_the_text_is_there_sees_both() {
    check(
        Look::Live,
        80,
        &[
            ("(a 0", "<…>"),
            ("a+ one", "E<one>"),
            ("(b 2000", ""),
            ("b+ two", "E<one two>"),
            ("a= One.", "E  0:00.0  One.|<two>"),
            ("b= Two.", "E  0:02.0  Two.|"),
        ],
    );
}

#[test]
fn who_waits_sees_where_and_for_how_long() {
    check(
        Look::Live,
        80,
        &[
            ("(a 0", "<…>"),
            ("#2 2100", "E<(waiting, 2nd in line, about 3 s)>"),
            ("#1", "E<(waiting, 1st in line)>"),
            ("a+ word", "E<word (waiting, 1st in line)>"),
            ("go", "E<word>"),
            ("#3 10", "E<word (waiting, 3rd in line, about 1 s)>"),
            ("a= Word.", "E  0:00.0  Word.|"),
        ],
    );
}

#[test]
fn a_long_partial_is_wrapped_at_words_and_keeps_to_its_last_lines() {
    check(
        Look::Live,
        11,
        &[
            ("(a 0", "<…>"),
            ("a+ one two", "E<one two>"),
            ("a+  three", "E<one two|three>"),
            ("a+  four five six seven eight nine", "EE<…hree four|five six|seven|eight nine>"),
            ("a= x", "EEEE  0:00.0  x|"),
        ],
    );
}

#[test]
fn notes_stand_between_the_block_and_what_was_said() {
    check(
        Look::Live,
        80,
        &[
            ("a+ word", "<word>"),
            ("pause", "E!note: the server is busy, words come when an utterance ends|<word>"),
            ("resume", "E!note: words come again while they are spoken|<word>"),
            ("x too late", "E!error: the server complains: too late (x)|<word>"),
            ("closing idle", "E!note: the server closes the session: idle|<word>"),
            ("a! overloaded", "E!error: no text for what was said: overloaded|"),
            ("(b 61500", "<…>"),
            ("b! lost", "E!error: no text for what was said at 1:01.5: lost|"),
        ],
    );
}

#[test]
fn without_a_terminal_only_final_texts_are_written() {
    let session = ["(a 1200", "a+ Set", "#2 100", "a= Set a timer.", "b= ", "pause"];
    let note = "!note: the server is busy, words come when an utterance ends|";
    assert_eq!(shown(Look::Plain, 80, &session), ["", "", "", "Set a timer.|", "", note]);
    assert_eq!(shown(Look::Timed, 80, &session), ["", "", "", "  0:01.2  Set a timer.|", "", note]);
}

#[test]
fn what_a_server_says_is_no_order_to_the_terminal() {
    let nasty = DictationEvent::Final { item: "a".into(), text: "\x1b[2Jgone\n\u{7}".into() };
    for look in [Look::Plain, Look::Timed, Look::Live] {
        let pieces = Screen::new(look, 80).show(&nasty);
        let [Piece::Out(text)] = &pieces[..] else { panic!("{pieces:?}") };
        assert!(!text.trim_end_matches('\n').contains(char::is_control), "{text:?}");
    }
}

#[test]
fn the_end_leaves_nothing_grey_behind() {
    let mut screen = Screen::new(Look::Live, 80);
    screen.show(&event("a+ half a sen"));
    assert_eq!(readable(screen.close()), "E");
    assert_eq!(screen.close(), []);
}

#[test]
fn times_and_places_are_written_as_people_do() {
    let clocks = [0, 59_990, 60_000, 3_600_100].map(|ms| clock(Duration::from_millis(ms)));
    assert_eq!(clocks, ["0:00.0", "0:59.9", "1:00.0", "1:00:00.1"]);
    let ordinals = [1, 2, 3, 4, 11, 12, 13, 21, 22, 101, 111].map(ordinal);
    let expected = ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "22nd", "101st", "111th"];
    assert_eq!(ordinals, expected);
}

proptest! {
    /// Fails if a line of the block is wider than the terminal, so that erasing it would miss a line.
    #[test]
    fn no_line_is_wider_than_the_terminal(
        words in proptest::collection::vec("[a-zé漢]{1,30}", 0..40),
        width in 9_usize..60,
    ) {
        let mut screen = Screen::new(Look::Live, width);
        screen.show(&DictationEvent::Delta { item: "a".into(), text: words.join(" ") });
        let lines = screen.block();
        prop_assert!(lines.len() <= MOST_LINES);
        for line in lines {
            prop_assert!(columns(&line) < width, "{line:?} in {width}");
        }
    }

    /// Fails if wrapping loses, doubles or reorders a character; one line for all would fail above.
    #[test]
    fn wrapping_keeps_every_character(words in proptest::collection::vec("[a-z]{1,30}", 0..40), width in 8_usize..60) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        prop_assert_eq!(wrapped(&words, width).concat().replace(' ', ""), words.concat());
    }
}
