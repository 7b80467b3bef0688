//! Settings as written → settings as meant.
//!
//! Three places may say something: flags (which clap has already merged with the environment), a TOML file, and the
//! defaults, in this order of precedence. They meet as tables, are read as `raw` structs, and leave as the `Settings`
//! values of the modules, valid once and for all. Nothing here knows what a flag is called.

mod error;
mod keys;
mod live;
mod llm;
mod raw;
mod settings;
mod tiers;
mod tts;

pub use error::{ConfigError, InvalidSetting};
pub use settings::{
    AsrSettings, DebugSettings, DeviceSettings, EdgeSettings, KneeSetting, ModelSettings, NetworkDevice,
    Settings, SlotSettings,
};
pub use tts::VoiceSettings;

use raw::Raw;
use serde::{Deserialize, Serialize};
use std::path::Path;
use toml::{Table, Value};

/// Reads the settings: what `given` says, then what `file` says, then the defaults.
///
/// `given` serializes to tables in the shape of the file, without the keys that nobody gave.
///
/// # Errors
///
/// [`ConfigError`]: a file that cannot be read, that is no TOML or has keys nobody knows, or a value that is not meant.
pub fn load(file: Option<&Path>, given: &impl Serialize) -> Result<Settings, ConfigError> {
    let mut table = file.map(read).transpose()?.unwrap_or_default();
    let file_of_keys = file.filter(|_| holds_keys(&table));
    // TOML's numbers are signed: a flag can hold one that is too large for them.
    let given = Table::try_from(given)
        .map_err(|error| InvalidSetting::new("command line", error, "numbers up to 9223372036854775807"))?;
    overlay(&mut table, given);
    let raw = Raw::deserialize(table)
        .map_err(|error| InvalidSetting::new("command line", error.message(), "known keys"))?;
    let settings = Settings::try_from(raw)?;
    Ok(settings.warn_if_readable(file_of_keys))
}

/// Whether a file has keys in it: of callers, of language models or of speech servers.
fn holds_keys(table: &Table) -> bool {
    table.iter().any(|(name, value)| match value {
        Value::Table(table) => holds_keys(table),
        Value::Array(entries) if name != "api_key" => {
            entries.iter().filter_map(Value::as_table).any(holds_keys)
        }
        _ => name == "api_key" || name == "key",
    })
}

/// Reads a file and checks its keys and types, while it is still known which line they stand on.
fn read(path: &Path) -> Result<Table, ConfigError> {
    let text = read_text(path)?;
    toml::from_str::<Raw>(&text).map_err(|error| ConfigError::in_file(path, &text, &error))?;
    toml::from_str(&text).map_err(|error| ConfigError::in_file(path, &text, &error))
}

fn read_text(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|reason| ConfigError::Unreadable { path: path.to_owned(), reason })
}

/// Lays `upper` over `lower`: tables merge, everything else replaces.
fn overlay(lower: &mut Table, upper: Table) {
    for (key, value) in upper {
        match (lower.get_mut(&key), value) {
            (Some(Value::Table(lower)), Value::Table(upper)) => overlay(lower, upper),
            (_, value) => drop(lower.insert(key, value)),
        }
    }
}

#[cfg(test)]
mod tests;
