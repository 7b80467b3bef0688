//! Days of people, told line by line. Times are in milliseconds; the microphone runs in real time.
//!
//! ```text
//! 1000 turn 200-1200 turn-it-on     a recording begins at 1000; speech in it from 200 to 1200; nothing said: `_`
//! 2500 delta                     with a position, too: 2500 delta 1100
//! 2600 final 1100-2700 turn-it-on   with or without a position
//! 2700 failed 1100-2700 overloaded  likewise
//! 2800 sound                        of the reply
//! 2900 done                         the reply
//! 3000 trouble bad_frame
//! 9000 end
//! ```

use super::*;
use crate::audio::{SampleRate, Span};
use proptest::prelude::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn stretch(range: &str) -> Option<Stretch> {
    let (start, end) = range.split_once('-')?;
    Some(Stretch { start: ms(start.parse().ok()?), end: ms(end.parse().ok()?) })
}

/// A recording of 8 kHz with 300 ms of silence behind its speech; `speech` as in `200-1200+1500-1800`.
fn clip(speech: &str, text: &str) -> Arc<Clip> {
    let parts: Vec<_> = speech.split('+').filter_map(stretch).collect();
    let span =
        |part: &Stretch| Span::new(part.start.as_millis() as u64 * 16, part.end.as_millis() as u64 * 16);
    let length = parts.last().map_or(1_000, |last| last.end.as_millis() as usize + 300);
    Arc::new(Clip {
        file: "a.wav".into(),
        kind: text.chars().take(1).collect(),
        text: text.trim_matches('_').into(),
        samples: vec![0; length * 8].into(),
        rate: SampleRate::TELEPHONE,
        speech: parts.iter().map(span).collect(),
    })
}

/// Plays a day to its last line.
fn diary(tells_positions: bool, day: &str) -> Diary {
    let mut diary = Diary::new(tells_positions, Duration::from_secs(30));
    let mut clock = 0;
    for line in day.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split(' ').collect();
        let now: u64 = words[0].parse().unwrap();
        while clock + 20 <= now {
            clock += 20;
            diary.said(ms(clock), ms(clock));
        }
        let start = words.get(2).and_then(|start| start.parse().ok()).map(ms);
        let (heard, text) = match words[2..] {
            [text] => (None, text),
            [range, text] => (stretch(range), text),
            _ => (None, ""),
        };
        let text = text.trim_matches('_').to_owned();
        match words[1] {
            "turn" => diary.begin_turn(clip(words[2], words[3]), ms(now)),
            "delta" => diary.hear(ms(now), Heard::Delta { text, start }),
            "final" => diary.hear(ms(now), Heard::Final(Final { text, stretch: heard, ..Final::default() })),
            "failed" => diary.hear(ms(now), Heard::Failed { code: text, stretch: heard }),
            "sound" => diary.hear(ms(now), Heard::ReplyAudio(ms(40))),
            "done" => diary.hear(ms(now), Heard::ReplyDone),
            "trouble" => diary.hear(ms(now), Heard::Trouble { code: text, message: String::new() }),
            "end" => {}
            unknown => panic!("{unknown}"),
        }
    }
    diary
}

/// What is left of the day after its last line.
fn closed(tells_positions: bool, day: &str) -> PersonOutcome {
    let last = day.trim().lines().last().and_then(|line| line.trim().split(' ').next());
    let end = ms(last.and_then(|now| now.parse().ok()).expect("a line begins with its time"));
    diary(tells_positions, day).close(end, Duration::ZERO)
}

fn told(turn: &TurnOutcome) -> String {
    let fate = format!("{:?}", turn.fate).to_lowercase();
    let figures = [("", turn.final_latency), (" delta", turn.first_delta), (" sound", turn.first_audio)];
    let known =
        figures.iter().filter_map(|(name, figure)| Some(format!("{name} {}", figure.as_ref()?.as_millis())));
    known.fold(fate, |told, figure| told + &figure)
}

/// What is left of the day: `answered 400 delta 800 | lost; 1 of 6 words wrong`.
fn outcome(tells_positions: bool, day: &str) -> String {
    let outcome = closed(tells_positions, day);
    let turns: Vec<_> = outcome.turns.iter().map(told).collect();
    let sum = |of: fn(&Score) -> u64| outcome.scores.iter().map(of).sum::<u64>();
    let (wrong, words) = (sum(|score| score.errors), sum(|score| score.words));
    format!("{}; {wrong} of {words} words wrong", turns.join(" | "))
}

fn check(tells_positions: bool, cases: &[(&str, &str)]) {
    for (day, expected) in cases {
        assert_eq!(outcome(tells_positions, day), *expected, "{day}");
    }
}

