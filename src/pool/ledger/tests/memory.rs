//! Who wants nothing and owes nothing takes no memory.

use super::*;

#[test]
fn a_hundred_thousand_flows_that_came_and_went_leave_nothing_behind() {
    let mut ledger = ledger(2, ms(1000), 10);
    let background = FlowId(u64::MAX);
    ledger.enroll(background, Weight::default(), None);
    ledger.enqueue(background, ask(Class::Final, 500), Duration::ZERO);
    let mut held = ledger.grant(Duration::ZERO).expect("a slot is idle");
    for number in 0..100_000 {
        let flow = FlowId(number);
        ledger.enroll(flow, Weight::default(), Some(cap(number as u32 % 7, 1)));
        ledger.enqueue(flow, ask(Class::ALL[number as usize % 4], 300), ms(number));
        let grant = ledger.grant(ms(number)).expect("a slot is idle");
        release(&mut ledger, grant, ms(400));
        ledger.dismiss(flow);
        if number % 2 == 0 {
            ledger.enqueue(background, ask(Class::Final, 500), ms(number));
            release(&mut ledger, held, ms(500));
            held = ledger.grant(ms(number)).expect("the background waits");
        }
    }
    let (flows, _, debts) = ledger.order.memory();
    assert!(flows <= 20 && debts <= 20, "a busy pool remembers debts, and only those: {flows} {debts}");
    release(&mut ledger, held, ms(500));
    ledger.dismiss(background);
    assert_eq!(ledger.order.memory(), (0, 0, 0));
}

#[test]
fn leaving_and_coming_back_pays_no_debts() {
    let mut ledger = ledger(1, NEVER, 0);
    let (guest, other) = (FlowId(1), FlowId(2));
    ledger.enroll(guest, Weight::default(), None);
    ledger.enqueue(guest, ask(Class::Final, 900), Duration::ZERO);
    let grant = ledger.grant(Duration::ZERO).expect("a slot is idle");
    let waiting = [0; 3].map(|_| ledger.enqueue(other, ask(Class::Final, 300), Duration::ZERO).ticket);
    release(&mut ledger, grant, ms(900));
    ledger.dismiss(guest);
    assert_eq!(ledger.order.memory(), (2, 0, 1));
    ledger.enroll(guest, Weight::default(), None);
    let back = ledger.enqueue(guest, ask(Class::Final, 100), Duration::ZERO).ticket;
    assert_eq!(served(&mut ledger, ms(300)), [&waiting[..], &[back]].concat());
}

#[test]
fn a_key_that_its_flow_left_while_at_its_cap_is_open_for_the_next_flow() {
    let mut ledger = ledger(2, NEVER, 0);
    ledger.enroll(FlowId(1), Weight::default(), Some(cap(1, 1)));
    ledger.enqueue(FlowId(1), ask(Class::Final, 100), Duration::ZERO);
    let grant = ledger.grant(Duration::ZERO).expect("a slot is idle");
    ledger.enroll(FlowId(1), Weight::default(), None);
    release(&mut ledger, grant, ms(100));
    ledger.enroll(FlowId(2), Weight::default(), Some(cap(1, 1)));
    ledger.enqueue(FlowId(2), ask(Class::Final, 100), Duration::ZERO);
    assert!(ledger.grant(Duration::ZERO).is_some());
}
