//! Everything that the pool's one lock guards: the ledger, and what is told about it. No waiting happens here: every
//! moment is passed in, and whatever has to be delivered is handed out.

use super::forecast::{Ahead, forecast};
use super::lease::LeaseKey;
use super::service::ServiceLog;
use super::{
    AcquireError, Ask, Class, Cost, FlowId, FlowInfo, FlowKind, Generation, Grant, Holder, Lease, LeaseScope,
    Ledger, LedgerSettings, Queue, SlotId, Slots, Snapshot, Standing, Talkers, Ticket, Waiter,
};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
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
    /// Its tickets in line and leases.
    wants: usize,
}

/// Somebody in line.
#[derive(Debug)]
pub(super) struct InLine {
    flow: FlowId,
    info: Arc<FlowInfo>,
    pub(super) ask: Ask,
    pub(super) since: Instant,
    standing: watch::Sender<Option<Standing>>,
    pub(super) deliver: oneshot::Sender<Answer>,
}

/// Who holds a lease.
#[derive(Debug)]
enum HeldBy {
    /// The house itself, for what is named.
    House(Arc<str>),
    Flow(FlowId, Arc<FlowInfo>),
}

/// A lease as the books know it.
#[derive(Debug)]
struct Holding {
    generation: Generation,
    by: HeldBy,
    scope: LeaseScope,
    estimate: Cost,
    since: Instant,
    /// Since when its holder does nothing with it.
    idle_since: Option<Instant>,
}

/// A lease that has ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct EndedLease {
    pub(super) scope: LeaseScope,
    pub(super) held: Duration,
    /// Whether the house itself had it.
    pub(super) by_house: bool,
}

/// The books.
#[derive(Debug)]
pub(super) struct Books {
    opened: Instant,
    queue_limit: usize,
    ledger: Ledger,
    members: HashMap<FlowId, Member>,
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
        self.ledger.enroll(id, info.tier.weight, info.key);
        self.members.insert(id, Member { info: Arc::new(info), speaking: false, wants: 0 });
        id
    }

    pub(super) fn dismiss(&mut self, flow: FlowId) {
        self.ledger.dismiss(flow);
        self.members.remove(&flow);
        self.service.forget(flow);
    }

    pub(super) fn set_speaking(&mut self, flow: FlowId, speaking: bool) {
        if let Some(member) = self.members.get_mut(&flow) {
            member.speaking = speaking;
        }
    }

    fn wants_more(&mut self, flow: FlowId, now: Instant) {
        if let Some(member) = self.members.get_mut(&flow) {
            member.wants += 1;
            self.service.wants(flow, now);
        }
    }

    fn wants_less(&mut self, flow: FlowId, now: Instant) {
        if let Some(member) = self.members.get_mut(&flow) {
            member.wants -= 1;
            if member.wants == 0 {
                self.service.rests(flow, now);
            }
        }
    }
}

