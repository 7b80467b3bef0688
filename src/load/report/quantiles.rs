//! Many values, told by four of them.

use serde::{Deserialize, Serialize};

/// Values that were measured, in milliseconds to a tenth.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Quantiles {
    /// Half of them were no larger.
    pub p50: f64,
    /// 95 of 100 were no larger.
    pub p95: f64,
    /// 99 of 100 were no larger.
    pub p99: f64,
    /// None was larger.
    pub max: f64,
}

impl Quantiles {
    /// By nearest rank, so that each is a value that was measured; sorts `values`. `None` of none.
    pub fn of(values: &mut [f64]) -> Option<Self> {
        values.sort_unstable_by(f64::total_cmp);
        let at = |percent: usize| {
            let rank = (values.len() * percent).div_ceil(100).saturating_sub(1);
            values.get(rank).map(|value| rounded(*value, 1))
        };
        Some(Self { p50: at(50)?, p95: at(95)?, p99: at(99)?, max: at(100)? })
    }
}

/// With so many decimals.
pub(super) fn rounded(value: f64, decimals: i32) -> f64 {
    let scale = 10_f64.powi(decimals);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_measured_to_a_tenth() {
        let mut values: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        let expected = Quantiles { p50: 100.0, p95: 190.0, p99: 198.0, max: 200.0 };
        assert_eq!(Quantiles::of(&mut values), Some(expected));
        let one = Quantiles { p50: 1.3, p95: 1.3, p99: 1.3, max: 1.3 };
        assert_eq!(Quantiles::of(&mut [1.26]), Some(one));
        assert_eq!(Quantiles::of(&mut []), None);
    }
}
