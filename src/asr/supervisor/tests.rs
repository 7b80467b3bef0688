//! Engines and devices that are told what to do: slots that take memory, do not open, die in their sleep, saturate.

mod canaries;
mod openings;
mod several;

use super::*;
use crate::asr::fake::{Act, FakeEngine, alone, fixed};
use crate::asr::{AsrError, EncoderWindow, Job};
use crate::gpu::fake::FakeProbe;
use crate::gpu::{Binding, Bytes, DeviceInfo, DeviceKind, DeviceProbe as _, Footprint, GpuError};
use crate::pool::{Ask, Class, Cost, FlowInfo, Retirement};
use std::collections::BTreeSet;
use std::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

const WEIGHTS: u64 = 1_000;
const SLOT: u64 = 100;
const RESERVE: u64 = 500;

/// A device with so much free beside the reserve before anything is loaded, in MiB; and nobody else on it.
fn device(free: u64) -> FakeProbe {
    FakeProbe::new(Bytes::mib(20_000), Bytes::mib(RESERVE + free))
}

/// An engine whose weights and slots take memory from a device.
struct Rented {
    engine: FakeEngine,
    probe: FakeProbe,
    /// What a slot says that it takes is [`SLOT`]; this is what it takes.
    slot: Bytes,
    open: Mutex<BTreeSet<SlotId>>,
}

impl Rented {
    fn new(engine: FakeEngine, probe: &FakeProbe) -> Self {
        probe.take(Bytes::mib(WEIGHTS));
        Self { engine, probe: probe.clone(), slot: Bytes::mib(SLOT), open: Mutex::default() }
    }
}

impl Engine for Rented {
    fn open(&self, slot: SlotId) -> Result<Footprint, AsrError> {
        self.engine.open(slot)?;
        if self.open.lock().unwrap().insert(slot) {
            self.probe.take(self.slot);
        }
        Ok(Footprint { weights: Bytes::mib(WEIGHTS), slot: Bytes::mib(SLOT) })
    }

    fn submit(&self, job: Job) {
        self.engine.submit(job);
    }

    fn abandon(&self, slot: SlotId) {
        self.engine.abandon(slot);
    }

    fn close(&self, slot: SlotId) {
        self.engine.close(slot);
        if self.open.lock().unwrap().remove(&slot) {
            self.probe.give(self.slot);
        }
    }
}

/// A GPU with this memory, on which nobody knows the knee.
fn site(engine: Arc<dyn Engine>, probe: &FakeProbe) -> Site {
    let info = DeviceInfo { kind: DeviceKind::Cuda, name: "FakeGPU".into(), uuid: None };
    let device = Device { info, probe: Arc::new(probe.clone()) };
    Site { engine, device, reserve: Bytes::mib(RESERVE), knee: Knee::Off }
}

/// A thread does not wait for a clock that stands still: who needs readings sends them.
fn settings() -> SupervisorSettings {
    SupervisorSettings { readings: None, canary: None, ..SupervisorSettings::default() }
}

fn model() -> ModelInfo {
    ModelInfo { name: "fake".into(), multilingual: false, window: EncoderWindow::Fit }
}

async fn start(
    engine: impl Engine + 'static,
    settings: SupervisorSettings,
) -> Result<Supervisor, StartError> {
    Supervisor::start(alone(Arc::new(engine)), model(), settings).await
}

async fn start_on(site: Site) -> Result<Supervisor, StartError> {
    Supervisor::start(vec![site], model(), settings()).await
}

/// Waits until so many slots serve.
async fn serving(supervisor: &Supervisor, slots: usize) {
    let allocator = supervisor.lanes().allocator();
    let waiting = async {
        while allocator.slots().in_service() != slots || allocator.slots().warming != 0 {
            sleep(Duration::from_millis(100)).await;
        }
    };
    let came = timeout(Duration::from_secs(3_600), waiting).await;
    came.unwrap_or_else(|_| panic!("{slots} slots were to serve: {:?}", allocator.slots()));
}