/// The line.
impl Books {
    pub(super) fn drain(&mut self) {
        if self.phase == Phase::Open {
            self.phase = Phase::Draining;
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        self.phase != Phase::Open
    }

    /// Ends all service, and hands out those who wait.
    pub(super) fn close(&mut self) -> Vec<InLine> {
        self.phase = Phase::Closed;
        let waiting = std::mem::take(&mut self.line);
        for ticket in waiting.keys() {
            self.ledger.withdraw(*ticket);
        }
        waiting.into_values().collect()
    }

    /// Whether a new flow may come in.
    pub(super) fn admit(&self) -> Result<(), AcquireError> {
        if self.phase == Phase::Open { self.check_room() } else { Err(AcquireError::Draining) }
    }

    fn check_room(&self) -> Result<(), AcquireError> {
        let (queued, limit) = (self.ledger.queued(), self.queue_limit);
        if queued < limit {
            return Ok(());
        }
        Err(AcquireError::Saturated { queued, limit, retry_after: self.newcomer_wait })
    }

    /// Takes a place in line, and hands out whom it replaced.
    pub(super) fn enqueue(
        &mut self,
        flow: FlowId,
        ask: Ask,
        newcomer: bool,
        (deliver, standing): (oneshot::Sender<Answer>, watch::Sender<Option<Standing>>),
        now: Instant,
    ) -> Result<(Ticket, Option<InLine>), AcquireError> {
        if self.phase == Phase::Closed {
            return Err(AcquireError::Draining);
        }
        if newcomer {
            self.check_room()?;
        }
        let enqueued = self.ledger.enqueue(flow, ask, self.age(now));
        self.wants_more(flow, now);
        let info = Arc::clone(&self.members[&flow].info);
        self.line.insert(enqueued.ticket, InLine { flow, info, ask, since: now, standing, deliver });
        let replaced = enqueued.replaced.and_then(|ticket| self.line.remove(&ticket));
        if replaced.is_some() {
            self.wants_less(flow, now);
        }
        Ok((enqueued.ticket, replaced))
    }

    /// Leaves the line. `false` when the ticket does not wait any more.
    pub(super) fn withdraw(&mut self, ticket: Ticket, now: Instant) -> bool {
        if !self.ledger.withdraw(ticket) {
            return false;
        }
        if let Some(waiting) = self.line.remove(&ticket) {
            self.wants_less(waiting.flow, now);
        }
        true
    }

    pub(super) fn promote(&mut self, ticket: Ticket, now: Instant) -> bool {
        let promoted = self.ledger.promote(ticket, self.age(now));
        if promoted && let Some(waiting) = self.line.get_mut(&ticket) {
            waiting.ask.class = Class::Final;
        }
        promoted
    }

    /// Grants one slot, if one can be granted.
    pub(super) fn grant(&mut self, now: Instant) -> Option<(Grant, InLine)> {
        let grant = self.ledger.grant(self.age(now))?;
        let waiting = self.line.remove(&grant.ticket).expect("every ticket of the ledger stands in line");
        let Ask { scope, cost, .. } = waiting.ask;
        // A lease for one decode is asked for when the decode is ready; one that is kept rests at first.
        let idle_since = (scope == LeaseScope::Session).then_some(now);
        let by = HeldBy::Flow(waiting.flow, Arc::clone(&waiting.info));
        let generation = grant.generation;
        self.holdings
            .insert(grant.slot, Holding { generation, by, scope, estimate: cost, since: now, idle_since });
        self.count_work(now);
        self.service.waited(now.saturating_duration_since(waiting.since), now);
        Some((grant, waiting))
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.ledger.queued()
    }

    /// What a newcomer would wait, when that was last worked out.
    pub(super) fn newcomer_wait(&self) -> Option<Duration> {
        self.newcomer_wait
    }

    /// Where everybody stands, in order of service.
    pub(super) fn standings(&mut self, now: Instant) -> Vec<(Ticket, Standing)> {
        let order = self.ledger.line();
        let ahead = order.iter().filter_map(|ticket| self.line.get(ticket)).map(InLine::ahead);
        let busy = self.holdings.values().map(|holding| holding.remaining(now));
        let mut waits = forecast(self.ledger.idle(), busy, ahead);
        self.newcomer_wait = waits.pop().flatten();
        let numbered = order.into_iter().zip(waits).enumerate();
        numbered
            .map(|(idx, (ticket, estimated_wait))| (ticket, Standing { position: idx + 1, estimated_wait }))
            .collect()
    }

    /// Where everybody stands, and where each is to be told so.
    pub(super) fn news(&mut self, now: Instant) -> Vec<(watch::Sender<Option<Standing>>, Standing)> {
        let standings = self.standings(now);
        let news = |(ticket, standing)| Some((self.line.get(&ticket)?.standing.clone(), standing));
        standings.into_iter().filter_map(news).collect()
    }

    /// The same for one who has just come, unless the line is so long that the next round of news will do.
    pub(super) fn first_news(
        &mut self,
        ticket: Ticket,
        now: Instant,
    ) -> Option<(watch::Sender<Option<Standing>>, Standing)> {
        const SHORT_LINE: usize = 64;
        let standing = self.line.get(&ticket).filter(|_| self.line.len() <= SHORT_LINE)?.standing.clone();
        let at = self.standings(now).into_iter().find_map(|(other, at)| (other == ticket).then_some(at))?;
        Some((standing, at))
    }
}

/// Leases.
impl Books {
    /// Lends an idle slot to the house, for what is named.
    pub(super) fn lend(&mut self, slot: SlotId, name: &str, now: Instant) -> Option<LeaseKey> {
        let generation = self.ledger.lend(slot)?;
        let (by, scope, estimate) = (HeldBy::House(name.into()), LeaseScope::Utterance, Cost::default());
        self.holdings.insert(slot, Holding { generation, by, scope, estimate, since: now, idle_since: None });
        self.count_work(now);
        Some(LeaseKey { slot, generation })
    }

    pub(super) fn works(&mut self, lease: LeaseKey, now: Instant) {
        if let Some(holding) = self.holding_mut(lease) {
            holding.idle_since = None;
            self.count_work(now);
        }
    }

    pub(super) fn rests(&mut self, lease: LeaseKey, decode: Duration, proven: bool, now: Instant) {
        let Some(holding) = self.holding_mut(lease) else { return };
        holding.idle_since = Some(now);
        let by_house = matches!(holding.by, HeldBy::House(_));
        if proven {
            self.proven.insert(lease.slot, now);
        }
        if proven && !by_house {
            self.service.decoded(decode, now);
        }
        self.count_work(now);
    }

