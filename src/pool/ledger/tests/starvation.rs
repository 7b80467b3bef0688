//! Nobody waits for ever, whatever the weights are.

use super::*;
use proptest::prelude::*;

const BOUND: Duration = Duration::from_secs(5);

/// Weight and cost (ms) of a flow that always has a ticket waiting.
type Claim = (u32, u64);

/// A head that waits.
#[derive(Debug, Clone, Copy)]
struct Head {
    since: Duration,
    ticket: Ticket,
    /// Grants it may still have to wait, once it is over the bound.
    patience: Option<usize>,
}

/// The flow of a ticket that waited longer than promised, if there is one in so many grants on one slot.
///
/// The promise: a ticket over the bound is served within 4 × (tickets over the bound ahead of it + 1) grants.
fn starved(claims: &[Claim], starvation: Duration, grants: usize) -> Option<usize> {
    let mut ledger = ledger(1, starvation, 0);
    let mut now = Duration::ZERO;
    let mut heads: Vec<Head> = Vec::new();
    for (index, &(of, cost)) in claims.iter().enumerate() {
        ledger.enroll(FlowId(index as u64), weight(of), None);
        let ticket = ledger.enqueue(FlowId(index as u64), ask(Class::Final, cost), now).ticket;
        heads.push(Head { since: now, ticket, patience: None });
    }
    for _ in 0..grants {
        start_counting(&mut heads, now);
        let grant = ledger.grant(now).expect("all flows wait, and the slot is idle");
        let served = grant.flow.0 as usize;
        for (index, head) in heads.iter_mut().enumerate().filter(|(index, _)| *index != served) {
            match &mut head.patience {
                Some(1) => return Some(index),
                Some(patience) => *patience -= 1,
                None => {}
            }
        }
        let ticket = ledger.enqueue(grant.flow, ask(Class::Final, claims[served].1), now).ticket;
        heads[served] = Head { since: now, ticket, patience: None };
        now += ms(claims[served].1);
        release(&mut ledger, grant, ms(claims[served].1));
    }
    None
}

/// From the moment in which a head is over the bound, its grants are counted.
fn start_counting(heads: &mut [Head], now: Duration) {
    let ages: Vec<_> = heads.iter().map(|head| (head.since, head.ticket)).collect();
    for head in
        heads.iter_mut().filter(|head| head.patience.is_none() && now.saturating_sub(head.since) > BOUND)
    {
        let ahead = ages.iter().filter(|age| **age < (head.since, head.ticket)).count();
        head.patience = Some(4 * (ahead + 1));
    }
}

proptest! {
    #[test]
    fn a_ticket_over_the_bound_waits_four_grants_for_each_that_is_ahead_at_most(
        claims in prop::collection::vec((1..=1000_u32, 10..3000_u64), 2..12),
    ) {
        prop_assert_eq!(starved(&claims, BOUND, 400), None);
    }
}

#[test]
fn weights_alone_would_starve_a_light_flow() {
    let claims = [(1, 3000), (1000, 100), (1000, 100)];
    assert_eq!(starved(&claims, BOUND, 400), None);
    assert_eq!(starved(&claims, NEVER, 400), Some(0));
}

#[test]
fn a_rescue_is_charged_as_usual() {
    let mut ledger = ledger(1, BOUND, 0);
    let (light, heavy) = (FlowId(0), FlowId(1));
    ledger.enroll(heavy, weight(10), None);
    let mut now = Duration::ZERO;
    let mut rescued = 0;
    ledger.enqueue(light, ask(Class::Final, 100), now);
    ledger.enqueue(heavy, ask(Class::Final, 100), now);
    for _ in 0..1000 {
        let grant = ledger.grant(now).expect("both wait");
        rescued += usize::from(grant.flow == light);
        ledger.enqueue(grant.flow, ask(Class::Final, 100), now);
        release(&mut ledger, grant, ms(100));
        now += ms(100);
    }
    assert!((88..=94).contains(&rescued), "one in eleven, by weight; {rescued}");
}

#[test]
fn many_waiting_tickets_make_no_flow_older() {
    let mut ledger = ledger(1, BOUND, 0);
    let greedy: Vec<_> =
        (0..50).map(|_| ledger.enqueue(FlowId(0), ask(Class::Final, 100), Duration::ZERO).ticket).collect();
    let later = ledger.enqueue(FlowId(1), ask(Class::Final, 100), ms(1)).ticket;
    let mut order = Vec::new();
    for turn in 0..8 {
        let grant = ledger.grant(ms(60_000) + ms(100) * turn).expect("somebody waits");
        order.push(grant.ticket);
        release(&mut ledger, grant, ms(100));
    }
    assert_eq!(order[..3], [greedy[0], later, greedy[1]]);
}
