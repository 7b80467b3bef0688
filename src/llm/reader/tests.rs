//! What endpoints send, and what is told on.

use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

/// The deltas of these events, with the end of the stream behind them.
fn read(events: &[&str]) -> Result<Vec<Delta>, Fault> {
    let mut reader = Reader::default();
    for event in events {
        reader.event(None, event)?;
    }
    reader.close()?;
    assert!(reader.is_over);
    Ok(std::iter::from_fn(|| reader.pop()).collect())
}

fn delta(delta: &Value) -> String {
    json!({ "id": "x", "object": "chat.completion.chunk", "choices": [{ "index": 0, "delta": delta }] })
        .to_string()
}

fn finish(reason: &str) -> String {
    json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": reason }] }).to_string()
}

/// A reply that makes these calls, piece by piece.
fn calls(pieces: &[Value]) -> Result<Vec<Delta>, Fault> {
    let mut events: Vec<String> =
        pieces.iter().map(|piece| delta(&json!({ "tool_calls": [piece] }))).collect();
    events.push(finish("tool_calls"));
    read(&events.iter().map(String::as_str).collect::<Vec<_>>())
}

fn text(text: &str) -> Delta {
    Delta::Text(text.into())
}

fn call(index: u32, id: &str, name: &str) -> Delta {
    Delta::Call { index, id: id.into(), name: name.into() }
}

fn arguments(index: u32, piece: &str) -> Delta {
    Delta::Arguments { index, piece: piece.into() }
}

fn end(finish: Finish) -> Delta {
    Delta::End { finish, usage: None }
}

#[test]
fn a_reply_by_the_book_is_told_with_its_figures() {
    let usage =
        json!({ "choices": [], "usage": { "prompt_tokens": 12, "completion_tokens": 3 } }).to_string();
    let events = [
        &delta(&json!({ "role": "assistant", "content": "" })),
        &delta(&json!({ "content": "Hello" })),
        &delta(&json!({ "content": " there." })),
        &finish("stop"),
        &usage,
        "[DONE]",
        "what stands behind the end is not read",
    ];
    let usage = Some(Usage { input_tokens: 12, output_tokens: 3 });
    let expected = [text("Hello"), text(" there."), Delta::End { finish: Finish::Stop, usage }];
    assert_eq!(read(&events).unwrap(), expected);
}

#[test]
fn an_end_is_known_by_its_mark_or_by_its_reason_but_not_by_silence() {
    let hello = delta(&json!({ "content": "Hello." }));
    assert_eq!(read(&[&hello, "[DONE]"]).unwrap(), [text("Hello."), end(Finish::Stop)]);
    assert_eq!(read(&[&hello, &finish("length")]).unwrap(), [text("Hello."), end(Finish::Length)]);
    assert_eq!(read(&[&hello]), Err(Fault::CutOff));
    assert_eq!(read(&[]), Err(Fault::CutOff));
}

#[test]
fn every_reason_to_end_has_a_meaning() {
    for (reason, expected) in [
        ("stop", Finish::Stop),
        ("length", Finish::Length),
        ("tool_calls", Finish::Calls),
        ("content_filter", Finish::Filtered),
        ("eos", Finish::Stop),
    ] {
        assert_eq!(read(&[&finish(reason)]).unwrap(), [end(expected)], "{reason}");
    }
}

#[test]
fn reasoning_is_a_sign_of_life_and_is_not_told() {
    for thought in [
        json!({ "reasoning_content": "Who is that?" }),
        json!({ "reasoning": "Who is that?", "content": null }),
        json!({ "content": "<think>Who is that?" }),
        json!({ "content": [{ "type": "thinking", "thinking": "Who is that?" }] }),
    ] {
        let mut reader = Reader::default();
        reader.event(None, &delta(&json!({ "role": "assistant", "content": "" }))).unwrap();
        assert!(!reader.has_begun());
        reader.event(None, &delta(&thought)).unwrap();
        assert!(reader.has_begun() && reader.pop().is_none(), "{thought}");
    }
}

#[test]
fn text_comes_in_other_clothes_too() {
    let parts = json!({ "content": [{ "type": "text", "text": "Hel" }, { "text": "lo." }] });
    let events = [delta(&parts), delta(&json!({ "refusal": "No." })), finish("stop")];
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    assert_eq!(read(&events).unwrap(), [text("Hello."), text("No."), end(Finish::Stop)]);
}

