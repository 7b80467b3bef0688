//! Who waits, and for how long.

use super::server::{Asked, Server, Step, reply};
use super::*;
use std::num::NonZeroUsize;
use tokio_util::sync::CancellationToken;

/// A server whose first reply waits for the gate.
async fn held() -> (Server, CancellationToken) {
    let gate = CancellationToken::new();
    let opened = gate.clone();
    let server = Server::new(move |asked| match asked.nth {
        0 => [vec![Step::Hold(opened.clone())], reply("Done.")].concat(),
        _ => reply("Done."),
    });
    (server.await, gate)
}

fn one_at_a_time(server: &Server) -> LlmSettings {
    LlmSettings { concurrency: NonZeroUsize::MIN, ..settings(&[server]) }
}

#[tokio::test]
async fn askers_take_turns_whoever_has_more_to_ask() {
    let (server, gate) = held().await;
    let client = Client::new(one_at_a_time(&server)).unwrap();
    let mut asking = Vec::new();
    let wishes = [(1, "1a"), (1, "1b"), (1, "1c"), (2, "2a"), (3, "3a"), (2, "2b")];
    for (before, (asker, text)) in wishes.into_iter().enumerate() {
        let own = client.clone();
        asking.push(tokio::spawn(async move { said(&own, says(asker, text)).await }));
        server.requests(1).await;
        // The first is upstream, and the others stand in line in this order.
        while client.waiting() < before {
            tokio::task::yield_now().await;
        }
    }
    gate.cancel();
    for reply in asking {
        assert_eq!(reply.await.unwrap().unwrap(), "Done.");
    }
    let asked = server.asked();
    let order: Vec<&str> = asked.iter().map(Asked::last).collect();
    assert_eq!(order, ["1a", "1b", "2a", "3a", "1c", "2b"]);
}

#[tokio::test]
async fn one_who_gives_up_in_line_is_never_asked_for() {
    let (server, gate) = held().await;
    let client = Client::new(one_at_a_time(&server)).unwrap();
    let own = client.clone();
    let upstream = tokio::spawn(async move { said(&own, says(1, "1a")).await });
    server.requests(1).await;
    let mut given_up = client.reply(says(2, "2a"));
    assert!(futures_util::poll!(given_up.next()).is_pending());
    assert_eq!(client.waiting(), 1);
    drop(given_up);
    assert_eq!(client.waiting(), 0);
    gate.cancel();
    upstream.await.unwrap().unwrap();
    said(&client, says(3, "3a")).await.unwrap();
    let asked = server.asked();
    assert_eq!(asked.iter().map(Asked::last).collect::<Vec<_>>(), ["1a", "3a"]);
}

#[tokio::test]
async fn a_full_line_is_told_at_once_and_a_long_wait_in_time() {
    let (server, _gate) = held().await;
    let client = Client::new(LlmSettings { max_waiting: 1, total: SHORT, ..one_at_a_time(&server) }).unwrap();
    let mut upstream = client.reply(says(1, "1a"));
    assert!(futures_util::poll!(upstream.next()).is_pending());
    let mut waits = client.reply(says(2, "2a"));
    assert!(futures_util::poll!(waits.next()).is_pending());
    assert_eq!(failure(&client).await, LlmError::Saturated { waiting: 1, limit: 1 });
    let LlmError::Timeout { limit, detail } = waits.next().await.unwrap().unwrap_err() else {
        panic!("it waits too long")
    };
    assert_eq!((limit, detail.as_str()), (SHORT, "it was not the turn of this one yet"));
}
