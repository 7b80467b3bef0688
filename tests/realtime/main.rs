//! The realtime WebSocket from outside: real sockets, scripted voices, a scripted engine.
//!
//! A voice is loudness: the fake detector hears speech in every loud frame, and the fake engine reads an utterance as
//! `heard N` where N is its peak in hundredths, so that whose words came out is whose samples went in.

mod client;
mod driver;
mod endings;
mod server;
mod surface;
mod tls;
mod waiting;

use base64::Engine as _;
use client::{Client, silence, types, voice, without_pool};
use serde_json::{Value, json};
use server::{Served, heard, serve, serve_guarded};
use std::time::Duration;
use stenopool::asr::fake::Act;
use tokio_tungstenite::tungstenite::Message;

const COMPLETED: &str = "conversation.item.input_audio_transcription.completed";

/// The events of one utterance, in OpenAI's order.
const UTTERANCE: [&str; 7] = [
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    "conversation.item.added",
    "conversation.item.done",
    "conversation.item.input_audio_transcription.delta",
    COMPLETED,
];

fn manual() -> Value {
    json!({ "type": "session.update", "session": { "audio": { "input": { "turn_detection": null } } } })
}

fn append(bytes: &[u8]) -> Value {
    let audio = base64::engine::general_purpose::STANDARD.encode(bytes);
    json!({ "type": "input_audio_buffer.append", "audio": audio })
}

/// The events that are about one item.
fn about(item: &Value, events: &[Value]) -> Vec<Value> {
    let named = |event: &&Value| event["item_id"] == *item || event["item"]["id"] == *item;
    events.iter().filter(named).cloned().collect()
}

async fn manual_client(served: &Served) -> Client {
    let mut client = Client::connect(served, "?intent=transcription").await;
    client.send(&manual()).await;
    client.until("session.updated").await;
    client
}

#[tokio::test]
async fn the_first_event_shows_the_session() {
    let served = serve(heard).await;
    let mut client = Client::connect(&served, "?intent=transcription").await;
    let created = client.event().await;
    assert_eq!(created["type"], "session.created");
    assert_eq!(created["session"]["type"], "transcription");
    assert_eq!(
        created["session"]["audio"]["input"]["format"],
        json!({ "type": "audio/pcm", "rate": 24_000 })
    );
    let mut conversation = Client::connect(&served, "?model=whisper-1").await;
    assert_eq!(conversation.event().await["session"]["type"], "realtime");
}

#[tokio::test]
async fn speech_between_silences_is_told_in_order_under_one_name() {
    let served = serve(heard).await;
    let mut client = Client::connect(&served, "?intent=transcription").await;
    client.event().await;
    client.send(&append(&[silence(400), voice(50, 800), silence(1_000)].concat())).await;
    let events = without_pool(client.until(COMPLETED).await);
    assert_eq!(types(&events), UTTERANCE);
    assert_eq!(about(&events[0]["item_id"], &events), events);
    let completed = &events[6];
    assert_eq!(completed["transcript"], "heard 50");
    assert_eq!(completed["content_index"], 0);
    assert_eq!(completed["usage"]["type"], "duration");
    let (started, stopped) = (&events[0]["audio_start_ms"], &events[1]["audio_end_ms"]);
    let length = stopped.as_f64().expect("a number") - started.as_f64().expect("a number");
    let seconds = completed["usage"]["seconds"].as_f64().expect("a number");
    assert!((seconds - length / 1_000.0).abs() < 0.002, "{seconds} s of audio, {length} ms by the events");
}

#[tokio::test]
async fn binary_frames_are_appends() {
    let served = serve(heard).await;
    let mut client = Client::connect(&served, "?intent=transcription").await;
    client.send_bytes([silence(400), voice(30, 800), silence(1_000)].concat()).await;
    let events = client.until(COMPLETED).await;
    assert_eq!(events.last().expect("there are events")["transcript"], "heard 30");
}

#[tokio::test]
async fn a_manual_commit_cuts_what_was_appended() {
    let served = serve(heard).await;
    let mut client = manual_client(&served).await;
    client.send_bytes(voice(40, 300)).await;
    client.send(&json!({ "type": "input_audio_buffer.commit" })).await;
    let first = without_pool(client.until(COMPLETED).await);
    assert_eq!(types(&first), UTTERANCE[2..]);
    assert_eq!(first[0]["previous_item_id"], Value::Null);
    client.send_bytes(voice(60, 300)).await;
    client.send(&json!({ "type": "input_audio_buffer.commit" })).await;
    let second = client.until(COMPLETED).await;
    assert_eq!(second.last().expect("there are events")["transcript"], "heard 60");
    assert_eq!(second[0]["previous_item_id"], first[0]["item_id"]);
}

