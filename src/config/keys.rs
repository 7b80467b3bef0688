//! API keys: given as such, or named in a key file. Inside they are hashes only.

use super::error::{ConfigError, InvalidSetting};
use super::read_text;
use super::tiers::Tiers;
use crate::server::KeyEntry;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::num::NonZero;
use std::path::Path;

/// A key file: any number of `[[key]]` tables.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKeyFile {
    #[serde(default)]
    key: Vec<RawKey>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKey {
    name: String,
    hash: Option<String>,
    key: Option<String>,
    tier: Option<String>,
    max_sessions: Option<usize>,
    max_leases: Option<u16>,
}

/// Keys that were given as such: they are called `key-1`, `key-2`, … and have no limits of their own.
pub(super) fn given(keys: &[String], tiers: &Tiers) -> Result<Vec<KeyEntry>, InvalidSetting> {
    let entry = |(idx, key): (usize, &String)| {
        let (name, hash) = (format!("key-{}", idx + 1), hash_of("server.api_key", key)?);
        Ok(KeyEntry { name, hash, tier: tiers.named(None)?, max_sessions: None, max_leases: None })
    };
    keys.iter().enumerate().map(entry).collect()
}

/// Refuses keys and names that are there twice: nobody could say which entry counts.
pub(super) fn check_distinct(entries: &[KeyEntry]) -> Result<(), InvalidSetting> {
    for (idx, entry) in entries.iter().enumerate() {
        for earlier in &entries[..idx] {
            if earlier.name == entry.name {
                let value = format!("{} twice", entry.name);
                return Err(InvalidSetting::new("key.name", value, "a name of its own for each key"));
            }
            if earlier.hash == entry.hash {
                let value = format!("that of {} and of {}", earlier.name, entry.name);
                return Err(InvalidSetting::new("key.key", value, "a key of its own for each name"));
            }
        }
    }
    Ok(())
}

/// The keys of a key file.
pub(super) fn read(path: &Path, tiers: &Tiers) -> Result<Vec<KeyEntry>, ConfigError> {
    let text = read_text(path)?;
    let file: RawKeyFile =
        toml::from_str(&text).map_err(|error| ConfigError::in_file(path, &text, &error))?;
    if file.key.is_empty() {
        let reason = "no [[key]] in this file".to_owned();
        return Err(ConfigError::File { path: path.to_owned(), line: 1, reason });
    }
    Ok(file.key.into_iter().map(|raw| raw.entry(tiers)).collect::<Result<_, _>>()?)
}

impl RawKey {
    fn entry(self, tiers: &Tiers) -> Result<KeyEntry, InvalidSetting> {
        let hash = match (self.hash, self.key) {
            (Some(hash), None) => parse_hash(&hash)?,
            (None, Some(key)) => hash_of("key.key", &key)?,
            _ => {
                return Err(InvalidSetting::new(
                    "key.hash",
                    self.name,
                    "either `hash` or `key` for each key",
                ));
            }
        };
        let none = |setting| InvalidSetting::new(setting, 0, "1 or more, or no such line for no limit");
        if self.max_sessions == Some(0) {
            return Err(none("key.max_sessions"));
        }
        let cap = |leases| NonZero::new(leases).ok_or_else(|| none("key.max_leases"));
        Ok(KeyEntry {
            name: self.name,
            hash,
            tier: tiers.named(self.tier.as_deref())?,
            max_sessions: self.max_sessions,
            max_leases: self.max_leases.map(cap).transpose()?,
        })
    }
}

/// SHA-256 of a key that a header can carry. The key itself is never repeated in the error.
fn hash_of(setting: &'static str, key: &str) -> Result<[u8; 32], InvalidSetting> {
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        let value = if key.is_empty() { "empty" } else { "not shown" };
        return Err(InvalidSetting::new(setting, value, "visible ASCII characters without spaces"));
    }
    Ok(Sha256::digest(key).into())
}

/// `sha256:` and 64 hexadecimal digits, as `printf %s KEY | sha256sum` prints them.
fn parse_hash(text: &str) -> Result<[u8; 32], InvalidSetting> {
    let invalid = || InvalidSetting::new("key.hash", text, "`sha256:` and 64 hexadecimal digits");
    let digits = text.strip_prefix("sha256:").ok_or_else(invalid)?;
    if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(invalid());
    }
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(digits.as_bytes().chunks(2)) {
        let pair = std::str::from_utf8(pair).expect("hexadecimal digits are ASCII");
        *byte = u8::from_str_radix(pair, 16).expect("only hexadecimal digits were let through");
    }
    Ok(hash)
}
