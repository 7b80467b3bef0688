//! What a load test found: the JSON that people and programs rely on, and the table for a terminal.
//!
//! Field names are a contract. A field is `null` where the feature does not exist or nothing was measured; nothing here
//! is invented.

mod figures;
mod quantiles;
mod table;
mod takes;
#[cfg(test)]
mod tests;

pub(super) use figures::NO_WAIT;
pub use quantiles::Quantiles;
pub use takes::{ClipTakes, Take};

use super::clips::Clip;
use super::leaks::Leak;
use super::mishearing::Isolation;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What a run was, apart from what its people heard.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RunFacts {
    /// What was spoken to the server.
    pub protocol: String,
    /// Where it is.
    pub url: String,
    /// How many people there were.
    pub clients: u32,
    /// How long they were at it.
    pub duration: Duration,
    /// How much of that lies between the ramp and the time at which nothing new was said.
    pub steady: Duration,
    /// The part of the time in which a person was to play a recording.
    pub duty: f64,
    /// Connections that a full server turned away.
    pub rejected: u64,
    /// Connections that failed or broke, by code.
    pub connection_errors: BTreeMap<String, u64>,
    /// How late the generator itself was, in the slowest hundredth of its frames.
    pub lag_p99: Duration,
    /// What the server used.
    pub server: ServerUsage,
    /// How many slots the server says it has.
    pub slots: Option<u16>,
    /// The recordings that were given out, in their order.
    pub clips: Vec<Arc<Clip>>,
    /// What was found of one client's words in another's text.
    pub isolation: Isolation,
    /// Whether somebody stopped it.
    pub stopped: bool,
    /// Whether everybody had gone before its time.
    pub broke_off: bool,
}

/// What the process of the server used, as far as it could be seen.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct ServerUsage {
    /// Processor time during the run.
    pub cpu_seconds: Option<f64>,
    /// Decodes of speech in progress during the run, as far as the server says.
    pub interim_decodes: Option<u64>,
    /// Decodes of speech that was over.
    pub final_decodes: Option<u64>,
    /// The most memory it had.
    pub rss_bytes: Option<u64>,
    /// The most device memory it had.
    pub device_memory_bytes: Option<u64>,
}

/// How late the generator itself was.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Lag {
    /// 99 of 100 frames were no later, in milliseconds.
    pub p99: f64,
}

/// What a load test found. Times are in milliseconds where the name says `_ms`.
///
/// JSON without the number of people, the duration or the number of final texts is no report; what else is missing is
/// nothing, so that reports of other versions can be read.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LoadReport {
    /// What was spoken to the server.
    #[serde(default)]
    pub protocol: String,
    /// Where it is.
    #[serde(default)]
    pub url: String,
    /// How many people there were.
    pub clients: u32,
    /// How long they were at it.
    pub duration_s: f64,
    /// The part of the time in which a person was to play a recording.
    #[serde(default)]
    pub duty: f64,
    /// How much of recordings was sent, without the silence between them.
    #[serde(default)]
    pub audio_seconds: f64,
    /// Final texts that came.
    pub finals: u64,
    /// From the last speech sent to the final text.
    pub final_latency_ms: Option<Quantiles>,
    /// From the first speech sent to the first delta.
    pub first_delta_ms: Option<Quantiles>,
    /// From the last speech sent to the first sound of the reply.
    pub first_audio_ms: Option<Quantiles>,
    /// How long finals waited for a slot.
    pub queue_wait_ms: Option<Quantiles>,
    /// Wrong words by words said; texts that nobody said anything of count as wrong.
    pub wer: Option<f64>,
    /// [`LoadReport::wer`] of what deltas came to, of turns of which some came.
    pub delta_wer: Option<f64>,
    /// Words in which finals differ from the deltas before them.
    pub diverged_words: Option<u64>,
    /// The same as a part of all words that came in deltas.
    pub diverged_share: Option<f64>,
    /// Runs of words of one client in the text of another.
    #[serde(default)]
    pub leaks: u64,
    /// Turns whose text, or some of it, never came.
    #[serde(default)]
    pub lost_utterances: u64,
    /// Connections that a full server turned away.
    #[serde(default)]
    pub rejected: u64,
    /// Errors by code.
    #[serde(default)]
    pub errors: BTreeMap<String, u64>,
    /// How late the generator itself was.
    #[serde(default)]
    pub lag_ms: Lag,
    /// What the server used.
    #[serde(default)]
    pub server: ServerUsage,
    /// [`LoadReport::wer`] by kind of recording.
    #[serde(default)]
    pub wer_by_kind: BTreeMap<String, f64>,
    /// How long decodes took.
    pub decode_ms: Option<Quantiles>,
    /// The part of the finals that waited over 1 ms for a slot.
    pub waited_share: Option<f64>,
    /// Turns with something to be heard that were sent to their end.
    #[serde(default)]
    pub turns: u64,
    /// Deltas that came.
    #[serde(default)]
    pub deltas: u64,
    /// The first leaks.
    #[serde(default)]
    pub leaked: Vec<Leak>,
    /// Wrong readings that happen to stand in another client's sentences, at most twenty: no leaks, because the recognizer
    /// reads them so when nobody else is there, too.
    #[serde(default)]
    pub misheard: Vec<Leak>,
    /// How many slots the server says it has.
    pub slots: Option<u16>,
    /// The part of their time in which slots decoded finals.
    pub utilization: Option<f64>,
    /// For each final: seconds of its utterance, milliseconds of its decode, milliseconds that it waited. Evenly thinned.
    #[serde(default)]
    pub samples: Vec<[f64; 3]>,
    /// What came of each recording whenever it was played; empty where the protocol tells too little.
    #[serde(default)]
    pub clips: Vec<ClipTakes>,
    /// Whether the run ended before its time.
    #[serde(default)]
    pub interrupted: bool,
    /// Why latencies are `null`.
    pub unpublished: Option<String>,
}

impl LoadReport {
    /// What makes the run a failure, one line each; empty when it passed.
    pub fn failures(&self) -> Vec<String> {
        let leaks = (self.leaks > 0).then(|| self.leak_failure());
        let lost = (self.lost_utterances > 0)
            .then(|| format!("{} of {}", count(self.lost_utterances, "lost utterance"), self.turns));
        let rejected = (self.rejected > 0).then(|| count(self.rejected, "rejected connection"));
        let errors = self.errors.iter().map(|(code, errors)| format!("{} {code}", count(*errors, "error")));
        let early = self.interrupted.then(|| "ended before its time".to_owned());
        early
            .into_iter()
            .chain(leaks)
            .chain(lost)
            .chain(rejected)
            .chain(errors)
            .chain(self.unpublished.clone())
            .collect()
    }

    /// Whether it was over before anybody had said anything, so that it shows nothing.
    pub fn is_silent(&self) -> bool {
        self.audio_seconds <= 0.0
    }

    fn leak_failure(&self) -> String {
        let example = self.leaked.first().map(|leak| {
            format!(": client {} got \"{}\", which client {} said", leak.client, leak.words, leak.whose)
        });
        format!("{}{}", count(self.leaks, "leak"), example.unwrap_or_default())
    }
}

fn count(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}
