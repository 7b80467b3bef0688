//! Everything a client may send, and the names that clients of OpenAI's beta know things by.

use super::client::{Client, silence, types, voice, without_pool};
use super::server::{Served, heard, serve, serve_guarded};
use super::{COMPLETED, UTTERANCE, append};
use serde_json::{Value, json};

/// The header by which clients of the beta are known.
const BETA: (&str, &str) = ("openai-beta", "realtime=v1");

/// The events of one utterance, as beta told them.
const BETA_UTTERANCE: [&str; 6] = [
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    "conversation.item.created",
    "conversation.item.input_audio_transcription.delta",
    COMPLETED,
];

/// Speaks once, and gives what is told about it.
async fn utterance(client: &mut Client) -> Vec<Value> {
    client.send(&append(&[silence(400), voice(50, 800), silence(1_000)].concat())).await;
    without_pool(client.until(COMPLETED).await)
}

/// The types of what is told on connecting, up to and with the answer to `update`.
async fn greeting(client: &mut Client, update: &Value) -> Vec<String> {
    let mut told = vec![client.event().await];
    client.send(update).await;
    told.push(client.event().await);
    types(&told).into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn every_event_of_a_client_is_answered() {
    let served = serve(heard).await;
    let mut client = Client::connect(&served, "?intent=transcription").await;
    client.event().await;
    client.send(&json!({ "type": "session.update", "session": { "audio": { "input": { "turn_detection": null } } } })).await;
    client.until("session.updated").await;
    client.send(&append(&voice(40, 300))).await;
    client.send(&json!({ "type": "input_audio_buffer.commit" })).await;
    let item = client.until(COMPLETED).await.pop().expect("the last event")["item_id"].take();
    let table = [
        (json!({ "type": "session.update", "session": {} }), "session.updated"),
        // Nothing answers audio; what is answered here is the commit behind it.
        (json!({ "type": "input_audio_buffer.append", "audio": "AAAAAA==" }), ""),
        (json!({ "type": "input_audio_buffer.commit" }), "input_audio_buffer_commit_empty"),
        (json!({ "type": "input_audio_buffer.clear" }), "input_audio_buffer.cleared"),
        (json!({ "type": "output_audio_buffer.clear" }), "response_unavailable"),
        (json!({ "type": "conversation.item.create", "item": { "type": "message" } }), "invalid_value"),
        (json!({ "type": "conversation.item.retrieve", "item_id": item }), "conversation.item.retrieved"),
        (
            json!({ "type": "conversation.item.truncate", "item_id": item, "content_index": 0, "audio_end_ms": 0 }),
            "response_unavailable",
        ),
        (json!({ "type": "conversation.item.delete", "item_id": item }), "conversation.item.deleted"),
        (json!({ "type": "response.create" }), "response_unavailable"),
        (json!({ "type": "response.cancel" }), "response_unavailable"),
        // The last, as it makes a client of the beta.
        (json!({ "type": "transcription_session.update", "session": {} }), "transcription_session.updated"),
    ];
    for (event, expected) in table {
        client.send(&event).await;
        if expected.is_empty() {
            continue;
        }
        let answer = client.event().await;
        let told = if answer["type"] == "error" { &answer["error"]["code"] } else { &answer["type"] };
        assert_eq!(told, expected, "{event}");
    }
    client.expect_nothing_more().await;
}

#[tokio::test]
async fn a_client_of_the_beta_gets_the_names_it_knows() {
    let served = serve(heard).await;
    let mut client = Client::connect_with(&served, "?intent=transcription", BETA).await;
    let created = client.event().await;
    assert_eq!(created["type"], "transcription_session.created");
    let session = &created["session"];
    assert_eq!(session["object"], "realtime.transcription_session");
    assert_eq!(session["input_audio_format"], "pcm16");
    assert_eq!(session["input_audio_transcription"]["model"], "fake");
    assert_eq!(session["turn_detection"]["type"], "server_vad");
    assert_eq!(session["input_audio_noise_reduction"], Value::Null);
    assert_eq!((session.get("audio"), session.get("include")), (None, Some(&Value::Null)));
    assert_eq!(types(&utterance(&mut client).await), BETA_UTTERANCE);
}

#[tokio::test]
async fn beta_is_asked_for_by_header_subprotocol_or_its_own_update() {
    let served = serve(heard).await;
    let (current, beta) = (
        json!({ "type": "session.update", "session": { "type": "transcription" } }),
        json!({ "type": "transcription_session.update", "session": { "input_audio_format": "pcm16" } }),
    );
    let subprotocol = ("sec-websocket-protocol", "realtime, openai-beta.realtime-v1");
    let names = |created: &str, updated: &str| [format!("{created}.created"), format!("{updated}.updated")];
    let (old, new) = ("transcription_session", "session");
    let query = "?intent=transcription";
    for header in [BETA, subprotocol] {
        let mut client = Client::connect_with(&served, query, header).await;
        assert_eq!(greeting(&mut client, &current).await, names(old, old), "{header:?}");
    }
    let mut client = Client::connect(&served, query).await;
    assert_eq!(greeting(&mut client, &beta).await, names(new, old));
    assert_eq!(types(&utterance(&mut client).await), BETA_UTTERANCE);
    // It goes on as it began, and nobody else is disturbed.
    client.send(&current).await;
    client.until("transcription_session.updated").await;
    let mut other = Client::connect(&served, query).await;
    assert_eq!(greeting(&mut other, &current).await, names(new, new));
    assert_eq!(types(&utterance(&mut other).await), UTTERANCE);
}

#[tokio::test]
async fn betas_update_is_for_transcription_sessions() {
    let served = serve(heard).await;
    let mut client = Client::connect_with(&served, "", BETA).await;
    let created = client.event().await;
    assert_eq!(
        (&created["type"], &created["session"]["object"]),
        (&json!("session.created"), &json!("realtime.session"))
    );
    client.send(&append(&silence(100))).await;
    let update = json!({ "type": "transcription_session.update", "session": {} });
    client.send(&update).await;
    assert_eq!(client.error().await["code"], "session_type_fixed");
}

#[tokio::test]
async fn the_key_may_stand_anywhere_among_the_subprotocols() {
    let served = serve_guarded("secret", 1).await;
    for protocols in [
        "realtime, openai-insecure-api-key.secret",
        "openai-insecure-api-key.secret, realtime",
        "openai-beta.realtime-v1,openai-insecure-api-key.secret,realtime",
    ] {
        let mut client = Client::connect_with(&served, "", ("sec-websocket-protocol", protocols)).await;
        assert_eq!(client.event().await["type"], "session.created", "{protocols}");
        drop(client);
        served.no_sessions().await;
    }
}

/// Connects and sends what a client sends first; gives the input as it is shown in the answer.
async fn configured(served: &Served, query: &str, update: Value, answer: &str) -> Value {
    let mut client = Client::connect(served, query).await;
    client.event().await;
    client.send(&update).await;
    let mut updated = client.until(answer).await.pop().expect("the last event");
    assert_eq!(types(&utterance(&mut client).await).last(), Some(&COMPLETED));
    updated["session"].take()
}

#[tokio::test]
async fn what_frameworks_send_is_taken() {
    let served = serve(heard).await;
    // LiveKit's OpenAI plugin, 1.8.
    let livekit = json!({ "type": "session.update", "session": { "type": "transcription", "audio": { "input": {
        "format": { "rate": 24_000, "type": "audio/pcm" },
        "transcription": { "model": "whisper-1", "language": "en", "prompt": "lamps" },
        "turn_detection": {
            "type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 600, "silence_duration_ms": 350,
        },
    } } } });
    let session =
        configured(&served, "?intent=transcription&model=whisper-1", livekit, "session.updated").await;
    assert_eq!(session["audio"]["input"]["turn_detection"]["silence_duration_ms"], 350);
    // The same plugin, before GA.
    let old = json!({ "type": "transcription_session.update", "session": {
        "input_audio_format": "pcm16",
        "input_audio_transcription": { "model": "whisper-1", "prompt": "", "language": "" },
        "turn_detection": {
            "type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 600, "silence_duration_ms": 350,
        },
    } });
    let session = configured(&served, "?intent=transcription", old, "transcription_session.updated").await;
    assert_eq!(session["input_audio_transcription"]["language"], Value::Null);
    // Pipecat's OpenAIRealtimeSTTService, 1.14, with the server's detection.
    let pipecat = json!({ "type": "session.update", "session": { "type": "transcription", "audio": { "input": {
        "format": { "type": "audio/pcm", "rate": 24_000 },
        "transcription": { "model": "whisper-1", "language": "en", "delay": "low" },
        "noise_reduction": { "type": "near_field" },
    } } } });
    let session = configured(&served, "?intent=transcription", pipecat, "session.updated").await;
    assert_eq!(session["audio"]["input"]["noise_reduction"]["type"], "near_field");
}
