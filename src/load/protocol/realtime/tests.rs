use super::*;
use crate::load::protocol::scripted::{Visit, hear_out, serve};

fn target(url: &str) -> Target {
    Target { url: url.to_owned(), ..Target::default() }
}

/// Lets a client in, as servers do; what it asked for.
async fn let_in(visit: &mut Visit) -> Value {
    visit.say(r#"{"type":"session.created","session":{}}"#).await;
    let update = visit.json().await;
    visit.say(r#"{"type":"pool.queue.updated","position":1}"#).await;
    visit.say(r#"{"type":"session.updated","session":{}}"#).await;
    update
}

/// What a server sees of a client with this target.
async fn seen(target: impl FnOnce(&str) -> Target) -> (String, Option<String>, Value) {
    let (url, serving) = serve(|mut visit| async move {
        let update = let_in(&mut visit).await;
        (visit.path, visit.authorization, update)
    })
    .await;
    Realtime::new(target(&url)).unwrap().connect(0).await.unwrap();
    serving.await.unwrap()
}

/// Why a server that says this is not talked to.
async fn refusal(said: &'static str) -> String {
    let (url, _serving) = serve(move |mut visit| async move {
        visit.say(said).await;
        visit.rest().await
    })
    .await;
    let error = Realtime::new(target(&url)).unwrap().connect(0).await.err().expect("nobody gets in");
    error.to_string().replace(&url, "URL")
}

fn heard(events: &[Value]) -> Vec<Heard> {
    let mut hearing = Hearing::default();
    events.iter().flat_map(|event| hearing.read(&event.to_string()).unwrap()).collect()
}

fn started(item: &str, ms: u64) -> Value {
    json!({"type": "input_audio_buffer.speech_started", "item_id": item, "audio_start_ms": ms})
}

fn stopped(item: &str, ms: u64) -> Value {
    json!({"type": "input_audio_buffer.speech_stopped", "item_id": item, "audio_end_ms": ms})
}

fn completed(item: &str, text: &str) -> Value {
    let kind = "conversation.item.input_audio_transcription.completed";
    json!({"type": kind, "item_id": item, "content_index": 0, "transcript": text})
}

fn stretch(start: u64, end: u64) -> Stretch {
    Stretch { start: Duration::from_millis(start), end: Duration::from_millis(end) }
}

#[tokio::test]
async fn a_transcription_session_is_asked_for() {
    let (path, authorization, update) = seen(target).await;
    assert_eq!(path, "/v1/realtime?intent=transcription");
    assert_eq!(authorization, None);
    let expected = json!({ "type": "session.update", "session": {
        "type": "transcription",
        "audio": { "input": {
            "format": { "type": "audio/pcm", "rate": 24_000 },
            "transcription": {},
            "turn_detection": { "type": "server_vad" },
        } },
    } });
    assert_eq!(update, expected);
}

#[tokio::test]
async fn key_model_and_language_are_told() {
    let named = |url: &str| Target {
        url: format!("{url}/v1"),
        key: Some("secret".into()),
        model: Some("tiny".into()),
        language: Some("de".into()),
        conversation: false,
    };
    let (path, authorization, update) = seen(named).await;
    assert_eq!(path, "/v1/realtime?intent=transcription&model=tiny");
    assert_eq!(authorization.as_deref(), Some("Bearer secret"));
    let transcription = &update["session"]["audio"]["input"]["transcription"];
    assert_eq!(*transcription, json!({ "model": "tiny", "language": "de" }));
}

#[tokio::test]
async fn who_wants_a_reply_asks_for_a_conversation() {
    let (path, _, update) = seen(|url| Target { conversation: true, ..target(url) }).await;
    assert_eq!(path, "/v1/realtime");
    assert_eq!(update["session"]["type"], "realtime");
}

#[tokio::test]
async fn speech_arrives_whole_and_in_order() {
    let (url, serving) = serve(|mut visit| async move {
        let_in(&mut visit).await;
        visit.rest().await
    })
    .await;
    let connection = Realtime::new(target(&url)).unwrap().connect(0).await.unwrap();
    let speech: Vec<i16> = (-2_000..2_000).collect();
    let Connection { mut speaker, mut listener } = connection;
    for frame in speech.chunks(960) {
        speaker.say(frame).await.unwrap();
    }
    speaker.hang_up().await;
    assert_eq!(listener.next().await, Ok(None));
    let bytes = serving.await.unwrap().into_iter().flat_map(|message| {
        let event: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
        assert_eq!(event["type"], "input_audio_buffer.append");
        STANDARD.decode(event["audio"].as_str().unwrap()).unwrap()
    });
    assert_eq!(bytes.collect::<Vec<u8>>(), pcm16(&speech));
}

#[tokio::test]
async fn who_does_not_speak_like_a_realtime_server_is_quoted() {
    let wrong = "URL does not speak realtime: it said";
    let cases = [
        ("hello", format!("{wrong} \"hello\"")),
        (r#"{"message":"SERVER_READY"}"#, format!(r#"{wrong} "{{\"message\":\"SERVER_READY\"}}""#)),
        (
            r#"{"type":"error","error":{"code":"model_not_found","message":"no such model"}}"#,
            "URL refuses: no such model (model_not_found)".to_owned(),
        ),
    ];
    for (said, expected) in cases {
        assert_eq!(refusal(said).await, expected);
    }
}

#[tokio::test]
async fn texts_come_until_the_server_is_gone() {
    let (url, _serving) = serve(|mut visit| async move {
        let_in(&mut visit).await;
        visit.say(completed("item_1", "hello").to_string()).await;
    })
    .await;
    let mut connection = Realtime::new(target(&url)).unwrap().connect(0).await.unwrap();
    let (heard, lost) = hear_out(&mut connection).await;
    assert_eq!(heard, [Heard::Final(Final { text: "hello".into(), ..Final::default() })]);
    assert_eq!(lost.unwrap().code, "connection_lost");
}

#[test]
fn a_final_knows_its_stretch_and_what_it_took() {
    let mut text = completed("item_1", "hello");
    text["pool"] = json!({"waited_ms": 12, "decode_ms": 345, "diverged_words": 2, "withheld": null});
    let delta = json!({
        "type": "conversation.item.input_audio_transcription.delta", "item_id": "item_1", "delta": "hel",
    });
    let committed = json!({"type": "input_audio_buffer.committed", "item_id": "item_1"});
    let expected = Final {
        text: "hello".into(),
        stretch: Some(stretch(1_000, 2_500)),
        waited: Some(Duration::from_millis(12)),
        decoded: Some(Duration::from_millis(345)),
        diverged_words: Some(2),
        streamed: Some("hel".into()),
    };
    let hel = Heard::Delta { text: "hel".into(), start: Some(Duration::from_secs(1)) };
    let events = [started("item_1", 1_000), delta, stopped("item_1", 2_500), committed, text];
    assert_eq!(heard(&events), [hel, Heard::Final(expected)]);
}

#[test]
fn texts_may_come_in_another_order_than_speech() {
    let events = [
        started("a", 0),
        stopped("a", 10),
        started("b", 20),
        stopped("b", 30),
        completed("b", "second"),
        completed("a", "first"),
        completed("a", "again"),
    ];
    let stretches: Vec<_> = heard(&events)
        .into_iter()
        .map(|heard| match heard {
            Heard::Final(text) => text.stretch,
            other => panic!("expected a final, got {other:?}"),
        })
        .collect();
    assert_eq!(stretches, [Some(stretch(20, 30)), Some(stretch(0, 10)), None]);
}

#[test]
fn a_server_that_does_not_tell_where_speech_is_is_understood() {
    let expected = Heard::Final(Final { text: "hello".into(), ..Final::default() });
    assert_eq!(heard(&[completed("item_1", "hello")]), std::slice::from_ref(&expected));
    assert_eq!(heard(&[started("item_1", 0), completed("item_1", "hello")]), [expected]);
}

#[test]
fn what_goes_wrong_has_the_servers_code() {
    let failed = json!({
        "type": "conversation.item.input_audio_transcription.failed", "item_id": "a", "content_index": 0,
        "error": {"type": "server_error", "code": "pool_saturated", "message": "full", "param": null},
    });
    let error = json!({"type": "error", "error": {"type": "server_error", "code": null, "message": "oh"}});
    let trouble = Heard::Trouble { code: "server_error".into(), message: "oh".into() };
    let failure = Heard::Failed { code: "pool_saturated".into(), stretch: Some(stretch(5, 6)) };
    assert_eq!(heard(&[started("a", 5), stopped("a", 6), failed, error]), [failure, trouble]);
}

#[test]
fn a_reply_is_heard_in_both_dialects() {
    // 40 ms of 24 kHz are 960 samples.
    let audio = STANDARD.encode([0; 1_920]);
    let failed = json!({"status": "failed", "status_details": {"error": {"code": "c", "message": "m"}}});
    let events = [
        json!({"type": "response.output_audio.delta", "delta": audio}),
        json!({"type": "response.audio.delta", "delta": audio}),
        json!({"type": "response.done", "response": {"status": "completed"}}),
        json!({"type": "response.done", "response": failed}),
    ];
    let piece = Heard::ReplyAudio(Duration::from_millis(40));
    let trouble = Heard::Trouble { code: "c".into(), message: "m".into() };
    assert_eq!(heard(&events), [piece.clone(), piece, Heard::ReplyDone, trouble, Heard::ReplyDone]);
}

#[test]
fn what_is_of_an_earlier_reply_or_of_one_that_was_cut_off_is_not_heard() {
    let created = |id: &str| json!({"type": "response.created", "response": {"id": id}});
    let sound = |id: &str| json!({"type": "response.output_audio.delta", "response_id": id, "delta": STANDARD.encode([0; 1_920])});
    let done = |id: &str| json!({"type": "response.done", "response": {"id": id, "status": "cancelled"}});
    let piece = Heard::ReplyAudio(Duration::from_millis(40));
    let events = [created("a"), sound("a"), started("i", 0), sound("a"), done("a")];
    assert_eq!(heard(&events), std::slice::from_ref(&piece));
    let events = [created("a"), created("b"), sound("a"), done("a"), sound("b"), done("b")];
    assert_eq!(heard(&events), [piece.clone(), Heard::ReplyDone]);
    // Not every server says when a reply begins.
    assert_eq!(heard(&[started("i", 0), sound("a"), done("a")]), [piece, Heard::ReplyDone]);
}

#[tokio::test]
async fn a_server_that_talks_of_something_else_for_ever_is_given_up() {
    let (url, _serving) = serve(|mut visit| async move {
        tokio::time::pause();
        while visit.socket.send(Message::text(r#"{"type":"weather"}"#)).await.is_ok() {
            tokio::time::sleep(PATIENCE / 4).await;
        }
    })
    .await;
    let error = Realtime::new(target(&url)).unwrap().connect(0).await.err().expect("nobody gets in");
    let expected = "does not speak realtime: it accepted the WebSocket and was not ready within 10s";
    assert!(error.to_string().ends_with(expected), "{error}");
}

#[test]
fn what_is_not_an_event_is_trouble_and_an_unknown_event_is_not() {
    let mut hearing = Hearing::default();
    assert_eq!(hearing.read(r#"{"type":"rate_limits.updated","rate_limits":[]}"#), Ok(vec![]));
    for text in ["hello", "[]", r#"{"type":"input_audio_buffer.speech_started","audio_start_ms":"soon"}"#] {
        let heard = hearing.read(text).unwrap();
        let [Heard::Trouble { code, .. }] = heard.as_slice() else { panic!("{text}: {heard:?}") };
        assert_eq!(code, "unreadable_message");
    }
}

#[test]
fn items_that_never_get_a_text_do_not_pile_up() {
    let mut hearing = Hearing::default();
    for n in 0..1_000 {
        hearing.read(&started(&n.to_string(), n).to_string()).unwrap();
    }
    assert_eq!(hearing.items.len(), OPEN_ITEMS);
    assert_eq!(hearing.items[0].id, (1_000 - OPEN_ITEMS).to_string());
}
