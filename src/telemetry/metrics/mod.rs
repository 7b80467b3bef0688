//! What is measured, under which name. No other module spells a metric's name.
//!
//! What happens is recorded when it happens, by the functions here, on one registry for the process that needs no
//! set-up. What *is* (slots, sessions, memory) is not kept here at all: whoever renders hands in one reading of it, a
//! [`Gauges`], so that it can never disagree with what the same reading says elsewhere. What nobody else tells (the
//! requests that a language model is being asked) is the exception: it is counted up and down where it happens.
//!
//! Recording takes no lock that waits for a scrape, allocates nothing (but for the first of a new code), and does not
//! panic: it is safe to do under the pool's lock. Labels come from closed sets, either enums or `&'static str` codes.

#[cfg(test)]
mod exposition;
mod gauges;
mod labels;
mod process;
mod recorded;
#[cfg(test)]
mod tests;

pub use gauges::{Alerts, Gauges, Memory};
pub use labels::{LeaseScope, Module, Saying, Speaker, Stability, Stage, WaitOutcome};
pub use process::Process;

use prometheus::TextEncoder;
use prometheus::proto::{MetricFamily, MetricType};
use recorded::{RECORDED, Recorded, count};
use std::time::Duration;

/// The media type of what [`render`] gives: Prometheus' classic text, which every scraper reads.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A ticket left the line, after this time and in this way.
pub fn waited(outcome: WaitOutcome, wait: Duration) {
    RECORDED.waits.of(outcome).observe(wait.as_secs_f64());
}

/// A lease was given back after this time.
pub fn lease_held(scope: LeaseScope, held: Duration) {
    RECORDED.holds.of(scope).observe(held.as_secs_f64());
}

/// Somebody got no lease; `reason` is the error's `code()`.
pub fn refused(reason: &'static str) {
    count(&RECORDED.refusals, &[reason]);
}

/// How many got no lease for this reason since the process began.
#[cfg(test)]
pub(crate) fn refusals(reason: &'static str) -> u64 {
    RECORDED.refusals.with_label_values(&[reason]).get()
}

/// A slot went out of service.
pub fn slot_retired(reason: &'static str) {
    count(&RECORDED.retirements, &[reason]);
}

/// A decode of so much audio came to its end and gave a text.
pub fn decoded(stability: Stability, took: Duration, audio: Duration) {
    RECORDED.decodes.of(stability).observe(took.as_secs_f64());
    RECORDED.audio_seconds.inc_by(audio.as_secs_f64());
}

/// So much speech was found in a stream or a file.
pub fn speech_heard(speech: Duration) {
    RECORDED.speech_seconds.inc_by(speech.as_secs_f64());
}

/// One stage of the way from the end of speech to its text took so long.
pub fn turn_took(stage: Stage, took: Duration) {
    RECORDED.turns.of(stage).observe(took.as_secs_f64());
}

/// A client was told of an error; `code` is the error's `code()`, `module` who told it.
pub fn failed(module: Module, code: &'static str) {
    count(&RECORDED.errors, &[module.as_str(), code]);
}

/// A final reading was not told; `reason` is the doubt's `code()`.
pub fn text_withheld(reason: &'static str) {
    count(&RECORDED.withheld, &[reason]);
}

/// So many words were told before the final text.
pub fn words_told(n: u32) {
    RECORDED.delta_words.inc_by(n.into());
}

/// So many words that were told differ from the final text.
pub fn words_diverged(n: u32) {
    RECORDED.diverged_words.inc_by(n.into());
}

/// The first sound of a phrase was ready so long after the phrase was asked for.
pub fn first_sound(speaker: Speaker, took: Duration) {
    RECORDED.first_sounds.of(speaker).observe(took.as_secs_f64());
}

/// So much sound was made out of text.
pub fn sound_made(sound: Duration) {
    RECORDED.spoken_seconds.inc_by(sound.as_secs_f64());
}

/// A phrase came to its end, in this way.
pub fn phrase_ended(how: Saying) {
    count(&RECORDED.phrases, &[how.as_str()]);
}

/// A language model is asked. [`llm_closed`] must follow.
pub fn llm_opened() {
    RECORDED.llm_open.inc();
}

/// A request to a language model is over, in whatever way.
pub fn llm_closed() {
    RECORDED.llm_open.dec();
}

/// The first token of a reply came so long after somebody wanted it, the time in line and failed attempts included.
pub fn llm_began(took: Duration) {
    RECORDED.llm_first_tokens.observe(took.as_secs_f64());
}

/// A wish for a reply is settled: `answered`, `dropped`, or the error's `code()`.
pub fn llm_ended(outcome: &'static str) {
    count(&RECORDED.llm_requests, &[outcome]);
}

/// The small request that warms a language model up took so long.
pub fn llm_warmed_up(took: Duration) {
    RECORDED.llm_warm_up.set(took.as_secs_f64());
}

/// Everything, as [`CONTENT_TYPE`]: what was recorded since the process began, and what is now.
///
/// Renderings at the same time do not disturb each other: what is now is only in their arguments.
pub fn render(now: &Gauges) -> String {
    render_with(&RECORDED, now)
}

/// What a process shows in which nothing has happened yet.
#[cfg(test)]
pub(crate) fn render_untouched() -> String {
    render_with(&Recorded::new(), &Gauges::default())
}

/// How many tasks a server had when it gave this text; `None` when it does not say, as other servers do not.
pub fn tasks_in(text: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(gauges::TASKS)?.strip_prefix(' '))?;
    value.parse().ok()
}

/// How many decodes of that kind a server had done when it gave this text; `None` when it does not say.
pub fn decodes_in(text: &str, stability: Stability) -> Option<u64> {
    let sample = format!("{}_count{{stability=\"{}\"}} ", recorded::DECODE_SECONDS, stability.as_str());
    text.lines().find_map(|line| line.strip_prefix(sample.as_str()))?.parse().ok()
}

fn render_with(recorded: &Recorded, now: &Gauges) -> String {
    let mut text = String::new();
    for family in now.families().iter().chain(&recorded.families()) {
        write(family, &mut text);
    }
    text
}

fn write(family: &MetricFamily, text: &mut String) {
    if family.get_metric().is_empty() {
        // The encoder refuses these; their name and meaning are worth telling all the same.
        let (name, help) = (family.name(), family.help());
        let kind = if family.get_field_type() == MetricType::COUNTER { "counter" } else { "gauge" };
        text.extend(["# HELP ", name, " ", help, "\n# TYPE ", name, " ", kind, "\n"]);
        return;
    }
    let encoded = TextEncoder::new().encode_utf8(std::slice::from_ref(family), text);
    encoded.expect("a family with a name and metrics can be written to memory");
}
