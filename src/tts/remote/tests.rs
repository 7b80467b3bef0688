//! Against servers in the same process, which say what they were asked and do what they are told to.

use super::*;
use std::sync::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// What a scripted server does with a request for speech.
#[derive(Clone)]
enum Reply {
    /// Sends this head and body, and keeps the connection open.
    Whole(&'static str, Vec<u8>),
    /// Sends the first half of this sound, and the rest when it is told to.
    Halves(Vec<u8>, Arc<Notify>),
    /// Begins to send sound, and does not go on; tells when the client has hung up.
    Half(Arc<Notify>),
    /// Hangs up in the middle.
    Cut,
    /// Says nothing.
    Nothing,
}

/// Everything that was asked of it: bodies of `POST`s, and how many connections there were.
#[derive(Default)]
struct Seen {
    bodies: Mutex<Vec<serde_json::Value>>,
    heads: Mutex<Vec<String>>,
    connections: std::sync::atomic::AtomicUsize,
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-type: audio/pcm\r\n";

async fn server(reply: impl Fn(usize) -> Reply + Send + Sync + 'static) -> (RemoteSettings, Arc<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (seen, reply) = (Arc::new(Seen::default()), Arc::new(reply));
    let books = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            books.connections.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            tokio::spawn(serve(socket, Arc::clone(&books), Arc::clone(&reply)));
        }
    });
    (RemoteSettings::new(format!("http://{address}/v1/")), seen)
}

async fn serve(mut socket: TcpStream, seen: Arc<Seen>, reply: Arc<impl Fn(usize) -> Reply>) -> Option<()> {
    loop {
        let (head, body) = request(&mut socket).await?;
        if head.starts_with("GET") {
            socket.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}").await.ok()?;
            continue;
        }
        let n = {
            seen.heads.lock().unwrap().push(head);
            let mut bodies = seen.bodies.lock().unwrap();
            bodies.push(serde_json::from_slice(&body).unwrap());
            bodies.len() - 1
        };
        match reply(n) {
            Reply::Whole(head, body) => {
                let head = format!("{head}content-length: {}\r\n\r\n", body.len());
                socket.write_all(head.as_bytes()).await.ok()?;
                socket.write_all(&body).await.ok()?;
            }
            Reply::Halves(body, go_on) => {
                let head = format!("{OK}content-length: {}\r\n\r\n", body.len());
                let (first, rest) = body.split_at(body.len() / 2);
                socket.write_all(head.as_bytes()).await.ok()?;
                socket.write_all(first).await.ok()?;
                go_on.notified().await;
                socket.write_all(rest).await.ok()?;
            }
            Reply::Half(hung_up) => {
                socket.write_all(format!("{OK}content-length: 9999\r\n\r\n").as_bytes()).await.ok()?;
                socket.write_all(&[1; 2_000]).await.ok()?;
                while socket.read(&mut [0; 64]).await.is_ok_and(|n| n > 0) {}
                hung_up.notify_one();
                return None;
            }
            Reply::Cut => {
                socket.write_all(format!("{OK}content-length: 9999\r\n\r\n\0\0").as_bytes()).await.ok()?;
                return None;
            }
            Reply::Nothing => std::future::pending().await,
        }
    }
}

async fn request(socket: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let length =
            head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let mut body = bytes.split_off(end + 4);
        while body.len() < length.unwrap_or(0) {
            socket.read_buf(&mut body).await.ok()?;
        }
        return Some((head, body));
    }
}

fn say(narrator: &Arc<dyn Narrator>, text: &str, rate: u32) -> BoxStream<'static, Result<Pcm, TtsError>> {
    let phrase = Phrase { text: text.into(), spoken: text.into() };
    narrator.say(phrase, Voice { name: "zoe".into(), speed: 1.5 }, SampleRate::new(rate).unwrap())
}

async fn hear(sound: BoxStream<'static, Result<Pcm, TtsError>>) -> Result<Vec<f32>, TtsError> {
    let pieces = timeout(Duration::from_secs(20), sound.collect::<Vec<_>>()).await.expect("it ends");
    let mut heard = Vec::new();
    for piece in pieces {
        heard.extend(piece?.samples);
    }
    Ok(heard)
}

