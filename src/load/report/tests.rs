use super::*;
use crate::audio::SampleRate;
use crate::load::clips::Clip;
use crate::load::diary::{Fate, FinalOutcome, PersonOutcome, Score, TurnOutcome};
use crate::load::leaks::leaks_among;
use crate::load::protocol::{Final, Stretch};
use std::sync::Arc;

const SECOND: Duration = Duration::from_secs(1);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn turn(text: &str, fate: Fate, latency: Option<u64>) -> TurnOutcome {
    let clip = Arc::new(Clip {
        file: "a.wav".into(),
        kind: "all".into(),
        text: text.into(),
        samples: Arc::from([]),
        rate: SampleRate::SPEECH,
        speech: Vec::new(),
    });
    TurnOutcome {
        clip,
        position: Duration::ZERO,
        fate,
        steady: true,
        final_latency: latency.map(ms),
        first_delta: None,
        first_audio: None,
    }
}

fn heard(text: &str, waited: u64, steady: bool) -> FinalOutcome {
    let stretch = Stretch { start: SECOND, end: SECOND * 3 };
    let (waited, decoded) = (Some(ms(waited)), Some(ms(500)));
    let told = Final {
        text: text.into(),
        stretch: Some(stretch),
        waited,
        decoded,
        diverged_words: None,
        streamed: None,
    };
    FinalOutcome { told, turn: Some(0), steady, at: SECOND * 7 }
}

fn score(kind: &str, words: u64, errors: u64, awaited: bool) -> Score {
    Score { kind: kind.into(), words, errors, streamed_errors: None, awaited }
}

fn facts() -> RunFacts {
    RunFacts {
        protocol: "realtime".into(),
        url: "http://127.0.0.1:8000".into(),
        clients: 2,
        duration: SECOND * 12,
        steady: SECOND * 10,
        isolation: Isolation { leaked: leaks_among(&people()), misheard: Vec::new() },
        duty: 0.2,
        slots: Some(1),
        ..RunFacts::default()
    }
}

/// Two people: one is answered twice and hears the other's words in the second text, the other is not.
fn people() -> [PersonOutcome; 2] {
    let first = PersonOutcome {
        turns: vec![
            turn("set a timer", Fate::Answered, Some(100)),
            turn("turn the lights on now", Fate::Answered, Some(300)),
        ],
        finals: vec![heard("set a timer", 0, false), heard("turn the lights open the garage door", 40, true)],
        scores: vec![score("a", 3, 0, false), score("b", 5, 4, false)],
        trouble: [("late".to_owned(), 2)].into(),
        spoken: SECOND * 3,
        deltas: 4,
    };
    let second = PersonOutcome {
        turns: vec![
            turn("open the garage door", Fate::Lost, None),
            turn("", Fate::Silent, None),
            turn("never mind", Fate::Awaited, None),
            turn("half a", Fate::Unfinished, None),
        ],
        scores: vec![score("b", 4, 4, false), score("silence", 0, 1, false), score("b", 2, 2, true)],
        trouble: [("late".to_owned(), 1)].into(),
        spoken: SECOND,
        deltas: 1,
        finals: Vec::new(),
    };
    [first, second]
}

#[test]
fn the_names_of_the_fields_are_a_contract() {
    let json = serde_json::to_value(LoadReport::default()).unwrap();
    let names: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = vec![
        // What the contract names.
        "clients",
        "duration_s",
        "duty",
        "audio_seconds",
        "finals",
        "final_latency_ms",
        "first_delta_ms",
        "first_audio_ms",
        "queue_wait_ms",
        "wer",
        "diverged_words",
        "leaks",
        "lost_utterances",
        "rejected",
        "errors",
        "lag_ms",
        "server",
        // More.
        "protocol",
        "url",
        "wer_by_kind",
        "decode_ms",
        "waited_share",
        "turns",
        "deltas",
        "delta_wer",
        "diverged_share",
        "leaked",
        "misheard",
        "slots",
        "utilization",
        "samples",
        "clips",
        "interrupted",
        "unpublished",
    ];
    expected.sort_unstable();
    assert_eq!(names, expected);
    let inner = |field: &str| json[field].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(inner("lag_ms"), ["p99"]);
    assert_eq!(
        inner("server"),
        ["cpu_seconds", "device_memory_bytes", "final_decodes", "interim_decodes", "rss_bytes"]
    );
    let quantiles = serde_json::to_value(Quantiles::default()).unwrap();
    assert_eq!(quantiles.as_object().unwrap().keys().collect::<Vec<_>>(), ["max", "p50", "p95", "p99"]);
}

