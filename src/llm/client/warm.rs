//! Small requests that pay beforehand what the first reply would have to pay: connection, TLS, the model's weights, and
//! the prompt, which endpoints keep.

use super::{Client, Patience};
use crate::llm::{ChatRequest, LlmError, Message};
use crate::telemetry::metrics;
use futures_util::StreamExt as _;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::PoisonError;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Whom warm-ups count as in line. Sessions count from 0.
const ASKER: u64 = u64::MAX;

/// The pause after the first warm-up that failed; it doubles with each one that follows.
const PAUSE: Duration = Duration::from_secs(5);

/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

impl Client {
    /// Asks for one token behind the system prompt, so that the first reply finds everything ready. Gives how long it
    /// took, which is also logged and measured.
    ///
    /// # Errors
    ///
    /// As replies have them, with [`LlmSettings::warm_up`](crate::llm::LlmSettings::warm_up) as the only limit of time.
    ///
    /// # Cancel safety
    ///
    /// Dropping this future closes the request.
    pub async fn warm_up(&self, system: &str) -> Result<Duration, LlmError> {
        let since = Instant::now();
        let limit = self.shared.settings.warm_up;
        let patience = Patience { first_token: limit, total: limit };
        let mut replies = pin!(self.run(small(system), patience));
        while let Some(delta) = replies.next().await {
            delta?;
        }
        let took = since.elapsed();
        metrics::llm_warmed_up(took);
        let primary = &self.shared.settings.primary;
        info!(
            endpoint = primary.base(),
            model = primary.model(),
            took_ms = took.as_millis(),
            "the language model is warm"
        );
        Ok(took)
    }

    /// Warms up at once, and again whenever nobody has asked anything for
    /// [`LlmSettings::keep_warm`](crate::llm::LlmSettings::keep_warm), until it is told to stop. A warm-up that fails is
    /// logged and tried again: the endpoint may start later than we do. `tried` is dropped once the first one has ended,
    /// well or not.
    pub async fn keep_warm(
        self,
        system: String,
        stop: CancellationToken,
        tried: oneshot::Sender<Infallible>,
    ) {
        stop.run_until_cancelled(self.stay_warm(&system, tried)).await;
    }

    async fn stay_warm(&self, system: &str, tried: oneshot::Sender<Infallible>) {
        let mut tried = Some(tried);
        loop {
            self.warm_up_at_last(system, &mut tried).await;
            let Some(pause) = self.shared.settings.keep_warm else { return };
            self.silence(pause).await;
        }
    }

    async fn warm_up_at_last(&self, system: &str, tried: &mut Option<oneshot::Sender<Infallible>>) {
        let mut pause = PAUSE;
        loop {
            let result = self.warm_up(system).await;
            drop(tried.take());
            let Err(error) = result else { return };
            warn!(code = error.code(), %error, "the language model is not warm");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Waits until nobody has asked anything for so long.
    async fn silence(&self, pause: Duration) {
        loop {
            let last = *self.shared.last_used.lock().unwrap_or_else(PoisonError::into_inner);
            if last.elapsed() >= pause {
                return;
            }
            tokio::time::sleep_until(last + pause).await;
        }
    }
}

fn small(system: &str) -> ChatRequest {
    let prompt = Some(system).filter(|system| !system.is_empty());
    let mut messages: Vec<Message> =
        prompt.map(|system| Message::System(system.to_owned())).into_iter().collect();
    // Many templates want somebody to have said something.
    messages.push(Message::User("Hello.".into()));
    ChatRequest { asker: ASKER, messages, max_tokens: Some(1), ..ChatRequest::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::{Endpoint, LlmSettings};

    #[tokio::test(start_paused = true)]
    async fn while_people_talk_nothing_has_to_be_kept_warm() {
        let endpoint = Endpoint::new("http://127.0.0.1:1/v1", "small", None).unwrap();
        let client = Client::new(LlmSettings::new(endpoint)).unwrap();
        let (minute, since) = (Duration::from_secs(60), Instant::now());
        let talking = async {
            for _ in 0..10 {
                tokio::time::sleep(minute / 2).await;
                client.shared.used();
            }
        };
        tokio::join!(client.silence(minute), talking);
        assert_eq!(since.elapsed(), 6 * minute);
    }
}
