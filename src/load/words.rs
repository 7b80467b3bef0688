//! Words of a text, and how many of them are wrong.

/// The words alone: in lower case, without punctuation, hyphens as spaces.
///
/// Letters and digits of all alphabets count, and apostrophes inside a word (`o'clock`).
pub fn words(text: &str) -> Vec<String> {
    let text = text.to_lowercase().replace('’', "'");
    let is_part = |c: char| c.is_alphanumeric() || c == '\'' || is_accent(c);
    let found = text.split(|c| !is_part(c)).map(|word| word.trim_matches('\''));
    found.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// An accent that follows its letter as a character of its own.
fn is_accent(c: char) -> bool {
    ('\u{300}'..='\u{36f}').contains(&c)
}

/// Substitutions, insertions and deletions between what is right and what was heard (Levenshtein distance).
pub fn word_errors(reference: &[String], hypothesis: &[String]) -> usize {
    let mut row: Vec<usize> = (0..=hypothesis.len()).collect();
    for (i, expected) in reference.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, heard) in hypothesis.iter().enumerate() {
            let substituted = diagonal + usize::from(expected != heard);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[hypothesis.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_are_told_apart_whatever_is_written_between_them() {
        let cases = [
            ("Set a timer for fifty-five minutes.", "set a timer for fifty five minutes"),
            ("It’s three o'clock!", "it's three o'clock"),
            ("'Stop,' she said — ‘now’", "stop she said now"),
            ("Größe: 3 Äpfel, élan", "größe 3 äpfel élan"),
            ("Cafe\u{301} привет 東京", "cafe\u{301} привет 東京"),
            (" \n-- ' ...", ""),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(words(text).join(" "), expected, "{text}");
        }
    }

    #[test]
    fn errors_are_the_fewest_words_to_change() {
        let cases = [
            ("a b c", "a b c", 0),
            ("a b c", "a x c", 1),
            ("a b c", "a c", 1),
            ("a b c", "a b b c", 1),
            ("a b c", "", 3),
            ("", "a b", 2),
            ("", "", 0),
            ("a b c d", "b c d e", 2),
            ("a b", "b a", 2),
        ];
        for (reference, hypothesis, errors) in cases {
            assert_eq!(
                word_errors(&words(reference), &words(hypothesis)),
                errors,
                "{reference} / {hypothesis}"
            );
        }
    }

    proptest! {
        /// Fails if the distance is not one: zero for equals only, the same both ways, no longer by way of a third.
        #[test]
        fn errors_are_a_distance(a in "[ab ]{0,12}", b in "[ab ]{0,12}", c in "[ab ]{0,12}") {
            let [a, b, c] = [a, b, c].map(|text| words(&text));
            prop_assert_eq!(word_errors(&a, &b) == 0, a == b);
            prop_assert_eq!(word_errors(&a, &b), word_errors(&b, &a));
            prop_assert!(word_errors(&a, &c) <= word_errors(&a, &b) + word_errors(&b, &c));
        }
    }
}
