//! `WS /v1/realtime`: OpenAI's Realtime protocol, conversations and transcription sessions.
//!
//! [`connect`] lets a client in or answers in plain HTTP; everything after the upgrade is an event on the socket. Nothing
//! is shared between connections but the pool and the frontend threads, so no client can hear of another.

mod beta;
mod client_event;
mod config;
mod connection;
mod conversation;
mod fault;
mod field;
mod item;
mod limits;
mod reader;
mod reply;
mod response;
mod server_event;
mod talk;
mod turn_detection;
mod vigil;
mod writer;

use super::pulse::Pulse;
use super::{ApiError, Caller, Server, SessionPermit};
use crate::pool::AcquireError;
use axum::extract::rejection::QueryRejection;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use beta::Dialect;
use config::{SessionConfig, SessionType};
use connection::Visit;
use serde::Deserialize;
use std::sync::Arc;
use tracing::{Instrument, info_span};
use uuid::Uuid;

/// The WebSocket library's own buffers, per socket; its defaults would cost a thousand silent sessions 250 MB.
const READ_BUFFER: usize = 4 * 1024;

/// Events are written one by one, so that they need not be gathered.
const WRITE_BUFFER: usize = 1024;

/// The routes of this protocol.
pub(super) fn routes() -> Router<Arc<Server>> {
    Router::new().route("/v1/realtime", get(connect))
}

/// What may stand in the URL. Other parameters are not looked at.
#[derive(Debug, Deserialize)]
struct ConnectQuery {
    intent: Option<String>,
    model: Option<String>,
}

async fn connect(
    State(server): State<Arc<Server>>,
    Extension(caller): Extension<Arc<Caller>>,
    Extension(pulse): Extension<Arc<Pulse>>,
    headers: HeaderMap,
    query: Result<Query<ConnectQuery>, QueryRejection>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let Query(query) = query?;
    let permit = admit(&server, &caller, &query)?;
    let upgrade = upgrade.map_err(|rejection| no_upgrade(&rejection))?;
    let id = Uuid::new_v4();
    let config = SessionConfig::new(
        query.session_type(),
        &server.lanes.model().name,
        &server.settings,
        &server.assistant,
    );
    let tracked = server.sessions.token();
    let span = info_span!("session", session = %id.simple(), caller = caller.name());
    let limit = server.settings.message_limit;
    let dialect = Dialect::asked_for(&headers);
    let visit = Visit { server, config, dialect, id, permit, pulse, tracked };
    Ok(upgrade
        .protocols(["realtime"])
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(limit)
        .max_frame_size(limit)
        .on_upgrade(move |socket| connection::serve(socket, visit).instrument(span)))
}

/// Checks everything that can be known before the upgrade.
fn admit(server: &Server, caller: &Arc<Caller>, query: &ConnectQuery) -> Result<SessionPermit, ApiError> {
    if let Some(model) = &query.model {
        server.models.resolve(model)?;
    }
    if server.stopping.is_cancelled() {
        return Err(AcquireError::Draining.into());
    }
    server.lanes.allocator().admit()?;
    Ok(caller.enter()?)
}

fn no_upgrade(rejection: &WebSocketUpgradeRejection) -> ApiError {
    let message = format!("this is a WebSocket endpoint: {rejection}");
    ApiError::new(StatusCode::UPGRADE_REQUIRED, "websocket_expected", message)
}

impl ConnectQuery {
    fn session_type(&self) -> SessionType {
        match self.intent.as_deref() {
            Some("transcription") => SessionType::Transcription,
            _ => SessionType::Realtime,
        }
    }
}
