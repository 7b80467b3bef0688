//! Our own server, as the load test's driver hears it.

use super::{PATIENCE, Stage, counting, key, recording};
use std::time::Duration;
use stenopool::load::{ConnectError, Connection, Final, Heard, ProtocolName, Stretch, Target};
use tokio::time::timeout;

#[tokio::test]
async fn the_load_tests_driver_gets_a_text_for_each_turn() {
    let mut stage = Stage::with(counting());
    stage.keys = vec![key("secret", None)];
    let server = stage.start().await;
    let driver = |key: &str| {
        let url = format!("http://{}", server.address);
        let target = Target { url, key: Some(key.to_owned()), ..Target::default() };
        ProtocolName::Rest.protocol(target).unwrap()
    };
    let stranger = driver("guess").connect(0).await.err();
    assert!(matches!(stranger, Some(ConnectError::Unauthorized { .. })), "{stranger:?}");

    let Connection { mut speaker, mut listener } = driver("secret").connect(0).await.unwrap();
    let samples: Vec<i16> =
        recording()[44..].chunks_exact(2).map(|bytes| i16::from_le_bytes([bytes[0], bytes[1]])).collect();
    speaker.say(&[0; 1_600]).await.unwrap();
    speaker.begin_turn();
    speaker.say(&samples).await.unwrap();
    speaker.end_turn().await.unwrap();
    let ms = Duration::from_millis;
    let stretch = Some(Stretch { start: ms(100), end: ms(5_100) });
    let expected = Final { text: "One. Two.".into(), stretch, ..Final::default() };
    let answer = timeout(PATIENCE, listener.next()).await.unwrap();
    assert_eq!(answer, Ok(Some(Heard::Final(expected))));
    speaker.hang_up().await;
    assert_eq!(listener.next().await, Ok(None));
}
