//! `POST /v1/audio/transcriptions` and `/v1/audio/translations`: a file in, a document or a stream of events out.

use super::edge::RequestId;
use super::error::ApiError;
use super::formats::{LogprobWire, TranscriptDocument, UsageWire, logprobs, render};
use super::readings::Readings;
use super::request::TranscriptionRequest;
use super::serve::Peer;
use super::upload::{self, Upload, UploadLimits};
use super::{Caller, Server, SessionPermit};
use crate::asr::Task;
use crate::audio::{AudioError, FileReader};
use crate::pool::FlowInfo;
use crate::session::{Part, Recording, RecordingError};
use crate::telemetry::metrics;
use async_stream::stream;
use axum::Extension;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tracing::warn;

/// How often a stream without news says that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Keeps nginx from collecting events.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Writes down what is said.
pub(super) async fn transcribe(
    State(server): State<Arc<Server>>,
    Extension(caller): Extension<Arc<Caller>>,
    Extension(id): Extension<RequestId>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Result<Response, ApiError> {
    answer(&server, &caller, flow(&caller, &id, peer), request, Task::Transcribe).await
}

/// Writes down in English what is said.
pub(super) async fn translate(
    State(server): State<Arc<Server>>,
    Extension(caller): Extension<Arc<Caller>>,
    Extension(id): Extension<RequestId>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Result<Response, ApiError> {
    answer(&server, &caller, flow(&caller, &id, peer), request, Task::Translate).await
}

/// The flow of a request. All requests of one caller from one place share one part of the pool, so that who sends many
/// files at once gets no more than who sends one, or than somebody who speaks.
fn flow(caller: &Caller, id: &RequestId, Peer(peer): Peer) -> FlowInfo {
    let account = Some(format!("{peer} {}", caller.name()).into());
    caller.as_flow(FlowInfo { account, ..FlowInfo::request(id.as_str()) })
}

/// The doors are checked before the upload is read. A client that goes away drops this future, and all work with it.
async fn answer(
    server: &Server,
    caller: &Arc<Caller>,
    flow: FlowInfo,
    request: Request,
    task: Task,
) -> Result<Response, ApiError> {
    let permit = caller.enter()?;
    server.lanes.allocator().admit()?;
    let limits = UploadLimits { bytes: server.settings.upload_limit, stall: server.settings.request_stall };
    let Upload { fields, file, extension } = upload::receive(request, limits).await?;
    let wanted = TranscriptionRequest::read(
        task,
        &fields,
        &server.models,
        server.lanes.model(),
        &server.settings.endpoint,
    )?;
    let reader = open(file, extension).await?;
    let recording = Recording::start(
        reader,
        &server.frontend,
        server.lanes.open(flow),
        wanted.options.clone(),
        wanted.endpoint.clone(),
        Some(server.settings.rest_wait),
    );
    if wanted.stream {
        events(recording, wanted.with_logprobs, permit).await
    } else {
        document(recording, &wanted).await
    }
}

/// Probing reads the file, so it is done off the runtime.
async fn open(file: std::fs::File, extension: Option<String>) -> Result<FileReader, ApiError> {
    let probing = tokio::task::spawn_blocking(move || FileReader::open(file, extension.as_deref()));
    let opened = probing.await.map_err(|panic| AudioError::Read(io::Error::other(panic)))?;
    Ok(opened?)
}

async fn document(mut recording: Recording, wanted: &TranscriptionRequest) -> Result<Response, ApiError> {
    let mut readings = Readings::default();
    while let Some(part) = recording.next().await {
        readings.add(part?);
    }
    tell_truncated(&recording);
    let document = TranscriptDocument {
        task: wanted.task,
        language: readings.language().or(wanted.options.language.as_deref()).unwrap_or("en"),
        duration: recording.duration(),
        segments: &readings.segments,
        with_segments: wanted.with_segments,
        with_words: wanted.with_words,
        with_logprobs: wanted.with_logprobs,
        truncated: recording.truncated(),
    };
    let media_type = HeaderValue::from_static(wanted.format.media_type());
    Ok(([(CONTENT_TYPE, media_type)], render(wanted.format, &document)).into_response())
}

fn tell_truncated(recording: &Recording) {
    if recording.truncated() {
        warn!(
            audio_ms = recording.duration().as_millis() as u64,
            "the upload's audio breaks off before its end"
        );
    }
}

/// Answers with events. What fails before the first text still gets its own status.
async fn events(
    mut recording: Recording,
    with_logprobs: bool,
    permit: SessionPermit,
) -> Result<Response, ApiError> {
    let first = recording.next().await.transpose()?;
    let events = Sse::new(told(recording, first, with_logprobs, permit))
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    Ok(([(ACCEL_BUFFERING, HeaderValue::from_static("no"))], events).into_response())
}

fn told(
    mut recording: Recording,
    first: Option<Part>,
    with_logprobs: bool,
    permit: SessionPermit,
) -> impl Stream<Item = Result<Event, Infallible>> {
    stream! {
        let _counted_while_it_streams = permit;
        let mut text = String::new();
        let mut all_logprobs = with_logprobs.then(Vec::new);
        let mut next = first.map(Ok);
        while let Some(part) = next {
            match part {
                Ok(part) => {
                    if let Some(delta) = append(&mut text, &part.hypothesis.text()) {
                        let mut data = json!({"delta": delta});
                        if let Some(all) = &mut all_logprobs {
                            let part = logprobs(&part.hypothesis.segments);
                            data["logprobs"] = json!(part);
                            all.extend(part);
                        }
                        yield Ok(event("transcript.text.delta", data));
                    }
                }
                Err(error) => {
                    yield Ok(failure(error));
                    return;
                }
            }
            next = recording.next().await;
        }
        tell_truncated(&recording);
        yield Ok(event("transcript.text.done", done(&text, all_logprobs, &recording)));
    }
}

/// Appends the text of a part and returns what was appended, with the space that separates it.
fn append(text: &mut String, part: &str) -> Option<String> {
    if part.is_empty() {
        return None;
    }
    let delta = if text.is_empty() { part.to_owned() } else { format!(" {part}") };
    text.push_str(&delta);
    Some(delta)
}

fn done(text: &str, logprobs: Option<Vec<LogprobWire>>, recording: &Recording) -> Value {
    let mut done = json!({"text": text, "usage": UsageWire::of(recording.duration())});
    if let Some(logprobs) = logprobs {
        done["logprobs"] = json!(logprobs);
    }
    if recording.truncated() {
        done["pool"] = json!({"truncated": true});
    }
    done
}

fn event(kind: &'static str, mut data: Value) -> Event {
    data["type"] = kind.into();
    Event::default().event(kind).data(data.to_string())
}

fn failure(error: RecordingError) -> Event {
    let error = ApiError::from(error);
    metrics::failed(metrics::Module::Server, error.code());
    warn!(code = error.code(), "a stream of events ended in an error");
    event("error", error.body())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deltas_add_up_to_the_text() {
        let mut text = String::new();
        let deltas: Vec<_> = ["One.", "", "Two."].iter().filter_map(|part| append(&mut text, part)).collect();
        assert_eq!((deltas.concat().as_str(), text.as_str()), ("One. Two.", "One. Two."));
        assert_eq!(deltas, ["One.", " Two."]);
    }
}
