//! Slots that die in their sleep, and canaries that find them.

use super::*;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_util::sync::CancellationToken;

/// An engine whose decodes do not end while `dead` is true.
fn sleeper(dead: &Arc<AtomicBool>, act: fn() -> Act) -> FakeEngine {
    let dead = Arc::clone(dead);
    let alive = || Act::Say("noise".into(), Duration::from_millis(20));
    FakeEngine::new(move |_, _| if dead.load(Ordering::Relaxed) { act() } else { alive() })
}

fn with_canary() -> SupervisorSettings {
    SupervisorSettings { canary: Some(Duration::from_secs(60)), ..fixed(1) }
}

#[tokio::test(start_paused = true)]
async fn a_canary_finds_a_slot_that_died_in_its_sleep_and_it_is_rebuilt() {
    let failing = || Act::Fail(AsrError::Decode("as scripted".into()), Duration::ZERO);
    let lost = || Act::Fail(AsrError::SlotLost("as scripted".into()), Duration::ZERO);
    for act in [|| Act::Never, failing, lost] {
        let dead = Arc::new(AtomicBool::new(false));
        let engine = Arc::new(sleeper(&dead, act));
        let supervisor = Supervisor::start(alone(Arc::clone(&engine) as _), model(), with_canary());
        let supervisor = supervisor.await.unwrap();
        sleep(Duration::from_secs(600)).await;
        assert_eq!(engine.opened(), [SlotId(0)], "a slot that works is left alone");
        dead.store(true, Ordering::Relaxed);
        sleep(Duration::from_secs(120)).await;
        dead.store(false, Ordering::Relaxed);
        serving(&supervisor, 1).await;
        assert!(engine.opened().len() > 1, "it was opened again");
        let allocator = supervisor.lanes().allocator();
        let flow = allocator.enroll(FlowInfo::request("test"));
        allocator.acquire(&flow, Ask::new(Class::Final, Cost::default()), None).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_canary_that_does_not_stop_is_abandoned_and_its_slot_rebuilt() {
    let dead = Arc::new(AtomicBool::new(true));
    let engine = Arc::new(sleeper(&dead, || Act::Stuck(CancellationToken::new())));
    let supervisor = Supervisor::start(alone(Arc::clone(&engine) as _), model(), with_canary());
    let supervisor = supervisor.await.unwrap();
    // After 60 to 75 seconds it is tried, for 30; then it has 5 to stop.
    sleep(Duration::from_secs(90)).await;
    assert_eq!(engine.abandoned(), []);
    sleep(Duration::from_secs(25)).await;
    dead.store(false, Ordering::Relaxed);
    assert_eq!((engine.abandoned(), engine.opened()), (vec![SlotId(0)], vec![SlotId(0); 2]));
    serving(&supervisor, 1).await;
    let generation = supervisor.lanes().allocator().lend(SlotId(0), "test").map(|lease| lease.generation().0);
    assert_eq!(generation, Some(1), "it was retired");
}

/// An engine that decodes to the end, whoever cancels.
struct Deaf(FakeEngine);

impl Engine for Deaf {
    fn open(&self, slot: SlotId) -> Result<Footprint, AsrError> {
        self.0.open(slot)
    }

    fn submit(&self, job: Job) {
        self.0.submit(Job { cancel: CancellationToken::new(), ..job });
    }

    fn abandon(&self, slot: SlotId) {
        self.0.abandon(slot);
    }

    fn close(&self, slot: SlotId) {
        self.0.close(slot);
    }
}

#[tokio::test(start_paused = true)]
async fn a_canary_that_sings_too_late_has_failed() {
    for (seconds, times) in [(29, 1), (31, 2)] {
        let late = FakeEngine::new(move |_, _| Act::Say("noise".into(), Duration::from_secs(seconds)));
        let engine = Arc::new(Deaf(late));
        let supervisor = Supervisor::start(alone(Arc::clone(&engine) as _), model(), with_canary());
        let _supervisor = supervisor.await.unwrap();
        sleep(Duration::from_secs(115)).await;
        assert_eq!(engine.0.opened(), vec![SlotId(0); times], "after {seconds} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_canary_makes_way_for_whoever_comes() {
    let dead = Arc::new(AtomicBool::new(true));
    let engine = Arc::new(sleeper(&dead, || Act::Never));
    let supervisor = Supervisor::start(alone(Arc::clone(&engine) as _), model(), with_canary());
    let supervisor = supervisor.await.unwrap();
    let allocator = supervisor.lanes().allocator().clone();
    let begins = async {
        while allocator.slots().leased == 0 {
            sleep(Duration::from_millis(500)).await;
        }
    };
    timeout(Duration::from_secs(3_600), begins).await.expect("a canary was to begin");
    let flow = allocator.enroll(FlowInfo::request("test"));
    let lease = allocator.acquire(&flow, Ask::new(Class::Final, Cost::default()), None).await.unwrap();
    assert!(lease.waited() < Duration::from_millis(200), "waited {:?}", lease.waited());
    assert_eq!(engine.opened(), [SlotId(0)], "nothing is known about the slot, so it is not retired");
}
