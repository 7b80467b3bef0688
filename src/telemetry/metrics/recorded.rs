//! Counters and histograms: what happened since the process began.

use super::labels::{Label, LeaseScope, Module, Saying, Speaker, Stability, Stage, WaitOutcome};
use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{
    Counter, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts,
    Registry,
};
use std::marker::PhantomData;
use std::sync::LazyLock;

/// The one of this process. Tests make their own.
pub(super) static RECORDED: LazyLock<Recorded> = LazyLock::new(Recorded::new);

/// From "there was a slot" to the patience of a REST request.
const WAITS: &[f64] =
    &[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0];

/// The name of how long decodes take, which load tests look for.
pub(super) const DECODE_SECONDS: &str = "stenopool_asr_decode_seconds";

/// From a short decode to a session of hours.
const HOLDS: &[f64] =
    &[0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 7_200.0];

/// From a small model on a GPU to a large one on a CPU.
const DECODES: &[f64] =
    &[0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0];

/// Close together from 0.2 to 2 seconds, where an answer turns from prompt to late.
const TURNS: &[f64] = &[
    0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0,
];

/// Close together around what a listener takes for prompt.
const FIRST_SOUNDS: &[f64] =
    &[0.005, 0.01, 0.02, 0.04, 0.06, 0.1, 0.15, 0.2, 0.25, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0];

/// Every way in which a phrase can end.
const SAYINGS: &[[&str; 1]] =
    &[[Saying::Said.as_str()], [Saying::Cancelled.as_str()], [Saying::Failed.as_str()]];

/// From a small model with a warm prompt to one that is being loaded.
const FIRST_TOKENS: &[f64] =
    &[0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0];

/// Refusals that are shown before the first of them, so that their rate is known from the first on.
const REFUSALS: &[[&str; 1]] =
    &[["pool_saturated"], ["pool_deadline_exceeded"], ["pool_superseded"], ["pool_draining"]];

/// The same of retirements.
const RETIREMENTS: &[[&str; 1]] = &[["slot_lost"], ["slot_stuck"], ["slot_failing"], ["canary_failed"]];

/// The same of texts that were not told.
const DOUBTS: &[[&str; 1]] = &[["no_speech"], ["repetition"], ["low_probability"], ["phantom"]];

/// What becomes of wishes for a reply: the closed set.
const LLM_OUTCOMES: &[[&str; 1]] = &[
    ["answered"],
    ["dropped"],
    ["llm_cut_off"],
    ["llm_failed"],
    ["llm_first_token_timeout"],
    ["llm_garbage"],
    ["llm_rate_limited"],
    ["llm_refused"],
    ["llm_saturated"],
    ["llm_stalled"],
    ["llm_timeout"],
    ["llm_unauthorized"],
    ["llm_unavailable"],
    ["llm_unreachable"],
];

/// The same of errors: what one would like to be woken for.
const ERRORS: &[[&str; 2]] = &[
    [Module::Server.as_str(), "internal_error"],
    [Module::Server.as_str(), "decode_failed"],
    [Module::Session.as_str(), "decode_failed"],
    [Module::Session.as_str(), "audio_dropped"],
];

/// Every metric that is recorded, ready to be counted up.
pub(super) struct Recorded {
    registry: Registry,
    pub(super) waits: Histograms<WaitOutcome>,
    pub(super) holds: Histograms<LeaseScope>,
    pub(super) decodes: Histograms<Stability>,
    pub(super) turns: Histograms<Stage>,
    pub(super) first_sounds: Histograms<Speaker>,
    pub(super) audio_seconds: Counter,
    pub(super) spoken_seconds: Counter,
    pub(super) phrases: IntCounterVec,
    pub(super) speech_seconds: Counter,
    pub(super) refusals: IntCounterVec,
    pub(super) retirements: IntCounterVec,
    pub(super) errors: IntCounterVec,
    pub(super) withheld: IntCounterVec,
    pub(super) delta_words: IntCounter,
    pub(super) diverged_words: IntCounter,
    pub(super) llm_first_tokens: Histogram,
    pub(super) llm_requests: IntCounterVec,
    pub(super) llm_open: IntGauge,
    pub(super) llm_warm_up: Gauge,
}

