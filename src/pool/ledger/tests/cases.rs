//! Single rules, each in the smallest case that shows it.

use super::*;
use crate::pool::Outlook;
use proptest::prelude::*;

const NOW: Duration = Duration::ZERO;

/// Enqueues with one estimate for all.
fn enqueue(ledger: &mut Ledger, flow: u64, class: Class) -> Ticket {
    ledger.enqueue(FlowId(flow), ask(class, 100), NOW).ticket
}

#[test]
fn classes_are_served_in_their_order_and_a_flow_in_its_own() {
    let mut ledger = ledger(1, NEVER, 0);
    let classes = [Class::Batch, Class::Interim, Class::Speculative, Class::Final, Class::Final];
    let mut tickets = classes.map(|class| enqueue(&mut ledger, 1, class));
    tickets[..3].reverse();
    tickets.rotate_right(2);
    assert_eq!(served(&mut ledger, ms(100)), tickets);
}

#[test]
fn a_newer_interim_takes_the_place_of_its_flows_older_one() {
    let mut ledger = ledger(1, NEVER, 0);
    let stale = enqueue(&mut ledger, 1, Class::Interim);
    let other = ledger.enqueue(FlowId(2), ask(Class::Interim, 100), ms(1)).ticket;
    let newer = ledger.enqueue(FlowId(1), ask(Class::Interim, 100), ms(2));
    assert_eq!(newer.replaced, Some(stale));
    assert!(!ledger.withdraw(stale));
    assert_eq!(ledger.queued(), 2);
    assert_eq!(served(&mut ledger, ms(100)), [newer.ticket, other]);
}

#[test]
fn a_refreshed_interim_keeps_the_age_of_the_one_it_replaced() {
    let mut ledger = ledger(1, ms(1000), 0);
    ledger.enroll(FlowId(2), weight(1000), None);
    let serve = |ledger: &mut Ledger, now| {
        let grant = ledger.grant(now).expect("both wait");
        ledger.enqueue(grant.flow, ask(Class::Interim, 100), now);
        release(ledger, grant, ms(100));
        grant.flow
    };
    enqueue(&mut ledger, 1, Class::Interim);
    enqueue(&mut ledger, 2, Class::Interim);
    let mut before = Vec::new();
    for turn in 1..30 {
        let now = ms(100) * turn;
        ledger.enqueue(FlowId(1), ask(Class::Interim, 100), now);
        before.push(serve(&mut ledger, now));
    }
    let served = before.iter().filter(|flow| **flow == FlowId(1)).count();
    assert_eq!(served, 3, "at once, and then every second");
}

#[test]
fn a_promoted_ticket_goes_before_other_speculation_and_keeps_its_flows_order() {
    let mut ledger = ledger(1, NEVER, 0);
    let other = enqueue(&mut ledger, 2, Class::Speculative);
    let first = enqueue(&mut ledger, 1, Class::Speculative);
    let second = enqueue(&mut ledger, 1, Class::Final);
    assert!(ledger.promote(first, NOW));
    assert!(!ledger.promote(first, NOW) && !ledger.promote(second, NOW));
    assert_eq!(served(&mut ledger, ms(100)), [first, second, other]);
    assert!(!ledger.promote(other, NOW));
}

#[test]
fn a_promoted_ticket_keeps_its_age() {
    let mut ledger = ledger(1, ms(1000), 0);
    let old = ledger.enqueue(FlowId(1), ask(Class::Speculative, 100), NOW).ticket;
    ledger.enroll(FlowId(1), Weight::default(), None);
    for flow in 2..6 {
        ledger.enqueue(FlowId(flow), ask(Class::Final, 100), ms(1500));
    }
    for turn in 0..3 {
        let grant = ledger.grant(ms(1500) + ms(turn)).expect("finals wait");
        release(&mut ledger, grant, ms(100));
        ledger.enqueue(grant.flow, ask(Class::Final, 100), ms(1500));
    }
    assert!(ledger.promote(old, ms(1510)));
    assert_eq!(ledger.grant(ms(1510)).map(|grant| grant.ticket), Some(old));
}

#[test]
fn a_lease_of_an_older_generation_gives_nothing_back() {
    let mut ledger = ledger(1, NEVER, 0);
    enqueue(&mut ledger, 1, Class::Final);
    let stuck = ledger.grant(NOW).expect("the slot is idle");
    assert!(ledger.retire(stuck.slot, stuck.generation, Cost(ms(100))).is_some());
    ledger.add(stuck.slot);
    enqueue(&mut ledger, 2, Class::Final);
    let current = ledger.grant(NOW).expect("the rebuilt slot is idle");
    assert!(!release(&mut ledger, stuck, ms(100)));
    assert_eq!(ledger.leased(), 1);
    assert!(release(&mut ledger, current, ms(100)));
}

#[test]
fn an_avoided_slot_is_taken_rather_than_left_idle() {
    let mut ledger = ledger(2, NEVER, 0);
    let picky = Ask { avoid: Some(SlotId(0)), ..ask(Class::Final, 100) };
    for flow in [1, 2] {
        ledger.enqueue(FlowId(flow), picky, NOW);
    }
    let slots = [(); 2].map(|()| ledger.grant(NOW).map(|grant| grant.slot));
    assert_eq!(slots, [Some(SlotId(1)), Some(SlotId(0))]);
}

