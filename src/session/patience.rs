//! How long to wait in a pause before the speaker is taken to have finished. Pure.
//!
//! What was said so far tells: a whole sentence is likelier to be all of it than one that ends in "and".

use std::time::Duration;

/// How a text leaves off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// Like a sentence.
    Sentence,
    /// One cannot tell.
    Unclear,
    /// In the middle of something: a hesitation, a comma, a word that needs another one.
    Open,
}

/// Words that something must follow, and sounds of hesitation, in lower case.
const OPEN: &[&[&str]] = &[
    // English. Left out: "in", "on", "off", "up", "is", "it" and their like, which end many a command or question.
    &[
        "um", "uh", "uhm", "umm", "er", "erm", "hmm", "hm", "mm", "eh", "ah", "the", "a", "an", "my", "your",
        "our", "their", "and", "or", "but", "because", "if", "when", "while", "although", "than", "of",
        "from", "with", "without", "into", "between", "until", "during", "at", "as", "am", "was", "were",
        "been", "will", "would", "could", "should", "shall", "may", "might", "must", "cannot", "im", "ill",
        "youre", "theyre", "lets", "very", "every",
    ],
    // German
    &[
        "äh", "ähm", "öh", "öhm", "der", "die", "das", "den", "dem", "des", "ein", "eine", "einen", "einem",
        "einer", "eines", "mein", "meine", "meinen", "und", "oder", "aber", "weil", "dass", "wenn", "obwohl",
        "sondern", "mit", "von", "für", "ohne", "durch", "zwischen", "zum", "zur", "im", "vom", "beim",
        "sehr",
    ],
    // French
    &[
        "euh", "heu", "ben", "le", "la", "les", "un", "une", "des", "du", "mon", "ma", "mes", "et", "ou",
        "mais", "parce", "que", "quand", "si", "de", "pour", "avec", "sans", "dans", "chez", "entre", "très",
    ],
    // Spanish
    &[
        "este", "eh", "el", "los", "las", "una", "unos", "unas", "mi", "mis", "y", "o", "pero", "porque",
        "cuando", "del", "para", "con", "sin", "por", "entre", "muy",
    ],
];

/// Says how a text leaves off.
///
/// A full stop counts for little: Whisper sets one wherever the sound ends, also behind a word that cannot end anything.
pub fn closing(text: &str) -> Closing {
    let text = text.trim_end_matches(|char: char| char.is_whitespace() || QUOTES.contains(&char));
    if text.ends_with("..") || text.ends_with([',', '、', '，', '،', ';', ':', '-', '–', '—', '…']) {
        return Closing::Open;
    }
    let asks = text.ends_with(['?', '？', '؟', '!', '！']);
    if !asks && ends_open(text) {
        return Closing::Open;
    }
    if asks || text.ends_with(['.', '。', '।', '۔']) { Closing::Sentence } else { Closing::Unclear }
}

const QUOTES: [char; 7] = ['"', '”', '’', '»', ')', '」', '\''];

fn ends_open(text: &str) -> bool {
    let Some(last) = text.split_whitespace().next_back() else { return false };
    let last: String =
        last.chars().filter(|char| char.is_alphabetic()).flat_map(char::to_lowercase).collect();
    OPEN.iter().any(|words| words.contains(&last.as_str()))
}

/// How long to wait after texts that leave off in these ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// After a sentence.
    pub sentence: Duration,
    /// When one cannot tell.
    pub unclear: Duration,
    /// In the middle of something.
    pub open: Duration,
}

impl Patience {
    /// The waits around the silence that a client asked for.
    pub fn server_vad(base: Duration) -> Self {
        let sentence = (base * 4 / 5).max(SHORTEST).min(base);
        Self { sentence, unclear: base, open: (base * 8 / 5).min(base + LONGEST_EXTRA) }
    }

    /// Lets people think.
    pub fn low() -> Self {
        Self::millis(500, 1_200, 4_000)
    }

    /// Between the two.
    pub fn medium() -> Self {
        Self::millis(350, 800, 2_000)
    }

    /// Answers soon.
    pub fn high() -> Self {
        Self::millis(250, 500, 1_000)
    }

    /// How long to wait after this text; `None` while it is not known.
    pub fn wait(&self, text: Option<&str>) -> Duration {
        match text.map_or(Closing::Unclear, closing) {
            Closing::Sentence => self.sentence,
            Closing::Unclear => self.unclear,
            Closing::Open => self.open,
        }
    }

    fn millis(sentence: u64, unclear: u64, open: u64) -> Self {
        let [sentence, unclear, open] = [sentence, unclear, open].map(Duration::from_millis);
        Self { sentence, unclear, open }
    }
}

/// No wait is made shorter than this: stops in the middle of words are about as long.
const SHORTEST: Duration = Duration::from_millis(200);

/// No wait grows by more.
const LONGEST_EXTRA: Duration = Duration::from_millis(600);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(expected: Closing, texts: &[&str]) {
        for text in texts {
            assert_eq!(closing(text), expected, "{text}");
        }
    }

    #[test]
    fn whole_sentences_close() {
        check(
            Closing::Sentence,
            &[
                "Turn it off.",
                "What time is it?",
                "Stop! ",
                "He said \"no.\"",
                "今天天气很好。",
                "Turn the light on.",
                "Where is it from?",
            ],
        );
    }

    #[test]
    fn hesitations_and_words_that_need_another_leave_it_open_whatever_the_full_stop() {
        check(
            Closing::Open,
            &[
                "I would like, um.",
                "Set the",
                "Set the.",
                "Remind me to call my",
                "because",
                "Well,",
                "and then...",
                "so …",
                "Ich möchte ein.",
                "Je voudrais le",
                "Quiero una.",
                "two hundred and",
                "it's—",
                "Uh",
            ],
        );
    }

    #[test]
    fn all_else_is_unclear() {
        check(Closing::Unclear, &["", "  ", "Turn it off", "...x", "seven five", "今天"]);
    }

    #[test]
    fn a_wait_follows_on_what_was_said() {
        let patience = Patience::server_vad(Duration::from_millis(500));
        let waits = [None, Some("Stop."), Some("Stop the"), Some("seven")]
            .map(|text| patience.wait(text).as_millis());
        assert_eq!(waits, [500, 400, 800, 500]);
    }

    #[test]
    fn waits_around_a_base_are_bounded() {
        let waits = |base| {
            let Patience { sentence, open, .. } = Patience::server_vad(Duration::from_millis(base));
            (sentence.as_millis(), open.as_millis())
        };
        assert_eq!(
            [0, 100, 220, 500, 2_000].map(waits),
            [(0, 0), (100, 160), (200, 352), (400, 800), (1_600, 2_600)]
        );
    }

    proptest! {
        // Fails when the shortest wait is longer than the base, or when texts of other scripts are cut in a character.
        #[test]
        fn a_sentence_never_waits_longer_than_anything_else(base in 0_u64..10_000, text in ".{0,20}") {
            for patience in [Patience::server_vad(Duration::from_millis(base)), Patience::low(), Patience::medium(), Patience::high()] {
                prop_assert!(patience.sentence <= patience.unclear && patience.unclear <= patience.open);
                let wait = patience.wait(Some(&text));
                prop_assert!(patience.sentence <= wait && wait <= patience.open);
            }
        }
    }
}
