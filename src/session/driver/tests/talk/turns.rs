use super::*;
use crate::llm::Delta;

#[tokio::test(start_paused = true)]
async fn a_written_turn_is_answered_when_the_client_asks() {
    let mut scene = Scene::saying("Hello there.", talking(true, talk()));
    scene.write("Hi").await;
    scene.ask().await;
    let told = scene.reply().await;
    assert_eq!(told, r#"kept began +message says"Hello there." ♪120 -whole completed"#);
    assert_eq!(scene.shown(), ["s:Be brief.", "u:Hi"]);
}

#[tokio::test(start_paused = true)]
async fn a_spoken_turn_is_answered_when_its_text_is_there() {
    let mut scene = Scene::saying("Hello there.", talking(true, talk()));
    scene.stage.second(true).await;
    scene.stage.second(false).await;
    let told = scene.reply().await;
    let expected =
        r#"started0 stopped0 committed0 read0 began +message says"Hello there." ♪120 -whole completed"#;
    assert_eq!(told, expected);
    assert_eq!(scene.shown(), ["s:Be brief.", "u:words"]);
}

#[tokio::test(start_paused = true)]
async fn where_nobody_is_to_answer_by_itself_the_client_asks() {
    let manners = Manners { create: false, interrupt: true };
    let mut scene = Scene::saying("Yes.", talking(true, TalkSettings { manners, ..talk() }));
    scene.stage.second(true).await;
    scene.stage.second(false).await;
    assert_eq!(scene.stage.told(6).await, "started0 stopped0 committed0 granted released read0");
    scene.ask().await;
    assert_eq!(scene.reply().await, r#"began +message says"Yes." ♪40 -whole completed"#);
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_is_asked_for_before_the_text_is_there_begins_at_once_and_waits_for_it() {
    let manners = Manners { create: false, interrupt: false };
    let engine = FakeEngine::new(|_, _| Act::Say("turn it on".into(), Duration::from_secs(3)));
    let settings = talking(false, TalkSettings { manners, ..talk() });
    let mut scene = Scene::on(engine, ScriptedModel::saying("Yes."), FakeStudio::default(), settings);
    scene.stage.utterance().await;
    scene.ask().await;
    let told = scene.reply().await;
    assert_eq!(told, r#"committed0 began read0 +message says"Yes." ♪40 -whole completed"#);
    assert_eq!(scene.shown(), ["s:Be brief.", "u:turn it on"]);
}

#[tokio::test(start_paused = true)]
async fn replies_are_text_where_the_session_wants_so() {
    let mut scene = Scene::saying("Hello there.", talking(true, TalkSettings { spoken: false, ..talk() }));
    scene.ask().await;
    let told = scene.reply().await;
    assert_eq!(told, r#"began +message writes"Hello " writes"there." -whole completed"#);
    assert!(scene.studio.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_next_reply_knows_what_was_said_before() {
    let model = ScriptedModel::in_turn(vec![Play::saying("One."), Play::saying("Two.")]);
    let mut scene = Scene::new(model, FakeStudio::default(), talking(true, talk()));
    for text in ["a", "b"] {
        scene.write(text).await;
        scene.ask().await;
        scene.reply().await;
    }
    assert_eq!(scene.shown(), ["s:Be brief.", "u:a", "a:One.", "u:b"]);
}

#[tokio::test(start_paused = true)]
async fn sound_is_sent_as_it_is_played_and_the_voice_is_two_phrases_ahead_at_most() {
    // Every phrase is 10 s of sound, and made at once.
    let text = "Aaaaaaaaa. Bbbbbbbbb. Ccccccccc. Ddddddddd. Eeeeeeeee.";
    let studio = FakeStudio::default().per_character(Duration::from_secs(1));
    let mut scene = Scene::new(ScriptedModel::saying(text), studio, talking(true, talk()));
    let begin = Instant::now();
    scene.ask().await;
    let mut sound = Duration::ZERO;
    while sound < Duration::from_secs(45) {
        if let SessionEvent::Reply(event) = scene.stage.event().await
            && let ReplyEvent::Audio { bytes, .. } = *event
        {
            sound += Duration::from_millis(bytes.len() as u64 / 48);
            let lead = sound.saturating_sub(begin.elapsed());
            assert!(lead <= Duration::from_millis(240), "{lead:?} ahead of what is played");
            let sent = (sound.as_secs() / 10) as usize;
            let asked = scene.studio.asked().len();
            assert!(asked <= sent + 2, "{asked} phrases were made when {sent} had been sent");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn functions_are_called_and_what_they_give_is_shown_to_the_model() {
    let model = ScriptedModel::in_turn(vec![
        Play::calling("call_1", "light", r#"{"on":true}"#),
        Play::saying("Done."),
    ]);
    let mut scene = Scene::new(model, FakeStudio::default(), talking(true, talk()));
    scene.write("Light on").await;
    scene.ask().await;
    assert_eq!(scene.reply().await, r#"kept began +call:light args{"on":true} -whole completed"#);
    let body = Body::Output { call_id: "call_1".into(), output: "ok".into() };
    let item = Item { id: "out".into(), body, status: ItemStatus::Completed };
    scene.stage.command(Command::AddItem(Place::End, Box::new(item))).await;
    scene.ask().await;
    assert_eq!(scene.reply().await, r#"kept began +message says"Done." ♪50 -whole completed"#);
    assert_eq!(scene.shown(), ["s:Be brief.", "u:Light on", "a:[light]", "t:ok"]);
}

#[tokio::test(start_paused = true)]
async fn a_reply_outside_of_the_conversation_leaves_no_trace_in_it() {
    let mut scene = Scene::saying("Aside.", talking(true, talk()));
    scene.write("Hi").await;
    let input = Item {
        id: "i".into(),
        body: Body::Message { role: Role::User, content: vec![Content::InputText("Other".into())] },
        status: ItemStatus::Completed,
    };
    let settings = scene.settings.talk.clone().unwrap();
    let metadata = vec![("topic".to_owned(), "x".to_owned())];
    let request =
        ReplyRequest { settings, input: Some(vec![Input::Item(Box::new(input))]), outside: true, metadata };
    scene.stage.command(Command::Reply(Box::new(request))).await;
    scene.reply().await;
    assert_eq!(scene.shown(), ["s:Be brief.", "u:Other"]);
    scene.ask().await;
    scene.reply().await;
    assert_eq!(scene.shown(), ["s:Be brief.", "u:Hi"]);
}

#[tokio::test(start_paused = true)]
async fn silence_that_lasts_too_long_is_answered() {
    let settings = SessionSettings { idle_timeout: Some(Duration::from_secs(5)), ..talking(true, talk()) };
    let mut scene = Scene::saying("Are you there?", settings);
    for _ in 0..6 {
        scene.stage.second(false).await;
    }
    let told = scene.reply().await;
    let expected = r#"timed_out0 committed0 read0 began +message says"Are you there?" ♪140 -whole completed"#;
    assert_eq!(told, expected);
}

#[tokio::test(start_paused = true)]
async fn silence_while_a_reply_is_heard_is_not_too_long() {
    let settings = SessionSettings { idle_timeout: Some(Duration::from_secs(5)), ..talking(true, talk()) };
    let studio = FakeStudio::default().per_character(Duration::from_secs(30));
    let mut scene = Scene::new(ScriptedModel::saying("A long story."), studio, settings);
    scene.ask().await;
    scene.until(|event| matches!(event, ReplyEvent::Audio { .. })).await;
    for _ in 0..8 {
        scene.stage.second(false).await;
    }
    scene.stage.command(Command::CancelReply(None)).await;
    let told = scene.reply().await;
    assert!(!told.contains("timed_out") && told.ends_with("cancelled"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn where_the_time_went_adds_up() {
    let play = Play::saying("Well, that is that.").after(Duration::from_millis(300)).at(10.0);
    let studio = FakeStudio::default().taking(Duration::from_millis(70), Duration::ZERO);
    let mut scene = Scene::new(ScriptedModel::new(move |_| play.clone()), studio, talking(true, talk()));
    scene.ask().await;
    loop {
        if let SessionEvent::Reply(event) = scene.stage.event().await
            && let ReplyEvent::Ended(view) = *event
        {
            let latency = view.latency;
            let ms = |took: Option<Duration>| took.map(|took| took.as_millis());
            assert_eq!((ms(latency.endpoint), ms(latency.first_token)), (None, Some(300)));
            assert_eq!(ms(latency.first_audio), Some(70));
            let stations = [latency.first_token, latency.first_phrase, latency.first_audio];
            assert_eq!(latency.total, Some(stations.into_iter().flatten().sum()));
            return;
        }
    }
}

/// A spoken turn with a pause in the middle in which the model may be asked.
fn speculative() -> SessionSettings {
    let terms = TalkTerms { speculate: true, ..TalkTerms::default() };
    let live = LiveSettings { interims: None, speculate: true };
    SessionSettings { live, ..talking(true, TalkSettings { terms, ..talk() }) }
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_was_begun_in_the_pause_is_told_when_the_pause_was_the_end() {
    let mut scene = Scene::saying("Hello.", speculative());
    scene.stage.second(true).await;
    scene.stage.second(false).await;
    let told = scene.reply().await;
    assert_eq!(
        told,
        r#"started0 stopped0 committed0 read0 began +message says"Hello." ♪60 -whole completed"#
    );
    assert_eq!(scene.model.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_said_before_a_call_comes_before_it_and_the_call_does_not_wait_until_it_is_said() {
    let said = Play::saying("Let me check that.").deltas.into_iter();
    let call = Play::calling("call_1", "light", "{}").deltas;
    let deltas = said.filter(|delta| matches!(delta, Ok(Delta::Text(_)))).chain(call).collect();
    let first = Play { deltas, ..Play::silent() };
    let model = ScriptedModel::in_turn(vec![first, Play::saying("It is on.")]);
    let studio = FakeStudio::default().per_character(Duration::from_millis(200));
    let mut scene = Scene::new(model, studio, talking(true, talk()));
    scene.write("Is the light on?").await;
    scene.ask().await;
    let told = scene.reply().await;
    let expected =
        r#"kept began +message +call:light args{} -whole says"Let me check that." ♪3600 -whole completed"#;
    assert_eq!(told, expected);
    let body = Body::Output { call_id: "call_1".into(), output: "yes".into() };
    let item = Item { id: "out".into(), body, status: ItemStatus::Completed };
    scene.stage.command(Command::AddItem(Place::End, Box::new(item))).await;
    scene.ask().await;
    scene.reply().await;
    let shown = ["s:Be brief.", "u:Is the light on?", "a:Let me check that.[light]", "t:yes"];
    assert_eq!(scene.shown(), shown);
}

#[tokio::test(start_paused = true)]
async fn a_reply_may_be_to_items_of_the_conversation() {
    let mut scene = Scene::saying("A greeting.", talking(true, talk()));
    let body = Body::Message { role: Role::User, content: vec![Content::InputText("Hi".into())] };
    let item = Item { id: "mine".into(), body, status: ItemStatus::Completed };
    scene.write("Other").await;
    scene.stage.command(Command::AddItem(Place::End, Box::new(item))).await;
    let ask = |id: &str| {
        let settings = scene.settings.talk.clone().unwrap();
        let input = Some(vec![Input::Reference(id.into())]);
        Command::Reply(Box::new(ReplyRequest { settings, input, outside: true, metadata: Vec::new() }))
    };
    let (known, unknown) = (ask("mine"), ask("nobody's"));
    scene.stage.command(unknown).await;
    scene.stage.command(known).await;
    assert!(scene.reply().await.starts_with("kept kept refused:item_not_found began"));
    assert_eq!(scene.shown(), ["s:Be brief.", "u:Hi"]);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_only_transcribes_from_now_on_ends_its_reply() {
    let mut scene =
        Scene::new(ScriptedModel::new(|_| Play::silent()), FakeStudio::default(), talking(true, talk()));
    scene.ask().await;
    scene.until(|event| matches!(event, ReplyEvent::Began(_))).await;
    scene.stage.command(Command::Configure(Box::new(settings(true)))).await;
    assert_eq!(scene.reply().await, "cancelled");
    scene.quiet().await;
}

/// A guess that is under way, in a session that is set like this.
async fn guessing() -> Scene {
    let mut scene = Scene::new(ScriptedModel::new(|_| Play::silent()), FakeStudio::default(), speculative());
    scene.stage.second(true).await;
    // Longer than the pause in which the model is asked, and shorter than the end of the turn.
    for command in Command::appends(&0_i16.to_le_bytes().repeat(16 * 250)) {
        scene.stage.command(command).await;
    }
    assert_eq!(scene.stage.told(1).await, "started0");
    until(|| scene.model.open() == 1).await;
    scene
}

#[tokio::test(start_paused = true)]
async fn a_guess_that_no_turn_follows_is_given_up() {
    guessing().await.quiet().await;
    let cleared = guessing().await;
    cleared.stage.command(Command::Clear).await;
    cleared.quiet().await;
    let resumed = guessing().await;
    resumed.stage.second(true).await;
    resumed.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn a_guess_is_not_told_in_a_session_that_is_set_otherwise_by_then() {
    let mut scene = guessing().await;
    let text = TalkSettings { spoken: false, ..*scene.settings.talk.clone().unwrap() };
    let settings = SessionSettings { talk: Some(Box::new(text)), ..scene.settings.clone() };
    scene.stage.command(Command::Configure(Box::new(settings))).await;
    scene.stage.second(false).await;
    let told = scene.until(|event| matches!(event, ReplyEvent::Began(_))).await;
    assert_eq!(told, "stopped0 committed0 read0 began");
    until(|| scene.model.cancelled() == 1 && scene.model.requests().len() == 2).await;
}
