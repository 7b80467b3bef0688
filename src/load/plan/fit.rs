//! What of the decodes of several load tests is the recordings' doing and what is the crowds'. Pure.

use super::service::Point;

/// How often decodes are apportioned to recordings and crowds before both are taken to be right.
const ROUNDS: usize = 50;

/// What recordings cost, and by how much crowds slow them down.
pub(super) struct Fit {
    /// What each recording costs with the people of the first point, in milliseconds; 0 where nobody played it.
    pub(super) costs: Vec<f64>,
    /// How many times longer decodes take with the people of each point than with those of the first.
    pub(super) slowdowns: Vec<f64>,
}

impl Fit {
    /// Each recording costs what it costs, and each crowd slows all of them down alike, so both are fitted in turn.
    pub(super) fn of(points: &[Point]) -> Self {
        let clips = points[0].clips.len();
        let decoded = |point: &Point, clip: usize| -> f64 {
            point.clips[clip].takes.iter().flatten().map(|[_, _, decode_ms, _]| decode_ms).sum()
        };
        let plays = |point: &Point, clip: usize| point.clips[clip].takes.len() as f64;
        let mut fit = Self { costs: Vec::new(), slowdowns: vec![1.0; points.len()] };
        for _ in 0..ROUNDS {
            let cost = |clip: usize| {
                let played =
                    points.iter().zip(&fit.slowdowns).map(|(point, slow)| plays(point, clip) * slow).sum();
                part(points.iter().map(|point| decoded(point, clip)).sum(), played).unwrap_or(0.0)
            };
            fit.costs = (0..clips).map(cost).collect();
            let slowdown = |point: &Point| {
                let expected = (0..clips).map(|clip| plays(point, clip) * fit.costs[clip]).sum();
                part((0..clips).map(|clip| decoded(point, clip)).sum(), expected).unwrap_or(1.0)
            };
            let fitted: Vec<f64> = points.iter().map(slowdown).collect();
            fit.slowdowns = fitted.iter().map(|slow| part(*slow, fitted[0]).unwrap_or(1.0)).collect();
        }
        fit
    }
}

fn part(part: f64, whole: f64) -> Option<f64> {
    (part > 0.0 && whole > 0.0).then(|| part / whole)
}