    /// Ends a lease: its slot is idle. `None`, and nothing happens, when it had ended before.
    pub(super) fn release(&mut self, lease: LeaseKey, now: Instant) -> Option<EndedLease> {
        self.end_holding(lease, now, Ledger::release)
    }

    /// Ends a lease: its slot is out of service. `None`, and nothing happens, when it had ended before.
    pub(super) fn retire(&mut self, lease: LeaseKey, now: Instant) -> Option<EndedLease> {
        self.end_holding(lease, now, Ledger::retire)
    }

    fn end_holding(
        &mut self,
        lease: LeaseKey,
        now: Instant,
        end: fn(&mut Ledger, SlotId, Generation, Cost) -> bool,
    ) -> Option<EndedLease> {
        self.holding_mut(lease)?;
        let holding = self.holdings.remove(&lease.slot).expect("it was just looked at");
        let held = now.saturating_duration_since(holding.since);
        end(&mut self.ledger, lease.slot, lease.generation, Cost(held));
        let by_house = matches!(holding.by, HeldBy::House(_));
        if let HeldBy::Flow(flow, info) = holding.by {
            self.service.served(flow, info.tier.weight, held, now);
            self.wants_less(flow, now);
        }
        self.count_work(now);
        Some(EndedLease { scope: holding.scope, held, by_house })
    }

    fn holding_mut(&mut self, lease: LeaseKey) -> Option<&mut Holding> {
        self.holdings.get_mut(&lease.slot).filter(|holding| holding.generation == lease.generation)
    }

    /// Keeps the log of how many slots are there and how many of them work.
    fn count_work(&mut self, now: Instant) {
        let working = self.holdings.values().filter(|holding| holding.idle_since.is_none()).count();
        self.service.load(working, self.ledger.idle() + self.ledger.leased(), now);
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

/// What it looks like.
impl Books {
    pub(super) fn snapshot(&mut self, now: Instant) -> Snapshot {
        let sessions = self.members.values().filter(|member| member.info.kind == FlowKind::Session);
        let connected = sessions.clone().count();
        let speaking = sessions.filter(|member| member.speaking).count();
        Snapshot {
            slots: self.slots(),
            holders: self.holdings.iter().map(|(slot, holding)| holding.shown(*slot, now)).collect(),
            queue: self.queue(now),
            service: self.service.summary(now),
            sessions: Talkers { connected, speaking },
            fairness: self.service.fairness(now),
            draining: self.is_draining(),
        }
    }

    pub(super) fn slots(&self) -> Slots {
        Slots {
            total: self.ledger.total(),
            idle: self.ledger.idle(),
            leased: self.ledger.leased(),
            warming: self.ledger.warming(),
            retired: self.ledger.retired(),
        }
    }

    fn queue(&mut self, now: Instant) -> Queue {
        let oldest_wait =
            self.line.values().map(|waiting| now.saturating_duration_since(waiting.since)).max();
        let standings = self.standings(now);
        let shown = |(ticket, standing)| self.line.get(&ticket).map(|waiting| waiting.shown(standing));
        Queue {
            limit: self.queue_limit,
            oldest_wait: oldest_wait.unwrap_or_default(),
            waiters: standings.into_iter().filter_map(shown).collect(),
        }
    }
}

impl InLine {
    fn ahead(&self) -> Ahead {
        Ahead { cost: self.ask.cost.0, returns: self.ask.scope == LeaseScope::Utterance }
    }

    fn shown(&self, standing: Standing) -> Waiter {
        let FlowInfo { name, tier, .. } = &*self.info;
        Waiter { name: Arc::clone(name), tier: Arc::clone(&tier.name), class: self.ask.class, standing }
    }
}

impl Holding {
    /// How long it will probably go on; `None` for leases that are kept.
    fn remaining(&self, now: Instant) -> Option<Duration> {
        if self.scope == LeaseScope::Session {
            return None;
        }
        let held = now.saturating_duration_since(self.since);
        // One that is late is not over at once.
        Some(self.estimate.0.saturating_sub(held).max(self.estimate.0 / 4))
    }

    fn shown(&self, slot: SlotId, now: Instant) -> Holder {
        let (name, tier) = match &self.by {
            HeldBy::Flow(_, info) => (Arc::clone(&info.name), Arc::clone(&info.tier.name)),
            HeldBy::House(name) => (Arc::clone(name), "house".into()),
        };
        let idle = self.idle_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        Holder { slot, name, scope: self.scope, tier, held: now.saturating_duration_since(self.since), idle }
    }
}
