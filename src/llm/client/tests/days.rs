//! Endpoints on their good and bad days: down, slow, cut off, sending garbage, refusing.

use super::server::{Server, Step, chunk, end, head, hold, reply, response, token};
use super::*;
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// Where no server is.
const NOBODY: &str = "http://127.0.0.1:1/v1";

/// A server that always does the same.
async fn always(steps: Vec<Step>) -> Server {
    Server::new(move |_| steps.clone()).await
}

/// A server that does these one after the other, and then replies "At last."
async fn at_last(steps: Vec<Vec<Step>>) -> Server {
    Server::new(move |asked| steps.get(asked.nth).cloned().unwrap_or_else(|| reply("At last."))).await
}

/// Settings with retries and short patience.
fn retrying(servers: &[&Server]) -> LlmSettings {
    LlmSettings { retries: 1, ..settings(servers) }
}

#[tokio::test]
async fn the_tenth_request_uses_the_connection_of_the_first() {
    let server = always(reply("Hello there.")).await;
    let client = client(&server);
    for _ in 0..10 {
        assert_eq!(said(&client, says(1, "Hello.")).await.unwrap(), "Hello there.");
    }
    assert_eq!((server.asked().len(), server.connections()), (10, 1));
    let head = server.asked().remove(0).head;
    assert!(head.starts_with("post /v1/chat/completions http/1.1"), "{head}");
    assert!(head.contains("authorization: bearer sk-hunter2"), "{head}");
}

#[tokio::test]
async fn a_refusal_leaves_the_connection_usable() {
    let server = at_last(vec![response(500, "", "{\"error\": {\"message\": \"no memory\"}}")]).await;
    let client = Client::new(retrying(&[&server])).unwrap();
    assert_eq!(said(&client, says(1, "Hello.")).await.unwrap(), "At last.");
    assert_eq!((server.asked().len(), server.connections()), (2, 1));
}

#[tokio::test]
async fn dropping_a_reply_closes_its_request_wherever_it_is() {
    let token_then_nothing = vec![head(), token("Hello"), hold()];
    for steps in [vec![hold()], vec![head(), hold()], token_then_nothing] {
        let server = always(steps).await;
        let client = client(&server);
        let mut replies = client.reply(says(1, "Hello."));
        let asking = tokio::spawn(async move { while replies.next().await.is_some() {} });
        server.requests(1).await;
        assert_eq!(client.open(), 1);
        asking.abort();
        server.gone(1).await;
        assert!(asking.await.is_err());
        assert_eq!(client.open(), 0);
    }
}

#[tokio::test]
async fn fifty_replies_that_are_dropped_at_once_leave_nothing_open() {
    let server = always(vec![head(), token("Hello"), hold()]).await;
    let client = client(&server);
    let replies = futures_util::future::join_all((0..32).map(|n| first(&client, says(n, "Hello.")))).await;
    let waiting: Vec<_> = (0..18)
        .map(|n| {
            let mut replies = client.reply(says(n, "Hello."));
            tokio::spawn(async move { replies.next().await.is_some() })
        })
        .collect();
    while client.waiting() < 18 {
        tokio::task::yield_now().await;
    }
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    futures_util::future::join_all(waiting).await;
    drop(replies);
    server.gone(32).await;
    assert_eq!((client.open(), client.waiting(), server.asked().len()), (0, 0, 32));
}

#[tokio::test]
async fn an_endpoint_that_does_not_begin_in_time_is_given_up() {
    let role = chunk("data: {\"choices\": [{\"delta\": {\"role\": \"assistant\", \"content\": \"\"}}]}\n\n");
    for steps in [vec![hold()], vec![head(), role, hold()]] {
        let server = always(steps).await;
        let client = Client::new(LlmSettings { first_token: SHORT, ..settings(&[&server]) }).unwrap();
        let expected = LlmError::FirstTokenTimeout { endpoint: server.url(), limit: SHORT };
        assert_eq!(failure(&client).await, expected);
        server.gone(1).await;
    }
}

