use super::*;

const LONG: &str =
    "This is a sentence that takes a very long while to be said from its beginning to its end.";

/// A session in which a long reply is heard, and in which echoes are what is shorter than this or quieter.
async fn listening(speech: Duration, text: &'static str) -> Scene {
    let terms = TalkTerms { echo: EchoSettings { speech, level: -30.0 }, ..TalkTerms::default() };
    let engine = FakeEngine::new(move |_, _| Act::Say(text.into(), Duration::from_millis(1)));
    let studio = FakeStudio::default().per_character(Duration::from_secs(30));
    let settings = talking(true, TalkSettings { terms, ..talk() });
    let mut scene = Scene::on(engine, ScriptedModel::saying(LONG), studio, settings);
    scene.ask().await;
    scene.until(|event| matches!(event, ReplyEvent::Audio { .. })).await;
    scene
}

impl Scene {
    /// So many milliseconds of something, and a silent second.
    async fn sound(&self, ms: usize, sample: i16) {
        for command in Command::appends(&sample.to_le_bytes().repeat(ms * 16)) {
            self.stage.command(command).await;
        }
        self.stage.second(false).await;
    }

    /// What is told until the reply is over, which a client ends now.
    async fn told(mut self) -> String {
        self.stage.command(Command::CancelReply(None)).await;
        self.reply().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_sound_without_words_while_a_reply_is_heard_was_never_said() {
    let scene = listening(Duration::from_secs(2), "").await;
    scene.sound(500, 20_000).await;
    let told = scene.told().await;
    assert!(!told.contains("started") && told.ends_with("cancelled"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn what_the_reply_says_itself_is_its_echo() {
    let scene = listening(Duration::from_secs(2), "a sentence that takes").await;
    scene.sound(500, 20_000).await;
    let told = scene.told().await;
    assert!(!told.contains("started") && told.ends_with("cancelled"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn words_interrupt_however_short_they_are() {
    let mut scene = listening(Duration::from_secs(2), "stop").await;
    scene.sound(500, 20_000).await;
    let told = scene.reply().await;
    assert!(told.contains("started0") && told.ends_with("interrupted"), "{told}");
    let told = scene.stage.told(3).await;
    assert_eq!(told, "stopped0 committed0 read0");
}

#[tokio::test(start_paused = true)]
async fn speech_that_is_long_and_loud_interrupts_before_it_has_words() {
    let mut scene = listening(Duration::from_millis(300), "").await;
    for command in Command::appends(&20_000_i16.to_le_bytes().repeat(16_000)) {
        scene.stage.command(command).await;
    }
    let told = scene.reply().await;
    assert!(told.contains("started0") && told.ends_with("interrupted"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn long_and_quiet_is_an_echo() {
    // 0.1 of full scale is just loud enough for the detector, and at −20 dB for −30; the guard wants −15 here.
    let terms = TalkTerms {
        echo: EchoSettings { speech: Duration::from_millis(300), level: -15.0 },
        ..TalkTerms::default()
    };
    let engine = FakeEngine::new(|_, _| Act::Say(String::new(), Duration::from_millis(1)));
    let studio = FakeStudio::default().per_character(Duration::from_secs(30));
    let settings = talking(true, TalkSettings { terms, ..talk() });
    let mut scene = Scene::on(engine, ScriptedModel::saying(LONG), studio, settings);
    scene.ask().await;
    scene.until(|event| matches!(event, ReplyEvent::Audio { .. })).await;
    scene.sound(900, 3_500).await;
    let told = scene.told().await;
    assert!(!told.contains("started") && told.ends_with("cancelled"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn when_nothing_is_heard_nothing_is_held_back() {
    let terms = TalkTerms {
        echo: EchoSettings { speech: Duration::from_secs(9), level: 0.0 },
        ..TalkTerms::default()
    };
    let mut scene = Scene::saying("Hm.", talking(true, TalkSettings { terms, ..talk() }));
    scene.stage.second(true).await;
    assert_eq!(scene.stage.told(1).await, "started0");
}

#[tokio::test(start_paused = true)]
async fn what_is_cleared_before_anybody_was_told_of_it_was_never_said() {
    let mut scene = listening(Duration::from_secs(9), "").await;
    for command in Command::appends(&20_000_i16.to_le_bytes().repeat(8_000)) {
        scene.stage.command(command).await;
    }
    scene.stage.command(Command::Clear).await;
    scene.stage.command(Command::CancelReply(None)).await;
    let told = scene.reply().await;
    assert!(told.contains("cleared") && !told.contains("started"), "{told}");
    scene.stage.second(false).await;
    scene.ask().await;
    let told = scene.until(|event| matches!(event, ReplyEvent::Began(_))).await;
    assert!(!told.contains("started"), "{told}");
}
