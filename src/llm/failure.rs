//! What a failure before the first token means: for the request, and for the endpoint. Pure.

use super::breaker::Verdict;
use super::{LlmError, LlmSettings};
use std::time::Duration;

/// The longest rest that an endpoint is given: one that asks for more is tried again after this.
const LONGEST_REST: Duration = Duration::from_secs(3_600);

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask the same endpoint again, after a pause.
    Again(Duration),
    /// Ask the next endpoint.
    Elsewhere,
}

/// What to do after an endpoint was asked `asked` times, from 1, and failed like this.
///
/// What would fail the same way again is not asked again: a wrong key, a bad request, an endpoint that is no model. Nor
/// is one that took all the time there is for a first token.
pub(super) fn next(error: &LlmError, asked: u32, settings: &LlmSettings) -> Next {
    if asked > settings.retries || !may_pass(error) {
        return Next::Elsewhere;
    }
    let backoff = settings.backoff.saturating_mul(1 << (asked - 1).min(16));
    match retry_after(error) {
        Some(wait) if wait > settings.patience => Next::Elsewhere,
        Some(wait) => Next::Again(wait.max(backoff)),
        None => Next::Again(backoff),
    }
}

/// What the failure says about the endpoint. One that answers that it does not want this is at work; one that wants to
/// be left alone for longer than the client has patience for is.
pub(super) fn verdict(error: &LlmError, patience: Duration) -> Verdict {
    match (error, retry_after(error)) {
        (_, Some(wait)) if wait > patience => Verdict::Rest(wait.min(LONGEST_REST)),
        (LlmError::Unauthorized { .. }, _) => Verdict::Served,
        (LlmError::Refused { status, .. }, _) if *status < 500 => Verdict::Served,
        // Many servers answer so to what one client has put in: tools that their template lacks, a schema they cannot read, too
        // long a context. The others shall not go without for it.
        // Nor is a long reply that ran out of time the endpoint's failure.
        (LlmError::Refused { status: 500 | 501, .. } | LlmError::Timeout { .. }, _) => Verdict::Unknown,
        _ => Verdict::Failed,
    }
}

/// Whether the same endpoint may well reply to the same request, a little later.
fn may_pass(error: &LlmError) -> bool {
    match error {
        LlmError::Unreachable { .. }
        | LlmError::RateLimited { .. }
        | LlmError::CutOff { .. }
        | LlmError::Failed { .. } => true,
        LlmError::Refused { status, .. } => *status >= 500 || *status == 408,
        _ => false,
    }
}

fn retry_after(error: &LlmError) -> Option<Duration> {
    match error {
        LlmError::RateLimited { retry_after, .. } | LlmError::Refused { retry_after, .. } => *retry_after,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Endpoint;
    use super::*;

    fn settings() -> LlmSettings {
        let endpoint = Endpoint::new("http://llm/v1", "small", None).unwrap();
        LlmSettings { retries: 2, backoff: Duration::from_millis(100), ..LlmSettings::new(endpoint) }
    }

    fn refused(status: u16, retry_after: Option<u64>) -> LlmError {
        let retry_after = retry_after.map(Duration::from_secs);
        LlmError::Refused { endpoint: String::new(), status, retry_after, message: String::new() }
    }

    fn limited(retry_after: Option<u64>) -> LlmError {
        LlmError::RateLimited { endpoint: String::new(), retry_after: retry_after.map(Duration::from_secs) }
    }

    fn unauthorized() -> LlmError {
        LlmError::Unauthorized { endpoint: String::new(), status: 401, message: String::new() }
    }

    #[test]
    fn only_what_may_pass_is_asked_again_and_with_growing_pauses() {
        let garbage = LlmError::Garbage { endpoint: String::new(), reason: String::new() };
        let again = |ms| Next::Again(Duration::from_millis(ms));
        for (error, asked, expected) in [
            (refused(500, None), 1, again(100)),
            (refused(500, None), 2, again(200)),
            (refused(500, None), 3, Next::Elsewhere),
            (refused(503, Some(1)), 1, again(1_000)),
            (refused(503, Some(60)), 1, Next::Elsewhere),
            (limited(None), 1, again(100)),
            (limited(Some(2)), 1, again(2_000)),
            (limited(Some(3)), 1, Next::Elsewhere),
            (refused(400, None), 1, Next::Elsewhere),
            (refused(404, None), 1, Next::Elsewhere),
            (unauthorized(), 1, Next::Elsewhere),
            (garbage, 1, Next::Elsewhere),
        ] {
            assert_eq!(next(&error, asked, &settings()), expected, "{error} ({asked})");
        }
    }

    #[test]
    fn an_endpoint_that_says_no_is_at_work_and_one_that_asks_for_rest_gets_it() {
        let second = Duration::from_secs(1);
        for (error, expected) in [
            (unauthorized(), Verdict::Served),
            (refused(404, None), Verdict::Served),
            (refused(500, None), Verdict::Unknown),
            (refused(502, None), Verdict::Failed),
            (refused(503, Some(60)), Verdict::Rest(60 * second)),
            (limited(None), Verdict::Failed),
            (limited(Some(1)), Verdict::Failed),
            (limited(Some(40)), Verdict::Rest(40 * second)),
            (limited(Some(u64::MAX)), Verdict::Rest(3_600 * second)),
            (LlmError::Timeout { limit: second, detail: String::new() }, Verdict::Unknown),
            (LlmError::Stalled { endpoint: String::new(), limit: second }, Verdict::Failed),
        ] {
            assert_eq!(verdict(&error, settings().patience), expected, "{error}");
        }
    }
}
