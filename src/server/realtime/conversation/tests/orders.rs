//! Orders of events, written down by what OpenAI documents: what happens in a session, and what its client is told, one
//! event a line.

use super::*;
use crate::asr::{Doubt, Withheld};
use crate::session::History;
use std::fmt::Write as _;

fn started(number: u128, at: u64) -> SessionEvent {
    SessionEvent::SpeechStarted { item: item(number), at: at * 16 }
}

fn stopped(number: u128, at: u64) -> SessionEvent {
    SessionEvent::SpeechStopped { item: item(number), at: at * 16 }
}

fn delta(number: u128, text: &str) -> SessionEvent {
    SessionEvent::Delta { item: item(number), text: text.into() }
}

/// A text of which only `rest` was not told before.
fn ended(number: u128, text: &str, rest: &str, diverged_words: u32) -> SessionEvent {
    let rest = Some(rest.to_owned()).filter(|rest| !rest.is_empty());
    let audio = Duration::from_millis(1_500);
    SessionEvent::Read {
        item: item(number),
        audio,
        transcript: Box::new(reading(text)),
        rest,
        diverged_words,
    }
}

fn withheld(number: u128, doubt: Doubt, text: &str) -> SessionEvent {
    let withheld = Some(Withheld { doubt, text: text.into() });
    SessionEvent::Read {
        item: item(number),
        audio: Duration::from_millis(1_500),
        transcript: Box::new(Transcript { withheld, ..reading("") }),
        rest: None,
        diverged_words: 0,
    }
}

/// An event without what is the same in all of them: its short name, its item's number, and what it says.
fn line(frame: &Value) -> String {
    let kind = frame["type"].as_str().expect("every event has a type");
    let kind = kind.trim_start_matches("conversation.").trim_start_matches("input_audio_buffer.");
    let id = frame["item_id"].as_str().or(frame["item"]["id"].as_str()).unwrap_or_default();
    let mut line = format!("{} {id}", kind.replace("input_audio_transcription.", ""));
    let line = &mut line;
    for (key, value) in frame.as_object().expect("events are objects") {
        match (key.as_str(), value) {
            ("type" | "event_id" | "item_id" | "content_index" | "usage", _) => Ok(()),
            ("item", item) if item.get("pool").is_none() => Ok(()),
            ("item", item) => write!(line, " {}", item["pool"]),
            ("error", error) => write!(line, " {}", error["code"]),
            ("pool", pool) => {
                write!(line, " diverged={} withheld={}", pool["diverged_words"], pool["withheld"])
            }
            (key, value) => write!(line, " {key}={value}"),
        }
        .expect("a string takes everything");
    }
    // All but the last digit of an item's name.
    line.replace(&format!("item_{:031}", 0), "#").trim_end().to_owned()
}

