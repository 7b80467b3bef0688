//! HTTP and WebSocket edge: OpenAI's shapes outside, sessions and lanes inside.
//!
//! Only this module's wire types are serialized to clients. Every handler sees one shared [`Server`].

mod keys;
mod models;
pub mod realtime;

pub use keys::{Caller, KeyEntry, KeyError, Keyring, SessionPermit};
pub use models::{ModelNames, UnknownModel};

use crate::asr::Lanes;
use crate::session::Frontend;
use axum::Router;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

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
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            upload_limit: 512 * 1024 * 1024,
            rest_wait: Duration::from_secs(30),
            message_limit: 16 * 1024 * 1024,
            session_idle: Duration::from_secs(600),
            session_lifetime: Duration::from_secs(24 * 3600),
            slow_client: Duration::from_secs(5),
        }
    }
}

/// What every handler works with.
pub struct Server {
    /// Ways to the recognizer.
    pub lanes: Lanes,
    /// Ears for sessions.
    pub frontend: Frontend,
    /// The loaded model's name and its aliases.
    pub models: ModelNames,
    /// Who may come in.
    pub keys: Keyring,
    /// Limits and defaults.
    pub settings: ServerSettings,
    /// Cancelled when the server begins to stop.
    pub stopping: CancellationToken,
    /// Sessions that outlive their HTTP upgrade; waited for on shutdown.
    pub sessions: TaskTracker,
}

/// All routes.
pub fn router(_server: Arc<Server>) -> Router {
    todo!()
}
