//! The text of one item, from its first word to its last, as window after window of it is read. Pure.
//!
//! What lies before the last seam is *settled*: it is not read again, and what is read next follows on it. The rest is
//! open, and may read otherwise every time.

use crate::asr::{DecodeOptions, Hypothesis, Repeat, Seam, Segment, Stabilizer, append, without_repeat};

/// So much of the settled text goes before the next window as its context, in bytes: a sentence or three.
const CONTEXT: usize = 200;

/// An item's text so far.
#[derive(Debug)]
pub(super) struct Draft {
    open_from: u64,
    settled: Vec<Segment>,
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
}

impl Draft {
    /// Of an item that begins here, as a position in the stream.
    pub(super) fn new(start: u64) -> Self {
        Self {
            open_from: start,
            settled: Vec::new(),
            repeated: None,
            latest: None,
            stabilizer: Stabilizer::default(),
        }
    }

    /// Where the next window begins.
    pub(super) fn open_from(&self) -> u64 {
        self.open_from
    }

    /// Up to where there is settled text. That is behind the seam where a word is read again.
    pub(super) fn settled_to(&self) -> u64 {
        self.settled.last().map_or(0, |segment| segment.span.end.max(self.open_from))
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

    /// Takes a reading of all that is open, [anew](Self::anew); gives what is sure by now and was not told.
    pub(super) fn hear(&mut self, reading: &Hypothesis) -> Option<String> {
        let open = reading.text();
        let delta = self.stabilizer.hear(&joined(&self.settled_text(), &open));
        self.latest = Some(open);
        delta
    }

    /// Settles what lies before a seam.
    pub(super) fn settle(&mut self, seam: Seam) {
        self.settled.extend(seam.settled.segments);
        (self.open_from, self.repeated, self.latest) = (seam.at, seam.repeated, Some(seam.tail));
    }

    /// Settles all that is open up to `at`, as it was read there.
    pub(super) fn settle_all(&mut self, reading: Hypothesis, at: u64) {
        self.settled.extend(reading.segments);
        (self.open_from, self.repeated, self.latest) = (at, None, None);
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

    /// The whole text, now that what was open reads like this for good.
    pub(super) fn finish(mut self, open: Hypothesis) -> Written {
        let language = open.language;
        self.settled.extend(open.segments);
        let hypothesis = Hypothesis { segments: self.settled, language, stability: open.stability };
        let ending = self.stabilizer.finish(&hypothesis.text());
        Written { hypothesis, rest: ending.rest, diverged_words: ending.diverged_words }
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
    use crate::asr::fake::says;

    #[test]
    fn what_is_told_before_and_after_a_seam_is_one_text() {
        let mut draft = Draft::new(0);
        assert_eq!(draft.hear(&says("Open the")), None);
        assert_eq!(draft.hear(&says("Open the window please")).as_deref(), Some("Open"));
        draft.settle_all(says("Open the window."), 16_000);
        assert_eq!(draft.hear(&says("Close the")).as_deref(), Some(" the"));
        let written = draft.finish(says("Close the door."));
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
        draft.hear(&says("Turn of the"));
        assert_eq!(draft.hear(&says("Turn of the light")).as_deref(), Some("Turn of"));
        let written = draft.finish(says("Turn off the light."));
        assert_eq!((written.rest.as_deref(), written.diverged_words), (Some(" the light."), 1));
    }
}
