//! Which engine is picked, and that people who share one do not hear each other's voice.

use super::*;
use crate::audio::SampleRate;
use crate::tts::{KokoroSettings, Phrase, Provider, RemoteSettings, Voice};
use futures_util::StreamExt as _;
use std::path::{Path, PathBuf};

fn asset(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    assert!(path.exists(), "{} is missing: run `make setup`", path.display());
    path
}

/// The tiny network of `scripts/tiny_kokoro.py`, and voices whose numbers are all the same: 1, 2 and 3.
fn kokoro_files(voices: &Path) -> KokoroSettings {
    for (name, number) in [("af_heart", 1_f32), ("am_michael", 2.0), ("bf_emma", 3.0)] {
        let numbers = std::iter::repeat_n(number.to_le_bytes(), 510 * 256).flatten().collect::<Vec<u8>>();
        std::fs::write(voices.join(format!("{name}.bin")), numbers).unwrap();
    }
    KokoroSettings {
        runtime: asset("models/libonnxruntime.so"),
        model: asset("tests/fixtures/kokoro/tokens.onnx"),
        voices: voices.to_owned(),
        provider: Provider::Cpu,
        threads: 1,
    }
}

fn without_espeak() -> TtsSettings {
    TtsSettings { espeak: "/nowhere/espeak-ng".into(), ..TtsSettings::default() }
}

/// The engine that speaks and its default voice, or the code of the error.
fn picked(settings: &TtsSettings) -> Result<(&'static str, String), &'static str> {
    let studio = studio(settings).map_err(|error| error.code())?;
    Ok((studio.engine(), studio.default_voice().to_owned()))
}

#[test]
fn the_best_that_is_there_speaks() {
    let folder = tempfile::tempdir().unwrap();
    let kokoro = Some(kokoro_files(folder.path()));
    let broken = kokoro.clone().map(|files| KokoroSettings { model: "/nowhere/model.onnx".into(), ..files });
    let on_gpu = |required| {
        let provider = Provider::Cuda { device: 999, required };
        kokoro.clone().map(|files| KokoroSettings { provider, ..files })
    };
    let (on_some_gpu, on_that_gpu) = (on_gpu(false), on_gpu(true));
    let remote = Some(RemoteSettings::new("http://127.0.0.1:9/v1"));
    let none = without_espeak();
    let heart = || Ok(("kokoro", "af_heart".to_owned()));
    let cases = [
        (none.clone(), Err("tts_not_installed")),
        (TtsSettings { kokoro: kokoro.clone(), ..none.clone() }, heart()),
        (TtsSettings { kokoro: kokoro.clone(), remote, ..none.clone() }, Ok(("remote", "alloy".to_owned()))),
        (TtsSettings { kokoro: broken.clone(), ..none.clone() }, Err("tts_not_installed")),
        (
            TtsSettings { kokoro: broken, engine: EngineChoice::Kokoro, ..none.clone() },
            Err("tts_model_invalid"),
        ),
        (TtsSettings { kokoro: on_some_gpu, ..none.clone() }, heart()),
        (TtsSettings { kokoro: on_that_gpu, ..none.clone() }, Err("tts_device_unusable")),
        (TtsSettings { engine: EngineChoice::Espeak, ..none.clone() }, Err("tts_program_missing")),
        (TtsSettings { engine: EngineChoice::Remote, ..none.clone() }, Err("tts_not_installed")),
        (TtsSettings { engine: EngineChoice::Off, ..none.clone() }, Err("tts_not_installed")),
        (
            TtsSettings { kokoro: kokoro.clone(), voice: Some("fable".into()), ..none.clone() },
            Ok(("kokoro", "bf_emma".to_owned())),
        ),
        (TtsSettings { kokoro, voice: Some("nobody".into()), ..none }, Err("voice_unknown")),
    ];
    for (settings, expected) in cases {
        assert_eq!(picked(&settings), expected, "{settings:?}");
    }
}

#[test]
fn who_has_nothing_is_told_what_to_install() {
    let Err(error) = studio(&without_espeak()) else { panic!("nothing can speak") };
    assert_eq!(
        error.to_string(),
        "there is nothing to speak with: cannot run /nowhere/espeak-ng: No such file or directory (os error 2)"
    );
    assert!(error.hint().unwrap().contains("apt install espeak-ng"));
}

#[tokio::test]
async fn each_session_hears_its_own_voice_and_words_from_shared_weights() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = TtsSettings { kokoro: Some(kokoro_files(folder.path())), ..without_espeak() };
    settings.workers.threads = 2;
    let studio = tokio::task::spawn_blocking(move || studio(&settings)).await.unwrap().unwrap();
    let sessions = ["af_heart", "am_michael", "bf_emma"].map(|voice| (studio.narrator(), voice));
    let mut streams = Vec::new();
    for n in 0..8_u8 {
        for (number, (narrator, voice)) in sessions.iter().enumerate() {
            // As many words as phrases before it, so that each phrase has another number of tokens.
            let spoken = "no ".repeat(usize::from(n) + 1);
            let phrase = Phrase { text: spoken.clone(), spoken };
            let voice = Voice { name: (*voice).to_owned(), speed: 1.0 };
            let rate = SampleRate::new(24_000).unwrap();
            streams.push((n, number + 1, narrator.say(phrase, voice, rate)));
        }
    }
    let mut lengths = Vec::new();
    for (n, number, stream) in streams {
        let pieces: Vec<_> = stream.map(|piece| piece.unwrap().samples).collect().await;
        let sound = pieces.concat();
        let style = sound[sound.len() - 3..sound.len() - 1].to_vec();
        assert_eq!(style, [number as f32; 2], "phrase {n}");
        lengths.push((number, sound.len()));
    }
    for number in 1..=3 {
        let own: Vec<usize> =
            lengths.iter().filter(|(of, _)| *of == number).map(|(_, length)| *length).collect();
        assert!(own.is_sorted_by(|before, after| before < after), "voice {number}: {own:?}");
    }
}
