//! Every error of the house as an HTTP answer, in OpenAI's shape.
//!
//! The matches have no catch-all: a new variant does not compile until somebody has decided what clients see.

use super::BACK_AFTER_CRASH;
use super::form::FormError;
use super::keys::KeyError;
use super::models::UnknownModel;
use super::request::RequestError;
use super::upload::UploadError;
use crate::asr::AsrError;
use crate::audio::AudioError;
use crate::pool::AcquireError;
use crate::session::{FrontendError, RecordingError};
use crate::telemetry::metrics;
use crate::tts::TtsError;
use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::io;
use std::time::Duration;
use tracing::error;

/// After how long a refused client may try again where nobody knows: about a few utterances.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// What a client is told when its request fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    param: Option<&'static str>,
    /// When to try again, where that is known.
    retry_after: Option<Duration>,
}

/// The code of the error in a response, for the request log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ErrorCode(pub(crate) &'static str);

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), param: None, retry_after: None }
    }

    /// A path that leads nowhere.
    pub(crate) fn not_found(path: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "route_not_found", format!("there is nothing at {path}"))
    }

    /// A path that exists, and a method that it does not take.
    pub(crate) fn wrong_method(method: &str, path: &str) -> Self {
        let message = format!("{path} does not take {method}");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
    }

    /// A handler that panicked: our fault, and nobody else's request.
    pub(crate) fn panicked() -> Self {
        let message = "this request met a defect of the server; others are not affected";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message)
    }

    /// A request that is not finished because the process is about to end.
    pub(crate) fn crashed() -> Self {
        let message =
            "the server has failed and starts again; this request was not finished, and may be repeated";
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "crashed", message);
        error.retry_after(Some(BACK_AFTER_CRASH))
    }

    fn about(mut self, param: Option<&'static str>) -> Self {
        self.param = param;
        self
    }

    fn retry_after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait;
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The stable name of the error.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The error as OpenAI writes it: `{"error": {"message", "type", "code", "param"}}`.
    pub fn body(&self) -> Value {
        let kind = error_type(self.status);
        json!({"error": {"message": self.message, "type": kind, "code": self.code, "param": self.param}})
    }

    /// Whether the client should simply try again a little later.
    fn is_transient(&self) -> bool {
        matches!(self.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS)
    }
}

/// What a client sent, as far as it is worth sending back.
pub(crate) fn shortened(text: &str) -> String {
    match text.char_indices().nth(64) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.to_owned(),
    }
}

/// A wait in the unit of `Retry-After`, rounded up; who is told to come back at once would not be served either.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_millis().div_ceil(1000).max(1) as u64
}

fn error_type(status: StatusCode) -> &'static str {
    match status {
        StatusCode::FORBIDDEN => "permission_error",
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        status if status.is_server_error() => "server_error",
        _ => "invalid_request_error",
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        metrics::failed(metrics::Module::Server, self.code);
        // Ours to look into; what clients do wrong is in the request log.
        if self.status == StatusCode::INTERNAL_SERVER_ERROR || self.status == StatusCode::INSUFFICIENT_STORAGE
        {
            error!(code = self.code, message = self.message, "request failed");
        }
        let mut response = (self.status, Json(self.body())).into_response();
        let headers = response.headers_mut();
        if self.is_transient() {
            headers.insert(RETRY_AFTER, whole_seconds(self.retry_after.unwrap_or(TRY_AGAIN)).into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(ErrorCode(self.code));
        response
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_query", rejection.body_text())
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_path", rejection.body_text())
    }
}

impl From<KeyError> for ApiError {
    fn from(error: KeyError) -> Self {
        let status = match &error {
            KeyError::Missing | KeyError::Unknown => StatusCode::UNAUTHORIZED,
            KeyError::TooManySessions { .. } => StatusCode::TOO_MANY_REQUESTS,
        };
        Self::new(status, error.code(), error.to_string())
    }
}

impl From<UnknownModel> for ApiError {
    fn from(error: UnknownModel) -> Self {
        Self::new(StatusCode::NOT_FOUND, error.code(), error.to_string()).about(Some("model"))
    }
}

impl From<RequestError> for ApiError {
    fn from(error: RequestError) -> Self {
        let status = match &error {
            RequestError::InvalidValue { .. }
            | RequestError::Unsupported { .. }
            | RequestError::Language { .. } => StatusCode::BAD_REQUEST,
            RequestError::Model(_) => StatusCode::NOT_FOUND,
        };
        Self::new(status, error.code(), error.to_string()).about(Some(error.param()))
    }
}

impl From<UploadError> for ApiError {
    fn from(error: UploadError) -> Self {
        let (status, param) = match &error {
            UploadError::Form(FormError::NotAForm(_)) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, None),
            UploadError::Form(
                FormError::HeadTooLong | FormError::NoName | FormError::BadDelimiter | FormError::Incomplete,
            )
            | UploadError::NotText(_)
            | UploadError::BrokenOff(_) => (StatusCode::BAD_REQUEST, None),
            UploadError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, Some("file")),
            UploadError::FieldsTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, None),
            UploadError::NoFile | UploadError::SeveralFiles => (StatusCode::BAD_REQUEST, Some("file")),
            UploadError::Stalled(_) | UploadError::TooSlow => (StatusCode::REQUEST_TIMEOUT, None),
            UploadError::Storage(error) => (storage_status(error), None),
        };
        Self::new(status, error.code(), error.to_string()).about(param)
    }
}

