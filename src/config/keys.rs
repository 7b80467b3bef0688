//! API keys: given as such, or named in a key file. Inside they are hashes only.

use super::error::{ConfigError, InvalidSetting};
use super::read_text;
use crate::server::KeyEntry;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::path::Path;

/// The tier of a key that names none.
const DEFAULT_TIER: &str = "default";

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
}

/// Keys that were given as such: they are called `key-1`, `key-2`, … and have no limits of their own.
pub(super) fn given(keys: &[String]) -> Result<Vec<KeyEntry>, InvalidSetting> {
    let entry = |(idx, key): (usize, &String)| {
        let (name, tier) = (format!("key-{}", idx + 1), DEFAULT_TIER.to_owned());
        Ok(KeyEntry { name, hash: hash_of("server.api_key", key)?, tier, max_sessions: None })
    };
    keys.iter().enumerate().map(entry).collect()
}

/// The keys of a key file.
pub(super) fn read(path: &Path) -> Result<Vec<KeyEntry>, ConfigError> {
    let text = read_text(path)?;
    let file: RawKeyFile =
        toml::from_str(&text).map_err(|error| ConfigError::in_file(path, &text, &error))?;
    if file.key.is_empty() {
        let reason = "no [[key]] in this file".to_owned();
        return Err(ConfigError::File { path: path.to_owned(), line: 1, reason });
    }
    Ok(file.key.into_iter().map(KeyEntry::try_from).collect::<Result<_, _>>()?)
}

impl TryFrom<RawKey> for KeyEntry {
    type Error = InvalidSetting;

    fn try_from(raw: RawKey) -> Result<Self, Self::Error> {
        let hash = match (raw.hash, raw.key) {
            (Some(hash), None) => parse_hash(&hash)?,
            (None, Some(key)) => hash_of("key.key", &key)?,
            _ => {
                return Err(InvalidSetting::new("key.hash", raw.name, "either `hash` or `key` for each key"));
            }
        };
        if raw.max_sessions == Some(0) {
            return Err(InvalidSetting::new(
                "key.max_sessions",
                0,
                "1 or more, or no such line for no limit",
            ));
        }
        let tier = raw.tier.unwrap_or_else(|| DEFAULT_TIER.into());
        Ok(Self { name: raw.name, hash, tier, max_sessions: raw.max_sessions })
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
