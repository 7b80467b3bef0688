//! Tokens to words. Pure.

use super::Word;
use crate::audio::Span;

/// One text token with its time.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Piece {
    /// The token's number.
    pub(super) token: i32,
    /// Its bytes; a character may be spread over several tokens.
    pub(super) bytes: Vec<u8>,
    /// Where it lies in the stream.
    pub(super) span: Span,
    /// Its log probability.
    pub(super) logprob: f32,
}

/// Joins tokens to words: a word begins with a space, or, where a language has no spaces, with each character that is
/// not Latin. Times are put in order and inside `within`.
pub(super) fn join_words(pieces: &[Piece], within: Span) -> Vec<Word> {
    let mut groups: Vec<Vec<&Piece>> = Vec::new();
    for piece in pieces {
        match groups.last_mut() {
            Some(group) if !begins_word(group, piece) => group.push(piece),
            _ => groups.push(vec![piece]),
        }
    }
    let mut from = within.start;
    let mut words = Vec::with_capacity(groups.len());
    for group in groups {
        let word = word(&group, Span::new(from, within.end));
        if !word.text.is_empty() {
            from = word.span.end;
            words.push(word);
        }
    }
    words
}

fn begins_word(group: &[&Piece], piece: &Piece) -> bool {
    piece.bytes.first() == Some(&b' ')
        || ends_unspaced(group) && !piece.bytes.iter().all(u8::is_ascii_punctuation)
}

/// Whether the group ends with a whole character of a script that is written without spaces.
fn ends_unspaced(group: &[&Piece]) -> bool {
    let bytes: Vec<u8> = group.iter().flat_map(|piece| piece.bytes.iter().copied()).collect();
    let unspaced = |char: char| matches!(char, '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}');
    std::str::from_utf8(&bytes).is_ok_and(|text| text.chars().next_back().is_some_and(unspaced))
}

fn word(group: &[&Piece], within: Span) -> Word {
    let bytes: Vec<u8> = group.iter().flat_map(|piece| piece.bytes.iter().copied()).collect();
    let start = group.first().map_or(within.start, |piece| piece.span.start).clamp(within.start, within.end);
    let end = group.last().map_or(start, |piece| piece.span.end).clamp(start, within.end);
    let logprob = group.iter().map(|piece| piece.logprob).sum::<f32>() / group.len().max(1) as f32;
    Word {
        text: String::from_utf8_lossy(&bytes).trim().to_owned(),
        span: Span::new(start, end),
        probability: logprob.exp().clamp(0.0, 1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(texts: &[&[u8]]) -> Vec<Piece> {
        let piece = |(index, bytes): (usize, &&[u8])| {
            let start = index as u64 * 100;
            Piece {
                token: index as i32,
                bytes: bytes.to_vec(),
                span: Span::new(start, start + 100),
                logprob: 0.0,
            }
        };
        texts.iter().enumerate().map(piece).collect()
    }

    fn texts(words: &[Word]) -> Vec<&str> {
        words.iter().map(|word| word.text.as_str()).collect()
    }

    const ALL: Span = Span { start: 0, end: 10_000 };

    #[test]
    fn a_word_begins_with_a_space_and_keeps_its_punctuation() {
        let words = join_words(&pieces(&[b" Turn", b" on", b" the", b" lap", b"top", b"."]), ALL);
        assert_eq!(texts(&words), ["Turn", "on", "the", "laptop."]);
        assert_eq!(words[3].span, Span::new(300, 600));
    }

    #[test]
    fn a_character_spread_over_two_tokens_is_one_character() {
        assert_eq!(texts(&join_words(&pieces(&[b" caf", b"\xc3", b"\xa9"]), ALL)), ["café"]);
    }

    #[test]
    fn a_script_without_spaces_gives_a_word_for_each_token() {
        let words = join_words(&pieces(&["今天".as_bytes(), "天气".as_bytes(), "。".as_bytes()]), ALL);
        assert_eq!(texts(&words), ["今天", "天气", "。"]);
    }

    #[test]
    fn words_never_overlap_nor_leave_their_segment() {
        let mut disordered = pieces(&[b" one", b" two", b" three"]);
        disordered[0].span = Span::new(0, 250);
        disordered[2].span = Span::new(150, 99_999);
        let words = join_words(&disordered, Span::new(50, 400));
        let spans: Vec<_> = words.iter().map(|word| (word.span.start, word.span.end)).collect();
        assert_eq!(spans, [(50, 250), (250, 250), (250, 400)]);
    }
}
