//! Words that no dictionary knows: as espeak-ng would say them where it is installed, else letter by letter.

use crate::tts::espeak::Program;
use misaki_rs::fallback::{Fallback, FallbackError};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tracing::debug;

/// How long the program may think about a word.
const PATIENCE: Duration = Duration::from_secs(2);

/// Words that are remembered; past that all are forgotten and learned anew.
const MEMORY: usize = 4_096;

/// From the program's phonemes to misaki's, longest first: the table of misaki's `EspeakFallback` (Apache-2.0,
/// hexgrad/misaki, `espeak.py`).
const CONVERSIONS: &[(&str, &str)] = &[
    ("ʔˌn\u{329}", "tᵊn"),
    ("ʔn\u{329}", "tᵊn"),
    ("a^ɪ", "I"),
    ("a^ʊ", "W"),
    ("d^ʒ", "ʤ"),
    ("e^ɪ", "A"),
    ("t^ʃ", "ʧ"),
    ("ɔ^ɪ", "Y"),
    ("ə^l", "ᵊl"),
    ("ʔn", "tᵊn"),
    ("ʲo", "jo"),
    ("ʲə", "jə"),
    ("ʔ", "t"),
    ("ʲ", ""),
    ("ɚ", "əɹ"),
    ("r", "ɹ"),
    ("x", "k"),
    ("ç", "k"),
    ("ɐ", "ə"),
    ("ɬ", "l"),
    ("\u{303}", ""),
];

/// Vowels at their ends that differ between the two sides of the ocean, from the same place.
const AMERICAN: &[(&str, &str)] =
    &[("o^ʊ", "O"), ("ɜːɹ", "ɜɹ"), ("ɜː", "ɜɹ"), ("ɪə", "iə"), ("ː", ""), ("e", "A")];
const BRITISH: &[(&str, &str)] = &[("e^ə", "ɛː"), ("iə", "ɪə"), ("ə^ʊ", "Q"), ("e", "A")];

/// What letters are called; `Z`, `O` and `R` are others in Britain.
const LETTERS: [&str; 26] = [
    "ˈA",
    "bˈi",
    "sˈi",
    "dˈi",
    "ˈi",
    "ˈɛf",
    "ʤˈi",
    "ˈAʧ",
    "ˈI",
    "ʤˈA",
    "kˈA",
    "ˈɛl",
    "ˈɛm",
    "ˈɛn",
    "ˈO",
    "pˈi",
    "kjˈu",
    "ˈɑɹ",
    "ˈɛs",
    "tˈi",
    "jˈu",
    "vˈi",
    "dˈʌbᵊljˌu",
    "ˈɛks",
    "wˈI",
    "zˈi",
];

/// Says words that no dictionary knows.
pub(super) struct Foreign {
    british: bool,
    /// `None` where it is not installed.
    program: Option<Program>,
    known: Mutex<HashMap<String, String>>,
}

impl Foreign {
    /// With the program at `espeak`, if it is there.
    pub(super) fn new(british: bool, espeak: &Path) -> Self {
        let program = Program::new(espeak).ok();
        let there = program.filter(|program| program.ask(&["-q", "--ipa"], "a", PATIENCE).is_ok());
        Self { british, program: there, known: Mutex::default() }
    }

    fn pronounce(&self, word: &str) -> String {
        let asked = self.program.as_ref().map(|program| {
            let voice = if self.british { "en-gb" } else { "en-us" };
            program.ask(&["-q", "--ipa", "--tie=^", "-v", voice], word, PATIENCE)
        });
        match asked {
            Some(Ok(phonemes)) if !phonemes.trim().is_empty() => convert(&phonemes, self.british),
            Some(Err(error)) => {
                debug!(%error, "an unknown word is spelled");
                spell(word, self.british)
            }
            _ => spell(word, self.british),
        }
    }
}

impl Fallback for Foreign {
    fn phonemize(&self, word: &str) -> Result<String, FallbackError> {
        let known =
            |foreign: &Self| foreign.known.lock().unwrap_or_else(PoisonError::into_inner).get(word).cloned();
        if let Some(phonemes) = known(self) {
            return Ok(phonemes);
        }
        let phonemes = self.pronounce(word);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MEMORY {
            known.clear();
        }
        known.insert(word.to_owned(), phonemes.clone());
        Ok(phonemes)
    }
}

/// The program's phonemes as misaki's.
fn convert(phonemes: &str, british: bool) -> String {
    let line = phonemes.split_whitespace().collect::<Vec<_>>().join(" ");
    let all = [CONVERSIONS, if british { BRITISH } else { AMERICAN }].concat();
    let converted = all.iter().fold(line, |line, (from, to)| line.replace(from, to));
    let mut out = String::new();
    for character in converted.replace('^', "").replace('o', "ɔ").chars() {
        match (character, out.pop()) {
            // A consonant that is a syllable of its own.
            ('\u{329}', Some(consonant)) => out.extend(['ᵊ', consonant]),
            ('\u{329}', None) => {}
            (character, before) => out.extend(before.into_iter().chain([character])),
        }
    }
    out
}

/// The word's letters and digits by their names; other characters have none.
fn spell(word: &str, british: bool) -> String {
    let names: Vec<&str> = word.chars().filter_map(|letter| letter_name(letter, british)).collect();
    names.join(" ")
}

fn letter_name(letter: char, british: bool) -> Option<&'static str> {
    let letter = letter.to_ascii_uppercase();
    match letter {
        'Z' if british => Some("zˈɛd"),
        'O' if british => Some("ˈQ"),
        'R' if british => Some("ˈɑː"),
        'A'..='Z' => Some(LETTERS[letter as usize - 'A' as usize]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::vocabulary::tokens;
    use super::*;

    #[test]
    fn the_programs_phonemes_become_misakis() {
        let cases = [
            // As espeak-ng 1.51 gives them.
            ("kjˌuːzˌiːˈɛksdˌʌbə^ljˌuːvˈiː\n", false, "kjˌuzˌiˈɛksdˌʌbᵊljˌuvˈi"),
            ("tˈiːt^ʃˈɑːt^ʃk", false, "tˈiʧˈɑʧk"),
            ("kjˈuːbɚnˌiːts", false, "kjˈubəɹnˌits"),
            ("zˈo^ʊi", false, "zˈOi"),
            ("zˈə^ʊi", true, "zˈQi"),
            ("bˈʌtn\u{329}", false, "bˈʌtᵊn"),
            ("nˈɜːd", false, "nˈɜɹd"),
            ("fˈe^ə", true, "fˈɛː"),
        ];
        for (from, british, expected) in cases {
            assert_eq!(convert(from, british), expected, "{from}");
        }
    }

    #[test]
    fn without_the_program_unknown_words_are_spelled() {
        let foreign = Foreign::new(false, Path::new("/nowhere/espeak-ng"));
        assert_eq!(foreign.phonemize("qZ-x").unwrap(), "kjˈu zˈi ˈɛks");
        let british = Foreign::new(true, Path::new("/nowhere/espeak-ng"));
        assert_eq!(british.phonemize("ozr").unwrap(), "ˈQ zˈɛd ˈɑː");
        assert_eq!(british.phonemize("ozr").unwrap(), "ˈQ zˈɛd ˈɑː", "from memory");
        let all: String = ('a'..='z').collect();
        for british in [false, true] {
            let spelled = spell(&all, british);
            assert_eq!(tokens(&spelled).len(), spelled.chars().count(), "the network knows each sound");
        }
    }
}
