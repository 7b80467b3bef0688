//! What becomes of replies, as clients are told it: OpenAI's order, one event a line.

use super::*;
use crate::audio::StreamFormat;
use crate::llm::{ToolCall, Usage};
use crate::session::{
    Body, Content, Item, ItemStatus, Latency, Reason, ReplyEvent, ReplyId, ReplyPart, ReplyStatus, ReplyView,
    Role,
};

fn view(status: ReplyStatus, items: Vec<Item>) -> ReplyView {
    ReplyView {
        id: ReplyId(Uuid::from_u128(7)),
        status,
        items,
        spoken: true,
        voice: "marin".into(),
        output: StreamFormat::pcm16(24_000).expect("a usual rate"),
        outside: false,
        max_tokens: None,
        metadata: vec![("topic".into(), "lamps".into())],
        usage: None,
        latency: Latency::default(),
    }
}

fn part(index: u32) -> ReplyPart {
    ReplyPart { reply: ReplyId(Uuid::from_u128(7)), index, item: format!("item_{index}") }
}

fn message(status: ItemStatus, content: Content) -> Item {
    let body = Body::Message { role: Role::Assistant, content: vec![content] };
    Item { id: "item_0".into(), body, status }
}

fn call(arguments: &str, status: ItemStatus) -> Item {
    let call = ToolCall { id: "call_1".into(), name: "light".into(), arguments: arguments.into() };
    Item { id: "item_1".into(), body: Body::Call(call), status }
}

fn added(index: u32, item: Item) -> ReplyEvent {
    ReplyEvent::ItemAdded { part: part(index), joins: true, previous: Some("item_user".into()), item }
}

fn done(index: u32, item: Item) -> ReplyEvent {
    ReplyEvent::ItemDone { part: part(index), joins: true, previous: Some("item_user".into()), item }
}

fn text(spoken: bool, delta: &str) -> ReplyEvent {
    ReplyEvent::Text { part: part(0), spoken, delta: delta.into() }
}

fn told(dialect: Dialect, events: Vec<ReplyEvent>) -> Vec<Value> {
    let events = events.into_iter().map(|event| SessionEvent::Reply(Box::new(event))).collect();
    frames(&Conversation::new(&Uuid::nil(), dialect), events)
}

/// The names of the events, without what they have in common.
fn order(dialect: Dialect, events: Vec<ReplyEvent>) -> String {
    let frames = told(dialect, events);
    types(&frames).iter().map(|kind| kind.trim_start_matches("response.")).collect::<Vec<_>>().join("\n")
}

fn spoken_reply() -> Vec<ReplyEvent> {
    let script = crate::session::Script::default();
    vec![
        ReplyEvent::Began(view(ReplyStatus::InProgress, Vec::new())),
        added(0, message(ItemStatus::InProgress, Content::OutputAudio(script.clone()))),
        text(true, "Hello."),
        ReplyEvent::Audio { part: part(0), bytes: vec![0, 1, 2, 3] },
        done(0, message(ItemStatus::Completed, Content::OutputAudio(script.clone()))),
        ReplyEvent::Ended(view(
            ReplyStatus::Completed,
            vec![message(ItemStatus::Completed, Content::OutputAudio(script))],
        )),
    ]
}

#[test]
fn a_spoken_reply_is_told_in_the_documented_order() {
    let expected = "created\noutput_item.added\nconversation.item.added\ncontent_part.added\n\
                    output_audio_transcript.delta\noutput_audio.delta\noutput_audio.done\n\
                    output_audio_transcript.done\ncontent_part.done\nconversation.item.done\noutput_item.done\ndone";
    assert_eq!(order(Dialect::Current, spoken_reply()), expected);
}

