//! Phonemes as the numbers that Kokoro was trained on.
//!
//! The table is `vocab` of `config.json` in hexgrad/Kokoro-82M (Apache-2.0): 114 of 178 numbers are in use.

/// What a network can be given at once, without the zeros at both ends.
pub(super) const MOST_TOKENS: usize = 510;

/// What stands at both ends.
pub(super) const PAD: i64 = 0;

/// Each run of characters with the number of its first; the others follow by one.
const RUNS: &[(i64, &str)] = &[
    (1, ";:,.!?"),
    (9, "—…\"()“” \u{303}ʣʥʦʨᵝ\u{ab67}AI"),
    (31, "O"),
    (33, "Q"),
    (35, "ST"),
    (39, "W"),
    (41, "Yᵊabcdef"),
    (50, "hijklmnopqrstuvwxyzɑɐɒæ"),
    (75, "βɔɕç"),
    (80, "ɖðʤə"),
    (85, "ɚɛɜ"),
    (90, "ɟ"),
    (92, "ɡ"),
    (99, "ɥ"),
    (101, "ɨɪʝ"),
    (110, "ɯɰŋɳɲɴø"),
    (118, "ɸθœ"),
    (123, "ɹ"),
    (125, "ɾɻ"),
    (128, "ʁɽʂʃʈʧ"),
    (135, "ʊʋ"),
    (138, "ʌɣɤ"),
    (142, "χʎ"),
    (147, "ʒʔ"),
    (156, "ˈˌː"),
    (162, "ʰ"),
    (164, "ʲ"),
    (169, "↓"),
    (171, "→↗↘"),
    (177, "ᵻ"),
];

/// The tokens of these phonemes; what the network does not know is left out, as Kokoro's own pipeline does.
pub(super) fn tokens(phonemes: &str) -> Vec<i64> {
    phonemes.chars().filter_map(token).collect()
}

fn token(phoneme: char) -> Option<i64> {
    RUNS.iter().find_map(|(first, run)| {
        let at = run.chars().position(|known| known == phoneme)?;
        Some(first + at as i64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_table_is_the_published_one() {
        let known = [
            (';', 1),
            ('?', 6),
            ('—', 9),
            (' ', 16),
            ('\u{303}', 17),
            ('\u{ab67}', 23),
            ('A', 24),
            ('I', 25),
            ('T', 36),
            ('Y', 41),
            ('ᵊ', 42),
            ('a', 43),
            ('f', 48),
            ('h', 50),
            ('z', 68),
            ('ɑ', 69),
            ('æ', 72),
            ('ç', 78),
            ('ə', 83),
            ('ɜ', 87),
            ('ɡ', 92),
            ('ɪ', 102),
            ('ʝ', 103),
            ('ŋ', 112),
            ('ø', 116),
            ('œ', 120),
            ('ɻ', 126),
            ('ʧ', 133),
            ('ʋ', 136),
            ('ɤ', 140),
            ('ʎ', 143),
            ('ʔ', 148),
            ('ˈ', 156),
            ('ː', 158),
            ('ʰ', 162),
            ('ʲ', 164),
            ('↓', 169),
            ('↘', 173),
            ('ᵻ', 177),
        ];
        for (phoneme, number) in known {
            assert_eq!(token(phoneme), Some(number), "{phoneme}");
        }
        let all: Vec<i64> = RUNS
            .iter()
            .flat_map(|(first, run)| tokens(run).into_iter().inspect(move |t| assert!(t >= first)))
            .collect();
        assert_eq!((all.len(), all.iter().collect::<BTreeSet<_>>().len()), (114, 114));
        assert!(all.iter().all(|token| (1..178).contains(token)));
    }

    #[test]
    fn what_has_no_number_is_left_out() {
        assert_eq!(tokens("hˈI❓g!"), [50, 156, 25, 5]);
    }
}
