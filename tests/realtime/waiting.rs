//! The waiting room on the wire: where one stands, when the turn comes, and what is kept until then.

use super::client::{Client, types, voice};
use super::server::{Served, heard, serve, serve_guarded, serve_with, settings};
use super::{COMPLETED, manual_client};
use serde_json::{Value, json};
use std::time::Duration;
use stenopool::asr::DecodeOptions;
use stenopool::asr::fake::Act;
use stenopool::audio::Utterance;
use stenopool::pool::LeaseScope;
use stenopool::telemetry::metrics::{self, Gauges};

const FAILED: &str = "conversation.item.input_audio_transcription.failed";

async fn say(client: &mut Client, peak: u8) {
    client.send_bytes(voice(peak, 300)).await;
    client.send(&json!({ "type": "input_audio_buffer.commit" })).await;
}

/// Never done with `heard 13`, and reads everything else at once.
fn stuck_at_13(utterance: &Utterance, options: &DecodeOptions) -> Act {
    match heard(utterance, options) {
        Act::Say(text, _) if text == "heard 13" => Act::Never,
        act => act,
    }
}

/// Two clients that hold the two slots for as long as they stay.
async fn holders(served: &Served) -> [Client; 2] {
    let mut holders = [manual_client(served).await, manual_client(served).await];
    for holder in &mut holders {
        say(holder, 13).await;
    }
    served.until(|pool| pool.slots.leased == 2).await;
    holders
}

/// The value of a sample of the process's metrics.
fn measured(sample: &str) -> f64 {
    let text = metrics::render(&Gauges::default());
    let value = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or(0.0)
}

#[tokio::test]
async fn a_free_slot_is_told_when_it_is_granted_and_when_it_is_given_back() {
    let served = serve(heard).await;
    let mut client = manual_client(&served).await;
    say(&mut client, 40).await;
    let events = client.until(COMPLETED).await;
    let expected = ["pool.lease.granted", "pool.lease.released"];
    assert_eq!(types(&events[3..5]), expected, "between the item and its text: {events:?}");
    assert!(events[3]["slot"].is_u64() && events[3]["waited_ms"].is_u64(), "{}", events[3]);
    assert!(events[4]["held_ms"].is_u64(), "{}", events[4]);
}

#[tokio::test]
async fn whoever_waits_sees_its_place_and_is_read_when_its_turn_comes() {
    let served = serve(stuck_at_13).await;
    let holding = holders(&served).await;
    let mut client = manual_client(&served).await;
    say(&mut client, 40).await;
    let events = client.until("pool.queue.updated").await;
    assert_eq!(events[0]["type"], "input_audio_buffer.committed");
    let place = events.last().expect("there are events");
    assert_eq!(place["position"], 1);
    assert!(place["estimated_wait_ms"].as_u64().is_some_and(|ms| ms > 0), "{place}");
    drop(holding);
    let events = client.until(COMPLETED).await;
    let mut told = types(&events);
    told.retain(|kind| *kind != "pool.queue.updated");
    assert_eq!(told[..2], ["pool.lease.granted", "pool.lease.released"]);
    let completed = events.last().expect("there are events");
    assert_eq!(completed["transcript"], "heard 40");
    let granted = events.iter().find(|event| event["type"] == "pool.lease.granted").expect("it was granted");
    assert_eq!(granted["waited_ms"], completed["pool"]["waited_ms"]);
}

#[tokio::test]
async fn what_is_said_while_waiting_is_kept_and_what_does_not_fit_is_told_to_be_dropped() {
    let mut settings = settings();
    settings.keeping.audio = Duration::from_millis(500);
    settings.keeping.patience = Duration::from_millis(100);
    let served = serve_with(stuck_at_13, settings).await;
    let holding = holders(&served).await;
    let mut client = manual_client(&served).await;
    // One stands in line and two wait behind it.
    for peak in [30, 40, 50, 60, 70] {
        say(&mut client, peak).await;
    }
    let mut events = client.until("error").await;
    let error = &events.last().expect("there are events")["error"];
    assert_eq!((&error["code"], &error["type"]), (&json!("audio_dropped"), &json!("server_error")));
    let message = error["message"].as_str().expect("a message");
    assert!(message.contains("0.3 s of audio, from 0.9 s to 1.2 s"), "{message}");
    assert!(message.contains("0.9 s in 3 utterances already wait"), "{message}");
    events.extend(client.until("error").await);
    events.extend(client.until(FAILED).await);
    drop(holding);
    for _ in 0..3 {
        events.extend(client.until(COMPLETED).await);
    }
    assert_eq!(transcripts(&events), ["heard 30", "heard 40", "heard 50"]);
    assert_eq!(ended(&events), ids(&events, "input_audio_buffer.committed"), "each item ends once");
    assert_eq!(ids(&events, FAILED).len(), 2);
    say(&mut client, 80).await;
    assert_eq!(transcripts(&client.until(COMPLETED).await), ["heard 80"], "the session goes on");
    assert!(measured("stenopool_errors_total{code=\"audio_dropped\",module=\"session\"}") >= 2.0);
}

fn ids(events: &[Value], kind: &str) -> Vec<String> {
    let events = events.iter().filter(|event| event["type"] == kind);
    let mut ids: Vec<_> = events.map(|event| event["item_id"].to_string()).collect();
    ids.sort();
    ids
}

