//! A speech server behind us: any that answers `POST /audio/speech` as OpenAI's does, with raw samples as they are made.
//!
//! One client for all sessions, whose connections stay open; at most so many requests at once, the others wait in order.
//! Dropping a stream closes its request. What is not here: retries, because a phrase that comes late is worth little.

#[cfg(test)]
mod tests;

use super::account::Account;
use super::voices::Voices;
use super::{Narrator, Phrase, RemoteSettings, Studio, TtsError, Voice};
use crate::audio::{Pcm, Resampler, SampleRate};
use crate::telemetry::metrics::Speaker;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// The rate of `response_format: pcm`.
const RATE: u32 = 24_000;

/// How much of an error's text is kept.
const LONGEST_REASON: usize = 300;

/// The largest answer to one phrase: ten minutes of sound.
const LONGEST_ANSWER: usize = 10 * 60 * RATE as usize * 2;

/// Phrases of one narrator that may be asked for and not be said yet; more are [refused](TtsError::Saturated).
const PHRASES_AHEAD: usize = 16;

/// Pieces of sound that wait for their listener. When that many do, the server is not read any further, and its own
/// window closes: only this session's request is held up.
const PIECES: usize = 64;

/// A speech server.
pub(super) struct Remote {
    way: Arc<Way>,
    voices: Voices,
}

/// What all narrators share.
struct Way {
    client: Client,
    url: Url,
    settings: RemoteSettings,
    turns: Arc<Semaphore>,
}

impl Remote {
    /// A client for that server, which need not be there yet. On a tokio runtime a connection is opened ahead.
    ///
    /// # Errors
    ///
    /// [`TtsError::Unreachable`] when its address is none, [`TtsError::VoiceUnknown`] when it does not have `voice`.
    pub(super) fn new(settings: RemoteSettings, voice: Option<&str>) -> Result<Self, TtsError> {
        let failed = |reason: String| TtsError::Unreachable(format!("{}: {reason}", settings.base_url));
        let voices = Voices::elsewhere(settings.voices.clone(), voice)?;
        let address = format!("{}/audio/speech", settings.base_url.trim_end_matches('/'));
        let url = Url::parse(&address).map_err(|error| failed(error.to_string()))?;
        let client = client(&settings).map_err(failed)?;
        let turns = Arc::new(Semaphore::new(settings.concurrency.max(1)));
        let way = Arc::new(Way { client, url, settings, turns });
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(warm_up(Arc::clone(&way)));
        }
        Ok(Self { way, voices })
    }
}

fn client(settings: &RemoteSettings) -> Result<Client, String> {
    let mut headers = HeaderMap::new();
    if let Some(key) = &settings.key {
        let mut bearer =
            HeaderValue::try_from(format!("Bearer {key}")).map_err(|_| "the key is no header")?;
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
    }
    // Whoever set one up before us chose it; one is enough.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .default_headers(headers)
        // A redirected request would arrive as another one, or with the key at another place.
        .redirect(Policy::none())
        .connect_timeout(settings.connect_timeout)
        .pool_max_idle_per_host(settings.concurrency.max(1))
        .pool_idle_timeout(Duration::from_secs(300))
        .tcp_keepalive(Duration::from_secs(30))
        .tcp_nodelay(true);
    if is_local(&settings.base_url) {
        builder = builder.no_proxy();
    }
    builder.build().map_err(|error| told(&error))
}

/// Whether an address is on this machine, which no proxy reaches.
fn is_local(url: &str) -> bool {
    let url = Url::parse(url).ok();
    let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// Opens a connection, so that the first phrase does not wait for it. What the server answers does not matter.
async fn warm_up(way: Arc<Way>) {
    let models = way.url.join("../models").unwrap_or_else(|_| way.url.clone());
    let began = Instant::now();
    match timeout(way.settings.first_sound_timeout, way.client.get(models).send()).await {
        Ok(Ok(answer)) => {
            // The connection is free for others only when its answer is read.
            drop(answer.bytes().await);
            debug!(ms = began.elapsed().as_millis(), "the speech server is reached");
        }
        Ok(Err(error)) => warn!(error = told(&error), "the speech server is not reached"),
        Err(_) => warn!("the speech server does not answer"),
    }
}

impl Studio for Remote {
    fn narrator(&self) -> Arc<dyn Narrator> {
        Arc::new(RemoteNarrator {
            way: Arc::clone(&self.way),
            places: Arc::new(Semaphore::new(PHRASES_AHEAD)),
            order: Arc::new(Semaphore::new(1)),
        })
    }

    fn engine(&self) -> &'static str {
        Speaker::Remote.as_str()
    }

    fn voice(&self, name: &str) -> Result<String, TtsError> {
        self.voices.resolve(name)
    }

    fn default_voice(&self) -> &str {
        self.voices.default_voice()
    }
}

