//! The text of one item, from its first word to its last, as window after window of it is read. Pure.
//!
//! What lies before the last seam is *settled*: it is not read again, and what is read next follows on it. The rest is
//! open, and may read otherwise every time.

use crate::asr::{
    DecodeOptions, Ending, Hypothesis, Repeat, Seam, Segment, Stabilizer, Withheld, append, without_repeat,
};
use std::mem;

/// So much of the settled text goes before the next window as its context, in bytes: a sentence or three.
const CONTEXT: usize = 200;

/// An item's text so far.
#[derive(Debug)]
pub(super) struct Draft {
    open_from: u64,
    settled: Vec<Segment>,
    /// Up to where there is text that is settled, or told.
    kept_to: u64,
    /// Up to where the last reading of what is open went.
    heard_to: u64,
    /// The first text of it that is not told.
    withheld: Option<Withheld>,
    /// The last settled word, if what is open begins with it.
    repeated: Option<Repeat>,
    /// How what is open read last.
    latest: Option<String>,
    stabilizer: Stabilizer,
}

/// An item's whole text.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) hypothesis: Hypothesis,
    /// What is to be appended to the deltas that were told.
    pub(super) rest: Option<String>,
    /// Words of all deltas that the text has otherwise.
    pub(super) diverged_words: u32,
    /// The first text of it that is not told; all of them are counted.
    pub(super) withheld: Option<Withheld>,
}

impl Draft {
    /// Of an item that begins here, as a position in the stream.
    pub(super) fn new(start: u64) -> Self {
        Self {
            open_from: start,
            settled: Vec::new(),
            kept_to: 0,
            heard_to: start,
            withheld: None,
            repeated: None,
            latest: None,
            stabilizer: Stabilizer::default(),
        }
    }

    /// Where the next window begins.
    pub(super) fn open_from(&self) -> u64 {
        self.open_from
    }

    /// Up to where there is text that stays in this item: it is settled (which is behind the seam where a word is read
    /// again), or told.
    pub(super) fn kept_to(&self) -> u64 {
        self.kept_to
    }

    /// How what is open read last.
    pub(super) fn latest(&self) -> Option<&str> {
        self.latest.as_deref()
    }

    /// Whether any of it was told.
    pub(super) fn is_told(&self) -> bool {
        !self.stabilizer.sent().is_empty()
    }

    /// A reading of what is open, without what is settled already. To be asked once of each reading.
    pub(super) fn anew(&self, reading: Hypothesis) -> Hypothesis {
        match &self.repeated {
            Some(repeated) => without_repeat(reading, repeated),
            None => reading,
        }
    }

    /// Takes a reading of all that is open up to `upto`, [anew](Self::anew); gives what is sure by now and was not told.
    pub(super) fn hear(&mut self, reading: &Hypothesis, upto: u64) -> Option<String> {
        let open = reading.text();
        let settled = self.settled_text();
        let delta = self.stabilizer.hear(&joined(&settled, &open), &joined(&settled, &reading.believed()));
        self.latest = Some(open);
        let heard_before = mem::replace(&mut self.heard_to, upto);
        if delta.is_some() {
            // The reading before had it as well, so it was said by then.
            self.kept_to = self.kept_to.max(heard_before);
        }
        delta
    }

    /// The whole text, if what is open reads like this.
    pub(super) fn whole(&self, open: &str) -> String {
        joined(&self.settled_text(), open)
    }

    /// Settles what lies before a seam.
    pub(super) fn settle(&mut self, seam: Seam) {
        self.settled.extend(seam.settled.segments);
        (self.open_from, self.repeated, self.latest) = (seam.at, seam.repeated, Some(seam.tail));
        let settled_to = self.settled.last().map_or(0, |segment| segment.span.end);
        self.kept_to = self.kept_to.max(settled_to).max(seam.at);
    }

    /// Settles all that is open up to `at`, as it was read there.
    pub(super) fn settle_all(&mut self, reading: Hypothesis, at: u64) {
        self.settled.extend(reading.segments);
        (self.open_from, self.repeated, self.latest) = (at, None, None);
        self.kept_to = self.kept_to.max(at);
    }

    /// Settles that nothing is told of what is open up to `at`.
    pub(super) fn withhold(&mut self, withheld: Withheld, at: u64) {
        self.withheld.get_or_insert(withheld);
        (self.open_from, self.repeated, self.latest) = (at, None, None);
        self.kept_to = self.kept_to.max(at);
    }

