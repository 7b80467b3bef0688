//! Who replies in conversations: a client of the endpoints that are configured, or the echo.

use crate::llm::{ChatModel, Client, Echo, LlmError, LlmSettings};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// The longest that a start waits for the first warm-up. A model that takes longer to load is warm later than we are ready.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// A wait that is longer than this is told.
const NOTICED: Duration = Duration::from_secs(2);

/// Who replies, on its way to being warm: what must not be paid for by the first who asks is paid for in the background,
/// from now on. Whoever starts has other things to do meanwhile, and then waits for the [`FirstWarmUp`].
///
/// # Errors
///
/// When the system's certificates or proxy settings are unusable.
pub(super) fn language_model(
    settings: Option<LlmSettings>,
    instructions: &str,
    stopping: &CancellationToken,
) -> Result<(Arc<dyn ChatModel>, FirstWarmUp), LlmError> {
    let (tried, first) = oneshot::channel();
    let first = FirstWarmUp(first);
    let Some(settings) = settings else {
        warn!(
            hint = "set --llm-url, as in http://127.0.0.1:11434/v1",
            "no language model is configured: in conversations the built-in echo repeats what was said"
        );
        return Ok((Arc::new(Echo), first));
    };
    let client = Client::new(settings)?;
    // It ends when the server begins to stop.
    tokio::spawn(client.clone().keep_warm(instructions.to_owned(), stopping.clone(), tried));
    Ok((Arc::new(client), first))
}

/// The first warm-up of a language model, under way.
pub(super) struct FirstWarmUp(oneshot::Receiver<Infallible>);

impl FirstWarmUp {
    /// Waits for its end, so that nobody is asked in before it: who comes first would wait for the same, and on another
    /// connection. One that fails ends at once, and no wait is longer than some seconds: an endpoint that is down keeps no
    /// server from starting.
    pub(super) async fn ended(mut self) {
        if timeout(NOTICED, &mut self.0).await.is_ok() {
            return;
        }
        info!("waiting until the language model is warm, {} s at most", LONGEST_WAIT.as_secs());
        if timeout(LONGEST_WAIT.saturating_sub(NOTICED), self.0).await.is_err() {
            warn!("the language model is not warm yet: the first reply may be late");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn a_start_waits_until_the_first_warm_up_has_ended_but_not_for_ever() {
        let second = Duration::from_secs(1);
        for (takes, waited) in [(0, 0), (1, 1), (9, 9), (120, LONGEST_WAIT.as_secs() as u32)] {
            let (tried, first) = oneshot::channel();
            let since = Instant::now();
            tokio::spawn(async move {
                tokio::time::sleep(second * takes).await;
                drop(tried);
            });
            FirstWarmUp(first).ended().await;
            assert_eq!(since.elapsed().as_secs(), u64::from(waited), "{takes}");
        }
    }

    #[tokio::test]
    async fn neither_the_echo_nor_an_endpoint_that_is_down_is_waited_for() {
        let stopping = CancellationToken::new();
        let endpoint = crate::llm::Endpoint::new("http://127.0.0.1:9/v1", "small", None).unwrap();
        for settings in [None, Some(LlmSettings::new(endpoint))] {
            let (_, first) = language_model(settings, "", &stopping).unwrap();
            let since = Instant::now();
            first.ended().await;
            assert!(since.elapsed() < LONGEST_WAIT / 2, "{:?}", since.elapsed());
        }
    }
}
