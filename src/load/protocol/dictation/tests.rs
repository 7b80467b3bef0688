use super::*;
use crate::load::protocol::scripted::{Visit, serve};

async fn let_in(visit: &mut Visit) -> Value {
    visit.say(r#"{"type":"session.created","session":{}}"#).await;
    let update = visit.json().await;
    visit.say(r#"{"type":"session.updated","session":{}}"#).await;
    update
}

fn settings(url: &str) -> DictationSettings {
    DictationSettings {
        target: Target { url: url.to_owned(), ..Target::default() },
        ..DictationSettings::default()
    }
}

fn event(text: &str) -> DictationEvent {
    Told::read(text).event
}

#[tokio::test]
async fn a_session_asks_for_what_it_was_told_and_for_nothing_else() {
    let asked = async |change: fn(&mut DictationSettings)| {
        let (url, serving) = serve(|mut visit| async move { let_in(&mut visit).await }).await;
        let mut settings = settings(&url);
        change(&mut settings);
        settings.connect().await.unwrap();
        serving.await.unwrap()["session"].take()
    };
    let plain = asked(|_| {}).await;
    let input = json!({
        "format": { "type": "audio/pcm", "rate": 24_000 },
        "transcription": {},
        "turn_detection": { "type": "server_vad" },
    });
    assert_eq!(plain, json!({ "type": "transcription", "audio": { "input": input } }));
    let wishes = asked(|settings| {
        settings.prompt = Some("Kubernetes".into());
        settings.lease = Some(LeaseScope::Session);
        settings.prefix = Some(Duration::from_millis(200));
        settings.target.language = Some("en".into());
    })
    .await;
    assert_eq!(wishes["pool"], json!({ "lease": "session" }));
    let input = &wishes["audio"]["input"];
    assert_eq!(input["transcription"], json!({ "language": "en", "prompt": "Kubernetes" }));
    assert_eq!(input["turn_detection"]["prefix_padding_ms"], 200);
}

#[tokio::test]
async fn audio_is_binary_and_the_end_commits_before_it_clears() {
    let (url, serving) = serve(|mut visit| async move {
        let_in(&mut visit).await;
        visit.rest().await
    })
    .await;
    let Dictation { mut sender, .. } = settings(&url).connect().await.unwrap();
    sender.send(Bytes::from_static(&[1, 0, 2, 0])).await.unwrap();
    sender.finish().await.unwrap();
    sender.hang_up().await;
    let sent = serving.await.unwrap();
    assert_eq!(sent[0], Message::binary(vec![1, 0, 2, 0]));
    let kinds: Vec<_> = sent[1..].iter().map(|message| message.to_text().unwrap()).collect();
    assert_eq!(kinds, [r#"{"type":"input_audio_buffer.commit"}"#, r#"{"type":"input_audio_buffer.clear"}"#]);
}

#[tokio::test]
async fn a_server_that_leaves_says_why_or_leaves_in_good_order() {
    for (code, reason, expected) in [(1000, "", None), (1012, "shutdown", Some("shutdown"))] {
        let (url, serving) = serve(move |mut visit| async move {
            let_in(&mut visit).await;
            visit.close(code, reason).await;
        })
        .await;
        let Dictation { mut receiver, .. } = settings(&url).connect().await.unwrap();
        let end = receiver.next().await;
        assert_eq!(end.err().map(|lost| lost.code).as_deref(), expected, "{code}");
        serving.await.unwrap();
    }
}

#[test]
fn events_are_understood_and_kept_as_they_came() {
    let item = || "item_1".to_owned();
    let cases = [
        (
            r#"{"type":"input_audio_buffer.speech_started","item_id":"item_1","audio_start_ms":1200}"#,
            DictationEvent::SpeechStarted { item: item(), at: millis(1_200) },
        ),
        (
            r#"{"type":"conversation.item.input_audio_transcription.delta","item_id":"item_1","delta":" a"}"#,
            DictationEvent::Delta { item: item(), text: " a".into() },
        ),
        (
            r#"{"type":"conversation.item.input_audio_transcription.completed","item_id":"item_1","transcript":"a b"}"#,
            DictationEvent::Final { item: item(), text: "a b".into() },
        ),
        (
            r#"{"type":"conversation.item.input_audio_transcription.failed","item_id":"item_1","error":{"code":"x","message":"y"}}"#,
            DictationEvent::Failed { item: item(), code: "x".into(), message: "y".into() },
        ),
        (
            r#"{"type":"pool.queue.updated","position":2,"estimated_wait_ms":3000}"#,
            DictationEvent::InLine { position: 2, estimate: Some(millis(3_000)) },
        ),
        (
            r#"{"type":"pool.queue.updated","position":2,"estimated_wait_ms":null}"#,
            DictationEvent::InLine { position: 2, estimate: None },
        ),
        (r#"{"type":"pool.lease.granted","slot":0}"#, DictationEvent::Granted),
        (r#"{"type":"pool.interims.paused"}"#, DictationEvent::Interims { paused: true }),
        (r#"{"type":"pool.interims.resumed"}"#, DictationEvent::Interims { paused: false }),
        (
            r#"{"type":"pool.session.closing","reason":"idle"}"#,
            DictationEvent::Closing { reason: "idle".into(), retry_after: Duration::ZERO },
        ),
        (
            r#"{"type":"pool.session.closing","reason":"crashed","retry_after_ms":2000}"#,
            DictationEvent::Closing { reason: "crashed".into(), retry_after: Duration::from_secs(2) },
        ),
        (
            r#"{"type":"error","error":{"code":"x","message":"y"}}"#,
            DictationEvent::Trouble { code: "x".into(), message: "y".into() },
        ),
        (r#"{"type":"conversation.item.added"}"#, DictationEvent::Other),
        (r#"{"type":"delta"}"#, DictationEvent::Other),
        ("3", DictationEvent::Other),
    ];
    for (text, expected) in cases {
        assert_eq!(event(text), expected, "{text}");
    }
    let broken = Told::read("{");
    assert!(matches!(broken.event, DictationEvent::Trouble { .. }));
    assert_eq!(broken.json, r#""{""#);
    assert_eq!(Told::read("{\"type\":\n\"x\"}").json, r#"{"type":"x"}"#);
}