/// One session's place among those who ask the server.
struct RemoteNarrator {
    way: Arc<Way>,
    places: Arc<Semaphore>,
    /// What one narrator says, it says in order: one request at a time, and those who wait for it wait in order.
    order: Arc<Semaphore>,
}

impl Narrator for RemoteNarrator {
    fn say(
        &self,
        phrase: Phrase,
        voice: Voice,
        rate: SampleRate,
    ) -> BoxStream<'static, Result<Pcm, TtsError>> {
        if phrase.spoken.trim().is_empty() {
            return stream::empty().boxed();
        }
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            let full = TtsError::Saturated { queued: PHRASES_AHEAD, limit: PHRASES_AHEAD };
            return stream::iter([Err(full)]).boxed();
        };
        let (pieces, heard) = mpsc::channel(PIECES);
        let cancel = CancellationToken::new();
        let guard = cancel.clone().drop_guard();
        let account = Account::open(Speaker::Remote);
        let asking = Asking { way: Arc::clone(&self.way), pieces, account };
        let order = Arc::clone(&self.order);
        tokio::spawn(async move {
            let _place = place;
            tokio::select! {
                biased;
                // What was under way is dropped: the request is closed, the turns are given back.
                () = cancel.cancelled() => {}
                () = asking.run(order, phrase, voice, rate) => {}
            }
        });
        stream::unfold((heard, guard), |(mut heard, guard)| async move {
            let piece = heard.recv().await?;
            Some((piece, (heard, guard)))
        })
        .boxed()
    }
}

/// A phrase on its way to the server and back.
struct Asking {
    way: Arc<Way>,
    pieces: mpsc::Sender<Result<Pcm, TtsError>>,
    account: Account,
}

impl Asking {
    async fn run(mut self, order: Arc<Semaphore>, phrase: Phrase, voice: Voice, rate: SampleRate) {
        let result = self.ask(order, &phrase, &voice, rate).await;
        self.account.close(&result);
        if let Err(error) = result {
            // Whoever does not listen any more has no use for the error.
            drop(self.pieces.send(Err(error)).await);
        }
    }

    async fn ask(
        &mut self,
        order: Arc<Semaphore>,
        phrase: &Phrase,
        voice: &Voice,
        rate: SampleRate,
    ) -> Result<(), TtsError> {
        // The phrases before this one take as long as somebody listens to them: no time runs yet.
        let _mine = order.acquire_owned().await.map_err(|_| TtsError::Closed)?;
        let (first, mut whole) = self.patience();
        let turn = first.within(Arc::clone(&self.way.turns).acquire_owned()).await?;
        let _turn = turn.map_err(|_| TtsError::Closed)?;
        let mut body = first.within(self.way.send(phrase, voice)).await??.bytes_stream();
        let mut sound = Sound::new(rate);
        // The first bytes have a deadline of their own.
        let mut next = first.within(body.next()).await?;
        while let Some(bytes) = next {
            let bytes = bytes.map_err(|error| TtsError::Unreachable(told(&error)))?;
            self.deliver(sound.take(&bytes)?, &mut whole).await?;
            next = whole.within(body.next()).await?;
        }
        self.deliver(sound.finish()?, &mut whole).await
    }

    /// How long the first sound and the whole phrase may take from now on.
    fn patience(&self) -> (Patience, Patience) {
        let settings = &self.way.settings;
        let whole = Patience::begin(settings.total_timeout);
        (Patience::begin(settings.first_sound_timeout.min(settings.total_timeout)), whole)
    }

    async fn deliver(&mut self, pcm: Pcm, patience: &mut Patience) -> Result<(), TtsError> {
        if pcm.samples.is_empty() {
            return Ok(());
        }
        self.account.piece(&pcm);
        patience.beside(self.pieces.send(Ok(pcm))).await?.map_err(|_| TtsError::Cancelled)
    }
}

