use super::*;

fn unreachable() -> LlmError {
    LlmError::Unreachable { endpoint: "http://x".into(), reason: "refused".into() }
}

fn failed() -> TtsError {
    TtsError::Failed("no breath".into())
}

#[tokio::test(start_paused = true)]
async fn without_a_model_the_reply_fails_and_the_session_lives_on() {
    let plays = vec![Play::failing(unreachable()), Play::saying("Back again.")];
    let mut scene = Scene::new(ScriptedModel::in_turn(plays), FakeStudio::default(), talking(true, talk()));
    scene.stage.second(true).await;
    scene.stage.second(false).await;
    let told = scene.reply().await;
    assert_eq!(told, "started0 stopped0 committed0 read0 began failed:llm_unreachable");
    scene.ask().await;
    assert!(scene.reply().await.ends_with("completed"));
    scene.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn what_the_model_wrote_before_it_failed_is_said() {
    let play = Play::saying("Now listen to this. It breaks").breaking_at(5, unreachable());
    let mut scene =
        Scene::new(ScriptedModel::new(move |_| play.clone()), FakeStudio::default(), talking(true, talk()));
    scene.ask().await;
    let told = scene.reply().await;
    assert!(told.starts_with(r#"began +message says"Now listen to this."#), "{told}");
    assert!(told.ends_with("-broken failed:llm_unreachable"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_phrase_without_sound_is_told_as_text_and_the_reply_goes_on() {
    let text = "First comes this here. Then comes the bad one. And then the end.";
    let studio =
        FakeStudio::new(
            |phrase| {
                if phrase.spoken.contains("bad") { Saying::Fail(failed()) } else { Saying::Say }
            },
        );
    let mut scene = Scene::new(ScriptedModel::saying(text), studio, talking(true, talk()));
    scene.ask().await;
    let told = scene.reply().await;
    assert_eq!(told.matches("unsaid:tts_failed").count(), 1, "{told}");
    assert!(told.contains("bad one") && told.ends_with("-whole completed"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_reply_without_any_sound_has_failed_and_its_text_was_told() {
    let studio = FakeStudio::new(|_| Saying::Fail(failed()));
    let mut scene = Scene::new(ScriptedModel::saying("Nobody hears this."), studio, talking(true, talk()));
    scene.ask().await;
    let told = scene.reply().await;
    assert!(told.contains("Nobody hears this.") && told.ends_with("failed:tts_failed"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_closed_while_a_reply_is_spoken_leaves_no_request_open() {
    let play = Play::saying("One two three four five six seven eight nine ten.").at(1.0);
    let mut scene =
        Scene::new(ScriptedModel::new(move |_| play.clone()), FakeStudio::default(), talking(true, talk()));
    let (model, studio) = (scene.model.clone(), scene.studio.clone());
    scene.ask().await;
    scene.until(|event| matches!(event, ReplyEvent::Audio { .. })).await;
    let told = scene.rest().await;
    assert!(told.ends_with("cancelled"), "{told}");
    until(|| model.open() + studio.open() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_is_dropped_in_the_middle_of_a_reply_leaves_no_request_open() {
    let mut scene =
        Scene::new(ScriptedModel::new(|_| Play::silent()), FakeStudio::default(), talking(true, talk()));
    scene.ask().await;
    scene.until(|event| matches!(event, ReplyEvent::Began(_))).await;
    until(|| scene.model.open() == 1).await;
    scene.stage.driving.abort();
    scene.quiet().await;
    assert_eq!(scene.model.cancelled(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_holds_up_its_own_reply_and_loses_nothing() {
    let text = "A reply that is longer than what may wait for the connection is held up until it is read.";
    let mut scene = Scene::saying(text, talking(true, talk()));
    scene.ask().await;
    tokio::time::sleep(Duration::from_mins(5)).await;
    let told = scene.reply().await;
    assert!(told.ends_with("completed"), "{told}");
    let whole: String = told.split("says\"").skip(1).map(|part| part.split('"').next().unwrap()).collect();
    assert_eq!(whole, text);
}

#[tokio::test(start_paused = true)]
async fn a_model_that_writes_for_ever_is_cut_off() {
    let model = ScriptedModel::new(|_| Play::saying(&"word ".repeat(20_000)));
    let mut scene =
        Scene::new(model, FakeStudio::default(), talking(true, TalkSettings { spoken: false, ..talk() }));
    scene.ask().await;
    let told = scene.reply().await;
    assert!(told.ends_with("-broken incomplete"), "{}", &told[told.len() - 100..]);
    scene.quiet().await;
}
