//! The names a client may call the loaded model by.

/// The loaded model's name and the names that clients hard-code for others.
#[derive(Debug, Clone)]
pub struct ModelNames {}

/// A name nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown model \"{name}\"; known are {}", known.join(", "))]
pub struct UnknownModel {
    /// The name that was asked for.
    pub name: String,
    /// Those that would have done.
    pub known: Vec<String>,
}

impl ModelNames {
    /// The aliases that are known unless others are configured.
    pub const DEFAULT_ALIASES: [&'static str; 9] = [
        "whisper-1",
        "gpt-4o-transcribe",
        "gpt-4o-mini-transcribe",
        "gpt-4o-transcribe-diarize",
        "gpt-realtime",
        "gpt-realtime-mini",
        "gpt-realtime-whisper",
        "gpt-4o-realtime-preview",
        "gpt-4o-mini-realtime-preview",
    ];

    /// The loaded model and its aliases.
    pub fn new(_loaded: String, _aliases: Vec<String>) -> Self {
        todo!()
    }

    /// The loaded model's name, when `name` means it.
    ///
    /// # Errors
    ///
    /// [`UnknownModel`].
    pub fn resolve(&self, _name: &str) -> Result<&str, UnknownModel> {
        todo!()
    }

    /// All names, the loaded model's own first.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        std::iter::empty()
    }
}
