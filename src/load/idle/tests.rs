//! Silence and what comes of it; sessions against a whole server are in `tests/whole_server`.

use super::report::IdleReport;
use super::*;
use crate::audio::Span;

fn clip(text: &str, samples: usize, speech: &[(u64, u64)]) -> Arc<Clip> {
    Arc::new(Clip {
        file: format!("{text}.wav"),
        kind: "all".into(),
        text: text.into(),
        samples: vec![7; samples].into(),
        rate: Dictation::rate(),
        speech: speech.iter().map(|(start, end)| Span::new(*start, *end)).collect(),
    })
}

fn settings() -> IdleSettings {
    IdleSettings {
        target: Target { url: "http://host".into(), ..Target::default() },
        clients: 4,
        duration: Duration::from_secs(10),
        silence: Silence::Room,
    }
}

fn usage(cpu_ms: u64, rss_kib: u64) -> Usage {
    Usage { cpu: Duration::from_millis(cpu_ms), rss_bytes: rss_kib * 1_024, ..Usage::default() }
}

#[test]
fn a_quiet_room_is_sixty_decibels_below_full_scale_and_zeros_are_zeros() {
    let samples = |silence: Silence| {
        let bytes: Vec<u8> = silence.frames().concat();
        let sample = |pair: &[u8]| f64::from(i16::from_le_bytes([pair[0], pair[1]]));
        bytes.chunks(2).map(sample).collect::<Vec<_>>()
    };
    assert!(samples(Silence::Digital).iter().all(|sample| sample.abs() < 0.5));
    let room = samples(Silence::Room);
    let power = room.iter().map(|sample| sample * sample).sum::<f64>() / room.len() as f64;
    let decibels = 20.0 * (power.sqrt() / 32_768.0).log10();
    assert!((decibels + 60.0).abs() < 0.5, "{decibels}");
    assert!(Silence::Room.frames().iter().all(|frame| frame.len() == 4_800));
}

#[test]
fn short_recordings_of_one_stretch_are_said() {
    let clips = [
        clip("two stretches", 1_000, &[(0, 100), (300, 400)]),
        clip("", 10, &[]),
        clip("long", 9_000, &[(0, 100)]),
        clip("short", 2_500, &[(1_600, 1_700)]),
    ];
    let scripts = scripts(&clips);
    assert_eq!(scripts.len(), 3);
    let told = format!("{:?}", scripts[0]);
    assert!(told.contains("\"short\"") && told.contains("100ms"), "{told}");
    assert!(super::scripts(&clips[1..2]).is_empty());
}

#[test]
fn processors_and_memory_are_told_by_session_and_what_went_wrong_fails_the_run() {
    let fine = Outcome { answered: true, words: 4, wrong: 1, late_ms: Some(-30), ..Outcome::default() };
    let outcomes = [
        fine.clone(),
        Outcome { late_ms: Some(-500), ..fine.clone() },
        Outcome { answered: false, words: 0, wrong: 0, errors: vec!["stalled".into()], ..fine },
    ];
    let turned_away = [ConnectError::Rejected { reason: "full".into() }];
    let used = Some((usage(1_000, 120), usage(1_060, 130), Duration::from_secs(10)));
    let lag = Duration::from_millis(2);
    let report = IdleReport::of(&settings(), 3, Some(usage(500, 100)), used, &outcomes, &turned_away, lag);
    // 6 ms a second by three.
    assert_eq!(report.cpu_cores_per_100, Some(0.2));
    assert_eq!(report.rss_per_session_bytes, Some(10 * 1_024));
    assert_eq!((report.texts, report.missing_texts, report.misplaced, report.rejected), (2, 1, 1, 1));
    assert_eq!(report.wer, Some(0.25));
    assert_eq!(
        report.failures(),
        [
            "1 of 3 texts did not come",
            "1 of 3 recordings were heard where they were not said: audio was lost",
            "1 connections were rejected",
            "1 errors stalled",
        ]
    );
    let nothing = IdleReport::of(&settings(), 3, None, None, &[], &[], lag);
    assert_eq!((nothing.cpu_cores_per_100, nothing.rss_per_session_bytes), (None, None));
    assert!(nothing.failures().is_empty());
    insta::assert_snapshot!(report.to_string().trim_end(), @"
    silent sessions at http://host
    clients                    3 of 4 for 10.0 s, room silence
    server: processors         0.200 for each 100 sessions
    server: memory             0.1 MiB
    server: memory by session  10.0 KiB
    texts at the end           2 of 3
    heard elsewhere            1 of 3
    offset from the label      30 ms (p50), 500 ms (max)
    silence taken for speech   0
    errors                     1 stalled
    lag of the generator       2.0 ms (p99)
    ");
}
