//! Once more, elsewhere.

use super::*;

fn failing(error: AsrError) -> Act {
    Act::Fail(error, SECOND)
}

#[tokio::test(start_paused = true)]
async fn a_job_that_fails_on_one_slot_is_read_on_another() {
    let stuck = Act::Stuck(CancellationToken::new());
    let lost = failing(AsrError::SlotLost("as scripted".into()));
    for act in [failing(AsrError::Decode("as scripted".into())), lost, Act::Panic, Act::Never, stuck] {
        let bench = bench(2, bad_first_slot(act.clone()));
        let lane = bench.lanes.open(FlowInfo::session("test"));
        assert_eq!(read(&lane).await.as_deref(), Ok("yes"), "{act:?}");
        sleep(SECOND).await;
        assert_eq!(bench.pool(), (2, 0, 0), "{act:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_fails_twice_has_failed() {
    let codes = [
        (AsrError::Decode(String::new()), 2),
        (AsrError::Unsupported(String::new()), 1),
        (AsrError::Cancelled, 1),
    ];
    for (error, seconds) in codes {
        let act = failing(error.clone());
        let bench = bench(2, FakeEngine::new(move |_, _| act.clone()));
        let since = Instant::now();
        let read = read(&bench.lanes.open(FlowInfo::session("test"))).await;
        assert_eq!((read, since.elapsed().as_secs()), (Err(error.code()), seconds));
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_slot_was_lost_after_the_deadline_for_waiting_is_not_lost() {
    let lost = Act::Fail(AsrError::SlotLost("as scripted".into()), SECOND * 20);
    let bench = bench(2, bad_first_slot(lost));
    let lane = bench.lanes.open(FlowInfo::request("test"));
    let deadline = Some(Instant::now() + SECOND * 10);
    let read = lane.transcribe(second_of_audio(), DecodeOptions::default(), Class::Final, deadline);
    assert_eq!(read.await.expect("it was in time at first").hypothesis.text(), "yes");
}

#[tokio::test(start_paused = true)]
async fn a_dedicated_slot_that_failed_is_exchanged_for_an_idle_one() {
    let bench = bench(2, bad_first_slot(failing(AsrError::Decode("as scripted".into()))));
    let (lane, mut events) = bench.session();
    lane.set_scope(LeaseScope::Session);
    assert_eq!(read(&lane).await.as_deref(), Ok("yes"));
    assert_eq!(told(&mut events), "g0/0 r1 g1/0");
    assert_eq!(bench.pool(), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_dedicated_slot_that_failed_is_tried_again_when_there_is_no_other() {
    let bench = bench(2, bad_first_slot(failing(AsrError::Decode("as scripted".into()))));
    let (lane, mut events) = bench.session();
    lane.set_scope(LeaseScope::Session);
    settle().await;
    let _other = bench.other().await;
    assert_eq!(read(&lane).await, Err("decode_failed"));
    assert_eq!((told(&mut events).as_str(), bench.pool()), ("g0/0", (0, 2, 0)));
}
