//! From what people heard to figures.

use super::quantiles::rounded;
use super::takes::takes;
use super::{Lag, LoadReport, Quantiles, RunFacts};
use crate::load::diary::{Fate, FinalOutcome, PersonOutcome, Score, TurnOutcome};
use crate::load::mishearing::Isolation;
use crate::load::protocol::REJECTED;
use crate::load::words::words;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Beyond this the generator was too late for its times to be the server's.
const MOST_LAG: Duration = Duration::from_millis(20);
/// What a slot that is free costs in waiting: nobody waited who waited no longer.
pub(in crate::load) const NO_WAIT: Duration = Duration::from_millis(1);
/// Leaks told in full.
const LEAKS_TOLD: usize = 20;
/// Finals told one by one.
const MOST_SAMPLES: usize = 4_000;

impl LoadReport {
    /// The figures of a run. The clients are `people`, in order.
    pub fn of(run: RunFacts, people: &[PersonOutcome]) -> Self {
        let heard = Everyone { people, stopped: run.stopped };
        let Isolation { leaked, misheard } = run.isolation;
        let scores: Vec<&Score> = heard.scores().collect();
        let mut errors = errors(run.connection_errors, people);
        let report = Self {
            clients: run.clients,
            duration_s: rounded(run.duration.as_secs_f64(), 3),
            duty: run.duty,
            audio_seconds: rounded(people.iter().map(|person| person.spoken.as_secs_f64()).sum(), 3),
            finals: heard.finals().count() as u64,
            final_latency_ms: heard.latency(|turn| turn.final_latency),
            first_delta_ms: heard.latency(|turn| turn.first_delta),
            first_audio_ms: heard.latency(|turn| turn.first_audio),
            queue_wait_ms: heard.steady(|heard| heard.told.waited),
            wer: wer(scores.iter().copied()),
            delta_wer: delta_wer(&scores),
            diverged_words: heard.finals().map(|heard| heard.told.diverged_words).fold(None, sum),
            diverged_share: heard.diverged_share(),
            deltas: people.iter().map(|person| person.deltas).sum(),
            leaks: leaked.len() as u64,
            lost_utterances: heard.lost(),
            rejected: run.rejected + errors.remove(REJECTED).unwrap_or(0),
            errors,
            lag_ms: Lag { p99: milliseconds(run.lag_p99) },
            server: run.server,
            wer_by_kind: wer_by_kind(&scores),
            decode_ms: heard.steady(|heard| heard.told.decoded),
            waited_share: heard.waited_share(),
            turns: heard.turns().count() as u64,
            leaked: leaked.into_iter().take(LEAKS_TOLD).collect(),
            misheard: misheard.into_iter().take(LEAKS_TOLD).collect(),
            slots: run.slots,
            utilization: heard.utilization(run.slots, run.steady),
            samples: thinned(
                heard.finals().filter(|heard| heard.steady).filter_map(sample).collect(),
                MOST_SAMPLES,
            ),
            clips: takes(&run.clips, people),
            interrupted: run.stopped || run.broke_off,
            unpublished: None,
            protocol: run.protocol,
            url: run.url,
        };
        if run.lag_p99 > MOST_LAG { report.without_latencies() } else { report }
    }

    /// Times that a late generator measured are its own; and how people waited depends on when they spoke.
    fn without_latencies(self) -> Self {
        let why = format!(
            "no latency is published: the generator itself was late by {} ms (p99), and {} ms is the limit; give it a \
             processor of its own or fewer clients",
            self.lag_ms.p99,
            MOST_LAG.as_millis()
        );
        Self {
            final_latency_ms: None,
            first_delta_ms: None,
            first_audio_ms: None,
            queue_wait_ms: None,
            waited_share: None,
            unpublished: Some(why),
            ..self
        }
    }
}

/// All people together.
struct Everyone<'a> {
    people: &'a [PersonOutcome],
    /// What is still awaited when somebody ends a run early is not lost.
    stopped: bool,
}

