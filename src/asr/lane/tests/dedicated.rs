//! A slot of its own: kept, given back, asked for again.

use super::*;

const IDLE: Duration = Duration::from_secs(300);

async fn with_its_own(bench: &Bench) -> (Lane, mpsc::Receiver<LaneEvent>) {
    let (lane, mut events) = bench.session();
    lane.set_scope(LeaseScope::Session);
    settle().await;
    assert_eq!(told(&mut events), "g0/0", "before anything is decoded");
    (lane, events)
}

#[tokio::test(start_paused = true)]
async fn every_decode_uses_the_lease_that_is_kept() {
    let bench = bench(2, saying(SECOND));
    let (lane, mut events) = with_its_own(&bench).await;
    for class in [Class::Final, Class::Interim, Class::Speculative] {
        read_as(&lane, class).await.expect("it reads everything");
        assert_eq!((told(&mut events).as_str(), bench.pool()), ("", (1, 1, 0)));
    }
    let holder = bench.lanes.allocator().snapshot().holders.remove(0);
    assert_eq!((holder.scope, holder.idle.as_secs()), (LeaseScope::Session, 0));
}

#[tokio::test(start_paused = true)]
async fn the_pool_sees_how_long_a_kept_slot_does_nothing() {
    let bench = bench(1, saying(SECOND));
    let (lane, _events) = with_its_own(&bench).await;
    let idle = || bench.lanes.allocator().snapshot().holders[0].idle.as_secs();
    sleep(SECOND * 7).await;
    assert_eq!(idle(), 7);
    let caller = reading(&lane);
    sleep(SECOND / 2).await;
    assert_eq!(idle(), 0);
    caller.await.expect("no panic").expect("it reads everything");
    sleep(SECOND * 3).await;
    assert_eq!(idle(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_third_of_three_on_two_slots_waits_and_is_served_when_one_leaves() {
    let bench = bench(2, saying(SECOND));
    let (first, _) = with_its_own(&bench).await;
    let second = bench.other().await;
    let (lane, mut events) = bench.session();
    lane.set_scope(LeaseScope::Session);
    let caller = reading(&lane);
    settle().await;
    assert!(told(&mut events).starts_with("w1/"));
    drop(first);
    assert_eq!(caller.await.expect("no panic").as_deref(), Ok("yes"));
    assert_eq!(told(&mut events), "g0/0");
    drop(second);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_nobody_uses_is_given_back_and_comes_again_with_speech() {
    let bench = bench(1, saying(SECOND));
    let (lane, mut events) = with_its_own(&bench).await;
    read(&lane).await.expect("it reads everything");
    sleep(IDLE).await;
    settle().await;
    assert_eq!((told(&mut events).as_str(), bench.pool()), ("r301", (1, 0, 0)));
    lane.set_speaking(true);
    settle().await;
    assert_eq!((told(&mut events).as_str(), bench.pool()), ("g0/0", (0, 1, 0)));
    sleep(IDLE * 2).await;
    lane.set_speaking(false);
    sleep(SECOND * 299).await;
    assert_eq!(told(&mut events), "", "neither speech nor what follows it is idleness");
    sleep(SECOND).await;
    settle().await;
    assert_eq!(told(&mut events), "r900");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_given_back_comes_again_for_a_decode() {
    let bench = bench(1, saying(SECOND));
    let (lane, mut events) = with_its_own(&bench).await;
    sleep(IDLE).await;
    let held = bench.other().await;
    let caller = reading(&lane);
    sleep(SECOND).await;
    drop(held);
    assert_eq!(caller.await.expect("no panic").as_deref(), Ok("yes"));
    let told = told(&mut events);
    assert!(told.starts_with("r300 w1/4") && told.ends_with("g0/1"), "{told}");
    assert_eq!(bench.pool(), (0, 1, 0), "and is kept again");
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_an_idle_lease_is_kept() {
    let mut bench = bench(1, saying(SECOND));
    let settings = LaneSettings { idle_reclaim: None, ..LaneSettings::default() };
    bench.lanes = bench.lanes.clone().with_settings(settings);
    let (_lane, mut events) = with_its_own(&bench).await;
    sleep(IDLE * 1_000).await;
    assert_eq!(told(&mut events), "");
}

#[tokio::test(start_paused = true)]
async fn another_scope_gives_the_lease_back_when_the_decode_is_done() {
    let bench = bench(1, saying(SECOND * 2));
    let (lane, mut events) = with_its_own(&bench).await;
    let caller = reading(&lane);
    sleep(SECOND).await;
    lane.set_scope(LeaseScope::Utterance);
    assert_eq!(bench.pool(), (0, 1, 0));
    caller.await.expect("no panic").expect("it reads everything");
    assert_eq!((told(&mut events).as_str(), bench.pool()), ("r2", (1, 0, 0)));
    read(&lane).await.expect("it reads everything");
    assert_eq!(told(&mut events), "g0/0 r2");
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_is_lost_is_replaced() {
    let bench = bench(2, bad_first_slot(Act::Panic));
    let (lane, mut events) = with_its_own(&bench).await;
    assert_eq!(read(&lane).await.as_deref(), Ok("yes"));
    assert_eq!(told(&mut events), "r0 g1/0");
    sleep(SECOND).await;
    assert_eq!(bench.pool(), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn the_last_clone_takes_the_lease_with_it_at_once() {
    let bench = bench(1, saying(SECOND));
    let (lane, _events) = with_its_own(&bench).await;
    drop(lane.clone());
    assert_eq!(bench.pool(), (0, 1, 0));
    drop(lane);
    assert_eq!(bench.pool(), (1, 0, 0), "before any task has run");
    settle().await;
    assert_eq!(bench.lanes.allocator().snapshot().sessions.connected, 0);
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_is_dropped_in_line_leaves_it() {
    let bench = bench(1, saying(SECOND));
    let _held = bench.other().await;
    let (lane, _events) = bench.session();
    lane.set_scope(LeaseScope::Session);
    settle().await;
    assert_eq!(bench.pool(), (0, 1, 1));
    drop(lane);
    settle().await;
    assert_eq!(bench.pool(), (0, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn long_files_do_not_use_the_lease_that_is_kept() {
    let bench = bench(3, saying(SECOND));
    let (lane, _events) = with_its_own(&bench).await;
    let since = Instant::now();
    let both = tokio::join!(read_as(&lane, Class::Batch), read_as(&lane, Class::Batch));
    assert_eq!((both.0.is_ok(), both.1.is_ok(), since.elapsed()), (true, true, SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_closed_pool_refuses_a_decode_that_waits_for_its_own_slot() {
    let bench = bench(1, saying(SECOND));
    let _held = bench.other().await;
    let (lane, _events) = bench.session();
    lane.set_scope(LeaseScope::Session);
    let caller = reading(&lane);
    settle().await;
    bench.lanes.allocator().close();
    assert_eq!(caller.await.expect("no panic"), Err("pool_draining"));
    assert_eq!(read(&lane).await, Err("pool_draining"));
}
