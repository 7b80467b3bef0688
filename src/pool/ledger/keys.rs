//! API keys, whose flows share a cap on leases.

use super::lineup::Group;
use crate::pool::{KeyCap, KeyId};
use std::collections::BTreeMap;

/// One key.
#[derive(Debug, Clone)]
struct Key {
    cap: u32,
    leases: u32,
    flows: usize,
    /// Whether it had a lease to spare when that was last asked.
    open: bool,
}

/// The keys of all flows that are known and all leases that run.
#[derive(Debug, Clone, Default)]
pub(super) struct Keys {
    keys: BTreeMap<KeyId, Key>,
}

impl Keys {
    /// Sets a cap for all flows of a key; the last word counts.
    pub(super) fn set_cap(&mut self, cap: KeyCap) {
        if let Some(key) = self.keys.get_mut(&cap.key) {
            key.cap = u32::from(cap.leases.get());
        }
    }

    /// A flow belongs to the key from now on.
    pub(super) fn join(&mut self, group: Group) {
        let Some(id) = group else { return };
        let unknown = Key { cap: u32::MAX, leases: 0, flows: 0, open: true };
        self.keys.entry(id).or_insert(unknown).flows += 1;
    }

    /// A flow does not belong to the key any more.
    pub(super) fn leave(&mut self, group: Group) {
        self.change(group, |key| key.flows -= 1);
        self.forget_if_unused(group);
    }

    /// A lease runs on the key. Whether it has one to spare is to be asked then.
    pub(super) fn take(&mut self, group: Group) {
        self.change(group, |key| key.leases += 1);
    }

    /// A lease on the key ended. Whether it has one to spare is to be asked then.
    pub(super) fn give_back(&mut self, group: Group) {
        self.change(group, |key| key.leases -= 1);
    }

    /// Whether the key has a lease to spare, if that is otherwise than when it was last asked.
    pub(super) fn turned(&mut self, group: Group) -> Option<bool> {
        let key = self.keys.get_mut(&group?)?;
        let open = key.leases < key.cap;
        let turned = (open != key.open).then_some(open);
        key.open = open;
        self.forget_if_unused(group);
        turned
    }

    /// Lifts all caps, and tells which keys have a lease to spare now and had none before.
    pub(super) fn lift(&mut self) -> Vec<Group> {
        let closed = self.keys.iter().filter(|(_, key)| !key.open).map(|(id, _)| Some(*id)).collect();
        for key in self.keys.values_mut() {
            *key = Key { cap: u32::MAX, open: true, ..*key };
        }
        closed
    }

    /// How many are known.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    fn change(&mut self, group: Group, change: impl FnOnce(&mut Key)) {
        let Some(id) = group else { return };
        change(self.keys.get_mut(&id).expect("a key is known as long as it has flows or leases"));
    }

    /// Forgets a key without flows and leases, once it was told that it is open.
    fn forget_if_unused(&mut self, group: Group) {
        let Some(id) = group else { return };
        if self.keys.get(&id).is_some_and(|key| key.open && key.flows == 0 && key.leases == 0) {
            self.keys.remove(&id);
        }
    }
}
