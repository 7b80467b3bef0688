//! Texts as they are compared: the words that are said, whatever their spelling and punctuation. Pure.

use super::words::is_unspaced;

/// One word that is said in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spoken {
    /// Its letters and digits, in lower case: what is compared.
    pub(super) key: String,
    /// The byte of the text behind its last letter; punctuation that follows lies behind it.
    pub(super) end: usize,
}

/// The words of a text.
///
/// A word ends with a space or a hyphen; in a script that is written without spaces each character is one.
pub(super) fn spoken(text: &str) -> Vec<Spoken> {
    let mut words: Vec<Spoken> = Vec::new();
    let mut goes_on = false;
    for (at, char) in text.char_indices() {
        if char.is_alphanumeric() {
            let alone = is_unspaced(char);
            if !goes_on || alone {
                words.push(Spoken { key: String::new(), end: at });
            }
            if let Some(word) = words.last_mut() {
                word.key.extend(char.to_lowercase());
                word.end = at + char.len_utf8();
            }
            goes_on = !alone;
        } else if char.is_whitespace() || matches!(char, '-' | '\u{2010}'..='\u{2015}') {
            goes_on = false;
        }
    }
    words
}

/// Appends to a text what follows on it: behind a space, unless both are of a script that is written without.
pub fn append(text: &mut String, following: &str) {
    let is_spaced = |char: char| !is_unspaced(char) && !is_wide(char);
    let ends_spaced = text.chars().next_back().is_some_and(is_spaced);
    let goes_on_spaced = following.chars().next().is_none_or(is_spaced);
    if ends_spaced || !text.is_empty() && goes_on_spaced {
        text.push(' ');
    }
    text.push_str(following);
}

/// Punctuation of East Asian scripts, which has its space in it.
fn is_wide(char: char) -> bool {
    matches!(char, '\u{3000}'..='\u{303f}' | '\u{ff00}'..='\u{ffef}')
}

/// How many words two texts have in common from their beginnings.
pub(super) fn agreed(a: &[Spoken], b: &[Spoken]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a.key == b.key).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words as they are compared, each with the end of the text up to it.
    fn keys(text: &str) -> String {
        spoken(text).into_iter().map(|word| word.key).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn words_are_compared_without_case_and_punctuation() {
        assert_eq!(keys("  Wake me, at ONE o'clock! "), "wake me at one oclock");
        assert_eq!(keys("three fifty-five – now"), "three fifty five now");
        assert_eq!(keys("¿Qué? … \"Sí\""), "qué sí");
        assert_eq!(keys(" … -- "), "");
    }

    #[test]
    fn each_character_of_a_script_without_spaces_is_a_word() {
        assert_eq!(keys("今天OK了。"), "今 天 ok 了");
    }

    #[test]
    fn texts_are_joined_by_a_space_unless_their_script_has_none() {
        let joined = |pieces: &[&str]| {
            let mut text = String::new();
            for piece in pieces {
                append(&mut text, piece);
            }
            text
        };
        assert_eq!(joined(&["Open.", "Close."]), "Open. Close.");
        assert_eq!(joined(&["今天。", "天气", "！好"]), "今天。天气！好");
        assert_eq!(joined(&["今天", "OK", "了"]), "今天 OK 了");
        assert_eq!(joined(&["", "one"]), "one");
    }

    #[test]
    fn a_word_ends_before_its_punctuation() {
        let ends: Vec<_> = spoken("Oh, (yes)!").into_iter().map(|word| word.end).collect();
        assert_eq!(ends, [2, 8]);
    }
}
