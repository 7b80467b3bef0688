//! What is told before an utterance is over.
//!
//! The engine counts: half a second of sound is a word, so a loud second and a half reads "one two three".

use super::*;
use crate::asr::Stability;
use crate::audio::Span;
use crate::session::InterimSettings;
use std::sync::{Mutex, PoisonError};

const NUMBERS: [&str; 12] =
    ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];

/// Longer than any decode here.
const SETTLED: Duration = Duration::from_millis(50);

/// What was decoded: how long each piece of audio was, and whether for good.
type Decodes = Arc<Mutex<Vec<(Duration, Stability)>>>;

/// Counts half seconds of sound; a final reading ends with a full stop.
fn count(utterance: &Utterance, options: &DecodeOptions) -> Act {
    let loud = utterance.samples.iter().filter(|sample| sample.abs() > 0.1).count();
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
    /// Loud or silent milliseconds, in pieces of 100, each of which is heard and read before the next.
    async fn play(&mut self, loud: bool, ms: usize) -> String {
        let sample = if loud { 20_000_i16 } else { 0 };
        let mut told = Vec::new();
        for _ in 0..ms / 100 {
            self.command(Command::Append(sample.to_le_bytes().repeat(1_600))).await;
            told.extend(self.told_meanwhile().await);
        }
        told.join(" ")
    }

    /// What is told of what was heard so far, its readings included.
    async fn told_meanwhile(&mut self) -> Vec<String> {
        // Half a sample is refused, behind everything that was heard before.
        self.command(Command::Append(vec![0])).await;
        let mut told = Vec::new();
        loop {
            match self.event().await {
                SessionEvent::Refused { .. } => break,
                event => told.extend(self.shown(event)),
            }
        }
        tokio::time::sleep(SETTLED).await;
        while let Ok(event) = self.events.try_recv() {
            told.extend(self.shown(event));
        }
        told
    }

    /// Leases are other tests' business.
    fn shown(&mut self, event: SessionEvent) -> Option<String> {
        Some(match event {
            SessionEvent::Lease(_) => return None,
            SessionEvent::Delta { text, .. } => format!("+{text:?}"),
            SessionEvent::Read { transcript, rest, diverged_words: 0, .. } => {
                format!("{:?} after {:?}", transcript.hypothesis.text(), rest.unwrap_or_default())
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
async fn the_final_text_is_begun_in_the_pause_and_not_read_again() {
    let (mut stage, decodes) = counting(live(true));
    stage.play(true, 1_600).await;
    let told = stage.play(false, 700).await;
    assert!(told.contains(r#"stopped0 committed0 "one two three." after"#), "{told}");
    // Speech with its pre-roll, and the first short pause.
    assert_eq!(finals(&decodes).len(), 1);
    assert!((17..20).contains(&finals(&decodes)[0]), "{decodes:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_begun_in_a_pause_is_thrown_away_when_speech_goes_on() {
    let (mut stage, decodes) = counting(live(true));
    stage.play(true, 1_100).await;
    stage.play(false, 300).await;
    stage.play(true, 1_100).await;
    let told = stage.play(false, 700).await;
    assert!(told.contains(r#"committed0 "one two three four." after"#), "{told}");
    assert_eq!(finals(&decodes).len(), 2, "one for each pause");
}

#[tokio::test(start_paused = true)]
async fn without_speculation_the_final_text_is_begun_when_the_utterance_is_over() {
    let settings = live(true);
    let live = LiveSettings { speculate: false, ..settings.live };
    let (mut stage, decodes) = counting(SessionSettings { live, ..settings });
    stage.play(true, 1_100).await;
    let told = stage.play(false, 700).await;
    assert!(told.contains(r#"committed0 "one two." after"#), "{told}");
    assert_eq!(finals(&decodes), [16]);
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
async fn interims_that_get_no_slot_stop_and_come_again_when_they_do() {
    let (mut stage, _) = counting(live(true));
    let lease = stage.occupied().await;
    stage.play(true, 500).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(stage.told_meanwhile().await, ["paused=true"]);
    drop(lease);
    let told = stage.play(true, 3_000).await;
    assert!(told.contains("paused=false"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn an_utterance_longer_than_a_window_is_read_in_pieces_and_told_as_one() {
    let seconds = |utterance: &Utterance, _: &DecodeOptions| {
        assert!(utterance.span.duration() <= Duration::from_secs(28));
        Act::Say(format!("{}s", utterance.span.duration().as_secs()), Duration::from_millis(20))
    };
    let endpoint = EndpointSettings { longest: Duration::from_secs(120), ..settings(false).endpoint };
    let mut stage = Stage::on(FakeEngine::new(seconds), SessionSettings { endpoint, ..settings(false) });
    for _ in 0..60 {
        stage.second(true).await;
    }
    stage.command(Command::Commit).await;
    let told = stage.told_meanwhile().await.join(" ");
    assert!(told.starts_with(r#"committed0 "28s 28s 4s" after"#), "{told}");
}

/// Reads a word for each whole second of the stream that lies in what it is given.
fn seconds(utterance: &Utterance, _: &DecodeOptions) -> Act {
    let Span { start, end } = utterance.span;
    let words: Vec<String> =
        (start.div_ceil(16_000)..end / 16_000).map(|second| format!("s{second}")).collect();
    Act::Say(words.join(" "), Duration::from_millis(20))
}

#[tokio::test(start_paused = true)]
async fn a_forced_cut_at_an_early_pause_gives_no_word_to_two_items() {
    let mut stage = Stage::on(FakeEngine::new(seconds), live(true));
    let mut told = stage.play(true, 70_000).await;
    told += &stage.play(false, 300).await;
    told += &stage.play(true, 60_000).await;
    told += &stage.play(false, 1_000).await;
    let words: Vec<&str> = told
        .split("committed")
        .skip(1)
        .filter_map(|item| item.split('"').nth(1))
        .flat_map(str::split_whitespace)
        .collect();
    let twice = words.iter().filter(|word| words.iter().filter(|other| other == word).count() > 1).count();
    assert!(words.len() > 120 && twice == 0, "{twice} of {} words twice", words.len());
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_not_to_read_any_more_waits_for_no_interim() {
    let (mut stage, _) = counting(live(true));
    let _lease = stage.occupied().await;
    assert_eq!(stage.play(true, 500).await, "started0");
    stage.command(Command::Configure(Box::new(SessionSettings { decode: None, ..live(true) }))).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(stage.told_meanwhile().await, [""; 0], "it would be given up by now, and told so");
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