#[tokio::test]
async fn signs_of_life_that_are_no_tokens_do_not_count_as_a_beginning() {
    let alive = Step::Repeat(b"9\r\n: alive\n\n\r\n".to_vec(), Duration::from_millis(5));
    let server = always(vec![head(), alive]).await;
    let client = Client::new(LlmSettings { first_token: SHORT, ..settings(&[&server]) }).unwrap();
    assert_eq!(failure(&client).await.code(), "llm_first_token_timeout");
    server.gone(1).await;
}

#[tokio::test]
async fn an_endpoint_that_falls_silent_within_its_reply_is_given_up() {
    let server = always(vec![head(), token("Hello"), hold()]).await;
    let client = Client::new(LlmSettings { stall: SHORT, ..settings(&[&server]) }).unwrap();
    let expected = LlmError::Stalled { endpoint: server.url(), limit: SHORT };
    assert_eq!(said(&client, says(1, "Hello.")).await.unwrap_err(), ("Hello".into(), expected));
    server.gone(1).await;
}

#[tokio::test]
async fn a_reply_without_end_is_given_up_after_its_time() {
    let Step::Send(la) = token("la ") else { panic!("a token is sent") };
    let server = always(vec![head(), Step::Repeat(la, Duration::from_millis(5))]).await;
    let client = Client::new(LlmSettings { total: SHORT, ..settings(&[&server]) }).unwrap();
    let (said, error) = said(&client, says(1, "Sing.")).await.unwrap_err();
    assert!(said.starts_with("la la"), "{said}");
    assert_eq!(error.code(), "llm_timeout");
    server.gone(1).await;
}

#[tokio::test]
async fn a_reply_that_said_why_it_ended_is_whole_though_the_response_is_not() {
    let finish = chunk("data: {\"choices\": [{\"delta\": {}, \"finish_reason\": \"length\"}]}\n\n");
    for rest in [Step::HangUp, end()] {
        let server = always(vec![head(), token("Hello"), finish.clone(), rest]).await;
        assert_eq!(said(&client(&server), says(1, "Hello.")).await.unwrap(), "Hello");
    }
}

#[tokio::test]
async fn a_reply_that_is_cut_off_is_no_whole_one() {
    for rest in [Step::HangUp, end()] {
        let server = always(vec![head(), token("Hello"), rest]).await;
        let client = Client::new(retrying(&[&server])).unwrap();
        let (heard, error) = said(&client, says(1, "Hello.")).await.unwrap_err();
        assert_eq!((heard.as_str(), error.code()), ("Hello", "llm_cut_off"), "{error}");
        assert_eq!(server.asked().len(), 1, "somebody has heard the beginning");
    }
}

#[tokio::test]
async fn garbage_is_told_as_what_it_is() {
    let kind = "content-type: text/html\r\n";
    let event = |text: &str| vec![head(), chunk(text), end()];
    let endless = vec![
        head(),
        Step::Repeat(format!("400\r\n{}\r\n", "x".repeat(1 << 10)).into_bytes(), Duration::ZERO),
    ];
    for steps in [
        response(200, kind, "<html>Welcome!</html>"),
        response(200, "content-type: application/json\r\n", "{\"choices\": []}"),
        event("data: Welcome!\n\n"),
        event("data: {\"choices\": [{\"delta\": {\"content\": \"Hel\n\n"),
        event("data: {\"welcome\": true}\n\n"),
        endless,
    ] {
        let server = always(steps).await;
        let error = failure(&Client::new(retrying(&[&server])).unwrap()).await;
        assert_eq!(error.code(), "llm_garbage", "{error}");
        assert!(error.to_string().contains(&server.url()), "{error}");
        assert_eq!(server.asked().len(), 1, "it would be no better the second time");
    }
}

#[tokio::test]
async fn an_event_without_data_is_no_garbage_and_no_reply() {
    let server = always(vec![head(), chunk("event: x\n\nretry: 9\n\nWelcome!\n\n"), end()]).await;
    assert_eq!(failure(&client(&server)).await.code(), "llm_cut_off");
}

