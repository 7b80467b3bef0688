//! What can be wrong with settings, told so that the reader can mend it.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A setting whose value is not one that is meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} is {value}, expected {expected}")]
pub struct InvalidSetting {
    /// The key, as in the file.
    pub key: &'static str,
    /// What was given.
    pub value: String,
    /// What would have done.
    pub expected: String,
}

impl InvalidSetting {
    /// `key` is `value`, but `expected` was expected.
    pub fn new(key: &'static str, value: impl Display, expected: impl Into<String>) -> Self {
        Self { key, value: value.to_string(), expected: expected.into() }
    }
}

/// Why there are no settings to run with.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that was named cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        reason: std::io::Error,
    },
    /// A file is no TOML, or has a key nobody knows or a value of the wrong type.
    #[error("{}:{line}: {reason}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Where in it, from 1.
        line: usize,
        /// What is wrong, with the keys that are known.
        reason: String,
    },
    /// A value is not one that is meant.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    /// Everybody on the network could use the server.
    #[error("{bind} can be reached from other machines, and no API key is set")]
    Exposed {
        /// Where the server was to listen.
        bind: SocketAddr,
    },
}

impl ConfigError {
    /// What `error` says about `text`, the content of `path`.
    pub(super) fn in_file(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let offset = error.span().map_or(0, |span| span.start);
        let before = text.get(..offset).unwrap_or(text);
        Self::File {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            reason: error.message().replace("unknown field", "unknown key").replace('\n', " "),
        }
    }

    /// The stable name of this error, for logs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "config_unreadable",
            Self::File { .. } => "config_invalid",
            Self::Setting(_) => "setting_invalid",
            Self::Exposed { .. } => "bind_exposed",
        }
    }

    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Exposed { .. } => Some(
                "set a key with --api-key or --key-file, or allow everybody in with --insecure if the network is yours",
            ),
            Self::Setting(_) => Some(
                "it may come from a flag, from an environment variable STENOPOOL_… or from the configuration file",
            ),
            Self::Unreadable { .. } | Self::File { .. } => None,
        }
    }
}
