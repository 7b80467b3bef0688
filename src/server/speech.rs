//! `POST /v1/audio/speech`: a text in, its sound out while it is being made.

mod request;

use super::error::ApiError;
use super::{Caller, Server, SessionPermit};
use crate::audio::{Pcm, SoundEncoder, SoundFormat};
use crate::telemetry::metrics;
use crate::tts::{TtsError, phrases, recite};
use async_stream::try_stream;
use axum::Extension;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _};
use request::{Delivery, Refusal, SpeechRequest};
use serde_json::{Value, json};
use std::io;
use std::sync::Arc;
use tokio::time::timeout;
use tracing::warn;

/// Bytes of the largest body: every character of the longest text as an escaped pair, and some fields.
const LARGEST_BODY: usize = 64 * 1024;

/// Keeps nginx from collecting pieces.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Says what is written. What fails before the first sound gets its own status; later it ends the answer before its time.
/// A client that goes away drops the stream, and all work with it.
pub(super) async fn speak(
    State(server): State<Arc<Server>>,
    Extension(caller): Extension<Arc<Caller>>,
    request: Request,
) -> Result<Response, ApiError> {
    let permit = caller.enter()?;
    let nothing = || TtsError::NotInstalled("this server was started without voices".into());
    let studio = server.assistant.studio.as_ref().ok_or_else(nothing)?;
    let body = read(request, &server).await?;
    let wanted = SpeechRequest::read(&body, &**studio)?;
    let mut sound = recite(studio.narrator(), phrases(&wanted.input, None), wanted.voice, SoundEncoder::RATE);
    let first = sound.next().await.transpose()?;
    let spoken = Spoken { first, sound, format: wanted.format, permit };
    let answer = match wanted.delivery {
        Delivery::Body => spoken.into_body()?,
        Delivery::Events => spoken.into_events(wanted.input.chars().count())?,
    };
    Ok(([(ACCEL_BUFFERING, HeaderValue::from_static("no"))], answer).into_response())
}

async fn read(request: Request, server: &Server) -> Result<Value, ApiError> {
    let refused = |status, code, message: String| ApiError::new(status, code, message);
    let patience = server.settings.request_stall;
    let bytes = timeout(patience, to_bytes(request.into_body(), LARGEST_BODY)).await.map_err(|_| {
        refused(
            StatusCode::REQUEST_TIMEOUT,
            "upload_stalled",
            format!("the body did not come within {patience:?}"),
        )
    })?;
    let bytes = bytes.map_err(|_| {
        let message = format!("the body cannot be read, or has more than {LARGEST_BODY} bytes");
        refused(StatusCode::PAYLOAD_TOO_LARGE, "upload_too_large", message)
    })?;
    serde_json::from_slice(&bytes).map_err(|error| {
        refused(StatusCode::BAD_REQUEST, "invalid_json", format!("the body is no JSON: {error}"))
    })
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Request(error) => error.into(),
            Refusal::Voice(error) => error.into(),
        }
    }
}

/// A text that has begun to sound.
struct Spoken {
    first: Option<Pcm>,
    sound: BoxStream<'static, Result<Pcm, TtsError>>,
    format: SoundFormat,
    /// The caller's request is counted while it streams.
    permit: SessionPermit,
}

impl Spoken {
    fn into_body(self) -> Result<Response, ApiError> {
        let media_type = HeaderValue::from_static(self.format.media_type());
        let broken = |error: ApiError| io::Error::other(error.code());
        let bytes = self
            .into_bytes()?
            .map(move |piece| piece.map(|(bytes, _)| bytes).inspect_err(tell).map_err(broken));
        Ok(([(CONTENT_TYPE, media_type)], Body::from_stream(bytes)).into_response())
    }

    fn into_events(self, characters: usize) -> Result<Response, ApiError> {
        let bytes = self.into_bytes()?;
        let events = async_stream::stream! {
            let mut samples = 0;
            for await piece in bytes {
                match piece {
                    Ok((bytes, n)) => {
                        samples += n;
                        if !bytes.is_empty() {
                            let audio = STANDARD.encode(&bytes);
                            yield Ok::<_, std::convert::Infallible>(event("speech.audio.delta", json!({"audio": audio})));
                        }
                    }
                    Err(error) => {
                        tell(&error);
                        yield Ok(event("error", error.body()));
                        return;
                    }
                }
            }
            yield Ok(event("speech.audio.done", json!({"usage": usage(characters, samples)})));
        };
        Ok(Sse::new(events).keep_alive(KeepAlive::default()).into_response())
    }

    /// The file piece by piece, each with the number of samples that went into it.
    fn into_bytes(
        self,
    ) -> Result<impl Stream<Item = Result<(Vec<u8>, usize), ApiError>> + Send + 'static, ApiError> {
        let Self { first, sound, format, permit } = self;
        let mut encoder = SoundEncoder::new(format).map_err(ApiError::from)?;
        let pieces = futures_util::stream::iter(first.map(Ok)).chain(sound);
        Ok(Box::pin(try_stream! {
            let _counted_while_it_streams = permit;
            for await piece in pieces {
                let samples = piece?.samples;
                yield (encoder.push(&samples)?, samples.len());
            }
            yield (encoder.finish()?, 0);
        }))
    }
}

/// OpenAI counts tokens, and its clients demand numbers: here they are the characters of the text, and 50 ms of sound each.
fn usage(characters: usize, samples: usize) -> Value {
    let sounds = samples.div_ceil(SoundEncoder::RATE.hertz() as usize / 20);
    json!({"input_tokens": characters, "output_tokens": sounds, "total_tokens": characters + sounds})
}

fn event(kind: &'static str, mut data: Value) -> Event {
    data["type"] = kind.into();
    Event::default().event(kind).data(data.to_string())
}

/// An answer that has begun cannot get another status: it breaks off, and the log says why.
fn tell(error: &ApiError) {
    metrics::failed(metrics::Module::Tts, error.code());
    warn!(code = error.code(), "speech broke off");
}
