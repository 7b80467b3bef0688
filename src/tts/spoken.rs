//! What a phrase sounds like: its text without what only the eye reads, and with words for numbers and symbols.
//!
//! Three steps: [`plain`] takes the markdown away, [`english`] turns numbers, abbreviations and symbols into words
//! (in English only), [`tidy`] drops what nobody can say.

mod addresses;
mod calendar;
mod english;
mod numbers;
mod plain;
mod quantities;
mod symbols;
mod tidy;
mod units;
mod words;

use super::phrase::{Block, Place};

/// How a phrase that begins at `place` is said; empty where there is nothing to say.
pub(super) fn say(text: &str, place: &Place, language: Option<&str>) -> String {
    let block = place.block_of(text);
    if let Block::Fence { .. } = block {
        return String::new();
    }
    let marks = place.opening(text).map_or(0, |opening| opening.length);
    let plain = plain::plain(text, marks, block);
    let worded = if is_english(language) { english::english(&plain) } else { addresses::named(&plain) };
    tidy::tidy(&worded)
}

/// English is assumed where nobody says otherwise.
fn is_english(language: Option<&str>) -> bool {
    language.is_none_or(|language| language.split(['-', '_']).next() == Some("en"))
}

#[cfg(test)]
mod tests;
