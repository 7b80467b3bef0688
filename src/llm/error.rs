//! Why there is no reply, or no more of it.
//!
//! Messages name the endpoint and say numbers and cause. They never hold a key, and nothing of the conversation: what an
//! endpoint says when it refuses is told on in short, without the data in it.

use std::time::Duration;

/// Why there is no reply, or no more of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LlmError {
    /// Nobody answers there.
    #[error("the language model at {endpoint} cannot be reached: {reason}")]
    Unreachable {
        /// Which.
        endpoint: String,
        /// What the system said.
        reason: String,
    },
    /// The key is missing, wrong, or not for this.
    #[error("the language model at {endpoint} does not accept the key (status {status}): {message}")]
    Unauthorized {
        /// Which.
        endpoint: String,
        /// 401 or 403.
        status: u16,
        /// What it said, shortened.
        message: String,
    },
    /// Too much was asked of the endpoint.
    #[error("the language model at {endpoint} takes no more requests{}", after(*retry_after))]
    RateLimited {
        /// Which.
        endpoint: String,
        /// When it wants to be asked again, if it said so.
        retry_after: Option<Duration>,
    },
    /// The endpoint answers with another status than 200.
    #[error("the language model at {endpoint} answered with status {status}: {message}")]
    Refused {
        /// Which.
        endpoint: String,
        /// The status.
        status: u16,
        /// When it wants to be asked again, if it said so.
        retry_after: Option<Duration>,
        /// What it said, shortened.
        message: String,
    },
    /// The endpoint took the request and did not begin to reply.
    #[error("the language model at {endpoint} did not begin to reply within {limit:.1?}")]
    FirstTokenTimeout {
        /// Which.
        endpoint: String,
        /// How long it had.
        limit: Duration,
    },
    /// The reply took longer than replies may.
    #[error("there was no whole reply within {limit:.1?}: {detail}")]
    Timeout {
        /// How long there was.
        limit: Duration,
        /// What took so long.
        detail: String,
    },
    /// The endpoint fell silent within a reply.
    #[error("the language model at {endpoint} fell silent for {limit:.1?} within its reply")]
    Stalled {
        /// Which.
        endpoint: String,
        /// For how long it may.
        limit: Duration,
    },
    /// The connection ended within a reply.
    #[error("the language model at {endpoint} was cut off within its reply: {reason}")]
    CutOff {
        /// Which.
        endpoint: String,
        /// How it ended.
        reason: String,
    },
    /// What came back is no chat completion.
    #[error("the language model at {endpoint} sent something else than a reply: {reason}")]
    Garbage {
        /// Which.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The endpoint says, within a reply, that it failed.
    #[error("the language model at {endpoint} failed within its reply: {message}")]
    Failed {
        /// Which.
        endpoint: String,
        /// What it said, shortened.
        message: String,
    },
    /// No endpoint is asked for now, because all of them failed again and again.
    #[error("no language model is asked for another {retry_in:.1?}, after failures: {cause}")]
    Unavailable {
        /// When one is tried again.
        retry_in: Duration,
        /// What the last failure was.
        cause: String,
    },
    /// Too many wait for a reply.
    #[error("too many wait for the language model: {waiting} (limit {limit})")]
    Saturated {
        /// Those who wait.
        waiting: usize,
        /// How many may.
        limit: usize,
    },
    /// An endpoint is set to something that cannot be one.
    #[error("{url} cannot be a language model's endpoint: {reason}")]
    BadEndpoint {
        /// What was set, without a name or password in it.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The HTTP client cannot be made.
    #[error("the client for language models cannot be made: {0}")]
    Client(String),
}

impl LlmError {
    /// The stable name of this error on the wire, in logs and in metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "llm_unreachable",
            Self::Unauthorized { .. } => "llm_unauthorized",
            Self::RateLimited { .. } => "llm_rate_limited",
            Self::Refused { .. } => "llm_refused",
            Self::FirstTokenTimeout { .. } => "llm_first_token_timeout",
            Self::Timeout { .. } => "llm_timeout",
            Self::Stalled { .. } => "llm_stalled",
            Self::CutOff { .. } => "llm_cut_off",
            Self::Garbage { .. } => "llm_garbage",
            Self::Failed { .. } => "llm_failed",
            Self::Unavailable { .. } => "llm_unavailable",
            Self::Saturated { .. } => "llm_saturated",
            Self::BadEndpoint { .. } => "llm_bad_endpoint",
            Self::Client(_) => "llm_client_unusable",
        }
    }
}

fn after(retry_after: Option<Duration>) -> String {
    retry_after.map_or_else(String::new, |wait| format!(" for another {wait:.1?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_limit_says_for_how_long_where_that_is_known() {
        let limited =
            |retry_after| LlmError::RateLimited { endpoint: "http://llm/v1".into(), retry_after }.to_string();
        assert_eq!(limited(None), "the language model at http://llm/v1 takes no more requests");
        assert_eq!(
            limited(Some(Duration::from_secs(40))),
            "the language model at http://llm/v1 takes no more requests for another 40.0s"
        );
    }
}
