//! How right the texts of a person are.

use super::{Fate, Noted, Score, TurnOutcome};
use crate::load::protocol::Final;
use crate::load::words::{word_errors, words};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Turn by turn; turns that share a text are one. What was broken off is left out: nobody knows how much of it was said.
pub(super) fn scores(turns: &[TurnOutcome], finals: &[Noted]) -> Vec<Score> {
    let whole =
        |group: &RangeInclusive<usize>| turns[group.clone()].iter().all(|turn| turn.fate != Fate::Unfinished);
    let groups = groups(turns.len(), finals).into_iter().filter(whole);
    let strays = finals.iter().filter(|noted| noted.turns.is_empty()).map(stray);
    groups.map(|group| score(&turns[group.clone()], &texts_of(&group, finals))).chain(strays).collect()
}

/// Turns that follow on one another and share texts.
fn groups(turns: usize, finals: &[Noted]) -> Vec<RangeInclusive<usize>> {
    let mut joined_to_next = vec![false; turns];
    for noted in finals {
        if let (Some(first), Some(last)) = (noted.turns.first(), noted.turns.last()) {
            joined_to_next[*first..*last].fill(true);
        }
    }
    let mut groups = Vec::new();
    let mut first = 0;
    for (turn, joined) in joined_to_next.into_iter().enumerate() {
        if !joined {
            groups.push(first..=turn);
            first = turn + 1;
        }
    }
    groups
}

/// All finals of these turns, in the order in which they were said.
fn texts_of<'a>(group: &RangeInclusive<usize>, finals: &'a [Noted]) -> Vec<&'a Final> {
    let of_group = |noted: &&Noted| noted.turns.first().is_some_and(|turn| group.contains(turn));
    let mut told: Vec<_> = finals.iter().filter(of_group).map(|noted| &noted.told).collect();
    // Stable: what has no position stays in the order in which it came.
    told.sort_by_key(|told| told.stretch.map_or(Duration::ZERO, |heard| heard.start));
    told
}

fn score(turns: &[TurnOutcome], texts: &[&Final]) -> Score {
    let said: Vec<_> = turns.iter().map(|turn| words(&turn.clip.text)).collect();
    // What was right in turns of different kinds cannot be told apart: the largest stands for all.
    let largest = turns.iter().zip(&said).max_by_key(|(_, words)| words.len());
    let said = said.concat();
    let errors = |text: fn(&Final) -> &str| {
        let heard: Vec<_> = texts.iter().flat_map(|told| words(text(told))).collect();
        word_errors(&said, &heard) as u64
    };
    Score {
        kind: largest.map(|(turn, _)| turn.clip.kind.clone()).unwrap_or_default(),
        words: said.len() as u64,
        errors: errors(|told| &told.text),
        streamed_errors: is_streamed(texts)
            .then(|| errors(|told| told.streamed.as_deref().unwrap_or_default())),
        awaited: turns.iter().any(|turn| turn.fate == Fate::Awaited),
    }
}

fn is_streamed(texts: &[&Final]) -> bool {
    texts.iter().any(|told| told.streamed.is_some())
}

/// Text of which nobody said anything.
fn stray(noted: &Noted) -> Score {
    let errors = words(&noted.told.text).len() as u64;
    let streamed = noted.told.streamed.as_ref();
    let streamed_errors = streamed.map(|text| words(text).len() as u64);
    Score { kind: String::new(), words: 0, errors, streamed_errors, awaited: false }
}
