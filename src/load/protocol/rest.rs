//! OpenAI's HTTP endpoint for recordings: one upload for each turn, as soon as the turn is over.

use super::peer::{Peer, own_words, quote, root_cause};
use super::socket::{PATIENCE, pcm16};
use super::{
    ConnectError, Connection, Disconnected, FAREWELL, Final, Heard, Listener, Protocol, REJECTED, Speaker,
    Stretch, Target,
};
use crate::audio::{SampleRate, duration_of};
use crate::load::http;
use futures_util::future::BoxFuture;
use reqwest::multipart::{Form, Part};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url, redirect};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Where recordings go, and where a server is asked whether it is there.
const UPLOADS: &str = "/v1/audio/transcriptions";
const MODELS: &str = "/v1/models";

/// What OpenAI's clients call the model when they do not care.
const ANY_MODEL: &str = "whisper-1";

/// How long a text may take.
const LONGEST_ANSWER: Duration = Duration::from_secs(120);

/// A connection that was idle for longer is not used again: Python's servers close theirs after five seconds, and a
/// request that meets the close would count as an error.
const IDLE: Duration = Duration::from_secs(3);

/// The longest answer that is read.
const LONGEST_BODY: usize = 1024 * 1024;

/// Answers that may wait to be heard; further requests then wait with theirs.
const ANSWERS: usize = 16;

/// The driver.
pub(super) struct Rest {
    api: Arc<Api>,
}

impl Rest {
    /// For one server.
    pub(super) fn new(target: Target) -> Result<Self, ConnectError> {
        let uploads = target.http(UPLOADS)?;
        let peer = Peer { url: target.url.clone(), protocol: "rest" };
        http::prepare_tls();
        let client = Client::builder()
            .user_agent(concat!("stenopool/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(PATIENCE)
            .pool_idle_timeout(IDLE)
            .tcp_nodelay(true)
            // The server is what is measured, and nothing in between; the WebSockets know no proxies either.
            .no_proxy()
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|error| peer.unreachable(root_cause(&error)))?;
        Ok(Self { api: Arc::new(Api { client, peer, uploads, target }) })
    }
}

impl Protocol for Rest {
    fn rate(&self) -> SampleRate {
        SampleRate::SPEECH
    }

    fn tells_positions(&self) -> bool {
        true
    }

    fn connect(&self, _person: u32) -> BoxFuture<'_, Result<Connection, ConnectError>> {
        Box::pin(async {
            self.api.knock().await?;
            let (answers_in, answers) = mpsc::channel(ANSWERS);
            let speaker = Uploader {
                api: Arc::clone(&self.api),
                position: 0,
                turn: None,
                answers: answers_in,
                uploads: JoinSet::new(),
            };
            Ok(Connection { speaker: Box::new(speaker), listener: Box::new(Answers(answers)) })
        })
    }
}

/// One server's endpoint. All people share the client: it opens a connection for each request that is under way.
struct Api {
    client: Client,
    peer: Peer,
    uploads: Url,
    target: Target,
}

impl Api {
    /// Checks that an HTTP server is there and knows the key. Whether it has models to show does not matter.
    async fn knock(&self) -> Result<(), ConnectError> {
        let mut url = self.uploads.clone();
        let path =
            url.path().strip_suffix(UPLOADS).expect("it was made with this ending").to_owned() + MODELS;
        url.set_path(&path);
        let asking = self.with_key(self.client.get(url)).timeout(PATIENCE).send();
        let response = asking.await.map_err(|error| self.nobody(&error))?;
        let status = response.status();
        let reason = || format!("it answered HTTP {} to a request for its models", status.as_u16());
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(self.peer.unauthorized(reason())),
            _ if is_full(status) => Err(ConnectError::Rejected { reason: reason() }),
            _ => Ok(()),
        }
    }

    fn nobody(&self, error: &reqwest::Error) -> ConnectError {
        if error.is_connect() {
            return self.peer.unreachable(root_cause(error));
        }
        if error.is_timeout() {
            return self.peer.wrong(format!("no answer to an HTTP request within {PATIENCE:?}"));
        }
        self.peer.wrong(format!("its answer is not HTTP ({})", root_cause(error)))
    }

    fn with_key(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.target.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    /// Sends a turn and waits for its text.
    async fn transcribe(&self, turn: Turn) -> Result<Heard, Disconnected> {
        let heard = Some(turn.stretch());
        let failed = |code: String| Ok(Heard::Failed { code, stretch: heard });
        let request = self.with_key(self.client.post(self.uploads.clone())).timeout(LONGEST_ANSWER);
        let answer = match request.multipart(self.form(&turn)).send().await {
            Ok(response) => (response.status(), body(response).await),
            Err(error) if error.is_connect() => return Err(Disconnected::connection(root_cause(&error))),
            Err(error) => return failed(code_of(&error)),
        };
        match answer {
            (_, Err(code)) => failed(code),
            (status, Ok(body)) if status.is_success() => match text_of(&body) {
                Some(text) => Ok(Heard::Final(Final { text, stretch: heard, ..Final::default() })),
                None => failed("unreadable_message".to_owned()),
            },
            (status, Ok(body)) => failed(refusal(status, &body)),
        }
    }

    fn form(&self, turn: &Turn) -> Form {
        let file = Part::bytes(wav(&turn.samples)).file_name("turn.wav");
        let file = file.mime_str("audio/wav").expect("it is a media type");
        let model = self.target.model.clone().unwrap_or_else(|| ANY_MODEL.to_owned());
        let form = Form::new().part("file", file).text("model", model).text("response_format", "json");
        match &self.target.language {
            Some(language) => form.text("language", language.clone()),
            None => form,
        }
    }
}

