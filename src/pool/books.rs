//! Everything that the pool's one lock guards: the ledger, and what is told about it. No waiting happens here: every
//! moment is passed in, and whatever has to be delivered is handed out.

mod leases;
mod line;
mod shown;

pub(super) use leases::EndedLease;
pub(super) use line::InLine;

use super::service::ServiceLog;
use super::{
    AcquireError, Bank, FlowId, FlowInfo, Lease, LeaseScope, Ledger, LedgerSettings, SlotId, Ticket,
};
use leases::Holding;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What a waiter is answered.
pub(super) type Answer = Result<Lease, AcquireError>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// No new flows.
    Draining,
    /// Nobody is served any more.
    Closed,
}

#[derive(Debug)]
struct Member {
    info: Arc<FlowInfo>,
    speaking: bool,
    /// What it is to the ledger: itself, or its account.
    account: FlowId,
}

/// What is one flow to the ledger.
#[derive(Debug, Default)]
struct Account {
    members: usize,
    /// Their tickets in line and leases.
    wants: usize,
}

/// The books.
#[derive(Debug)]
pub(super) struct Books {
    opened: Instant,
    queue_limit: usize,
    ledger: Ledger,
    members: HashMap<FlowId, Member>,
    accounts: HashMap<FlowId, Account>,
    shared_accounts: HashMap<Arc<str>, FlowId>,
    line: BTreeMap<Ticket, InLine>,
    holdings: BTreeMap<SlotId, Holding>,
    /// When each slot was last known to work.
    proven: HashMap<SlotId, Instant>,
    service: ServiceLog,
    phase: Phase,
    /// What a newcomer would wait, when that was last worked out.
    newcomer_wait: Option<Duration>,
    next_flow: u64,
}

impl Books {
    pub(super) fn new(ledger: LedgerSettings, queue_limit: usize, now: Instant) -> Self {
        Self {
            opened: now,
            queue_limit,
            ledger: Ledger::new(ledger),
            members: HashMap::new(),
            accounts: HashMap::new(),
            shared_accounts: HashMap::new(),
            line: BTreeMap::new(),
            holdings: BTreeMap::new(),
            proven: HashMap::new(),
            service: ServiceLog::new(now),
            phase: Phase::Open,
            newcomer_wait: None,
            next_flow: 0,
        }
    }

    /// A moment as the ledger counts time.
    fn age(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.opened)
    }
}

/// Flows.
impl Books {
    pub(super) fn enroll(&mut self, info: FlowInfo) -> FlowId {
        let id = FlowId(self.next_flow);
        self.next_flow += 1;
        let account = match &info.account {
            Some(name) => *self.shared_accounts.entry(Arc::clone(name)).or_insert(id),
            None => id,
        };
        self.ledger.enroll(account, info.tier.weight, info.key);
        self.accounts.entry(account).or_default().members += 1;
        self.members.insert(id, Member { info: Arc::new(info), speaking: false, account });
        id
    }

    pub(super) fn dismiss(&mut self, flow: FlowId) {
        let Some(Member { info, account, .. }) = self.members.remove(&flow) else { return };
        let Some(Account { members, .. }) = self.accounts.get_mut(&account) else { return };
        *members -= 1;
        if *members == 0 {
            self.accounts.remove(&account);
            if let Some(name) = &info.account {
                self.shared_accounts.remove(name);
            }
            self.ledger.dismiss(account);
            self.service.forget(account);
        }
    }

    pub(super) fn set_speaking(&mut self, flow: FlowId, speaking: bool) {
        if let Some(member) = self.members.get_mut(&flow) {
            member.speaking = speaking;
        }
    }

    /// What a member is to the ledger.
    fn account_of(&self, flow: FlowId) -> FlowId {
        self.members.get(&flow).map_or(flow, |member| member.account)
    }

    /// Who keeps a lease wants nothing more, whether it works or not: that says nothing about fairness.
    fn wants_more(&mut self, account: FlowId, scope: LeaseScope, now: Instant) {
        if let Some(wanting) = self.accounts.get_mut(&account).filter(|_| scope == LeaseScope::Utterance) {
            wanting.wants += 1;
            self.service.wants(account, now);
        }
    }

    fn wants_less(&mut self, account: FlowId, scope: LeaseScope, now: Instant) {
        if let Some(wanting) = self.accounts.get_mut(&account).filter(|_| scope == LeaseScope::Utterance) {
            wanting.wants -= 1;
            if wanting.wants == 0 {
                self.service.rests(account, now);
            }
        }
    }
}

/// Slots.
impl Books {
    /// Changes what slots there are.
    pub(super) fn change_slots<T>(&mut self, now: Instant, change: impl FnOnce(&mut Ledger) -> T) -> T {
        let changed = change(&mut self.ledger);
        self.count_work(now);
        changed
    }

    pub(super) fn idle_in(&self, bank: Bank) -> usize {
        self.ledger.idle_in(bank)
    }

    pub(super) fn add(&mut self, slot: SlotId, now: Instant) {
        self.proven.insert(slot, now);
        self.change_slots(now, |ledger| ledger.add(slot));
    }

    /// Idle slots that were last known to work before `moment`.
    pub(super) fn unproven_since(&self, moment: Instant) -> Vec<SlotId> {
        let is_unproven = |slot: &SlotId| self.proven.get(slot).is_none_or(|at| *at <= moment);
        self.ledger.idle_slots().filter(is_unproven).collect()
    }
}
