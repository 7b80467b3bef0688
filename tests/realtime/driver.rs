//! Our own server, as the load test's driver hears it.

use super::client::{silence, voice};
use super::server::{PATIENCE, serve_guarded};
use std::time::Duration;
use stenopool::load::{ConnectError, Connection, Final, Heard, Listener, ProtocolName, Target};
use tokio::time::timeout;

/// The next final; deltas before it are passed over.
async fn next_text(listener: &mut Box<dyn Listener>) -> Final {
    loop {
        match timeout(PATIENCE, listener.next()).await.expect("the server says something") {
            Ok(Some(Heard::Final(text))) => return text,
            Ok(Some(Heard::Delta { .. })) => {}
            other => panic!("expected a text, got {other:?}"),
        }
    }
}

#[tokio::test]
async fn the_load_tests_driver_hears_what_was_said_and_where() {
    let served = serve_guarded("secret", 1).await;
    let url = format!("http://{}", served.address);
    let connecting = |key: &str| {
        let target = Target { url: url.clone(), key: Some(key.to_owned()), ..Target::default() };
        let protocol = ProtocolName::Realtime.protocol(target).expect("it is an address");
        async move { protocol.connect(0).await }
    };
    let Connection { mut speaker, mut listener } = connecting("secret").await.expect("the key is good");
    assert!(matches!(connecting("secret").await.err(), Some(ConnectError::Rejected { .. })), "one at a time");
    assert!(matches!(connecting("guess").await.err(), Some(ConnectError::Unauthorized { .. })));

    let sound = [silence(400), voice(50, 800), silence(1_000)].concat();
    let sample = |bytes: &[u8]| i16::from_le_bytes(bytes.try_into().expect("two bytes"));
    let samples: Vec<i16> = sound.chunks_exact(2).map(sample).collect();
    for frame in samples.chunks(960) {
        speaker.say(frame).await.expect("the server listens");
    }
    let text = next_text(&mut listener).await;
    assert_eq!(text.text, "heard 50");
    let heard = text.stretch.expect("the server tells where");
    let spoken = Duration::from_millis(500)..Duration::from_millis(1_100);
    assert!(heard.start < spoken.start && heard.end > spoken.end, "{heard:?}");
    assert!(text.waited.is_some() && text.decoded.is_some() && text.diverged_words.is_some(), "{text:?}");

    speaker.hang_up().await;
    assert_eq!(listener.next().await, Ok(None));
    served.no_sessions().await;
}
