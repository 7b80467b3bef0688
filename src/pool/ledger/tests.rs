//! What the ledger promises, one file for each kind of promise. Every property stands beside a counter-check: the same
//! checker, shown a ledger or a trace that breaks the promise.

mod batch;
mod cases;
mod fairness;
mod memory;
mod starvation;
mod trace;
mod traces;

use super::{Grant, Ledger, LedgerSettings};
use crate::pool::{Ask, Class, Cost, FlowId, KeyCap, KeyId, LeaseScope, SlotId, Ticket, Weight};
use std::num::NonZeroU16;
use std::time::Duration;

/// So long that nobody is ever rescued.
const NEVER: Duration = Duration::MAX;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn ask(class: Class, millis: u64) -> Ask {
    Ask { class, cost: Cost(ms(millis)), scope: LeaseScope::Utterance, avoid: None }
}

fn weight(weight: u32) -> Weight {
    Weight::new(weight).expect("a weight of 1 to 1000")
}

fn cap(key: u32, leases: u16) -> KeyCap {
    KeyCap { key: KeyId(key), leases: NonZeroU16::new(leases).expect("a cap of 1 or more") }
}

/// A ledger whose slots are in service.
fn ledger(slots: u16, starvation: Duration, batch_share: u8) -> Ledger {
    let mut ledger = Ledger::new(LedgerSettings { starvation, batch_share, bank: None });
    for slot in 0..slots {
        ledger.add(SlotId(slot));
    }
    ledger
}

/// Serves everybody on one slot after another and tells the tickets in order.
fn served(ledger: &mut Ledger, held: Duration) -> Vec<Ticket> {
    let mut order = Vec::new();
    while let Some(grant) = ledger.grant(Duration::ZERO) {
        order.push(grant.ticket);
        assert!(release(ledger, grant, held));
    }
    order
}

fn release(ledger: &mut Ledger, grant: Grant, held: Duration) -> bool {
    ledger.release(grant.slot, grant.generation, Cost(held)).is_some()
}
