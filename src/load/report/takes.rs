//! What came of each recording whenever it was played. A plan lets its people say the same again: how much work a crowd
//! brings depends on who says what, because who has a long recording says it less often.

use super::figures::{milliseconds, thinned};
use super::quantiles::rounded;
use crate::load::clips::Clip;
use crate::load::diary::{Fate, FinalOutcome, PersonOutcome, TurnOutcome};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

/// So many takes of a recording are told.
const MOST_TAKES: usize = 16;

/// What the server made of a recording that was played once: for each utterance that it found in it the seconds from the
/// beginning of the recording to the end of the utterance, the seconds that it is long, the milliseconds of its decode, and
/// the seconds from when people were at their pace to its text.
pub type Take = Vec<[f64; 4]>;

/// A recording of a load test, and what came of it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ClipTakes {
    /// The name of its file.
    pub file: String,
    /// How long it lasts.
    pub seconds: f64,
    /// What came of it each time that people were at their pace; evenly thinned.
    pub takes: Vec<Take>,
}

/// All recordings in their order, played or not. Empty where the protocol does not tell what a text is of, or how long
/// its decode took.
pub(super) fn takes(clips: &[Arc<Clip>], people: &[PersonOutcome]) -> Vec<ClipTakes> {
    let mut heard: HashMap<*const Clip, Vec<Take>> = HashMap::new();
    for (turn, finals) in people.iter().flat_map(turns_with_finals) {
        if let Some(take) = take(turn, &finals) {
            heard.entry(Arc::as_ptr(&turn.clip)).or_default().push(take);
        }
    }
    if heard.values().flatten().all(Vec::is_empty) {
        return Vec::new();
    }
    let told = |clip: &Arc<Clip>| ClipTakes {
        file: clip.file.clone(),
        seconds: clip.duration().as_secs_f64(),
        takes: thinned(heard.remove(&Arc::as_ptr(clip)).unwrap_or_default(), MOST_TAKES),
    };
    clips.iter().map(told).collect()
}

fn turns_with_finals(person: &PersonOutcome) -> impl Iterator<Item = (&TurnOutcome, Vec<&FinalOutcome>)> {
    let mut finals: Vec<Vec<&FinalOutcome>> = vec![Vec::new(); person.turns.len()];
    for heard in &person.finals {
        if let Some(of_turn) = heard.turn.and_then(|turn| finals.get_mut(turn)) {
            of_turn.push(heard);
        }
    }
    person.turns.iter().zip(finals)
}

/// `None` for a turn that shows only a part of what there is to do, or nothing of how long that takes.
fn take(turn: &TurnOutcome, finals: &[&FinalOutcome]) -> Option<Take> {
    let complete = turn.steady && matches!(turn.fate, Fate::Answered | Fate::Silent);
    let utterance = |heard: &&FinalOutcome| {
        let stretch = heard.told.stretch?;
        let end = stretch.end.as_secs_f64() - turn.position.as_secs_f64();
        let seconds = stretch.end.saturating_sub(stretch.start).as_secs_f64();
        let at = heard.at.as_secs_f64();
        Some([rounded(end, 3), rounded(seconds, 3), milliseconds(heard.told.decoded?), rounded(at, 3)])
    };
    if complete { finals.iter().map(utterance).collect() } else { None }
}
