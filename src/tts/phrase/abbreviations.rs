//! Words whose full stop ends no sentence, or not always one.

/// Followed by what they belong to: no sentence ends behind them.
const LEADING: &[&str] = &[
    "mr", "mrs", "ms", "mx", "dr", "prof", "st", "mt", "ft", "rev", "hon", "gen", "col", "capt", "lt", "sgt",
    "cmdr", "sen", "rep", "gov", "pres", "e.g", "i.e", "eg", "ie", "vs", "v", "cf", "ca", "approx", "esp",
    "fig", "figs", "eq", "vol", "ch", "sec", "pp", "op", "no", "nos", "art", "al", "resp", "incl", "excl",
    "viz", "z.b", "d.h", "bzw", "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov",
    "dec",
];

/// A sentence may end behind them: it has when a capital letter follows.
const TRAILING: &[&str] = &[
    "etc", "inc", "ltd", "co", "corp", "jr", "sr", "bros", "dept", "est", "ave", "blvd", "rd", "min", "max",
    "hrs", "a.m", "p.m", "am", "pm", "usw", "ph.d", "b.a", "m.a", "b.sc", "m.sc",
];

/// What the full stop behind a word means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// The end of a sentence.
    Sentence,
    /// An abbreviation.
    Word,
    /// Both, if a sentence begins behind it.
    Either,
}

/// What a full stop behind `word` (without that stop) means, if white space follows.
pub(super) fn stop_behind(word: &str) -> Stop {
    let word = word.trim_start_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    let word = word.as_str();
    if TRAILING.contains(&word) {
        Stop::Either
    } else if LEADING.contains(&word) || is_initials(word) {
        Stop::Word
    } else {
        Stop::Sentence
    }
}

/// `j`, `u.s`, `n.a.s.a`; but `i`, which is a word.
fn is_initials(word: &str) -> bool {
    let single = |part: &str| part.chars().count() == 1 && part.chars().all(char::is_alphabetic);
    word != "i" && word.split('.').all(single)
}
