//! Several devices under one pool, and what they are sized by.

use super::*;
use crate::pool::Lease;

/// A device with room for so many slots.
fn room_for(slots: u64) -> FakeProbe {
    device(WEIGHTS + slots * SLOT)
}

pub(super) async fn leases(supervisor: &Supervisor, n: usize) -> Vec<Lease> {
    let allocator = supervisor.lanes().allocator();
    let mut leases = Vec::new();
    for _ in 0..n {
        let flow = allocator.enroll(FlowInfo::request("test"));
        leases.push(allocator.acquire(&flow, Ask::new(Class::Final, Cost::default()), None).await.unwrap());
    }
    leases
}

fn per_device(capacity: &Capacity) -> Vec<u16> {
    capacity.sites.iter().map(|site| site.sizing.slots).collect()
}

#[tokio::test(start_paused = true)]
async fn several_devices_stand_in_one_ledger_and_share_the_work() {
    let (small, large) = (room_for(2), room_for(5));
    let sites = vec![site(rented(&small), &small), site(rented(&large), &large)];
    let supervisor = Supervisor::start(sites, model(), settings()).await.unwrap();
    serving(&supervisor, 7).await;
    assert_eq!(per_device(&supervisor.capacity().borrow()), [2, 5]);
    let first_two = leases(&supervisor, 2).await;
    let numbers: Vec<_> = first_two.iter().map(Lease::slot).collect();
    assert_eq!(numbers, [SlotId(0), SlotId(16)], "one on each device");
    supervisor.stop().await;
    let left = [&small, &large].map(FakeProbe::memory_now);
    assert_eq!(left, [RESERVE + 2 * SLOT, RESERVE + 5 * SLOT].map(Bytes::mib), "all slots were closed");
}

#[tokio::test(start_paused = true)]
async fn the_slots_that_are_asked_for_are_dealt_out_among_the_devices() {
    for (asked, expected) in [(5, vec![3, 2]), (3, vec![2, 1]), (1, vec![1]), (40, vec![9, 2])] {
        let (large, small) = (room_for(9), room_for(2));
        let sites = vec![site(rented(&large), &large), site(rented(&small), &small)];
        let settings = SupervisorSettings { max_slots: asked, ..settings() };
        let supervisor = Supervisor::start(sites, model(), settings).await.unwrap();
        let total = expected.iter().sum::<u16>();
        serving(&supervisor, total.into()).await;
        assert_eq!(per_device(&supervisor.capacity().borrow()), expected, "{asked} asked for");
    }
}

#[tokio::test(start_paused = true)]
async fn a_device_that_cannot_open_a_slot_does_not_keep_the_others_from_serving() {
    let (full, roomy) = (device(WEIGHTS), room_for(2));
    let sites = || vec![site(rented(&full), &full), site(rented(&roomy), &roomy)];
    let supervisor = Supervisor::start(sites(), model(), settings()).await.unwrap();
    serving(&supervisor, 2).await;
    let capacity = supervisor.capacity().borrow().clone();
    assert_eq!((capacity.sites.len(), capacity.sizing().slots), (1, 2));
    // The one that is left has the numbers of its bank, and its lost slots are rebuilt.
    let allocator = supervisor.lanes().allocator();
    allocator.lend(SlotId(17), "test").expect("it is idle").retire(Retirement::Lost, "as scripted");
    roomy.give(Bytes::mib(SLOT));
    serving(&supervisor, 2).await;
    drop(supervisor);
    roomy.set_free(Bytes::mib(RESERVE));
    let none = Supervisor::start(sites(), model(), settings()).await;
    assert_eq!(none.err().map(|error| error.code()), Some("model_does_not_fit"));
}

