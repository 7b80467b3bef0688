//! Stenopool: a self-hosted speech server. This page is the map.

pub mod asr;
pub mod audio;
pub mod cli;
pub mod config;
pub mod gpu;
pub mod pool;
pub mod server;
pub mod session;
pub mod store;
pub mod telemetry;
pub mod vad;
