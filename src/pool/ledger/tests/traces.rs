//! Random lives of a ledger, and planted traces that show that the checker would have noticed.

use super::trace::{Event, violations};
use super::*;
use crate::pool::Generation;
use proptest::prelude::*;

#[derive(Debug, Clone, Copy)]
enum Step {
    Enroll(u64, u32, Option<(u32, u16)>),
    Dismiss(u64),
    Enqueue(u64, Class, u64, Option<u16>),
    Withdraw(usize),
    Promote(usize),
    Grant,
    Release(usize, u64),
    Retire(usize),
    Warm(u16),
    Add(u16),
    Fail(u16),
    Lend(u16),
    Close(u16),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let class = prop::sample::select(&Class::ALL[..]);
    let key = prop::option::of((0..2_u32, 1..3_u16));
    let step = prop_oneof![
        2 => (0..6_u64, 1..9_u32, key).prop_map(|(flow, weight, key)| Step::Enroll(flow, weight, key)),
        1 => (0..6_u64).prop_map(Step::Dismiss),
        12 => (0..6_u64, class, 0..900_u64, prop::option::of(0..4_u16))
            .prop_map(|(flow, class, cost, avoid)| Step::Enqueue(flow, class, cost, avoid)),
        2 => (0..9_usize).prop_map(Step::Withdraw),
        2 => (0..9_usize).prop_map(Step::Promote),
        10 => Just(Step::Grant),
        6 => (0..4_usize, 0..900_u64).prop_map(|(which, held)| Step::Release(which, held)),
        1 => (0..4_usize).prop_map(Step::Retire),
        1 => (0..4_u16).prop_map(Step::Warm),
        2 => (0..4_u16).prop_map(Step::Add),
        1 => (0..4_u16).prop_map(Step::Fail),
        1 => (0..4_u16).prop_map(Step::Lend),
        1 => (0..4_u16).prop_map(Step::Close),
        3 => (0..3000_u64).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 0..250)
}

/// Plays steps to a ledger and writes down what it does.
struct Player {
    ledger: Ledger,
    now: Duration,
    held: Vec<(SlotId, Generation)>,
    waiting: Vec<(Ticket, FlowId, Class)>,
    trace: Vec<Event>,
}

impl Player {
    fn new(batch_share: u8) -> Self {
        let ledger = ledger(0, ms(2000), batch_share);
        Self { ledger, now: Duration::ZERO, held: Vec::new(), waiting: Vec::new(), trace: Vec::new() }
    }

