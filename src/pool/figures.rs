//! Figures that describe many values by one.

use std::time::Duration;

/// Jain's index of fairness: 1 when all got the same, 1/n when one got all; `None` when nobody got anything.
///
/// Jain, Chiu, Hawe: A Quantitative Measure of Fairness, DEC-TR-301, 1984.
pub fn jain(shares: &[f64]) -> Option<f64> {
    let (sum, squares) = shares.iter().fold((0.0, 0.0), |(sum, squares), x| (sum + x, squares + x * x));
    (squares > 0.0).then(|| sum * sum / (shares.len() as f64 * squares))
}

/// The smallest of `sorted` that so many percent of them do not exceed, so one that was measured; `None` of none.
pub fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jains_index_is_one_for_equals_and_one_nth_for_a_winner_who_takes_all() {
        let cases: [(&[f64], Option<f64>); 5] = [
            (&[2.0; 4], Some(1.0)),
            (&[0.0, 0.0, 0.0, 7.0], Some(0.25)),
            (&[1.0, 3.0], Some(0.8)),
            (&[0.0; 3], None),
            (&[], None),
        ];
        for (shares, expected) in cases {
            let thousandths = |index: f64| (index * 1_000.0).round() as u32;
            assert_eq!(jain(shares).map(thousandths), expected.map(thousandths), "{shares:?}");
        }
    }

    #[test]
    fn a_percentile_is_a_value_that_was_measured() {
        let second = Duration::from_secs(1);
        let sorted: Vec<_> = (1..=20).map(|n| second * n).collect();
        let cases = [(0, 1), (50, 10), (51, 11), (95, 19), (96, 20), (100, 20)];
        for (percent, expected) in cases {
            assert_eq!(percentile(&sorted, percent), Some(second * expected), "{percent} %");
        }
        assert_eq!(percentile(&[], 50), None);
    }
}