async fn alerts(supervisor: &Supervisor, expected: Alerts) {
    let mut capacity = supervisor.capacity();
    let came = timeout(Duration::from_secs(3_600), capacity.wait_for(|now| now.alerts() == expected)).await;
    came.expect("the alerts were to come").expect("the supervisor lives");
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_cannot_be_opened_is_tried_again_after_growing_pauses() {
    // The first slot opens, the second only at the fourth try: after 1 + 2 + 4 seconds.
    let engine = FakeEngine::saying("").failing_to_open(SlotId(1), 3);
    let supervisor = start(engine, fixed(2)).await.unwrap();
    let begun = Instant::now();
    let allocator = supervisor.lanes().allocator();
    let flow = allocator.enroll(FlowInfo::request("test"));
    let ask = Ask::new(Class::Final, Cost::default());
    let _first = allocator.acquire(&flow, ask, None).await.unwrap();
    let second = allocator.acquire(&flow, ask, None).await.unwrap();
    assert_eq!(second.slot(), SlotId(1));
    assert_eq!(begun.elapsed().as_secs(), 7);
}

#[tokio::test]
async fn without_a_first_slot_there_is_no_pool() {
    let engine = FakeEngine::saying("").failing_to_open(SlotId(0), 1);
    let error = start(engine, fixed(2)).await.err();
    assert_eq!(error.map(|error| error.code()), Some("slot_unusable"));
}

#[tokio::test(start_paused = true)]
async fn the_pool_is_as_large_as_the_memory_and_says_what_binds() {
    let cases = [
        (WEIGHTS + 350, 16, Knee::Off, (3, Binding::Fits)),
        (WEIGHTS + 350, 16, Knee::Known(2), (2, Binding::Knee)),
        (WEIGHTS + 350, 1, Knee::Off, (1, Binding::MaxSlots)),
        (WEIGHTS + 9_000, 16, Knee::Off, (16, Binding::MaxSlots)),
    ];
    for (free, max_slots, knee, (slots, binding)) in cases {
        let probe = device(free);
        let site = Site { knee, ..site(rented(&probe), &probe) };
        let settings = SupervisorSettings { max_slots, ..settings() };
        let supervisor = Supervisor::start(vec![site], model(), settings).await.unwrap();
        let capacity = supervisor.capacity().borrow().clone();
        let sizing = capacity.sizing();
        assert_eq!((sizing.slots, sizing.binding), (slots, binding));
        serving(&supervisor, slots.into()).await;
        assert_eq!((capacity.alerts(), capacity.device_names()), (Alerts::default(), "FakeGPU".into()));
        supervisor.stop().await;
        assert_eq!(probe.memory_now(), Bytes::mib(RESERVE + free - WEIGHTS), "all slots were closed");
    }
}

/// The knees that were measured.
fn found(supervisor: &Supervisor) -> Vec<KneeFound> {
    supervisor.knees_found().iter().map(|(_, found)| *found).collect()
}

/// An engine of this device that reads nothing out of anything.
fn rented(probe: &FakeProbe) -> Arc<dyn Engine> {
    Arc::new(Rented::new(FakeEngine::saying(""), probe))
}

trait MemoryNow {
    fn memory_now(&self) -> Bytes;
}

impl MemoryNow for FakeProbe {
    fn memory_now(&self) -> Bytes {
        self.memory().unwrap().free
    }
}

#[tokio::test(start_paused = true)]
async fn growth_stops_before_the_reserve_although_more_slots_seemed_to_fit() {
    // Sized for seven, but each takes twice what it said: after five nothing is left but the reserve.
    let probe = device(WEIGHTS + 1_000);
    let engine = Rented { slot: Bytes::mib(2 * SLOT), ..Rented::new(FakeEngine::saying(""), &probe) };
    let supervisor = start_on(site(Arc::new(engine), &probe)).await.unwrap();
    assert_eq!(supervisor.sizing().slots, 7);
    alerts(&supervisor, Alerts { capacity_lost: true, memory_low: false }).await;
    serving(&supervisor, 5).await;
    assert_eq!(probe.memory_now(), Bytes::mib(RESERVE));
}

#[tokio::test(start_paused = true)]
async fn a_model_that_does_not_fit_is_refused_and_closed() {
    let probe = device(WEIGHTS + SLOT - 1);
    let engine = Arc::new(Rented::new(FakeEngine::saying(""), &probe));
    let error = start_on(site(Arc::clone(&engine) as _, &probe)).await;
    assert_eq!(error.err().map(|error| error.code()), Some("model_does_not_fit"));
    assert!(engine.open.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_device_that_says_nothing_carries_no_pool() {
    let probe = device(9_000);
    probe.fail(Some(GpuError::NoHostMemory));
    let error = start_on(site(Arc::new(FakeEngine::saying("")), &probe)).await.err();
    assert_eq!(error.map(|error| error.code()), Some("host_memory_unknown"));
}

/// A supervisor whose readings come once a second of virtual time.
async fn elastic(probe: &FakeProbe) -> Supervisor {
    followed(vec![site(rented(probe), probe)], &[probe], settings()).await
}

/// A supervisor of these sites, the memory of which is read once a second of virtual time.
async fn followed(sites: Vec<Site>, probes: &[&FakeProbe], settings: SupervisorSettings) -> Supervisor {
    let pool = Pool::open(sites, &settings).await.unwrap();
    let (told, readings): (Vec<_>, _) =
        probes.iter().map(|probe| watch::channel(probe.memory().unwrap())).unzip();
    let mut supervisor = pool.keep(model(), settings, readings);
    for (told, probe) in told.into_iter().zip(probes.iter().copied().cloned()) {
        supervisor.tasks.spawn(async move {
            loop {
                sleep(Duration::from_secs(1)).await;
                told.send_replace(probe.memory().unwrap());
            }
        });
    }
    supervisor
}

#[tokio::test(start_paused = true)]
async fn a_pool_gives_slots_back_under_pressure_and_takes_them_again() {
    let probe = device(WEIGHTS + 6 * SLOT);
    let supervisor = elastic(&probe).await;
    serving(&supervisor, 6).await;
    // Somebody takes 250 MiB: three slots have to go, so that the reserve is whole again.
    probe.take(Bytes::mib(250));
    serving(&supervisor, 3).await;
    alerts(&supervisor, Alerts { capacity_lost: true, memory_low: false }).await;
    let slots = supervisor.lanes().allocator().unproven(Duration::ZERO);
    assert_eq!(slots, [0, 1, 2].map(SlotId), "the highest go first");
    probe.give(Bytes::mib(1_000));
    serving(&supervisor, 6).await;
    alerts(&supervisor, Alerts::default()).await;
}

#[tokio::test(start_paused = true)]
async fn a_pool_never_gives_its_last_slot_back_and_says_that_memory_is_low() {
    let probe = device(WEIGHTS + 2 * SLOT);
    let supervisor = elastic(&probe).await;
    probe.take(Bytes::mib(600));
    serving(&supervisor, 1).await;
    sleep(Duration::from_secs(300)).await;
    assert_eq!(supervisor.lanes().allocator().slots().idle, 1);
    alerts(&supervisor, Alerts { capacity_lost: true, memory_low: true }).await;
}

#[tokio::test(start_paused = true)]
async fn the_last_slot_that_serves_stays_while_another_one_waits_to_be_rebuilt() {
    let probe = device(WEIGHTS + 2 * SLOT);
    let supervisor = elastic(&probe).await;
    serving(&supervisor, 2).await;
    let allocator = supervisor.lanes().allocator();
    probe.take(Bytes::mib(600));
    allocator.lend(SlotId(1), "test").expect("it is idle").retire(Retirement::Lost, "as scripted");
    sleep(Duration::from_secs(120)).await;
    assert_eq!(allocator.unproven(Duration::ZERO), [SlotId(0)], "it is the one that served all the time");
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_is_not_elastic_keeps_its_slots() {
    let probe = device(WEIGHTS + 2 * SLOT);
    let settings = SupervisorSettings { elastic: false, ..settings() };
    let supervisor = followed(vec![site(rented(&probe), &probe)], &[&probe], settings).await;
    serving(&supervisor, 2).await;
    probe.set_free(Bytes(0));
    alerts(&supervisor, Alerts { memory_low: true, capacity_lost: false }).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(supervisor.lanes().allocator().slots().idle, 2);
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_stays_out_turns_the_alert_on_until_it_is_back() {
    let engine = FakeEngine::saying("").failing_to_open(SlotId(1), 3);
    let supervisor = start(engine, fixed(2)).await.unwrap();
    let begun = Instant::now();
    alerts(&supervisor, Alerts { capacity_lost: true, ..Alerts::default() }).await;
    assert_eq!(begun.elapsed().as_secs(), 1, "on with the second failure");
    alerts(&supervisor, Alerts::default()).await;
    assert_eq!(begun.elapsed().as_secs(), 7, "off when it serves");
}

#[tokio::test(start_paused = true)]
async fn a_lost_slot_comes_back_and_not_into_the_reserve_while_another_serves() {
    let probe = device(WEIGHTS + 2 * SLOT);
    let supervisor = start_on(site(rented(&probe), &probe)).await.unwrap();
    serving(&supervisor, 2).await;
    let allocator = supervisor.lanes().allocator();
    // The slot's own memory is still taken, as that of a thread that is stuck: there is no room for another one.
    allocator.lend(SlotId(1), "test").unwrap().retire(Retirement::Lost, "as scripted");
    alerts(&supervisor, Alerts { capacity_lost: true, memory_low: false }).await;
    assert_eq!(allocator.slots().in_service(), 1);
    // When nothing serves any more, the reserve is the lesser evil.
    allocator.lend(SlotId(0), "test").unwrap().retire(Retirement::Lost, "as scripted");
    serving(&supervisor, 1).await;
    probe.give(Bytes::mib(SLOT));
    serving(&supervisor, 2).await;
    alerts(&supervisor, Alerts::default()).await;
}

#[tokio::test(start_paused = true)]
async fn the_knee_is_measured_and_slots_beyond_it_are_closed() {
    let probe = device(WEIGHTS + 16 * SLOT);
    let engine = Arc::new(Rented::new(FakeEngine::saturating_at(4), &probe));
    let site = site(Arc::clone(&engine) as _, &probe);
    let supervisor = start_on(Site { knee: Knee::Measure { beyond: 1 }, ..site }).await.unwrap();
    assert_eq!(found(&supervisor), [KneeFound { knee: Some(4), reached: 8 }]);
    let sizing = supervisor.sizing();
    assert_eq!((sizing.slots, sizing.binding), (4, Binding::Knee));
    assert_eq!(engine.open.lock().unwrap().len(), 4, "those that were opened to be measured are closed");
    serving(&supervisor, 4).await;
}

#[tokio::test(start_paused = true)]
async fn without_a_knee_within_the_memory_the_memory_binds() {
    let probe = device(WEIGHTS + 3 * SLOT);
    let site = site(Arc::new(Rented::new(FakeEngine::saturating_at(64), &probe)), &probe);
    let supervisor = start_on(Site { knee: Knee::Measure { beyond: 1 }, ..site }).await.unwrap();
    assert_eq!(found(&supervisor), [KneeFound { knee: None, reached: 3 }]);
    assert_eq!((supervisor.sizing().slots, supervisor.sizing().binding), (3, Binding::Fits));
    serving(&supervisor, 3).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_known_of_the_knee_is_not_measured() {
    for (knee, slots) in [(Knee::Known(2), 2), (Knee::Measure { beyond: 8 }, 8)] {
        let engine = FakeEngine::new(|_, _| panic!("nothing is decoded at the start"));
        let mut sites = alone(Arc::new(engine));
        sites[0].knee = knee;
        let supervisor = Supervisor::start(sites, model(), fixed(8)).await.unwrap();
        assert_eq!((supervisor.sizing().slots, found(&supervisor)), (slots, Vec::new()));
    }
}

#[tokio::test]
async fn the_memory_is_read_again_and_again_by_a_thread_of_its_own() {
    let probe = device(WEIGHTS + 3 * SLOT);
    let settings = SupervisorSettings { readings: Some(Duration::from_millis(1)), ..settings() };
    let sites = vec![site(rented(&probe), &probe)];
    let supervisor = Supervisor::start(sites, model(), settings).await.unwrap();
    probe.set_free(Bytes::mib(RESERVE - 1));
    supervisor.capacity().wait_for(|now| now.alerts().memory_low).await.unwrap();
    supervisor.stop().await;
}
