//! Speech that is longer than a window, or than an utterance may get.

use super::*;

#[tokio::test(start_paused = true)]
async fn an_utterance_longer_than_a_window_is_read_in_pieces_and_told_as_one() {
    let seconds = |utterance: &Utterance, _: &DecodeOptions| {
        assert!(utterance.span.duration() <= Duration::from_secs(28));
        Act::Say(format!("{}s", utterance.span.duration().as_secs()), Duration::from_millis(10))
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

/// Reads a word for each second of the stream whose middle lies in what it is given. So every word is read once, however
/// the stream is cut, if every sample is.
fn seconds(utterance: &Utterance, _: &DecodeOptions) -> Act {
    let middles = |position: u64| (position + 8_000) / 16_000;
    let words = middles(utterance.span.start)..middles(utterance.span.end);
    let words: Vec<String> = words.map(|second| format!("s{second}")).collect();
    Act::Say(words.join(" "), Duration::from_millis(20))
}

/// What was told of each item in deltas, and its text.
fn items(events: &[SessionEvent]) -> Vec<(String, String)> {
    let mut items: Vec<(ItemId, String, String)> = Vec::new();
    for event in events {
        let (item, delta, text) = match event {
            SessionEvent::Delta { item, text } => (item, text.as_str(), String::new()),
            SessionEvent::Read { item, transcript, rest, .. } => {
                (item, rest.as_deref().unwrap_or_default(), transcript.hypothesis.text())
            }
            _ => continue,
        };
        if items.last().is_none_or(|(last, ..)| last != item) {
            items.push((*item, String::new(), String::new()));
        }
        let (_, told, read) = items.last_mut().expect("it was just added");
        told.push_str(delta);
        read.push_str(&text);
    }
    items.into_iter().map(|(_, told, text)| (told, text)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_forced_cut_gives_every_word_to_one_item_and_tells_it_once() {
    // Speech, a pause, and again, in tenths of a second.
    let cases: [&[usize]; 8] = [
        &[700, 3, 600, 10],
        &[1_160, 4, 80, 10],
        &[1_140, 4, 53, 4, 40, 10],
        &[1_160, 4, 32, 3, 40, 10],
        &[1_150, 4, 41, 3, 40, 10],
        &[1_100, 4, 93, 4, 40, 10],
        &[1_120, 4, 72, 4, 40, 10],
        &[1_180, 4, 10, 3, 40, 10],
    ];
    for case in cases {
        let mut stage = Stage::on(FakeEngine::new(seconds), live(true));
        let mut events = Vec::new();
        for (index, tenths) in case.iter().enumerate() {
            let level = if index % 2 == 0 { LOUD } else { 0 };
            events.extend(stage.hear(level, tenths * 100).await);
        }
        let items = items(&events);
        assert_eq!(items.len(), 2, "{case:?}");
        for (told, text) in &items {
            assert_eq!(told, text, "{case:?}");
        }
        let words = items.iter().flat_map(|(_, text)| text.split_whitespace());
        let all: Vec<String> = (0..words.clone().count()).map(|second| format!("s{second}")).collect();
        assert_eq!(words.collect::<Vec<_>>(), all, "{case:?}");
        assert!(all.len() * 10 + 15 > case.iter().sum::<usize>(), "{case:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn speech_behind_silence_longer_than_a_window_is_read() {
    let off = SessionSettings { live: LiveSettings::OFF, ..live(false) };
    for settings in [off, live(false)] {
        for (speech_ms, text) in [(500, "one."), (3_000, "one two three four five six.")] {
            let (mut stage, decodes) = counting(settings.clone());
            stage.play(false, 31_000).await;
            stage.play(true, speech_ms).await;
            stage.play(false, 300).await;
            stage.command(Command::Commit).await;
            let told = stage.told_meanwhile().await.join(" ");
            assert!(told.starts_with(&format!("committed0 {text:?} after")), "{told}");
            let longest = decodes.lock().unwrap().iter().map(|(audio, _)| *audio).max();
            assert!(longest < Some(Duration::from_secs(5)), "the silence is left out: {longest:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn speech_long_after_the_client_left_the_cuts_to_the_detector_is_read() {
    let settings = SessionSettings { live: LiveSettings::OFF, ..live(false) };
    let automatic = SessionSettings { endpoint: live(true).endpoint, ..settings.clone() };
    let (mut stage, _) = counting(settings);
    stage.play(false, 1_000).await;
    stage.configure(automatic).await;
    stage.play(false, 40_000).await;
    stage.play(true, 3_000).await;
    let told = stage.play(false, 1_000).await;
    assert!(
        told.ends_with(r#"committed0 "one two three four five six." after "one two three four five six.""#),
        "{told}"
    );
}

#[tokio::test(start_paused = true)]
async fn speech_between_long_silences_is_told_however_little_of_the_whole_it_is() {
    // Three words in a second of sound, which is fast, but not too fast to be believed.
    let engine = FakeEngine::new(|utterance, _| {
        let loud = utterance.samples.iter().filter(|sample| sample.abs() > 0.1).count();
        let words: Vec<String> = (0..loud / 5_333).map(|word| format!("w{word}")).collect();
        Act::Say(words.join(" "), Duration::from_millis(10))
    });
    let mut stage = Stage::on(engine, SessionSettings { live: LiveSettings::OFF, ..live(false) });
    for (loud, ms) in [(true, 1_000), (false, 113_000), (true, 3_000), (false, 1_000)] {
        stage.play(loud, ms).await;
    }
    stage.command(Command::Commit).await;
    let told = stage.told_meanwhile().await.join(" ");
    assert!(told.starts_with(r#"committed0 "w0 w1 w2 w0 w1 w2 w3 w4 w5 w6 w7 w8" after"#), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_full_window_whose_text_is_withheld_is_read_once() {
    let decodes = Decodes::default();
    let noted = Arc::clone(&decodes);
    let engine = FakeEngine::new(move |utterance, options| {
        noted.lock().unwrap().push((utterance.span.duration(), options.stability));
        let is_early = utterance.span.start < 16_000;
        if is_early {
            Act::Say("no ".repeat(300), Duration::from_millis(10))
        } else {
            count(utterance, options)
        }
    });
    let mut stage = Stage::on(engine, live(true));
    let told = stage.play(true, 40_000).await;
    let full = decodes.lock().unwrap().iter().filter(|(audio, _)| *audio >= Duration::from_secs(28)).count();
    assert_eq!(full, 1);
    assert!(told.contains(r#"+"one""#), "what lies behind it is told: {told}");
    stage.hear(0, 500).await;
    let events = stage.hear(0, 500).await;
    let withheld = events.iter().find_map(|event| match event {
        SessionEvent::Read { transcript, .. } => transcript.withheld.as_ref(),
        _ => None,
    });
    assert!(withheld.is_some_and(|withheld| withheld.text.starts_with("no no")), "{events:?}");
}
