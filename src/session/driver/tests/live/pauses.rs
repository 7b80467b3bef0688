//! The final text, begun in a pause that may turn out not to be the end.

use super::*;

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
async fn a_soft_word_after_the_pause_is_in_the_final_text() {
    for speculate in [true, false] {
        let settings = live(true);
        let live = LiveSettings { speculate, ..settings.live };
        let (mut stage, decodes) = counting(SessionSettings { live, ..settings });
        stage.play(true, 1_100).await;
        stage.play(false, 200).await;
        stage.sound(SOFT, 600).await;
        let told = stage.play(false, 700).await;
        assert!(told.contains(r#"committed0 "one two three." after"#), "{speculate}: {told}");
        // Begun anew once it is quiet again, so that nobody waits for it longer than for any other.
        assert_eq!(finals(&decodes).len(), 1 + usize::from(speculate));
    }
}

#[tokio::test(start_paused = true)]
async fn what_follows_a_sentence_is_read_from_the_middle_of_the_pause() {
    let starts = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&starts);
    let engine = FakeEngine::new(move |utterance, options| {
        noted.lock().unwrap().push(utterance.span.start_seconds());
        count(utterance, options)
    });
    let mut stage = Stage::on(engine, live(true));
    stage.play(true, 6_000).await;
    stage.play(false, 200).await;
    stage.play(true, 1_000).await;
    let last = *starts.lock().unwrap().last().unwrap();
    assert!((6.05..6.15).contains(&last), "{last}");
}
