//! Who replies in conversations: a client of the endpoints that are configured, or the echo.

use crate::llm::{ChatModel, Client, Echo, LlmError, LlmSettings};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Who replies, on its way to being warm: what must not be paid for by the first who asks is paid for in the background,
/// and an endpoint that is down keeps no server from starting.
///
/// # Errors
///
/// When the system's certificates or proxy settings are unusable.
pub(super) fn language_model(
    settings: Option<LlmSettings>,
    instructions: &str,
    stopping: &CancellationToken,
) -> Result<Arc<dyn ChatModel>, LlmError> {
    let Some(settings) = settings else {
        warn!(
            hint = "set --llm-url, as in http://127.0.0.1:11434/v1",
            "no language model is configured: in conversations the built-in echo repeats what was said"
        );
        return Ok(Arc::new(Echo));
    };
    let client = Client::new(settings)?;
    // It ends when the server begins to stop.
    tokio::spawn(client.clone().keep_warm(instructions.to_owned(), stopping.clone()));
    Ok(Arc::new(client))
}