#[test]
fn a_text_tells_when_it_came_since_people_were_at_their_pace() {
    let day = "0 turn 0-500 one
        1000 final 0-600 one
        2000 turn 0-500 two
        3600 final 2000-2600 two
        9000 end";
    let closed = diary(true, day).close(ms(9_000), ms(1_500));
    let told: Vec<_> = closed.finals.iter().map(|heard| (heard.steady, heard.at)).collect();
    assert_eq!(told, [(false, Duration::ZERO), (true, ms(2_100))]);
}

#[test]
fn final_latency_runs_from_the_last_speech_sent_to_the_last_final() {
    check(
        true,
        &[
            (
                "1000 turn 200-1200 a-b-c
                 2600 final 900-2700 a-b-c",
                "answered 400; 0 of 3 words wrong",
            ),
            // A long recording gives several texts, and they may come out of order.
            (
                "1000 turn 200-1200+2000-4000 a-b-c-d
                 2900 final 900-2700 a-b
                 5300 final 2700-5400 c-x",
                "answered 300; 1 of 4 words wrong",
            ),
            (
                "1000 turn 200-1200+2000-4000 a-b-c-d
                 5300 final 2700-5400 c-d
                 5400 final 900-2700 a-b",
                "answered 400; 0 of 4 words wrong",
            ),
            // Two turns become one text: both waited for it.
            (
                "1000 turn 200-1200 a-b-c
                 2500 turn 0-1000 d-e
                 4000 final 900-4000 a-b-d-e",
                "answered 1800 | answered 500; 1 of 5 words wrong",
            ),
            // It is heard to within half a second of its end: the label is longer.
            (
                "1000 turn 200-2000 a
                 3400 final 900-2500 a",
                "answered 400; 0 of 1 words wrong",
            ),
            // A server may find nothing in it.
            (
                "1000 turn 200-1200 a-b
                 2600 final 900-2700 _",
                "answered; 2 of 2 words wrong",
            ),
            // Its beginning came while it was spoken, and of the rest nothing is understood.
            (
                "1000 turn 200-1200+2000-4000 a-b
                 2900 final 900-2700 a
                 5300 final 2700-5400 _",
                "answered 300; 1 of 2 words wrong",
            ),
        ],
    );
}

#[test]
fn a_text_belongs_to_turns_that_it_overlaps_and_not_to_those_it_touches() {
    check(
        true,
        &[
            // The second text begins before the first turn's label ends.
            (
                "1000 turn 200-1200 a-b
                 2600 final 900-2100 a-b
                 3200 turn 100-1200 c-d
                 4700 final 2100-4600 c-d",
                "answered 400 | answered 300; 0 of 4 words wrong",
            ),
            // Silence without text says nothing of the turns beside it.
            (
                "1000 turn 200-1200 a-b
                 2600 final 900-2100 a-b
                 4000 final 2100-4000 _",
                "answered 400; 0 of 2 words wrong",
            ),
            // A little beside it is still of it, far away is of nobody.
            (
                "1000 turn 200-700 a-b
                 2600 final 2000-2300 a-b",
                "answered 900; 0 of 2 words wrong",
            ),
            (
                "1000 turn 200-700 a-b
                 6000 final 4000-5000 c",
                "awaited; 3 of 2 words wrong",
            ),
            // A word or two that touch nothing else.
            (
                "1000 turn 200-1200 a-b
                 3000 final 2100-2900 a-b",
                "answered 800; 0 of 2 words wrong",
            ),
        ],
    );
}

#[test]
fn a_turn_is_lost_when_its_last_speech_was_never_heard_or_failed() {
    check(
        true,
        &[
            // Only its beginning came.
            (
                "1000 turn 200-1200+2000-4000 a-b-c
                 2900 final 900-2700 a
                 8000 turn 0-1000 d
                 9500 final 7900-9500 d",
                "lost | answered 500; 2 of 4 words wrong",
            ),
            (
                "1000 turn 200-1200 a-b
                 2600 failed 900-2700 overloaded",
                "lost; 2 of 2 words wrong",
            ),
            // A failure of one part fails the turn.
            (
                "1000 turn 200-1200+2000-4000 a-b-c
                 2900 failed 900-2700 overloaded
                 5300 final 2700-5400 b-c",
                "lost; 1 of 3 words wrong",
            ),
            // Nothing came, and nothing later either: who knows.
            (
                "1000 turn 200-1200 a-b
                 9000 end",
                "awaited; 2 of 2 words wrong",
            ),
            // Nobody waits for ever.
            (
                "1000 turn 200-1200 a-b
                 40000 end",
                "lost; 2 of 2 words wrong",
            ),
            // It was broken off: nobody can say what its text should be.
            (
                "1000 turn 200-1200 a-b
                 2000 end",
                "unfinished; 0 of 0 words wrong",
            ),
        ],
    );
}

