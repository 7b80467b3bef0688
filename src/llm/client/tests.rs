//! The client against a real server, on its good and bad days.

mod days;
mod line;
mod server;
mod warmth;

use super::super::{Endpoint, Finish, LlmSettings, Message};
use super::*;
use server::Server;

/// Long enough for anything that must happen; only a failing test waits for it.
const LONG: Duration = Duration::from_secs(20);

/// Short enough to wait for, long enough for a busy machine.
const SHORT: Duration = Duration::from_millis(400);

fn endpoint(url: &str) -> Endpoint {
    Endpoint::new(url, "small", Some("sk-hunter2")).unwrap()
}

/// Patient settings for these servers, in that order.
fn settings(servers: &[&Server]) -> LlmSettings {
    let mut endpoints = servers.iter().map(|server| endpoint(&server.url()));
    let primary = endpoints.next().expect("one server at least");
    LlmSettings {
        fallbacks: endpoints.collect(),
        first_token: LONG,
        stall: LONG,
        total: LONG,
        retries: 0,
        backoff: Duration::from_millis(1),
        ..LlmSettings::new(primary)
    }
}

fn client(server: &Server) -> Client {
    Client::new(settings(&[server])).unwrap()
}

fn says(asker: u64, text: &str) -> ChatRequest {
    ChatRequest { asker, messages: vec![Message::User(text.into())], ..ChatRequest::default() }
}

/// The whole reply's text, or what went wrong and what was said before.
async fn said(client: &Client, request: ChatRequest) -> Result<String, (String, LlmError)> {
    let mut replies = client.reply(request);
    let mut text = String::new();
    loop {
        let next = tokio::time::timeout(LONG, replies.next()).await.expect("it replies or fails");
        match next {
            Some(Ok(Delta::Text(piece))) => text.push_str(&piece),
            Some(Ok(Delta::End { .. })) => {
                assert!(replies.next().await.is_none(), "nothing follows the end");
                return Ok(text);
            }
            Some(Ok(other)) => panic!("{other:?}"),
            Some(Err(error)) => {
                assert!(replies.next().await.is_none(), "nothing follows an error");
                return Err((text, error));
            }
            None => panic!("a reply ends with an end"),
        }
    }
}

async fn failure(client: &Client) -> LlmError {
    said(client, says(1, "Hello.")).await.expect_err("it fails").1
}

/// Asks until something is open upstream.
async fn first(
    client: &Client,
    request: ChatRequest,
) -> (BoxStream<'static, Result<Delta, LlmError>>, Delta) {
    let mut replies = client.reply(request);
    let next = tokio::time::timeout(LONG, replies.next()).await.expect("it replies");
    let delta = next.expect("there is a delta").expect("it is one");
    (replies, delta)
}
