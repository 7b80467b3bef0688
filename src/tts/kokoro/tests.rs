//! With a tiny network that tells what it was given, see `scripts/tiny_kokoro.py`, and voices that tell their rows.

use super::voice_pack::STYLE;
use super::*;
use crate::tts::Provider;
use std::path::PathBuf;
use std::sync::LazyLock;

/// What the network was given in one run.
#[derive(Debug, Clone, PartialEq)]
struct Given {
    tokens: Vec<i64>,
    style_ends: [usize; 2],
    speed: f32,
}

fn asset(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    assert!(path.exists(), "{} is missing: run `make setup`", path.display());
    path
}

/// Voices in which number `at` is `offset + at`, so that rows and voices tell themselves apart.
fn voices_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, offset) in [("af_heart", 0_u32), ("am_michael", 200_000), ("bf_emma", 400_000)] {
        let numbers = (0..(MOST_TOKENS * STYLE) as u32).flat_map(|at| ((offset + at) as f32).to_le_bytes());
        std::fs::write(folder.path().join(format!("{name}.bin")), numbers.collect::<Vec<u8>>()).unwrap();
    }
    folder
}

fn style_ends(offset: usize, n_tokens: usize) -> [usize; 2] {
    let first = offset + (n_tokens - 1) * STYLE;
    [first, first + STYLE - 1]
}

fn settings(model: &str, voices: &Path) -> KokoroSettings {
    KokoroSettings {
        runtime: asset("models/libonnxruntime.so"),
        model: asset(&format!("tests/fixtures/kokoro/{model}.onnx")),
        voices: voices.to_owned(),
        provider: Provider::Cpu,
        threads: 1,
    }
}

/// CUDA's number of a GPU that no machine has, though ONNX Runtime may have its part for CUDA here.
const NO_SUCH_GPU: u32 = 999;

/// Without espeak-ng, so that the tests hear the same everywhere. Dictionaries are loaded once.
static SHARED: LazyLock<Arc<Shared>> = LazyLock::new(|| {
    let folder = voices_folder();
    Shared::load(settings("tokens", folder.path()), Path::new("/nowhere/espeak-ng")).unwrap()
});

fn voice() -> &'static VoicePack {
    SHARED.packs.values().next().unwrap()
}

fn with_model(model: &str) -> Kokoro {
    let shared = Shared {
        settings: settings(model, Path::new("unused")),
        packs: voice_pack::read_all(voices_folder().path()).unwrap(),
        pronunciation: Arc::clone(&SHARED.pronunciation),
    };
    Kokoro::load(&Arc::new(shared)).unwrap()
}

fn say(kokoro: &mut Kokoro, text: &str, voice: &str, speed: f32) -> Result<Vec<Given>, TtsError> {
    let phrase = Phrase { text: text.into(), spoken: text.into() };
    let voice = Voice { name: voice.into(), speed };
    let mut given = Vec::new();
    kokoro.synthesize(&phrase, &voice, &CancellationToken::new(), &mut |pcm| {
        assert_eq!(pcm.rate.hertz(), 24_000);
        let (tokens, rest) = pcm.samples.split_at(pcm.samples.len() - 3);
        given.push(Given {
            tokens: tokens.iter().map(|sample| (sample * 1_024.0) as i64).collect(),
            style_ends: [rest[0] as usize, rest[1] as usize],
            speed: rest[2] * 8.0,
        });
    })?;
    Ok(given)
}

#[test]
fn tokens_voice_row_and_speed_reach_the_network_exactly() {
    for model in ["tokens", "input_ids"] {
        let mut kokoro = with_model(model);
        // həlˈO, misaki's American reading of it.
        let hello = [0, 50, 83, 54, 156, 31, 4, 0];
        let cases = [
            ("af_heart", 1.0, 0, hello.to_vec()),
            ("am_michael", 1.25, 200_000, hello.to_vec()),
            ("am_michael", 9.0, 200_000, hello.to_vec()),
            // həlˈQ in British.
            ("bf_emma", 0.5, 400_000, vec![0, 50, 83, 54, 156, 33, 4, 0]),
        ];
        for (voice, speed, offset, tokens) in cases {
            let given = say(&mut kokoro, "Hello.", voice, speed).unwrap();
            let style_ends = style_ends(offset, tokens.len() - 2);
            let speed = speed.clamp(0.25, 4.0);
            assert_eq!(given, [Given { tokens, style_ends, speed }], "{voice} in {model}");
        }
    }
}

#[test]
fn long_text_is_cut_at_sentences_and_comes_in_order() {
    let mut kokoro = with_model("tokens");
    let sentences: Vec<String> =
        (0..30).map(|n| format!("Sentence number {n} is about the weather in town.")).collect();
    let text = sentences.join(" ");
    let given = say(&mut kokoro, &text, "af_heart", 1.0).unwrap();
    assert!(given.len() > 2, "{} runs", given.len());
    for run in &given {
        let inside = &run.tokens[1..run.tokens.len() - 1];
        assert!(inside.len() <= MOST_TOKENS && !inside.contains(&PAD));
        assert_eq!((run.tokens[0], *run.tokens.last().unwrap(), inside.last()), (PAD, PAD, Some(&4)));
        assert_eq!(run.style_ends, style_ends(0, inside.len()));
    }
    // Sentence by sentence it is the same, so nothing is lost, doubled or moved.
    let alone: Vec<Vec<i64>> = sentences
        .iter()
        .map(|sentence| say(&mut kokoro, sentence, "af_heart", 1.0).unwrap().remove(0))
        .map(|run| run.tokens[1..run.tokens.len() - 1].to_vec())
        .collect();
    let solid = |tokens: Vec<i64>| tokens.into_iter().filter(|token| *token != 16).collect::<Vec<_>>();
    let together = given.iter().flat_map(|run| run.tokens[1..run.tokens.len() - 1].to_vec()).collect();
    assert_eq!(solid(together), solid(alone.concat()));
}

