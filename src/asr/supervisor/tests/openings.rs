//! A slot whose opening does not return.

use super::*;
use std::sync::mpsc;
use tokio::time::advance;

/// An engine whose slot 1 says that it is being opened, and does not open before it is let go.
struct Jammed {
    engine: FakeEngine,
    jams: tokio::sync::mpsc::UnboundedSender<()>,
    let_go: Mutex<mpsc::Receiver<()>>,
}

impl Engine for Jammed {
    fn open(&self, slot: SlotId) -> Result<Footprint, AsrError> {
        if slot == SlotId(1) {
            self.jams.send(()).unwrap();
            // The other end is dropped with the test at the latest.
            let _ = self.let_go.lock().unwrap().recv();
        }
        self.engine.open(slot)
    }

    fn submit(&self, job: Job) {
        self.engine.submit(job);
    }

    fn abandon(&self, slot: SlotId) {
        self.engine.abandon(slot);
    }

    fn close(&self, slot: SlotId) {
        self.engine.close(slot);
    }
}

impl Jammed {
    /// The engine; what tells that slot 1 is being opened; and what lets it go when it is dropped.
    fn new(engine: FakeEngine) -> (Self, tokio::sync::mpsc::UnboundedReceiver<()>, mpsc::Sender<()>) {
        let (jams, jammed) = tokio::sync::mpsc::unbounded_channel();
        let (let_go, gate) = mpsc::channel();
        (Self { engine, jams, let_go: Mutex::new(gate) }, jammed, let_go)
    }
}

/// Time stands still while something blocks: it is moved by hand, and nothing here waits for it.
#[tokio::test(start_paused = true)]
async fn a_slot_that_never_opens_holds_up_no_other_and_may_still_come() {
    for (failures, openings) in [(0, 1), (1, 2)] {
        let engine = FakeEngine::saying("").failing_to_open(SlotId(1), failures);
        let (engine, mut jammed, let_go) = Jammed::new(engine);
        let supervisor = start(engine, fixed(3)).await.unwrap();
        let allocator = supervisor.lanes().allocator();
        let flow = allocator.enroll(FlowInfo::request("test"));
        let lease = || allocator.acquire(&flow, Ask::new(Class::Final, Cost::default()), None);
        let _first = lease().await.unwrap();
        jammed.recv().await.expect("slot 1 is being opened");
        advance(Duration::from_secs(120)).await;
        assert_eq!(lease().await.unwrap().slot(), SlotId(2), "others go on");
        let lost = |now: &Capacity| now.alerts().capacity_lost;
        supervisor.capacity().wait_for(lost).await.unwrap();
        drop(let_go);
        serving(&supervisor, 3).await;
        alerts(&supervisor, Alerts::default()).await;
        assert_eq!(jammed.len() + 1, openings, "it was never opened twice at once");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_comes_while_another_is_to_leave_leaves_in_its_place() {
    let (engine, mut jammed, let_go) = Jammed::new(FakeEngine::saying(""));
    let mut sites = alone(Arc::new(engine));
    sites[0].reserve = Bytes::mib(RESERVE);
    let settings = SupervisorSettings { max_slots: 3, ..settings() };
    let pool = Pool::open(sites, &settings).await.unwrap();
    let reading = |free| DeviceMemory { total: Bytes::mib(20_000), free: Bytes::mib(free) };
    let (told, readings) = watch::channel(reading(9_000));
    let supervisor = pool.keep(model(), settings, vec![readings]);
    let mut capacity = supervisor.capacity();
    jammed.recv().await.expect("slot 1 is being opened");
    advance(Duration::from_secs(120)).await;
    let _at_work = several::leases(&supervisor, 2).await;

    for pressure in [RESERVE - 1, RESERVE - 2] {
        told.send_replace(reading(pressure));
        capacity.wait_for(|now| now.sites[0].memory == reading(pressure)).await.unwrap();
    }
    let allocator = supervisor.lanes().allocator();
    assert_eq!(allocator.slots().in_service(), 2, "one of them is to leave, and both are at work");
    drop(let_go);
    serving(&supervisor, 3).await;
    // A change has time to show in the memory.
    advance(Duration::from_secs(2)).await;
    told.send_replace(reading(RESERVE - 3));
    serving(&supervisor, 2).await;
    assert_eq!(allocator.slots().leased, 2, "the one that had nothing to do was given back");
}
