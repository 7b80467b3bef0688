//! Waits for what may never come: a moment, or the end of a reading.

use crate::asr::AsrError;
use std::future::pending;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

/// A reading that goes on by itself, until this is dropped.
pub(super) type Task<T> = AbortOnDropHandle<Result<T, AsrError>>;

/// Waits for a moment; for ever when there is none.
pub(crate) async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
    }
}

/// Waits for the end of a reading; for ever when there is none.
///
/// # Cancel safety
///
/// Dropping this future loses nothing.
pub(super) async fn ended<T>(task: Option<&mut Task<T>>) -> Result<T, AsrError> {
    let panicked = |_| Err(AsrError::Decode("the transcription task panicked".into()));
    match task {
        Some(task) => task.await.unwrap_or_else(panicked),
        None => pending().await,
    }
}