    fn play(mut self, steps: &[Step]) -> Vec<Event> {
        self.trace.push(Event::Added(SlotId(9), self.ledger.add(SlotId(9))));
        for step in steps {
            self.step(*step);
            self.count();
        }
        self.drain();
        self.trace
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Enroll(flow, weight, key) => self.enroll(FlowId(flow), weight, key),
            Step::Dismiss(flow) => self.dismiss(FlowId(flow)),
            Step::Enqueue(flow, class, cost, avoid) => self.enqueue(FlowId(flow), class, cost, avoid),
            Step::Withdraw(which) if which < self.waiting.len() => {
                let (ticket, ..) = self.waiting.remove(which);
                assert!(self.ledger.withdraw(ticket) && !self.ledger.withdraw(ticket));
                self.trace.push(Event::Withdrawn(ticket));
            }
            Step::Promote(which) if which < self.waiting.len() => self.promote(which),
            Step::Grant => drop(self.grant()),
            Step::Release(which, held) if which < self.held.len() => self.release(which, ms(held)),
            Step::Retire(which) if which < self.held.len() => {
                let (slot, generation) = self.held.remove(which);
                assert!(self.ledger.retire(slot, generation, Cost(ms(100))).is_some());
                self.trace.push(Event::Retired(slot));
            }
            Step::Wait(millis) => self.now += ms(millis),
            Step::Withdraw(_) | Step::Promote(_) | Step::Release(..) | Step::Retire(_) => {}
            slot => self.live(slot),
        }
    }

    fn live(&mut self, step: Step) {
        let [warming, retired, total] = [self.ledger.warming(), self.ledger.retired(), self.ledger.total()];
        match step {
            Step::Warm(slot) => {
                self.ledger.warm(SlotId(slot));
                if self.ledger.warming() > warming {
                    self.trace.push(Event::Warming(SlotId(slot)));
                }
            }
            Step::Fail(slot) => {
                self.ledger.fail(SlotId(slot));
                if self.ledger.retired() > retired {
                    self.trace.push(Event::Failed(SlotId(slot)));
                }
            }
            Step::Close(slot) if self.ledger.close(SlotId(slot)) => {
                assert_eq!(self.ledger.total(), total - 1);
                self.trace.push(Event::Closed(SlotId(slot)));
            }
            Step::Lend(slot) => {
                if let Some(generation) = self.ledger.lend(SlotId(slot)) {
                    self.trace.push(Event::Lent(SlotId(slot)));
                    self.held.push((SlotId(slot), generation));
                }
            }
            Step::Add(slot) => {
                let in_service = self.ledger.idle() + self.ledger.leased();
                let generation = self.ledger.add(SlotId(slot));
                if self.ledger.idle() + self.ledger.leased() > in_service {
                    self.trace.push(Event::Added(SlotId(slot), generation));
                }
            }
            _ => {}
        }
    }

    fn enroll(&mut self, flow: FlowId, of: u32, key: Option<(u32, u16)>) {
        self.ledger.enroll(flow, weight(of), key.map(|(key, leases)| cap(key, leases)));
        self.trace.push(Event::Enrolled(flow, key.map(|(key, leases)| (KeyId(key), leases))));
    }

    /// A flow that comes back may be remembered or not, so the trace begins it anew.
    fn dismiss(&mut self, flow: FlowId) {
        self.ledger.dismiss(flow);
        let gone = self.waiting.iter().filter(|(_, other, _)| *other == flow);
        self.trace.extend(gone.map(|(ticket, ..)| Event::Withdrawn(*ticket)));
        self.waiting.retain(|(_, other, _)| *other != flow);
        self.enroll(flow, 1, None);
    }

    fn enqueue(&mut self, flow: FlowId, class: Class, cost: u64, avoid: Option<u16>) {
        let ask = Ask { avoid: avoid.map(SlotId), ..ask(class, cost) };
        let enqueued = self.ledger.enqueue(flow, ask, self.now);
        if let Some(older) = enqueued.replaced {
            self.trace.push(Event::Replaced(older));
            self.waiting.retain(|(ticket, ..)| *ticket != older);
        }
        self.trace.push(Event::Enqueued(enqueued.ticket, flow, class));
        self.waiting.push((enqueued.ticket, flow, class));
    }

    fn promote(&mut self, which: usize) {
        let (ticket, _, class) = &mut self.waiting[which];
        let promoted = self.ledger.promote(*ticket, self.now);
        assert_eq!(promoted, *class == Class::Speculative);
        if promoted {
            *class = Class::Final;
            self.trace.push(Event::Promoted(*ticket));
        }
    }

    fn grant(&mut self) -> bool {
        let Some(grant) = self.ledger.grant(self.now) else {
            self.trace.push(Event::NothingGranted);
            return false;
        };
        self.trace.push(Event::Granted(grant));
        self.waiting.retain(|(ticket, ..)| *ticket != grant.ticket);
        self.held.push((grant.slot, grant.generation));
        true
    }

    fn release(&mut self, which: usize, held: Duration) {
        let (slot, generation) = self.held.remove(which);
        assert!(self.ledger.release(slot, generation, Cost(held)).is_some());
        assert_eq!(self.ledger.release(slot, generation, Cost(held)), None, "released twice");
        self.trace.push(Event::Released(slot));
    }

    fn count(&mut self) {
        let ledger = &self.ledger;
        self.trace.push(Event::Counted([
            ledger.idle(),
            ledger.leased(),
            ledger.warming(),
            ledger.retired(),
            ledger.total(),
            ledger.queued(),
        ]));
    }

    /// Gives slots back until nobody is served any more. Slot 9 may have been retired, so there is one more.
    fn drain(&mut self) {
        self.trace.push(Event::Added(SlotId(10), self.ledger.add(SlotId(10))));
        while self.grant() || !self.held.is_empty() {
            if !self.held.is_empty() {
                self.release(0, ms(50));
            }
        }
        self.count();
        self.trace.push(Event::Drained);
        (0..6).for_each(|flow| self.ledger.dismiss(FlowId(flow)));
        assert_eq!(self.ledger.order.memory(), (0, 0, 0));
    }
}

