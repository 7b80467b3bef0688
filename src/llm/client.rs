//! The client that all sessions share: a place in line, an endpoint that replies, and its reply.
//!
//! It is one connection pool. Before the first token of a reply it asks again, and then elsewhere; after it, whoever
//! listens has heard something, and a failure is theirs to know.
//!
//! The HTTP client is used directly, not through a crate for OpenAI's API: those that exist do not show `Retry-After`,
//! cannot tell a whole stream from one that was cut off, buffer without bound, refuse chunks in which something is
//! missing that we do not need, and write into the log what models said.

mod door;
mod events;
mod exchange;
mod record;
#[cfg(test)]
mod tests;
mod warm;

use super::failure::{Next, next};
use super::turnstile::Turnstile;
use super::{ChatModel, ChatRequest, Delta, LlmError, LlmSettings};
use door::Door;
use exchange::{Exchange, Limits};
use futures_util::StreamExt as _;
use futures_util::stream::{BoxStream, Stream};
use record::{Open, Record};
use reqwest::redirect::Policy;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tracing::warn;

/// How much longer than the pause between two warm-ups a connection is kept that nobody uses.
const KEPT_LONGER: Duration = Duration::from_secs(60);

/// How long a connection is kept without warm-ups.
const KEPT: Duration = Duration::from_secs(90);

/// Asks language models over HTTP. Clones are the same client.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    settings: LlmSettings,
    http: reqwest::Client,
    /// In the order in which they are asked.
    doors: Vec<Arc<Door>>,
    turnstile: Turnstile,
    open: Arc<AtomicUsize>,
    /// When something was last asked or said, for [`Client::keep_warm`].
    last_used: Mutex<Instant>,
}

/// How long a reply may take.
#[derive(Debug, Clone, Copy)]
struct Patience {
    first_token: Duration,
    total: Duration,
}

impl Client {
    /// Prepares TLS (with ring) and the connection pool. Nothing is asked yet.
    ///
    /// # Errors
    ///
    /// [`LlmError::Client`] when the system's certificates or proxy settings are unusable.
    pub fn new(settings: LlmSettings) -> Result<Self, LlmError> {
        let http = http(&settings).map_err(|error| LlmError::Client(root_cause(&error)))?;
        let doors = settings.endpoints().map(|endpoint| Door::new(endpoint.clone(), &settings));
        let shared = Shared {
            http,
            doors: doors.map(Arc::new).collect(),
            turnstile: Turnstile::new(settings.concurrency, settings.max_waiting),
            open: Arc::default(),
            last_used: Mutex::new(Instant::now()),
            settings,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// How many requests are open upstream.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// How many wait for their turn.
    pub fn waiting(&self) -> usize {
        self.shared.turnstile.waiting()
    }

    /// A reply that nobody has counted yet.
    fn run(
        &self,
        request: ChatRequest,
        patience: Patience,
    ) -> impl Stream<Item = Result<Delta, LlmError>> + Send + use<> {
        let shared = self.shared.clone();
        async_stream::try_stream! {
            shared.used();
            let deadline = Instant::now() + patience.total;
            let permit = shared.turn(request.asker, patience, deadline).await?;
            let (mut exchange, mut delta) = shared.begin(&request, patience, deadline).await?;
            while !matches!(delta, Delta::End { .. }) {
                yield delta;
                delta = exchange.next().await?;
            }
            exchange.close().await;
            drop(permit);
            shared.used();
            yield delta;
        }
    }
}

impl ChatModel for Client {
    /// The model of the first endpoint.
    fn name(&self) -> &str {
        self.shared.settings.primary.model()
    }

    fn reply(&self, request: ChatRequest) -> BoxStream<'static, Result<Delta, LlmError>> {
        let LlmSettings { first_token, total, .. } = self.shared.settings;
        let replies = self.run(request, Patience { first_token, total });
        async_stream::stream! {
            let mut record = Record::begin();
            for await item in replies {
                record.saw(&item);
                yield item;
            }
        }
        .boxed()
    }
}

impl Shared {
    /// Something is being asked, or was said.
    fn used(&self) {
        *self.last_used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    async fn turn(
        &self,
        asker: u64,
        patience: Patience,
        deadline: Instant,
    ) -> Result<impl Sized + use<>, LlmError> {
        let turn = within(deadline, self.turnstile.enter(asker)).await;
        turn.unwrap_or_else(|| {
            let detail = "it was not the turn of this one yet".into();
            Err(LlmError::Timeout { limit: patience.total, detail })
        })
    }

    /// The first delta, of the first endpoint that has one. An endpoint's failure is logged when it is not told.
    async fn begin(
        &self,
        request: &ChatRequest,
        patience: Patience,
        deadline: Instant,
    ) -> Result<(Exchange, Delta), LlmError> {
        let mut failure = None;
        for door in &self.doors {
            match self.begin_at(door, request, patience, deadline).await {
                Ok(begun) => return Ok(begun),
                Err(error @ LlmError::Timeout { .. }) => return Err(error),
                // What an endpoint says now is worth more than what others said before.
                Err(error @ LlmError::Unavailable { .. }) => failure = failure.or(Some(error)),
                Err(error) => {
                    if let Some(before) = failure.replace(error) {
                        warn!(code = before.code(), error = %before, "another language model was asked");
                    }
                }
            }
        }
        Err(failure.expect("there is an endpoint, and each fails or returns"))
    }

    /// The same of one endpoint, which is asked again where that may help.
    async fn begin_at(
        &self,
        door: &Arc<Door>,
        request: &ChatRequest,
        patience: Patience,
        deadline: Instant,
    ) -> Result<(Exchange, Delta), LlmError> {
        let mut asked = 0;
        loop {
            let visit = door.admit()?;
            let now = Instant::now();
            let limits = Limits {
                first_token: patience.first_token,
                begin_by: now + patience.first_token,
                stall: self.settings.stall,
                total: patience.total,
                deadline,
            };
            let open = Open::new(self.open.clone());
            let error = match Exchange::begin(&self.http, visit, open, request, limits).await {
                Ok(begun) => return Ok(begun),
                Err(error) => error,
            };
            asked += 1;
            match next(&error, asked, &self.settings) {
                Next::Again(pause) if Instant::now() + pause < deadline => {
                    warn!(code = error.code(), %error, pause_ms = pause.as_millis(), "a language model is asked again");
                    tokio::time::sleep(pause).await;
                }
                _ => return Err(error),
            }
        }
    }
}

fn http(settings: &LlmSettings) -> Result<reqwest::Client, reqwest::Error> {
    // An error means that a provider is already installed, and any will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let kept = settings.keep_warm.map_or(KEPT, |pause| pause.saturating_add(KEPT_LONGER));
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("stenopool/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(settings.connect)
        .pool_idle_timeout(kept)
        .tcp_keepalive(Duration::from_secs(30))
        // Its own retries would not know our deadlines.
        .retry(reqwest::retry::never())
        // A redirected request would arrive as another one, or with the key at another place.
        .redirect(Policy::none());
    if !settings.proxies || settings.endpoints().all(super::Endpoint::is_local) {
        builder = builder.no_proxy();
    }
    builder.build()
}

/// What the future gives, unless the deadline comes first.
async fn within<T>(deadline: Instant, future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout_at(deadline, future).await.ok()
}

/// The innermost cause: what the system said, without the layers above it (and without the address).
fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
