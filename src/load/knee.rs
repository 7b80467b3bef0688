//! How many people a server holds: load after load, until the texts come too late or something fails.
//!
//! [`Climb`] says which load is next, [`Curve`] keeps what each of them showed, and [`find_knee`] goes from one to the
//! next. How a load is run is somebody else's business: it is handed in.

mod climb;
mod curve;
#[cfg(test)]
pub(super) mod curves;
mod settle;
#[cfg(test)]
mod tests;

pub use climb::Climb;
pub(super) use curve::{COLUMNS, cpu_percent};
pub use curve::{Curve, Ended, Verdict};
pub use settle::settled;

use super::protocol::ConnectError;
use super::report::LoadReport;
use super::run::LoadError;
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How many seconds to wait before each next try of a load that the server is too full to let in: ten in all.
const AGAIN: [u64; 4] = [1, 2, 3, 4];

/// Between which loads to look, and for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KneeSettings {
    /// The number of people to begin with.
    pub first: u32,
    /// The most to try.
    pub most: u32,
    /// The 95th percentile of the final latency may not be over this.
    pub limit: Duration,
}

/// Tries loads until the knee is known, every number has passed, the generator is the limit, a load cannot be run, or
/// `stop` is cancelled. What was measured until then is in the curve, whichever it was.
///
/// `run` drives so many people, and ends early when `stop` is cancelled. `settle` returns when the server has nothing
/// left to do from the load before, or has had its time for that ([`settled`](super::settled)). A load whose few texts
/// are late and nothing else is run once more before that is believed: it may have been one cold decode.
///
/// # Cancel safety
///
/// Dropping the future drops the load that is running, and the curve; cancel `stop` to keep it.
pub async fn find_knee(
    settings: &KneeSettings,
    run: impl AsyncFn(u32) -> Result<LoadReport, LoadError>,
    settle: impl AsyncFn(),
    stop: &CancellationToken,
) -> Curve {
    let mut climb = Climb::new(settings.first, settings.most);
    let mut curve = Curve::new(settings.limit);
    let steps = Steps { run, settle, stop };
    while let Some(n) = climb.next() {
        if stop.is_cancelled() {
            return curve.end(Ended::Stopped, &climb);
        }
        let report = match steps.believable(n, &curve).await {
            Ok(report) => report,
            Err(error) => return curve.end(Ended::Broke { people: n, error: error.to_string() }, &climb),
        };
        match curve.add(report) {
            Verdict::Passed | Verdict::Unsaid => climb.passed(n),
            Verdict::Failed(_) => climb.failed(n),
            Verdict::Unpublished(why) => return curve.end(Ended::GeneratorLate { people: n, why }, &climb),
            Verdict::Interrupted => return curve.end(Ended::Stopped, &climb),
        }
    }
    let ended = if climb.is_bounded() { Ended::Found } else { Ended::AllPassed };
    curve.end(ended, &climb)
}

/// How loads are run.
struct Steps<'a, R, S> {
    run: R,
    settle: S,
    stop: &'a CancellationToken,
}

impl<R: AsyncFn(u32) -> Result<LoadReport, LoadError>, S: AsyncFn()> Steps<'_, R, S> {
    /// The report of a load, or of its repetition where the first one may be bad luck.
    async fn believable(&self, n: u32, curve: &Curve) -> Result<LoadReport, LoadError> {
        let report = self.patiently(n).await?;
        if curve.may_be_bad_luck(&report) && !self.stop.is_cancelled() {
            return self.patiently(n).await;
        }
        Ok(report)
    }

    /// Runs a load once the server is done with the one before. One that stays too full for the first person fails.
    async fn patiently(&self, n: u32) -> Result<LoadReport, LoadError> {
        self.stop.run_until_cancelled((self.settle)()).await;
        for pause in AGAIN.map(Duration::from_secs) {
            match (self.run)(n).await {
                Err(LoadError::Connect(ConnectError::Rejected { .. })) => {}
                result => return result,
            }
            if self.stop.run_until_cancelled(sleep(pause)).await.is_none() {
                return Ok(LoadReport { clients: n, interrupted: true, ..LoadReport::default() });
            }
        }
        match (self.run)(n).await {
            Err(LoadError::Connect(ConnectError::Rejected { .. })) => {
                Ok(LoadReport { clients: n, rejected: 1, ..LoadReport::default() })
            }
            result => result,
        }
    }
}
