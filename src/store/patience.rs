//! Whether a download is tried once more, and after which pause. Pure.

use super::{DownloadSettings, StoreError};
use std::time::Duration;

/// The longest pause a server may ask us to make.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// Decides whether to try once more, and when.
#[derive(Debug)]
pub(super) struct Patience {
    attempts: u32,
    backoff: Duration,
    failures: u32,
    /// The most bytes there ever were. A server that breaks off and then ignores `Range` brings no new ones.
    most: u64,
    /// Whether any server has answered.
    answered: bool,
}

impl Patience {
    pub(super) fn new(settings: &DownloadSettings, len: u64) -> Self {
        Self {
            attempts: settings.attempts,
            backoff: settings.backoff,
            failures: 0,
            most: len,
            answered: false,
        }
    }

    /// The pause after `cause` with `len` bytes here; `None` to give up.
    pub(super) fn after(&mut self, cause: &StoreError, len: u64) -> Option<Duration> {
        if len > self.most {
            self.most = len;
            self.failures = 0;
        }
        let asked = match cause {
            StoreError::Interrupted { .. } => Duration::ZERO,
            StoreError::Refused { status: 408 | 429 | 500..=599, retry_after, .. } => {
                retry_after.unwrap_or_default()
            }
            StoreError::Offline { .. } if self.answered => Duration::ZERO,
            _ => return None,
        };
        self.answered = true;
        self.failures += 1;
        let backoff = self.backoff.saturating_mul(1 << (self.failures - 1).min(16));
        (self.failures < self.attempts).then(|| backoff.max(asked).min(LONGEST_PAUSE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patience() -> Patience {
        Patience::new(&DownloadSettings::default(), 0)
    }

    fn broken() -> StoreError {
        StoreError::Interrupted { file: "x".into(), received: 0, reason: "reset".into() }
    }

    fn offline() -> StoreError {
        StoreError::Offline { host: "h".into(), reason: "refused".into(), file: "x".into() }
    }

    fn status(status: u16, retry_after: Option<u64>) -> StoreError {
        StoreError::Refused { url: "u".into(), status, retry_after: retry_after.map(Duration::from_secs) }
    }

    #[test]
    fn pauses_double_until_patience_ends() {
        let mut patience = patience();
        let pauses: Vec<_> =
            std::iter::from_fn(|| patience.after(&broken(), 0)).map(|pause| pause.as_millis()).collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000]);
    }

    #[test]
    fn new_bytes_restore_patience_and_the_same_bytes_do_not() {
        let mut patience = patience();
        for len in 1..100 {
            assert_eq!(patience.after(&broken(), len), Some(Duration::from_millis(500)));
        }
        assert_eq!(patience.after(&broken(), 50), Some(Duration::from_secs(1)));
    }

    #[test]
    fn being_offline_is_final_unless_the_server_was_there_before() {
        assert_eq!(patience().after(&offline(), 0), None);
        let mut patience = patience();
        patience.after(&broken(), 10);
        assert!(patience.after(&offline(), 10).is_some());
    }

    #[test]
    fn only_statuses_that_may_pass_are_tried_again() {
        assert_eq!(patience().after(&status(404, None), 0), None);
        assert_eq!(patience().after(&status(503, Some(7)), 0), Some(Duration::from_secs(7)));
        assert_eq!(patience().after(&status(429, Some(9999)), 0), Some(LONGEST_PAUSE));
    }
}