#[tokio::test(start_paused = true)]
async fn pressure_on_one_device_shrinks_that_one_alone() {
    let (first, second) = (room_for(3), room_for(3));
    let sites = vec![site(rented(&first), &first), site(rented(&second), &second)];
    let supervisor = followed(sites, &[&first, &second], settings()).await;
    serving(&supervisor, 6).await;
    second.take(Bytes::mib(2 * SLOT));
    serving(&supervisor, 4).await;
    let mut idle = supervisor.lanes().allocator().unproven(Duration::ZERO);
    idle.sort();
    assert_eq!(idle, [0, 1, 2, 16].map(SlotId));
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_never_rests_gives_slots_back_all_the_same() {
    let probe = room_for(4);
    let supervisor = elastic(&probe).await;
    serving(&supervisor, 4).await;
    let mut held = leases(&supervisor, 4).await;
    probe.take(Bytes::mib(2 * SLOT));
    sleep(Duration::from_secs(60)).await;
    let allocator = supervisor.lanes().allocator();
    assert_eq!(allocator.slots().leased, 4, "nobody's decode is broken off");
    // Somebody waits all the time, so that no slot is ever idle.
    let waiting = |n| {
        (0..n).map(|_| {
            let flow = allocator.enroll(FlowInfo::request("test"));
            allocator.enqueue(&flow, Ask::new(Class::Final, Cost::default()), None).unwrap()
        })
    };
    let mut line: Vec<_> = waiting(3).collect();
    held.remove(0);
    sleep(Duration::from_secs(10)).await;
    held.remove(0);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(allocator.slots().total, 2, "{:?}", allocator.slots());
    assert_eq!(probe.memory_now(), Bytes::mib(RESERVE), "the reserve is whole again");
    held.clear();
    line.pop();
    for mut place in line {
        place.lease().await.expect("those who wait are served by what is left");
    }
}

#[tokio::test(start_paused = true)]
async fn memory_that_returns_in_time_keeps_the_slot_that_was_to_go() {
    let probe = room_for(2);
    let supervisor = elastic(&probe).await;
    serving(&supervisor, 2).await;
    let held = leases(&supervisor, 2).await;
    probe.take(Bytes::mib(SLOT));
    sleep(Duration::from_secs(10)).await;
    probe.give(Bytes::mib(SLOT));
    sleep(Duration::from_secs(10)).await;
    drop(held);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(supervisor.lanes().allocator().slots().idle, 2);
}

/// An engine whose first slot takes what all need besides.
struct Unequal {
    rented: Rented,
    once: u64,
}

impl Engine for Unequal {
    fn open(&self, slot: SlotId) -> Result<Footprint, AsrError> {
        let footprint = self.rented.open(slot)?;
        if slot != SlotId(0) {
            return Ok(footprint);
        }
        self.rented.probe.take(Bytes::mib(self.once));
        Ok(Footprint { slot: footprint.slot.and(Bytes::mib(self.once)), ..footprint })
    }

    fn submit(&self, job: Job) {
        self.rented.submit(job);
    }

    fn abandon(&self, slot: SlotId) {
        self.rented.abandon(slot);
    }

    fn close(&self, slot: SlotId) {
        self.rented.close(slot);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_first_slot_of_a_gpu_pays_for_all_is_not_counted_for_each() {
    // Told apart from other processes, the second slot is believed; else a third has to say the same. Where not even
    // a second one fits, the first is all that is known.
    for (told_apart, room, slots, slot) in
        [(true, 10, 10, SLOT), (false, 10, 10, SLOT), (false, 6, 6, SLOT), (false, 5, 1, SLOT + 400)]
    {
        let probe = device(WEIGHTS + 400 + room * SLOT).telling_processes_apart(told_apart);
        let rented = Rented::new(FakeEngine::saying(""), &probe);
        let supervisor = start_on(site(Arc::new(Unequal { rented, once: 400 }), &probe)).await.unwrap();
        let sizing = supervisor.sizing();
        assert_eq!((sizing.slots, sizing.footprint.slot), (slots, Bytes::mib(slot)), "{told_apart}");
        serving(&supervisor, slots.into()).await;
    }
}
