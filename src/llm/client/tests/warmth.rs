//! Warming up, and staying warm.

use super::server::{Server, reply, response};
use super::*;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn the_first_reply_finds_the_connection_open_and_the_prompt_read() {
    let server = Server::new(|_| reply("Hello.")).await;
    let client = client(&server);
    client.warm_up("Be brief.").await.unwrap();
    said(&client, says(1, "Hello.")).await.unwrap();
    let asked = server.asked();
    assert_eq!(asked[0].body["messages"][0]["content"], "Be brief.");
    assert_eq!(asked[0].body["max_tokens"], 1);
    assert_eq!((asked.len(), server.connections()), (2, 1));
}

#[tokio::test]
async fn who_keeps_it_warm_asks_again_until_it_is_told_to_stop() {
    let server = Server::new(|_| reply("Hello.")).await;
    let keep_warm = Some(Duration::from_millis(20));
    let client = Client::new(LlmSettings { keep_warm, ..settings(&[&server]) }).unwrap();
    let stop = CancellationToken::new();
    let (tried, _) = oneshot::channel();
    let keeping = tokio::spawn(client.clone().keep_warm("Be brief.".into(), stop.clone(), tried));
    server.requests(3).await;
    stop.cancel();
    keeping.await.unwrap();
    assert_eq!((client.open(), server.connections()), (0, 1));
}

#[tokio::test]
async fn a_warm_up_that_fails_says_why() {
    let server = Server::new(|_| response(404, "", "no such model")).await;
    assert_eq!(client(&server).warm_up("").await.unwrap_err().code(), "llm_refused");
}
