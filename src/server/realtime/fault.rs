//! What is wrong with a client's event, or with us, as an `error` event says it.

use serde::Serialize;

/// Whose fault it is, in OpenAI's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FaultKind {
    InvalidRequestError,
    ServerError,
}

/// The body of an `error` event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Fault {
    #[serde(rename = "type")]
    pub(super) kind: FaultKind,
    pub(super) code: &'static str,
    pub(super) message: String,
    /// The field that is wrong, with its path.
    pub(super) param: Option<String>,
    /// The client's own name for the event that is wrong.
    pub(super) event_id: Option<String>,
}

impl Fault {
    /// The client's fault.
    pub(super) fn invalid(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind: FaultKind::InvalidRequestError,
            code,
            message: message.into(),
            param: None,
            event_id: None,
        }
    }

    /// Our fault.
    pub(super) fn server(code: &'static str, message: impl Into<String>) -> Self {
        Self { kind: FaultKind::ServerError, ..Self::invalid(code, message) }
    }

    /// In which field.
    pub(super) fn in_param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// In answer to which event.
    pub(super) fn answering(mut self, event_id: Option<String>) -> Self {
        self.event_id = event_id;
        self
    }
}