/// The items that ended, one way or the other.
fn ended(events: &[Value]) -> Vec<String> {
    let mut ids = [ids(events, COMPLETED), ids(events, FAILED)].concat();
    ids.sort();
    ids
}

fn transcripts(events: &[Value]) -> Vec<&str> {
    let completed = events.iter().filter(|event| event["type"] == COMPLETED);
    completed.map(|event| event["transcript"].as_str().expect("a text")).collect()
}

fn lease(scope: &str) -> Value {
    json!({ "type": "session.update", "session": { "pool": { "lease": scope } } })
}

#[tokio::test]
async fn a_session_may_keep_its_lease_and_give_it_up_again() {
    let served = serve(heard).await;
    let mut client = manual_client(&served).await;
    for (scope, expected) in [("session", "pool.lease.granted"), ("utterance", "pool.lease.released")] {
        client.send(&lease(scope)).await;
        // Which of them comes first is up to the pool.
        let mut events = vec![client.event().await, client.event().await];
        events.sort_by_key(|event| event["type"].to_string());
        assert_eq!(types(&events), [expected, "session.updated"]);
        assert_eq!(events[1]["session"]["pool"], json!({ "lease": scope, "resume": false }));
        say(&mut client, 40).await;
        assert_eq!(transcripts(&client.until(COMPLETED).await), ["heard 40"]);
    }
    served.until(|pool| pool.slots.idle == 2).await;
}

#[tokio::test]
async fn a_session_that_wants_a_lease_to_keep_sees_its_place_at_once_and_nobody_knows_for_how_long() {
    let mut settings = settings();
    settings.lease = LeaseScope::Session;
    let served = serve_with(heard, settings).await;
    let mut inside = [Client::connect(&served, "").await, Client::connect(&served, "").await];
    for client in &mut inside {
        client.until("pool.lease.granted").await;
    }
    let mut third = Client::connect(&served, "").await;
    let place = third.until("pool.queue.updated").await.pop().expect("there are events");
    assert_eq!((&place["position"], &place["estimated_wait_ms"]), (&json!(1), &Value::Null));
    drop(inside);
    third.until("pool.lease.granted").await;
}

#[tokio::test]
async fn a_server_that_fixes_its_leases_refuses_to_switch_and_the_session_goes_on() {
    let mut settings = settings();
    (settings.lease, settings.lease_switching) = (LeaseScope::Session, false);
    let served = serve_with(heard, settings).await;
    let mut client = Client::connect(&served, "?intent=transcription").await;
    assert_eq!(client.event().await["session"]["pool"]["lease"], "session");
    client.send(&super::manual()).await;
    client.until("session.updated").await;
    client.send(&lease("utterance")).await;
    let error = client.error().await;
    assert_eq!((&error["code"], &error["param"]), (&json!("lease_fixed"), &json!("session.pool.lease")));
    say(&mut client, 40).await;
    assert_eq!(transcripts(&client.until(COMPLETED).await), ["heard 40"]);
    assert!(measured("stenopool_errors_total{code=\"lease_fixed\",module=\"server\"}") >= 1.0);
}

#[tokio::test]
async fn every_stage_of_a_turn_is_measured() {
    let served = serve(heard).await;
    let mut client = manual_client(&served).await;
    say(&mut client, 40).await;
    client.until(COMPLETED).await;
    // The text is measured when it was told, which may be a moment after it was read.
    client.settled().await;
    for stage in ["endpoint", "wait", "decode", "total"] {
        let count = format!("stenopool_turn_latency_seconds_count{{stage=\"{stage}\"}}");
        assert!(measured(&count) >= 1.0, "{stage}");
    }
}

#[tokio::test]
async fn the_pool_knows_a_session_by_its_name_and_tier_and_whether_somebody_speaks() {
    let served = serve_guarded("secret", 1).await;
    let mut client = Client::connect_by_subprotocol(&served, "secret").await;
    client.event().await;
    client.send_bytes(voice(40, 800)).await;
    client.until("input_audio_buffer.speech_started").await;
    served.until(|pool| (pool.sessions.connected, pool.sessions.speaking) == (1, 1)).await;
    client.send(&json!({ "type": "input_audio_buffer.clear" })).await;
    client.until("input_audio_buffer.cleared").await;
    served.until(|pool| (pool.sessions.connected, pool.sessions.speaking) == (1, 0)).await;
}

#[tokio::test]
async fn a_session_in_line_is_called_as_its_client_was_told_and_has_the_tier_of_its_key() {
    let served = serve_guarded("secret", 1).await;
    let mut client = Client::connect_by_subprotocol(&served, "secret").await;
    let name = client.event().await["session"]["id"].as_str().expect("a name").to_owned();
    let _leases = served.occupied();
    client.send(&super::manual()).await;
    client.until("session.updated").await;
    say(&mut client, 40).await;
    client.until("pool.queue.updated").await;
    served
        .until(|pool| {
            let waiter = pool.queue.waiters.first();
            waiter.is_some_and(|waiter| (&*waiter.name, &*waiter.tier) == (&*name, "gold"))
        })
        .await;
}
