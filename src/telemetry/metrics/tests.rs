//! What a scraper sees.

#![allow(clippy::float_cmp, reason = "counts, and numbers that were handed in, come back exactly")]

use super::exposition::{Family, read};
use super::*;
use std::collections::{BTreeMap, BTreeSet};

/// A metric: its name, its type, and for each label the values that it has.
type Entry = (&'static str, &'static str, &'static [(&'static str, &'static [&'static str])]);

/// Every metric but [`BUILD_INFO`].
const CATALOGUE: &[Entry] = &[
    ("process_cpu_seconds_total", "counter", &[]),
    ("process_open_fds", "gauge", &[]),
    ("process_resident_memory_bytes", "gauge", &[]),
    ("process_threads", "gauge", &[]),
    ("stenopool_alert", "gauge", &[("kind", &["capacity_lost", "memory_low", "queue_long"])]),
    ("stenopool_asr_audio_seconds_total", "counter", &[]),
    ("stenopool_asr_decode_seconds", "histogram", &[("stability", &["final", "interim"])]),
    ("stenopool_asr_delta_words_total", "counter", &[]),
    ("stenopool_asr_diverged_words_total", "counter", &[]),
    (
        "stenopool_asr_withheld_total",
        "counter",
        &[("reason", &["low_probability", "no_speech", "phantom", "repetition"])],
    ),
    (
        "stenopool_device_memory_bytes",
        "gauge",
        &[("kind", &["free", "reserve", "slots", "total", "weights"])],
    ),
    (
        "stenopool_errors_total",
        "counter",
        &[
            ("code", &["audio_dropped", "decode_failed", "internal_error"]),
            ("module", &["server", "session"]),
        ],
    ),
    ("stenopool_llm_first_token_seconds", "histogram", &[]),
    ("stenopool_llm_open_requests", "gauge", &[]),
    (
        "stenopool_llm_requests_total",
        "counter",
        &[(
            "outcome",
            &[
                "answered",
                "dropped",
                "llm_cut_off",
                "llm_failed",
                "llm_first_token_timeout",
                "llm_garbage",
                "llm_rate_limited",
                "llm_refused",
                "llm_saturated",
                "llm_stalled",
                "llm_timeout",
                "llm_unauthorized",
                "llm_unavailable",
                "llm_unreachable",
            ],
        )],
    ),
    ("stenopool_llm_warm_up_seconds", "gauge", &[]),
    ("stenopool_pool_lease_held_seconds", "histogram", &[("scope", &["session", "utterance"])]),
    (
        "stenopool_pool_refusals_total",
        "counter",
        &[("reason", &["pool_deadline_exceeded", "pool_draining", "pool_saturated", "pool_superseded"])],
    ),
    (
        "stenopool_pool_retirements_total",
        "counter",
        &[("reason", &["canary_failed", "slot_failing", "slot_lost", "slot_stuck"])],
    ),
    ("stenopool_pool_slots", "gauge", &[("state", &["idle", "leased", "retired", "warming"])]),
    (
        "stenopool_pool_wait_seconds",
        "histogram",
        &[("outcome", &["deadline_exceeded", "draining", "granted", "superseded", "withdrawn"])],
    ),
    ("stenopool_pool_waiting", "gauge", &[]),
    ("stenopool_runtime_tasks", "gauge", &[]),
    ("stenopool_sessions", "gauge", &[("state", &["connected", "speaking"])]),
    ("stenopool_tts_audio_seconds_total", "counter", &[]),
    ("stenopool_tts_first_audio_seconds", "histogram", &[("engine", &["espeak-ng", "kokoro", "remote"])]),
    ("stenopool_tts_phrases_total", "counter", &[("outcome", &["cancelled", "failed", "said"])]),
    (
        "stenopool_turn_latency_seconds",
        "histogram",
        &[(
            "stage",
            &["decode", "endpoint", "first_audio", "first_phrase", "first_token", "reply", "total", "wait"],
        )],
    ),
    ("stenopool_vad_speech_seconds_total", "counter", &[]),
];

/// Which program this is: its labels' values depend on the build.
const BUILD_INFO: &str = "stenopool_build_info";

fn rendered(recorded: &Recorded, now: &Gauges) -> BTreeMap<String, Family> {
    let text = render_with(recorded, now);
    read(&text).unwrap_or_else(|wrong| panic!("{wrong}\n{text}"))
}

/// What one sample says, with its labels as they are written.
fn value(families: &BTreeMap<String, Family>, sample: &str) -> f64 {
    let written = |found: &&super::exposition::Sample| {
        let labels: Vec<_> = found.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("{} {}", found.name, labels.join(" ")).trim() == sample
    };
    let mut samples = families.values().flat_map(|family| &family.samples);
    samples.find(written).unwrap_or_else(|| panic!("no {sample} in {families:#?}")).value
}