#[tokio::test]
async fn committed_silence_is_completed_without_words_and_without_a_decode() {
    let served = serve(|_, _| Act::Say("words out of nothing".into(), Duration::ZERO)).await;
    let mut client = manual_client(&served).await;
    client.send_bytes(silence(500)).await;
    client.send(&json!({ "type": "input_audio_buffer.commit" })).await;
    let events = client.until(COMPLETED).await;
    assert_eq!(events.last().expect("there are events")["transcript"], "");
}

#[tokio::test]
async fn a_commit_of_hardly_anything_is_refused_by_name() {
    let served = serve(heard).await;
    let mut client = manual_client(&served).await;
    client.send_bytes(voice(40, 90)).await;
    client.send(&json!({ "type": "input_audio_buffer.commit", "event_id": "mine" })).await;
    let error = client.error().await;
    assert_eq!(
        (&error["code"], &error["event_id"]),
        (&json!("input_audio_buffer_commit_empty"), &json!("mine"))
    );
    client.send_bytes(voice(40, 10)).await;
    client.send(&json!({ "type": "input_audio_buffer.commit" })).await;
    client.until(COMPLETED).await;
}

#[tokio::test]
async fn cleared_audio_is_not_in_the_next_commit() {
    let served = serve(heard).await;
    let mut client = manual_client(&served).await;
    client.send_bytes(voice(90, 300)).await;
    client.send(&json!({ "type": "input_audio_buffer.clear" })).await;
    client.until("input_audio_buffer.cleared").await;
    client.send(&json!({ "type": "input_audio_buffer.commit" })).await;
    assert_eq!(client.error().await["code"], "input_audio_buffer_commit_empty");
    client.send_bytes(voice(20, 300)).await;
    client.send(&json!({ "type": "input_audio_buffer.commit" })).await;
    let events = client.until(COMPLETED).await;
    assert_eq!(events.last().expect("there are events")["transcript"], "heard 20");
}

