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

/// Sounds of hesitation in any language, in lower case.
const SOUNDS: &[&str] = &["hm", "hmm", "mm"];

/// Words that something must follow, and sounds of hesitation, in lower case, for each language by its code.
///
/// Each by itself, because a word that is open in one language ends a sentence in another: "I want to die."
const OPEN: &[(&str, &[&str])] = &[
    // Left out: "in", "on", "off", "up", "is", "it" and their like, which end many a command or question; "am", "was" and
    // "will", which end answers; "while", which ends "Wait a while."; and "may", which is a month.
    (
        "en",
        &[
            "um", "uh", "uhm", "umm", "er", "erm", "eh", "ah", "the", "a", "an", "my", "your", "our",
            "their", "and", "or", "but", "because", "if", "when", "although", "than", "of", "from", "with",
            "without", "into", "between", "until", "during", "at", "as", "were", "been", "would", "could",
            "should", "shall", "might", "must", "cannot", "i'm", "i'll", "you're", "they're", "let's",
            "very", "every",
        ],
    ),
    // Left out: "das", which ends "Ich mag das."; "ein", "mit" and "durch", which are halves of verbs ("Schalte es ein.");
    // and "sehr", which ends thanks.
    (
        "de",
        &[
            "äh", "ähm", "öh", "öhm", "der", "die", "den", "dem", "des", "eine", "einen", "einem", "einer",
            "eines", "mein", "meine", "meinen", "und", "oder", "aber", "weil", "dass", "wenn", "obwohl",
            "sondern", "von", "für", "ohne", "zwischen", "zum", "zur", "im", "vom", "beim",
        ],
    ),
    // Left out: "entre", which lets somebody in, and "si", which is a yes.
    (
        "fr",
        &[
            "euh", "heu", "ben", "le", "la", "les", "un", "une", "des", "du", "mon", "ma", "mes", "et", "ou",
            "mais", "parce", "que", "quand", "de", "pour", "avec", "sans", "dans", "chez", "très",
        ],
    ),
    // Left out: "entre", as above; "para", which stops somebody; and "este", which ends "Quiero este."
    (
        "es",
        &[
            "eh", "el", "los", "las", "una", "unos", "unas", "mi", "mis", "y", "o", "pero", "porque",
            "cuando", "del", "con", "sin", "por", "muy",
        ],
    ),
];

/// Says how a text in this language (ISO 639-1) leaves off.
///
/// A full stop counts for little: Whisper sets one wherever the sound ends, also behind a word that cannot end anything.
pub fn closing(text: &str, language: &str) -> Closing {
    let text = text.trim_end_matches(|char: char| char.is_whitespace() || QUOTES.contains(&char));
    if text.ends_with("..") || text.ends_with([',', '、', '，', '،', ';', ':', '-', '–', '—', '…']) {
        return Closing::Open;
    }
    let asks = text.ends_with(['?', '？', '؟', '!', '！']);
    if !asks && ends_open(text, language) {
        return Closing::Open;
    }
    if asks || text.ends_with(['.', '。', '।', '۔']) { Closing::Sentence } else { Closing::Unclear }
}

const QUOTES: [char; 7] = ['"', '”', '’', '»', ')', '」', '\''];

fn ends_open(text: &str, language: &str) -> bool {
    let Some(last) = text.split_whitespace().next_back() else { return false };
    let last: String = last.to_lowercase().replace('’', "'");
    let last: String = last.chars().filter(|char| char.is_alphabetic() || *char == '\'').collect();
    let words = OPEN.iter().find(|(code, _)| *code == language).map_or(&[][..], |(_, words)| *words);
    [SOUNDS, words].iter().any(|words| words.contains(&last.trim_matches('\'')))
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

    /// How long to wait after a text that leaves off like this.
    pub fn wait(&self, closing: Closing) -> Duration {
        match closing {
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

    fn check(expected: Closing, language: &str, texts: &[&str]) {
        for text in texts {
            assert_eq!(closing(text, language), expected, "{text}");
        }
    }

    #[test]
    fn whole_sentences_close() {
        check(
            Closing::Sentence,
            "en",
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
            "en",
            &[
                "I would like, um.",
                "Set the",
                "Set the.",
                "Remind me to call my",
                "because",
                "Well,",
                "and then...",
                "so …",
                "I’ll",
                "two hundred and",
                "it's—",
                "Uh",
            ],
        );
        check(Closing::Open, "de", &["Ich möchte einen.", "Hm."]);
        check(Closing::Open, "fr", &["Je voudrais le"]);
        check(Closing::Open, "es", &["Quiero una."]);
    }

    #[test]
    fn a_word_that_is_open_in_another_language_or_spelling_leaves_nothing_open() {
        let english =
            ["I want to die.", "It is in the den.", "Time to pour.", "I feel ill.", "It was in May."];
        check(Closing::Sentence, "en", &english);
        check(Closing::Sentence, "de", &["Ich mag das.", "Schalte das Licht ein.", "Das war er."]);
        check(Closing::Sentence, "it", &["Non lo so, ma.", "Chiudi la."]);
    }

    #[test]
    fn all_else_is_unclear() {
        check(Closing::Unclear, "en", &["", "  ", "Turn it off", "...x", "seven five", "今天"]);
    }

    #[test]
    fn a_wait_follows_on_what_was_said() {
        let patience = Patience::server_vad(Duration::from_millis(500));
        let waits = ["Stop.", "Stop the", "seven"].map(|text| patience.wait(closing(text, "en")).as_millis());
        assert_eq!(waits, [400, 800, 500]);
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
                let wait = patience.wait(closing(&text, "en"));
                prop_assert!(patience.sentence <= wait && wait <= patience.open);
            }
        }
    }
}
