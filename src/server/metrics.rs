//! `GET /metrics`: what happened and what is, for Prometheus.

use super::Server;
use crate::telemetry::metrics::{self, Gauges};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use std::sync::Arc;

/// `GET /metrics`: everything that is measured. The gauges say what `/pool` says, from the same reading.
pub(super) async fn metrics(State(server): State<Arc<Server>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::render(&gauges(&server)))
}

fn gauges(server: &Server) -> Gauges {
    let pool = server.lanes.allocator().snapshot();
    Gauges {
        slots_idle: pool.slots.idle,
        slots_leased: pool.slots.leased,
        slots_retired: pool.slots.retired,
        slots_warming: pool.slots.warming,
        waiting: pool.queue.depth(),
        sessions_connected: pool.sessions.connected,
        sessions_speaking: pool.sessions.speaking,
        ..Gauges::default()
    }
}
