//! What the books look like to whoever looks in.

use super::leases::{HeldBy, Holding};
use super::{Books, InLine};
use crate::pool::{FlowInfo, FlowKind, Holder, Queue, SlotId, Slots, Snapshot, Standing, Talkers, Waiter};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What it looks like.
impl Books {
    pub(in crate::pool) fn snapshot(&mut self, now: Instant) -> Snapshot {
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

    pub(in crate::pool) fn slots(&self) -> Slots {
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
    fn shown(&self, standing: Standing) -> Waiter {
        let FlowInfo { name, tier, .. } = &*self.info;
        Waiter { name: Arc::clone(name), tier: Arc::clone(&tier.name), class: self.ask.class, standing }
    }
}

impl Holding {
    fn shown(&self, slot: SlotId, now: Instant) -> Holder {
        let (name, tier) = match &self.by {
            HeldBy::Flow(_, info) => (Arc::clone(&info.name), Arc::clone(&info.tier.name)),
            HeldBy::House(name) => (Arc::clone(name), "house".into()),
        };
        let idle = self.idle_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        Holder { slot, name, scope: self.scope, tier, held: now.saturating_duration_since(self.since), idle }
    }
}