#[test]
fn a_slot_lent_to_the_house_is_charged_to_nobody_and_counts_for_no_key() {
    let mut ledger = ledger(2, NEVER, 0);
    let generation = ledger.lend(SlotId(1)).expect("it is idle");
    assert_eq!((ledger.lend(SlotId(1)), ledger.lend(SlotId(7))), (None, None));
    assert_eq!((ledger.idle(), ledger.leased()), (1, 1));
    assert!(ledger.release(SlotId(1), generation, Cost(ms(100))).is_some());
    assert_eq!((ledger.idle(), ledger.leased()), (2, 0));
}

#[test]
fn a_flow_at_its_keys_cap_is_passed_over_and_saves_up_no_credit() {
    let mut ledger = ledger(3, NEVER, 0);
    for flow in [1, 2] {
        ledger.enroll(FlowId(flow), Weight::default(), Some(cap(1, 1)));
    }
    let [first, second, third, fourth] = [1, 2, 2, 2].map(|flow| enqueue(&mut ledger, flow, Class::Final));
    let held = ledger.grant(NOW).expect("slots are idle");
    assert_eq!(held.ticket, first);
    assert_eq!(ledger.grant(NOW), None, "the key holds all it may");
    // Flow 3 gets 10 × 100 ms of work while the key is at its cap.
    let others = [0; 12].map(|_| enqueue(&mut ledger, 3, Class::Final));
    for ticket in &others[..10] {
        let grant = ledger.grant(NOW).expect("slots are idle");
        assert_eq!(grant.ticket, *ticket);
        release(&mut ledger, grant, ms(100));
    }
    release(&mut ledger, held, ms(100));
    // Its floor is the start of the last grant, so it is one ahead at most; from there on it is one each in turn.
    let order = served(&mut ledger, ms(100));
    assert_eq!(order, [second, third, others[10], fourth, others[11]]);
}

#[test]
fn a_lower_cap_counts_at_once_and_a_dismissed_flows_lease_until_it_ends() {
    let mut ledger = ledger(3, NEVER, 0);
    ledger.enroll(FlowId(1), Weight::default(), Some(cap(1, 2)));
    enqueue(&mut ledger, 1, Class::Final);
    let held = ledger.grant(NOW).expect("slots are idle");
    ledger.dismiss(FlowId(1));
    ledger.enroll(FlowId(2), Weight::default(), Some(cap(1, 1)));
    enqueue(&mut ledger, 2, Class::Final);
    assert_eq!(ledger.grant(NOW), None);
    release(&mut ledger, held, ms(100));
    assert!(ledger.grant(NOW).is_some());
}

#[test]
fn a_long_lease_is_paid_for_and_forgiven_when_the_pool_was_quiet() {
    let mut ledger = ledger(1, NEVER, 0);
    let run = |ledger: &mut Ledger, flow, held| {
        enqueue(ledger, flow, Class::Final);
        let grant = ledger.grant(NOW).expect("it waits");
        release(ledger, grant, held)
    };
    run(&mut ledger, 1, ms(3_600_000));
    let [guest, other] = [1, 2].map(|flow| enqueue(&mut ledger, flow, Class::Final));
    assert_eq!(served(&mut ledger, ms(100)), [guest, other], "nobody waited: forgiven");

    enqueue(&mut ledger, 1, Class::Final);
    let grant = ledger.grant(NOW).expect("it waits");
    let others = [0; 20].map(|_| enqueue(&mut ledger, 2, Class::Final));
    release(&mut ledger, grant, ms(950));
    let guest = enqueue(&mut ledger, 1, Class::Final);
    let order = served(&mut ledger, ms(100));
    assert_eq!(order.iter().position(|ticket| *ticket == guest), Some(10), "after 950 ms of the other's");
    assert_eq!(order.len(), others.len() + 1);
}

#[test]
fn a_line_puts_those_over_the_cap_of_their_key_last() {
    let mut ledger = ledger(0, NEVER, 0);
    ledger.enroll(FlowId(1), Weight::default(), Some(cap(1, 1)));
    let [a, b] = [1, 1].map(|flow| enqueue(&mut ledger, flow, Class::Final));
    let [c, d] = [2, 2].map(|flow| enqueue(&mut ledger, flow, Class::Final));
    let batch = enqueue(&mut ledger, 3, Class::Batch);
    assert_eq!(ledger.line(), Outlook { tickets: vec![a, c, d, batch, b], uncapped: 4 });
    assert_eq!(ledger.queued(), 5);
}

proptest! {
    #[test]
    fn the_line_tells_the_order_of_service_when_no_lease_ends(
        asks in prop::collection::vec((0..5_u64, prop::sample::select(&Class::ALL[..]), 1..900_u64, 0..4000_u64), 0..40),
        served in 0..10_usize,
    ) {
        let mut ledger = ledger(50, ms(3000), 10);
        for flow in 0..5 {
            ledger.enroll(FlowId(flow), weight(flow as u32 * 3 + 1), None);
        }
        let mut now = Duration::ZERO;
        for (flow, class, cost, pause) in asks {
            now += ms(pause);
            ledger.enqueue(FlowId(flow), ask(class, cost), now);
        }
        for _ in 0..served {
            ledger.grant(now);
        }
        let line = ledger.line().tickets;
        let order: Vec<Ticket> = std::iter::from_fn(|| ledger.grant(now)).map(|grant| grant.ticket).collect();
        prop_assert_eq!(line, order);
    }
}
