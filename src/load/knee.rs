//! How many people a server holds: load after load, until the texts come too late or something fails.
//!
//! [`Climb`] says which load is next, [`Curve`] keeps what each of them showed, and [`find_knee`] goes from one to the
//! next. How a load is run is somebody else's business: it is handed in.

mod climb;
mod curve;
#[cfg(test)]
pub(super) mod curves;

pub use climb::Climb;
pub(super) use curve::{COLUMNS, cpu_percent};
pub use curve::{Curve, Ended, Verdict};

use super::report::Report;
use std::fmt;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

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
/// `run` drives so many people, and ends early when `stop` is cancelled.
///
/// # Cancel safety
///
/// Dropping the future drops the load that is running, and the curve; cancel `stop` to keep it.
pub async fn find_knee<E: fmt::Display>(
    settings: &KneeSettings,
    run: impl AsyncFn(u32) -> Result<Report, E>,
    stop: &CancellationToken,
) -> Curve {
    let mut climb = Climb::new(settings.first, settings.most);
    let mut curve = Curve::new(settings.limit);
    while let Some(n) = climb.next() {
        if stop.is_cancelled() {
            return curve.end(Ended::Stopped, &climb);
        }
        let report = match run(n).await {
            Ok(report) => report,
            Err(error) => return curve.end(Ended::Broke { people: n, error: error.to_string() }, &climb),
        };
        match curve.add(report) {
            Verdict::Passed => climb.passed(n),
            Verdict::Failed(_) => climb.failed(n),
            Verdict::Unpublished(why) => return curve.end(Ended::GeneratorLate { people: n, why }, &climb),
            Verdict::Interrupted => return curve.end(Ended::Stopped, &climb),
        }
    }
    let ended = if climb.is_bounded() { Ended::Found } else { Ended::AllPassed };
    curve.end(ended, &climb)
}

#[cfg(test)]
mod tests {
    use super::curves::point;
    use super::*;
    use std::sync::Mutex;

    const SETTINGS: KneeSettings = KneeSettings { first: 4, most: 64, limit: Duration::from_secs(1) };

    /// A server whose p95 is 50 ms for each of its people.
    async fn slows_down(n: u32) -> Result<Report, String> {
        Ok(point(n, f64::from(n) * 50.0))
    }

    fn tried(curve: &Curve) -> Vec<u32> {
        curve.points.iter().map(|point| point.clients).collect()
    }

    #[tokio::test]
    async fn the_knee_is_the_most_people_whose_texts_come_in_time() {
        let curve = find_knee(&SETTINGS, slows_down, &CancellationToken::new()).await;
        assert_eq!((curve.knee, curve.good, &curve.ended), (Some(20), Some(20), &Ended::Found));
        assert_eq!(tried(&curve), [4, 8, 16, 20, 21, 22, 24, 32], "in order of their number");
    }

    #[tokio::test]
    async fn a_server_that_holds_everybody_has_no_knee_yet() {
        let settings = KneeSettings { most: 10, ..SETTINGS };
        let curve = find_knee(&settings, slows_down, &CancellationToken::new()).await;
        assert_eq!((curve.knee, curve.good, &curve.ended), (None, Some(10), &Ended::AllPassed));
        assert_eq!(tried(&curve), [4, 8, 10]);
    }

    #[tokio::test]
    async fn an_error_is_as_bad_as_a_late_text() {
        let errs = async |n: u32| {
            let mut point = point(n, 10.0);
            if n > 5 {
                point.errors.insert("decode_failed".into(), 1);
            }
            Ok::<_, String>(point)
        };
        let curve = find_knee(&SETTINGS, errs, &CancellationToken::new()).await;
        assert_eq!((curve.knee, &curve.ended), (Some(5), &Ended::Found));
    }

    #[tokio::test]
    async fn a_generator_that_is_late_ends_the_curve_and_is_no_knee() {
        let late = async |n: u32| {
            let mut point = point(n, 10.0);
            if n > 8 {
                point.unpublished = Some("the generator was 31 ms late".into());
                point.final_latency_ms = None;
            }
            Ok::<_, String>(point)
        };
        let curve = find_knee(&SETTINGS, late, &CancellationToken::new()).await;
        let why = "the generator was 31 ms late".into();
        assert_eq!((curve.knee, curve.good), (None, Some(8)));
        assert_eq!(curve.ended, Ended::GeneratorLate { people: 16, why });
    }

    #[tokio::test]
    async fn what_was_measured_before_a_server_died_is_kept() {
        let dies = async |n: u32| if n < 16 { Ok(point(n, 10.0)) } else { Err("cannot reach it") };
        let curve = find_knee(&SETTINGS, dies, &CancellationToken::new()).await;
        assert_eq!((tried(&curve), curve.knee), (vec![4, 8], None));
        assert_eq!(curve.ended, Ended::Broke { people: 16, error: "cannot reach it".into() });
        assert!(curve.complaint().unwrap().contains("cannot reach it"));
    }

    #[tokio::test]
    async fn whoever_stops_it_keeps_the_curve_so_far() {
        let (stop, runs) = (CancellationToken::new(), Mutex::new(0));
        let stopping = async |n: u32| {
            *runs.lock().unwrap() += 1;
            stop.cancel();
            Ok::<_, String>(Report { interrupted: true, ..point(n, 10.0) })
        };
        let curve = find_knee(&SETTINGS, stopping, &stop).await;
        assert_eq!((tried(&curve), &curve.ended, curve.good), (vec![4], &Ended::Stopped, None));
        assert_eq!(find_knee(&SETTINGS, stopping, &stop).await.points, []);
        assert_eq!(*runs.lock().unwrap(), 1);
    }
}