fn sound(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

#[tokio::test]
async fn a_phrase_is_asked_for_as_openai_has_it_and_heard_to_the_sample() {
    let samples: Vec<i16> = (0..2_400).map(|n| (n * 13) as i16).collect();
    let body = sound(&samples);
    let (settings, seen) = server(move |_| Reply::Whole(OK, body.clone())).await;
    let settings = RemoteSettings { key: Some("sk-1".into()), model: "tts-9".into(), ..settings };
    let remote = Remote::new(settings, None).unwrap();
    let narrator = remote.narrator();
    let heard = hear(say(&narrator, "Hello \"you\".", 24_000)).await.unwrap();
    assert_eq!(heard, samples.iter().map(|sample| f32::from(*sample) / 32_768.0).collect::<Vec<_>>());
    assert_eq!(hear(say(&narrator, "again", 8_000)).await.unwrap().len(), 800);
    let bodies = seen.bodies.lock().unwrap();
    let expected = serde_json::json!({
        "model": "tts-9", "input": "Hello \"you\".", "voice": "zoe", "speed": 1.5, "response_format": "pcm",
    });
    assert_eq!(bodies[0], expected);
    let line = seen.heads.lock().unwrap()[0].clone();
    assert!(line.starts_with("POST /v1/audio/speech HTTP/1.1"), "{line}");
    assert!(line.to_lowercase().contains("authorization: bearer sk-1"), "{line}");
}

#[tokio::test]
async fn one_connection_is_opened_ahead_and_used_again() {
    let (settings, seen) = server(|_| Reply::Whole(OK, sound(&[1, 2, 3]))).await;
    let way = Remote::new(settings, None).unwrap();
    warm_up(Arc::clone(&way.way)).await;
    let before = seen.connections.load(std::sync::atomic::Ordering::SeqCst);
    for _ in 0..5 {
        assert_eq!(hear(say(&way.narrator(), "hello", 24_000)).await.unwrap().len(), 3);
    }
    assert_eq!(seen.connections.load(std::sync::atomic::Ordering::SeqCst), before);
}

#[tokio::test]
async fn what_the_server_does_wrong_is_told_with_a_code() {
    const JSON: &str = "HTTP/1.1 429 Too Many\r\ncontent-type: application/json\r\n";
    let error = br#"{"error": {"message": "slow down"}}"#.to_vec();
    let cases = [
        (Reply::Whole(JSON, error), "tts_refused", "429: slow down"),
        (Reply::Whole("HTTP/1.1 500 No\r\n", vec![b'x'; 100_000]), "tts_refused", "500: xxx"),
        (
            Reply::Whole("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n", b"{}".to_vec()),
            "tts_failed",
            "json",
        ),
        (Reply::Whole(OK, Vec::new()), "tts_failed", "no sound"),
        (Reply::Cut, "tts_unreachable", ""),
    ];
    for (reply, code, text) in cases {
        let (settings, _) = server(move |_| reply.clone()).await;
        let remote = Remote::new(settings, None).unwrap();
        let error = hear(say(&remote.narrator(), "hello", 24_000)).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(text) && error.to_string().len() < 500, "{error}");
    }
    let nobody = RemoteSettings::new("http://127.0.0.1:9/v1");
    let error = hear(say(&Remote::new(nobody, None).unwrap().narrator(), "hello", 24_000)).await.unwrap_err();
    assert_eq!(error.code(), "tts_unreachable", "{error}");
    assert!(Remote::new(RemoteSettings::new("no address"), None).is_err());
}

#[tokio::test]
async fn a_silent_server_is_given_up_after_its_time() {
    let (settings, _) = server(|_| Reply::Nothing).await;
    let patience = Duration::from_millis(50);
    let remote =
        Remote::new(RemoteSettings { first_sound_timeout: patience, ..settings.clone() }, None).unwrap();
    let late = Err(TtsError::Timeout { waited: patience });
    assert_eq!(hear(say(&remote.narrator(), "hello", 24_000)).await, late);
    let hung_up = Arc::new(Notify::new());
    let told = Arc::clone(&hung_up);
    let (settings, _) = server(move |_| Reply::Half(Arc::clone(&told))).await;
    let remote = Remote::new(RemoteSettings { total_timeout: patience, ..settings }, None).unwrap();
    assert_eq!(hear(say(&remote.narrator(), "hello", 24_000)).await, late);
    timeout(Duration::from_secs(20), hung_up.notified()).await.expect("the request is closed");
}