/// What a client is told about what happened.
fn order(dialect: Dialect, happened: Vec<SessionEvent>) -> String {
    let frames = frames(&Conversation::new(&Uuid::nil(), dialect), happened);
    frames.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn events_come_in_the_documented_orders() {
    let utterance = || {
        vec![
            started(1, 100),
            delta(1, "Turn on"),
            delta(1, " the lamp"),
            stopped(1, 1_600),
            committed(1),
            ended(1, "Turn on the lamp in the hall.", " in the hall.", 0),
        ]
    };
    let documented = [
        ("server_vad, with text before the commit", Dialect::Current, utterance()),
        (
            "manual commit",
            Dialect::Current,
            vec![delta(1, "Turn on"), committed(1), ended(1, "Turn on the lamp.", " the lamp.", 0)],
        ),
        (
            "manual commit without interims",
            Dialect::Current,
            vec![committed(1), read(1, "Turn on the lamp.")],
        ),
        (
            "the final reading has it otherwise",
            Dialect::Current,
            vec![delta(1, "Turn of"), committed(1), ended(1, "Turn off the lamp.", " the lamp.", 1)],
        ),
        (
            "clear after text was told",
            Dialect::Current,
            vec![
                started(1, 100),
                delta(1, "Turn on"),
                SessionEvent::Discarded { item: item(1) },
                SessionEvent::Cleared,
                started(2, 3_000),
            ],
        ),
        (
            "nobody speaks",
            Dialect::Current,
            vec![
                SessionEvent::TimedOut { item: item(1), span: Span::new(16_000, 112_000) },
                committed(1),
                read(1, ""),
            ],
        ),
        (
            "a text that nobody said",
            Dialect::Current,
            vec![started(1, 100), stopped(1, 1_600), committed(1), withheld(1, Doubt::Phantom, "Thank you.")],
        ),
        (
            "two utterances, the second begun before the first is read",
            Dialect::Current,
            vec![
                started(1, 100),
                delta(1, "Turn on"),
                stopped(1, 1_600),
                committed(1),
                started(2, 1_700),
                ended(1, "Turn on.", ".", 0),
                delta(2, "Turn off"),
                stopped(2, 3_000),
                committed(2),
                ended(2, "Turn off.", ".", 0),
            ],
        ),
        (
            "interims pause for finals",
            Dialect::Current,
            vec![
                started(1, 100),
                delta(1, "Turn on"),
                SessionEvent::Interims { paused: true },
                SessionEvent::Interims { paused: false },
                stopped(1, 1_600),
                committed(1),
                ended(1, "Turn on.", ".", 0),
            ],
        ),
        ("a client of the beta", Dialect::Beta, utterance()),
    ];
    let told: Vec<String> = documented
        .into_iter()
        .map(|(name, dialect, happened)| format!("# {name}\n{}", order(dialect, happened)))
        .collect();
    insta::assert_snapshot!("orders", told.join("\n\n"));
}

#[test]
fn what_was_withheld_is_shown_to_those_who_ask_for_the_item_and_nowhere_else() {
    let conversation = current();
    let told = frames(&conversation, vec![committed(1), withheld(1, Doubt::Repetition, "la la la la")]);
    assert!(told.iter().all(|frame| !frame.to_string().contains("la la")), "{told:?}");
    let mut history = History::default();
    history.append(session::Item::heard("a".into()));
    history.read("a", String::new(), Some(Withheld { doubt: Doubt::Repetition, text: "la la la la".into() }));
    let asked_for = history.get("a").expect("it was kept").clone();
    let shown = &frames(&conversation, vec![SessionEvent::ItemShown(Box::new(asked_for))])[0];
    let expected = serde_json::json!({ "withheld": { "reason": "repetition", "text": "la la la la" } });
    assert_eq!((&shown["item"]["pool"], &shown["item"]["content"][0]["transcript"]), (&expected, &"".into()));
}

/// A reading in two segments whose tokens are these.
fn spelt(tokens: [&[&str]; 2]) -> Transcript {
    let segment = |tokens: &[&str]| {
        let token = |text: &&str| Token { id: 0, bytes: text.as_bytes().to_vec(), logprob: -0.5 };
        let mut read = reading(tokens.concat().trim()).hypothesis.segments.remove(0);
        read.tokens = tokens.iter().map(token).collect();
        read
    };
    let mut transcript = reading("");
    transcript.hypothesis.segments = tokens.map(segment).into();
    transcript
}

#[test]
fn the_last_delta_has_the_log_probabilities_of_its_own_tokens() {
    let all = [&[" Turn", " on", "."][..], &[" The", " la", "mp", "."][..]];
    let table = [
        ("Turn on. The lamp.", Some(7)),
        (" on. The lamp.", Some(6)),
        (" lamp.", Some(3)),
        ("lamp.", Some(3)),
        (".", Some(1)),
        // Cut within a token, and not what was read.
        ("amp.", None),
        (" lamps.", None),
    ];
    for (rest, expected) in table {
        let tokens = logprobs_of(rest, &spelt(all)).map(|logprobs| logprobs.len());
        assert_eq!(tokens, expected, "{rest:?}");
    }
}

#[test]
fn streamed_deltas_come_without_log_probabilities_and_the_completed_text_with_all() {
    let conversation = Conversation { with_logprobs: true, ..current() };
    let transcript = spelt([&[" Turn", " on", "."], &[" The", " la", "mp", "."]]);
    let read = SessionEvent::Read {
        item: item(1),
        audio: Duration::from_millis(1_500),
        transcript: Box::new(transcript),
        rest: Some(" lamp.".into()),
        diverged_words: 0,
    };
    let told = frames(&conversation, vec![delta(1, "Turn on. The"), committed(1), read]);
    let logprobs: Vec<_> = told.iter().filter(|frame| frame["content_index"] == 0).collect();
    let numbers: Vec<_> = logprobs.iter().map(|frame| frame["logprobs"].as_array().map(Vec::len)).collect();
    assert_eq!(numbers, [None, Some(3), Some(7)]);
    assert!(logprobs[0].get("logprobs").is_none());
}
