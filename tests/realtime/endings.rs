//! How connections end: by clients that leave, vanish, flood or stand still, and by the server.

use super::client::{Client, silence, voice};
use super::server::{heard, serve, serve_with, serve_with_grace, settings};
use super::{COMPLETED, manual_client};
use serde_json::{Value, json};
use std::time::Duration;
use stenopool::asr::DecodeOptions;
use stenopool::asr::fake::Act;
use stenopool::audio::Utterance;
use stenopool::server::ServerSettings;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

const FAILED: &str = "conversation.item.input_audio_transcription.failed";

/// So many utterances at once, with the loudness of each.
async fn speak(client: &mut Client, peaks: impl IntoIterator<Item = u8>) {
    for peak in peaks {
        client.send_bytes(voice(peak, 200)).await;
        client.send(&json!({ "type": "input_audio_buffer.commit" })).await;
    }
}

/// Fails unless every item that was committed ended once, and as this type of event says; gives their number.
fn all_ended(events: &[Value], as_type: &str) -> usize {
    let ids = |kind: &str| -> Vec<&str> {
        let events = events.iter().filter(|event| event["type"] == kind);
        events.map(|event| event["item_id"].as_str().expect("an item")).collect()
    };
    let committed = ids("input_audio_buffer.committed");
    assert_eq!(ids(as_type), committed);
    assert_eq!(ids(COMPLETED).len() + ids(FAILED).len(), committed.len());
    committed.len()
}

/// More than a session keeps waiting; what is over that is not taken.
fn too_much(first: u8) -> impl Iterator<Item = u8> {
    std::iter::once(first).chain(std::iter::repeat_n(40, 79))
}

/// Reads `heard 13` slowly and everything else at once.
fn slow_at_first(utterance: &Utterance, options: &DecodeOptions) -> Act {
    match heard(utterance, options) {
        Act::Say(text, _) if text == "heard 13" => Act::Say(text, Duration::from_secs(1)),
        act => act,
    }
}

#[tokio::test]
async fn the_lease_of_a_client_that_vanishes_is_free_before_its_decode_ends() {
    let served = serve(|_, _| Act::Never).await;
    let mut client = manual_client(&served).await;
    client.send_bytes(voice(40, 300)).await;
    client.send(&json!({ "type": "input_audio_buffer.commit" })).await;
    served.until(|pool| pool.slots.leased == 1).await;
    drop(client);
    served.until(|pool| pool.slots.leased == 0).await;
    served.no_sessions().await;
}

#[tokio::test]
async fn a_client_that_vanishes_while_it_floods_leaves() {
    let served = serve(|_, _| Act::Never).await;
    let mut client = manual_client(&served).await;
    for _ in 0..40 {
        client.send_bytes(voice(40, 300)).await;
        client.send(&json!({ "type": "input_audio_buffer.commit" })).await;
    }
    client.flood(&voice(40, 10_000)).await;
    served.until(|pool| pool.slots.leased == 1).await;
    drop(client);
    served.until(|pool| pool.slots.leased == 0).await;
    served.no_sessions().await;
}

