//! What is told before an utterance is over.
//!
//! The engine counts: half a second of sound is a word, so a loud second and a half reads "one two three".

mod long;
mod pauses;
mod shedding;

use super::*;
use crate::asr::Stability;
use crate::session::InterimSettings;
use std::sync::{Mutex, PoisonError};

const NUMBERS: [&str; 12] =
    ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];

/// Loud enough to be speech.
const LOUD: i16 = 20_000;
/// A sound of which the detector is not sure: speech may last through it, but does not begin with it.
const SOFT: i16 = 2_300;

/// Longer than any decode here.
const SETTLED: Duration = Duration::from_millis(50);

/// What was decoded: how long each piece of audio was, and whether for good.
type Decodes = Arc<Mutex<Vec<(Duration, Stability)>>>;

/// Counts half seconds of sound; a final reading ends with a full stop.
fn count(utterance: &Utterance, options: &DecodeOptions) -> Act {
    let loud = utterance.samples.iter().filter(|sample| sample.abs() > 0.05).count();
    let words = NUMBERS[..(loud / 8_000).min(NUMBERS.len())].join(" ");
    let end = if options.stability == Stability::Final && !words.is_empty() { "." } else { "" };
    Act::Say(words + end, Duration::from_millis(20))
}

fn live(automatic: bool) -> SessionSettings {
    let interims = InterimSettings { first: Duration::from_millis(300), every: Duration::from_millis(500) };
    SessionSettings {
        live: LiveSettings { interims: Some(interims), speculate: true },
        keeping: Keeping::default(),
        ..settings(automatic)
    }
}

/// A stage and what its engine, which counts, was given.
fn counting(settings: SessionSettings) -> (Stage, Decodes) {
    let decodes = Decodes::default();
    let noted = Arc::clone(&decodes);
    let engine = FakeEngine::new(move |utterance, options| {
        let decode = (utterance.span.duration(), options.stability);
        noted.lock().unwrap_or_else(PoisonError::into_inner).push(decode);
        count(utterance, options)
    });
    (Stage::on(engine, settings), decodes)
}

/// How long what was decoded for good was, in tenths of a second.
fn finals(decodes: &Decodes) -> Vec<u128> {
    let decodes = decodes.lock().unwrap();
    let finals = decodes.iter().filter(|(_, stability)| *stability == Stability::Final);
    finals.map(|(audio, _)| audio.as_millis() / 100).collect()
}

impl Stage {
    /// Loud or silent milliseconds.
    async fn play(&mut self, loud: bool, ms: usize) -> String {
        self.sound(if loud { LOUD } else { 0 }, ms).await
    }

    async fn configure(&self, settings: SessionSettings) {
        self.command(Command::Configure(Box::new(settings))).await;
    }

    /// So many milliseconds of this level.
    async fn sound(&mut self, level: i16, ms: usize) -> String {
        let events = self.hear(level, ms).await;
        events.into_iter().filter_map(|event| self.shown(event)).collect::<Vec<_>>().join(" ")
    }

    /// Milliseconds of this level, in pieces of 100, each of which is heard and read before the next.
    async fn hear(&mut self, level: i16, ms: usize) -> Vec<SessionEvent> {
        let mut events = Vec::new();
        for _ in 0..ms / 100 {
            self.command(Command::Append(level.to_le_bytes().repeat(1_600))).await;
            events.extend(self.meanwhile().await);
        }
        events
    }

    /// What is told of what was heard so far, its readings included.
    async fn told_meanwhile(&mut self) -> Vec<String> {
        self.meanwhile().await.into_iter().filter_map(|event| self.shown(event)).collect()
    }

    /// The events of what was heard so far, its readings included.
    async fn meanwhile(&mut self) -> Vec<SessionEvent> {
        // Half a sample is refused, behind everything that was heard before.
        self.command(Command::Append(vec![0])).await;
        let mut events = Vec::new();
        loop {
            match self.event().await {
                SessionEvent::Refused { .. } => break,
                event => events.push(event),
            }
        }
        tokio::time::sleep(SETTLED).await;
        while let Ok(event) = self.events.try_recv() {
            events.push(event);
        }
        events
    }

