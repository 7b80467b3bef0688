//! Interims that get no slot, or none for long.

use super::*;

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
async fn interims_come_again_also_where_every_turn_is_short() {
    let settings = live(true);
    let live = LiveSettings { speculate: false, ..settings.live };
    let (mut stage, _) = counting(SessionSettings { live, ..settings });
    let lease = stage.occupied().await;
    stage.play(true, 500).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(stage.told_meanwhile().await, ["paused=true"]);
    drop(lease);
    stage.play(false, 800).await;
    let mut told = String::new();
    for _ in 0..3 {
        told += &stage.play(true, 1_800).await;
        told += &stage.play(false, 800).await;
    }
    assert!(told.contains("paused=false") && told.contains('+'), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_decoder_that_takes_long_for_an_interim_gets_the_time() {
    let slow = |utterance: &Utterance, options: &DecodeOptions| match count(utterance, options) {
        Act::Say(text, _) => Act::Say(text, Duration::from_secs(4)),
        act => act,
    };
    let mut stage = Stage::on(FakeEngine::new(slow), live(true));
    let mut told = Vec::new();
    for _ in 0..3 {
        stage.command(Command::Append(LOUD.to_le_bytes().repeat(9 * 16_000))).await;
        // The clock stands still meanwhile.
        while stage.leased() == 0 {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_secs(6)).await;
        while let Ok(event) = stage.events.try_recv() {
            told.extend(stage.shown(event));
        }
    }
    assert_eq!(told[..3], ["started0", "paused=true", "paused=false"], "at first nobody knows");
    assert!(told.len() == 4 && told[3].starts_with(r#"+"one two"#), "{told:?}");
}
