use super::*;
use crate::load::protocol::scripted::{Visit, hear_out, serve};

fn driver(url: &str) -> WhisperLive {
    WhisperLive::new(Target { url: url.to_owned(), ..Target::default() }).unwrap()
}

/// Lets a client in, as servers do; what it asked for.
async fn let_in(visit: &mut Visit) -> Value {
    let options = visit.json().await;
    let uid = &options["uid"];
    let hello = [
        json!({ "uid": uid, "status": "WARNING", "message": "slow today" }),
        json!({ "uid": uid, "message": "SERVER_READY", "backend": "faster_whisper" }),
    ];
    for message in hello {
        visit.say(message.to_string()).await;
    }
    options
}

/// Why a server that says this is not talked to.
async fn refusal(said: &'static str) -> String {
    let (url, _serving) = serve(move |mut visit| async move {
        visit.json().await;
        visit.say(said).await;
        visit.close(1000, "").await;
    })
    .await;
    let error = driver(&url).connect(0).await.err().expect("nobody gets in");
    error.to_string().replace(&url, "URL")
}

fn segment(start: &str, text: &str, completed: bool) -> Value {
    json!({ "start": start, "end": "9.000", "text": text, "completed": completed })
}

fn told(text: &str) -> Heard {
    Heard::Final(Final { text: text.to_owned(), ..Final::default() })
}

#[tokio::test]
async fn it_speaks_as_its_own_client_does() {
    let (url, serving) = serve(|mut visit| async move {
        let options = let_in(&mut visit).await;
        let mut frames = Vec::new();
        loop {
            match visit.message().await.into_data() {
                end if end == "END_OF_AUDIO" => break,
                frame => frames.push(frame),
            }
        }
        let seen = (visit.path.clone(), visit.authorization.clone());
        let last = json!({ "uid": options["uid"], "segments": [segment("0.000", " last", true)] });
        visit.say(last.to_string()).await;
        visit.close(1000, "").await;
        (seen, options, frames)
    })
    .await;
    let (key, model, language) = (Some("secret".into()), Some("tiny".into()), Some("en".into()));
    let target = Target { url, key, model, language, conversation: false };
    let mut connection = WhisperLive::new(target).unwrap().connect(0).await.unwrap();
    let speech: Vec<i16> = (-5_000..5_000).collect();
    let mut said = 0;
    for frame in speech.chunks(640) {
        said += frame.len() as u64;
        let kept = connection.speaker.say(frame).await.unwrap();
        assert_eq!(kept, duration_of(said % CHUNK as u64), "after {said} samples");
    }
    let Connection { speaker, mut listener } = connection;
    let listening = async {
        assert_eq!(listener.next().await, Ok(Some(told("last"))));
        assert_eq!(listener.next().await, Ok(None));
    };
    tokio::join!(speaker.hang_up(), listening);

    let ((path, authorization), options, frames) = serving.await.unwrap();
    assert_eq!((path.as_str(), authorization.as_deref()), ("/", Some("Bearer secret")));
    assert_eq!((&options["model"], &options["language"]), (&json!("tiny"), &json!("en")));
    let lengths: Vec<usize> = frames.iter().map(|frame| frame.len() / 4).collect();
    assert_eq!(lengths, [CHUNK, CHUNK, 10_000 - 2 * CHUNK]);
    let samples: Vec<i16> = frames
        .concat()
        .chunks_exact(4)
        .map(|bytes| (f32::from_le_bytes(bytes.try_into().unwrap()) * 32_768.0) as i16)
        .collect();
    assert_eq!(samples, speech);
}

#[tokio::test]
async fn a_server_that_does_not_get_ready_is_quoted() {
    let cases = [
        (r#"{"status":"WAIT","message":3.14}"#, "the server is full: it asks to come back in 3.1 minutes"),
        (r#"{"status":"ERROR","message":"Failed to load model: x"}"#, "URL refuses: Failed to load model: x"),
        ("hello", r#"URL does not speak whisperlive: it said "hello""#),
        (
            r#"{"language":"en"}"#,
            "URL refuses: it closed the connection before it was ready: it gave no reason",
        ),
    ];
    for (said, expected) in cases {
        assert_eq!(refusal(said).await, expected);
    }
}

#[tokio::test]
async fn a_server_that_has_enough_of_us_says_so() {
    let (url, _serving) = serve(|mut visit| async move {
        let options = let_in(&mut visit).await;
        visit.say(json!({ "uid": options["uid"], "message": "DISCONNECT" }).to_string()).await;
        visit.rest().await
    })
    .await;
    let mut connection = driver(&url).connect(0).await.unwrap();
    let (heard, lost) = hear_out(&mut connection).await;
    assert_eq!((heard, lost.unwrap().code.as_str()), (vec![], "disconnect"));
}

#[test]
fn a_complete_segment_is_told_once_however_often_it_comes() {
    let mut segments = Segments::of("me".to_owned());
    let mut hear =
        |all: &[Value]| segments.read(&json!({ "uid": "me", "segments": all }).to_string()).unwrap();
    let (hello, open) = (segment("0.000", " hello", true), segment("1.000", " you", false));
    let delta = |text: &str| Heard::Delta { text: text.to_owned(), start: None };
    assert_eq!(hear(&[segment("0.000", " hel", false)]), [delta("hel")]);
    assert_eq!(hear(&[hello.clone(), open.clone()]), [told("hello"), delta("you")]);
    assert_eq!(hear(&[hello.clone(), open]), [], "nothing has changed");
    assert_eq!(hear(&[hello.clone(), segment("1.000", " you two", false)]), [delta("you two")]);
    let again = segment("2.000", " hello", true);
    assert_eq!(hear(&[hello.clone(), again.clone()]), [told("hello")], "who says it twice is heard twice");
    assert_eq!(hear(&[hello, again]), []);
}

#[test]
fn what_was_told_is_remembered_for_as_long_as_it_is_repeated() {
    let mut segments = Segments::of("me".to_owned());
    let all: Vec<Value> = (0..200).map(|n| segment(&n.to_string(), &format!("text {n}"), true)).collect();
    let mut texts = 0;
    for last in 1..=all.len() {
        let shown = &all[last.saturating_sub(REPEATED)..last];
        texts += segments.read(&json!({ "uid": "me", "segments": shown }).to_string()).unwrap().len();
    }
    assert_eq!((texts, segments.told.len()), (200, REMEMBERED));
}

#[test]
fn messages_for_somebody_else_and_nonsense_are_trouble() {
    let mut segments = Segments::of("me".to_owned());
    let cases = [
        (r#"{"uid":"you","segments":[]}"#, "foreign_message"),
        (r#"{"segments":[]}"#, "foreign_message"),
        (r#"{"uid":"me","status":"ERROR","message":"oh"}"#, "server_error"),
        ("hello", "unreadable_message"),
        (r#"{"uid":"me","segments":[{}]}"#, "unreadable_message"),
    ];
    for (text, expected) in cases {
        let heard = segments.read(text).unwrap();
        let [Heard::Trouble { code, .. }] = heard.as_slice() else { panic!("{text}: {heard:?}") };
        assert_eq!(code, expected);
    }
    assert_eq!(segments.read(r#"{"uid":"me","language":"en","language_prob":0.9}"#), Ok(vec![]));
}