#[test]
fn only_the_first_of_several_choices_is_told() {
    let both = json!({ "choices": [
        { "index": 1, "delta": { "content": "no" } },
        { "delta": { "content": "yes" } },
    ] });
    assert_eq!(read(&[&both.to_string(), "[DONE]"]).unwrap(), [text("yes"), end(Finish::Stop)]);
}

#[test]
fn calls_by_the_book_may_be_written_at_the_same_time() {
    let told = calls(&[
        json!({ "index": 0, "id": "a", "type": "function", "function": { "name": "f", "arguments": "" } }),
        json!({ "index": 1, "id": "b", "function": { "name": "g", "arguments": "{" } }),
        json!({ "index": 0, "function": { "arguments": "{\"x\":" } }),
        json!({ "index": 1, "function": { "arguments": "}" } }),
        json!({ "index": 0, "function": { "arguments": "1}" } }),
    ]);
    let expected = [
        call(0, "a", "f"),
        call(1, "b", "g"),
        arguments(1, "{"),
        arguments(0, "{\"x\":"),
        arguments(1, "}"),
        arguments(0, "1}"),
        end(Finish::Calls),
    ];
    assert_eq!(told.unwrap(), expected);
}

#[test]
fn calls_not_by_the_book_are_understood() {
    let two =
        [call(0, "a", "f"), arguments(0, "{}"), call(1, "b", "g"), arguments(1, "{}"), end(Finish::Calls)];
    let whole = |index: Option<u32>, id: &str, name: &str| json!({ "index": index, "id": id, "function": { "name": name, "arguments": "{}" } });
    // No index, and the same index for all.
    assert_eq!(calls(&[whole(None, "a", "f"), whole(None, "b", "g")]).unwrap(), two);
    assert_eq!(calls(&[whole(Some(0), "a", "f"), whole(Some(0), "b", "g")]).unwrap(), two);
    let one = [call(0, "a", "f"), arguments(0, "{\"x\":1}"), end(Finish::Calls)];
    // Arguments as what they mean; the name later than the arguments.
    let meant = json!({ "index": 0, "id": "a", "function": { "name": "f", "arguments": { "x": 1 } } });
    assert_eq!(calls(&[meant]).unwrap(), one);
    let late = [
        json!({ "index": 0, "id": "a", "function": { "arguments": "{\"x\":" } }),
        json!({ "index": 0, "function": { "name": "f", "arguments": "1}" } }),
    ];
    assert_eq!(calls(&late).unwrap(), one);
    // Id and name again and again.
    let again = [whole(Some(0), "a", "f"), whole(Some(0), "a", "f")];
    assert_eq!(
        calls(&again).unwrap(),
        [call(0, "a", "f"), arguments(0, "{}"), arguments(0, "{}"), end(Finish::Calls)]
    );
}

