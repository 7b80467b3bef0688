//! Proof of isolation: looks for what one client said in the text of another. Pure.
//!
//! A leak is a run of four or more words in a client's text that stands in another client's sentences and not in its
//! own. Runs are as long as they can be, so one sentence in the wrong place is one leak. A mistake of the recognizer that
//! happens to yield somebody else's words is found here, too; [`mishearing`](super::mishearing) tells it apart.

mod index;
#[cfg(test)]
mod tests;

use super::diary::PersonOutcome;
use super::words::words;
use index::{Index, Vocabulary, stands_in};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Words that a run must have at least. Fewer are alike by chance.
const SHORTEST: usize = 4;

/// What a client said, and what it was told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Spoken {
    /// The words of each final text. No run goes from one into the next.
    pub heard: Vec<Vec<String>>,
    /// The words of each of its sentences.
    pub own: Vec<Vec<String>>,
}

/// Words of one client in the text of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leak {
    /// In whose text they stand; clients are counted from 0.
    pub client: u32,
    /// In which of its texts, counted from 0.
    #[serde(default)]
    pub text: usize,
    /// The words.
    pub words: String,
    /// Whose they are: the first other client that has the sentence.
    pub whose: u32,
}

/// All leaks among these people.
pub(super) fn leaks_among(people: &[PersonOutcome]) -> Vec<Leak> {
    leaks(&people.iter().map(spoken).collect::<Vec<_>>())
}

/// What leaks are looked for in.
fn spoken(person: &PersonOutcome) -> Spoken {
    let own: BTreeSet<&str> = person.turns.iter().map(|turn| turn.clip.text.as_str()).collect();
    Spoken {
        heard: person.finals.iter().map(|heard| words(&heard.told.text)).collect(),
        own: own.into_iter().map(words).collect(),
    }
}

/// All leaks among these clients, by client and by where they stand in its text.
pub fn leaks(people: &[Spoken]) -> Vec<Leak> {
    let mut vocabulary = Vocabulary::default();
    let own: Vec<Vec<Vec<u32>>> = people
        .iter()
        .map(|person| person.own.iter().map(|words| vocabulary.learn(words)).collect())
        .collect();
    let index = Index::new(&own);
    let mut found = Vec::new();
    for (client, (person, own)) in (0..).zip(people.iter().zip(&own)) {
        for (text, words) in person.heard.iter().enumerate() {
            let heard = vocabulary.read(words);
            let runs = foreign_runs(&index, client, &heard, own);
            found.extend(runs.into_iter().map(|run| Leak {
                client,
                text,
                words: words[run.start..run.end].join(" "),
                whose: run.whose,
            }));
        }
    }
    found
}

/// The words `start..end` of a text, and in whose sentences they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    start: usize,
    end: usize,
    whose: u32,
}

/// The longest runs that stand in sentences of others, but for those that stand in one's own.
fn foreign_runs(index: &Index, client: u32, heard: &[u32], own: &[Vec<u32>]) -> Vec<Run> {
    // What is usual is quick: the text is right.
    if heard.len() < SHORTEST || stands_in(heard, own) {
        return Vec::new();
    }
    let mut reached = 0;
    let mut runs = Vec::new();
    for start in 0..=heard.len() - SHORTEST {
        let Some((len, whose)) = index.longest(&heard[start..], client) else { continue };
        // A run that ends where an earlier one does is the end of that one.
        if start + len > reached {
            reached = start + len;
            runs.push(Run { start, end: reached, whose });
        }
    }
    runs.retain(|run| !stands_in(&heard[run.start..run.end], own));
    runs
}
