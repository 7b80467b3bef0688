//! Tracing set-up and the catalogue of metrics. What people said is never logged above `trace`, and never measured.

mod log;
pub mod metrics;

pub use log::{LogFormat, LogSettings, init};