fn label_values(family: &Family) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let labels = family.samples.iter().flat_map(|sample| &sample.labels).filter(|(name, _)| *name != "le");
    labels.for_each(|(name, value)| {
        values.entry(name).or_default().insert(value);
    });
    values
}

#[test]
fn the_whole_catalogue_stands_at_zero_before_anything_happened() {
    let (memory, process) = (Some(Memory::default()), Some(Process::default()));
    let mut families = rendered(&Recorded::new(), &Gauges { memory, process, ..Gauges::default() });
    let program = families.remove(BUILD_INFO).expect("the program says which it is");
    assert_eq!(program.samples.len(), 1);
    assert_eq!(program.samples[0].value.to_bits(), 1.0_f64.to_bits());
    assert_eq!(program.samples[0].labels["version"], env!("CARGO_PKG_VERSION"));
    let found: Vec<_> = families
        .iter()
        .map(|(name, family)| (name.as_str(), family.kind.as_str(), label_values(family)))
        .collect();
    let expected: Vec<_> = CATALOGUE
        .iter()
        .map(|(name, kind, labels)| {
            let labels = labels.iter().map(|(label, values)| (*label, values.iter().copied().collect()));
            (*name, *kind, labels.collect())
        })
        .collect();
    assert_eq!(found, expected);
    for (name, family) in &families {
        assert!(family.samples.iter().all(|sample| sample.value == 0.0), "{name}: {family:?}");
        assert!(!family.samples.is_empty(), "{name}");
    }
}

#[test]
fn memory_that_nobody_read_is_not_told_as_zero_bytes() {
    let families = rendered(&Recorded::new(), &Gauges::default());
    assert_eq!(families["stenopool_device_memory_bytes"].samples, []);
    assert_eq!(families["process_cpu_seconds_total"], Family { kind: "counter".into(), samples: Vec::new() });
}

#[test]
fn the_tasks_are_found_in_the_text_that_tells_them() {
    let text = render_with(&Recorded::new(), &Gauges { tasks: 41, ..Gauges::default() });
    assert_eq!(tasks_in(&text), Some(41));
    for stability in [Stability::Final, Stability::Interim] {
        assert!(decodes_in(&text, stability).is_some(), "{text}");
    }
    for other in [
        "",
        "# HELP stenopool_runtime_tasks x\n",
        "stenopool_runtime_tasks_more 3\n",
        "stenopool_runtime_tasks many\n",
    ] {
        assert_eq!(tasks_in(other), None, "{other}");
        assert_eq!(decodes_in(other, Stability::Final), None, "{other}");
    }
}

#[test]
fn a_histogram_counts_each_observation_in_every_bucket_above_it() {
    let recorded = Recorded::new();
    for wait in [0.0, 0.001, 0.03, 4.0, 99.0] {
        recorded.waits.of(WaitOutcome::Granted).observe(wait);
    }
    let families = rendered(&recorded, &Gauges::default());
    let bucket =
        |le| value(&families, &format!("stenopool_pool_wait_seconds_bucket le={le} outcome=granted"));
    assert_eq!(
        ["0.001", "0.02", "0.05", "2", "5", "30", "+Inf"].map(bucket),
        [2.0, 2.0, 3.0, 3.0, 4.0, 4.0, 5.0]
    );
    assert_eq!(value(&families, "stenopool_pool_wait_seconds_count outcome=granted"), 5.0);
    assert_eq!(value(&families, "stenopool_pool_wait_seconds_count outcome=withdrawn"), 0.0);
}

#[test]
fn every_gauge_says_its_own_field() {
    let memory = Some(Memory { total: 1 << 37, free: 2, reserve: 3, weights: 4, slots: 5 });
    let alerts = Alerts { queue_long: true, ..Alerts::default() };
    let now = Gauges {
        slots_idle: 6,
        slots_leased: 7,
        slots_warming: 8,
        slots_retired: 9,
        waiting: 10,
        sessions_connected: 11,
        sessions_speaking: 12,
        memory,
        alerts,
        tasks: 13,
        process: Some(Process { cpu: Duration::from_millis(1_500), resident: 14, open_fds: 15, threads: 16 }),
    };
    let families = rendered(&Recorded::new(), &now);
    let cases = [
        ("stenopool_device_memory_bytes kind=total", 137_438_953_472.0),
        ("stenopool_device_memory_bytes kind=free", 2.0),
        ("stenopool_device_memory_bytes kind=reserve", 3.0),
        ("stenopool_device_memory_bytes kind=weights", 4.0),
        ("stenopool_device_memory_bytes kind=slots", 5.0),
        ("stenopool_pool_slots state=idle", 6.0),
        ("stenopool_pool_slots state=leased", 7.0),
        ("stenopool_pool_slots state=warming", 8.0),
        ("stenopool_pool_slots state=retired", 9.0),
        ("stenopool_pool_waiting", 10.0),
        ("stenopool_sessions state=connected", 11.0),
        ("stenopool_sessions state=speaking", 12.0),
        ("stenopool_runtime_tasks", 13.0),
        ("process_cpu_seconds_total", 1.5),
        ("process_resident_memory_bytes", 14.0),
        ("process_open_fds", 15.0),
        ("process_threads", 16.0),
        ("stenopool_alert kind=capacity_lost", 0.0),
        ("stenopool_alert kind=queue_long", 1.0),
        ("stenopool_alert kind=memory_low", 0.0),
    ];
    for (sample, expected) in cases {
        assert_eq!(value(&families, sample), expected, "{sample}");
    }
}

