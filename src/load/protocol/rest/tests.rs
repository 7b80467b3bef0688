use super::*;
use crate::audio::FileReader;
use crate::load::protocol::scripted::{Asked, answer, hear_out, nowhere, serve_http, stay_silent};

fn rest(url: &str) -> Rest {
    Rest::new(Target { url: url.to_owned(), ..Target::default() }).unwrap()
}

/// Says a turn of so many samples of this value.
async fn say_turn(speaker: &mut Box<dyn Speaker>, value: i16, samples: usize) {
    speaker.begin_turn();
    for frame in vec![value; samples].chunks(640) {
        speaker.say(frame).await.unwrap();
    }
    speaker.end_turn().await.unwrap();
}

fn stretch(start_ms: u64, end_ms: u64) -> Stretch {
    Stretch { start: Duration::from_millis(start_ms), end: Duration::from_millis(end_ms) }
}

/// What is heard when uploads are answered so; models are not found.
async fn heard(status: &'static str, body: &'static str) -> Heard {
    let reply = move |asked: &Asked| {
        if asked.head.starts_with("GET") {
            ("404 Not Found", String::new())
        } else {
            (status, body.to_owned())
        }
    };
    let (url, _asked) = serve_http(reply).await;
    let mut connection = rest(&url).connect(0).await.unwrap();
    say_turn(&mut connection.speaker, 1, 1_600).await;
    connection.listener.next().await.unwrap().unwrap()
}

async fn refusal_at(url: String) -> String {
    let error = rest(&url).connect(0).await.err().expect("nobody gets in");
    error.to_string().replace(&url, "URL")
}