#[test]
fn what_was_not_measured_is_null() {
    let json = serde_json::to_value(LoadReport::of(RunFacts::default(), &[])).unwrap();
    let fields = json.as_object().unwrap().iter();
    let nulls: Vec<_> = fields.filter(|(_, value)| value.is_null()).map(|(name, _)| name.as_str()).collect();
    let expected = [
        "decode_ms",
        "delta_wer",
        "diverged_share",
        "diverged_words",
        "final_latency_ms",
        "first_audio_ms",
        "first_delta_ms",
        "queue_wait_ms",
        "slots",
        "unpublished",
        "utilization",
        "waited_share",
        "wer",
    ];
    assert_eq!(nulls, expected);
    assert!(json["server"].as_object().unwrap().values().all(serde_json::Value::is_null));
}

#[test]
fn figures_are_of_all_people_together() {
    let report = LoadReport::of(facts(), &people());
    assert_eq!((report.turns, report.finals, report.lost_utterances), (4, 2, 2));
    assert_eq!(report.final_latency_ms, Some(Quantiles { p50: 100.0, p95: 300.0, p99: 300.0, max: 300.0 }));
    assert_eq!(report.first_delta_ms, None);
    assert!((report.audio_seconds - 4.0).abs() < 1e-9);
    assert_eq!(report.errors, [("late".to_owned(), 3)].into());
    // 11 of 14 words.
    assert_eq!(report.wer, Some(0.7857));
    assert_eq!(report.wer_by_kind, [("a".to_owned(), 0.0), ("b".to_owned(), 0.9091)].into());
    // The decode at full pace, half a second, in ten seconds.
    assert_eq!(report.utilization, Some(0.05));
}

#[test]
fn waits_and_samples_are_only_of_finals_at_full_pace() {
    let report = LoadReport::of(facts(), &people());
    assert_eq!(report.queue_wait_ms.map(|waits| waits.p50), Some(40.0));
    assert_eq!(report.waited_share, Some(1.0));
    assert_eq!(report.samples, [[2.0, 500.0, 40.0]]);
}

#[test]
fn what_is_awaited_is_lost_unless_somebody_ended_the_run() {
    let run = RunFacts { stopped: true, ..facts() };
    let report = LoadReport::of(run, &people());
    assert_eq!((report.lost_utterances, report.wer), (1, Some(0.75)));
}

#[test]
fn a_leak_a_loss_an_error_and_a_rejection_each_fail_the_run() {
    let run = RunFacts { rejected: 5, connection_errors: [("gone".to_owned(), 1)].into(), ..facts() };
    let report = LoadReport::of(run, &people());
    assert_eq!(
        report.failures(),
        [
            "1 leak: client 0 got \"open the garage door\", which client 1 said",
            "2 lost utterances of 4",
            "5 rejected connections",
            "1 error gone",
            "3 errors late",
        ]
    );
    let spoken = PersonOutcome { spoken: SECOND, ..PersonOutcome::default() };
    let fine = RunFacts { isolation: Isolation::default(), ..facts() };
    assert_eq!(LoadReport::of(fine.clone(), &[spoken]).failures(), Vec::<String>::new());
    let silent = LoadReport::of(fine, &[]);
    assert!(silent.failures().is_empty() && silent.is_silent());
}

#[test]
fn a_run_that_was_stopped_or_broke_off_does_not_pass() {
    for (stopped, broke_off) in [(true, false), (false, true)] {
        let report = LoadReport::of(RunFacts { stopped, broke_off, ..facts() }, &people());
        assert_eq!((report.interrupted, &*report.failures()[0]), (true, "ended before its time"));
    }
}

#[test]
fn words_that_were_misheard_are_told_and_do_not_count_as_leaks() {
    let Isolation { leaked, .. } = facts().isolation;
    let isolation = Isolation { leaked: Vec::new(), misheard: leaked };
    let report = LoadReport::of(RunFacts { isolation, ..facts() }, &people());
    assert_eq!((report.leaks, report.misheard.len()), (0, 1));
}

