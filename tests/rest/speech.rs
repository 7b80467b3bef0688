//! Text to sound, with a scripted studio behind it, and with espeak-ng where it is installed.

use super::*;
use futures_util::StreamExt as _;
use std::sync::Mutex;
use stenopool::audio::{FileReader, SoundFormat, pcm16_bytes};
use stenopool::tts::fake::{Act as Saying, FakeStudio, tag};
use stenopool::tts::{EngineChoice, Studio, TtsError, TtsSettings, studio};

async fn serving(studio: Option<Arc<dyn Studio>>) -> Running {
    Stage { studio, ..Stage::with(never_done()) }.start().await
}

async fn speaking(studio: &FakeStudio) -> Running {
    serving(Some(Arc::new(studio.clone()))).await
}

/// Asks for speech; `fields` go over what is always asked for.
async fn ask(server: &Running, fields: Value) -> reqwest::Response {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut body = json!({"model": "tts-1", "voice": "alloy", "input": "Hello."});
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/v1/audio/speech", server.address);
    client.post(url).body(body.to_string()).send().await.unwrap()
}

/// Status and code of a refusal.
async fn refusal(server: &Running, fields: Value) -> (u16, String) {
    let answer = ask(server, fields).await;
    let status = answer.status().as_u16();
    let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    (status, body["error"]["code"].as_str().expect("a code").to_owned())
}

/// What the fake says of a phrase, as 16-bit samples at 24 kHz.
fn sound(spoken: &str) -> Vec<u8> {
    let samples = vec![f32::from(tag(spoken)) / 32_768.0; spoken.chars().count() * 240];
    pcm16_bytes(&samples)
}

#[tokio::test]
async fn a_text_is_read_out_phrase_by_phrase_in_every_format() {
    let studio = FakeStudio::default();
    let server = speaking(&studio).await;
    let text = "The first sentence is short. The second one is a little longer than that.";
    let answer = ask(&server, json!({"input": text, "response_format": "pcm", "speed": 1})).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["content-type"]),
        (200, &"audio/pcm".parse().unwrap())
    );
    let spoken: Vec<String> = studio.asked().into_iter().map(|asked| asked.phrase.spoken).collect();
    assert!(spoken.len() >= 2, "{spoken:?}");
    let expected: Vec<u8> = spoken.iter().flat_map(|spoken| sound(spoken)).collect();
    assert!(answer.bytes().await.unwrap() == expected, "the phrases in their order, and nothing else");
    for &format in SoundFormat::ALL.iter().filter(|format| **format != SoundFormat::Pcm) {
        let answer = ask(&server, json!({"input": text, "response_format": format.name()})).await;
        assert_eq!(answer.headers()["content-type"].to_str().unwrap(), format.media_type());
        let file = answer.bytes().await.unwrap().to_vec();
        let mut reader = FileReader::open(Cursor::new(file), None).unwrap();
        let mut heard = 0;
        while let Some(samples) = reader.read().unwrap() {
            heard += samples.len();
        }
        // Ours is at 16 kHz; MP3 has silence at both ends.
        let meant = expected.len() / 2 * 2 / 3;
        assert!(heard.abs_diff(meant) < 3_000, "{format:?}: {heard} samples of {meant}");
    }
}

#[tokio::test]
async fn the_sound_begins_to_come_before_it_is_all_there_and_ends_with_its_listener() {
    let studio = FakeStudio::default().taking(Duration::ZERO, Duration::from_millis(5));
    let server = speaking(&studio).await;
    let text = "This is a text that takes rather long to read. ".repeat(50);
    let mut answer = ask(&server, json!({"input": text, "response_format": "pcm"})).await;
    assert!(answer.chunk().await.unwrap().is_some_and(|piece| !piece.is_empty()));
    assert!(studio.asked().len() <= 3 && studio.open() > 0);
    drop(answer);
    let silent = async {
        while studio.open() > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, silent).await.expect("nobody speaks to nobody");
    assert!(studio.asked().len() < 40, "{} phrases", studio.asked().len());
}

