//! `GET /metrics`: what happened and what is, for Prometheus.

use super::Server;
use super::pool::Reading;
use crate::telemetry::metrics::{self, Gauges, Process};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use std::sync::Arc;
use tokio::runtime::Handle;

/// `GET /metrics`: everything that is measured. The gauges say what `/pool` says, from the same reading.
pub(super) async fn metrics(State(server): State<Arc<Server>>) -> impl IntoResponse {
    let tasks = Handle::current().metrics().num_alive_tasks();
    let now = Gauges { tasks, process: Process::read(), ..Reading::take(&server).gauges() };
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::render(&now))
}
