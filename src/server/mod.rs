//! HTTP and WebSocket edge: OpenAI's shapes outside, sessions and lanes inside.
//!
//! Only this module's wire types are serialized to clients. Every handler sees one shared [`Server`].

mod connection;
mod edge;
mod error;
mod form;
pub mod formats;
mod keys;
mod languages;
mod metrics;
mod models;
mod pool;
mod pulse;
mod readings;
mod realtime;
mod request;
mod serve;
mod speech;
mod status;
mod tls;
mod transcriptions;
mod upload;

pub use error::ApiError;
pub use form::FormError;
pub use keys::{Caller, KeyEntry, KeyError, Keyring, SessionPermit, hash_key, presented_key};
pub use languages::{LanguageError, language_code, language_name, spoken_language};
pub use models::{ModelNames, UnknownModel};
pub use readings::Readings;
pub use request::RequestError;
pub use serve::{serve, serve_over};
pub use tls::{Pem, Tls, TlsError, TlsSettings, self_signed};
pub use upload::UploadError;

use crate::asr::{Capacity, Lanes};
use crate::pool::LeaseScope;
use crate::session::{Assistant, Frontend, Keeping, LiveSettings, TalkTerms};
use crate::vad::EndpointSettings;
use axum::routing::{get, post};
use axum::{Router, middleware};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// When clients should come back after the process has ended against its will. Whatever started the server starts it again,
/// which takes as long as its model takes to load; `scripts/restart_time.py` measures that.
const BACK_AFTER_CRASH: Duration = Duration::from_secs(2);

/// Limits and defaults of the edge.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// Largest upload in bytes.
    pub upload_limit: u64,
    /// How long a REST request may wait for its first slot.
    pub rest_wait: Duration,
    /// Largest WebSocket message in bytes.
    pub message_limit: usize,
    /// A WebSocket session without audio and events ends after this.
    pub session_idle: Duration,
    /// Every WebSocket session ends after this.
    pub session_lifetime: Duration,
    /// A client that takes (or a server that gives) no room for longer than this loses its connection.
    pub slow_client: Duration,
    /// A WebSocket client whose words are being heard or read, or whose session keeps a slot, and that sends nothing for
    /// so long, not even the answer to a ping, is gone.
    pub busy_silence: Duration,
    /// The same for a client for which there is nothing to do: longer, because one that merely stands still (under a
    /// debugger, say) answers no ping either, and it keeps no slot, so nobody gains by its end.
    pub idle_silence: Duration,
    /// What was committed in a session that the server has to end gets its text within this time, or fails.
    pub last_words: Duration,
    /// A request whose head takes longer, or whose body brings no byte for so long, is given up.
    pub request_stall: Duration,
    /// When speech begins and ends, where a client does not say.
    pub endpoint: EndpointSettings,
    /// How long WebSocket sessions keep their leases, where a client does not say.
    pub lease: LeaseScope,
    /// Whether a client may say.
    pub lease_switching: bool,
    /// How much a WebSocket session keeps of what waits for its text.
    pub keeping: Keeping,
    /// What WebSocket sessions read before an utterance is over.
    pub live: LiveSettings,
    /// Whether the silence that ends an utterance depends on its text also where a client says how much it is.
    pub adaptive: bool,
    /// How WebSocket sessions reply, where a client does not say.
    pub talk: TalkDefaults,
}

/// How conversations reply, where a client does not say.
#[derive(Debug, Clone, PartialEq)]
pub struct TalkDefaults {
    /// The system prompt.
    pub instructions: String,
    /// The longest reply, in tokens; `None`: as the language model has it.
    pub max_tokens: Option<u32>,
    /// What clients cannot set.
    pub terms: TalkTerms,
}

impl Default for TalkDefaults {
    fn default() -> Self {
        Self {
            instructions:
                "You are talking with somebody by voice. Answer in one to three short sentences, as one \
                           speaks: without lists, headings, emoji or code, unless you are asked for them."
                    .into(),
            max_tokens: None,
            terms: TalkTerms::default(),
        }
    }
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            upload_limit: 512 * 1024 * 1024,
            rest_wait: Duration::from_secs(30),
            // OpenAI's largest append, 15 MiB, has 20 MiB in base64; one that is a little larger is to hear so.
            message_limit: 24 * 1024 * 1024,
            session_idle: Duration::from_mins(10),
            session_lifetime: Duration::from_hours(24),
            slow_client: Duration::from_secs(5),
            busy_silence: Duration::from_secs(5),
            idle_silence: Duration::from_secs(30),
            last_words: Duration::from_secs(30),
            request_stall: Duration::from_secs(30),
            endpoint: EndpointSettings::default(),
            lease: LeaseScope::Utterance,
            lease_switching: true,
            keeping: Keeping::default(),
            live: LiveSettings::default(),
            adaptive: true,
            talk: TalkDefaults::default(),
        }
    }
}

/// What every handler works with.
pub struct Server {
    /// Ways to the recognizer.
    pub lanes: Lanes,
    /// What the slots have and need.
    pub capacity: watch::Receiver<Capacity>,
    /// Ears for sessions.
    pub frontend: Frontend,
    /// Who replies in conversations.
    pub assistant: Assistant,
    /// The loaded model's name and its aliases.
    pub models: ModelNames,
    /// Who may come in.
    pub keys: Keyring,
    /// Limits and defaults.
    pub settings: ServerSettings,
    /// Cancelled when the server begins to stop.
    pub stopping: CancellationToken,
    /// Cancelled before `stopping` when the process is about to end against its will, in a fraction of a second: everybody
    /// is told, and what is unread stays so.
    pub crashing: CancellationToken,
    /// Cancelled when those who are still inside have to go: sessions fail what they have not read, and close.
    pub cut_off: CancellationToken,
    /// Sessions that outlive their HTTP upgrade; waited for on shutdown.
    pub sessions: TaskTracker,
}

/// All routes.
pub fn router(server: Arc<Server>) -> Router {
    let for_callers = Router::new()
        .route("/v1/audio/transcriptions", post(transcriptions::transcribe))
        .route("/v1/audio/translations", post(transcriptions::translate))
        .route("/v1/audio/speech", post(speech::speak))
        .route("/v1/models", get(status::models))
        .route("/v1/models/{*id}", get(status::model))
        .route("/pool", get(pool::pool))
        .route("/metrics", get(metrics::metrics))
        .merge(realtime::routes())
        .route_layer(middleware::from_fn_with_state(Arc::clone(&server), edge::identify));
    Router::new()
        .route("/healthz", get(status::healthz))
        .route("/readyz", get(status::readyz))
        .merge(for_callers)
        .fallback(edge::not_found)
        .method_not_allowed_fallback(edge::wrong_method)
        .layer(middleware::from_fn_with_state(server.crashing.clone(), edge::observe))
        .with_state(server)
}
