//! `WS /v1/realtime`: OpenAI's Realtime protocol, transcription sessions.
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
mod limits;
mod reader;
mod server_event;
mod turn_detection;
mod writer;

use super::{KeyError, Server, SessionPermit};
use crate::pool::AcquireError;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Query, State};
use axum::http::header::{AUTHORIZATION, RETRY_AFTER, SEC_WEBSOCKET_PROTOCOL};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use config::{SessionConfig, SessionType};
use connection::Visit;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use tracing::{Instrument, info_span};
use uuid::Uuid;

/// The WebSocket library's own buffers, per socket; its defaults would cost a thousand silent sessions 250 MB.
const BUFFER: usize = 8 * 1024;

/// Seconds after which a refused client should try again.
const RETRY_SECONDS: u64 = 2;

/// The routes of this protocol.
pub fn routes() -> Router<Arc<Server>> {
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
    Query(query): Query<ConnectQuery>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let (permit, caller) = match admit(&server, &query, &headers) {
        Ok(admitted) => admitted,
        Err(refusal) => return refusal.into_response(),
    };
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return Refusal::no_upgrade(&rejection).into_response(),
    };
    let id = Uuid::new_v4();
    let config = SessionConfig::new(query.session_type(), &server.lanes.model().name);
    let tracked = server.sessions.token();
    let span = info_span!("session", session = %id.simple(), caller);
    let limit = server.settings.message_limit;
    let visit = Visit { server, config, id, permit, tracked };
    upgrade
        .protocols(["realtime"])
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_message_size(limit)
        .max_frame_size(limit)
        .on_upgrade(move |socket| connection::serve(socket, visit).instrument(span))
}

/// Checks everything that can be known before the upgrade; gives the permit and the caller's name.
fn admit(
    server: &Server,
    query: &ConnectQuery,
    headers: &HeaderMap,
) -> Result<(SessionPermit, String), Refusal> {
    let caller = server.keys.identify(presented_key(headers)).map_err(|error| Refusal::of_key(&error))?;
    if let Some(model) = &query.model {
        server.models.resolve(model).map_err(|unknown| Refusal::no_model(unknown.to_string()))?;
    }
    if server.stopping.is_cancelled() {
        return Err(Refusal::of_pool(&AcquireError::Draining));
    }
    server.lanes.allocator().admit().map_err(|error| Refusal::of_pool(&error))?;
    let permit = caller.enter().map_err(|error| Refusal::of_key(&error))?;
    Ok((permit, caller.name().to_owned()))
}

impl ConnectQuery {
    fn session_type(&self) -> SessionType {
        match self.intent.as_deref() {
            Some("transcription") => SessionType::Transcription,
            _ => SessionType::Realtime,
        }
    }
}

/// The key of a request: `Authorization: Bearer KEY`, or, from browsers, the subprotocol `openai-insecure-api-key.KEY`.
fn presented_key(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| value.strip_prefix("Bearer ")).map(str::trim);
    let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).into_iter().filter_map(|value| value.to_str().ok());
    let mut protocols = offered.flat_map(|value| value.split(',')).map(str::trim);
    bearer.or_else(|| protocols.find_map(|protocol| protocol.strip_prefix("openai-insecure-api-key.")))
}

/// Why there is no WebSocket, in OpenAI's shape.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    kind: &'static str,
    code: &'static str,
    message: String,
    param: Option<&'static str>,
}

impl Refusal {
    fn of_key(error: &KeyError) -> Self {
        let (status, kind, code) = match error {
            KeyError::Missing => (StatusCode::UNAUTHORIZED, "invalid_request_error", "api_key_missing"),
            KeyError::Unknown => (StatusCode::UNAUTHORIZED, "invalid_request_error", "invalid_api_key"),
            KeyError::TooManySessions { .. } => {
                (StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", "too_many_sessions")
            }
        };
        Self { status, kind, code, message: error.to_string(), param: None }
    }

    fn of_pool(error: &AcquireError) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self { status, kind: "server_error", code: error.code(), message: error.to_string(), param: None }
    }

    fn no_model(message: String) -> Self {
        let (kind, code) = ("invalid_request_error", "model_not_found");
        Self { status: StatusCode::NOT_FOUND, kind, code, message, param: Some("model") }
    }

    fn no_upgrade(rejection: &WebSocketUpgradeRejection) -> Self {
        let (kind, code) = ("invalid_request_error", "websocket_expected");
        let message = format!("this is a WebSocket endpoint: {rejection}");
        Self { status: StatusCode::UPGRADE_REQUIRED, kind, code, message, param: None }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self { status, kind, code, message, param } = self;
        let body = json!({ "error": { "message": message, "type": kind, "code": code, "param": param } });
        let mut response = (status, Json(body)).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, RETRY_SECONDS.into());
        }
        response
    }
}
