use super::*;
use crate::load::protocol::scripted::{hear_out, serve};
use serde_json::{Value, json};

fn target(url: &str) -> Target {
    Target { url: url.to_owned(), ..Target::default() }
}

fn results(start: f64, duration: f64, is_final: bool, text: &str, words: &[f64]) -> Value {
    let words: Vec<Value> =
        words.iter().map(|start| json!({ "word": "w", "start": start, "end": 9 })).collect();
    json!({
        "type": "Results", "channel_index": [0, 1], "start": start, "duration": duration, "is_final": is_final,
        "speech_final": false, "channel": { "alternatives": [{ "transcript": text, "words": words }] },
    })
}

fn heard(said: &Value) -> Vec<Heard> {
    Results.read(&said.to_string()).unwrap()
}

/// A final of this text, from and to these milliseconds.
fn told(text: &str, stretch: Option<(u64, u64)>) -> Vec<Heard> {
    let ms = Duration::from_millis;
    let heard = stretch.map(|(start, end)| Stretch { start: ms(start), end: ms(end) });
    vec![Heard::Final(Final { text: text.to_owned(), stretch: heard, ..Final::default() })]
}

/// Why a server that says this, and closes so, is not talked to.
async fn refusal(said: &'static str, code: u16, reason: &'static str) -> String {
    let (url, _serving) = serve(move |mut visit| async move {
        if !said.is_empty() {
            visit.say(said).await;
        }
        visit.close(code, reason).await;
    })
    .await;
    let error = Deepgram::new(target(&url)).unwrap().connect(0).await.err().expect("nobody gets in");
    error.to_string().replace(&url, "URL")
}

#[tokio::test]
async fn a_live_stream_is_asked_for_and_closed_as_it_should_be() {
    let (url, serving) = serve(|mut visit| async move {
        visit.say(r#"{"type":"Metadata","request_id":"r"}"#).await;
        let mut audio = Vec::new();
        let bye = loop {
            match visit.message().await {
                Message::Binary(bytes) => audio.extend(bytes),
                message => break message,
            }
        };
        visit.say(results(0.0, 1.5, true, "last", &[]).to_string()).await;
        let seen = (visit.path.clone(), visit.authorization.clone());
        visit.close(1000, "").await;
        (seen, audio, bye)
    })
    .await;
    let (key, model, language) = (Some("secret".into()), Some("nova".into()), Some("en".into()));
    let target = Target { url, key, model, language, conversation: false };
    let mut connection = Deepgram::new(target).unwrap().connect(0).await.unwrap();
    let speech: Vec<i16> = (-4_000..4_000).collect();
    for frame in speech.chunks(640) {
        connection.speaker.say(frame).await.unwrap();
    }
    let Connection { speaker, mut listener } = connection;
    let listening = async {
        assert_eq!(listener.next().await, Ok(told("last", Some((0, 1_500))).pop()));
        assert_eq!(listener.next().await, Ok(None));
    };
    tokio::join!(speaker.hang_up(), listening);
    let ((path, authorization), audio, bye) = serving.await.unwrap();
    let query = "encoding=linear16&sample_rate=16000&channels=1&interim_results=true&endpointing=300";
    assert_eq!(path, format!("/v1/listen?{query}&model=nova&language=en"));
    assert_eq!(authorization.as_deref(), Some("Token secret"));
    assert_eq!(audio, pcm16(&speech));
    assert_eq!(bye, Message::text(r#"{"type":"CloseStream"}"#));
}

#[tokio::test]
async fn an_objection_after_the_handshake_is_a_refusal() {
    let early = "URL refuses: it closed the connection before it was ready";
    let closed = "the server closed the connection with code";
    let cases = [
        (
            r#"{"type":"Error","description":"no VAC here"}"#,
            4400,
            "x y",
            "URL refuses: no VAC here".to_owned(),
        ),
        ("ready", 1000, "", r#"URL does not speak deepgram: it said "ready""#.to_owned()),
        ("", 4400, "bad query", format!("{early}: {closed} 4400: bad query")),
        ("", 1013, "", format!("the server is full: {closed} 1013")),
        ("", 1000, "", format!("{early}: it gave no reason")),
    ];
    for (said, code, reason, expected) in cases {
        assert_eq!(refusal(said, code, reason).await, expected);
    }
}

#[tokio::test]
async fn a_server_that_gives_up_says_so() {
    let (url, _serving) = serve(|mut visit| async move {
        visit.message().await;
        visit.say(r#"{"type":"Error","description":"oh","variant":"NET-0001"}"#).await;
        visit.close(1011, "stream timeout").await;
    })
    .await;
    let mut connection = Deepgram::new(target(&url)).unwrap().connect(0).await.unwrap();
    connection.speaker.say(&[0; 640]).await.unwrap();
    let (heard, lost) = hear_out(&mut connection).await;
    assert_eq!(heard, [Heard::Trouble { code: "NET-0001".into(), message: "oh".into() }]);
    assert_eq!(lost.unwrap().code, "closed_1011");
}

#[test]
fn a_final_reaches_from_its_first_word_to_the_end_of_its_piece() {
    assert_eq!(
        heard(&results(1.0, 3.5, true, "hello you", &[2.25, 3.0])),
        told("hello you", Some((2_250, 4_500)))
    );
    assert_eq!(heard(&results(1.0, 3.5, true, "hello", &[])), told("hello", Some((1_000, 4_500))));
    // Some servers have no place for what came last.
    assert_eq!(heard(&results(1.0, 0.0, true, "hello", &[])), told("hello", None));
    assert_eq!(heard(&results(-1.0, 0.5, true, "hello", &[])), told("hello", None));
}

#[test]
fn an_empty_final_tells_how_far_the_server_has_read() {
    assert_eq!(heard(&results(1.0, 2.0, true, "", &[])), told("", Some((1_000, 3_000))));
    assert_eq!(heard(&results(1.0, 0.0, true, "", &[])), []);
    assert_eq!(heard(&results(1.0, 0.0, true, ".", &[])), []);
}

#[test]
fn what_may_still_change_is_a_delta_if_there_is_a_word_in_it() {
    let delta = Heard::Delta { text: "hel".into(), start: Some(Duration::from_millis(1_250)) };
    assert_eq!(heard(&results(1.0, 1.0, false, "hel", &[1.25])), [delta]);
    assert_eq!(heard(&results(0.0, 1.0, false, "", &[])), []);
}

#[test]
fn other_messages_are_passed_over_and_nonsense_is_trouble() {
    assert_eq!(heard(&json!({ "type": "UtteranceEnd", "channel": [0, 1], "last_word_end": 2.5 })), []);
    assert_eq!(heard(&json!({ "type": "Metadata", "channels": 1 })), []);
    for text in ["hello", r#"{"type":"Results"}"#, r#"{"status":"WAIT"}"#] {
        let heard = Results.read(text).unwrap();
        assert!(
            matches!(heard.as_slice(), [Heard::Trouble { code, .. }] if code == "unreadable_message"),
            "{text}"
        );
    }
}
