//! What an assistant says, and how much of it belongs to so much sound. Pure.

use std::time::Duration;

/// Text and sound of one spoken message, phrase by phrase.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Script {
    text: String,
    marks: Vec<Mark>,
    /// How much was heard, where that is not all.
    heard: Option<Duration>,
}

/// Where a phrase ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    /// In bytes of the text.
    text: usize,
    /// In the sound.
    audio: Duration,
}

impl Script {
    /// All of the text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How long the sound is.
    pub fn audio(&self) -> Duration {
        self.marks.last().map_or(Duration::ZERO, |mark| mark.audio)
    }

    /// Another phrase, which has no sound yet.
    pub(super) fn begin(&mut self, phrase: &str) {
        let audio = self.audio();
        self.text.push_str(phrase);
        self.marks.push(Mark { text: self.text.len(), audio });
    }

    /// More sound of the last phrase.
    pub(super) fn sound(&mut self, duration: Duration) {
        if let Some(last) = self.marks.last_mut() {
            last.audio += duration;
        }
    }

    /// What was said up to here: whole phrases, and of the one that was broken off as many whole words as its share of the
    /// sound.
    pub fn until(&self, heard: Duration) -> &str {
        let mut begin = Mark { text: 0, audio: Duration::ZERO };
        for mark in &self.marks {
            if mark.audio > heard {
                let share =
                    share_of(heard.saturating_sub(begin.audio), mark.audio.saturating_sub(begin.audio));
                let words = whole_words(&self.text[begin.text..mark.text], share);
                return self.text[..begin.text + words].trim_end();
            }
            begin = *mark;
        }
        self.text[..begin.text].trim_end()
    }

    /// No more than this was heard. What is told later counts.
    pub(super) fn hear(&mut self, heard: Duration) {
        self.heard = Some(heard);
    }

    /// What was heard of it.
    pub fn heard(&self) -> &str {
        self.heard.map_or(&self.text, |heard| self.until(heard))
    }
}

fn share_of(part: Duration, whole: Duration) -> f64 {
    if whole.is_zero() { 1.0 } else { part.as_secs_f64() / whole.as_secs_f64() }
}

/// How many bytes of `phrase` the words take that have ended by this share of it, letters being equally long.
fn whole_words(phrase: &str, share: f64) -> usize {
    let limit = (phrase.chars().count() as f64 * share) as usize;
    let mut ends = 0;
    let mut letters = phrase.char_indices().enumerate().peekable();
    while let Some((n, (at, letter))) = letters.next() {
        let ends_word = letters.peek().is_none_or(|(_, (_, next))| next.is_whitespace());
        if n >= limit {
            break;
        }
        if ends_word {
            ends = at + letter.len_utf8();
        }
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn script(phrases: &[(&str, u64)]) -> Script {
        let mut script = Script::default();
        for (phrase, sound) in phrases {
            script.begin(phrase);
            script.sound(ms(*sound));
        }
        script
    }

    #[test]
    fn what_was_heard_is_whole_phrases_and_the_words_of_the_last_one() {
        let script = script(&[("Hello there, ", 1000), ("one two three four.", 1900), (" End.", 500)]);
        let table = [
            (0, ""),
            (499, "Hello"),
            (999, "Hello there,"),
            (1000, "Hello there,"),
            (1300, "Hello there, one"),
            (2000, "Hello there, one two"),
            (2900, "Hello there, one two three four."),
            (9999, "Hello there, one two three four. End."),
        ];
        for (heard, expected) in table {
            assert_eq!(script.until(ms(heard)), expected, "{heard} ms");
        }
    }

    #[test]
    fn a_phrase_without_sound_counts_as_heard_with_the_one_before_it() {
        let script = script(&[("Look. ", 1000), ("```code```", 0), (" Done.", 500)]);
        assert_eq!(script.until(ms(1000)), "Look. ```code```");
        assert_eq!(script.until(ms(400)), "");
    }

    #[test]
    fn the_last_word_on_what_was_heard_counts() {
        let mut script = script(&[("Hello there, ", 1000), ("one two three four.", 1900)]);
        assert_eq!(script.heard(), script.text());
        script.hear(ms(600));
        assert_eq!(script.heard(), "Hello");
        script.hear(ms(1300));
        assert_eq!(script.heard(), "Hello there, one");
    }

    proptest! {
        #[test]
        fn longer_is_never_less(phrases in prop::collection::vec(("[a-z ]{0,12}", 0_u64..900), 0..6), a in 0_u64..4000, b in 0_u64..4000) {
            let phrases: Vec<_> = phrases.iter().map(|(text, sound)| (text.as_str(), *sound)).collect();
            let script = script(&phrases);
            let (less, more) = (script.until(ms(a.min(b))), script.until(ms(a.max(b))));
            prop_assert!(more.starts_with(less) && script.text().starts_with(more));
        }
    }
}