impl Recorded {
    /// All at zero.
    pub(super) fn new() -> Self {
        let registry = Registry::new();
        let add = Catalogue(&registry);
        Self {
            waits: add.histograms(
                "stenopool_pool_wait_seconds",
                "Time that tickets stood in line for a slot, by how they left it.",
                WAITS,
            ),
            holds: add.histograms(
                "stenopool_pool_lease_held_seconds",
                "Time from a lease's grant to its return, by how long it was meant to be kept.",
                HOLDS,
            ),
            decodes: add.histograms(
                DECODE_SECONDS,
                "Time that a decode took, of those that gave a text; failed and cancelled ones do not count.",
                DECODES,
            ),
            turns: add.histograms(
                "stenopool_turn_latency_seconds",
                "Time from the last sample of speech to its final text, and what it was spent on.",
                TURNS,
            ),
            first_sounds: add.histograms(
                "stenopool_tts_first_audio_seconds",
                "Time from a phrase being asked for to its first sound, waiting for its turn included.",
                FIRST_SOUNDS,
            ),
            spoken_seconds: add.seconds(
                "stenopool_tts_audio_seconds_total",
                "Seconds of sound that were made out of text.",
            ),
            phrases: add.counters(
                "stenopool_tts_phrases_total",
                "Phrases that were asked for, by how they ended.",
                ["outcome"],
                SAYINGS,
            ),
            audio_seconds: add.seconds(
                "stenopool_asr_audio_seconds_total",
                "Seconds of audio that were decoded; what is decoded again counts again.",
            ),
            speech_seconds: add.seconds(
                "stenopool_vad_speech_seconds_total",
                "Seconds of speech that the voice detector found in streams and files.",
            ),
            refusals: add.counters(
                "stenopool_pool_refusals_total",
                "Requests and sessions that got no lease, by the code of the error.",
                ["reason"],
                REFUSALS,
            ),
            retirements: add.counters(
                "stenopool_pool_retirements_total",
                "Slots that were taken out of service.",
                ["reason"],
                RETIREMENTS,
            ),
            errors: add.counters(
                "stenopool_errors_total",
                "Errors that clients were told, by who told them and their code; clients' own mistakes included.",
                [Module::NAME, "code"],
                ERRORS,
            ),
            withheld: add.counters(
                "stenopool_asr_withheld_total",
                "Final readings that were not told because nobody seems to have said them, by why.",
                ["reason"],
                DOUBTS,
            ),
            delta_words: add.number(
                "stenopool_asr_delta_words_total",
                "Words that clients were told before the final text.",
            ),
            diverged_words: add.number(
                "stenopool_asr_diverged_words_total",
                "Words told before the final text that differ from it.",
            ),
            llm_first_tokens: add.histogram(
                "stenopool_llm_first_token_seconds",
                "Time from the wish for a reply to its first token, with the time in line and failed attempts.",
                FIRST_TOKENS,
            ),
            llm_requests: add.counters(
                "stenopool_llm_requests_total",
                "Wishes for a reply, by what became of them: answered, dropped by who asked, or the error's code.",
                ["outcome"],
                LLM_OUTCOMES,
            ),
            llm_open: add.level("stenopool_llm_open_requests", "Requests that are open at language models."),
            llm_warm_up: add.gauge(
                "stenopool_llm_warm_up_seconds",
                "Time that the last small request took which warms the language model up; 0 before the first.",
            ),
            registry,
        }
    }

    /// What was recorded so far, in order of names and labels.
    pub(super) fn families(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }
}

/// Counts one up. Labels that do not fit the metric count nowhere.
pub(super) fn count<const N: usize>(counters: &IntCounterVec, labels: &[&'static str; N]) {
    if let Ok(counter) = counters.get_metric_with_label_values(labels) {
        counter.inc();
    }
}

/// One histogram for every value of a label, found without a look-up.
pub(super) struct Histograms<L> {
    /// In the order of [`Label::ALL`].
    each: Vec<Histogram>,
    label: PhantomData<L>,
}

impl<L: Label> Histograms<L> {
    /// The one for this value.
    pub(super) fn of(&self, label: L) -> &Histogram {
        &self.each[label.index()]
    }
}

/// Why making the catalogue cannot fail; a test makes it.
const WELL_FORMED: &str = "names in the catalogue are well-formed and each stands there once";

/// Makes metrics and registers them.
struct Catalogue<'a>(&'a Registry);

impl Catalogue<'_> {
    fn add(&self, metric: &(impl Collector + Clone + 'static)) {
        self.0.register(Box::new(metric.clone())).expect(WELL_FORMED);
    }

    fn histograms<L: Label>(&self, name: &str, help: &str, buckets: &[f64]) -> Histograms<L> {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        let all = HistogramVec::new(options, &[L::NAME]).expect(WELL_FORMED);
        self.add(&all);
        let each = L::ALL.iter().map(|label| all.with_label_values(&[label.value()])).collect();
        Histograms { each, label: PhantomData }
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        let histogram = Histogram::with_opts(options).expect(WELL_FORMED);
        self.add(&histogram);
        histogram
    }

    fn gauge(&self, name: &str, help: &str) -> Gauge {
        let gauge = Gauge::new(name, help).expect(WELL_FORMED);
        self.add(&gauge);
        gauge
    }

    fn level(&self, name: &str, help: &str) -> IntGauge {
        let level = IntGauge::new(name, help).expect(WELL_FORMED);
        self.add(&level);
        level
    }

    fn seconds(&self, name: &str, help: &str) -> Counter {
        let seconds = Counter::new(name, help).expect(WELL_FORMED);
        self.add(&seconds);
        seconds
    }

    fn number(&self, name: &str, help: &str) -> IntCounter {
        let number = IntCounter::new(name, help).expect(WELL_FORMED);
        self.add(&number);
        number
    }

    /// Counters for codes that the modules name themselves; those in `known` are shown from the beginning.
    fn counters<const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
        known: &[[&str; N]],
    ) -> IntCounterVec {
        let counters = IntCounterVec::new(Opts::new(name, help), &labels).expect(WELL_FORMED);
        self.add(&counters);
        for values in known {
            counters.with_label_values(values);
        }
        counters
    }
}
