use super::*;
use crate::load::protocol::scripted::{self, Visit, answer, hear_out, serve};
use tokio::task::JoinHandle;

/// Sends samples as they are, in a message each; hears every text as trouble.
struct Plain {
    last_word: bool,
}

impl Encode for Plain {
    fn encode(&mut self, samples: &[i16]) -> Option<Message> {
        Some(Message::binary(pcm16(samples)))
    }

    fn farewell(&mut self) -> Vec<Message> {
        vec![Message::text("bye")]
    }

    fn server_has_the_last_word(&self) -> bool {
        self.last_word
    }
}

struct Parrot;

impl Read for Parrot {
    fn read(&mut self, text: &str) -> Result<Vec<Heard>, Disconnected> {
        match text {
            "away" => Err(Disconnected::connection("it said so")),
            text => Ok(text.split(' ').map(heard).collect()),
        }
    }
}

fn heard(word: &str) -> Heard {
    Heard::Trouble { code: "said".to_owned(), message: word.to_owned() }
}

fn peer(url: &str) -> Peer {
    Peer { url: url.to_owned(), protocol: "parrot" }
}

async fn try_to_open(url: &str) -> Result<Socket, ConnectError> {
    let address = Url::parse(&url.replace("http://", "ws://")).unwrap();
    open(&peer(url), &address, Some("Bearer key".to_owned())).await
}

/// Why nobody gets in, with the address left out.
async fn refusal(url: String) -> String {
    let error = try_to_open(&url).await.expect_err("nobody gets in");
    format!("{error}").replace(&url, "URL")
}

/// A client of a server that does this.
async fn talk<F, R, T>(last_word: bool, script: F) -> (Connection, JoinHandle<T>)
where
    F: FnOnce(Visit) -> R + Send + 'static,
    R: Future<Output = T> + Send,
    T: Send + 'static,
{
    let (url, serving) = serve(script).await;
    let socket = try_to_open(&url).await.unwrap();
    (connection(socket, Plain { last_word }, Parrot), serving)
}

