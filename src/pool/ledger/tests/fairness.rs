//! Backlogged flows share in proportion to weight, within the bound of start-time fair queueing.

use super::*;
use proptest::prelude::*;

/// A flow that always has tickets waiting.
#[derive(Debug, Clone)]
struct Backlogged {
    weight: u32,
    /// How many wait at any time.
    depth: usize,
    /// What its tickets really cost, in turn, in ms.
    costs: Vec<u64>,
    /// What they are estimated at in percent of that, in turn.
    estimates: Vec<u64>,
}

/// What is wrong with the ledger that is looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// All flows are one to it, which serves them in order of arrival.
    FirstComeFirstServed,
    WeightsIgnored,
    /// Truth never replaces the estimate.
    TruthIgnored,
}

/// The world around the ledger: who runs, for how long, and what was granted.
struct Play<'a> {
    flows: &'a [Backlogged],
    fault: Fault,
    ledger: Ledger,
    owners: Vec<(usize, u64)>,
    running: Vec<(Grant, usize, u64)>,
    /// The largest error in flight that any flow had, in ms for a unit of weight.
    error: f64,
}

impl<'a> Play<'a> {
    fn new(flows: &'a [Backlogged], slots: u16, fault: Fault) -> Self {
        let mut ledger = ledger(slots, NEVER, 0);
        for (index, flow) in flows.iter().enumerate() {
            let claimed = if fault == Fault::WeightsIgnored { 1 } else { flow.weight };
            ledger.enroll(FlowId(index as u64), weight(claimed), None);
        }
        Self { flows, fault, ledger, owners: Vec::new(), running: Vec::new(), error: 0.0 }
    }

    /// Grants so many times and tells who got how much.
    fn grants(&mut self, count: usize) -> Vec<(usize, u64)> {
        for (index, flow) in self.flows.iter().enumerate() {
            (0..flow.depth).for_each(|_| self.enqueue(index));
        }
        (0..count).map(|turn| self.turn(turn)).collect()
    }

    fn turn(&mut self, turn: usize) -> (usize, u64) {
        let grant = loop {
            match self.ledger.grant(Duration::ZERO) {
                Some(grant) => break grant,
                None => self.release(turn),
            }
        };
        let (flow, cost) = self.owners[grant.ticket.0 as usize];
        self.running.push((grant, flow, cost));
        self.note_error(flow);
        self.enqueue(flow);
        (flow, cost)
    }

    fn enqueue(&mut self, flow: usize) {
        let costs = &self.flows[flow].costs;
        let cost = costs[self.owners.len() % costs.len()];
        self.owners.push((flow, cost));
        let id = if self.fault == Fault::FirstComeFirstServed { 0 } else { flow as u64 };
        let estimate = self.estimate(self.owners.len() - 1);
        self.ledger.enqueue(FlowId(id), ask(Class::Final, estimate), Duration::ZERO);
    }

    fn estimate(&self, ticket: usize) -> u64 {
        let (flow, cost) = self.owners[ticket];
        let estimates = &self.flows[flow].estimates;
        cost * estimates[ticket % estimates.len()] / 100
    }

    /// In an order of its own, as decodes do.
    fn release(&mut self, turn: usize) {
        let (grant, _, cost) = self.running.remove(turn * 7 % self.running.len());
        let told =
            if self.fault == Fault::TruthIgnored { self.estimate(grant.ticket.0 as usize) } else { cost };
        assert!(release(&mut self.ledger, grant, ms(told)));
    }

    fn note_error(&mut self, flow: usize) {
        let errors = self.running.iter().filter(|(_, owner, _)| *owner == flow);
        let sum: u64 =
            errors.map(|(grant, _, cost)| cost.abs_diff(self.estimate(grant.ticket.0 as usize))).sum();
        self.error = self.error.max(sum as f64 / f64::from(self.flows[flow].weight));
    }
}

