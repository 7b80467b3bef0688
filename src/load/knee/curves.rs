//! Curves for tests.

use super::super::report::{LoadReport, Quantiles};
use super::{Climb, Curve, Ended, Verdict};
use std::time::Duration;

/// A load of `n` people in which all is well but, maybe, the latency.
pub(in super::super) fn point(n: u32, p95: f64) -> LoadReport {
    let quantiles = Quantiles { p50: p95 / 2.0, p95, p99: p95 * 1.5, max: p95 * 2.0 };
    LoadReport {
        clients: n,
        duration_s: 60.0,
        turns: 100,
        final_latency_ms: Some(quantiles),
        queue_wait_ms: Some(quantiles),
        ..LoadReport::default()
    }
}

/// A curve of these loads, found to its end.
pub(in super::super) fn curve(points: Vec<LoadReport>) -> Curve {
    let (mut curve, mut climb) = (Curve::new(Duration::from_secs(1)), Climb::new(1, 1_000));
    for point in points {
        let n = point.clients;
        if curve.add(point) == Verdict::Passed { climb.passed(n) } else { climb.failed(n) }
    }
    curve.end(Ended::Found, &climb)
}
