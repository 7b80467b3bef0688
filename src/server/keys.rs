//! API keys: who is calling, and what they may.
//!
//! Keys are known by their SHA-256 only; the keys themselves are never kept.

use crate::pool::{FlowInfo, KeyCap, KeyId, Tier};
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use sha2::{Digest, Sha256};
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use subtle::ConstantTimeEq;

/// One key as configured: a name for the caller, and the key as it was given or as its SHA-256.
#[derive(Debug, Clone)]
pub struct KeyEntry {
    /// Who it is, for logs and limits.
    pub name: String,
    /// SHA-256 of the key.
    pub hash: [u8; 32],
    /// How large a part of the pool each of its sessions and requests gets.
    pub tier: Tier,
    /// How many sessions and requests may run at once; `None`: no limit of its own.
    pub max_sessions: Option<usize>,
    /// How many leases they may hold at once, all together; `None`: no limit of its own.
    pub max_leases: Option<NonZero<u16>>,
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

impl KeyError {
    /// The stable name of this error on the wire, in logs and in metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing => "api_key_missing",
            Self::Unknown => "invalid_api_key",
            Self::TooManySessions { .. } => "too_many_sessions",
        }
    }
}

/// Everyone who may come in. Without any key, everybody may.
#[derive(Debug)]
pub struct Keyring {
    /// Whoever comes in when no key is asked for.
    anonymous: Arc<Caller>,
    known: Vec<Known>,
}

#[derive(Debug)]
struct Known {
    hash: [u8; 32],
    caller: Arc<Caller>,
}

/// An identified caller.
#[derive(Debug)]
pub struct Caller {
    name: String,
    tier: Tier,
    cap: Option<KeyCap>,
    max_sessions: Option<usize>,
    sessions: AtomicUsize,
}

/// One session or request of a caller; counted until dropped.
#[derive(Debug)]
pub struct SessionPermit {
    caller: Arc<Caller>,
}

/// SHA-256 of a key: what a [`KeyEntry`] keeps of it.
pub fn hash_key(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// The key that a request carries: `Authorization: Bearer KEY`, or, for browsers, which cannot set headers on a
/// WebSocket, the subprotocol `openai-insecure-api-key.KEY`.
pub fn presented_key(headers: &HeaderMap) -> Option<String> {
    bearer(headers).or_else(|| subprotocol_key(headers)).map(str::to_owned)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

fn subprotocol_key(headers: &HeaderMap) -> Option<&str> {
    let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).into_iter();
    offered
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|protocol| protocol.trim().strip_prefix("openai-insecure-api-key."))
}

impl Keyring {
    /// A ring of keys; empty means that no key is asked for.
    pub fn new(entries: Vec<KeyEntry>) -> Self {
        let keys = (0..).map(KeyId);
        let known = keys
            .zip(entries)
            .map(|(key, entry)| Known { hash: entry.hash, caller: Arc::new(Caller::new(entry, key)) });
        Self { anonymous: Arc::new(Caller::anonymous()), known: known.collect() }
    }

    /// Finds the caller of a presented key, in time that does not depend on how much of it is right.
    ///
    /// # Errors
    ///
    /// [`KeyError::Missing`] or [`KeyError::Unknown`].
    pub fn identify(&self, presented: Option<&str>) -> Result<Arc<Caller>, KeyError> {
        if self.known.is_empty() {
            return Ok(Arc::clone(&self.anonymous));
        }
        let hash = hash_key(presented.ok_or(KeyError::Missing)?);
        // Every entry is compared, wherever the right one stands.
        let matching = self.known.iter().fold(None, |found, known| {
            if bool::from(known.hash.ct_eq(&hash)) { Some(&known.caller) } else { found }
        });
        matching.cloned().ok_or(KeyError::Unknown)
    }
}

impl Default for Keyring {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Caller {
    fn new(KeyEntry { name, tier, max_sessions, max_leases, .. }: KeyEntry, key: KeyId) -> Self {
        let cap = max_leases.map(|leases| KeyCap { key, leases });
        Self { name, tier, cap, max_sessions, sessions: AtomicUsize::new(0) }
    }

    /// Everybody, where no key is asked for.
    fn anonymous() -> Self {
        let (tier, sessions) = (Tier::default(), AtomicUsize::new(0));
        Self { name: "anonymous".into(), tier, cap: None, max_sessions: None, sessions }
    }

