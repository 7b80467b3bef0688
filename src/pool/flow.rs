//! Whoever wants leases: a live session, or one request.

use super::allocator::Shared;
use super::{FlowId, KeyCap, Weight};
use std::sync::Arc;

/// What kind of thing a flow is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowKind {
    /// A live session.
    Session,
    /// One request, or one file.
    Request,
}

/// A group of flows with the same weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tier {
    /// Its name.
    pub name: Arc<str>,
    /// How large a part each of its flows gets.
    pub weight: Weight,
}

impl Default for Tier {
    fn default() -> Self {
        Self { name: "default".into(), weight: Weight::default() }
    }
}

/// Who wants leases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowInfo {
    /// What `/pool` calls it.
    pub name: Arc<str>,
    /// What it is.
    pub kind: FlowKind,
    /// Its weight.
    pub tier: Tier,
    /// With whom it shares a cap on leases.
    pub key: Option<KeyCap>,
    /// With whom it shares its part: all flows of one account are one to the ledger, and are served in the order in which
    /// they come. Not for flows with interims: a newer one takes the place of an older one of the whole account.
    pub account: Option<Arc<str>>,
}

impl FlowInfo {
    /// A live session, of the default tier and without a cap.
    pub fn session(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), kind: FlowKind::Session, tier: Tier::default(), key: None, account: None }
    }

    /// A request, of the default tier and without a cap.
    pub fn request(name: impl Into<Arc<str>>) -> Self {
        Self { kind: FlowKind::Request, ..Self::session(name) }
    }
}

/// One flow's membership. When it is dropped the flow leaves the books; a lease that it still holds ends as usual.
#[derive(Debug)]
pub struct Flow {
    id: FlowId,
    shared: Arc<Shared>,
}

impl Flow {
    pub(super) fn new(id: FlowId, shared: Arc<Shared>) -> Self {
        Self { id, shared }
    }

    /// Its number, for logs.
    pub fn id(&self) -> FlowId {
        self.id
    }

    /// Says whether somebody speaks in it now.
    pub fn set_speaking(&self, speaking: bool) {
        self.shared.lock().set_speaking(self.id, speaking);
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.shared.lock().dismiss(self.id);
    }
}
