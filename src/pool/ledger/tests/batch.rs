//! Batch work gets its share while it waits, and no burst.

use super::*;
use proptest::prelude::*;

/// Tickets of both kinds, as they were asked for: whether it is batch, and its cost in ms.
struct Asks<'a> {
    costs: [&'a [u64]; 2],
    asked: Vec<(bool, u64)>,
}

impl Asks<'_> {
    fn enqueue(&mut self, ledger: &mut Ledger, is_batch: bool) {
        let costs = self.costs[usize::from(is_batch)];
        let cost = costs[self.asked.len() % costs.len()];
        let class = if is_batch { Class::Batch } else { Class::Final };
        ledger.enqueue(FlowId(u64::from(is_batch)), ask(class, cost), Duration::ZERO);
        self.asked.push((is_batch, cost));
    }
}

/// What was granted in turn, on one slot, with finals and batch work always waiting.
fn grants(share: u8, finals: &[u64], batch: &[u64], count: usize) -> Vec<(bool, u64)> {
    let mut ledger = ledger(1, NEVER, share);
    let mut asks = Asks { costs: [finals, batch], asked: Vec::new() };
    for is_batch in [true, false] {
        asks.enqueue(&mut ledger, is_batch);
    }
    let turn = |_| {
        let grant = ledger.grant(Duration::ZERO).expect("both wait");
        let (is_batch, cost) = asks.asked[grant.ticket.0 as usize];
        release(&mut ledger, grant, ms(cost));
        asks.enqueue(&mut ledger, is_batch);
        (is_batch, cost)
    };
    (0..count).map(turn).collect()
}

/// Whether batch got its share of every stretch, no less and no more, within the largest grant of each kind.
fn keeps_to_share(share: u8, granted: &[(bool, u64)], largest: [u64; 2]) -> bool {
    let (share, [other, batch]) = (i64::from(share), largest.map(|cost| cost as i64));
    let (mut at, mut low, mut high) = (0_i64, 0_i64, 0_i64);
    for &(is_batch, cost) in granted {
        at += if is_batch { (100 - share) * cost as i64 } else { -share * cost as i64 };
        (low, high) = (low.min(at), high.max(at));
    }
    high - low <= (100 - share) * batch + share * other
}

proptest! {
    #[test]
    fn batch_gets_its_share_of_every_stretch_and_no_more(
        share in 1..=50_u8,
        finals in prop::collection::vec(10..3000_u64, 1..5),
        batch in prop::collection::vec(10..3000_u64, 1..5),
    ) {
        let largest = [&finals, &batch].map(|costs| costs.iter().copied().max().unwrap_or(0));
        prop_assert!(keeps_to_share(share, &grants(share, &finals, &batch, 600), largest));
    }
}

#[test]
fn another_share_than_promised_is_found_out() {
    assert!(keeps_to_share(10, &grants(10, &[300], &[900], 600), [300, 900]));
    for wrong in [0, 9, 12, 50] {
        assert!(!keeps_to_share(10, &grants(wrong, &[300], &[900], 600), [300, 900]), "{wrong}");
    }
}

#[test]
fn batch_saves_up_nothing_while_it_does_not_wait() {
    let mut ledger = ledger(1, NEVER, 10);
    let run = |ledger: &mut Ledger, flow: u64, class| {
        ledger.enqueue(FlowId(flow), ask(class, 100), Duration::ZERO);
        let grant = ledger.grant(Duration::ZERO).expect("it waits");
        release(ledger, grant, ms(100));
        grant.flow
    };
    for _ in 0..100 {
        run(&mut ledger, 1, Class::Final);
    }
    ledger.enqueue(FlowId(2), ask(Class::Batch, 100), Duration::ZERO);
    let order: Vec<FlowId> = (0..10).map(|_| run(&mut ledger, 1, Class::Final)).collect();
    assert_eq!(order, [vec![FlowId(1); 9], vec![FlowId(2)]].concat());
}