/// What was said from the beginning of a turn on.
struct Turn {
    /// Samples before it.
    start: u64,
    samples: Vec<i16>,
}

impl Turn {
    fn stretch(&self) -> Stretch {
        let end = self.start + self.samples.len() as u64;
        Stretch { start: duration_of(self.start), end: duration_of(end) }
    }
}

/// Keeps each turn until it is over, then sends it while the person goes on.
struct Uploader {
    api: Arc<Api>,
    /// In samples from the beginning of the stream.
    position: u64,
    turn: Option<Turn>,
    answers: mpsc::Sender<Result<Heard, Disconnected>>,
    /// As many as the person has turns without an answer. They end with the speaker.
    uploads: JoinSet<()>,
}

impl Speaker for Uploader {
    fn begin_turn(&mut self) {
        self.turn = Some(Turn { start: self.position, samples: Vec::new() });
    }

    fn say<'a>(&'a mut self, samples: &'a [i16]) -> BoxFuture<'a, Result<Duration, Disconnected>> {
        self.position += samples.len() as u64;
        if let Some(turn) = &mut self.turn {
            turn.samples.extend_from_slice(samples);
        }
        Box::pin(async { Ok(Duration::ZERO) })
    }

    fn end_turn(&mut self) -> BoxFuture<'_, Result<(), Disconnected>> {
        while self.uploads.try_join_next().is_some() {}
        if let Some(turn) = self.turn.take().filter(|turn| !turn.samples.is_empty()) {
            let (api, answers) = (Arc::clone(&self.api), self.answers.clone());
            self.uploads.spawn(async move {
                let answer = api.transcribe(turn).await;
                // An error means that nobody listens any more.
                let _ = answers.send(answer).await;
            });
        }
        Box::pin(async { Ok(()) })
    }

    fn hang_up(mut self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let _ = timeout(FAREWELL, async { while self.uploads.join_next().await.is_some() {} }).await;
        })
    }
}

/// Hears the answers as they come.
struct Answers(mpsc::Receiver<Result<Heard, Disconnected>>);

impl Listener for Answers {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Heard>, Disconnected>> {
        Box::pin(async {
            let answer = self.0.recv().await.transpose();
            if answer.is_err() {
                self.0.close();
                while self.0.try_recv().is_ok() {}
            }
            answer
        })
    }
}

/// The body, or the code for why there is none.
async fn body(mut response: Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| code_of(&error))? {
        if body.len() + chunk.len() > LONGEST_BODY {
            return Err("message_too_large".to_owned());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn code_of(error: &reqwest::Error) -> String {
    if error.is_timeout() { "timeout".to_owned() } else { "connection_lost".to_owned() }
}

fn text_of(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    body["text"].as_str().map(str::to_owned)
}

fn is_full(status: StatusCode) -> bool {
    matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS)
}

/// The code of an answer that is none.
fn refusal(status: StatusCode, body: &[u8]) -> String {
    if is_full(status) {
        return REJECTED.to_owned();
    }
    let own = own_words(body).map(|(code, _)| quote(&code)).filter(|code| !code.is_empty());
    own.unwrap_or_else(|| format!("http_{}", status.as_u16()))
}

/// A WAV file of 16 kHz, 16 bits, one channel.
fn wav(samples: &[i16]) -> Vec<u8> {
    let (rate, bytes) = (SampleRate::SPEECH.hertz(), 2 * samples.len() as u32);
    let mut file = Vec::with_capacity(44 + bytes as usize);
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(36 + bytes).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt ");
    // The length of what follows, PCM, one channel.
    file.extend_from_slice(&[16, 0, 0, 0, 1, 0, 1, 0]);
    file.extend_from_slice(&rate.to_le_bytes());
    file.extend_from_slice(&(2 * rate).to_le_bytes());
    // Bytes in a sample, bits in a sample.
    file.extend_from_slice(&[2, 0, 16, 0]);
    file.extend_from_slice(b"data");
    file.extend_from_slice(&bytes.to_le_bytes());
    file.extend(pcm16(samples));
    file
}

#[cfg(test)]
mod tests;