/// Settings with which silence is short; ten pings fit into a test.
fn impatient() -> ServerSettings {
    let mut settings = settings();
    settings.busy_silence = Duration::from_millis(300);
    settings
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_given_up_sooner_while_it_holds_a_slot() {
    let served = serve_with(|_, _| Act::Never, impatient()).await;
    let mut client = manual_client(&served).await;
    speak(&mut client, [40]).await;
    served.until(|pool| pool.slots.leased == 1).await;
    // The connection is open, but nobody is there: this client's library answers pings while it reads.
    served.until(|pool| pool.slots.leased == 0).await;
    served.no_sessions().await;
    drop(client);
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_given_up_also_when_it_is_idle() {
    let mut settings = settings();
    settings.idle_silence = Duration::from_millis(300);
    let served = serve_with(heard, settings).await;
    let client = manual_client(&served).await;
    served.no_sessions().await;
    drop(client);
}

#[tokio::test]
async fn a_client_that_answers_pings_may_say_nothing_else() {
    let served = serve_with(slow_at_first, impatient()).await;
    let mut client = manual_client(&served).await;
    speak(&mut client, [13]).await;
    client.until(COMPLETED).await;
}

#[tokio::test]
async fn a_client_in_the_middle_of_a_long_message_is_there() {
    let served = serve_with(|_, _| Act::Never, impatient()).await;
    let mut client = manual_client(&served).await;
    speak(&mut client, [40]).await;
    served.until(|pool| pool.slots.leased == 1).await;
    client.trickle(&[0; 1_001], 20, Duration::from_millis(50)).await;
    assert_eq!(client.error().await["code"], "audio_odd_byte_count");
}

#[tokio::test]
async fn audio_that_cannot_be_taken_for_too_long_ends_the_session_when_all_before_it_is_read() {
    let mut settings = settings();
    settings.slow_client = Duration::from_millis(300);
    let served = serve_with(slow_at_first, settings).await;
    let mut client = manual_client(&served).await;
    speak(&mut client, too_much(13)).await;
    let mut events = client.until("error").await;
    let error = &events.last().expect("there are events")["error"];
    assert_eq!((&error["code"], &error["type"]), (&json!("audio_overrun"), &json!("server_error")));
    let (rest, close) = client.rest().await;
    assert_eq!(close, (CloseCode::Again, "audio_overrun".to_owned()));
    events.extend(rest);
    assert!(all_ended(&events, COMPLETED) > 32);
    served.no_sessions().await;
}

#[tokio::test]
async fn a_session_that_is_broken_off_fails_what_it_cannot_read_in_time() {
    let mut settings = settings();
    settings.slow_client = Duration::from_millis(300);
    settings.last_words = Duration::from_millis(300);
    let served = serve_with(|_, _| Act::Never, settings).await;
    let mut client = manual_client(&served).await;
    speak(&mut client, too_much(40)).await;
    let (events, close) = client.rest().await;
    assert_eq!(close, (CloseCode::Again, "audio_overrun".to_owned()));
    assert!(all_ended(&events, FAILED) > 32);
    served.until(|pool| pool.slots.leased == 0 && pool.queue.depth() == 0).await;
    served.no_sessions().await;
}

#[tokio::test]
async fn a_client_that_only_sends_cannot_stay_after_an_overrun() {
    let mut settings = settings();
    settings.slow_client = Duration::from_millis(300);
    settings.last_words = Duration::from_millis(300);
    let served = serve_with(|_, _| Act::Never, settings).await;
    let mut client = manual_client(&served).await;
    speak(&mut client, too_much(40)).await;
    let mut writing = client.into_writer();
    writing.send_until_closed(r#"{"type":"input_audio_buffer.commit"}"#).await;
    served.no_sessions().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_dropped() {
    let mut settings = settings();
    settings.slow_client = Duration::from_millis(300);
    let served = serve_with(heard, settings).await;
    let client = Client::connect(&served, "?intent=transcription").await;
    let mut writing = client.into_writer();
    // Every one of these is answered, and nobody takes the answers.
    let nonsense = format!(r#"{{"type":"{}"}}"#, "x".repeat(4_000));
    writing.send_until_closed(&nonsense).await;
    served.no_sessions().await;
}

#[tokio::test]
async fn a_message_over_the_limit_closes_with_1009_when_all_before_it_is_read() {
    let mut settings = settings();
    settings.message_limit = 10_000;
    let served = serve_with(slow_at_first, settings).await;
    let mut client = manual_client(&served).await;
    speak(&mut client, [13, 40]).await;
    client.send_bytes(vec![0; 10_002]).await;
    let mut events = client.until("error").await;
    assert_eq!(events.last().expect("there are events")["error"]["code"], "message_too_large");
    let (rest, close) = client.rest().await;
    assert_eq!(close, (CloseCode::Size, "message_too_large".to_owned()));
    events.extend(rest);
    assert_eq!(all_ended(&events, COMPLETED), 2);
    served.no_sessions().await;
}

#[tokio::test]
async fn a_client_that_leaves_behind_a_message_over_the_limit_leaves() {
    let mut settings = settings();
    settings.message_limit = 10_000;
    let served = serve_with(|_, _| Act::Never, settings).await;
    let mut client = manual_client(&served).await;
    speak(&mut client, [40]).await;
    client.send_bytes(vec![0; 10_002]).await;
    client.error().await;
    drop(client);
    served.until(|pool| pool.slots.leased == 0).await;
    served.no_sessions().await;
}

#[tokio::test]
async fn a_stopping_server_says_so_reads_what_was_said_and_closes() {
    let served = serve(|utterance, options| match heard(utterance, options) {
        Act::Say(text, _) => Act::Say(text, Duration::from_millis(200)),
        act => act,
    })
    .await;
    let mut client = Client::connect(&served, "?intent=transcription").await;
    client.event().await;
    client.send_bytes([silence(400), voice(50, 800)].concat()).await;
    client.until("input_audio_buffer.speech_started").await;
    client.settled().await;
    served.stop();
    let events = client.until(COMPLETED).await;
    assert_eq!(
        (&events[0]["type"], &events[0]["reason"]),
        (&json!("pool.session.closing"), &json!("shutdown"))
    );
    assert_eq!(events.last().expect("there are events")["transcript"], "heard 50");
    assert_eq!(client.close().await.0, CloseCode::Away);
    served.no_sessions().await;
}

/// Reads `heard 13` and nothing else.
fn stuck_after_one(utterance: &Utterance, options: &DecodeOptions) -> Act {
    match heard(utterance, options) {
        Act::Say(text, time) if text == "heard 13" => Act::Say(text, time),
        _ => Act::Never,
    }
}

#[tokio::test]
async fn what_outlasts_the_grace_period_is_cut_off_and_says_so() {
    let served = serve_with_grace(stuck_after_one, settings(), Duration::from_millis(50)).await;
    let mut client = manual_client(&served).await;
    speak(&mut client, [13]).await;
    client.until(COMPLETED).await;
    // One is being read, one waits, and one is still being said.
    speak(&mut client, [40, 40]).await;
    client.send_bytes(voice(40, 300)).await;
    client.until("input_audio_buffer.committed").await;
    client.until("input_audio_buffer.committed").await;
    client.settled().await;
    served.stop();
    let (events, close) = client.rest().await;
    assert_eq!(close, (CloseCode::Away, "shutdown".to_owned()));
    assert_eq!(events.iter().filter(|event| event["type"] == FAILED).count(), 3);
    served.stopped().await;
    served.until(|pool| pool.slots.leased == 0 && pool.queue.depth() == 0).await;
}

#[tokio::test]
async fn a_crashing_server_says_so_leaves_what_is_unread_and_closes_with_1012() {
    let served = serve(stuck_after_one).await;
    let mut client = manual_client(&served).await;
    speak(&mut client, [13]).await;
    client.until(COMPLETED).await;
    // One is being read, one waits.
    speak(&mut client, [40, 40]).await;
    client.until("input_audio_buffer.committed").await;
    client.until("input_audio_buffer.committed").await;
    let mut bystander = manual_client(&served).await;
    served.crash();
    let (events, close) = client.rest().await;
    assert_eq!(close, (CloseCode::Restart, "crashed".to_owned()));
    let closing = events.iter().find(|event| event["type"] == "pool.session.closing");
    let closing = closing.expect("it says that it goes");
    assert_eq!(closing["reason"], "crashed");
    assert_eq!((&closing["retry_after_ms"], &closing["closes_in_ms"]), (&json!(2_000), &json!(0)));
    let of = |kind: &str| events.iter().filter(|event| event["type"] == kind).count();
    assert_eq!((of(FAILED), of("pool.session.closing")), (2, 1));
    assert_eq!(bystander.rest().await.1, (CloseCode::Restart, "crashed".to_owned()));
    served.stopped().await;
}

#[tokio::test]
async fn a_client_that_is_not_there_does_not_hold_up_the_end() {
    let served = serve_with_grace(|_, _| Act::Never, settings(), Duration::from_millis(50)).await;
    let mut client = manual_client(&served).await;
    speak(&mut client, [40]).await;
    served.until(|pool| pool.slots.leased == 1).await;
    served.stop();
    served.stopped().await;
    served.until(|pool| pool.slots.leased == 0).await;
    drop(client);
}

#[tokio::test]
async fn an_idle_session_is_told_before_it_is_closed() {
    let mut settings = settings();
    settings.session_idle = Duration::from_millis(500);
    let served = serve_with(heard, settings).await;
    let mut client = Client::connect(&served, "?intent=transcription").await;
    client.event().await;
    let closing = client.event().await;
    assert_eq!(
        (&closing["type"], &closing["reason"]),
        (&json!("pool.session.closing"), &json!("session_idle"))
    );
    assert_eq!(client.close().await, (CloseCode::Normal, "session_idle".to_owned()));
}