#[tokio::test]
async fn events_carry_the_same_sound_and_say_when_it_is_over() {
    let server = speaking(&FakeStudio::default()).await;
    let answer = ask(&server, json!({"response_format": "pcm", "stream_format": "sse"})).await;
    assert_eq!(&answer.headers()["content-type"], "text/event-stream");
    let text = answer.text().await.unwrap();
    let events: Vec<Value> = text
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    let (done, deltas) = events.split_last().unwrap();
    let audio: Vec<u8> = deltas
        .iter()
        .inspect(|event| assert_eq!(event["type"], "speech.audio.delta"))
        .flat_map(|event| {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD.decode(event["audio"].as_str().unwrap()).unwrap()
        })
        .collect();
    assert!(audio == sound("Hello."));
    assert_eq!(done["type"], "speech.audio.done");
    assert_eq!(done["usage"], json!({"input_tokens": 6, "output_tokens": 2, "total_tokens": 8}));
}

#[tokio::test]
async fn what_goes_wrong_before_the_first_sound_has_a_status_of_its_own() {
    let failure = Arc::new(Mutex::new(TtsError::Closed));
    let told = Arc::clone(&failure);
    let studio = FakeStudio::new(move |_| Saying::Fail(told.lock().unwrap().clone()));
    let server = speaking(&studio).await;
    let errors = [
        (TtsError::Failed(String::new()), 500, "tts_failed"),
        (TtsError::Timeout { waited: PATIENCE }, 504, "tts_timeout"),
        (TtsError::Unreachable(String::new()), 502, "tts_unreachable"),
        (TtsError::Refused { status: 401, reason: String::new() }, 502, "tts_refused"),
        (TtsError::Refused { status: 429, reason: String::new() }, 503, "tts_refused"),
        (TtsError::Saturated { queued: 1, limit: 1 }, 503, "tts_saturated"),
    ];
    for (error, status, code) in errors {
        *failure.lock().unwrap() = error;
        assert_eq!(refusal(&server, json!({})).await, (status, code.to_owned()));
    }
    let requests = [
        (json!({"voice": "nobody"}), 400, "voice_unknown"),
        (json!({"input": ""}), 400, "invalid_value"),
        (json!({"response_format": "aac"}), 400, "unsupported_value"),
        (json!({"model": "whisper-1"}), 404, "model_not_found"),
        (json!({"unknown": "x".repeat(70_000)}), 413, "upload_too_large"),
    ];
    for (fields, status, code) in requests {
        assert_eq!(refusal(&server, fields).await, (status, code.to_owned()));
    }
    let answer = server.answer(&request("POST", "/v1/audio/speech", "", b"{")).await;
    assert_eq!(answer.refusal(), (400, "invalid_json".to_owned()));
    assert_eq!(refusal(&serving(None).await, json!({})).await, (501, "tts_not_installed".to_owned()));
}

#[tokio::test]
async fn a_voice_that_fails_in_the_middle_breaks_the_answer_off() {
    let lost = TtsError::Failed("as scripted".into());
    // Some time after the first piece, so that the answer has begun.
    let studio = FakeStudio::new(move |_| Saying::FailAfter(2, lost.clone()))
        .taking(Duration::ZERO, Duration::from_millis(50));
    let server = speaking(&studio).await;
    let answer = ask(&server, json!({"response_format": "pcm"})).await;
    assert_eq!(answer.status().as_u16(), 200);
    let pieces: Vec<_> = answer.bytes_stream().collect().await;
    assert!(pieces.last().unwrap().is_err(), "whoever listens knows that this was not all");
    let answer = ask(&server, json!({"response_format": "pcm", "stream_format": "sse"})).await;
    let text = answer.text().await.unwrap();
    assert!(text.contains("event: error") && text.contains("tts_failed") && !text.contains("done"), "{text}");
    assert_eq!(studio.open(), 0);
}

#[tokio::test]
async fn a_fresh_machine_speaks_with_espeak() {
    let settings = TtsSettings { engine: EngineChoice::Espeak, ..TtsSettings::default() };
    let made = tokio::task::spawn_blocking(move || studio(&settings)).await.unwrap();
    let Ok(studio) = made else {
        eprintln!("espeak-ng is not installed: not tested");
        return;
    };
    let server = serving(Some(studio)).await;
    let answer = ask(&server, json!({"response_format": "wav", "input": "One, two, three. And four."})).await;
    let mut reader = FileReader::open(Cursor::new(answer.bytes().await.unwrap().to_vec()), None).unwrap();
    let mut loud = 0;
    while let Some(samples) = reader.read().unwrap() {
        loud += samples.iter().filter(|sample| sample.abs() > 0.02).count();
    }
    assert!(loud > 8_000, "{loud} loud samples");
}