    /// How to read what is open: with the end of what is settled as its context.
    pub(super) fn options(&self, options: &DecodeOptions) -> DecodeOptions {
        let settled = self.settled_text();
        if settled.is_empty() {
            return options.clone();
        }
        let from = settled.ceil_char_boundary(settled.len().saturating_sub(CONTEXT));
        let context = settled[from..].to_owned();
        let prompt = options.prompt.as_deref().map_or(context.clone(), |prompt| joined(prompt, &context));
        DecodeOptions { prompt: Some(prompt), ..options.clone() }
    }

    /// The whole text, now that what was open reads like this for good, and this of it is not told.
    pub(super) fn finish(mut self, open: Hypothesis, withheld: Option<Withheld>) -> Written {
        let language = open.language;
        self.settled.extend(open.segments);
        let hypothesis = Hypothesis { segments: self.settled, language, stability: open.stability };
        let Ending { rest, diverged_words } = self.stabilizer.finish(&hypothesis.text());
        Written { hypothesis, rest, diverged_words, withheld: self.withheld.or(withheld) }
    }

    fn settled_text(&self) -> String {
        self.settled.iter().fold(String::new(), |text, segment| joined(&text, &segment.text))
    }
}

/// Two texts, one behind the other.
fn joined(before: &str, after: &str) -> String {
    let mut text = before.to_owned();
    if !after.is_empty() {
        append(&mut text, after);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asr::Doubt;
    use crate::asr::fake::says;

    #[test]
    fn what_is_told_before_and_after_a_seam_is_one_text() {
        let mut draft = Draft::new(0);
        assert_eq!(draft.hear(&says("Open the"), 16_000), None);
        assert_eq!(draft.hear(&says("Open the window please"), 16_000).as_deref(), Some("Open"));
        draft.settle_all(says("Open the window."), 16_000);
        assert_eq!(draft.hear(&says("Close the"), 16_000).as_deref(), Some(" the"));
        let written = draft.finish(says("Close the door."), None);
        assert_eq!(written.hypothesis.text(), "Open the window. Close the door.");
        assert_eq!((written.rest.as_deref(), written.diverged_words), (Some(" window. Close the door."), 0));
    }

    #[test]
    fn the_settled_text_is_the_context_of_the_next_window_behind_the_users_own() {
        let mut draft = Draft::new(0);
        let asked = DecodeOptions { prompt: Some("Names: Ada.".into()), ..DecodeOptions::default() };
        assert_eq!(draft.options(&asked), asked);
        draft.settle_all(says("One two."), 16_000);
        assert_eq!(draft.options(&asked).prompt.as_deref(), Some("Names: Ada. One two."));
        draft.settle_all(says(&"ä".repeat(300)), 32_000);
        assert!(
            draft.options(&DecodeOptions::default()).prompt.is_some_and(|prompt| prompt.len() <= CONTEXT)
        );
    }

    #[test]
    fn a_reading_that_takes_back_what_was_told_is_counted_and_does_not_take_it_back() {
        let mut draft = Draft::new(0);
        draft.hear(&says("Turn of the"), 16_000);
        assert_eq!(draft.hear(&says("Turn of the light"), 16_000).as_deref(), Some("Turn of"));
        let written = draft.finish(says("Turn off the light."), None);
        assert_eq!((written.rest.as_deref(), written.diverged_words), (Some(" the light."), 1));
    }

    #[test]
    fn what_is_told_stays_up_to_where_both_its_readings_had_it() {
        let mut draft = Draft::new(8_000);
        draft.hear(&says("Turn"), 16_000);
        assert_eq!((draft.hear(&says("Turn on"), 24_000), draft.kept_to()), (None, 0));
        assert_eq!(
            (draft.hear(&says("Turn on the"), 32_000).as_deref(), draft.kept_to()),
            (Some("Turn"), 24_000)
        );
        draft.settle_all(says("Turn on the light."), 40_000);
        assert_eq!(draft.kept_to(), 40_000);
    }

    #[test]
    fn what_is_withheld_on_the_way_is_known_at_the_end() {
        let withheld = |text: &str| Withheld { doubt: Doubt::Repetition, text: text.into() };
        let mut draft = Draft::new(0);
        draft.withhold(withheld("no no"), 16_000);
        assert_eq!((draft.open_from(), draft.kept_to()), (16_000, 16_000));
        let written = draft.finish(says("Close the door."), Some(withheld("so so")));
        assert_eq!(
            (written.hypothesis.text().as_str(), written.withheld),
            ("Close the door.", Some(withheld("no no")))
        );
    }
}
