//! The line: who may join it, who stands where, and who is told so.

use super::leases::{HeldBy, Holding};
use super::{Answer, Books, Phase};
use crate::pool::forecast::{Ahead, forecast};
use crate::pool::{AcquireError, Ask, Class, FlowId, FlowInfo, Grant, LeaseScope, Outlook, Standing, Ticket};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

/// Somebody in line.
#[derive(Debug)]
pub(in crate::pool) struct InLine {
    account: FlowId,
    pub(super) info: Arc<FlowInfo>,
    pub(in crate::pool) ask: Ask,
    pub(in crate::pool) since: Instant,
    standing: watch::Sender<Option<Standing>>,
    pub(in crate::pool) deliver: oneshot::Sender<Answer>,
}

/// The line.
impl Books {
    pub(in crate::pool) fn drain(&mut self) {
        if self.phase == Phase::Open {
            self.phase = Phase::Draining;
        }
    }

    pub(in crate::pool) fn is_draining(&self) -> bool {
        self.phase != Phase::Open
    }

    /// Ends all service, and hands out those who wait.
    pub(in crate::pool) fn close(&mut self) -> Vec<InLine> {
        self.phase = Phase::Closed;
        let waiting = std::mem::take(&mut self.line);
        for ticket in waiting.keys() {
            self.ledger.withdraw(*ticket);
        }
        waiting.into_values().collect()
    }

    /// Whether a new flow may come in.
    pub(in crate::pool) fn admit(&self) -> Result<(), AcquireError> {
        if self.phase == Phase::Open { self.check_room() } else { Err(AcquireError::Draining) }
    }

    /// What may be dropped takes up no room: it keeps nobody waiting who comes for a text.
    fn check_room(&self) -> Result<(), AcquireError> {
        let queued = self.line.values().filter(|waiting| waiting.ask.class.is_owed()).count();
        let limit = self.queue_limit;
        if queued < limit {
            return Ok(());
        }
        Err(AcquireError::Saturated { queued, limit, retry_after: self.newcomer_wait })
    }

    /// Takes a place in line, and hands out whom it replaced.
    pub(in crate::pool) fn enqueue(
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
        let account = self.account_of(flow);
        let enqueued = self.ledger.enqueue(account, ask, self.age(now));
        self.wants_more(account, ask.scope, now);
        let info = Arc::clone(&self.members[&flow].info);
        self.line.insert(enqueued.ticket, InLine { account, info, ask, since: now, standing, deliver });
        let replaced = enqueued.replaced.and_then(|ticket| self.line.remove(&ticket));
        if replaced.is_some() {
            self.wants_less(account, ask.scope, now);
        }
        Ok((enqueued.ticket, replaced))
    }

    /// Leaves the line. `false` when the ticket does not wait any more.
    pub(in crate::pool) fn withdraw(&mut self, ticket: Ticket, now: Instant) -> bool {
        if !self.ledger.withdraw(ticket) {
            return false;
        }
        if let Some(waiting) = self.line.remove(&ticket) {
            self.wants_less(waiting.account, waiting.ask.scope, now);
        }
        true
    }

    pub(in crate::pool) fn promote(&mut self, ticket: Ticket, now: Instant) -> bool {
        let promoted = self.ledger.promote(ticket, self.age(now));
        if promoted && let Some(waiting) = self.line.get_mut(&ticket) {
            waiting.ask.class = Class::Final;
        }
        promoted
    }

    /// Grants one slot, if one can be granted.
    pub(in crate::pool) fn grant(&mut self, now: Instant) -> Option<(Grant, InLine)> {
        let grant = self.ledger.grant(self.age(now))?;
        let waiting = self.line.remove(&grant.ticket).expect("every ticket of the ledger stands in line");
        let Ask { scope, cost, .. } = waiting.ask;
        // A lease for one decode is asked for when the decode is ready; one that is kept rests at first.
        let idle_since = (scope == LeaseScope::Session).then_some(now);
        let by = HeldBy::Flow(waiting.account, Arc::clone(&waiting.info));
        let generation = grant.generation;
        self.holdings
            .insert(grant.slot, Holding { generation, by, scope, estimate: cost, since: now, idle_since });
        self.count_work(now);
        self.service.waited(now.saturating_duration_since(waiting.since), now);
        Some((grant, waiting))
    }

    /// How many wait.
    pub(in crate::pool) fn waiting(&self) -> usize {
        self.ledger.queued()
    }

    /// How many wait for work of one class.
    pub(in crate::pool) fn waiting_for(&self, class: Class) -> usize {
        self.ledger.queued_in(class)
    }

    /// What a newcomer would wait, when that was last worked out.
    pub(in crate::pool) fn newcomer_wait(&self) -> Option<Duration> {
        self.newcomer_wait
    }

    /// Where everybody stands, in order of service.
    pub(super) fn standings(&mut self, now: Instant) -> Vec<(Ticket, Standing)> {
        let Outlook { tickets, uncapped } = self.ledger.line();
        let ahead = tickets.iter().filter_map(|ticket| self.line.get(ticket)).map(InLine::ahead);
        let busy = self.holdings.values().map(|holding| holding.remaining(now));
        let mut waits = forecast(self.ledger.idle(), busy, ahead);
        self.newcomer_wait = waits.pop().flatten();
        // When a lease of one's own key ends is not known: another one of its sessions may take its place.
        let numbered = tickets.into_iter().zip(waits).enumerate();
        let standing = |(idx, (ticket, wait)): (usize, (Ticket, Option<Duration>))| {
            (ticket, Standing { position: idx + 1, estimated_wait: wait.filter(|_| idx < uncapped) })
        };
        numbered.map(standing).collect()
    }

    /// Where everybody stands, and where each is to be told so.
    pub(in crate::pool) fn news(&mut self, now: Instant) -> Vec<(watch::Sender<Option<Standing>>, Standing)> {
        let standings = self.standings(now);
        let news = |(ticket, standing)| Some((self.line.get(&ticket)?.standing.clone(), standing));
        standings.into_iter().filter_map(news).collect()
    }

    /// The same for one who has just come, unless the line is so long that the next round of news will do.
    pub(in crate::pool) fn first_news(
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

impl InLine {
    fn ahead(&self) -> Ahead {
        Ahead { cost: self.ask.cost.0, returns: self.ask.scope == LeaseScope::Utterance }
    }
}
