//! The names a client may call the loaded model by.

use super::error::shortened;

/// The loaded model's name and the names that clients hard-code for others.
#[derive(Debug, Clone)]
pub struct ModelNames {
    /// The loaded model's own name first, each name once.
    names: Vec<String>,
}

/// A name nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown model \"{name}\"; known are {}", known.join(", "))]
pub struct UnknownModel {
    /// The name that was asked for.
    pub name: String,
    /// Those that would have done.
    pub known: Vec<String>,
}

impl UnknownModel {
    /// The stable name of this error on the wire, in logs and in metrics.
    pub fn code(&self) -> &'static str {
        "model_not_found"
    }
}

impl ModelNames {
    /// The aliases that are known unless others are configured: what OpenAI's Python SDK 3.52 names for transcription and
    /// for realtime sessions.
    pub const DEFAULT_ALIASES: [&'static str; 23] = [
        "whisper-1",
        "gpt-transcribe",
        "gpt-live-transcribe",
        "gpt-4o-transcribe",
        "gpt-4o-transcribe-diarize",
        "gpt-4o-mini-transcribe",
        "gpt-4o-mini-transcribe-2025-12-15",
        "gpt-realtime",
        "gpt-realtime-2025-08-28",
        "gpt-realtime-1.5",
        "gpt-realtime-2",
        "gpt-realtime-2.1",
        "gpt-realtime-2.1-mini",
        "gpt-realtime-mini",
        "gpt-realtime-mini-2025-10-06",
        "gpt-realtime-mini-2025-12-15",
        "gpt-realtime-whisper",
        "gpt-4o-realtime-preview",
        "gpt-4o-realtime-preview-2024-10-01",
        "gpt-4o-realtime-preview-2024-12-17",
        "gpt-4o-realtime-preview-2025-06-03",
        "gpt-4o-mini-realtime-preview",
        "gpt-4o-mini-realtime-preview-2024-12-17",
    ];

    /// The loaded model and its aliases.
    pub fn new(loaded: String, aliases: Vec<String>) -> Self {
        let mut names = vec![loaded];
        for alias in aliases {
            if !names.contains(&alias) {
                names.push(alias);
            }
        }
        Self { names }
    }

    /// The loaded model's own name.
    pub fn loaded(&self) -> &str {
        &self.names[0]
    }

    /// The loaded model's name, when `name` means it.
    ///
    /// # Errors
    ///
    /// [`UnknownModel`].
    pub fn resolve(&self, name: &str) -> Result<&str, UnknownModel> {
        if self.names.iter().any(|known| known == name) {
            return Ok(self.loaded());
        }
        Err(UnknownModel { name: shortened(name), known: self.names.clone() })
    }

    /// All names, the loaded model's own first.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> ModelNames {
        ModelNames::new("demo".into(), vec!["whisper-1".into(), "demo".into(), "whisper-1".into()])
    }

    #[test]
    fn aliases_mean_the_loaded_model() {
        assert_eq!(names().resolve("whisper-1"), Ok("demo"));
        assert_eq!(names().resolve("demo"), Ok("demo"));
    }

    #[test]
    fn every_name_is_listed_once_and_the_loaded_model_first() {
        assert_eq!(names().all().collect::<Vec<_>>(), ["demo", "whisper-1"]);
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_known_ones() {
        let error = names().resolve("whisper-9").unwrap_err();
        assert_eq!(error.to_string(), "unknown model \"whisper-9\"; known are demo, whisper-1");
        assert!(names().resolve(&"x".repeat(5000)).unwrap_err().to_string().len() < 150);
    }
}