/// The first pair of flows whose shares differ by more than the bound over some stretch of grants.
///
/// The difference of two flows' work walks up and down; its highest point less its lowest is the worst stretch.
fn unfair(flows: &[Backlogged], grants: &[(usize, u64)], slack: f64) -> Option<(usize, usize)> {
    let share = |flow: usize, cost: u64| cost as f64 / f64::from(flows[flow].weight);
    let largest = |flow: usize| share(flow, flows[flow].costs.iter().copied().max().unwrap_or(0));
    let pairs = (0..flows.len()).flat_map(|f| (0..f).map(move |g| (f, g)));
    pairs.into_iter().find(|&(f, g)| {
        let (mut at, mut low, mut high) = (0.0_f64, 0.0_f64, 0.0_f64);
        for &(flow, cost) in grants {
            at += if flow == f { share(f, cost) } else { 0.0 };
            at -= if flow == g { share(g, cost) } else { 0.0 };
            (low, high) = (low.min(at), high.max(at));
        }
        // A thousandth of a millisecond for tags being whole nanoseconds.
        high - low > largest(f) + largest(g) + slack + 0.001
    })
}

/// A flow whose waiting tickets never run out, even in the moment of a grant, has two of them at least.
fn flows(depth: usize, estimates: std::ops::RangeInclusive<u64>) -> impl Strategy<Value = Vec<Backlogged>> {
    let flow = move |weights, costs| {
        let costs = prop::collection::vec(costs, 1..6);
        let estimates = prop::collection::vec(estimates.clone(), 1..6);
        (weights, depth..6, costs, estimates).prop_map(|(weight, depth, costs, estimates)| Backlogged {
            weight,
            depth,
            costs,
            estimates,
        })
    };
    let any = flow(1..=1000_u32, 1..3000_u64);
    let similar = flow(1..=3, 100..3000);
    prop::collection::vec(prop_oneof![any, similar], 2..6)
}

proptest! {
    #[test]
    fn backlogged_flows_share_in_proportion_to_weight(flows in flows(1, 100..=100), slots in 1..5_u16) {
        let grants = Play::new(&flows, slots, Fault::None).grants(300);
        prop_assert_eq!(unfair(&flows, &grants, 0.0), None);
    }

    #[test]
    fn wrong_estimates_cost_no_more_than_their_error_in_flight(flows in flows(2, 20..=400), slots in 1..5_u16) {
        let mut play = Play::new(&flows, slots, Fault::None);
        let grants = play.grants(300);
        // Two flows, at both ends of a stretch.
        prop_assert_eq!(unfair(&flows, &grants, 4.0 * play.error), None);
    }
}

#[test]
fn a_ledger_that_is_not_fair_is_found_out() {
    let flow = |weight, depth, cost, estimate| Backlogged {
        weight,
        depth,
        costs: vec![cost],
        estimates: vec![estimate],
    };
    let greedy = [flow(1, 1, 300, 100), flow(1, 30, 300, 100)];
    let weighted = [flow(1, 2, 300, 100), flow(3, 2, 300, 100)];
    let long = [flow(1, 2, 300, 100), flow(1, 2, 900, 100)];
    let misjudged = [flow(1, 2, 300, 100), flow(1, 2, 300, 50)];
    let is_unfair = |flows: &[Backlogged], fault| {
        let mut play = Play::new(flows, 2, fault);
        let grants = play.grants(300);
        unfair(flows, &grants, 4.0 * play.error).is_some()
    };
    for flows in [&greedy, &weighted, &long, &misjudged] {
        assert!(!is_unfair(flows, Fault::None), "{flows:?}");
    }
    for flows in [&greedy, &weighted, &long] {
        assert!(is_unfair(flows, Fault::FirstComeFirstServed), "{flows:?}");
    }
    assert!(is_unfair(&weighted, Fault::WeightsIgnored));
    assert!(is_unfair(&misjudged, Fault::TruthIgnored));
}