#[tokio::test]
async fn the_next_phrase_has_all_its_time_however_long_the_one_before_it_takes() {
    let go_on = Arc::new(Notify::new());
    let told = Arc::clone(&go_on);
    let (settings, _) = server(move |n| match n {
        0 => Reply::Halves(sound(&[7; 4_000]), Arc::clone(&told)),
        _ => Reply::Whole(OK, sound(&[7; 10])),
    })
    .await;
    let too_long = settings.first_sound_timeout + Duration::from_secs(1);
    let narrator = Remote::new(settings, None).unwrap().narrator();
    let mut first = say(&narrator, "first", 24_000);
    assert!(first.next().await.unwrap().is_ok());
    let second = say(&narrator, "second", 24_000);
    // It asks for its place behind the first one.
    tokio::task::yield_now().await;
    tokio::time::pause();
    tokio::time::advance(too_long).await;
    tokio::time::resume();
    go_on.notify_one();
    hear(first).await.unwrap();
    assert_eq!(hear(second).await.unwrap().len(), 10);
}

#[tokio::test(start_paused = true)]
async fn what_a_listener_takes_is_not_the_servers_time() {
    let second = Duration::from_secs(1);
    let mut patience = Patience::begin(second);
    assert!(patience.within(tokio::time::sleep(second * 9 / 10)).await.is_ok());
    for _ in 0..5 {
        patience.beside(tokio::time::sleep(second * 9 / 10)).await.unwrap();
    }
    assert!(patience.within(tokio::time::sleep(second / 20)).await.is_ok());
    let late = patience.within(tokio::time::sleep(second / 10)).await;
    assert_eq!(late, Err(TtsError::Timeout { waited: second }));
}

#[tokio::test(start_paused = true)]
async fn a_listener_who_takes_nothing_any_more_is_given_up() {
    let mut patience = Patience::begin(Duration::from_secs(1));
    assert_eq!(patience.beside(std::future::pending::<()>()).await, Err(TtsError::Cancelled));
}

#[tokio::test]
async fn a_narrator_that_asks_for_too_much_is_refused_and_the_others_are_not() {
    let (settings, _) = server(|_| Reply::Nothing).await;
    let remote = Remote::new(settings, None).unwrap();
    let narrator = remote.narrator();
    let asked: Vec<_> = (0..PHRASES_AHEAD).map(|_| say(&narrator, "hello", 24_000)).collect();
    assert_eq!(hear(say(&narrator, "hello", 24_000)).await.unwrap_err().code(), "tts_saturated");
    let mut other = say(&remote.narrator(), "hello", 24_000);
    assert!(futures_util::FutureExt::now_or_never(other.next()).is_none(), "it waits and is not refused");
    drop(asked);
}

#[tokio::test]
async fn a_dropped_stream_closes_its_request_and_gives_its_turn_back() {
    let hung_up = Arc::new(Notify::new());
    let told = Arc::clone(&hung_up);
    let (settings, seen) = server(move |n| match n {
        0 => Reply::Half(Arc::clone(&told)),
        _ => Reply::Whole(OK, sound(&[7; 10])),
    })
    .await;
    let remote = Remote::new(RemoteSettings { concurrency: 1, ..settings }, None).unwrap();
    let (a, b) = (remote.narrator(), remote.narrator());
    let mut first = say(&a, "first", 24_000);
    assert!(first.next().await.unwrap().is_ok());
    let (behind, other) = (say(&a, "second", 24_000), say(&b, "third", 24_000));
    drop(first);
    timeout(Duration::from_secs(20), hung_up.notified()).await.expect("the request is closed");
    assert!(hear(behind).await.is_ok() && hear(other).await.is_ok());
    assert_eq!(seen.bodies.lock().unwrap().len(), 3);
}