#[tokio::test]
async fn an_endpoint_that_fails_within_its_reply_says_why() {
    let failed = chunk("data: {\"error\": {\"message\": \"no memory\"}}\n\n");
    let server = always(vec![head(), token("Hello"), failed, end()]).await;
    let (heard, error) = said(&client(&server), says(1, "Hello.")).await.unwrap_err();
    assert_eq!(heard, "Hello");
    assert_eq!(error, LlmError::Failed { endpoint: server.url(), message: "no memory".into() });
}

#[tokio::test]
async fn a_wrong_key_is_not_tried_twice_and_never_told() {
    let body = json!({ "error": { "message": "Incorrect API key provided: sk-hunter2" } }).to_string();
    for status in [401, 403] {
        let server = always(response(status, "", &body)).await;
        let error = failure(&Client::new(retrying(&[&server])).unwrap()).await;
        let message = "Incorrect API key provided: ***".into();
        assert_eq!(error, LlmError::Unauthorized { endpoint: server.url(), status, message });
        assert_eq!(server.asked().len(), 1);
    }
}

#[tokio::test]
async fn a_request_that_is_refused_for_good_is_not_repeated() {
    for (status, body, said) in [
        (400, "{\"error\": {\"message\": \"too long\"}}", "too long"),
        (404, "{\"detail\": \"no such model\"}", "no such model"),
        (404, "<html>Not found</html>", "a page for browsers"),
        (301, "", "nothing more"),
    ] {
        let server = always(response(status, "location: http://127.0.0.1:1/\r\n", body)).await;
        let error = failure(&Client::new(retrying(&[&server])).unwrap()).await;
        assert_eq!(error.code(), "llm_refused");
        assert!(
            error.to_string().contains(said) && error.to_string().contains(&status.to_string()),
            "{error}"
        );
        assert_eq!(server.asked().len(), 1);
    }
}

#[tokio::test]
async fn what_may_pass_is_asked_again_before_the_first_token() {
    let role = chunk("data: {\"choices\": [{\"delta\": {\"role\": \"assistant\"}}]}\n\n");
    let failed = chunk("data: {\"error\": \"no memory\"}\n\n");
    for steps in [
        response(500, "", "no memory"),
        response(429, "", ""),
        vec![Step::HangUp],
        vec![head(), role.clone(), Step::HangUp],
        vec![head(), role, end()],
        vec![head(), failed, end()],
    ] {
        let server = at_last(vec![steps.clone()]).await;
        let client = Client::new(retrying(&[&server])).unwrap();
        assert_eq!(said(&client, says(1, "Hello.")).await.unwrap(), "At last.", "{steps:?}");
        let server = at_last(vec![steps.clone(), steps]).await;
        let client = Client::new(retrying(&[&server])).unwrap();
        assert!(said(&client, says(1, "Hello.")).await.is_err(), "once");
        assert_eq!(server.asked().len(), 2);
    }
}

#[tokio::test]
async fn a_short_wish_for_rest_is_waited_for() {
    let server = at_last(vec![response(429, "retry-after-ms: 120\r\n", "")]).await;
    let client = Client::new(retrying(&[&server])).unwrap();
    let since = Instant::now();
    assert_eq!(said(&client, says(1, "Hello.")).await.unwrap(), "At last.");
    assert!(since.elapsed() >= Duration::from_millis(120), "{:?}", since.elapsed());
}

#[tokio::test]
async fn after_a_long_wish_for_rest_the_next_endpoint_is_asked_until_it_is_over() {
    let resting = always(response(429, "retry-after: 60\r\n", "")).await;
    let other = always(reply("Here.")).await;
    let client = Client::new(retrying(&[&resting, &other])).unwrap();
    for _ in 0..3 {
        assert_eq!(said(&client, says(1, "Hello.")).await.unwrap(), "Here.");
    }
    assert_eq!((resting.asked().len(), other.asked().len()), (1, 3));
    let alone = Client::new(retrying(&[&resting])).unwrap();
    let endpoint = resting.url();
    let retry_after = Some(Duration::from_secs(60));
    assert_eq!(failure(&alone).await, LlmError::RateLimited { endpoint, retry_after });
    assert_eq!(failure(&alone).await.code(), "llm_unavailable");
}

