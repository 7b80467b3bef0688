//! API keys: who is calling, and what they may.

use std::sync::Arc;

/// One key as configured: a name for the caller, and the key as it was given or as its SHA-256.
#[derive(Debug, Clone)]
pub struct KeyEntry {
    /// Who it is, for logs and limits.
    pub name: String,
    /// SHA-256 of the key.
    pub hash: [u8; 32],
    /// The tier's name; tiers get weights with fair queueing.
    pub tier: String,
    /// How many sessions and requests may run at once; `None`: no limit of its own.
    pub max_sessions: Option<usize>,
}

/// Why a caller may not come in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No key was presented.
    #[error("no API key was given; send it as \"Authorization: Bearer KEY\"")]
    Missing,
    /// The key is not known.
    #[error("the API key is not known here")]
    Unknown,
    /// The caller has as many sessions as it may.
    #[error("key \"{name}\" already has {limit} sessions, which is its limit")]
    TooManySessions {
        /// Whose.
        name: String,
        /// How many it may have.
        limit: usize,
    },
}

/// Everyone who may come in. Without any key, everybody may.
#[derive(Debug, Default)]
pub struct Keyring {}

/// An identified caller.
#[derive(Debug)]
pub struct Caller {}

/// One session or request of a caller; counted until dropped.
#[derive(Debug)]
pub struct SessionPermit {}

impl Keyring {
    /// A ring of keys; empty means that no key is asked for.
    pub fn new(_entries: Vec<KeyEntry>) -> Self {
        todo!()
    }

    /// Finds the caller of a presented key, in time that does not depend on how much of it is right.
    ///
    /// # Errors
    ///
    /// [`KeyError::Missing`] or [`KeyError::Unknown`].
    pub fn identify(&self, _presented: Option<&str>) -> Result<Arc<Caller>, KeyError> {
        todo!()
    }
}

impl Caller {
    /// The caller's name, for logs.
    pub fn name(&self) -> &str {
        todo!()
    }

    /// Counts one more session or request.
    ///
    /// # Errors
    ///
    /// [`KeyError::TooManySessions`].
    pub fn enter(self: &Arc<Self>) -> Result<SessionPermit, KeyError> {
        todo!()
    }
}
