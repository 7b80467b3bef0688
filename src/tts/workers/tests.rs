//! Threads, real ones: gates and channels, no sleeps.

use super::*;
use futures_util::FutureExt as _;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;
use tokio::time::timeout;

const NATIVE: SampleRate = SampleRate::SPEECH;

/// What the synthesizers of a test did, and what some of them wait for.
#[derive(Default)]
struct Stage {
    begun: Mutex<Vec<String>>,
    ended: Mutex<Vec<String>>,
    made: AtomicUsize,
    alive: AtomicUsize,
    gate: CancellationToken,
}

/// Says 100 ms of sound for every phrase, and does what some phrases ask for besides.
struct Scripted(Arc<Stage>);

impl Drop for Scripted {
    fn drop(&mut self) {
        self.0.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

impl Synthesizer for Scripted {
    fn synthesize(
        &mut self,
        phrase: &Phrase,
        _voice: &Voice,
        cancel: &CancellationToken,
        on_chunk: &mut dyn FnMut(Pcm),
    ) -> Result<(), TtsError> {
        self.0.begun.lock().unwrap().push(phrase.spoken.clone());
        match phrase.spoken.as_str() {
            "panic" => panic!("as scripted"),
            "fail" => return Err(TtsError::Failed("as scripted".into())),
            "gate" => block_on(self.0.gate.cancelled()),
            "forever" => {
                on_chunk(Pcm { samples: vec![0.5; 160], rate: NATIVE });
                block_on(cancel.cancelled());
                self.0.ended.lock().unwrap().push("forever".into());
                return Err(TtsError::Cancelled);
            }
            "endless" => {
                while !cancel.is_cancelled() {
                    on_chunk(Pcm { samples: vec![0.5; 160_000], rate: NATIVE });
                }
            }
            _ => {}
        }
        on_chunk(Pcm { samples: vec![0.5; 1_600], rate: NATIVE });
        self.0.ended.lock().unwrap().push(phrase.spoken.clone());
        Ok(())
    }
}

fn workers(settings: WorkerSettings) -> (Workers, Arc<Stage>) {
    let stage = Arc::new(Stage::default());
    let own = Arc::clone(&stage);
    let factory = move || -> Result<Box<dyn Synthesizer>, TtsError> {
        own.made.fetch_add(1, Ordering::SeqCst);
        own.alive.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(Scripted(Arc::clone(&own))))
    };
    let voices = Voices::new(vec!["one".into()], None, &[], &[]).unwrap();
    (Workers::start(Speaker::Espeak, voices, settings, Arc::new(factory)).unwrap(), stage)
}

type Sound = BoxStream<'static, Result<Pcm, TtsError>>;

fn say_at(narrator: &Arc<dyn Narrator>, text: &str, rate: u32) -> Sound {
    let phrase = Phrase { text: text.into(), spoken: text.into() };
    narrator.say(phrase, Voice { name: "one".into(), speed: 1.0 }, SampleRate::new(rate).unwrap())
}

fn say(narrator: &Arc<dyn Narrator>, text: &str) -> Sound {
    say_at(narrator, text, NATIVE.hertz())
}

/// All of it, or the error; with how many samples the longest piece has.
async fn hear(sound: Sound) -> Result<(usize, usize), TtsError> {
    let pieces = timeout(Duration::from_secs(20), sound.collect::<Vec<_>>()).await.expect("it ends");
    let mut heard = (0, 0);
    for piece in pieces {
        let length = piece?.samples.len();
        heard = (heard.0 + length, heard.1.max(length));
    }
    Ok(heard)
}

#[tokio::test]
async fn sound_comes_at_the_rate_that_was_asked_for_in_small_pieces() {
    let (workers, _) = workers(WorkerSettings::default());
    let narrator = workers.narrator();
    for (rate, expected) in [(16_000, (1_600, 640)), (24_000, (2_400, 960)), (8_000, (800, 320))] {
        for _ in 0..2 {
            let (all, longest) = hear(say_at(&narrator, "hello", rate)).await.unwrap();
            assert_eq!(all, expected.0);
            assert!(longest <= expected.1, "{longest} samples in one piece at {rate} Hz");
        }
    }
}

#[tokio::test]
async fn narrators_take_turns_on_one_thread() {
    let (workers, stage) = workers(WorkerSettings::default());
    let (a, b) = (workers.narrator(), workers.narrator());
    let first = say(&a, "gate");
    let later = [say(&a, "a2"), say(&a, "a3"), say(&b, "b1"), say(&b, "b2")];
    stage.gate.cancel();
    assert_eq!(hear(first).await, Ok((1_600, 640)));
    for sound in later {
        assert_eq!(hear(sound).await, Ok((1_600, 640)));
    }
    assert_eq!(*stage.begun.lock().unwrap(), ["gate", "b1", "a2", "b2", "a3"]);
}

#[tokio::test]
async fn two_threads_say_two_things_at_once_but_not_of_one_narrator() {
    let (workers, stage) = workers(WorkerSettings { threads: 2, ..WorkerSettings::default() });
    let (a, b) = (workers.narrator(), workers.narrator());
    let (held, behind) = (say(&a, "gate"), say(&a, "a2"));
    assert!(hear(say(&b, "b1")).await.is_ok());
    assert!(!stage.begun.lock().unwrap().contains(&"a2".to_owned()));
    stage.gate.cancel();
    assert!(hear(held).await.is_ok() && hear(behind).await.is_ok());
}

#[tokio::test]
async fn a_dropped_stream_ends_its_work_and_what_was_not_begun_never_is() {
    let (workers, stage) = workers(WorkerSettings::default());
    let (a, b) = (workers.narrator(), workers.narrator());
    let mut running = say(&a, "forever");
    let waiting = say(&a, "a2");
    assert!(running.next().await.unwrap().is_ok());
    drop((waiting, running));
    assert!(hear(say(&b, "b1")).await.is_ok());
    assert_eq!(*stage.begun.lock().unwrap(), ["forever", "b1"]);
    assert_eq!(*stage.ended.lock().unwrap(), ["forever", "b1"]);
}

#[tokio::test]
async fn a_listener_that_does_not_read_holds_nobody_up() {
    let (workers, _) = workers(WorkerSettings::default());
    let (a, b) = (workers.narrator(), workers.narrator());
    let unread: Vec<_> = (0..10).map(|_| say(&a, "unread")).collect();
    for _ in 0..10 {
        assert!(hear(say(&b, "read")).await.is_ok());
    }
    for sound in unread {
        assert_eq!(hear(sound).await, Ok((1_600, 640)));
    }
}

#[tokio::test]
async fn a_panic_and_an_error_end_one_phrase_and_no_more() {
    let (workers, stage) = workers(WorkerSettings::default());
    let narrator = workers.narrator();
    let panicked = TtsError::Failed("panicked: as scripted".into());
    assert_eq!(hear(say(&narrator, "panic")).await, Err(panicked));
    assert!(hear(say(&narrator, "next")).await.is_ok());
    assert_eq!(stage.made.load(Ordering::SeqCst), 2);
    assert_eq!(hear(say(&narrator, "fail")).await, Err(TtsError::Failed("as scripted".into())));
    assert!(hear(say(&narrator, "next")).await.is_ok());
    assert_eq!((stage.made.load(Ordering::SeqCst), stage.alive.load(Ordering::SeqCst)), (2, 1));
}

#[tokio::test]
async fn sound_without_an_end_is_cut() {
    let (workers, _) = workers(WorkerSettings::default());
    let error = hear(say(&workers.narrator(), "endless")).await.unwrap_err();
    assert_eq!(error, TtsError::Failed("it gives more than 300 s of sound".into()));
}

#[tokio::test]
async fn more_than_fits_in_line_is_refused_and_cancelled_phrases_make_room() {
    let settings = WorkerSettings { phrases_ahead: 2, phrases_in_all: 3, ..WorkerSettings::default() };
    let (workers, stage) = workers(settings);
    let (a, b, c) = (workers.narrator(), workers.narrator(), workers.narrator());
    let mut running = say(&a, "forever");
    assert!(running.next().await.unwrap().is_ok());
    let mut waiting = vec![say(&a, "a2"), say(&a, "a3")];
    let refused = |queued, limit| Err(TtsError::Saturated { queued, limit });
    assert_eq!(hear(say(&a, "a4")).await, refused(2, 2));
    waiting.push(say(&b, "b1"));
    assert_eq!(hear(say(&c, "c1")).await, refused(3, 3));
    drop(waiting.remove(0));
    let late = say(&a, "a5");
    drop(running);
    for sound in waiting.into_iter().chain([late]) {
        assert!(hear(sound).await.is_ok());
    }
    assert_eq!(*stage.begun.lock().unwrap(), ["forever", "b1", "a3", "a5"]);
}

#[tokio::test]
async fn nothing_to_say_is_said_at_once_and_too_much_is_not() {
    let (workers, stage) = workers(WorkerSettings::default());
    let narrator = workers.narrator();
    assert_eq!(hear(say(&narrator, " \n")).await, Ok((0, 0)));
    assert_eq!(hear(say(&narrator, &"a".repeat(LONGEST_PHRASE + 1))).await.unwrap_err().code(), "tts_failed");
    assert!(stage.begun.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_end_of_the_workers_ends_what_they_say_and_their_threads() {
    for dedicated in [false, true] {
        let (workers, stage) = workers(WorkerSettings { dedicated, ..WorkerSettings::default() });
        let narrator = workers.narrator();
        let (mut running, waiting) = (say(&narrator, "forever"), say(&narrator, "never"));
        assert!(running.next().await.unwrap().is_ok());
        drop(workers);
        assert_eq!(stage.alive.load(Ordering::SeqCst), 0, "the threads are joined");
        assert_eq!(hear(running).await, Err(TtsError::Cancelled));
        assert_eq!(hear(waiting).await, Err(TtsError::Closed));
        assert_eq!(hear(say(&narrator, "late")).await, Err(TtsError::Closed));
        assert_eq!(*stage.begun.lock().unwrap(), ["forever"]);
    }
}

#[tokio::test]
async fn a_dedicated_narrator_has_a_synthesizer_of_its_own_for_as_long_as_it_lives() {
    let (workers, stage) = workers(WorkerSettings { dedicated: true, ..WorkerSettings::default() });
    assert_eq!(stage.made.load(Ordering::SeqCst), 0);
    let (a, b) = (workers.narrator(), workers.narrator());
    let held = say(&a, "gate");
    assert!(hear(say(&b, "b1")).await.is_ok());
    drop(a);
    assert!(hear(say(&b, "b2")).await.is_ok());
    stage.gate.cancel();
    assert!(hear(held).await.is_ok(), "what was asked for before its narrator went is said");
    // Only now: the thread of the first may have come to its synthesizer after the other had spoken.
    assert_eq!(stage.made.load(Ordering::SeqCst), 2);
    drop(workers);
    assert_eq!(stage.alive.load(Ordering::SeqCst), 0);
    assert_eq!(say(&b, "b3").next().now_or_never(), Some(Some(Err(TtsError::Closed))));
}
