//! One endpoint as the client sees it: its address, its key, and the breaker before it.

use super::super::breaker::{Breaker, Change, Pass, Verdict};
use super::super::failure::verdict;
use super::super::{Endpoint, LlmError, LlmSettings};
use reqwest::header::HeaderValue;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tracing::{info, warn};

/// One endpoint.
pub(super) struct Door {
    pub(super) endpoint: Endpoint,
    /// Where completions are asked for.
    pub(super) url: String,
    /// The key as a header.
    pub(super) authorization: Option<HeaderValue>,
    /// [`LlmSettings::patience`].
    patience: Duration,
    standing: Mutex<Standing>,
}

struct Standing {
    breaker: Breaker,
    /// What the last failure was.
    cause: String,
}

impl Door {
    pub(super) fn new(endpoint: Endpoint, settings: &LlmSettings) -> Self {
        let authorization = endpoint.key().and_then(|key| {
            let mut value = HeaderValue::try_from(format!("Bearer {}", key.expose())).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        let standing = Standing { breaker: Breaker::new(settings.breaker), cause: String::new() };
        let url = format!("{}/chat/completions", endpoint.base());
        Self { url, authorization, endpoint, patience: settings.patience, standing: Mutex::new(standing) }
    }

    /// What errors call it.
    pub(super) fn name(&self) -> String {
        self.endpoint.base().to_owned()
    }

    /// What an endpoint says, without the key, should it repeat it.
    pub(super) fn redact(&self, said: &str) -> String {
        self.endpoint.key().map_or_else(|| said.to_owned(), |key| said.replace(key.expose(), "***"))
    }

    /// The right to ask it once.
    ///
    /// # Errors
    ///
    /// [`LlmError::Unavailable`] while it is left alone.
    pub(super) fn admit(self: &Arc<Self>) -> Result<Visit, LlmError> {
        let mut standing = self.lock();
        match standing.breaker.admit(Instant::now()) {
            Ok(pass) => Ok(Visit { door: self.clone(), pass, verdict: Verdict::Unknown }),
            Err(retry_in) => Err(LlmError::Unavailable { retry_in, cause: standing.cause.clone() }),
        }
    }

    fn settle(&self, pass: Pass, verdict: Verdict) {
        let change = self.lock().breaker.settle(pass, verdict, Instant::now());
        let endpoint = self.endpoint.base();
        match change {
            Some(Change::Opened(rest)) => {
                warn!(endpoint, rest_ms = rest.as_millis(), "a language model is left alone");
            }
            Some(Change::Closed) => info!(endpoint, "a language model is back"),
            None => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request at one endpoint. What becomes of it is told to the breaker when this is dropped, at the latest.
pub(super) struct Visit {
    pub(super) door: Arc<Door>,
    pass: Pass,
    verdict: Verdict,
}

impl Visit {
    /// The reply has begun. That is all a probe has to show; others need not wait for its end.
    pub(super) fn began(&mut self) {
        self.verdict = Verdict::Served;
        if matches!(self.pass, Pass::Probe(_)) {
            self.door.settle(self.pass, Verdict::Served);
            self.pass = Pass::Usual;
        }
    }

    /// It failed; gives the error back.
    pub(super) fn failed(&mut self, error: LlmError) -> LlmError {
        self.verdict = verdict(&error, self.door.patience);
        if self.verdict != Verdict::Unknown {
            self.door.lock().cause = error.to_string();
        }
        error
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.door.settle(self.pass, self.verdict);
    }
}