/// How long the server may take. What the listener takes does not count.
#[derive(Debug, Clone, Copy)]
struct Patience {
    limit: Duration,
    deadline: Instant,
}

impl Patience {
    fn begin(limit: Duration) -> Self {
        Self { limit, deadline: Instant::now() + limit }
    }

    /// Waits for the server, until its time is up.
    async fn within<T>(self, waiting: impl Future<Output = T>) -> Result<T, TtsError> {
        let late = |_| TtsError::Timeout { waited: self.limit };
        timeout_at(self.deadline, waiting).await.map_err(late)
    }

    /// Waits for the listener, and gives the server that time in addition. A listener who takes as long as a whole phrase
    /// may take has gone.
    async fn beside<T>(&mut self, waiting: impl Future<Output = T>) -> Result<T, TtsError> {
        let since = Instant::now();
        let taken = timeout(self.limit, waiting).await.map_err(|_| TtsError::Cancelled);
        self.deadline += since.elapsed();
        taken
    }
}

impl Way {
    async fn send(&self, phrase: &Phrase, voice: &Voice) -> Result<Response, TtsError> {
        let body = serde_json::json!({
            "model": self.settings.model,
            "input": phrase.spoken,
            "voice": voice.name,
            "speed": voice.speed,
            "response_format": "pcm",
        });
        let request = self.client.post(self.url.clone()).header(CONTENT_TYPE, "application/json");
        let answer = request.body(body.to_string()).send().await;
        let answer = answer.map_err(|error| TtsError::Unreachable(told(&error)))?;
        let kind = answer.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !answer.status().is_success() {
            return Err(refused(answer).await);
        }
        if kind.contains("json") || kind.contains("html") {
            return Err(TtsError::Failed(format!("the speech server answered with {kind} and no sound")));
        }
        Ok(answer)
    }
}

/// What the server said instead of speaking; only its beginning is read.
async fn refused(answer: Response) -> TtsError {
    let status = answer.status().as_u16();
    let mut text = Vec::new();
    let mut body = answer.bytes_stream();
    while let Some(Ok(bytes)) = body.next().await {
        text.extend_from_slice(&bytes);
        if text.len() >= 4 * LONGEST_REASON {
            break;
        }
    }
    let message = serde_json::from_slice::<serde_json::Value>(&text)
        .ok()
        .and_then(|json| Some(json.pointer("/error/message")?.as_str()?.to_owned()))
        .unwrap_or_else(|| String::from_utf8_lossy(&text).into_owned());
    let reason: String = message.trim().chars().take(LONGEST_REASON).collect();
    TtsError::Refused { status, reason }
}

/// Bytes of an answer on their way to samples at the wanted rate.
struct Sound {
    resampler: Resampler,
    rate: SampleRate,
    /// The first half of a sample.
    half: Option<u8>,
    taken: usize,
}

impl Sound {
    fn new(rate: SampleRate) -> Self {
        let from = SampleRate::new(RATE).expect("it is not 0");
        Self { resampler: Resampler::new(from, rate), rate, half: None, taken: 0 }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<Pcm, TtsError> {
        self.taken += bytes.len();
        if self.taken > LONGEST_ANSWER {
            return Err(TtsError::Failed(format!("the speech server sent more than {LONGEST_ANSWER} bytes")));
        }
        let whole: Vec<u8> = self.half.take().into_iter().chain(bytes.iter().copied()).collect();
        let (pairs, rest) = whole.as_chunks::<2>();
        self.half = rest.first().copied();
        let samples: Vec<f32> =
            pairs.iter().map(|pair| f32::from(i16::from_le_bytes(*pair)) / 32_768.0).collect();
        let mut out = Vec::new();
        self.resampler.push(&samples, &mut out);
        Ok(Pcm { samples: out, rate: self.rate })
    }

    fn finish(mut self) -> Result<Pcm, TtsError> {
        if self.taken < 2 {
            return Err(TtsError::Failed("the speech server sent no sound".into()));
        }
        let mut out = Vec::new();
        self.resampler.finish(&mut out);
        Ok(Pcm { samples: out, rate: self.rate })
    }
}

/// What went wrong, down to the cause, without the address.
fn told(error: &reqwest::Error) -> String {
    let mut told = String::new();
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        told = error.to_string();
        cause = error.source();
    }
    told
}