#[tokio::test]
async fn every_turn_is_a_recording_of_its_own() {
    let (url, mut asked) = serve_http(|_| ("200 OK", r#"{"text":"hello"}"#.to_owned())).await;
    let target = Target { key: Some("secret".into()), language: Some("de".into()), url, ..Target::default() };
    let connection = Rest::new(target).unwrap().connect(0).await.unwrap();
    let Connection { mut speaker, mut listener } = connection;
    speaker.say(&vec![9; 16_000]).await.unwrap();
    say_turn(&mut speaker, 7, 8_000).await;
    speaker.say(&[9; 1_600]).await.unwrap();
    speaker.hang_up().await;
    let expected = Final { text: "hello".into(), stretch: Some(stretch(1_000, 1_500)), ..Final::default() };
    assert_eq!(listener.next().await, Ok(Some(Heard::Final(expected))));
    assert_eq!(listener.next().await, Ok(None));

    let knock = asked.recv().await.unwrap().head;
    assert!(knock.starts_with("GET /v1/models HTTP/1.1\r\n"), "{knock}");
    let Asked { head, body } = asked.recv().await.unwrap();
    assert!(head.starts_with("POST /v1/audio/transcriptions HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("authorization: Bearer secret\r\n"), "{head}");
    let file = wav(&[7; 8_000]);
    assert!(body.windows(file.len()).any(|window| window == file), "the turn, the whole turn");
    let form = String::from_utf8_lossy(&body);
    for (name, value) in [("model", "whisper-1"), ("response_format", "json"), ("language", "de")] {
        assert!(form.contains(&format!("name=\"{name}\"\r\n\r\n{value}\r\n")), "{name} in {form}");
    }
    assert!(asked.try_recv().is_err(), "silence is not sent");
}

#[tokio::test]
async fn people_go_on_while_a_turn_is_read() {
    let (url, _asked) = serve_http(|asked| match asked.body.len() {
        0 => ("200 OK", "{}".to_owned()),
        length => ("200 OK", format!(r#"{{"text":"{}"}}"#, length / 10_000)),
    })
    .await;
    let Connection { mut speaker, mut listener } = rest(&url).connect(0).await.unwrap();
    say_turn(&mut speaker, 1, 16_000).await;
    say_turn(&mut speaker, 1, 32_000).await;
    let mut texts = Vec::new();
    for _ in 0..2 {
        let Ok(Some(Heard::Final(text))) = listener.next().await else { panic!("two texts") };
        texts.push((text.stretch.unwrap().start, text.text));
    }
    texts.sort();
    let expected = [(Duration::ZERO, "3".to_owned()), (Duration::from_secs(1), "6".to_owned())];
    assert_eq!(texts, expected);
}

#[tokio::test]
async fn an_answer_without_text_is_a_turn_that_failed() {
    let openai = r#"{"error":{"code":"audio_too_short","type":"invalid_request_error","message":"short"}}"#;
    let cases = [
        ("503 Unavailable", openai, "rejected"),
        ("429 Too Many", "", "rejected"),
        ("400 Bad Request", openai, "audio_too_short"),
        ("500 Oh", "<html>", "http_500"),
        ("302 Found", "", "http_302"),
        ("200 OK", "<html>", "unreadable_message"),
        ("200 OK", r#"{"words":[]}"#, "unreadable_message"),
    ];
    for (status, body, code) in cases {
        let expected = Heard::Failed { code: code.to_owned(), stretch: Some(stretch(0, 100)) };
        assert_eq!(heard(status, body).await, expected, "{status} {body}");
    }
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_not_read_to_its_end() {
    let long = || format!(r#"{{"text":"{}"}}"#, "x".repeat(LONGEST_BODY));
    let (url, _asked) = serve_http(move |asked| match asked.body.len() {
        0 => ("200 OK", "{}".to_owned()),
        _ => ("200 OK", long()),
    })
    .await;
    let mut connection = rest(&url).connect(0).await.unwrap();
    say_turn(&mut connection.speaker, 1, 1_600).await;
    let expected = Heard::Failed { code: "message_too_large".into(), stretch: Some(stretch(0, 100)) };
    assert_eq!(connection.listener.next().await, Ok(Some(expected)));
}

#[tokio::test]
async fn a_server_that_is_gone_loses_the_connection() {
    // It answers one request and is never seen again.
    let url = answer("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}").await;
    let mut connection = rest(&url).connect(0).await.unwrap();
    say_turn(&mut connection.speaker, 1, 1_600).await;
    let (heard, lost) = hear_out(&mut connection).await;
    assert_eq!((heard, lost), (vec![], Some(Disconnected::connection("connection refused"))));
    assert_eq!(connection.listener.next().await, Ok(None), "the end is told once");
}

#[tokio::test]
async fn who_does_not_let_us_in_is_named() {
    let models = "to a request for its models";
    let cases = [
        ("401 Unauthorized", format!("URL refuses the key: it answered HTTP 401 {models}")),
        ("503 Unavailable", format!("the server is full: it answered HTTP 503 {models}")),
    ];
    for (status, expected) in cases {
        let url = answer(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")).await;
        assert_eq!(refusal_at(url).await, expected);
    }
    assert_eq!(refusal_at(nowhere().await).await, "cannot reach URL: connection refused");
    let ssh = refusal_at(answer("SSH-2.0-OpenSSH_9.6\r\n\r\n").await).await;
    assert!(ssh.starts_with("URL does not speak rest: its answer is not HTTP"), "{ssh}");
    let silent = refusal_at(stay_silent().await).await;
    assert_eq!(silent, "URL does not speak rest: no answer to an HTTP request within 10s");
}

#[tokio::test]
async fn hanging_up_does_not_wait_for_ever_for_a_text() {
    let (url, mut asked) = serve_http(|asked| match asked.body.len() {
        0 => ("200 OK", "{}".to_owned()),
        // This says that the answer is still to come.
        _ => ("102 Processing", String::new()),
    })
    .await;
    let mut connection = rest(&url).connect(0).await.unwrap();
    say_turn(&mut connection.speaker, 1, 1_600).await;
    asked.recv().await.unwrap();
    asked.recv().await.unwrap();
    tokio::time::pause();
    connection.speaker.hang_up().await;
    assert_eq!(connection.listener.next().await, Ok(None));
}

#[test]
fn a_turn_is_a_sound_wav_file() {
    let samples: Vec<i16> = (-500..500).collect();
    let mut reader = FileReader::open(std::io::Cursor::new(wav(&samples)), None).unwrap();
    let read = reader.read().unwrap().unwrap();
    let back: Vec<i16> = read.iter().map(|sample| (sample * 32_768.0).round() as i16).collect();
    assert_eq!(back, samples);
    assert!(reader.read().unwrap().is_none());
}
