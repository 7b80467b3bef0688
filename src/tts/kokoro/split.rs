//! Cuts a text in two where one would draw breath.

/// Both halves of a text, cut where it disturbs least: after a sentence, else after a clause, else between words, else
/// anywhere; of several such places at the one that is nearest to the middle. `None` when it cannot be cut.
pub(super) fn halve(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    let places =
        [places(text, ends_sentence), places(text, ends_clause), places(text, |_| true), anywhere(text)];
    let at = places.into_iter().find_map(|places| {
        let inside = places.into_iter().filter(|at| *at > 0 && *at < text.len());
        inside.min_by_key(|at| at.abs_diff(text.len() / 2))
    })?;
    Some((text[..at].trim_end(), text[at..].trim_start()))
}

/// Where white space begins after something of which `fits` is true.
fn places(text: &str, fits: impl Fn(char) -> bool) -> Vec<usize> {
    let pairs = text.char_indices().zip(text.char_indices().skip(1));
    let fitting = pairs.filter(|((_, before), (_, space))| {
        space.is_whitespace() && !before.is_whitespace() && fits(*before)
    });
    fitting.map(|(_, (at, _))| at).collect()
}

fn anywhere(text: &str) -> Vec<usize> {
    text.char_indices().map(|(at, _)| at).collect()
}

fn ends_sentence(character: char) -> bool {
    matches!(character, '.' | '!' | '?' | '…')
}

fn ends_clause(character: char) -> bool {
    matches!(character, ',' | ';' | ':' | '—' | ')')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_cut_is_where_one_would_draw_breath() {
        let cases = [
            (
                "One. Two, three four five six seven eight.",
                Some(("One.", "Two, three four five six seven eight.")),
            ),
            ("A b. C d. E f. G h.", Some(("A b. C d.", "E f. G h."))),
            ("One two, three four five six", Some(("One two,", "three four five six"))),
            ("one two three four", Some(("one two", "three four"))),
            ("abcdef", Some(("abc", "def"))),
            ("3.14159", Some(("3.1", "4159"))),
            ("ä", None),
            ("  ", None),
        ];
        for (text, expected) in cases {
            assert_eq!(halve(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_both_halves_are_shorter(text in "[a-zä.,! ]{0,60}") {
            let solid = |text: &str| text.split_whitespace().collect::<String>();
            match halve(&text) {
                Some((first, second)) => {
                    prop_assert_eq!(solid(first) + &solid(second), solid(&text));
                    prop_assert!(!first.is_empty() && !second.is_empty());
                }
                None => prop_assert!(text.trim().chars().count() < 2),
            }
        }
    }
}
