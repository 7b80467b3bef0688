//! `stenopool health`: whether a running server is well. For health checks, where there is no curl.

use super::failure::Failure;
use super::{output, serve};
use crate::config::Settings;
use crate::load;
use clap::Args;
use std::process::ExitCode;

/// What the command can be told beside the server's settings.
#[derive(Debug, Args)]
pub(super) struct HealthCommand {
    /// The server [default: the one with the same settings, on this machine]
    #[arg(long, value_name = "URL", env = "STENOPOOL_URL")]
    url: Option<String>,
    /// Ask whether it takes work (/readyz), and not only whether it is alive (/healthz)
    #[arg(long)]
    ready: bool,
}

impl HealthCommand {
    /// Prints what the server says of itself.
    ///
    /// # Errors
    ///
    /// When it does not say that it is well, within 5 s.
    pub(super) async fn run(&self, settings: &Settings) -> anyhow::Result<ExitCode> {
        let server = &settings.server;
        let url = self.url.clone().unwrap_or_else(|| serve::url(server.bind, server.tls.is_some()));
        let page = if self.ready { "/readyz" } else { "/healthz" };
        let said = load::health(&url, page).await.map_err(|error| Failure::new(error.to_string(), HINT))?;
        output::print(&said)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// What to do about a server that is not well.
const HINT: &str =
    "its log says why; a server that starts answers when its first slot is open; for another one: --url";