    /// The caller's name, for logs.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// One of its sessions or requests as the pool is to treat it: with the caller's weight and cap.
    pub fn as_flow(&self, info: FlowInfo) -> FlowInfo {
        FlowInfo { tier: self.tier.clone(), key: self.cap, ..info }
    }

    /// Counts one more session or request.
    ///
    /// # Errors
    ///
    /// [`KeyError::TooManySessions`].
    pub fn enter(self: &Arc<Self>) -> Result<SessionPermit, KeyError> {
        let limit = self.max_sessions.unwrap_or(usize::MAX);
        let one_more = |sessions: usize| (sessions < limit).then_some(sessions + 1);
        self.sessions
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more)
            .map(|_| SessionPermit { caller: Arc::clone(self) })
            .map_err(|_| KeyError::TooManySessions { name: self.name.clone(), limit })
    }
}

impl SessionPermit {
    /// Whose it is.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }
}

impl Drop for SessionPermit {
    fn drop(&mut self) {
        self.caller.sessions.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Weight;
    use axum::http::HeaderValue;

    fn entry(name: &str, max_sessions: Option<usize>) -> KeyEntry {
        let (tier, hash) = (Tier::default(), hash_key(name));
        KeyEntry { name: name.into(), hash, tier, max_sessions, max_leases: None }
    }

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_static(value))])
    }

    #[test]
    fn without_keys_everybody_is_anonymous_and_unlimited() {
        let ring = Keyring::new(Vec::new());
        let caller = ring.identify(None).unwrap();
        assert_eq!((caller.name(), caller.max_sessions), ("anonymous", None));
        assert_eq!(ring.identify(Some("whatever")).unwrap().name(), "anonymous");
    }

    #[test]
    fn each_key_is_its_own_caller() {
        let ring = Keyring::new(vec![entry("ann", None), entry("bob", None)]);
        for name in ["ann", "bob"] {
            assert_eq!(ring.identify(Some(name)).unwrap().name(), name);
        }
    }

    #[test]
    fn a_missing_key_and_a_wrong_key_are_told_apart() {
        let ring = Keyring::new(vec![entry("ann", None)]);
        assert_eq!(ring.identify(None).unwrap_err(), KeyError::Missing);
        assert_eq!(ring.identify(Some("ann ")).unwrap_err(), KeyError::Unknown);
        assert_eq!(ring.identify(Some("")).unwrap_err(), KeyError::Unknown);
    }

    #[test]
    fn a_caller_at_its_limit_comes_in_again_when_one_session_has_ended() {
        let ring = Keyring::new(vec![entry("ann", Some(2))]);
        let caller = ring.identify(Some("ann")).unwrap();
        let (first, _second) = (caller.enter().unwrap(), caller.enter().unwrap());
        let refused = KeyError::TooManySessions { name: "ann".into(), limit: 2 };
        assert_eq!(caller.enter().unwrap_err(), refused);
        drop(first);
        assert!(caller.enter().is_ok());
    }

    #[test]
    fn all_that_a_caller_does_shares_its_cap_and_has_its_weight() {
        let gold = Tier { name: "gold".into(), weight: Weight::new(4).unwrap() };
        let capped = KeyEntry { tier: gold.clone(), max_leases: NonZero::new(2), ..entry("ann", None) };
        let ring = Keyring::new(vec![entry("bob", None), capped]);
        let ann = ring.identify(Some("ann")).unwrap();
        let cap = KeyCap { key: KeyId(1), leases: NonZero::new(2).unwrap() };
        for info in [FlowInfo::session("sess_1"), FlowInfo::request("req_1")] {
            let flow = ann.as_flow(info.clone());
            assert_eq!(flow, FlowInfo { tier: gold.clone(), key: Some(cap), ..info });
        }
        let bob = ring.identify(Some("bob")).unwrap().as_flow(FlowInfo::session("sess_2"));
        assert_eq!(bob, FlowInfo::session("sess_2"));
    }

    #[test]
    fn a_key_is_found_in_the_header_or_among_the_subprotocols() {
        let found = |name, value| presented_key(&headers(name, value));
        assert_eq!(found("authorization", "Bearer k1").as_deref(), Some("k1"));
        assert_eq!(found("authorization", "bearer  k1 ").as_deref(), Some("k1"));
        assert_eq!(found("authorization", "Basic k1"), None);
        let protocols = "realtime, openai-insecure-api-key.k2, openai-beta.realtime-v1";
        assert_eq!(found("sec-websocket-protocol", protocols).as_deref(), Some("k2"));
        assert_eq!(found("sec-websocket-protocol", "realtime"), None);
    }
}
