//! Cuts a text that is still being written into phrases that can be said. Pure.
//!
//! What somebody hears first is a short phrase, so that it sounds soon; then come sentences. Where the cuts are follows
//! from the text alone, never from the pieces in which it came: a cut is made once nothing that follows can change it.
//! Markdown is understood as far as a cut needs it ([`inline`], [`block`]), so that no mark and no address is torn.

mod abbreviations;
mod block;
mod cut;
mod inline;
mod scripts;

pub(super) use block::{Block, Place};
pub(super) use inline::{Kind, Look, atom};

use super::spoken;

/// A speakable unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phrase {
    /// As it was written, white space and marks included: all phrases of a text, one after the other, are that text.
    pub text: String,
    /// As it is said; empty where there is nothing to say.
    pub spoken: String,
}

/// Cuts the streamed text of one reply into phrases.
#[derive(Debug, Clone)]
pub struct Phraser {
    language: Option<String>,
    /// What no phrase was made of yet.
    pending: String,
    place: Place,
}

impl Phraser {
    /// For a text in `language` (ISO 639-1, as `en`). Numbers and symbols become words in English, and where none is
    /// given; elsewhere they stay as they are.
    pub fn new(language: Option<&str>) -> Self {
        Self { language: language.map(str::to_owned), pending: String::new(), place: Place::default() }
    }

    /// Takes more of the text; returns the phrases that are certain now.
    pub fn push(&mut self, delta: &str) -> Vec<Phrase> {
        self.pending.push_str(delta);
        self.take(false)
    }

    /// Returns what is left when the text is over. What is pushed then begins a new text.
    pub fn finish(&mut self) -> Vec<Phrase> {
        let mut all = self.take(true);
        let rest = std::mem::take(&mut self.pending);
        if !rest.is_empty() {
            all.push(self.phrase(&rest));
        }
        self.place = Place::default();
        all
    }

    fn take(&mut self, at_end: bool) -> Vec<Phrase> {
        let pending = std::mem::take(&mut self.pending);
        let mut rest = pending.as_str();
        let mut all = Vec::new();
        while let Some(length) = cut::find(rest, &self.place, at_end) {
            let (text, after) = rest.split_at(length);
            all.push(self.phrase(text));
            rest = after;
        }
        rest.clone_into(&mut self.pending);
        all
    }

    fn phrase(&mut self, text: &str) -> Phrase {
        let spoken = spoken::say(text, &self.place, self.language.as_deref());
        self.place.pass(text, !spoken.is_empty());
        Phrase { text: text.to_owned(), spoken }
    }
}

/// All phrases of a whole text.
pub fn phrases(text: &str, language: Option<&str>) -> Vec<Phrase> {
    let mut phraser = Phraser::new(language);
    let mut all = phraser.push(text);
    all.extend(phraser.finish());
    all
}

/// A whole text as it is said.
pub fn speakable(text: &str, language: Option<&str>) -> String {
    let mut all = String::new();
    for phrase in phrases(text, language).iter().filter(|phrase| !phrase.spoken.is_empty()) {
        if !all.is_empty() {
            all.push(' ');
        }
        all.push_str(&phrase.spoken);
    }
    all
}

#[cfg(test)]
mod tests;
