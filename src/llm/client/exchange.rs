//! One request at one endpoint, and what it replies. Dropping it closes the connection under it.

use super::super::reader::{Fault, Reader, message_in, short};
use super::super::wire::body;
use super::super::{ChatRequest, Delta, LlmError};
use super::door::{Door, Visit};
use super::events::{EventError, Events};
use super::record::Open;
use super::{root_cause, within};
use futures_util::TryStreamExt as _;
use reqwest::Response;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

/// How long figures and the end of the response are waited for behind the end of the reply.
const TAIL: Duration = Duration::from_secs(1);

/// How long of that the end of the reply itself waits.
const AT_ONCE: Duration = Duration::from_millis(5);

/// How much of an answer that is no reply is read.
const LARGEST_REFUSAL: usize = 16 << 10;

/// How long each part of a reply may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) first_token: Duration,
    /// When [`first_token`](Self::first_token) is over.
    pub(super) begin_by: Instant,
    pub(super) stall: Duration,
    pub(super) total: Duration,
    /// When [`total`](Self::total) is over.
    pub(super) deadline: Instant,
}

/// A reply on its way.
pub(super) struct Exchange {
    events: Events,
    reader: Reader,
    limits: Limits,
    visit: Visit,
    _open: Open,
}

impl Exchange {
    /// Asks, and waits for the first delta.
    ///
    /// # Cancel safety
    ///
    /// Dropping this future closes the request.
    pub(super) async fn begin(
        http: &reqwest::Client,
        mut visit: Visit,
        open: Open,
        request: &ChatRequest,
        limits: Limits,
    ) -> Result<(Self, Delta), LlmError> {
        let door = visit.door.clone();
        let asking = within(limits.begin_by.min(limits.deadline), ask(http, &door, request));
        let response = match asking.await.unwrap_or_else(|| Err(too_late(&door, limits))) {
            Ok(response) => response,
            Err(error) => return Err(visit.failed(error)),
        };
        let body = response.bytes_stream().map_err(|error| EventError::Broken(root_cause(&error)));
        let mut exchange =
            Self { events: Events::new(body), reader: Reader::default(), limits, visit, _open: open };
        let first = exchange.next().await?;
        exchange.visit.began();
        Ok((exchange, first))
    }

    /// The next delta; to be called until [`Delta::End`] or an error.
    ///
    /// # Cancel safety
    ///
    /// Dropping this future loses nothing.
    pub(super) async fn next(&mut self) -> Result<Delta, LlmError> {
        loop {
            if let Some(delta) = self.reader.pop() {
                return Ok(delta);
            }
            if let Err(error) = self.read().await {
                return Err(self.visit.failed(error));
            }
        }
    }

    /// The reply is over. What is left of the response is read, so that its connection can be used again: mostly that is
    /// its end alone and comes along; what does not is read by the way.
    ///
    /// # Cancel safety
    ///
    /// Dropping this future closes the connection.
    pub(super) async fn close(self) {
        let Self { mut events, .. } = self;
        let mut rest = Box::pin(async move { while let Some(Ok(_)) = events.next().await {} });
        if tokio::time::timeout(AT_ONCE, rest.as_mut()).await.is_err() {
            tokio::spawn(tokio::time::timeout(TAIL, rest));
        }
    }

    /// Reads one event, or the end.
    async fn read(&mut self) -> Result<(), LlmError> {
        let (until, deadline) = (self.until(), self.limits.deadline);
        let read = match within(until.min(deadline), self.events.next()).await {
            Some(Some(Ok(event))) => {
                self.reader.event(event.event.as_deref(), event.data.as_deref().unwrap_or_default())
            }
            Some(None) => self.reader.close(),
            // The reply is whole; who needs the rest?
            _ if self.reader.has_finished() => self.reader.close(),
            Some(Some(Err(error))) => return Err(self.broken(&error)),
            None if until < deadline && self.reader.has_begun() => return Err(self.stalled()),
            None => return Err(too_late(&self.visit.door, self.limits)),
        };
        read.map_err(|fault| self.fault(fault))
    }

