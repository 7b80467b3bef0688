//! A short soak: people who talk, and others beside them who do everything wrong, over real sockets.
//!
//! A binary of its own, so that nothing else runs in the process whose tasks, descriptors and memory are counted.

#[expect(dead_code, reason = "shared with the tests of the protocol, which need more of it")]
#[path = "../realtime/client.rs"]
mod client;
#[expect(dead_code, reason = "shared with the tests of the protocol, which need more of it")]
#[path = "../realtime/server.rs"]
mod server;
mod speech;

use client::{Client, voice};
use serde_json::json;
use server::{Served, heard, serve};
use speech::{Spoken, clip};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Barrier};
use std::time::Duration;
use stenopool::load::{Course, LoadReport, Rubbish, SoakReport, SoakSettings, soak};
use tokio::runtime::Builder;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

/// Somebody who says so many things, and gets the text of each.
async fn talk(served: &Served, times: u64) -> LoadReport {
    let mut client = Client::connect(served, "?intent=transcription").await;
    let manual = json!({ "audio": { "input": { "turn_detection": null } } });
    client.send(&json!({ "type": "session.update", "session": manual })).await;
    for _ in 0..times {
        client.send_bytes(voice(40, 200)).await;
        client.send(&json!({ "type": "input_audio_buffer.commit" })).await;
        let events = client.until("conversation.item.input_audio_transcription.completed").await;
        assert_eq!(events.last().expect("the last one is the text")["transcript"], "heard 40");
    }
    LoadReport { finals: times, turns: times, ..LoadReport::default() }
}

/// People who talk, and their bad company.
async fn soaked(served: &Served, rubbish: Rubbish) -> SoakReport {
    let settings = SoakSettings {
        url: format!("http://{}", served.address),
        key: None,
        protocol: Arc::new(Spoken(format!("ws://{}/v1/realtime?intent=transcription", served.address))),
        rubbish,
        duration: Duration::from_secs(4),
        warm_up: Duration::from_secs(1),
        pause: Duration::from_millis(10),
        at_once: 24,
        seed: 7,
    };
    let people = async |duration: Duration, _: Course| {
        let mut report = LoadReport::default();
        // More of them than in the warm-up, which is shorter.
        block_together(duration.as_secs()).await;
        let began = tokio::time::Instant::now();
        while began.elapsed() < duration {
            report.finals += talk(served, 5).await.finals;
        }
        Ok::<_, Infallible>(report)
    };
    let (clips, stop) = ([clip()], CancellationToken::new());
    let done = Box::pin(soak(&settings, &clips, people, &stop)).await;
    done.expect("the people were let in")
}

/// Makes the runtime start so many threads for work that blocks, as uploads at once do.
async fn block_together(threads: u64) {
    let all = Arc::new(Barrier::new(usize::try_from(threads).expect("it is small")));
    let waiting = (0..threads).map(|_| {
        let all = Arc::clone(&all);
        spawn_blocking(move || all.wait())
    });
    for waited in waiting.collect::<Vec<_>>() {
        waited.await.expect("none of them panics");
    }
}

fn kinds(misbehaved: &BTreeMap<String, u64>) -> Vec<&str> {
    misbehaved.keys().map(String::as_str).collect()
}

#[test]
fn clients_that_do_everything_wrong_leave_nothing_behind_and_harm_nobody() {
    // Whoever looks at the levels blocks a thread twice in a second. Idle threads take turns at that, so that with
    // tokio's ten seconds none of twenty would ever end.
    let keep_alive = Duration::from_millis(100);
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).thread_keep_alive(keep_alive).enable_all().build();
    runtime.expect("threads start").block_on(everything_wrong());
}

async fn everything_wrong() {
    let served = serve(heard).await;
    for rubbish in [Rubbish::Realtime, Rubbish::Rest] {
        let report = soaked(&served, rubbish).await;
        assert_eq!(report.failures(), [""; 0], "{report}");
        let known = |level: &str| {
            let growth = report.growth.iter().find(|growth| growth.quantity == level).expect("it is there");
            growth.passed
        };
        for level in ["slots_idle", "sessions", "tasks", "open_fds", "threads", "rss_bytes"] {
            assert_eq!(known(level), Some(true), "{level}: {report}");
        }
        let all = [
            "half_handshake",
            "malformed",
            "reconnect",
            "reset",
            "silent_session",
            "silent_socket",
            "slow_reader",
            "vanish",
        ];
        assert_eq!(kinds(&report.misbehaved), all);
    }
    served.no_sessions().await;
}
