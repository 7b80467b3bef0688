//! Where an axis begins and ends, and which values are written at it. Pure.

/// About so many steps are written at an axis.
const STEPS: f64 = 5.0;

/// How an axis is divided.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scale {
    /// From zero, in steps that are no finer than this.
    Linear {
        /// The finest step.
        finest: f64,
    },
    /// In steps of 1, 2, 5, 10.
    Logarithmic,
}

impl Scale {
    /// The values to write at an axis that shows `values` (above zero where it is logarithmic): the first and the last
    /// of them are its ends.
    pub(super) fn ticks(self, values: impl Iterator<Item = f64>) -> Vec<f64> {
        let (least, most) =
            values.fold((f64::INFINITY, 0.0), |(least, most), value| (value.min(least), value.max(most)));
        match self {
            Self::Linear { finest } => linear(most, finest),
            Self::Logarithmic => logarithmic(least, most),
        }
    }
}

fn linear(most: f64, finest: f64) -> Vec<f64> {
    let step = round_up(most / STEPS).max(finest);
    let steps = (most / step).ceil().max(1.0) as u32;
    (0..=steps).map(|n| f64::from(n) * step).collect()
}

fn logarithmic(least: f64, most: f64) -> Vec<f64> {
    let least = least.min(most);
    // Begins below the least value, or at it.
    let mut decade = 10_f64.powf(least.log10().floor());
    let mut ticks = Vec::new();
    while ticks.last().is_none_or(|last| *last < most) || ticks.len() < 2 {
        for digit in [1.0, 2.0, 5.0] {
            let (tick, next) = (digit * decade, if digit > 4.0 { 10.0 } else { digit * 2.5 } * decade);
            let above = ticks.last().is_some_and(|last| *last >= most) && ticks.len() >= 2;
            if next > least && !above {
                ticks.push(tick);
            }
        }
        decade *= 10.0;
    }
    ticks
}

/// The next of 1, 2, 5, 10, 20, … that is no less than `value`.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 0.0;
    }
    let decade = 10_f64.powf(value.log10().floor());
    let digit = [1.0, 2.0, 5.0].into_iter().find(|digit| digit * decade >= value * 0.999_999);
    digit.unwrap_or(10.0) * decade
}

/// A value as it is written at an axis: without places that say nothing, thousands apart.
pub(super) fn written(value: f64) -> String {
    let decimals = usize::from(value.fract().abs() >= 1e-9);
    let text = format!("{value:.decimals$}");
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), ""), |(whole, rest)| (whole, rest));
    let mut apart = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            apart.push(',');
        }
        apart.push(digit);
    }
    if fraction.is_empty() { apart } else { format!("{apart}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(scale: Scale, values: &[f64]) -> Vec<String> {
        scale.ticks(values.iter().copied()).into_iter().map(written).collect()
    }

    #[test]
    fn a_linear_axis_begins_at_zero_and_has_round_steps() {
        let cases: [(f64, &[f64], &[&str]); 6] = [
            (1.0, &[32.0, 4.0], &["0", "10", "20", "30", "40"]),
            (1.0, &[3.0], &["0", "1", "2", "3"]),
            (1.0, &[0.0], &["0", "1"]),
            (1.0, &[], &["0", "1"]),
            (0.1, &[0.8], &["0", "0.2", "0.4", "0.6", "0.8"]),
            (1.0, &[4_900.0], &["0", "1,000", "2,000", "3,000", "4,000", "5,000"]),
        ];
        for (finest, values, expected) in cases {
            assert_eq!(ticks(Scale::Linear { finest }, values), expected, "{values:?}");
        }
    }

    #[test]
    fn a_logarithmic_axis_encloses_what_it_shows() {
        let cases: [(&[f64], &[&str]); 4] = [
            (&[90.0, 4_500.0], &["50", "100", "200", "500", "1,000", "2,000", "5,000"]),
            (&[100.0, 1_000.0], &["100", "200", "500", "1,000"]),
            (&[7.0], &["5", "10"]),
            (&[300.0, 300.0], &["200", "500"]),
        ];
        for (values, expected) in cases {
            assert_eq!(ticks(Scale::Logarithmic, values), expected, "{values:?}");
        }
    }
}
