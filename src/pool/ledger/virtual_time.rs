//! Time as a class's clock counts it. Integers only, so that tags never drift.

use crate::pool::{Cost, Weight};

/// A moment on a class's clock, in nanoseconds of slot time for one unit of weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct VirtualTime(u128);

impl VirtualTime {
    /// When work of `cost` that starts now is finished, for a flow of `weight`.
    pub(super) fn after(self, cost: Cost, weight: Weight) -> Self {
        Self(self.0.saturating_add(span(cost, weight)))
    }

    /// The finish of work that turned out to cost `truth` and not `estimate`.
    pub(super) fn corrected(self, estimate: Cost, truth: Cost, weight: Weight) -> Self {
        Self(self.after(truth, weight).0.saturating_sub(span(estimate, weight)))
    }
}

/// Never zero: even work that costs nothing takes its turn and then lets others pass.
fn span(cost: Cost, weight: Weight) -> u128 {
    cost.0.as_nanos().div_ceil(u128::from(weight.get())).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn weight_slows_a_flows_clock_and_truth_replaces_the_estimate_without_a_trace() {
        let [light, heavy] = [1, 1000].map(|weight| Weight::new(weight).expect("in range"));
        let [second, third] = [1_000_000_000, 333_333_333].map(|nanos| Cost(Duration::from_nanos(nanos)));
        let start = VirtualTime(7);
        assert_eq!(start.after(second, light), VirtualTime(1_000_000_007));
        assert_eq!(start.after(second, heavy), VirtualTime(1_000_007));
        assert_eq!(start.after(third, heavy).corrected(third, second, heavy), start.after(second, heavy));
        assert!(start.after(Cost::default(), heavy) > start);
    }
}
