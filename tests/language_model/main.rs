//! The client of language models against `scripts/scripted_llm.py`, which the benchmarks of conversations use, too: both
//! ends of the same wire, written apart from each other.

use futures_util::StreamExt as _;
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use stenopool::llm::{
    ChatModel as _, ChatRequest, Client, Delta, Endpoint, Finish, LlmError, LlmSettings, Message, Tool,
};
use tokio::time::Instant;

/// Long enough for anything that must happen; only a failing test waits for it.
const LONG: Duration = Duration::from_secs(20);

/// The script, gone when it is dropped.
struct Scripted {
    process: Child,
    url: String,
}

impl Scripted {
    fn start(options: &[&str]) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/scripted_llm.py");
        let mut process = Command::new("python3")
            .arg(script)
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is there");
        let mut url = String::new();
        let output = process.stdout.take().expect("its output is ours");
        BufReader::new(output).read_line(&mut url).expect("it says its address");
        Self { process, url: url.trim().to_owned() }
    }

    fn client(&self) -> Client {
        self.client_with(|settings| settings)
    }

    fn client_with(&self, change: impl FnOnce(LlmSettings) -> LlmSettings) -> Client {
        let endpoint = Endpoint::new(&self.url, "scripted", Some("sk-hunter2")).expect("it is one");
        Client::new(change(LlmSettings::new(endpoint))).expect("there are certificates")
    }

    async fn stats(&self) -> Value {
        let text = reqwest::get(format!("{}/stats", self.url)).await.expect("it is there").text().await;
        serde_json::from_str(&text.expect("it says all of it")).expect("it is JSON")
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn says(asker: u64, text: &str) -> ChatRequest {
    ChatRequest { asker, messages: vec![Message::User(text.into())], ..ChatRequest::default() }
}

/// What was said, and how it ended.
async fn reply(client: &Client, request: ChatRequest) -> (String, Result<Finish, LlmError>) {
    let mut replies = client.reply(request);
    let mut text = String::new();
    loop {
        match tokio::time::timeout(LONG, replies.next()).await.expect("it replies or fails") {
            Some(Ok(Delta::Text(piece))) => text.push_str(&piece),
            Some(Ok(Delta::End { finish, .. })) => return (text, Ok(finish)),
            Some(Ok(_)) => {}
            Some(Err(error)) => return (text, Err(error)),
            None => panic!("a reply ends with an end"),
        }
    }
}

/// The time to the first token, and the whole text.
async fn timed(client: &Client, text: &str) -> (Duration, String) {
    let since = Instant::now();
    let mut replies = client.reply(says(1, text));
    let Some(Ok(Delta::Text(mut said))) = replies.next().await else { panic!("it says something") };
    let first = since.elapsed();
    while let Some(Ok(delta)) = replies.next().await {
        if let Delta::Text(piece) = delta {
            said.push_str(&piece);
        }
    }
    (first, said)
}

#[tokio::test]
async fn the_first_reply_is_no_slower_than_the_tenth() {
    let scripted = Scripted::start(&["--first-token", "60", "--rate", "500", "--load", "700"]);
    let client = scripted.client();
    let warm_up = client.warm_up("Be brief.").await.expect("it warms up");
    assert!(warm_up >= Duration::from_millis(700), "{warm_up:?}");
    let mut firsts = Vec::new();
    for n in 1..=10 {
        let (first, said) = timed(&client, &format!("number {n}")).await;
        assert_eq!(said, format!("You said: number {n}"));
        firsts.push(first);
    }
    assert!(firsts[0] < firsts[9] + Duration::from_millis(50), "{firsts:?}");
    assert!(firsts.iter().all(|first| *first >= Duration::from_millis(59)), "{firsts:?}");
    // One is ours, to ask for this.
    assert_eq!(scripted.stats().await["connections"], 2);
}

#[tokio::test]
async fn every_bad_day_has_its_name() {
    let scripted = Scripted::start(&["--first-token", "1", "--rate", "500", "--retry-after", "9"]);
    let client = scripted.client_with(|settings| LlmSettings {
        first_token: Duration::from_millis(400),
        stall: Duration::from_millis(400),
        retries: 0,
        // Each of these is asked by itself.
        breaker: stenopool::llm::BreakerSettings { cool_down: Duration::ZERO, ..settings.breaker },
        ..settings
    });
    for (mode, heard, code) in [
        ("down", "", "llm_unreachable"),
        ("silent", "", "llm_first_token_timeout"),
        ("html", "", "llm_garbage"),
        ("401", "", "llm_unauthorized"),
        ("500", "", "llm_refused"),
        ("cut", "You said: a ", "llm_cut_off"),
        ("end", "You said: a ", "llm_cut_off"),
        ("stall", "You said: a ", "llm_stalled"),
        ("garbage", "You said: a ", "llm_garbage"),
        ("error", "You said: a ", "llm_failed"),
        // The last one: it is left alone after this.
        ("429", "", "llm_rate_limited"),
    ] {
        let (said, end) = reply(&client, says(1, &format!("a b c d mode={mode}"))).await;
        let error = end.expect_err(mode);
        assert_eq!((said.as_str(), error.code()), (heard, code), "{mode}: {error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    assert_eq!(reply(&client, says(1, "a")).await.1.expect_err("left alone").code(), "llm_unavailable");
    assert_eq!(client.open(), 0);
}

#[tokio::test]
async fn fifty_who_interrupt_at_once_leave_nothing_open_upstream() {
    let scripted = Scripted::start(&["--first-token", "50", "--rate", "20", "--reply", &"la ".repeat(2_000)]);
    let client = scripted.client_with(|settings| LlmSettings {
        concurrency: std::num::NonZeroUsize::new(64).expect("64 is not 0"),
        ..settings
    });
    let singing = (0..50).map(|n| {
        let mut replies = client.reply(says(n, "Sing."));
        async move {
            assert_eq!(replies.next().await, Some(Ok(Delta::Text("la ".into()))));
            replies
        }
    });
    let singing = futures_util::future::join_all(singing).await;
    assert_eq!(scripted.stats().await["open"], 50);
    drop(singing);
    let since = Instant::now();
    while scripted.stats().await["open"] != 0 {
        assert!(since.elapsed() < LONG, "requests stay open");
    }
    assert_eq!(scripted.stats().await["cancelled"], 50);
    assert_eq!(client.open(), 0);
}

#[tokio::test]
async fn a_function_is_called_and_what_it_gave_is_told() {
    let scripted = Scripted::start(&["--mode", "tools", "--arguments", "{\"city\": \"Oslo\"}"]);
    let client = scripted.client();
    let weather = Tool { name: "weather".into(), description: None, parameters: None };
    let mut request = ChatRequest { tools: vec![weather], ..says(1, "How is the weather?") };
    let deltas: Vec<Delta> =
        client.reply(request.clone()).map(|delta| delta.expect("it is one")).collect().await;
    let Delta::Call { index: 0, id, name } = &deltas[0] else { panic!("{deltas:?}") };
    let pieces = deltas.iter().filter_map(|delta| match delta {
        Delta::Arguments { index: 0, piece } => Some(piece.as_str()),
        _ => None,
    });
    let arguments: String = pieces.collect();
    assert_eq!((name.as_str(), arguments.as_str()), ("weather", "{\"city\": \"Oslo\"}"));
    assert!(
        matches!(deltas.last(), Some(Delta::End { finish: Finish::Calls, usage: Some(_) })),
        "{deltas:?}"
    );
    let call = stenopool::llm::ToolCall { id: id.clone(), name: name.clone(), arguments };
    request.messages.push(Message::Assistant { text: String::new(), calls: vec![call] });
    request.messages.push(Message::Tool { call_id: id.clone(), output: "sunny".into() });
    assert_eq!(reply(&client, request).await, ("The function says: sunny".into(), Ok(Finish::Stop)));
}