    /// Until when the next event must have come.
    fn until(&self) -> Instant {
        match (self.reader.has_finished(), self.reader.has_begun()) {
            (true, _) => Instant::now() + TAIL,
            (false, true) => Instant::now() + self.limits.stall,
            (false, false) => self.limits.begin_by,
        }
    }

    fn stalled(&self) -> LlmError {
        LlmError::Stalled { endpoint: self.visit.door.name(), limit: self.limits.stall }
    }

    fn broken(&self, error: &EventError) -> LlmError {
        let (endpoint, reason) = (self.visit.door.name(), error.to_string());
        match error {
            EventError::Broken(_) => LlmError::CutOff { endpoint, reason },
            EventError::Endless | EventError::NoText => LlmError::Garbage { endpoint, reason },
        }
    }

    fn fault(&self, fault: Fault) -> LlmError {
        let door = &self.visit.door;
        let endpoint = door.name();
        match fault {
            Fault::Garbage(reason) => LlmError::Garbage { endpoint, reason },
            Fault::Failed(message) => LlmError::Failed { endpoint, message: door.redact(&message) },
            Fault::CutOff => {
                LlmError::CutOff { endpoint, reason: "the response ended before the reply did".into() }
            }
        }
    }
}

/// Neither the first token nor the end came in time.
fn too_late(door: &Door, limits: Limits) -> LlmError {
    if limits.begin_by < limits.deadline && Instant::now() < limits.deadline {
        return LlmError::FirstTokenTimeout { endpoint: door.name(), limit: limits.first_token };
    }
    LlmError::Timeout { limit: limits.total, detail: format!("{} was still at it", door.name()) }
}

/// A response that promises events.
async fn ask(http: &reqwest::Client, door: &Door, request: &ChatRequest) -> Result<Response, LlmError> {
    let mut asking = http
        .post(&door.url)
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, "text/event-stream")
        .body(body(request, &door.endpoint));
    if let Some(authorization) = &door.authorization {
        asking = asking.header(AUTHORIZATION, authorization.clone());
    }
    let unreachable = |error: reqwest::Error| {
        let reason =
            if error.is_timeout() { "nobody took the connection in time".into() } else { root_cause(&error) };
        LlmError::Unreachable { endpoint: door.name(), reason }
    };
    let response = asking.send().await.map_err(unreachable)?;
    if response.status() != reqwest::StatusCode::OK {
        return Err(refused(door, response).await);
    }
    let kind = response.headers().get(CONTENT_TYPE).map(|kind| String::from_utf8_lossy(kind.as_bytes()));
    if kind.as_ref().is_some_and(|kind| !kind.starts_with("text/event-stream")) {
        let reason = format!("{} instead of a stream of events", short(kind.as_deref().unwrap_or_default()));
        return Err(LlmError::Garbage { endpoint: door.name(), reason });
    }
    Ok(response)
}

/// What another status than 200 means.
async fn refused(door: &Door, response: Response) -> LlmError {
    let (status, retry_after) = (response.status().as_u16(), retry_after(response.headers()));
    let endpoint = door.name();
    let message = door.redact(&explanation(response).await);
    match status {
        401 | 403 => LlmError::Unauthorized { endpoint, status, message },
        429 => LlmError::RateLimited { endpoint, retry_after },
        _ => LlmError::Refused { endpoint, status, retry_after, message },
    }
}

/// What an endpoint says about an error, in short. It is read whole, if it is small, so that the connection can be used
/// again.
async fn explanation(mut response: Response) -> String {
    let mut said = Vec::new();
    while said.len() < LARGEST_REFUSAL
        && let Ok(Some(chunk)) = response.chunk().await
    {
        said.extend_from_slice(&chunk);
    }
    let text = String::from_utf8_lossy(&said);
    match serde_json::from_str::<Value>(&text) {
        Ok(said) => message_in(said.get("error").unwrap_or(&said)),
        Err(_) if text.trim_start().starts_with('<') => "it sent a page for browsers".into(),
        Err(_) => short(&text),
    }
}

/// When an endpoint wants to be asked again. A date says nothing without its clock, and is passed over.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok();
    let seconds = number("retry-after-ms").map(|ms| ms / 1_000.0).or_else(|| number(RETRY_AFTER.as_str()))?;
    Duration::try_from_secs_f64(seconds).ok()
}
