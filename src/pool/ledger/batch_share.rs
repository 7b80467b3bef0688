//! The guaranteed minimum of batch work: a deficit counter with bounded credit.

use crate::pool::Cost;

/// Earns batch work its share of what is granted while it waits.
///
/// Amounts are nanoseconds of slot time in percent: `percent × c` is earned for each grant of cost `c` that went past
/// waiting batch work, and `(100 − percent) × c` is paid for batch work of cost `c`. In the long run batch gets
/// `percent` of the whole.
#[derive(Debug, Clone, Default)]
pub(super) struct BatchShare {
    percent: u128,
    credit: u128,
    /// What was earned last: the most that can be left over when batch work is served as soon as it can pay.
    last: u128,
}

impl BatchShare {
    /// A share of `percent`, at most 50.
    pub(super) fn new(percent: u8) -> Self {
        Self { percent: u128::from(percent.min(50)), ..Self::default() }
    }

    /// Whether batch work of this cost goes before all others now.
    pub(super) fn is_due(&self, cost: Cost) -> bool {
        self.percent > 0 && self.credit >= self.price(cost)
    }

    /// Work of cost `granted` went first while batch work of cost `head` was next in its class.
    pub(super) fn pass_over(&mut self, granted: Cost, head: Cost) {
        self.last = self.percent.saturating_mul(granted.0.as_nanos());
        self.credit = self.credit.min(self.price(head)).saturating_add(self.last);
    }

    /// Batch work was granted. What is left is less than one grant's earnings, whatever was waiting before, so that no
    /// burst follows.
    pub(super) fn pay(&mut self, cost: Cost) {
        self.credit = self.credit.saturating_sub(self.price(cost)).min(self.last);
    }

    /// Nobody waits for batch work who could be served: nothing is saved up.
    pub(super) fn forfeit(&mut self) {
        self.credit = 0;
    }

    fn price(&self, cost: Cost) -> u128 {
        (100 - self.percent).saturating_mul(cost.0.as_nanos().max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Who is served when both always wait: `f` for others, `b` for batch.
    fn order(share: &mut BatchShare, costs: (u64, u64), grants: usize) -> String {
        let [other, batch] = [costs.0, costs.1].map(|seconds| Cost(Duration::from_secs(seconds)));
        let next = |_| {
            if share.is_due(batch) {
                share.pay(batch);
                'b'
            } else {
                share.pass_over(other, batch);
                'f'
            }
        };
        (0..grants).map(next).collect()
    }

    #[test]
    fn batch_gets_its_share_whatever_the_costs_are() {
        assert_eq!(order(&mut BatchShare::new(25), (1, 1), 8), "fffbfffb");
        assert_eq!(order(&mut BatchShare::new(50), (1, 3), 8), "fffbfffb");
        assert_eq!(order(&mut BatchShare::new(50), (3, 1), 8), "fbbbfbbb");
        assert_eq!(order(&mut BatchShare::new(0), (1, 1), 8), "ffffffff");
    }

    #[test]
    fn what_was_earned_for_large_work_does_not_pay_for_a_burst_of_small_work() {
        let mut share = BatchShare::new(10);
        assert_eq!(order(&mut share, (1, 1000), 8000), "f".repeat(8000));
        assert_eq!(order(&mut share, (1, 1), 20), format!("b{}b{}b", "f".repeat(8), "f".repeat(9)));
    }
}
