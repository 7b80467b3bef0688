//! Tokens to words. Pure.

use super::align::align;
use super::{Token, Word};
use crate::audio::Span;

/// Joins tokens to words and finds them in the segment's sound (16 kHz mono, as long as `segment`).
///
/// A word begins with a space or, in a script that is written without spaces, with each token.
pub(super) fn timed_words(tokens: &[Token], sound: &[f32], segment: Span) -> Vec<Word> {
    let mut words = join_words(tokens);
    let letters: Vec<usize> = words.iter().map(|word| letters(&word.text)).collect();
    for (word, span) in words.iter_mut().zip(align(&letters, sound, segment)) {
        word.span = span;
    }
    words
}

/// How much there is to say; a letter of a script without spaces is about as much as two of ours.
fn letters(text: &str) -> usize {
    text.chars().filter(|char| char.is_alphanumeric()).map(|char| 1 + usize::from(is_unspaced(char))).sum()
}

/// How many of the tokens make up the first `words` words.
pub(super) fn tokens_in(tokens: &[Token], words: usize) -> usize {
    let (mut n_words, mut n_tokens) = (0, 0);
    for group in groups(tokens) {
        n_words += usize::from(!word(&group).text.is_empty());
        if n_words > words {
            break;
        }
        n_tokens += group.len();
    }
    n_tokens
}

/// How many of the tokens come before the first word with a token that is less likely; punctuation does not count.
pub(super) fn likely(tokens: &[Token], logprob: f32) -> usize {
    let is_likely = |token: &&Token| token.logprob >= logprob || !has_letters(token);
    let groups = groups(tokens).into_iter().take_while(|group| group.iter().all(is_likely));
    groups.map(|group| group.len()).sum()
}

/// What tokens say together.
pub(super) fn text(tokens: &[Token]) -> String {
    let bytes: Vec<u8> = tokens.iter().flat_map(|token| &token.bytes).copied().collect();
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

/// Whether it is more than punctuation; part of a character may be a letter.
fn has_letters(token: &Token) -> bool {
    std::str::from_utf8(&token.bytes).map_or(true, |text| text.chars().any(char::is_alphanumeric))
}

/// The words, without their times.
pub(super) fn join_words(tokens: &[Token]) -> Vec<Word> {
    groups(tokens).iter().map(|group| word(group)).filter(|word| !word.text.is_empty()).collect()
}

/// The tokens of each word.
fn groups(tokens: &[Token]) -> Vec<Vec<&Token>> {
    let mut groups: Vec<Vec<&Token>> = Vec::new();
    for token in tokens {
        match groups.last_mut() {
            Some(group) if !begins_word(group, token) => group.push(token),
            _ => groups.push(vec![token]),
        }
    }
    groups
}

fn begins_word(group: &[&Token], token: &Token) -> bool {
    token.bytes.first() == Some(&b' ')
        || ends_unspaced(group)
            && std::str::from_utf8(&token.bytes).is_ok_and(|text| text.chars().any(char::is_alphanumeric))
}

/// Whether the group ends with a whole character of a script that is written without spaces.
fn ends_unspaced(group: &[&Token]) -> bool {
    let bytes: Vec<u8> = group.iter().flat_map(|token| token.bytes.iter().copied()).collect();
    std::str::from_utf8(&bytes).is_ok_and(|text| text.chars().next_back().is_some_and(is_unspaced))
}

/// Thai, Lao, Burmese, Japanese and Chinese.
pub(super) fn is_unspaced(char: char) -> bool {
    matches!(char, '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}')
}

fn word(group: &[&Token]) -> Word {
    let bytes: Vec<u8> = group.iter().flat_map(|token| token.bytes.iter().copied()).collect();
    let logprob = group.iter().map(|token| token.logprob).sum::<f32>() / group.len().max(1) as f32;
    Word {
        text: String::from_utf8_lossy(&bytes).trim().to_owned(),
        span: Span::default(),
        probability: logprob.exp().clamp(0.0, 1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(tokens: &[&[u8]]) -> Vec<String> {
        let token = |bytes: &&[u8]| Token { id: 0, bytes: bytes.to_vec(), logprob: 0.0 };
        let tokens: Vec<Token> = tokens.iter().map(token).collect();
        join_words(&tokens).into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn a_word_begins_with_a_space_and_keeps_its_punctuation() {
        assert_eq!(
            texts(&[b" Turn", b" on", b" the", b" lap", b"top", b"."]),
            ["Turn", "on", "the", "laptop."]
        );
    }

    #[test]
    fn a_character_spread_over_two_tokens_is_one_character() {
        assert_eq!(texts(&[b" caf", b"\xc3", b"\xa9"]), ["café"]);
    }

    #[test]
    fn a_script_without_spaces_gives_a_word_for_each_token() {
        let tokens = ["今天", "天气", "。"].map(str::as_bytes);
        assert_eq!(texts(&tokens), ["今天", "天气。"]);
    }

    #[test]
    fn the_tokens_of_the_first_words_are_counted_with_their_punctuation() {
        let tokens = [" Turn", " on", ".", " ", " Lap", "top"].map(|text| Token {
            id: 0,
            bytes: text.into(),
            logprob: 0.0,
        });
        assert_eq!([0, 1, 2, 3, 9].map(|words| tokens_in(&tokens, words)), [0, 1, 4, 6, 6]);
    }

    #[test]
    fn the_likely_words_end_before_one_with_an_unlikely_token_whatever_the_punctuation() {
        let likely_of = |tokens: &[(&str, f32)]| {
            let token = |(text, logprob): &(&str, f32)| Token {
                id: 0,
                bytes: text.as_bytes().to_vec(),
                logprob: *logprob,
            };
            let tokens: Vec<Token> = tokens.iter().map(token).collect();
            text(&tokens[..likely(&tokens, -0.5)])
        };
        assert_eq!(likely_of(&[(" Wake", -0.1), (" me", -0.4), (" half", -0.6), (" past", -0.1)]), "Wake me");
        assert_eq!(likely_of(&[(" Call", -0.1), (" Rob", -0.2), ("ert", -0.9)]), "Call");
        assert_eq!(likely_of(&[(" Stop", -0.1), (".", -2.0), (" Now", -0.1)]), "Stop. Now");
        assert_eq!(likely_of(&[(" No", -0.8)]), "");
        assert_eq!(likely_of(&[]), "");
    }

    #[test]
    fn a_word_counts_its_letters_and_not_its_punctuation() {
        assert_eq!(["minutes.", "o'clock", "天气。"].map(letters), [7, 6, 4]);
    }
}