fn storage_status(error: &io::Error) -> StatusCode {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StatusCode::INSUFFICIENT_STORAGE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<AudioError> for ApiError {
    fn from(error: AudioError) -> Self {
        let status = match &error {
            AudioError::Empty
            | AudioError::UnknownFormat { .. }
            | AudioError::NoTrack { .. }
            | AudioError::Damaged { .. }
            | AudioError::NoSamples
            | AudioError::OddByteCount { .. }
            | AudioError::UnsupportedRate { .. } => StatusCode::BAD_REQUEST,
            AudioError::Encode(_) | AudioError::Read(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.code(), error.to_string()).about(Some("file"))
    }
}

impl From<AcquireError> for ApiError {
    fn from(error: AcquireError) -> Self {
        match &error {
            AcquireError::Saturated { .. }
            | AcquireError::DeadlineExceeded { .. }
            | AcquireError::Superseded
            | AcquireError::Draining => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, error.code(), error.to_string())
                    .retry_after(error.retry_after())
            }
        }
    }
}

impl From<AsrError> for ApiError {
    fn from(error: AsrError) -> Self {
        let status = match &error {
            AsrError::Load { .. } | AsrError::Decode(_) => StatusCode::INTERNAL_SERVER_ERROR,
            AsrError::Unsupported(_) => StatusCode::BAD_REQUEST,
            // Another slot, or this one once it is rebuilt, may well do it.
            AsrError::Open { .. }
            | AsrError::Overrun { .. }
            | AsrError::SlotLost(_)
            | AsrError::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
            AsrError::Acquire(error) => return error.clone().into(),
        };
        Self::new(status, error.code(), error.to_string())
    }
}

impl From<FrontendError> for ApiError {
    fn from(error: FrontendError) -> Self {
        let status = match &error {
            FrontendError::Vad(_) => StatusCode::INTERNAL_SERVER_ERROR,
            FrontendError::Stopped => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.code(), error.to_string())
    }
}

impl From<TtsError> for ApiError {
    fn from(error: TtsError) -> Self {
        let (status, param) = match &error {
            TtsError::VoiceUnknown { .. } => (StatusCode::BAD_REQUEST, Some("voice")),
            TtsError::Failed(_)
            | TtsError::ModelInvalid { .. }
            | TtsError::Runtime(_)
            | TtsError::Device(_)
            | TtsError::ProgramMissing { .. } => (StatusCode::INTERNAL_SERVER_ERROR, None),
            TtsError::NotInstalled(_) => (StatusCode::NOT_IMPLEMENTED, None),
            // The server behind us has too many clients, too.
            TtsError::Refused { status: 429 | 503, .. }
            | TtsError::Saturated { .. }
            | TtsError::Cancelled
            | TtsError::Closed => (StatusCode::SERVICE_UNAVAILABLE, None),
            TtsError::Unreachable(_) | TtsError::Refused { .. } => (StatusCode::BAD_GATEWAY, None),
            TtsError::Timeout { .. } => (StatusCode::GATEWAY_TIMEOUT, None),
        };
        Self::new(status, error.code(), error.to_string()).about(param)
    }
}