#[test]
fn what_is_said_slowly_is_cut_into_shorter_runs() {
    let mut kokoro = with_model("tokens");
    let text = "This sentence is about nothing at all. ".repeat(12);
    for (speed, most) in [(0.25, 127), (0.5, 255), (1.0, 510), (4.0, 510)] {
        let given = say(&mut kokoro, &text, "af_heart", speed).unwrap();
        let longest = given.iter().map(|run| run.tokens.len() - 2).max().unwrap();
        assert!((most / 2..=most).contains(&longest), "{longest} tokens at speed {speed}");
    }
}

#[test]
fn a_model_that_is_damaged_is_told_as_such_wherever_it_was_to_run() {
    let folder = voices_folder();
    let provider = Provider::Cuda { device: NO_SUCH_GPU, required: true };
    let model = folder.path().join("model.onnx");
    std::fs::write(&model, b"no network").unwrap();
    let settings = KokoroSettings { model, provider, ..settings("tokens", folder.path()) };
    assert_eq!(Network::load(&settings, voice()).err().map(|error| error.code()), Some("tts_model_invalid"));
}

#[test]
fn one_endless_word_is_cut_as_well() {
    let mut kokoro = with_model("tokens");
    let given = say(&mut kokoro, &"xq".repeat(400), "af_heart", 1.0).unwrap();
    assert!(given.len() >= 2);
    assert!(given.iter().all(|run| run.tokens.len() <= MOST_TOKENS + 2));
}

#[test]
fn what_has_no_sound_gives_none_and_an_unknown_voice_is_told() {
    let mut kokoro = with_model("tokens");
    assert_eq!(say(&mut kokoro, "你", "af_heart", 1.0).unwrap().len(), 0);
    let error = say(&mut kokoro, "Hello.", "xx", 1.0).unwrap_err();
    assert_eq!(error.to_string(), "there is no voice \"xx\"; known are af_heart, am_michael, bf_emma");
}

#[test]
fn a_cancelled_text_stops_between_two_runs() {
    let mut kokoro = with_model("tokens");
    let text = "This is a rather long sentence about nothing at all. ".repeat(30);
    let (cancel, mut runs) = (CancellationToken::new(), 0);
    let phrase = Phrase { text: text.clone(), spoken: text };
    let voice = Voice { name: "af_heart".into(), speed: 1.0 };
    let result = kokoro.synthesize(&phrase, &voice, &cancel, &mut |_| {
        runs += 1;
        cancel.cancel();
    });
    assert_eq!((result, runs), (Err(TtsError::Cancelled), 1));
}

/// At this speed the network does not come to an end by itself, so whenever the cancellation comes, it has to be heard.
#[test]
fn a_cancelled_run_stops_in_the_middle() {
    let mut network = with_model("endless").network;
    let cancel = CancellationToken::new();
    let (tokens, style) = ([PAD, 50, PAD], [0.0; STYLE]);
    let result = std::thread::scope(|scope| {
        scope.spawn(|| cancel.cancel());
        network.run(&tokens, &style, 2.0, &cancel)
    });
    assert_eq!(result, Err(TtsError::Cancelled));
    let after = network.run(&tokens, &style, 1.0, &CancellationToken::new());
    assert_eq!(after, Ok(vec![0.0, 50.0 / 1_024.0, 0.0]), "it is as good as before");
}

#[test]
fn a_cuda_device_that_is_not_there_is_replaced_by_the_processor() {
    let folder = voices_folder();
    let settings = KokoroSettings {
        provider: Provider::Cuda { device: NO_SUCH_GPU, required: false },
        ..settings("tokens", folder.path())
    };
    let network = Network::load(&settings, voice()).unwrap();
    assert_eq!(network.provider(), Provider::Cpu);
}

#[test]
fn a_cuda_device_that_must_be_used_and_cannot_be_is_told() {
    let folder = voices_folder();
    let provider = Provider::Cuda { device: NO_SUCH_GPU, required: true };
    let settings = KokoroSettings { provider, ..settings("tokens", folder.path()) };
    let Err(error) = Network::load(&settings, voice()) else { panic!("nobody has so many GPUs") };
    assert_eq!(error.code(), "tts_device_unusable");
    let told = error.to_string();
    assert!(told.contains("cuda:999 cannot be used: "), "{told}");
    assert!(error.hint().unwrap().contains("cuda-runtime"));
}

#[test]
fn another_model_in_the_files_place_is_refused() {
    let folder = voices_folder();
    let other =
        KokoroSettings { model: asset("models/silero_vad.onnx"), ..settings("tokens", folder.path()) };
    let Err(error) = Network::load(&other, voice()) else { panic!("a voice detector is no voice") };
    assert!(error.to_string().contains("not Kokoro's way"), "{error}");
    let missing = KokoroSettings { model: "/nowhere/model.onnx".into(), ..other };
    assert_eq!(Network::load(&missing, voice()).err().map(|error| error.code()), Some("tts_model_invalid"));
}
