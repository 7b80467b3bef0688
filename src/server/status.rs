//! What the server says about itself: alive, ready, its models.

use super::Server;
use super::error::ApiError;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::sync::Arc;

/// `GET /healthz`: the process turns.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: a slot serves, and the server is not stopping.
pub(super) async fn readyz(State(server): State<Arc<Server>>) -> Result<&'static str, ApiError> {
    let (slots, draining) = (server.lanes.allocator().slots(), server.lanes.allocator().is_draining());
    let unready = |code, reason| Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, code, reason));
    if server.stopping.is_cancelled() || draining {
        return unready("stopping", "the server is stopping".to_owned());
    }
    if slots.in_service() == 0 {
        return unready("no_slot", format!("none of {} slots is in service", slots.total));
    }
    Ok("ready\n")
}

#[derive(Serialize)]
struct ModelsWire<'a> {
    object: &'static str,
    data: Vec<ModelWire<'a>>,
}

#[derive(Serialize)]
struct ModelWire<'a> {
    id: &'a str,
    object: &'static str,
    /// OpenAI's clients demand a time; nobody knows when the weights were made.
    created: u64,
    owned_by: &'static str,
}

impl<'a> ModelWire<'a> {
    fn named(id: &'a str) -> Self {
        Self { id, object: "model", created: 0, owned_by: "stenopool" }
    }
}

/// `GET /v1/models`: the loaded model and its aliases.
pub(super) async fn models(State(server): State<Arc<Server>>) -> Response {
    let data = server.models.all().map(ModelWire::named).collect();
    Json(ModelsWire { object: "list", data }).into_response()
}

/// `GET /v1/models/{id}`: one of them.
pub(super) async fn model(
    State(server): State<Arc<Server>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let Path(id) = id?;
    server.models.resolve(&id)?;
    Ok(Json(ModelWire::named(&id)).into_response())
}