    /// Leases are other tests' business.
    fn shown(&mut self, event: SessionEvent) -> Option<String> {
        Some(match event {
            SessionEvent::Lease(_) => return None,
            SessionEvent::Delta { text, .. } => format!("+{text:?}"),
            SessionEvent::Read { transcript, rest, diverged_words, .. } => {
                let told = format!("{:?} after {:?}", transcript.hypothesis.text(), rest.unwrap_or_default());
                if diverged_words == 0 { told } else { format!("{told} ({diverged_words} diverged)") }
            }
            SessionEvent::Interims { paused } => format!("paused={paused}"),
            event => named(&mut self.items, &event),
        })
    }
}

#[tokio::test(start_paused = true)]
async fn words_are_told_while_they_are_said_and_the_rest_with_the_final_text() {
    let (mut stage, _) = counting(live(true));
    let told = stage.play(true, 2_600).await;
    assert!(told.starts_with(r#"started0 +"one" +" two""#), "{told}");
    let told = stage.play(false, 700).await;
    let (_, after) = told.split_once("stopped0 committed0 ").expect("it is committed");
    assert!(
        after.starts_with(r#""one two three four five." after "#) && after.ends_with(r#" five.""#),
        "{after}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_item_of_which_words_were_told_ends_when_it_is_cleared() {
    let (mut stage, _) = counting(live(true));
    stage.play(true, 2_000).await;
    stage.command(Command::Clear).await;
    let told = stage.told_meanwhile().await.join(" ");
    assert_eq!(told, "discarded0 cleared");
    stage.play(false, 300).await;
    assert_eq!(stage.rest().await, "");
}

#[tokio::test(start_paused = true)]
async fn where_the_client_cuts_words_are_told_before_it_does_too() {
    let (mut stage, decodes) = counting(live(false));
    let told = stage.play(true, 2_000).await;
    assert!(told.starts_with(r#"+"one""#), "{told}");
    stage.play(false, 300).await;
    stage.command(Command::Commit).await;
    let told = stage.told_meanwhile().await.join(" ");
    assert!(told.starts_with(r#"committed0 "one two three four." after"#), "{told}");
    assert_eq!(finals(&decodes).len(), 1, "it was begun in the pause before the commit");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_not_to_read_any_more_waits_for_no_interim() {
    let (mut stage, _) = counting(live(true));
    let _lease = stage.occupied().await;
    assert_eq!(stage.play(true, 500).await, "started0");
    stage.configure(SessionSettings { decode: None, ..live(true) }).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(stage.told_meanwhile().await, [""; 0], "it would be given up by now, and told so");
}

#[tokio::test(start_paused = true)]
async fn an_item_of_which_words_were_told_ends_when_it_is_not_to_be_read_any_more() {
    let (mut stage, _) = counting(live(true));
    stage.play(true, 2_000).await;
    stage.configure(SessionSettings { decode: None, ..live(true) }).await;
    assert_eq!(stage.play(true, 1_000).await, "", "no more of it is told");
    assert_eq!(stage.play(false, 1_000).await, "stopped0 committed0 unread0");
    stage.play(true, 2_000).await;
    assert_eq!(stage.play(false, 1_000).await, "stopped1 committed1", "nothing of this one was told");
    assert_eq!(stage.rest().await, "");
}

#[tokio::test(start_paused = true)]
async fn an_item_that_is_to_be_read_again_goes_on_where_it_was() {
    let (mut stage, _) = counting(live(true));
    let told = stage.play(true, 2_000).await;
    assert!(told.starts_with(r#"started0 +"one""#), "{told}");
    stage.configure(SessionSettings { decode: None, ..live(true) }).await;
    stage.configure(live(true)).await;
    let told = stage.play(true, 1_100).await;
    assert!(told.starts_with(r#"+" "#), "{told}");
    let told = stage.play(false, 1_000).await;
    assert!(told.contains(r#"committed0 "one two three four five six." after " "#), "{told}");
    assert!(!told.contains("diverged"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn silence_as_long_as_the_session_waits_for_speech_is_an_item_of_its_own() {
    let settings = SessionSettings { idle_timeout: Some(Duration::from_secs(5)), ..live(true) };
    let (mut stage, decodes) = counting(settings);
    assert_eq!(stage.play(false, 4_900).await, "");
    assert_eq!(stage.play(false, 200).await, r#"timed_out0 committed0 "" after """#);
    assert_eq!(stage.play(false, 4_800).await, "", "it counts anew");
    stage.play(true, 300).await;
    assert_eq!(
        decodes.lock().unwrap().iter().filter(|(_, stability)| *stability == Stability::Final).count(),
        0
    );
}