#[test]
fn a_call_without_an_id_gets_one_of_its_own() {
    let piece = |name: Option<&str>, piece: &str| json!({ "function": { "name": name, "arguments": piece } });
    let told = calls(&[piece(Some("f"), "{"), piece(None, "}"), piece(Some("f"), "{}")]).unwrap();
    let ids: Vec<&str> = told
        .iter()
        .filter_map(|delta| match delta {
            Delta::Call { id, .. } => Some(id.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(ids.len(), 2, "{told:?}");
    assert!(ids.iter().all(|id| id.starts_with("call_")) && ids[0] != ids[1], "{ids:?}");
    assert_eq!(told[1..3], [arguments(0, "{"), arguments(0, "}")]);
}

#[test]
fn a_reply_with_calls_ends_with_them_even_if_it_says_otherwise() {
    let whole = delta(&json!({ "tool_calls": [{ "id": "a", "function": { "name": "f" } }] }));
    let expected = [call(0, "a", "f"), arguments(0, "{}"), end(Finish::Calls)];
    assert_eq!(read(&[&whole, &finish("stop")]).unwrap(), expected);
}

#[test]
fn a_call_without_arguments_is_told_with_empty_ones() {
    let piece = |id: &str, arguments: &Value| json!({ "index": 0, "id": id, "function": { "name": "f", "arguments": arguments } });
    for none in [json!(null), json!("")] {
        let expected = [call(0, "a", "f"), arguments(0, "{}"), end(Finish::Calls)];
        assert_eq!(calls(&[piece("a", &none)]).unwrap(), expected, "{none}");
    }
    let expected = [
        call(0, "a", "f"),
        arguments(0, " \n"),
        call(1, "b", "f"),
        arguments(1, "{}"),
        arguments(0, "{}"),
        end(Finish::Calls),
    ];
    assert_eq!(calls(&[piece("a", &json!(" \n")), piece("b", &json!("{}"))]).unwrap(), expected);
}

#[test]
fn arguments_that_were_cut_off_are_not_made_up() {
    let begun = delta(&json!({ "tool_calls": [{ "id": "a", "function": { "name": "f" } }] }));
    let expected = [call(0, "a", "f"), end(Finish::Length)];
    assert_eq!(read(&[&begun, &finish("length")]).unwrap(), expected);
}

#[test]
fn what_is_no_completion_is_garbage_and_nothing_of_it_is_repeated() {
    for garbage in [
        "Once upon a time",
        "<html>Once upon a time</html>",
        "{\"choices\": \"Once upon a time\"}",
        "[\"Once upon a time\"]",
        "{\"story\": \"Once upon a time\"}",
        "{\"choices\": [{\"delta\": {\"content\": \"Once upon a time",
    ] {
        let Err(Fault::Garbage(reason)) = read(&[garbage]) else { panic!("{garbage} is a reply") };
        assert!(!reason.contains("upon"), "{reason}");
    }
    assert!(matches!(calls(&[json!({ "id": "a" })]), Err(Fault::Garbage(_))), "a call of nothing");
    let many: Vec<Value> = (0..200).map(|n| json!({ "index": n, "function": { "name": "f" } })).collect();
    assert!(matches!(calls(&many), Err(Fault::Garbage(_))), "no end of calls");
}

#[test]
fn an_error_within_the_stream_says_what_the_endpoint_says_in_short() {
    let message = |event: &str| match read(&[event]) {
        Err(Fault::Failed(message)) => message,
        other => panic!("{event}: {other:?}"),
    };
    assert_eq!(message("{\"error\": {\"message\": \"out of\\nmemory\", \"code\": 500}}"), "out of memory");
    assert_eq!(message("{\"error\": \"out of memory\", \"choices\": []}"), "out of memory");
    assert_eq!(message("{\"error\": {\"code\": 7}}"), "it says nothing more");
    let long = message(&json!({ "error": { "message": "ü".repeat(900) } }).to_string());
    assert_eq!(long.chars().count(), 201);
    let mut reader = Reader::default();
    assert_eq!(reader.event(Some("ping"), "not for us"), Ok(()));
    assert_eq!(
        reader.event(Some("error"), "{\"choices\": []}"),
        Err(Fault::Failed("it says nothing more".into()))
    );
}

#[test]
fn what_people_said_is_not_told_on_with_an_error() {
    let inputs = [
        json!({ "message": "1 error: [{'type': 'missing', 'input': {'content': 'Once upon a time'}}]" }),
        json!({ "detail": [{ "msg": "field required", "input": { "content": "Once upon a time" } }] }),
        json!({ "input": "Once upon a time" }),
    ];
    let said = inputs.map(|error| message_in(&error));
    assert_eq!(said, ["1 error:", "field required", "it says nothing more"]);
}

proptest! {
    #[test]
    fn whatever_comes_it_is_read_or_refused(events in proptest::collection::vec(".{0,40}|\\{\"choices\":\\[\\{.{0,20}\\}\\]\\}", 0..6)) {
        let events: Vec<&str> = events.iter().map(String::as_str).collect();
        if let Ok(deltas) = read(&events) {
            let ends = matches!(deltas.last(), Some(Delta::End { .. }));
            prop_assert!(ends, "{:?}", deltas);
        }
    }

    #[test]
    fn every_argument_belongs_to_a_call_that_was_told_before(
        pieces in proptest::collection::vec(
            (proptest::option::of(0..3_u32), proptest::option::of("[ab]?"), proptest::option::of("[fg]?"), "[{}x]{0,3}"), 0..15,
        ),
    ) {
        let pieces: Vec<Value> = pieces.into_iter().map(|(index, id, name, arguments)| {
            json!({ "index": index, "id": id, "function": { "name": name, "arguments": arguments } })
        }).collect();
        let Ok(deltas) = calls(&pieces) else { return Ok(()) };
        let mut begun = 0;
        for delta in deltas {
            match delta {
                Delta::Call { index, id, name } => {
                    // Calls whose name came late are told late.
                    begun = begun.max(index + 1);
                    prop_assert!(!id.is_empty() && !name.is_empty());
                }
                Delta::Arguments { index, piece } => prop_assert!(index < begun && !piece.is_empty()),
                _ => {}
            }
        }
    }
}
