use super::*;
use crate::llm::Delta;

/// A minute of talk.
const LONG: &str =
    "This is a sentence that takes a while. And this is another one of them. And so it goes on and on.";

fn slow() -> FakeStudio {
    FakeStudio::default().per_character(Duration::from_millis(600))
}

/// A voice that goes on for as long as threads of the frontend may take: while they work, the clock moves on.
fn endless() -> FakeStudio {
    FakeStudio::default().per_character(Duration::from_secs(30))
}

fn is_audio(event: &ReplyEvent) -> bool {
    matches!(event, ReplyEvent::Audio { .. })
}

impl Scene {
    /// The name of the message that the reply is broken off in.
    async fn message(&mut self) -> String {
        loop {
            if let SessionEvent::Reply(event) = self.stage.event().await
                && let ReplyEvent::Truncated { item, .. } = *event
            {
                return item;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn speech_ends_a_reply_and_everything_that_works_for_it() {
    // It writes all that and never ends.
    let deltas = Play::saying(LONG).deltas.into_iter().filter(|delta| matches!(delta, Ok(Delta::Text(_))));
    let play = Play { deltas: deltas.collect(), ..Play::silent() };
    let mut scene = Scene::new(ScriptedModel::new(move |_| play.clone()), endless(), talking(true, talk()));
    scene.write("Tell me").await;
    scene.ask().await;
    scene.until(is_audio).await;
    assert_eq!((scene.model.open(), scene.studio.open()), (1, 1));
    scene.stage.second(true).await;
    let told = scene.reply().await;
    let (before, after) = told.split_once("started0").expect("it is told that speech began");
    assert!(before.contains('♪') || before.is_empty(), "{told}");
    assert!(!after.contains('♪'), "sound after speech began: {told}");
    assert!(after.trim_start().starts_with("-broken cut@"), "{told}");
    assert!(after.ends_with("interrupted"), "{told}");
    scene.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_may_not_be_interrupted_goes_on() {
    let manners = Manners { create: true, interrupt: false };
    let settings = talking(true, TalkSettings { manners, ..talk() });
    let mut scene = Scene::new(ScriptedModel::saying("Hm."), endless(), settings);
    scene.ask().await;
    scene.until(is_audio).await;
    scene.stage.second(true).await;
    let told = scene.reply().await;
    assert!(told.contains("started0 ♪") && told.ends_with(" -whole completed"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_client_cancels_and_the_history_has_what_was_heard() {
    let model = ScriptedModel::in_turn(vec![Play::saying(LONG), Play::saying("Yes.")]);
    let mut scene = Scene::new(model, slow(), talking(true, talk()));
    scene.write("Tell me").await;
    scene.ask().await;
    scene.until(is_audio).await;
    tokio::time::sleep(Duration::from_secs(12)).await;
    scene.stage.command(Command::CancelReply(None)).await;
    let told = scene.reply().await;
    assert!(told.ends_with("cancelled"), "{told}");
    scene.ask().await;
    scene.reply().await;
    let shown = scene.shown();
    let heard = shown.last().unwrap().strip_prefix("a:").unwrap();
    assert!(LONG.starts_with(heard) && (5..40).contains(&heard.len()), "{shown:?}");
    scene.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn what_the_client_says_was_heard_wins_over_the_clock() {
    let model = ScriptedModel::in_turn(vec![Play::saying(LONG), Play::saying("Yes.")]);
    let mut scene = Scene::new(
        model,
        FakeStudio::default().per_character(Duration::from_millis(100)),
        talking(true, talk()),
    );
    scene.ask().await;
    scene.until(is_audio).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    scene.stage.command(Command::CancelReply(None)).await;
    let item = scene.message().await;
    scene.stage.command(Command::Truncate { item, heard: Duration::from_millis(1_300) }).await;
    let told = scene.until(|event| matches!(event, ReplyEvent::Truncated { .. })).await;
    assert!(told.ends_with("cut@1300"), "{told}");
    scene.ask().await;
    scene.reply().await;
    assert_eq!(scene.shown(), ["s:Be brief.", "a:This is a"], "thirteen letters were heard");
}

#[tokio::test(start_paused = true)]
async fn clients_are_told_what_cannot_be_done() {
    let mut scene = Scene::saying(LONG, talking(true, talk()));
    scene.stage.command(Command::CancelReply(None)).await;
    scene.stage.command(Command::ClearOutput).await;
    let item = "item_x".to_owned();
    scene.stage.command(Command::Truncate { item: item.clone(), heard: Duration::ZERO }).await;
    scene.stage.command(Command::Played { item, heard: Duration::ZERO }).await;
    scene.ask().await;
    scene.ask().await;
    let told = scene.until(is_audio).await;
    let codes = "refused:response_cancel_not_active refused:output_audio_not_playing refused:item_not_found \
                 refused:output_audio_not_playing began refused:conversation_already_has_active_response";
    assert!(told.starts_with(codes), "{told}");
    scene.stage.command(Command::CancelReply(Some("resp_other".into()))).await;
    scene.stage.command(Command::ClearOutput).await;
    let told = scene.until(|event| matches!(event, ReplyEvent::OutputCleared { .. })).await;
    assert!(told.contains("refused:response_cancel_not_active"), "{told}");
    assert!(told.ends_with("cancelled hushed"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_only_transcribes_replies_to_nobody() {
    let stage = Stage::new(Duration::from_millis(1), settings(true));
    let request =
        ReplyRequest { settings: Box::new(talk()), input: None, outside: false, metadata: Vec::new() };
    stage.command(Command::Reply(Box::new(request))).await;
    assert!(stage.rest().await.contains("Speechless"));
}

/// However often and whenever somebody breaks in: what is told after `speech_started` is of the next reply, not of the last.
#[tokio::test(start_paused = true)]
async fn after_a_thousand_interruptions_not_one_stale_piece_of_sound_was_told() {
    let mut scene = Scene::new(
        ScriptedModel::saying(LONG),
        FakeStudio::default().per_character(Duration::from_millis(40)),
        talking(true, talk()),
    );
    let mut random = 7_u64;
    let mut sound_of_stale = 0;
    for _ in 0..1_000 {
        scene.ask().await;
        // A step of a multiplicative generator decides when.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let wait = Duration::from_micros((random >> 33) % 1_000_000);
        let cancel_at = Instant::now() + wait;
        let mut sent_cancel = false;
        let mut told_end = false;
        while !told_end {
            let event = tokio::select! {
                biased;
                () = tokio::time::sleep_until(cancel_at), if !sent_cancel => {
                    sent_cancel = true;
                    scene.stage.command(Command::CancelReply(None)).await;
                    continue;
                }
                event = scene.stage.event() => event,
            };
            if let SessionEvent::Reply(event) = event {
                told_end = matches!(*event, ReplyEvent::Ended(_));
            }
        }
        // Whatever stands in the channel now was told after the end.
        while let Ok(event) = scene.stage.events.try_recv() {
            sound_of_stale += usize::from(matches!(&event, SessionEvent::Reply(event) if is_audio(event)));
        }
    }
    assert_eq!(sound_of_stale, 0);
    scene.quiet().await;
    assert_eq!(scene.model.requests().len(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_cuts_what_is_being_said_hears_no_more_of_it() {
    let model = ScriptedModel::in_turn(vec![Play::saying(LONG), Play::saying("Yes.")]);
    let studio = FakeStudio::default().per_character(Duration::from_millis(100));
    let mut scene = Scene::new(model, studio, talking(true, talk()));
    scene.ask().await;
    let item = loop {
        if let SessionEvent::Reply(event) = scene.stage.event().await
            && let ReplyEvent::Audio { part, .. } = *event
        {
            break part.item;
        }
    };
    tokio::time::sleep(Duration::from_secs(2)).await;
    scene.stage.command(Command::Truncate { item, heard: Duration::from_millis(1_300) }).await;
    let told = scene.reply().await;
    assert!(told.ends_with("-broken cut@1300 cancelled"), "{told}");
    scene.ask().await;
    scene.reply().await;
    assert_eq!(scene.shown(), ["s:Be brief.", "a:This is a"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_client_says_was_heard_of_the_last_reply_is_not_overruled_by_the_clock() {
    let model = ScriptedModel::in_turn(vec![Play::saying("This is all there is."), Play::saying("Yes.")]);
    let studio = FakeStudio::default().per_character(Duration::from_millis(100));
    let mut scene = Scene::new(model, studio, talking(true, talk()));
    scene.ask().await;
    let mut item = String::new();
    loop {
        if let SessionEvent::Reply(event) = scene.stage.event().await {
            match *event {
                ReplyEvent::Audio { part, .. } => item = part.item,
                ReplyEvent::Ended(_) => break,
                _ => {}
            }
        }
    }
    scene.stage.command(Command::Truncate { item, heard: Duration::from_millis(900) }).await;
    scene.stage.second(true).await;
    scene.ask().await;
    let told = scene.until(|event| matches!(event, ReplyEvent::Began(_))).await;
    assert_eq!(told.matches("cut@").count(), 1, "{told}");
    until(|| scene.model.requests().len() == 2).await;
    assert_eq!(scene.shown(), ["s:Be brief.", "a:This is"]);
}
