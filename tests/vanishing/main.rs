//! A thousand sessions that connect, speak, and vanish at random moments: real sockets, a scripted engine.
//!
//! A binary of its own, so that nothing else runs in the process whose tasks and memory are counted.

#[expect(dead_code, reason = "shared with the tests of the protocol, which need more of it")]
#[path = "../realtime/client.rs"]
mod client;
#[expect(dead_code, reason = "shared with the tests of the protocol, which need more of it")]
#[path = "../realtime/server.rs"]
mod server;

use client::{Client, voice};
use futures_util::future::join_all;
use serde_json::json;
use server::{PATIENCE, Served, heard, serve};
use std::ops::Range;
use std::time::Duration;
use stenopool::asr::DecodeOptions;
use stenopool::asr::fake::Act;
use stenopool::audio::Utterance;
use stenopool::gpu::{Bytes, process_memory};
use tokio::runtime::Handle;
use tokio::time::timeout;

/// Sessions at once.
const CROWD: u64 = 50;

/// Takes 20 ms for everything.
fn working(utterance: &Utterance, options: &DecodeOptions) -> Act {
    match heard(utterance, options) {
        Act::Say(text, _) => Act::Say(text, Duration::from_millis(20)),
        act => act,
    }
}

/// Numbers that look like chance and are the same every time.
fn chance(seed: u64) -> u64 {
    let mixed = (seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 33
}

/// Connects, gets so far, and is gone: after the connection, in the middle of speech, in line, while it is decoded, when
/// the text is on its way, or at its end.
async fn vanish(served: &Served, session: u64, lease: &str) {
    let mut client = Client::connect(served, "?intent=transcription").await;
    let keep = json!({ "type": "session.update", "session": { "pool": { "lease": lease } } });
    client.send(&keep).await;
    let steps = chance(session) % 6;
    if steps >= 1 {
        let manual = json!({ "audio": { "input": { "turn_detection": null } } });
        client.send(&json!({ "type": "session.update", "session": manual })).await;
        client.send_bytes(voice(40, 200)).await;
    }
    for _ in 0..steps.saturating_sub(1).min(3) {
        client.send(&json!({ "type": "input_audio_buffer.commit" })).await;
        client.send_bytes(voice(40, 200)).await;
    }
    if steps >= 4 {
        client.until("input_audio_buffer.committed").await;
    }
    if steps >= 5 {
        client.until("conversation.item.input_audio_transcription.completed").await;
    }
}

async fn crowds(served: &Served, sessions: Range<u64>, lease: &str) {
    for first in sessions.step_by(CROWD as usize) {
        join_all((first..first + CROWD).map(|session| vanish(served, session, lease))).await;
    }
    served.until(|pool| pool.slots.idle == pool.slots.total && pool.queue.depth() == 0).await;
    served.no_sessions().await;
}

/// Waits until as many tasks are left as there were.
async fn tasks_are(expected: usize) {
    let counting = async {
        while Handle::current().metrics().num_alive_tasks() > expected {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, counting).await.expect("every task of a session that is gone ends");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_sessions_that_vanish_leave_no_lease_no_task_and_no_memory() {
    let served = serve(working).await;
    let tasks = Handle::current().metrics().num_alive_tasks();
    crowds(&served, 0..500, "utterance").await;
    tasks_are(tasks).await;
    let memory = process_memory();
    crowds(&served, 500..1_000, "utterance").await;
    tasks_are(tasks).await;
    let grown = process_memory().since(memory);
    assert!(grown < Bytes::mib(8), "the second half of the sessions left {grown}");
    kept_leases_leave_nothing(&served).await;
}

/// The same for sessions that keep their slots: most of a crowd waits for one when it vanishes. It is part of the one
/// test, since tests at once would count each other's tasks.
async fn kept_leases_leave_nothing(served: &Served) {
    let tasks = Handle::current().metrics().num_alive_tasks();
    crowds(served, 1_000..1_200, "session").await;
    tasks_are(tasks).await;
}