#[tokio::test]
async fn every_bad_input_gets_its_error_and_the_session_goes_on() {
    let served = serve(heard).await;
    let mut client = manual_client(&served).await;
    let table = [
        (Message::text("{"), "invalid_json", Value::Null),
        (Message::text("[]"), "invalid_event", Value::Null),
        (Message::text(r#"{"event_id":"a"}"#), "invalid_event", json!("a")),
        (Message::text(r#"{"type":"make.coffee","event_id":"b"}"#), "unknown_event", json!("b")),
        (
            Message::text(r#"{"type":"input_audio_buffer.append","audio":"*","event_id":"c"}"#),
            "invalid_audio_base64",
            json!("c"),
        ),
        (
            Message::text(r#"{"type":"input_audio_buffer.append","audio":"AAAA","event_id":"d"}"#),
            "audio_odd_byte_count",
            json!("d"),
        ),
        (Message::binary(vec![0; 3]), "audio_odd_byte_count", Value::Null),
        (
            Message::text(r#"{"type":"session.update","session":{"type":"video"},"event_id":"e"}"#),
            "invalid_value",
            json!("e"),
        ),
        (Message::text(r#"{"type":"response.create","event_id":"f"}"#), "response_unavailable", json!("f")),
        (
            Message::text(r#"{"type":"conversation.item.retrieve","item_id":"x","event_id":"g"}"#),
            "item_not_found",
            json!("g"),
        ),
        (Message::text(r#"{"type":"conversation.item.create","item":{}}"#), "invalid_value", Value::Null),
    ];
    for (message, code, event_id) in table {
        let sent = format!("{message:?}");
        client.send_message(message).await;
        let error = client.error().await;
        assert_eq!((&error["code"], &error["event_id"]), (&json!(code), &event_id), "{sent}");
        assert_eq!(error["type"], "invalid_request_error", "{sent}");
    }
    client.send_bytes(voice(40, 300)).await;
    client.send(&json!({ "type": "input_audio_buffer.commit" })).await;
    let events = client.until(COMPLETED).await;
    assert_eq!(events.last().expect("there are events")["transcript"], "heard 40");
}

#[tokio::test]
async fn silence_that_the_detector_let_go_is_not_there_to_commit() {
    let served = serve(heard).await;
    let mut client = Client::connect(&served, "?intent=transcription").await;
    client.send_bytes(silence(3_000)).await;
    client.send(&json!({ "type": "input_audio_buffer.commit" })).await;
    assert_eq!(client.error().await["code"], "input_audio_buffer_commit_empty");
}

#[tokio::test]
async fn audio_counts_in_the_format_that_is_set() {
    let served = serve(heard).await;
    let mut client = manual_client(&served).await;
    let format = json!({ "type": "audio/pcm", "rate": 8_000 });
    client
        .send(&json!({ "type": "session.update", "session": { "audio": { "input": { "format": format } } } }))
        .await;
    client.until("session.updated").await;
    client.send_bytes(vec![0; 16_000]).await;
    client.send(&json!({ "type": "input_audio_buffer.commit" })).await;
    let events = client.until(COMPLETED).await;
    let seconds = events.last().expect("there are events")["usage"]["seconds"].as_f64().expect("a number");
    assert!((seconds - 1.0).abs() < 0.01, "16000 bytes at 8 kHz are 1 s, not {seconds} s");
}

#[tokio::test]
async fn a_failed_decode_ends_its_item_and_not_the_session() {
    let served = serve(|utterance, options| match heard(utterance, options) {
        Act::Say(text, _) if text == "heard 13" => {
            Act::Fail(stenopool::asr::AsrError::Decode("bad luck".into()), Duration::ZERO)
        }
        act => act,
    })
    .await;
    let mut client = manual_client(&served).await;
    for peak in [13, 40] {
        client.send_bytes(voice(peak, 300)).await;
        client.send(&json!({ "type": "input_audio_buffer.commit" })).await;
    }
    let events = client.until(COMPLETED).await;
    let failed =
        events.iter().find(|event| event["type"].as_str().is_some_and(|kind| kind.ends_with(".failed")));
    assert_eq!(failed.expect("the first item failed")["error"]["code"], "decode_failed");
    assert_eq!(events.last().expect("there are events")["transcript"], "heard 40");
}

#[tokio::test]
async fn log_probabilities_are_told_while_they_are_asked_for() {
    let served = serve(heard).await;
    let mut client = manual_client(&served).await;
    let asked = json!(["item.input_audio_transcription.logprobs"]);
    let expected = json!([{ "token": "heard 40", "bytes": b"heard 40", "logprob": -0.1 }]);
    for (include, expected) in [(asked, Some(&expected)), (Value::Null, None)] {
        client.send(&json!({ "type": "session.update", "session": { "include": include } })).await;
        client.until("session.updated").await;
        client.send_bytes(voice(40, 300)).await;
        client.send(&json!({ "type": "input_audio_buffer.commit" })).await;
        let events = client.until(COMPLETED).await;
        let texts = events.iter().filter(|event| event["content_index"] == 0);
        let told: Vec<_> = texts.map(|event| event.get("logprobs")).collect();
        assert_eq!(told, [expected, expected]);
    }
}

#[tokio::test]
async fn an_append_over_openais_limit_is_refused_by_name_and_not_by_the_message_limit() {
    let served = serve(heard).await;
    let mut client = manual_client(&served).await;
    client.send(&append(&vec![0; 15 * 1024 * 1024 + 2])).await;
    assert_eq!(client.error().await["code"], "audio_append_too_large");
    client.settled().await;
}

#[tokio::test]
async fn eight_clients_at_once_get_their_own_words_only() {
    let served = serve(heard).await;
    let speaking = (1..=8_u8).map(|number| {
        let served = &served;
        async move {
            let peak = 20 + 8 * number;
            let mut client = Client::connect(served, "?intent=transcription").await;
            client.event().await;
            for _ in 0..3 {
                client.send_bytes([silence(400), voice(peak, 600), silence(900)].concat()).await;
            }
            let mut events = Vec::new();
            for _ in 0..3 {
                events.extend(client.until(COMPLETED).await);
            }
            let events = without_pool(events);
            assert_eq!(events.len(), 3 * UTTERANCE.len());
            for completed in events.iter().filter(|event| event["type"] == COMPLETED) {
                assert_eq!(completed["transcript"], format!("heard {peak}"));
                assert_eq!(types(&about(&completed["item_id"], &events)), UTTERANCE);
            }
            client.expect_nothing_more().await;
        }
    });
    futures_util::future::join_all(speaking).await;
}

#[tokio::test]
async fn doors_stay_shut_in_plain_http() {
    let served = serve(heard).await;
    let (status, body, _) = served.refused("?model=parrot", None).await;
    assert_eq!((status, &body["error"]["code"]), (404, &json!("model_not_found")));
    assert!(body["error"]["message"].as_str().is_some_and(|text| text.contains("fake")), "{body}");
    let (status, body, _) = served.refused("?model=fake&model=whisper-1", None).await;
    assert_eq!((status, &body["error"]["code"]), (400, &json!("invalid_query")));

    let served = serve_guarded("secret", 1).await;
    let (status, body, _) = served.refused("", None).await;
    assert_eq!((status, &body["error"]["type"]), (401, &json!("invalid_request_error")));
    assert_eq!(served.refused("", Some("wrong")).await.0, 401);
    let mut inside = Client::connect_by_subprotocol(&served, "secret").await;
    inside.event().await;
    let (status, body, _) = served.refused("", Some("secret")).await;
    assert_eq!((status, &body["error"]["code"]), (429, &json!("too_many_sessions")));
    drop(inside);
    served.no_sessions().await;

    served.drain();
    let (status, body, retry_after) = served.refused("", Some("secret")).await;
    assert_eq!((status, &body["error"]["code"]), (503, &json!("pool_draining")));
    assert!(retry_after.is_some());
}
