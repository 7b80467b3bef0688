//! What the server says about itself: alive, ready, its pool, its models.

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
    let pool = server.lanes.allocator().snapshot();
    let unready = |code, reason| Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, code, reason));
    if server.stopping.is_cancelled() || pool.draining {
        return unready("stopping", "the server is stopping".to_owned());
    }
    if pool.slots.in_service() == 0 {
        return unready("no_slot", format!("none of {} slots is in service", pool.slots.total));
    }
    Ok("ready\n")
}

#[derive(Serialize)]
struct PoolWire<'a> {
    model: &'a str,
    engine: &'static str,
    slots: SlotsWire,
    queue: QueueWire,
}

#[derive(Serialize)]
struct SlotsWire {
    total: usize,
    idle: usize,
    leased: usize,
    retired: usize,
}

#[derive(Serialize)]
struct QueueWire {
    depth: usize,
    limit: usize,
    oldest_wait_ms: u64,
}

/// `GET /pool`: the pool's numbers, from one lock.
pub(super) async fn pool(State(server): State<Arc<Server>>) -> Response {
    let pool = server.lanes.allocator().snapshot();
    let wire = PoolWire {
        model: &server.lanes.model().name,
        engine: "whisper.cpp",
        slots: SlotsWire {
            total: pool.slots.total,
            idle: pool.slots.idle,
            leased: pool.slots.leased,
            retired: pool.slots.retired,
        },
        queue: QueueWire {
            depth: pool.queue.depth(),
            limit: pool.queue.limit,
            oldest_wait_ms: pool.queue.oldest_wait.as_millis() as u64,
        },
    };
    Json(wire).into_response()
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
