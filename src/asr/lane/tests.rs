//! Lanes on scripted engines, in virtual time.

mod deadlines;
mod dedicated;
mod retries;
mod speculation;

use super::*;
use crate::asr::EncoderWindow;
use crate::asr::fake::{Act, FakeEngine};
use crate::audio::Span;
use crate::pool::{Departure, PoolSettings};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

const SECOND: Duration = Duration::from_secs(1);

/// Of virtual time: what takes longer never ends.
pub(super) const A_DAY: Duration = Duration::from_hours(24);

/// A pool whose retired slots are rebuilt after a second.
pub(super) struct Bench {
    pub(super) lanes: Lanes,
    _rebuilding: AbortOnDropHandle<()>,
}

pub(super) fn bench(slots: u16, engine: FakeEngine) -> Bench {
    let (allocator, mut retired) = Allocator::new(PoolSettings::default());
    (0..slots).for_each(|slot| allocator.add(SlotId(slot)));
    let pool = allocator.clone();
    let rebuilding = tokio::spawn(async move {
        tokio::spawn(pool.clone().keep_informed());
        while let Some(slot) = retired.recv().await.map(Departure::slot) {
            pool.warm(slot);
            sleep(SECOND).await;
            pool.add(slot);
        }
    });
    let model = ModelInfo { name: "fake".into(), multilingual: false, window: EncoderWindow::Full };
    let lanes = Lanes::new(Arc::new(engine), allocator, model);
    Bench { lanes, _rebuilding: AbortOnDropHandle::new(rebuilding) }
}

impl Bench {
    fn session(&self) -> (Lane, mpsc::Receiver<LaneEvent>) {
        let (tell, events) = mpsc::channel(16);
        (self.lanes.open(FlowInfo::session("test")).telling(tell), events)
    }

    /// Idle and leased slots, and how many wait.
    pub(super) fn pool(&self) -> (usize, usize, usize) {
        let snapshot = self.lanes.allocator().snapshot();
        (snapshot.slots.idle, snapshot.slots.leased, snapshot.queue.depth())
    }

    /// A lease of somebody else.
    async fn other(&self) -> Lease {
        let flow = self.lanes.allocator().enroll(FlowInfo::session("other"));
        let ask = Ask::new(Class::Final, Cost(SECOND * 4));
        self.lanes.allocator().acquire(&flow, ask, None).await.expect("there is no deadline")
    }
}

pub(super) fn second_of_audio() -> Arc<Utterance> {
    let span = Span::new(0, 16_000);
    Arc::new(Utterance::spoken(span, vec![0.0; 16_000]))
}

/// The text, or the code of the error.
pub(super) async fn read_as(lane: &Lane, class: Class) -> Result<String, &'static str> {
    let reading = lane.transcribe(second_of_audio(), DecodeOptions::default(), class, None);
    let read = timeout(A_DAY, reading).await.expect("every caller gets an answer");
    read.map(|transcript| transcript.hypothesis.text()).map_err(|error| error.code())
}

pub(super) async fn read(lane: &Lane) -> Result<String, &'static str> {
    read_as(lane, Class::Final).await
}

fn reading(lane: &Lane) -> JoinHandle<Result<String, &'static str>> {
    let lane = lane.clone();
    tokio::spawn(async move { read(&lane).await })
}

/// Lets everybody do what they can do now. The clock stands still until all wait for it.
pub(super) async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

/// What was told since the last look, in whole seconds: `w1/4` waiting at 1 for 4, `g0/2` slot 0 after 2, `r3` held for 3.
fn told(events: &mut mpsc::Receiver<LaneEvent>) -> String {
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        told.push(match event {
            LaneEvent::Waiting(Standing { position, estimated_wait: Some(wait) }) => {
                format!("w{position}/{}", wait.as_secs())
            }
            LaneEvent::Waiting(Standing { position, estimated_wait: None }) => format!("w{position}/?"),
            LaneEvent::Granted { slot, waited } => format!("g{}/{}", slot.0, waited.as_secs()),
            LaneEvent::Released { held } => format!("r{}", held.as_secs()),
        });
    }
    told.join(" ")
}

fn saying(after: Duration) -> FakeEngine {
    FakeEngine::new(move |_, _| Act::Say("yes".into(), after))
}

/// Fails this way on slot 0 and reads on all others.
fn bad_first_slot(act: Act) -> FakeEngine {
    FakeEngine::by_slot(move |slot, _, _| match slot {
        SlotId(0) => act.clone(),
        _ => Act::Say("yes".into(), SECOND),
    })
}

mod news {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_final_tells_of_its_wait_its_lease_and_its_end() {
        let bench = bench(1, saying(SECOND * 2));
        let held = bench.other().await;
        let (lane, mut events) = bench.session();
        let caller = reading(&lane);
        settle().await;
        assert_eq!(told(&mut events), "w1/4", "at once");
        sleep(SECOND).await;
        assert_eq!(told(&mut events), "", "nothing has changed for those who wait");
        drop(held);
        caller.await.expect("no panic").expect("it reads everything");
        assert_eq!(told(&mut events), "g0/1 r2");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_stands_in_line_is_told_when_it_moves() {
        let bench = bench(1, saying(SECOND));
        let held = bench.other().await;
        let first = reading(&bench.lanes.open(FlowInfo::session("first")));
        settle().await;
        let (lane, mut events) = bench.session();
        let _second = reading(&lane);
        settle().await;
        assert_eq!(told(&mut events), "w2/4");
        drop(held);
        first.await.expect("no panic").expect("it reads everything");
        settle().await;
        assert_eq!(told(&mut events), "w1/0 g0/1", "position 1 while the first decodes");
    }

    #[tokio::test(start_paused = true)]
    async fn only_finals_tell() {
        let bench = bench(1, saying(SECOND));
        let (lane, mut events) = bench.session();
        for class in [Class::Speculative, Class::Interim, Class::Batch] {
            read_as(&lane, class).await.expect("it reads everything");
        }
        assert_eq!(told(&mut events), "");
        read(&lane).await.expect("it reads everything");
        assert_eq!(told(&mut events), "g0/0 r1");
    }

    #[tokio::test(start_paused = true)]
    async fn a_listener_that_does_not_listen_stops_nobody() {
        let bench = bench(1, saying(SECOND));
        let (tell, _events) = mpsc::channel(1);
        let lane = bench.lanes.open(FlowInfo::session("test")).telling(tell);
        for _ in 0..3 {
            read(&lane).await.expect("it reads everything");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_vanished_caller_is_told_of_its_leases_end_when_the_decoder_has_stopped() {
        let bench = bench(1, saying(SECOND * 9));
        let (lane, mut events) = bench.session();
        let caller = reading(&lane);
        settle().await;
        caller.abort();
        settle().await;
        assert_eq!(told(&mut events), "g0/0 r0");
    }
}

mod estimates {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_decodes_took_is_what_those_in_line_are_told() {
        let bench = bench(1, saying(SECOND * 6));
        let lane = bench.lanes.open(FlowInfo::session("test"));
        read(&lane).await.expect("it reads everything");
        let _first = reading(&lane);
        settle().await;
        let (lane, mut events) = bench.session();
        let _second = reading(&lane);
        settle().await;
        assert_eq!(told(&mut events), "w1/5", "a little less than 6 seconds");
    }

    #[tokio::test(start_paused = true)]
    async fn a_warm_up_is_the_first_estimate() {
        let bench = bench(1, saying(SECOND));
        bench.lanes.guess_cost(SECOND * 30, SECOND * 3);
        assert_eq!(bench.lanes.expected(SECOND * 2), Cost(SECOND * 3));
    }
}