#[test]
fn a_client_of_the_beta_is_told_under_the_names_it_knows() {
    let expected = "created\noutput_item.added\nconversation.item.created\ncontent_part.added\n\
                    audio_transcript.delta\naudio.delta\naudio.done\naudio_transcript.done\ncontent_part.done\n\
                    output_item.done\ndone";
    assert_eq!(order(Dialect::Beta, spoken_reply()), expected);
    let frames = told(Dialect::Beta, spoken_reply());
    let last = &frames.last().expect("something was told")["response"];
    assert_eq!(last["modalities"], serde_json::json!(["text", "audio"]));
    assert_eq!(last["output"][0]["content"][0]["type"], "audio");
}

#[test]
fn a_written_reply_with_a_call_is_told_item_by_item() {
    let events = vec![
        added(0, message(ItemStatus::InProgress, Content::OutputText(String::new()))),
        text(false, "Just a moment."),
        added(1, call("", ItemStatus::InProgress)),
        ReplyEvent::Arguments { part: part(1), call_id: "call_1".into(), delta: "{}".into() },
        done(0, message(ItemStatus::Completed, Content::OutputText("Just a moment.".into()))),
        done(1, call("{}", ItemStatus::Completed)),
    ];
    let expected = "output_item.added\nconversation.item.added\ncontent_part.added\noutput_text.delta\n\
                    output_item.added\nconversation.item.added\nfunction_call_arguments.delta\noutput_text.done\n\
                    content_part.done\nconversation.item.done\noutput_item.done\nfunction_call_arguments.done\n\
                    conversation.item.done\noutput_item.done";
    assert_eq!(order(Dialect::Current, events), expected);
}

#[test]
fn a_reply_outside_of_the_conversation_tells_of_no_item_in_it() {
    let outside = |event| match event {
        ReplyEvent::ItemAdded { part, item, .. } => {
            ReplyEvent::ItemAdded { part, joins: false, previous: None, item }
        }
        ReplyEvent::ItemDone { part, item, .. } => {
            ReplyEvent::ItemDone { part, joins: false, previous: None, item }
        }
        event => event,
    };
    let told = order(Dialect::Current, spoken_reply().into_iter().map(outside).collect());
    assert!(!told.contains("conversation.item"), "{told}");
}

#[test]
fn how_a_reply_ended_is_told_with_its_reason() {
    let failed = || ReplyStatus::Failed { code: "llm_timeout", message: "it took too long".into() };
    let table = [
        (ReplyStatus::Completed, "completed", Value::Null),
        (
            ReplyStatus::Cancelled(Reason::Interrupted),
            "cancelled",
            serde_json::json!({ "type": "cancelled", "reason": "turn_detected" }),
        ),
        (
            ReplyStatus::Cancelled(Reason::Cancelled),
            "cancelled",
            serde_json::json!({ "type": "cancelled", "reason": "client_cancelled" }),
        ),
        (
            ReplyStatus::Incomplete { filtered: false },
            "incomplete",
            serde_json::json!({ "type": "incomplete", "reason": "max_output_tokens" }),
        ),
        (
            failed(),
            "failed",
            serde_json::json!({ "type": "failed", "error":
                { "type": "server_error", "code": "llm_timeout", "message": "it took too long" } }),
        ),
    ];
    for (status, name, details) in table {
        let frames = told(Dialect::Current, vec![ReplyEvent::Ended(view(status, Vec::new()))]);
        let response = &frames[0]["response"];
        assert_eq!((&response["status"], &response["status_details"]), (&name.into(), &details));
    }
}

#[test]
fn a_response_says_all_that_clients_look_for() {
    let ended = ReplyView {
        usage: Some(Usage { input_tokens: 30, output_tokens: 12 }),
        latency: Latency {
            endpoint: Some(Duration::from_millis(500)),
            wait: Some(Duration::ZERO),
            decode: Some(Duration::from_millis(20)),
            first_token: Some(Duration::from_millis(200)),
            first_phrase: Some(Duration::from_millis(100)),
            first_audio: Some(Duration::from_millis(30)),
            total: Some(Duration::from_millis(850)),
        },
        ..view(ReplyStatus::Completed, vec![call("{}", ItemStatus::Completed)])
    };
    insta::assert_json_snapshot!("response_done", told(Dialect::Current, vec![ReplyEvent::Ended(ended)]));
}
