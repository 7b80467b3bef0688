//! What clients are told, event by event.

mod orders;
mod replies;

use super::*;
use crate::asr::{AsrError, Hypothesis, Segment, Stability, Timing};
use crate::audio::Span;
use crate::pool::SlotId;
use crate::server::realtime::server_event::Scribe;
use crate::session::FrontendError;
use crate::session::Refusal;
use serde_json::Value;
use uuid::Uuid;

fn item(number: u128) -> ItemId {
    ItemId(Uuid::from_u128(number))
}

fn reading(text: &str) -> Transcript {
    let segment = Segment {
        text: text.into(),
        span: Span::new(0, 16_000),
        tokens: Vec::new(),
        words: Vec::new(),
        avg_logprob: 0.0,
        no_speech_prob: None,
        temperature: 0.0,
    };
    let segments = if text.is_empty() { Vec::new() } else { vec![segment] };
    let timing = Timing { waited: Duration::from_millis(7), decode: Duration::from_millis(25) };
    Transcript {
        hypothesis: Hypothesis { segments, language: "en".into(), stability: Stability::Final },
        timing,
        withheld: None,
    }
}

fn read(number: u128, text: &str) -> SessionEvent {
    SessionEvent::Read {
        item: item(number),
        audio: Duration::from_millis(1_500),
        transcript: Box::new(reading(text)),
        rest: Some(text.to_owned()).filter(|text| !text.is_empty()),
        diverged_words: 0,
    }
}

fn committed(number: u128) -> SessionEvent {
    let previous = (number > 1).then(|| item(number - 1).to_string());
    SessionEvent::Committed { item: item(number), previous, span: Span::new(0, 24_000), detected: true }
}

/// For a client that has today's names for things.
fn current() -> Conversation {
    Conversation::new(&Uuid::nil(), Dialect::Current)
}

/// The text frames of what happened, parsed again.
fn frames(conversation: &Conversation, happened: Vec<SessionEvent>) -> Vec<Value> {
    let mut scribe = Scribe::new("s");
    let told = happened.into_iter().flat_map(|event| conversation.tell(event));
    let mut frame = |event| scribe.write(&event, conversation.dialect());
    told.map(|event| serde_json::from_str(&frame(event)).expect("frames are JSON")).collect()
}

fn types(frames: &[Value]) -> Vec<&str> {
    frames.iter().map(|frame| frame["type"].as_str().expect("every event has a type")).collect()
}

#[test]
fn an_utterance_is_told_in_openais_order_and_words() {
    let happened = vec![
        SessionEvent::SpeechStarted { item: item(1), at: 1_600 },
        SessionEvent::SpeechStopped { item: item(1), at: 25_600 },
        committed(1),
        SessionEvent::Lease(LaneEvent::Waiting(Standing { position: 2, estimated_wait: None })),
        SessionEvent::Lease(LaneEvent::Waiting(Standing {
            position: 1,
            estimated_wait: Some(Duration::from_micros(400)),
        })),
        SessionEvent::Lease(LaneEvent::Granted { slot: SlotId(3), waited: Duration::from_micros(6_001) }),
        SessionEvent::Lease(LaneEvent::Released { held: Duration::from_millis(25) }),
        read(1, "Two six nine."),
    ];
    insta::assert_json_snapshot!("an_utterance", frames(&current(), happened));
}

#[test]
fn faults_are_told_with_their_codes() {
    let refusal = Refusal::CommitEmpty { buffered: Duration::from_millis(40) };
    let span = Span::new(160_000, 200_000);
    let dropped = Dropped { span, waiting: Duration::from_secs(121), n_waiting: 7 };
    let happened = vec![
        SessionEvent::Refused { origin: Some("mine".into()), refusal },
        committed(1),
        SessionEvent::Unread { item: item(1), error: AsrError::Decode("out of luck".into()) },
        committed(2),
        SessionEvent::Dropped { item: item(2), dropped },
        SessionEvent::Cleared,
        SessionEvent::Deaf(FrontendError::Stopped),
    ];
    insta::assert_json_snapshot!("faults", frames(&current(), happened));
}

#[test]
fn an_item_without_words_is_completed_without_a_delta() {
    let frames = frames(&current(), vec![committed(1), read(1, "")]);
    assert_eq!(types(&frames).last(), Some(&"conversation.item.input_audio_transcription.completed"));
    assert!(!types(&frames).contains(&"conversation.item.input_audio_transcription.delta"));
}

#[test]
fn items_follow_each_other() {
    let frames = frames(&current(), vec![committed(1), committed(2)]);
    let added = frames.iter().filter(|frame| frame["type"] == "conversation.item.added");
    let previous: Vec<&Value> = added.map(|frame| &frame["previous_item_id"]).collect();
    assert_eq!(previous, [&Value::Null, &Value::from(item(1).to_string())]);
}

#[test]
fn every_event_has_a_name_of_its_own() {
    let frames = frames(&current(), vec![committed(1), committed(2), read(1, "a"), read(2, "b")]);
    let mut names: Vec<&str> =
        frames.iter().map(|frame| frame["event_id"].as_str().expect("a name")).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), frames.len());
}
