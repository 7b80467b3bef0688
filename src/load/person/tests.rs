//! People and servers that do what a test says, in virtual time.

use super::*;
use crate::audio::{SampleRate, Span};
use crate::load::diary::Fate;
use crate::load::protocol::Final;
use crate::load::turns::Turn;
use futures_util::future::BoxFuture;
use std::iter;
use tokio::sync::mpsc;
use tokio::time::sleep;

const PATIENCE: Duration = Duration::from_secs(30);

/// What the server does with the frame of that number.
type Script = Box<dyn FnMut(u32, &mpsc::Sender<Result<Heard, Disconnected>>) -> Take + Send>;

enum Take {
    Frame,
    /// Reads no more.
    Nothing,
    /// The sending half breaks.
    Break,
}

struct Mouth {
    frames: u32,
    script: Script,
    ear: mpsc::Sender<Result<Heard, Disconnected>>,
}

struct Ear(mpsc::Receiver<Result<Heard, Disconnected>>);

fn lost(code: &str) -> Disconnected {
    Disconnected { code: code.into(), reason: String::new() }
}

impl Speaker for Mouth {
    fn begin_turn(&mut self) {}

    fn say<'a>(&'a mut self, _: &'a [i16]) -> BoxFuture<'a, Result<Duration, Disconnected>> {
        self.frames += 1;
        match (self.script)(self.frames, &self.ear) {
            Take::Frame => Box::pin(async { Ok(Duration::ZERO) }),
            Take::Nothing => Box::pin(std::future::pending()),
            Take::Break => Box::pin(async { Err(lost("broken_pipe")) }),
        }
    }

    fn end_turn(&mut self) -> BoxFuture<'_, Result<(), Disconnected>> {
        Box::pin(async { Ok(()) })
    }

    fn hang_up(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

impl Listener for Ear {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Heard>, Disconnected>> {
        Box::pin(async { self.0.recv().await.transpose() })
    }
}

/// Two seconds, in which "hello" is said from 0.2 s to 1.2 s.
fn clip() -> Arc<Clip> {
    Arc::new(Clip {
        file: "a.wav".into(),
        kind: "all".into(),
        text: "hello".into(),
        samples: vec![0; 16_000].into(),
        rate: SampleRate::TELEPHONE,
        speech: vec![Span::new(3_200, 19_200)],
    })
}

/// Somebody who says the recording every few seconds for twelve, to such a server.
async fn outcome(
    converses: bool,
    script: impl FnMut(u32, &mpsc::Sender<Result<Heard, Disconnected>>) -> Take + Send + 'static,
) -> PersonOutcome {
    let now = Instant::now();
    let manners = Manners {
        until: now + Duration::from_secs(12),
        steady_from: now,
        patience: PATIENCE,
        waits_for_text: false,
        converses,
        tells_positions: false,
        stop: CancellationToken::new(),
    };
    let (ear, heard) = mpsc::channel(64);
    let turn = Turn { pause: Duration::from_secs(1), clip: 0, interrupts: None };
    let person = Person {
        clips: vec![clip()],
        topics: Box::new(iter::repeat(turn)),
        manners: Arc::new(manners),
        board: Arc::new(Board::new()),
    };
    let speaker = Mouth { frames: 0, script: Box::new(script), ear };
    person.talk(Connection { speaker: Box::new(speaker), listener: Box::new(Ear(heard)) }).await
}

fn hello() -> Heard {
    Heard::Final(Final { text: "hello".into(), ..Final::default() })
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_reading_is_given_up() {
    let began = Instant::now();
    let take = |frame, _: &_| if frame < 100 { Take::Frame } else { Take::Nothing };
    let outcome = timeout(PATIENCE * 3, outcome(false, take)).await.expect("it ends");
    assert_eq!(outcome.trouble, [("stalled".to_owned(), 1)].into());
    assert!(began.elapsed() < PATIENCE + Duration::from_secs(6));
    assert_eq!(outcome.turns[0].fate, Fate::Lost, "there was time enough for its text");
}

#[tokio::test(start_paused = true)]
async fn the_servers_last_word_counts_when_sending_fails_before_it_is_read() {
    let outcome = outcome(false, |frame, ear| {
        if frame < 80 {
            return Take::Frame;
        }
        let ear = ear.clone();
        tokio::spawn(async move {
            sleep(LAST_WORD / 2).await;
            ear.send(Ok(hello())).await.unwrap();
            ear.send(Err(lost("draining"))).await.unwrap();
        });
        Take::Break
    });
    let outcome = outcome.await;
    assert_eq!(outcome.trouble, [("draining".to_owned(), 1)].into());
    assert_eq!(outcome.finals.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_has_no_last_word_is_not_waited_for() {
    let began = Instant::now();
    let outcome = outcome(false, |_, _| Take::Break).await;
    assert_eq!(outcome.trouble, [("broken_pipe".to_owned(), 1)].into());
    assert!(began.elapsed() <= LAST_WORD + Duration::from_millis(40));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_an_old_reply_is_not_the_end_of_the_new_one() {
    // The recording begins after a second, or 25 frames; its last speech is out with frame 55, and it ends with 75.
    let outcome = outcome(true, |frame, ear| {
        match frame {
            40 => ear.try_send(Ok(Heard::ReplyDone)).unwrap(),
            80 => ear.try_send(Ok(hello())).unwrap(),
            _ => {}
        }
        Take::Frame
    });
    let outcome = outcome.await;
    assert_eq!(outcome.turns.len(), 1, "the reply was waited for");
    assert_eq!(outcome.trouble, [("no_reply".to_owned(), 1)].into());
}

#[tokio::test(start_paused = true)]
async fn a_reply_may_begin_before_the_recording_ends_in_silence() {
    let outcome = outcome(true, |frame, ear| {
        if frame == 65 {
            for heard in [hello(), Heard::ReplyAudio(Duration::from_millis(40)), Heard::ReplyDone] {
                ear.try_send(Ok(heard)).unwrap();
            }
        }
        Take::Frame
    });
    let outcome = outcome.await;
    assert_eq!(outcome.turns.len(), 2, "the second one is never answered");
}
