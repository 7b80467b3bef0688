//! What the pool itself costs: `cargo bench --bench pool`.
//!
//! Times are of this machine; the last table is virtual time and the same everywhere.

use std::sync::Arc;
use std::time::Duration;
use stenopool::load::Scenario;
use stenopool::pool::{Allocator, Ask, Class, Cost, FlowInfo, Place, PoolSettings, SlotId};
use tokio::time::Instant;

/// What everybody asks for.
const ASK: Duration = Duration::from_millis(300);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        uncontended().await;
        waiting(10_000).await;
        waking(1_000).await;
        looking(1_000, 256);
    });
    println!("\n{}", Scenario::evening().compare());
}

fn pool(slots: u16) -> Allocator {
    let (allocator, _retired) =
        Allocator::new(PoolSettings { queue_limit: usize::MAX, ..PoolSettings::default() });
    (0..slots).for_each(|slot| allocator.add(SlotId(slot)));
    allocator
}

fn ask() -> Ask {
    Ask::new(Class::Final, Cost(ASK))
}

/// One flow takes a lease and gives it back, again and again.
async fn uncontended() {
    const ROUNDS: usize = 200_000;
    let allocator = pool(1);
    let flow = allocator.enroll(FlowInfo::session("only"));
    let mut took = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let since = Instant::now();
        drop(allocator.acquire(&flow, ask(), None).await.expect("nobody closes the pool"));
        took.push(since.elapsed());
    }
    print_times("acquire and release, nobody else there", took);
}

/// So many flows wait for one slot, which goes from one to the next.
async fn waiting(n_flows: usize) {
    let allocator = pool(1);
    let holder = allocator.enroll(FlowInfo::session("holder"));
    let mut held = allocator.acquire(&holder, ask(), None).await.expect("nobody closes the pool");
    let enqueue = |n| {
        let flow = allocator.enroll(FlowInfo::session(format!("flow-{n}")));
        allocator.enqueue(&flow, ask(), None).expect("nobody closes the pool")
    };
    let line: Vec<Place> = (0..n_flows).map(enqueue).collect();
    let mut took = Vec::with_capacity(n_flows);
    for mut place in line {
        let since = Instant::now();
        drop(held);
        took.push(since.elapsed());
        // Equal flows are served in the order in which they came, so this one has its lease by now.
        held = place.lease().await.expect("nobody closes the pool");
    }
    print_times(&format!("one grant while up to {n_flows} wait"), took);
}

/// So many sessions wait, each a task of its own; how long after the grant does each hold its lease?
async fn waking(n_sessions: usize) {
    let allocator = pool(8);
    let tasks: Vec<_> = (0..n_sessions)
        .map(|n| {
            let flow = allocator.enroll(FlowInfo::session(format!("session-{n}")));
            tokio::spawn(wake_often(allocator.clone(), Arc::clone(&flow)))
        })
        .collect();
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await.expect("no session panics"));
    }
    print_times(&format!("from a grant to the session that waited, {n_sessions} sessions on 8 slots"), took);
}

/// What `/pool` and `/metrics` look at, with so many sessions of which so many wait.
fn looking(n_sessions: usize, n_waiting: usize) {
    let allocator = pool(8);
    let sessions: Vec<_> =
        (0..n_sessions).map(|n| allocator.enroll(FlowInfo::session(format!("session-{n}")))).collect();
    let enqueue = |flow| allocator.enqueue(flow, ask(), None).expect("nobody closes the pool");
    let _line: Vec<Place> = sessions.iter().take(8 + n_waiting).map(enqueue).collect();
    let mut took = Vec::new();
    for _ in 0..1_000 {
        let since = Instant::now();
        let snapshot = allocator.snapshot();
        took.push(since.elapsed());
        assert_eq!(snapshot.queue.depth(), n_waiting);
    }
    print_times(&format!("one look at the pool, {n_sessions} sessions, {n_waiting} in line"), took);
}

/// Takes ten leases in turn and works 1 ms with each; gives the time from each grant until it was in hand.
async fn wake_often(allocator: Allocator, flow: Arc<stenopool::pool::Flow>) -> Vec<Duration> {
    let mut took = Vec::new();
    for _ in 0..10 {
        let lease = allocator.acquire(&flow, ask(), None).await.expect("nobody closes the pool");
        took.push(lease.held());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    took
}

fn print_times(what: &str, mut took: Vec<Duration>) {
    took.sort_unstable();
    let at = |permille: usize| took[(took.len() - 1) * permille / 1_000].as_secs_f64() * 1e6;
    let mean = took.iter().sum::<Duration>().as_secs_f64() * 1e6 / took.len() as f64;
    println!(
        "{what}: median {:.2} us, mean {mean:.2} us, p99 {:.1} us, longest {:.0} us",
        at(500),
        at(990),
        at(1_000)
    );
}
