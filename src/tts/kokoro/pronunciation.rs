//! From text to phonemes: misaki's rules and dictionaries for English, American and British.

use super::foreign::Foreign;
use crate::tts::TtsError;
use misaki_rs::{G2P, Language};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Whose English.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Accent {
    American,
    British,
}

impl Accent {
    /// Of the voice of that name, whose first letter says it.
    pub(super) fn of(voice: &str) -> Self {
        if voice.starts_with('b') { Self::British } else { Self::American }
    }
}

/// How words are said. Shared by all threads: the dictionaries of one accent take some 100 MB.
pub(super) struct Pronunciation {
    accents: HashMap<Accent, Mutex<G2P>>,
}

impl Pronunciation {
    /// Loads the dictionaries of these accents. Takes a moment.
    pub(super) fn load(accents: impl IntoIterator<Item = Accent>, espeak: &Path) -> Arc<Self> {
        let load = |accent: Accent| {
            let british = accent == Accent::British;
            let language = if british { Language::EnglishGB } else { Language::EnglishUS };
            let unknown = Foreign::new(british, espeak);
            (accent, Mutex::new(G2P::with_fallback(language, Some(Box::new(unknown)))))
        };
        let mut wanted: Vec<Accent> = accents.into_iter().collect();
        wanted.dedup();
        Arc::new(Self { accents: wanted.into_iter().map(load).collect() })
    }

    /// The phonemes of a text.
    ///
    /// # Errors
    ///
    /// [`TtsError::Failed`].
    pub(super) fn phonemes(&self, text: &str, accent: Accent) -> Result<String, TtsError> {
        let failed = |reason: String| TtsError::Failed(format!("no pronunciation: {reason}"));
        let rules = self.accents.get(&accent).ok_or_else(|| failed("its accent is not loaded".into()))?;
        let rules = rules.lock().unwrap_or_else(PoisonError::into_inner);
        let (phonemes, _) = rules.g2p(text).map_err(|error| failed(error.to_string()))?;
        Ok(phonemes)
    }
}
