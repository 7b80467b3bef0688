//! What a recording said, put together from its parts.

use crate::asr::Segment;
use crate::session::Part;
use std::collections::BTreeMap;

/// What was read so far.
#[derive(Debug, Default)]
pub struct Readings {
    /// In order of time.
    pub segments: Vec<Segment>,
    /// Samples of speech in each language.
    languages: BTreeMap<String, u64>,
}

impl Readings {
    /// Takes the next part.
    pub fn add(&mut self, part: Part) {
        *self.languages.entry(part.hypothesis.language).or_default() += part.span.len();
        self.segments.extend(part.hypothesis.segments);
    }

    /// The language that was spoken longest.
    pub fn language(&self) -> Option<&str> {
        self.languages.iter().max_by_key(|(_, samples)| **samples).map(|(code, _)| code.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asr::{Hypothesis, Stability, Timing};
    use crate::audio::Span;

    fn part(language: &str, samples: u64) -> Part {
        let hypothesis =
            Hypothesis { segments: Vec::new(), language: language.into(), stability: Stability::Final };
        Part { span: Span::new(0, samples), hypothesis, timing: Timing::default() }
    }

    #[test]
    fn the_language_is_the_one_that_was_spoken_longest() {
        let mut readings = Readings::default();
        assert_eq!(readings.language(), None);
        for (language, samples) in [("de", 50), ("en", 80), ("de", 40)] {
            readings.add(part(language, samples));
        }
        assert_eq!(readings.language(), Some("de"));
    }
}
