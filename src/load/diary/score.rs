//! How right the texts of a person are.

use super::{Fate, Noted, Score, TurnOutcome};
use crate::load::words::{word_errors, words};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Turn by turn; turns that share a text are one. What was broken off is left out: nobody knows how much of it was said.
pub(super) fn scores(turns: &[TurnOutcome], finals: &[Noted]) -> Vec<Score> {
    let whole =
        |group: &RangeInclusive<usize>| turns[group.clone()].iter().all(|turn| turn.fate != Fate::Unfinished);
    let groups = groups(turns.len(), finals).into_iter().filter(whole);
    let strays = finals.iter().filter(|noted| noted.turns.is_empty()).map(stray);
    groups.map(|group| score(&turns[group.clone()], &text_of(&group, finals))).chain(strays).collect()
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

/// The words of all finals of these turns, in the order in which they were said.
fn text_of(group: &RangeInclusive<usize>, finals: &[Noted]) -> Vec<String> {
    let of_group = |noted: &&Noted| noted.turns.first().is_some_and(|turn| group.contains(turn));
    let mut told: Vec<_> = finals.iter().filter(of_group).map(|noted| &noted.told).collect();
    // Stable: what has no position stays in the order in which it came.
    told.sort_by_key(|told| told.stretch.map_or(Duration::ZERO, |heard| heard.start));
    told.iter().flat_map(|told| words(&told.text)).collect()
}

fn score(turns: &[TurnOutcome], text: &[String]) -> Score {
    let said: Vec<_> = turns.iter().map(|turn| words(&turn.clip.text)).collect();
    // What was right in turns of different kinds cannot be told apart: the largest stands for all.
    let largest = turns.iter().zip(&said).max_by_key(|(_, words)| words.len());
    let said = said.concat();
    Score {
        kind: largest.map(|(turn, _)| turn.clip.kind.clone()).unwrap_or_default(),
        words: said.len() as u64,
        errors: word_errors(&said, text) as u64,
        awaited: turns.iter().any(|turn| turn.fate == Fate::Awaited),
    }
}

/// Text of which nobody said anything.
fn stray(noted: &Noted) -> Score {
    let errors = words(&noted.told.text).len() as u64;
    Score { kind: String::new(), words: 0, errors, awaited: false }
}