#[tokio::test]
async fn a_server_that_does_not_let_us_in_is_quoted() {
    let cases = [
        ("404 Not Found", "URL does not speak parrot: it answered HTTP 404 to the WebSocket handshake"),
        ("200 OK", "URL does not speak parrot: it answered HTTP 200 to the WebSocket handshake"),
        ("401 Unauthorized", "URL refuses the key: it answered HTTP 401 to the WebSocket handshake"),
        ("503 Unavailable", "the server is full: it answered HTTP 503 to the WebSocket handshake"),
        ("429 Too Many", "the server is full: it answered HTTP 429 to the WebSocket handshake"),
        ("500 Oh", "URL does not speak parrot: it answered HTTP 500 to the WebSocket handshake"),
    ];
    for (status, expected) in cases {
        let url = answer(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")).await;
        assert_eq!(refusal(url).await, expected);
    }
}

#[tokio::test]
async fn a_refusal_in_json_is_told_in_its_own_words() {
    let cases = [
        (r#"{"error":{"code":"model_not_found","message":"no model \"x\""}}"#, r#"no model "x""#),
        (r#"{"err_code":"INVALID_QUERY","err_msg":"no such tier"}"#, "no such tier"),
    ];
    for (body, words) in cases {
        let head = format!("HTTP/1.1 400 Bad Request\r\nContent-Length: {}\r\n\r\n", body.len());
        let expected = format!("URL refuses: it answered HTTP 400 to the WebSocket handshake: {words}");
        assert_eq!(refusal(answer(head + body).await).await, expected);
    }
    let page = r#"{"detail":"Not Found"}"#;
    let head = format!("HTTP/1.1 404 Not Found\r\nContent-Length: {}\r\n\r\n", page.len());
    let expected = "URL does not speak parrot: it answered HTTP 404 to the WebSocket handshake: Not Found";
    assert_eq!(refusal(answer(head + page).await).await, expected);
}

#[tokio::test]
async fn what_is_no_web_server_is_called_so() {
    let ssh = answer("SSH-2.0-OpenSSH_9.6\r\n\r\n").await;
    let expected = "URL does not speak parrot: its answer to the WebSocket handshake is not HTTP";
    assert_eq!(refusal(ssh).await, expected);
    let mute = answer("").await;
    let expected = "URL does not speak parrot: it closed the connection during the WebSocket handshake";
    assert_eq!(refusal(mute).await, expected);
    assert_eq!(refusal(scripted::nowhere().await).await, "cannot reach URL: connection refused");
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let expected = "URL does not speak parrot: no answer to the WebSocket handshake within 10s";
    assert_eq!(refusal(scripted::stay_silent().await).await, expected);
}

#[tokio::test]
async fn a_server_that_never_gets_ready_is_given_up() {
    let (url, _serving) = serve(|visit| async move {
        tokio::time::pause();
        std::future::pending::<()>().await;
        drop(visit);
    })
    .await;
    let mut socket = try_to_open(&url).await.unwrap();
    let peer = peer("URL");
    let error = ready_within(&peer, PATIENCE, first_words(&peer, &mut socket)).await.unwrap_err();
    let expected = "URL does not speak parrot: it accepted the WebSocket and was not ready within 10s";
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn a_server_that_closes_before_it_is_ready_says_why() {
    let cases = [
        (1013, "busy", "the server is full: the server closed the connection with code 1013: busy"),
        (
            1011,
            "",
            "URL refuses: it closed the connection before it was ready: the server closed the connection with code 1011",
        ),
        (1000, "", "URL refuses: it closed the connection before it was ready: it gave no reason"),
    ];
    for (code, reason, expected) in cases {
        let (url, _serving) = serve(move |visit| visit.close(code, reason)).await;
        let mut socket = try_to_open(&url).await.unwrap();
        let error = first_words(&peer("URL"), &mut socket).await.unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test]
async fn the_way_the_server_closes_decides_whether_the_connection_is_lost() {
    let lost = |code: &str, reason: &str| {
        let reason = format!("the server closed the connection with code {reason}");
        Some(Disconnected { code: code.to_owned(), reason })
    };
    let cases = [
        (1000, "", None),
        (1001, "shutdown", lost("shutdown", "1001: shutdown")),
        (1011, "it went wrong", lost("closed_1011", "1011: it went wrong")),
        (1013, "audio_overrun", lost("rejected", "1013: audio_overrun")),
        (4400, "", lost("closed_4400", "4400")),
    ];
    for (code, reason, expected) in cases {
        let (mut client, serving) = talk(false, move |mut visit| async move {
            visit.say("one two").await;
            visit.close(code, reason).await;
        })
        .await;
        assert_eq!(hear_out(&mut client).await, (vec![heard("one"), heard("two")], expected));
        assert_eq!(client.listener.next().await, Ok(None), "the end is told once");
        // The answer to its `Close` has reached it.
        serving.await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_dies_loses_the_connection() {
    let (mut client, _serving) = talk(false, |mut visit| async move {
        visit.say("one").await;
    })
    .await;
    let lost = Disconnected::connection("the server closed the connection without a word");
    assert_eq!(hear_out(&mut client).await, (vec![heard("one")], Some(lost)));
    let died = async { while client.speaker.say(&[0; 960]).await.is_ok() {} };
    timeout(PATIENCE, died).await.expect("nothing can be said to it");
}

#[tokio::test]
async fn a_server_that_says_good_bye_in_words_is_believed() {
    let (mut client, _serving) = talk(false, |mut visit| async move {
        visit.say("away").await;
        visit.rest().await
    })
    .await;
    assert_eq!(hear_out(&mut client).await, (vec![], Some(Disconnected::connection("it said so"))));
}

#[tokio::test]
async fn a_message_that_is_too_long_ends_the_connection() {
    let (mut client, _serving) = talk(false, |mut visit| async move {
        visit.say("x".repeat(LONGEST_MESSAGE)).await;
        visit.say("x".repeat(LONGEST_MESSAGE + 1)).await;
        visit.rest().await
    })
    .await;
    let (heard, lost) = hear_out(&mut client).await;
    assert_eq!(heard.len(), 1);
    assert_eq!(lost.unwrap().code, "message_too_large");
}

#[tokio::test]
async fn who_hangs_up_says_so_and_closes() {
    let (client, serving) = talk(false, |mut visit| async move { visit.rest().await }).await;
    let Connection { mut speaker, mut listener } = client;
    speaker.say(&[1, -2]).await.unwrap();
    speaker.hang_up().await;
    assert_eq!(listener.next().await, Ok(None));
    let expected = vec![Message::binary(vec![1, 0, 254, 255]), Message::text("bye")];
    assert_eq!(serving.await.unwrap(), expected);
}

#[tokio::test]
async fn a_server_with_the_last_word_is_heard_after_we_hung_up() {
    let (client, serving) = talk(true, |mut visit| async move {
        let bye = visit.message().await;
        visit.say("last").await;
        visit.close(1011, "odd").await;
        bye
    })
    .await;
    let Connection { speaker, mut listener } = client;
    let listening = async {
        assert_eq!(listener.next().await, Ok(Some(heard("last"))));
        assert_eq!(listener.next().await, Ok(None), "after we hung up, any end is a good one");
    };
    tokio::join!(speaker.hang_up(), listening);
    assert_eq!(serving.await.unwrap(), Message::text("bye"));
}

#[tokio::test]
async fn hanging_up_on_a_silent_server_takes_no_longer_than_two_seconds() {
    let (client, _serving) = talk(true, |mut visit| async move {
        let bye = visit.message().await;
        tokio::time::pause();
        std::future::pending::<()>().await;
        bye
    })
    .await;
    let before = tokio::time::Instant::now();
    client.speaker.hang_up().await;
    assert!(before.elapsed() <= FAREWELL);
}

#[tokio::test]
async fn nothing_is_lost_when_somebody_stops_listening_for_a_while() {
    let (mut client, _serving) = talk(false, |mut visit| async move {
        for word in ["one two", "three four"] {
            visit.say(word).await;
        }
        visit.close(1000, "").await;
    })
    .await;
    let mut all = Vec::new();
    loop {
        tokio::select! {
            biased;
            next = client.listener.next() => match next.unwrap() {
                Some(heard) => all.push(heard),
                None => break,
            },
            () = tokio::task::yield_now() => {}
        }
    }
    assert_eq!(all, ["one", "two", "three", "four"].map(heard));
}