impl From<RecordingError> for ApiError {
    fn from(error: RecordingError) -> Self {
        match error {
            RecordingError::Audio(error) => error.into(),
            RecordingError::Frontend(error) => error.into(),
            RecordingError::Asr(error) => error.into(),
            RecordingError::Defect(_) => Self::panicked(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Status, code and parameter of an error.
    fn answer(error: impl Into<ApiError>) -> (u16, &'static str, Option<&'static str>) {
        let error = error.into();
        (error.status.as_u16(), error.code, error.param)
    }

    #[test]
    fn the_body_has_the_shape_of_openai() {
        let error = ApiError::from(UnknownModel { name: "x".into(), known: vec!["demo".into()] });
        insta::assert_snapshot!(
            error.body(),
            @r#"{"error":{"code":"model_not_found","message":"unknown model \"x\"; known are demo","param":"model","type":"invalid_request_error"}}"#
        );
    }

    #[test]
    fn each_error_gets_the_status_that_says_whose_turn_it_is() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let seconds = Duration::from_secs(30);
        let cases = [
            (answer(AudioError::Empty), (400, "audio_empty", Some("file"))),
            (answer(FormError::NotAForm(String::new())), (415, "form_expected", None)),
            (answer(FormError::Incomplete), (400, "form_damaged", None)),
            (answer(UploadError::TooLarge { limit: 1 }), (413, "upload_too_large", Some("file"))),
            (answer(UploadError::NoFile), (400, "file_missing", Some("file"))),
            (answer(UploadError::Stalled(seconds)), (408, "upload_stalled", None)),
            (answer(UploadError::Storage(full)), (507, "upload_storage_failed", None)),
            (answer(KeyError::Missing), (401, "api_key_missing", None)),
            (answer(KeyError::Unknown), (401, "invalid_api_key", None)),
            (answer(AsrError::Decode(String::new())), (500, "decode_failed", None)),
            (answer(AsrError::Unsupported(String::new())), (400, "decode_unsupported", None)),
            (answer(AsrError::Overrun { limit: seconds }), (503, "decode_overrun", None)),
            (answer(AsrError::SlotLost(String::new())), (503, "slot_lost", None)),
            (answer(FrontendError::Stopped), (503, "frontend_stopped", None)),
        ];
        for (got, expected) in cases {
            assert_eq!(got, expected);
        }
    }

    #[test]
    fn whoever_is_refused_for_want_of_a_slot_comes_back_when_there_will_be_one() {
        let full = |retry_after| AcquireError::Saturated { queued: 2, limit: 2, retry_after };
        let late =
            |retry_after| AcquireError::DeadlineExceeded { waited: Duration::from_secs(30), retry_after };
        let ms = |ms| Some(Duration::from_millis(ms));
        let cases = [
            (full(ms(0)), "1"),
            (full(ms(999)), "1"),
            (full(ms(1_001)), "2"),
            (full(None), "5"),
            (late(ms(61_000)), "61"),
            (late(None), "5"),
            (AcquireError::Draining, "5"),
        ];
        for (error, expected) in cases {
            let at_the_door = ApiError::from(error.clone()).into_response();
            let inside = ApiError::from(RecordingError::from(AsrError::from(error.clone()))).into_response();
            for response in [at_the_door, inside] {
                assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{error:?}");
                assert_eq!(response.headers()[RETRY_AFTER], expected, "{error:?}");
            }
        }
    }

    #[test]
    fn a_full_pool_and_a_caller_at_its_limit_say_when_to_come_back() {
        let limit = KeyError::TooManySessions { name: "ann".into(), limit: 1 };
        let full = RecordingError::from(AsrError::from(AcquireError::Saturated {
            queued: 2,
            limit: 2,
            retry_after: None,
        }));
        for (error, status) in [(ApiError::from(limit), 429), (ApiError::from(full), 503)] {
            let response = error.into_response();
            assert_eq!(response.status().as_u16(), status);
            assert_eq!(response.headers()[RETRY_AFTER], "5");
        }
    }

    #[test]
    fn a_clients_mistake_does_not_tell_it_to_try_again() {
        let response = ApiError::from(AudioError::Empty).into_response();
        assert!(!response.headers().contains_key(RETRY_AFTER));
    }

    impl From<FormError> for ApiError {
        fn from(error: FormError) -> Self {
            UploadError::from(error).into()
        }
    }
}
