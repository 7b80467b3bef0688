//! What can go wrong with models: one message with the cause, one stable code, one hint.

use super::Checksum;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a manifest is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid manifest: {0}")]
pub struct ManifestError(pub(super) String);

/// Why a model cannot be found, used or fetched.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Neither a name of the manifest nor a file.
    #[error("there is no model called {name:?}; known models: {}", known.join(", "))]
    UnknownModel {
        /// As given.
        name: String,
        /// Names that would work.
        known: Vec<String>,
    },
    /// Known, but in none of the folders.
    #[error("{name} is not installed: {file} is in none of {}", listed(searched))]
    NotInstalled {
        /// Its name in the manifest.
        name: String,
        /// The file looked for.
        file: String,
        /// The folders looked in.
        searched: Vec<PathBuf>,
        /// How to get it.
        hint: String,
    },
    /// A path was given, and nothing is there.
    #[error("there is no file {}", .0.display())]
    NoSuchFile(PathBuf),
    /// The file is not what it should be.
    #[error("{} is not a usable model: {reason}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// What would replace it, if it is in the manifest.
        name: Option<String>,
    },
    /// `pull` knows no address for it.
    #[error("{name} has no download address")]
    NoSource {
        /// Its name in the manifest.
        name: String,
        /// How to get it instead.
        hint: Option<String>,
    },
    /// No server answered.
    #[error("cannot reach {host}: {reason}")]
    Offline {
        /// The server.
        host: String,
        /// The innermost cause.
        reason: String,
        /// The file that was wanted.
        file: String,
    },
    /// A server answered, and not with the file.
    #[error("{url} answered {status}")]
    Refused {
        /// What was asked for.
        url: String,
        /// HTTP status.
        status: u16,
        /// When the server wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// The address cannot be asked at all.
    #[error("cannot download from {url}: {reason}")]
    BadAddress {
        /// As given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The connection broke; what arrived is kept.
    #[error("the download of {file} broke off after {received} bytes: {reason}")]
    Interrupted {
        /// The file's name.
        file: String,
        /// How many bytes of it are on disk.
        received: u64,
        /// The innermost cause.
        reason: String,
    },
    /// The file is whole, and its bytes are not the right ones; it was removed.
    #[error("{file} has the wrong bytes: expected {expected}, got {got}")]
    WrongChecksum {
        /// The file's name.
        file: String,
        /// From the manifest.
        expected: Checksum,
        /// As computed.
        got: Checksum,
    },
    /// The file is not as large as it should be.
    #[error("{file} has the wrong size: expected {expected} bytes, got {got}")]
    WrongSize {
        /// The file's name.
        file: String,
        /// From the manifest or the server.
        expected: u64,
        /// What came.
        got: u64,
    },
    /// Another process holds the partial file.
    #[error("{} is being downloaded by another process", .0.display())]
    Busy(PathBuf),
    /// The file system said no.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// A verb.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The HTTP client could not be made.
    #[error("cannot set up downloads: {0}")]
    Client(String),
}

impl StoreError {
    pub(super) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    /// The stable name of this error in logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownModel { .. } => "unknown_model",
            Self::NotInstalled { .. } => "model_not_installed",
            Self::NoSuchFile(_) => "model_file_missing",
            Self::Damaged { .. } => "model_damaged",
            Self::NoSource { .. } => "model_not_downloadable",
            Self::Offline { .. } => "download_offline",
            Self::Refused { .. } => "download_refused",
            Self::BadAddress { .. } => "download_bad_address",
            Self::Interrupted { .. } => "download_interrupted",
            Self::WrongChecksum { .. } => "wrong_checksum",
            Self::WrongSize { .. } => "wrong_size",
            Self::Busy(_) => "download_in_progress",
            Self::Io { .. } => "store_io",
            Self::Client(_) => "download_setup",
        }
    }

    /// What the user can do about it, without the word `hint`.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::UnknownModel { .. } => {
                "`stenopool models list` describes them; a path to a ggml file works, too".into()
            }
            Self::NotInstalled { hint, .. } => hint.clone(),
            Self::NoSource { hint, .. } => return hint.clone(),
            Self::Damaged { name: Some(name), .. } => format!("stenopool models pull {name}"),
            Self::Damaged { name: None, .. } | Self::NoSuchFile(_) => {
                "give a Whisper model in ggml form (.bin)".into()
            }
            Self::Offline { file, .. } => format!(
                "check network and proxy, name a mirror with `--mirror URL`, or copy {file} into a folder of \
                 `stenopool models path`"
            ),
            Self::Refused { status: 408 | 429 | 500..=599, .. } | Self::Interrupted { .. } => {
                "run it again later: it goes on where it stopped".into()
            }
            Self::Refused { .. } => {
                "name a mirror with `--mirror URL`; it must serve the same tree as a models folder".into()
            }
            Self::BadAddress { .. } => "a mirror looks like http://host/folder".into(),
            Self::WrongChecksum { .. } | Self::WrongSize { .. } => {
                "pull it again; if that does not help, the server has another file".into()
            }
            Self::Busy(_) => "wait for it, or stop it and run this again".into(),
            Self::Io { source, .. } => return io_hint(source.kind()),
            Self::Client(_) => "on Debian: apt-get install ca-certificates".into(),
        };
        Some(hint)
    }
}

fn io_hint(kind: io::ErrorKind) -> Option<String> {
    let hint = match kind {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room and run it again: it goes on where it stopped; `--models-dir DIR` names another disk"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "choose a folder you may write to with `--models-dir DIR`"
        }
        _ => return None,
    };
    Some(hint.into())
}

fn listed(folders: &[PathBuf]) -> String {
    folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ")
}