#[tokio::test]
async fn when_an_endpoint_does_not_begin_the_next_one_is_asked() {
    for steps in [
        vec![hold()],
        response(401, "", ""),
        response(500, "", ""),
        response(200, "content-type: text/html\r\n", "<html>Welcome!</html>"),
        vec![Step::HangUp],
    ] {
        let (bad, good) = (always(steps).await, always(reply("Here.")).await);
        let mut settings = LlmSettings { first_token: SHORT, ..settings(&[&bad, &good]) };
        settings.fallbacks.insert(0, endpoint(NOBODY));
        let client = Client::new(settings).unwrap();
        assert_eq!(said(&client, says(1, "Hello.")).await.unwrap(), "Here.");
    }
}

#[tokio::test]
async fn an_endpoint_that_nobody_serves_is_unreachable() {
    let error = failure(&Client::new(LlmSettings::new(endpoint(NOBODY))).unwrap()).await;
    assert_eq!(error.code(), "llm_unreachable");
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn an_endpoint_that_fails_again_and_again_is_left_alone_and_then_probed_once() {
    let gate = CancellationToken::new();
    let opened = gate.clone();
    let server = Server::new(move |asked| match asked.nth {
        0 | 1 => response(503, "", "no memory"),
        2 => [vec![Step::Hold(opened.clone())], reply("Again.")].concat(),
        _ => reply("Again."),
    })
    .await;
    let breaker = super::super::super::BreakerSettings {
        failures: std::num::NonZeroU32::new(2).unwrap(),
        cool_down: SHORT,
    };
    let client = Client::new(LlmSettings { breaker, ..settings(&[&server]) }).unwrap();
    assert_eq!(failure(&client).await.code(), "llm_refused");
    assert_eq!(failure(&client).await.code(), "llm_refused");
    let LlmError::Unavailable { retry_in, cause } = failure(&client).await else {
        panic!("it is left alone")
    };
    assert!(retry_in <= SHORT && cause.contains("no memory"), "{retry_in:?}: {cause}");
    assert_eq!(server.asked().len(), 2, "nobody asked it");
    tokio::time::sleep(retry_in).await;
    let probing = client.clone();
    let probe = tokio::spawn(async move { said(&probing, says(1, "Hello.")).await });
    server.requests(3).await;
    assert_eq!(failure(&client).await.code(), "llm_unavailable", "one probe at a time");
    gate.cancel();
    assert_eq!(probe.await.unwrap().unwrap(), "Again.");
    assert_eq!(said(&client, says(1, "Hello.")).await.unwrap(), "Again.");
}

#[tokio::test]
async fn functions_and_figures_pass_through() {
    let call = json!({ "choices": [{ "delta": { "tool_calls": [
        { "index": 0, "id": "c1", "function": { "name": "now", "arguments": "{}" } },
    ] }, "finish_reason": "tool_calls" }] });
    let usage = json!({ "choices": [], "usage": { "prompt_tokens": 7, "completion_tokens": 2 } });
    let events = format!("data: {call}\n\ndata: {usage}\n\ndata: [DONE]\n\n");
    let server = always(vec![head(), chunk(&events), end()]).await;
    let deltas: Vec<_> =
        client(&server).reply(says(1, "What time is it?")).map(Result::unwrap).collect().await;
    let usage = Some(super::super::super::Usage { input_tokens: 7, output_tokens: 2 });
    let expected = [
        Delta::Call { index: 0, id: "c1".into(), name: "now".into() },
        Delta::Arguments { index: 0, piece: "{}".into() },
        Delta::End { finish: Finish::Calls, usage },
    ];
    assert_eq!(deltas, expected);
}