#[test]
fn whatever_comes_of_a_recording_without_text_is_wrong_and_never_lost() {
    check(
        true,
        &[
            (
                "1000 turn - _
                 3000 end",
                "silent; 0 of 0 words wrong",
            ),
            (
                "1000 turn - _
                 2500 final 1300-1900 thank-you",
                "silent; 2 of 0 words wrong",
            ),
            (
                "1000 turn - _
                 2500 failed 1300-1900 overloaded",
                "silent; 0 of 0 words wrong",
            ),
            (
                "1000 turn - _
                 2500 final 1300-1900 _",
                "silent; 0 of 0 words wrong",
            ),
        ],
    );
}

#[test]
fn without_positions_a_text_is_of_the_latest_turn_and_the_last_one_counts() {
    check(
        false,
        &[
            (
                "1000 turn 200-1200 a-b-c
                 2100 final a
                 2600 final b
                 2900 final c
                 4000 turn 0-500 d
                 4700 final d",
                "answered 700 | answered 200; 0 of 4 words wrong",
            ),
            // What comes before its last speech is no answer, even to a short turn.
            (
                "1000 turn 100-400 a-b
                 1300 final a
                 9000 end",
                "awaited; 1 of 2 words wrong",
            ),
            // Positions do not count where they cannot be relied on.
            (
                "1000 turn 200-1200 a
                 2600 final 90000-91000 a",
                "answered 400; 0 of 1 words wrong",
            ),
            (
                "1000 turn 200-1200 a
                 2600 failed overloaded
                 4000 turn 0-500 d
                 4700 final d",
                "lost | answered 200; 1 of 2 words wrong",
            ),
            (
                "1000 turn 200-1200 a
                 4000 turn 0-500 d
                 4700 final d",
                "lost | answered 200; 1 of 2 words wrong",
            ),
            (
                "500 final x
                 1000 turn 200-1200 a
                 2600 final a",
                "answered 400; 1 of 1 words wrong",
            ),
        ],
    );
}

#[test]
fn what_has_no_position_though_others_do_is_of_the_first_turn_that_waits() {
    check(
        true,
        &[(
            "1000 turn 200-1200 a
             3000 turn 0-500 b
             3600 failed overloaded
             3700 final 2900-3900 b",
            "lost | answered 200; 1 of 2 words wrong",
        )],
    );
}

#[test]
fn the_first_delta_is_of_the_turn_that_is_being_heard() {
    check(
        true,
        &[
            (
                "500 delta
                 1000 turn 200-1200 a
                 1100 delta
                 1700 delta
                 1900 delta
                 2600 final 900-2700 a
                 2700 delta",
                "answered 400 delta 480; 0 of 1 words wrong",
            ),
            // The server is behind: its deltas are still of the first turn.
            (
                "1000 turn 200-1200 a
                 3200 turn 0-800 b
                 3300 delta
                 3400 final 900-2700 a
                 3600 delta
                 4300 final 3000-4500 b",
                "answered 1200 delta 2080 | answered 300 delta 380; 0 of 2 words wrong",
            ),
            // It says whose it is: what is left of the first turn is not of the second, nor what comes too late.
            (
                "1000 turn 200-1200 a
                 2600 final 900-2200 a
                 3200 turn 0-800 b
                 3300 delta 900
                 3600 delta 3100
                 4300 final 3000-4500 b
                 4400 turn 100-800 c
                 4700 delta 3100
                 5300 final 4300-5400 c",
                "answered 400 | answered 300 delta 380 | answered 100; 0 of 3 words wrong",
            ),
            // Noise has none.
            (
                "1000 turn - _
                 1500 delta",
                "silent; 0 of 0 words wrong",
            ),
        ],
    );
}

#[test]
fn the_first_sound_of_each_reply_counts_from_the_last_speech() {
    check(
        true,
        &[
            (
                "1000 turn 200-1200 a
                 2600 final 900-2700 a
                 3000 sound
                 3040 sound
                 3100 done
                 4000 turn 0-500 b
                 4700 final 3900-4800 b
                 5000 sound",
                "answered 400 sound 800 | answered 200 sound 500; 0 of 2 words wrong",
            ),
            // A reply that goes on while the next turn is spoken is still the same one, done or not.
            (
                "1000 turn 200-1200 a
                 2600 final 900-2700 a
                 3000 sound
                 4000 turn 0-500 b
                 4400 sound
                 4600 sound
                 4700 final 3900-4800 b
                 5000 sound",
                "answered 400 sound 800 | answered 200 sound 500; 0 of 2 words wrong",
            ),
        ],
    );
}

