//! Decodes that do not end, slots that fail.

use super::*;

async fn never_ending(act: Act) -> (&'static str, u64, Bench) {
    let bench = bench(1, FakeEngine::new(move |_, _| act.clone()));
    let since = Instant::now();
    let error = read(&bench.lanes.open(FlowInfo::session("test"))).await.expect_err("it never ends");
    (error, since.elapsed().as_secs(), bench)
}

#[tokio::test(start_paused = true)]
async fn a_decode_that_does_not_end_is_stopped_at_its_deadline() {
    let (error, seconds, bench) = never_ending(Act::Never).await;
    // The second had longer: the first taught that decodes here may take 30 seconds.
    assert_eq!((error, seconds), ("decode_overrun", 30 + 600));
    assert_eq!(bench.pool(), (1, 0, 0), "the slot obeyed and is as good as before");
}

#[tokio::test(start_paused = true)]
async fn a_decoder_that_does_not_stop_costs_its_slot_and_the_slot_is_rebuilt() {
    let gate = CancellationToken::new();
    let (error, seconds, bench) = never_ending(Act::Stuck(gate.clone())).await;
    assert_eq!((error, seconds), ("slot_lost", 35 + 1 + 35));
    sleep(SECOND * 2).await;
    assert_eq!(bench.pool(), (1, 0, 0));
    let _current = bench.other().await;
    gate.cancel();
    settle().await;
    assert_eq!(bench.pool(), (0, 1, 0), "its late return gives nothing back");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_vanished_leaves_its_decode_to_the_watch() {
    let bench = bench(1, FakeEngine::new(|_, _| Act::Stuck(CancellationToken::new())));
    let lane = bench.lanes.open(FlowInfo::session("test"));
    let caller = reading(&lane);
    settle().await;
    caller.abort();
    drop(lane);
    sleep(SECOND * 4).await;
    assert_eq!(bench.pool(), (0, 1, 0), "it has some grace");
    sleep(SECOND * 3).await;
    assert_eq!(bench.pool(), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn no_task_outlives_its_decode() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let bench = bench(1, saying(SECOND));
    settle().await;
    let before = tasks();
    let lane = bench.lanes.open(FlowInfo::session("test"));
    read(&lane).await.expect("it reads everything");
    let vanishing = reading(&lane);
    settle().await;
    assert!(tasks() > before, "the caller, the fake and the watch");
    vanishing.abort();
    settle().await;
    assert_eq!(tasks(), before);
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_fails_three_times_in_a_row_is_rebuilt() {
    let garbage = Act::Fail(AsrError::Decode("as scripted".into()), SECOND);
    let bench = bench(1, FakeEngine::new(move |_, _| garbage.clone()));
    let lane = bench.lanes.open(FlowInfo::session("test"));
    assert_eq!((read(&lane).await, bench.pool()), (Err("decode_failed"), (1, 0, 0)));
    assert_eq!((read(&lane).await, bench.pool()), (Err("decode_failed"), (1, 0, 0)), "rebuilt in between");
    assert_eq!(bench.lanes.allocator().lend(SlotId(0), "test").map(|lease| lease.generation().0), Some(1));
}
