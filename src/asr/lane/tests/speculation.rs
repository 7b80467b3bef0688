//! Decodes that were begun before it was sure that anybody needs them.

use super::*;

/// Begins to read speculatively; cancelling the token says that it is needed.
fn guessing(lane: &Lane) -> (JoinHandle<Result<String, AsrError>>, CancellationToken) {
    let (lane, wanted) = (lane.clone(), CancellationToken::new());
    let token = wanted.clone();
    let guess = tokio::spawn(async move {
        let options = DecodeOptions::default();
        let read = lane.transcribe_speculatively(second_of_audio(), options, token).await;
        read.map(|transcript| transcript.hypothesis.text())
    });
    (guess, wanted)
}

#[tokio::test(start_paused = true)]
async fn a_guess_waits_behind_all_finals_until_it_is_wanted() {
    let bench = bench(1, saying(SECOND * 2));
    let held = bench.other().await;
    let (lane, mut events) = bench.session();
    let (guess, wanted) = guessing(&lane);
    settle().await;
    let first = reading(&bench.lanes.open(FlowInfo::session("first")));
    settle().await;
    assert_eq!(told(&mut events), "", "nobody needs it yet");
    wanted.cancel();
    settle().await;
    let second = reading(&bench.lanes.open(FlowInfo::session("second")));
    settle().await;
    drop(held);
    assert_eq!(guess.await.unwrap().expect("it reads everything"), "yes");
    assert!(!second.is_finished(), "it came later");
    let told = told(&mut events);
    assert!(told.ends_with("r2") && told.contains("g0/"), "from then on it is a final: {told}");
    first.await.unwrap().expect("it reads everything");
}

#[tokio::test(start_paused = true)]
async fn a_guess_that_is_under_way_when_it_is_wanted_goes_on() {
    let bench = bench(1, saying(SECOND * 2));
    let (lane, mut events) = bench.session();
    let since = Instant::now();
    let (guess, wanted) = guessing(&lane);
    sleep(SECOND).await;
    wanted.cancel();
    assert_eq!(guess.await.unwrap().expect("it reads everything"), "yes");
    assert_eq!((since.elapsed(), told(&mut events).as_str()), (SECOND * 2, ""));
}

#[tokio::test(start_paused = true)]
async fn a_guess_that_nobody_waits_for_any_more_gives_its_slot_back() {
    let bench = bench(1, saying(A_DAY));
    let (lane, _events) = bench.session();
    let (guess, _wanted) = guessing(&lane);
    settle().await;
    assert_eq!(bench.pool(), (0, 1, 0));
    guess.abort();
    settle().await;
    assert_eq!(bench.pool(), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_lane_is_crowded_while_finals_wait_and_not_for_anything_else() {
    let bench = bench(1, saying(SECOND * 2));
    let _held = bench.other().await;
    let (lane, _events) = bench.session();
    let (_guess, wanted) = guessing(&lane);
    settle().await;
    assert!(!lane.is_crowded());
    wanted.cancel();
    settle().await;
    assert!(lane.is_crowded());
}
