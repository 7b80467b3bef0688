//! With the real program where it is installed; scripts stand in for one that misbehaves.

use super::*;
use crate::audio::SampleRate;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use tokio::time::Instant;

fn phrase(spoken: &str) -> Phrase {
    Phrase { text: spoken.into(), spoken: spoken.into() }
}

fn voice(speed: f32) -> Voice {
    Voice { name: "en-us".into(), speed }
}

/// The program, where it is installed.
fn installed() -> Option<Espeak> {
    let program = Path::new("espeak-ng");
    if Espeak::voices(program).is_err() {
        eprintln!("espeak-ng is not installed: not tested");
        return None;
    }
    Espeak::new(program).ok()
}

fn say(espeak: &mut Espeak, text: &str, speed: f32) -> Result<Vec<f32>, TtsError> {
    let mut sound = Vec::new();
    let never = CancellationToken::new();
    espeak.synthesize(&phrase(text), &voice(speed), &never, &mut |pcm| {
        assert_eq!(pcm.rate, SampleRate::new(22_050).unwrap());
        sound.extend(pcm.samples);
    })?;
    Ok(sound)
}

fn loudness(sound: &[f32]) -> f32 {
    (sound.iter().map(|sample| sample * sample).sum::<f32>() / sound.len().max(1) as f32).sqrt()
}

/// A program that does what `script` says.
fn stand_in(script: &str) -> (tempfile::TempDir, Espeak) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("espeak-ng");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let espeak = Espeak::new(&path).unwrap();
    (folder, espeak)
}

/// Whether there is a process of that number, a zombie included.
fn exists(id: u32) -> bool {
    Path::new(&format!("/proc/{id}")).exists()
}

#[test]
fn any_text_is_said_and_none_is_obeyed() {
    let Some(mut espeak) = installed() else { return };
    let texts = [
        "Hello there.",
        "-v de, that is minus v",
        "--help",
        "<speak><break time=\"60s\"/>and on we go</speak>",
        "[[h@l'oU]] is [[how]] they write it",
        "quotes \" and ' and $(reboot) and `reboot`; all of it\nover two lines",
        "Grüße, ελληνικά, 你好",
    ];
    for text in texts {
        let sound = say(&mut espeak, text, 1.0).unwrap_or_else(|error| panic!("{text}: {error}"));
        let seconds = sound.len() as f32 / 22_050.0;
        assert!((0.3..20.0).contains(&seconds), "{text}: {seconds} s");
        assert!(loudness(&sound) > 0.01, "{text} is not heard");
    }
}

#[test]
fn speed_is_obeyed_within_what_the_program_can() {
    let Some(mut espeak) = installed() else { return };
    let text = "The quick brown fox jumps over the lazy dog.";
    let [slowest, slow, normal, fast] =
        [0.1, 0.5, 1.0, 2.0].map(|speed| say(&mut espeak, text, speed).unwrap().len());
    assert!(fast * 3 < normal * 2 && normal * 3 < slow * 2 && slow <= slowest, "{fast} {normal} {slow}");
}

#[test]
fn voices_are_listed_and_an_unknown_one_fails_alone() {
    let Some(mut espeak) = installed() else { return };
    let voices = Espeak::voices(Path::new("espeak-ng")).unwrap();
    for name in ["en-us", "en-gb", "de", "en-us+f3"] {
        assert!(voices.iter().any(|voice| voice == name), "{name} in {voices:?}");
    }
    let nobody = Voice { name: "xx-nobody".into(), speed: 1.0 };
    let failed = espeak.synthesize(&phrase("hello"), &nobody, &CancellationToken::new(), &mut |_| {});
    assert_eq!(failed.unwrap_err().code(), "tts_failed");
    assert!(say(&mut espeak, "hello", 1.0).is_ok());
}

#[test]
fn a_run_that_waited_and_died_fails_one_phrase_at_most() {
    let Some(mut espeak) = installed() else { return };
    assert!(say(&mut espeak, "one", 1.0).is_ok());
    let (_, process) = espeak.ahead.as_mut().unwrap();
    let id = process.id().unwrap();
    espeak.program.block_on(process.kill());
    assert!(!exists(id));
    drop(say(&mut espeak, "two", 1.0));
    assert!(say(&mut espeak, "three", 1.0).is_ok());
}

#[test]
fn a_cancelled_run_is_ended_and_reaped() {
    let (folder, mut espeak) = stand_in("echo $$ > \"$(dirname \"$0\")/$$.pid\"; exec sleep 600");
    let cancel = CancellationToken::new();
    let from_outside = cancel.clone();
    let pids = folder.path().to_owned();
    let started = move || {
        let names = fs::read_dir(&pids).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter_map(|name| name.to_str()?.strip_suffix(".pid")?.parse::<u32>().ok()).collect::<Vec<_>>()
    };
    let watch = started.clone();
    let canceller = std::thread::spawn(move || {
        while watch().is_empty() {
            std::thread::yield_now();
        }
        from_outside.cancel();
    });
    let first = espeak.synthesize(&phrase("hello"), &voice(1.0), &cancel, &mut |_| {});
    canceller.join().unwrap();
    assert_eq!(first, Err(TtsError::Cancelled));
    let begun = started();
    let ahead = espeak.ahead.as_ref().and_then(|(_, process)| process.id()).unwrap();
    drop(espeak);
    for id in begun.into_iter().chain([ahead]) {
        assert!(!exists(id), "process {id} is still there");
    }
}

#[test]
fn a_program_that_gives_no_sound_is_an_error() {
    for (script, code) in [
        ("cat > /dev/null; exit 3", "tts_failed"),
        ("exit 1", "tts_failed"),
        ("cat > /dev/null; echo this is not a sound at all", "tts_failed"),
        ("cat > /dev/null; kill -9 $$", "tts_failed"),
    ] {
        let (_folder, mut espeak) = stand_in(script);
        assert_eq!(say(&mut espeak, "hello", 1.0).unwrap_err().code(), code, "{script}");
    }
}

/// Tells how long the first sound takes, and how long without a run that waits; fails only when it is far off, since other
/// tests run beside it.
#[test]
fn the_first_sound_comes_soon() {
    let Some(mut espeak) = installed() else { return };
    let first_sound = |espeak: &mut Espeak, speed: f32| {
        let began = Instant::now();
        let mut first = None;
        let never = CancellationToken::new();
        let text = phrase("Hello there, how are you today?");
        espeak.synthesize(&text, &voice(speed), &never, &mut |_| {
            first.get_or_insert_with(|| began.elapsed());
        })?;
        first.ok_or(TtsError::Cancelled)
    };
    let mut cold: Vec<_> =
        (0..20).map(|n| first_sound(&mut espeak, 1.0 + n as f32 / 20.0).unwrap()).collect();
    let mut warm: Vec<_> = (0..20).map(|_| first_sound(&mut espeak, 1.0).unwrap()).collect();
    cold.sort();
    warm.sort();
    eprintln!("first sound: cold {:?}, started ahead {:?} (medians)", cold[10], warm[10]);
    assert!(warm[5] < Duration::from_millis(60), "{warm:?}");
}