#[test]
fn a_text_is_awaited_until_the_server_is_done_with_it_or_nobody_has_patience() {
    for (day, awaits) in [
        ("1000 turn 200-1200 a\n2180 end", true),
        ("1000 turn 200-1200 a\n2200 end", true),
        ("1000 turn 200-1200 a\n2600 final 900-2700 a", false),
        ("1000 turn 200-1200 a\n2600 final 900-1500 _", true),
        ("1000 turn 200-1200 a\n2600 failed 900-2700 late", false),
        ("1000 turn - _\n9000 end", false),
    ] {
        let mut diary = diary(true, day);
        assert_eq!(diary.awaits_text(ms(9_000)), awaits, "{day}");
        assert_eq!(diary.awaits_text(ms(9_000)), awaits, "{day}, asked again");
    }
    let mut forgotten = diary(true, "1000 turn 200-1200 a\n2200 end");
    assert!(!forgotten.awaits_text(ms(33_000)));
    forgotten.begin_turn(clip("200-1200", "b"), ms(40_000));
    assert!(forgotten.awaits_text(ms(41_000)), "there is something new to wait for");
}

#[test]
fn only_turns_at_full_pace_have_latencies_and_all_have_words() {
    let day = "1000 turn 200-1200 a
               1700 delta
               2600 final 900-2700 a
               4000 turn 0-500 b
               4700 final 3900-4800 x";
    let outcome = diary(true, day).close(ms(9_000), ms(4_000));
    let turns: Vec<_> = outcome.turns.iter().map(told).collect();
    assert_eq!(turns, ["answered", "answered 200"]);
    assert_eq!(outcome.finals.iter().map(|heard| heard.steady).collect::<Vec<_>>(), [false, true]);
    assert_eq!(outcome.scores.iter().map(|score| score.errors).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn errors_are_counted_by_code_and_strays_and_speech_are_kept() {
    let day = "1000 turn 200-1200 a
               2000 trouble bad_frame
               2600 failed 900-2700 late
               2700 trouble late
               6000 final 5000-6000 boo
               6100 final 6000-6100 _
               7000 turn 0-1000 b
               7500 end";
    let mut outcome = closed(true, day);
    assert_eq!(outcome.trouble, [("bad_frame".to_owned(), 1), ("late".to_owned(), 2)].into());
    assert_eq!(outcome.strays().collect::<Vec<_>>(), ["boo"]);
    assert_eq!((outcome.finals.len(), outcome.spoken), (1, ms(1_500 + 500)));
    outcome.absorb(closed(true, day));
    assert_eq!((outcome.turns.len(), outcome.finals.len(), outcome.trouble["late"]), (4, 2, 4));
}

#[test]
fn texts_on_a_later_connection_are_of_the_turns_on_it() {
    let day = "1000 turn 200-1200 a
               2600 final 900-2700 a
               7000 turn 0-1000 b";
    let mut outcome = closed(true, day);
    outcome.absorb(closed(true, day));
    assert_eq!(outcome.finals.iter().map(|heard| heard.turn).collect::<Vec<_>>(), [Some(0), Some(2)]);
}

#[test]
fn words_of_a_text_of_two_turns_count_for_the_kind_that_said_most() {
    let day = "1000 turn 200-1200 a-b-c
               2500 turn 0-1000 d-e
               4000 final 900-4000 a-b-d-e";
    let score = Score { kind: "a".into(), words: 5, errors: 1, streamed_errors: None, awaited: false };
    assert_eq!(closed(true, day).scores, [score]);
}

proptest! {
    /// Fails if a right answer, cut and delayed as servers do, is ever missed, misplaced or counted wrong.
    #[test]
    fn a_good_server_loses_nothing(
        turns in proptest::collection::vec((500_u64..4_000, 1_000_u64..5_000, 0_u64..300, 0_u64..500, 0_u64..3_000), 1..12),
    ) {
        let mut at = 1_000;
        let mut lines = Vec::new();
        for (index, (speech, pause, blur, silence, delay)) in turns.iter().enumerate() {
            let (start, end) = (at + 200, at + 200 + speech);
            lines.push((at, format!("turn 200-{} w{index}", 200 + speech)));
            lines.push((end + silence + delay, format!("final {}-{} w{index}", start - blur, end + silence)));
            at = end + 300 + pause;
        }
        lines.sort_by_key(|(at, _)| *at);
        lines.push((at + 5_000, "end".to_owned()));
        let day: Vec<_> = lines.iter().map(|(at, line)| format!("{at} {line}")).collect();
        let outcome = closed(true, &day.join("\n"));
        prop_assert!(outcome.scores.iter().all(|score| score.errors == 0), "{:?}", outcome.scores);
        for (turn, (.., silence, delay)) in outcome.turns.iter().zip(&turns) {
            prop_assert_eq!(turn.fate, Fate::Answered);
            // Sent in frames of 20 ms.
            let latency = turn.final_latency.unwrap().as_millis() as u64;
            prop_assert!((silence + delay).saturating_sub(20) <= latency && latency <= silence + delay);
        }
    }
}