impl<'a> Everyone<'a> {
    /// Turns with something to be heard that were sent to their end.
    fn turns(&self) -> impl Iterator<Item = &'a TurnOutcome> {
        let finished = |turn: &&TurnOutcome| !matches!(turn.fate, Fate::Silent | Fate::Unfinished);
        self.people.iter().flat_map(|person| &person.turns).filter(finished)
    }

    fn finals(&self) -> impl Iterator<Item = &'a FinalOutcome> {
        self.people.iter().flat_map(|person| &person.finals)
    }

    fn scores(&self) -> impl Iterator<Item = &'a Score> {
        let stopped = self.stopped;
        let scores = self.people.iter().flat_map(|person| &person.scores);
        scores.filter(move |score| !(stopped && score.awaited))
    }

    fn lost(&self) -> u64 {
        let is_lost =
            |turn: &&TurnOutcome| turn.fate == Fate::Lost || (turn.fate == Fate::Awaited && !self.stopped);
        self.turns().filter(is_lost).count() as u64
    }

    fn latency(&self, of: fn(&TurnOutcome) -> Option<Duration>) -> Option<Quantiles> {
        Quantiles::of(&mut self.turns().filter_map(of).map(milliseconds).collect::<Vec<_>>())
    }

    fn steady(&self, of: fn(&FinalOutcome) -> Option<Duration>) -> Option<Quantiles> {
        let steady = self.finals().filter(|heard| heard.steady);
        Quantiles::of(&mut steady.filter_map(of).map(milliseconds).collect::<Vec<_>>())
    }

    /// Of finals that tell how much they differ from their deltas.
    fn diverged_share(&self) -> Option<f64> {
        let compared = |heard: &FinalOutcome| {
            let streamed = words(heard.told.streamed.as_deref()?).len();
            Some((heard.told.diverged_words?, streamed as u64))
        };
        let add = |(diverged, all), (more, streamed)| (diverged + more, all + streamed);
        let (diverged, all) = self.finals().filter_map(compared).fold((0, 0), add);
        ratio(diverged as f64, all as f64)
    }

    fn waited_share(&self) -> Option<f64> {
        let steady = self.finals().filter(|heard| heard.steady);
        let waits: Vec<Duration> = steady.filter_map(|heard| heard.told.waited).collect();
        let waited = waits.iter().filter(|wait| **wait > NO_WAIT).count();
        ratio(waited as f64, waits.len() as f64)
    }

    /// What the slots were busy with texts of turns that people began at their pace.
    fn utilization(&self, slots: Option<u16>, steady: Duration) -> Option<f64> {
        let finals = self.finals().filter(|heard| heard.steady);
        let decodes: Vec<Duration> = finals.filter_map(|heard| heard.told.decoded).collect();
        let busy = decodes.iter().sum::<Duration>().as_secs_f64();
        let capacity = f64::from(slots?) * steady.as_secs_f64();
        if decodes.is_empty() { None } else { ratio(busy, capacity) }
    }
}

fn errors(connections: BTreeMap<String, u64>, people: &[PersonOutcome]) -> BTreeMap<String, u64> {
    people.iter().flat_map(|person| &person.trouble).fold(connections, |mut errors, (code, count)| {
        *errors.entry(code.clone()).or_default() += count;
        errors
    })
}

fn wer<'a>(scores: impl Iterator<Item = &'a Score>) -> Option<f64> {
    let (wrong, all) = scores.fold((0, 0), |(wrong, all), score| (wrong + score.errors, all + score.words));
    ratio(wrong as f64, all as f64)
}

fn delta_wer(scores: &[&Score]) -> Option<f64> {
    let streamed = scores.iter().filter_map(|score| Some((score.streamed_errors?, score.words)));
    let (wrong, all) = streamed.fold((0, 0), |(wrong, all), (errors, words)| (wrong + errors, all + words));
    ratio(wrong as f64, all as f64)
}

/// Kinds of recordings without words have no rate.
fn wer_by_kind(scores: &[&Score]) -> BTreeMap<String, f64> {
    let kinds: BTreeSet<&str> = scores.iter().map(|score| score.kind.as_str()).collect();
    let of_kind = |kind| wer(scores.iter().copied().filter(|score| score.kind == kind));
    kinds.into_iter().filter_map(|kind| Some((kind.to_owned(), of_kind(kind)?))).collect()
}

/// To four decimals; `None` where the whole is nothing.
fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| rounded(part / whole, 4))
}

fn sample(heard: &FinalOutcome) -> Option<[f64; 3]> {
    let stretch = heard.told.stretch?;
    let seconds = stretch.end.saturating_sub(stretch.start).as_secs_f64();
    Some([rounded(seconds, 3), milliseconds(heard.told.decoded?), milliseconds(heard.told.waited?)])
}

/// At most so many, evenly from all.
pub(super) fn thinned<T: Clone>(all: Vec<T>, most: usize) -> Vec<T> {
    if all.len() <= most {
        return all;
    }
    (0..most).map(|n| all[n * all.len() / most].clone()).collect()
}

fn sum(known: Option<u64>, next: Option<u64>) -> Option<u64> {
    known.map_or(next, |known| Some(known + next.unwrap_or(0)))
}

/// To a tenth.
pub(super) fn milliseconds(duration: Duration) -> f64 {
    rounded(duration.as_secs_f64() * 1_000.0, 1)
}