proptest! {
    #[test]
    fn the_book_is_right_whatever_happens(steps in steps(), batch_share in prop::sample::select(vec![0_u8, 10, 50])) {
        let trace = Player::new(batch_share).play(&steps);
        let found = violations(&trace, batch_share > 0);
        prop_assert!(found.is_empty(), "{found:?}");
    }
}

/// A trace in words: `a0` slot 0 added, `r0` released, `t0` retired, `x0` closed, `w1`, `p1`, `d1` ticket 1 withdrawn,
/// promoted, replaced; `f1`, `s1`, `i1`, `b1` ticket 1 enqueued as final, ... batch work of flow 1/10; `g1.0` ticket 1
/// granted on slot 0; `k0` flow 0 enrolled with a cap of 1; `n` nothing granted, `c110` one slot idle and one waits, `e`
/// drained.
fn parse(word: &str) -> Event {
    let digits: Vec<u16> = word[1..].split('.').map(|number| number.parse().unwrap_or(0)).collect();
    let (slot, ticket) = (SlotId(digits[0]), Ticket(u64::from(digits[0])));
    let flow = FlowId(ticket.0 / 10);
    let enqueued = |class| Event::Enqueued(ticket, flow, class);
    match &word[..1] {
        "a" => Event::Added(slot, Generation(0)),
        "r" => Event::Released(slot),
        "t" => Event::Retired(slot),
        "x" => Event::Closed(slot),
        "w" => Event::Withdrawn(ticket),
        "p" => Event::Promoted(ticket),
        "d" => Event::Replaced(ticket),
        "f" => enqueued(Class::Final),
        "s" => enqueued(Class::Speculative),
        "i" => enqueued(Class::Interim),
        "b" => enqueued(Class::Batch),
        "g" => Event::Granted(Grant { ticket, flow, slot: SlotId(digits[1]), generation: Generation(0) }),
        "k" => Event::Enrolled(FlowId(u64::from(digits[0])), Some((KeyId(0), 1))),
        "n" => Event::NothingGranted,
        "c" => Event::Counted([1, 0, 0, 0, 1, usize::from(digits[0])]),
        _ => Event::Drained,
    }
}

#[test]
fn every_broken_promise_is_noticed_in_a_planted_trace() {
    let cases = [
        ("a0 f1 g1.0 r0 s2 p2 i3 d3 i4 g2.0 r0 g4.0 n r0 c0 e", ""),
        ("a0 f1 f11 g1.0 g11.0", "a slot was lent that is not idle"),
        ("a0 t0 f1 g1.0", "a slot was lent that is not idle"),
        ("a0 t0 a0", "a generation came back"),
        ("a0 f1 w1 g1.0", "a withdrawn ticket was granted"),
        ("a0 a1 f1 g1.0 g1.1", "a ticket was granted that does not wait"),
        ("a0 f1 n", "a slot idles while an eligible ticket waits"),
        ("a0 a1 f1 f2 g2.0 g1.1", "a flow was not served in its own order"),
        ("a0 a1 k0 k1 f1 f11 g1.0 g11.1", "a key is over its cap"),
        ("a0 a1 k0 k1 f1 f11 g1.0 n", ""),
        ("a0 b1 f11 g1.0", "a lower class went first"),
        ("a0 f1 d1", "something else than an interim was dropped"),
        ("a0 f1 g1.0 c0", "slots or tickets are miscounted"),
        ("a0 f1 w1 c1", "slots or tickets are miscounted"),
        ("a0 f1 e", "a waiter got no answer"),
    ];
    for (trace, expected) in cases {
        let events: Vec<Event> = trace.split(' ').map(parse).collect();
        assert_eq!(violations(&events, false).join(", "), expected, "{trace}");
    }
}