#[test]
fn scrapes_at_the_same_time_each_tell_their_own_reading() {
    let recorded = Recorded::new();
    let scrape = |n: usize| {
        let now = Gauges { slots_idle: n, waiting: n, sessions_connected: n, ..Gauges::default() };
        let families = rendered(&recorded, &now);
        ["stenopool_pool_slots state=idle", "stenopool_pool_waiting", "stenopool_sessions state=connected"]
            .map(|sample| value(&families, sample))
    };
    std::thread::scope(|scope| {
        let scrapes: Vec<_> = (0..4_usize)
            .map(|n| scope.spawn(move || (0..50).for_each(|_| assert_eq!(scrape(n), [n as f64; 3]))))
            .collect();
        for scrape in scrapes {
            scrape.join().expect("none mixed with another");
        }
    });
}

#[test]
fn observations_from_many_threads_all_count_while_others_scrape() {
    let recorded = Recorded::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    recorded.decodes.of(Stability::Final).observe(0.2);
                    count(&recorded.errors, &["asr", "slot_lost"]);
                }
            });
        }
        // Each one is read strictly: a scrape amid recording has buckets that add up.
        (0..20).for_each(|_| drop(rendered(&recorded, &Gauges::default())));
    });
    let families = rendered(&recorded, &Gauges::default());
    assert_eq!(value(&families, "stenopool_asr_decode_seconds_count stability=final"), 4_000.0);
    assert_eq!(value(&families, "stenopool_errors_total code=slot_lost module=asr"), 4_000.0);
}

#[test]
fn what_a_language_model_is_being_asked_goes_up_and_down() {
    let recorded = Recorded::new();
    recorded.llm_open.add(3);
    recorded.llm_open.dec();
    recorded.llm_warm_up.set(0.5);
    let families = rendered(&recorded, &Gauges::default());
    assert_eq!(value(&families, "stenopool_llm_open_requests"), 2.0);
    assert_eq!(value(&families, "stenopool_llm_warm_up_seconds"), 0.5);
}

#[test]
fn labels_that_do_not_fit_a_metric_count_nowhere_and_harm_nobody() {
    let recorded = Recorded::new();
    count(&recorded.refusals, &["one", "too many"]);
    let families = rendered(&recorded, &Gauges::default());
    assert_eq!(families["stenopool_pool_refusals_total"].samples.len(), 4);
}

#[test]
fn each_recording_reaches_its_own_metric() {
    let second = Duration::from_secs(1);
    let cases: [(&str, &dyn Fn()); 14] = [
        ("stenopool_asr_withheld_total reason=phantom", &|| text_withheld("phantom")),
        ("stenopool_asr_delta_words_total", &|| words_told(1)),
        ("stenopool_asr_diverged_words_total", &|| words_diverged(1)),
        ("stenopool_pool_wait_seconds_sum outcome=superseded", &|| waited(WaitOutcome::Superseded, second)),
        ("stenopool_pool_lease_held_seconds_sum scope=session", &|| lease_held(LeaseScope::Session, second)),
        ("stenopool_pool_refusals_total reason=pool_draining", &|| refused("pool_draining")),
        ("stenopool_pool_retirements_total reason=slot_lost", &|| slot_retired("slot_lost")),
        ("stenopool_asr_decode_seconds_sum stability=interim", &|| {
            decoded(Stability::Interim, second, Duration::ZERO);
        }),
        ("stenopool_asr_audio_seconds_total", &|| decoded(Stability::Final, Duration::ZERO, second)),
        ("stenopool_vad_speech_seconds_total", &|| speech_heard(second)),
        ("stenopool_turn_latency_seconds_sum stage=endpoint", &|| turn_took(Stage::Endpoint, second)),
        ("stenopool_errors_total code=decode_failed module=session", &|| {
            failed(Module::Session, "decode_failed");
        }),
        ("stenopool_llm_first_token_seconds_sum", &|| llm_began(second)),
        ("stenopool_llm_requests_total outcome=dropped", &|| llm_ended("dropped")),
    ];
    let reading = |sample| value(&read(&render(&Gauges::default())).expect("well-formed"), sample);
    for (sample, record) in cases {
        let before = reading(sample);
        record();
        // Other tests record on the same registry meanwhile.
        assert!(reading(sample) >= before + 1.0, "{sample}");
    }
}