#[test]
fn a_late_generator_publishes_no_latency_and_fails() {
    let report = |lag_p99| LoadReport::of(RunFacts { lag_p99, ..facts() }, &people());
    let (at_limit, late) = (report(ms(20)), report(ms(21)));
    assert!(at_limit.final_latency_ms.is_some() && at_limit.unpublished.is_none());
    assert_eq!((late.final_latency_ms, late.queue_wait_ms, late.waited_share), (None, None, None));
    assert!(late.failures().last().unwrap().contains("late by 21 ms"), "{:?}", late.failures());
    assert_eq!(late.wer, at_limit.wer);
}

#[test]
fn many_samples_are_thinned_evenly() {
    let finals = (0..10_000).map(|n| heard("", n, true)).collect();
    let person = PersonOutcome { finals, ..PersonOutcome::default() };
    let samples = LoadReport::of(facts(), &[person]).samples;
    assert_eq!(samples.len(), 4_000);
    let waits: Vec<f64> = samples.iter().map(|sample| sample[2]).collect();
    assert!(waits.windows(2).all(|pair| (2.0..=3.0).contains(&(pair[1] - pair[0]))));
}

#[test]
fn a_report_comes_back_from_its_json() {
    let report = LoadReport::of(facts(), &people());
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<LoadReport>(&json).unwrap(), report);
}

#[test]
fn the_table_can_be_read() {
    let server =
        ServerUsage { cpu_seconds: Some(7.25), rss_bytes: Some(200 << 20), ..ServerUsage::default() };
    let table = LoadReport::of(RunFacts { server, ..facts() }, &people()).to_string();
    insta::assert_snapshot!(table, @r#"
    realtime at http://127.0.0.1:8000
    clients                  2 for 12.0 s, duty 0.20
    speech sent              4.0 s in 4 turns, 2 finals
                                    p50        p95        p99        max
    final latency                100 ms     300 ms     300 ms     300 ms
    first delta                       -
    first sound of reply              -
    wait for a slot               40 ms      40 ms      40 ms      40 ms
    decode                       500 ms     500 ms     500 ms     500 ms
    finals that waited       100.0 %
    slots                    1, 5.0 % busy
    word error               78.6 % (a 0.0 %, b 90.9 %)
    word error of deltas     -
    words that diverged      -
    leaks                    1
    lost utterances          2
    rejected                 0
    errors                   3 late
    lag of the generator     0.0 ms (p99)
    server: processor        7.2 s
    server: decodes          -
    server: memory           200.0 MiB
    server: device memory    -
    "#);
}

#[test]
fn every_recording_tells_what_came_of_it_each_time_and_only_of_what_shows_all() {
    let played = turn("set a timer", Fate::Answered, None);
    let clip = Arc::clone(&played.clip);
    let again = |fate, steady| TurnOutcome { clip: Arc::clone(&clip), fate, steady, ..played.clone() };
    let second = TurnOutcome { position: SECOND, ..again(Fate::Answered, true) };
    let turns = vec![played.clone(), second, again(Fate::Lost, true), again(Fate::Answered, false)];
    let of = |turn| FinalOutcome { turn: Some(turn), ..heard("set a timer", 0, true) };
    let people = [PersonOutcome { turns, finals: (0..4).map(of).collect(), ..PersonOutcome::default() }];
    let unplayed = turn("stop", Fate::Silent, None).clip;
    let run = RunFacts { clips: vec![unplayed, Arc::clone(&clip)], ..facts() };
    let [none, told] = LoadReport::of(run, &people).clips.try_into().unwrap();
    assert_eq!((none.file.as_str(), none.takes), ("a.wav", Vec::<Take>::new()));
    assert_eq!(told.takes, [[[3.0, 2.0, 500.0, 7.0]], [[2.0, 2.0, 500.0, 7.0]]]);
}

#[test]
fn what_deltas_came_to_is_held_against_what_was_said_and_against_the_finals() {
    let streamed = |streamed: &str, diverged| {
        let mut heard = heard("set a timer", 0, true);
        heard.told.streamed = Some(streamed.to_owned());
        heard.told.diverged_words = Some(diverged);
        heard
    };
    let finals = vec![streamed("Set the timer", 1), streamed(" now please stop it all at once", 0)];
    let scored = |errors| Score { streamed_errors: errors, ..score("a", 4, 0, false) };
    let person = PersonOutcome {
        finals,
        scores: vec![scored(Some(1)), scored(None)],
        deltas: 7,
        ..people()[0].clone()
    };
    let report = LoadReport::of(facts(), &[person]);
    assert_eq!((report.diverged_words, report.diverged_share), (Some(1), Some(0.1)));
    assert_eq!((report.delta_wer, report.deltas), (Some(0.25), 7));
}
