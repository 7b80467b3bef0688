//! Tells words that a recognizer misheard from words that leaked.
//!
//! A wrong reading of one's own sentence can yield four words of somebody else's: "set a timer for ten" heard as "set an
//! alarm for ten". The experiment that tells them apart: the recording is said again while nobody else is connected.
//! Words that come again cannot have come from anybody. They have to have something in common with what was said, too:
//! a server that gives everybody the same wrong text gives it to a single person as well.

use super::clips::Clip;
use super::diary::PersonOutcome;
use super::leaks::Leak;
use super::words::words;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many recordings are said again: with more, it is hardly the recognizer.
const MOST: usize = 12;

/// Words that a misheard run has in common with its sentence at least, in order.
const IN_COMMON: usize = 2;

/// The recordings in whose texts foreign words stand, each once.
pub(super) fn suspects(found: &[Leak], people: &[PersonOutcome]) -> Vec<Arc<Clip>> {
    let mut suspects: BTreeMap<&str, Arc<Clip>> = BTreeMap::new();
    for clip in found.iter().filter_map(|leak| said(leak, people)) {
        suspects.entry(&clip.file).or_insert_with(|| Arc::clone(clip));
    }
    suspects.into_values().take(MOST).collect()
}

/// What was found of one client's words in another's text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Isolation {
    /// Words that leaked.
    pub leaked: Vec<Leak>,
    /// Words that look like it, and that the recognizer reads when nobody else is there, too.
    pub misheard: Vec<Leak>,
}

/// Tells the two apart by the texts that came when recordings were said alone, by their files.
pub(super) fn judge(
    found: Vec<Leak>,
    people: &[PersonOutcome],
    again: &BTreeMap<String, Vec<String>>,
) -> Isolation {
    let is_misheard = |leak: &Leak| {
        let Some(clip) = said(leak, people) else { return false };
        let mut texts = again.get(&clip.file).into_iter().flatten();
        texts.any(|text| is_misreading(&words(&leak.words), &words(&clip.text), &words(text)))
    };
    let (misheard, leaked) = found.into_iter().partition(is_misheard);
    Isolation { leaked, misheard }
}

/// What was being said when foreign words came.
fn said<'a>(leak: &Leak, people: &'a [PersonOutcome]) -> Option<&'a Arc<Clip>> {
    let person = people.get(leak.client as usize)?;
    let turn = person.finals.get(leak.text)?.turn?;
    person.turns.get(turn).map(|turn| &turn.clip)
}

/// Whether `run` stands in what was heard `again`, and resembles the sentence that was said.
fn is_misreading(run: &[String], sentence: &[String], again: &[String]) -> bool {
    again.windows(run.len()).any(|words| words == run) && in_common(run, sentence) >= IN_COMMON
}

/// The length of the longest common subsequence.
fn in_common(run: &[String], sentence: &[String]) -> usize {
    let mut row = vec![0; sentence.len() + 1];
    for word in run {
        let mut diagonal = 0;
        for (at, said) in sentence.iter().enumerate() {
            let above = row[at + 1];
            row[at + 1] = if word == said { diagonal + 1 } else { above.max(row[at]) };
            diagonal = above;
        }
    }
    row[sentence.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_misheard_when_they_come_again_from_a_similar_sentence() {
        let cases = [
            ("set an alarm for", "Set a timer for ten.", "Set an alarm for ten.", true),
            ("set an alarm for", "Set a timer for ten.", "Set a timer for ten.", false),
            ("set an alarm for", "What is the time?", "Set an alarm for ten.", false),
            ("set an alarm for", "Set a timer for ten.", "", false),
            ("one two three four", "One two nine four.", "one two three four", true),
        ];
        for (run, said, again, expected) in cases {
            let misread = is_misreading(&words(run), &words(said), &words(again));
            assert_eq!(misread, expected, "{run} / {said} / {again}");
        }
    }

    #[test]
    fn words_in_common_are_counted_in_their_order() {
        for (run, sentence, n) in
            [("a b c d", "a x c", 2), ("a b c d", "d c b a", 1), ("a b", "", 0), ("a a b", "a b", 2)]
        {
            assert_eq!(in_common(&words(run), &words(sentence)), n, "{run} / {sentence}");
        }
    }
}
