//! `GET /metrics`: what happened and what is, for Prometheus.

use super::Server;
use super::pool::Reading;
use crate::telemetry::metrics;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use std::sync::Arc;

/// `GET /metrics`: everything that is measured. The gauges say what `/pool` says, from the same reading.
pub(super) async fn metrics(State(server): State<Arc<Server>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::render(&Reading::take(&server).gauges()))
}
