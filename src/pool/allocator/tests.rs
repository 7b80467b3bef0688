use super::*;
use crate::pool::{Class, Cost, KeyCap, KeyId, LeaseScope};
use crate::telemetry::metrics::{refusals, render_untouched};
use futures_util::FutureExt;
use std::future::Future;
use std::num::NonZeroU16;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

const SECOND: Duration = Duration::from_secs(1);

/// A pool with room for two in line.
fn pool(slots: u16) -> (Allocator, mpsc::UnboundedReceiver<Departure>) {
    let (allocator, retired) = Allocator::new(PoolSettings { queue_limit: 2, ..PoolSettings::default() });
    for slot in 0..slots {
        allocator.add(SlotId(slot));
    }
    (allocator, retired)
}

fn flow(allocator: &Allocator, name: &str) -> Arc<Flow> {
    allocator.enroll(FlowInfo::session(name))
}

/// One second of a slot.
fn one(class: Class) -> Ask {
    Ask::new(class, Cost(SECOND))
}

async fn lease(allocator: &Allocator) -> Lease {
    allocator.acquire(&flow(allocator, "holder"), one(Class::Final), None).await.expect("no deadline was set")
}

fn wait(allocator: &Allocator, name: &str) -> Place {
    allocator
        .enqueue(&flow(allocator, name), one(Class::Final), None)
        .expect("those inside are never refused")
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn is_served(place: &mut Place) -> bool {
    matches!(poll(pin!(place.lease())), Poll::Ready(Ok(_)))
}

fn standing(place: &Place) -> Option<(usize, Option<u64>)> {
    let standing = *place.standing().borrow();
    standing.map(|at| (at.position, at.estimated_wait.map(|wait| wait.as_secs())))
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_gives_up_does_not_keep_a_slot() {
    let (allocator, _retired) = pool(1);
    let held = lease(&allocator).await;
    let deadline = Some(Instant::now() + Duration::from_millis(250));
    let impatient = flow(&allocator, "impatient");
    let error = allocator.acquire(&impatient, one(Class::Final), deadline).await.unwrap_err();
    let waited = Duration::from_millis(250);
    assert_eq!(error, AcquireError::DeadlineExceeded { waited, retry_after: Some(SECOND) });
    drop(held);
    let snapshot = allocator.snapshot();
    assert_eq!((snapshot.slots.idle, snapshot.queue.depth()), (1, 0));
}

#[tokio::test]
async fn a_lease_whose_waiter_vanished_on_delivery_moves_on() {
    let (allocator, _retired) = pool(1);
    let held = lease(&allocator).await;
    let vanishing = wait(&allocator, "vanishing");
    let mut next = wait(&allocator, "next");
    drop(held);
    assert!(!is_served(&mut next), "the first in line was served first");
    drop(vanishing);
    assert!(is_served(&mut next));
}

#[tokio::test]
async fn a_retired_slot_serves_nobody_until_it_is_rebuilt() {
    let (allocator, mut retired) = pool(1);
    lease(&allocator).await.retire(Retirement::Lost, "test");
    let mut waiting = wait(&allocator, "waiting");
    assert!(!is_served(&mut waiting));
    assert_eq!(allocator.slots().retired, 1);
    assert_eq!(retired.recv().await, Some(Departure::Lost(SlotId(0))));
    allocator.warm(SlotId(0));
    assert_eq!(allocator.slots().warming, 1);
    allocator.add(SlotId(0));
    assert!(is_served(&mut waiting));
}

#[tokio::test]
async fn a_slot_that_is_wanted_back_leaves_when_its_lease_ends_whoever_waits_for_it() {
    let (allocator, mut departed) = pool(2);
    let (first, second) = (lease(&allocator).await, lease(&allocator).await);
    let mut waiting = wait(&allocator, "waiting");
    allocator.take_back(Bank(0));
    drop(first);
    assert!(!is_served(&mut waiting));
    assert_eq!(departed.recv().await, Some(Departure::TakenBack(SlotId(0))));
    assert_eq!((allocator.slots().total, allocator.slots().leased), (1, 1));
    drop(second);
    assert!(is_served(&mut waiting), "only one was wanted back");
}

#[tokio::test]
async fn a_lease_that_was_retired_over_its_holders_head_gives_nothing_back() {
    let (allocator, mut retired) = pool(1);
    let stuck = lease(&allocator).await;
    assert!(allocator.retire(stuck.slot(), stuck.generation(), Retirement::Stuck, "test"));
    assert!(!allocator.retire(stuck.slot(), stuck.generation(), Retirement::Stuck, "test"), "only once");
    assert_eq!(retired.recv().await, Some(Departure::Lost(SlotId(0))));
    allocator.add(SlotId(0));
    let current = lease(&allocator).await;
    drop(stuck);
    assert_eq!((allocator.slots().leased, allocator.slots().idle), (1, 0));
    drop(current);
    assert_eq!(allocator.slots().idle, 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_line_refuses_newcomers_at_the_door() {
    let (allocator, _retired) = pool(1);
    let _held = lease(&allocator).await;
    assert_eq!(allocator.admit(), Ok(()));
    let _waiting = [wait(&allocator, "first"), wait(&allocator, "second")];
    // After the holder and the first two.
    let retry_after = Some(SECOND * 3);
    assert_eq!(allocator.admit(), Err(AcquireError::Saturated { queued: 2, limit: 2, retry_after }));
}

#[tokio::test(start_paused = true)]
async fn what_may_be_dropped_takes_no_room_from_newcomers_until_it_is_owed() {
    let (allocator, _retired) = pool(1);
    let _held = lease(&allocator).await;
    let in_line = |class| allocator.enqueue(&flow(&allocator, "talker"), one(class), None).unwrap();
    let _interims = [Class::Interim; 3].map(in_line);
    let guesses = [Class::Speculative; 3].map(in_line);
    assert_eq!(allocator.admit(), Ok(()));
    guesses[0].promote();
    assert_eq!(allocator.admit(), Ok(()));
    let _part = in_line(Class::Batch);
    assert_eq!(allocator.admit().unwrap_err().code(), "pool_saturated");
}

#[tokio::test]
async fn a_newcomer_that_was_let_in_before_the_line_filled_up_is_refused_at_its_end() {
    let (allocator, _retired) = pool(1);
    let _held = lease(&allocator).await;
    let _waiting = [wait(&allocator, "first"), wait(&allocator, "second")];
    let deadline = Some(Instant::now() + SECOND * 30);
    let newcomer = flow(&allocator, "newcomer");
    let refused = allocator.acquire(&newcomer, one(Class::Final), deadline).await;
    assert_eq!(refused.unwrap_err().code(), "pool_saturated");
    let mut inside = wait(&allocator, "inside");
    assert!(!is_served(&mut inside), "work of those inside waits, but is never refused");
}

#[tokio::test]
async fn a_draining_pool_still_serves_those_inside() {
    let (allocator, _retired) = pool(1);
    let held = lease(&allocator).await;
    let mut waiting = wait(&allocator, "inside");
    allocator.drain();
    assert_eq!(allocator.admit(), Err(AcquireError::Draining));
    drop(held);
    assert!(is_served(&mut waiting));
}

#[tokio::test]
async fn everybody_who_waits_when_the_pool_closes_gets_an_answer() {
    let (allocator, _retired) = pool(1);
    let _held = lease(&allocator).await;
    let mut waiting = [wait(&allocator, "first"), wait(&allocator, "second")];
    allocator.close();
    for place in &mut waiting {
        assert_eq!(place.lease().await.unwrap_err(), AcquireError::Draining);
    }
    let late = allocator.enqueue(&flow(&allocator, "late"), one(Class::Final), None);
    assert_eq!(late.unwrap_err(), AcquireError::Draining);
    assert_eq!((allocator.waiting(), allocator.snapshot().queue.depth()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn who_has_to_wait_knows_its_place_at_once() {
    let (allocator, _retired) = pool(1);
    let held = lease(&allocator).await;
    let (first, second) = (wait(&allocator, "first"), wait(&allocator, "second"));
    assert_eq!(standing(&first), Some((1, Some(1))), "the second that the holder takes");
    assert_eq!(standing(&second), Some((2, Some(2))));
    drop(held);
}

#[tokio::test]
async fn who_is_served_at_once_never_stood_in_line() {
    let (allocator, _retired) = pool(1);
    assert_eq!(standing(&wait(&allocator, "only")), None);
}

#[tokio::test(start_paused = true)]
async fn places_are_told_when_the_line_moves_at_most_twice_a_second() {
    let (allocator, _retired) = pool(1);
    let informing = tokio::spawn(allocator.clone().keep_informed());
    let held = lease(&allocator).await;
    let first = wait(&allocator, "first");
    let second = wait(&allocator, "second");
    tokio::time::sleep(NEWS_PACE * 4).await;
    let mut news = second.standing();
    drop(first);
    let since = Instant::now();
    while standing(&second).is_some_and(|(position, _)| position > 1) {
        news.changed().await.expect("the place is still there");
    }
    assert!(since.elapsed() <= NEWS_PACE);
    informing.abort();
    drop(held);
}

#[tokio::test]
async fn nobody_guesses_when_a_lease_ends_that_is_kept() {
    let (allocator, _retired) = pool(1);
    let ask = Ask { scope: LeaseScope::Session, ..one(Class::Final) };
    let _kept = allocator.acquire(&flow(&allocator, "keeper"), ask, None).await.unwrap();
    let waiting = wait(&allocator, "waiting");
    assert_eq!(standing(&waiting), Some((1, None)));
}

#[tokio::test(start_paused = true)]
async fn the_snapshot_tells_who_holds_and_who_waits() {
    let (allocator, _retired) = pool(2);
    let ann = flow(&allocator, "ann");
    ann.set_speaking(true);
    let kept = Ask { scope: LeaseScope::Session, ..one(Class::Final) };
    let keeper = allocator.acquire(&ann, kept, None).await.unwrap();
    let worker = lease(&allocator).await;
    let waiting = wait(&allocator, "bob");
    tokio::time::advance(SECOND * 3).await;
    let snapshot = allocator.snapshot();
    let shown = |slot: usize| {
        let holder = &snapshot.holders[slot];
        (&*holder.name, holder.scope, holder.held.as_secs(), holder.idle.as_secs())
    };
    assert_eq!(shown(0), ("ann", LeaseScope::Session, 3, 3));
    assert_eq!(shown(1), ("holder", LeaseScope::Utterance, 3, 0));
    let bob = &snapshot.queue.waiters[0];
    assert_eq!((&*bob.name, bob.class, bob.standing.position), ("bob", Class::Final, 1));
    assert_eq!(snapshot.queue.oldest_wait, SECOND * 3);
    assert_eq!(
        (snapshot.sessions.connected, snapshot.sessions.speaking),
        (2, 1),
        "the holder's flow is gone"
    );
    drop((keeper, worker, waiting));
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_decodes_for_its_users_needs_no_other_proof() {
    let (allocator, _retired) = pool(2);
    let working = lease(&allocator).await;
    tokio::time::advance(SECOND * 60).await;
    working.rests(SECOND, true);
    drop(working);
    assert_eq!(allocator.unproven(SECOND * 30), [SlotId(1)]);
    let canary = allocator.lend(SlotId(1), "canary").expect("it is idle");
    canary.rests(SECOND, true);
    drop(canary);
    assert_eq!(allocator.unproven(SECOND * 30), []);
    assert_eq!(allocator.snapshot().service.decode_p50, Some(SECOND), "what users got, without the canary");
}

#[tokio::test]
async fn the_house_borrows_only_what_nobody_holds() {
    let (allocator, _retired) = pool(1);
    let held = lease(&allocator).await;
    assert!(allocator.lend(SlotId(0), "trial").is_none());
    assert!(!allocator.withdraw_slot(SlotId(0)));
    drop(held);
    let borrowed = allocator.lend(SlotId(0), "trial").expect("it is idle");
    let shown = allocator.snapshot().holders.remove(0);
    assert_eq!((&*shown.name, &*shown.tier), ("trial", "house"));
    let mut waiting = wait(&allocator, "waiting");
    assert!(!is_served(&mut waiting));
    drop(borrowed);
    assert!(is_served(&mut waiting));
    assert!(allocator.withdraw_slot(SlotId(0)));
    assert_eq!(allocator.slots(), Slots::default());
}

#[tokio::test]
async fn an_interim_that_was_replaced_is_told_so() {
    let (allocator, _retired) = pool(1);
    let _held = lease(&allocator).await;
    let speaker = flow(&allocator, "speaker");
    let mut older = allocator.enqueue(&speaker, one(Class::Interim), None).unwrap();
    let _newer = allocator.enqueue(&speaker, one(Class::Interim), None).unwrap();
    assert_eq!(older.lease().await.unwrap_err(), AcquireError::Superseded);
    assert_eq!((allocator.waiting(), allocator.snapshot().queue.depth()), (1, 1));
}

#[tokio::test]
async fn a_speculative_ticket_becomes_a_final_where_it_stands() {
    let (allocator, _retired) = pool(1);
    let held = lease(&allocator).await;
    let place = allocator.enqueue(&flow(&allocator, "speaker"), one(Class::Speculative), None).unwrap();
    assert!(place.promote());
    assert!(!place.promote(), "it is final already");
    assert_eq!(allocator.snapshot().queue.waiters[0].class, Class::Final);
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn whoever_leaves_the_line_without_a_lease_is_counted_once() {
    // Other tests count on the same registry meanwhile, but not nearly as many.
    const MANY: usize = 1_000;
    let reasons = ["pool_superseded", "pool_deadline_exceeded", "pool_draining"];
    let before = reasons.map(refusals);
    let (allocator, _retired) =
        Allocator::new(PoolSettings { queue_limit: MANY * 2, ..PoolSettings::default() });
    let speaker = flow(&allocator, "speaker");
    let deadline = Some(Instant::now() + SECOND);
    let take = |class, deadline| allocator.enqueue(&speaker, one(class), deadline).unwrap();
    let mut interims: Vec<_> = (0..=MANY).map(|_| take(Class::Interim, None)).collect();
    let _newest = interims.pop();
    let late: Vec<_> = (0..MANY).map(|_| take(Class::Final, deadline)).collect();
    for mut place in interims.into_iter().chain(late) {
        place.lease().await.unwrap_err();
    }
    let inside: Vec<_> = (0..MANY).map(|_| take(Class::Final, None)).collect();
    allocator.close();
    for mut place in inside {
        place.lease().await.unwrap_err();
    }
    for (reason, before) in reasons.into_iter().zip(before) {
        let counted = refusals(reason) - before;
        assert!((1_000..1_500).contains(&counted), "{reason}: {counted}");
    }
}

#[test]
fn every_code_of_the_pool_is_shown_before_it_happened() {
    let (waited, retry_after) = (SECOND, None);
    let errors = [
        AcquireError::Saturated { queued: 2, limit: 2, retry_after },
        AcquireError::DeadlineExceeded { waited, retry_after },
        AcquireError::Superseded,
        AcquireError::Draining,
    ];
    let shown = render_untouched();
    for code in Retirement::ALL.map(Retirement::name).into_iter().chain(errors.iter().map(AcquireError::code))
    {
        assert!(shown.contains(&format!("{{reason=\"{code}\"}} 0\n")), "{code}");
    }
}

fn of_one_key(allocator: &Allocator, name: &str) -> Arc<Flow> {
    let key = KeyCap { key: KeyId(1), leases: NonZeroU16::MIN };
    allocator.enroll(FlowInfo { key: Some(key), ..FlowInfo::session(name) })
}

#[tokio::test]
async fn a_key_whose_only_lease_was_retired_gets_the_slot_that_is_idle() {
    let (allocator, _retired) = pool(2);
    let (first, second) = (of_one_key(&allocator, "first"), of_one_key(&allocator, "second"));
    let stuck = allocator.acquire(&first, one(Class::Final), None).await.unwrap();
    let mut waiting = allocator.enqueue(&second, one(Class::Final), None).unwrap();
    assert!(!is_served(&mut waiting), "its key is at its cap");
    assert!(allocator.retire(stuck.slot(), stuck.generation(), Retirement::Stuck, "test"));
    assert!(is_served(&mut waiting));
}

#[tokio::test]
async fn nobody_guesses_when_a_key_at_its_cap_has_a_lease_to_spare() {
    let (allocator, _retired) = pool(2);
    let (first, second) = (of_one_key(&allocator, "first"), of_one_key(&allocator, "second"));
    let _held = allocator.acquire(&first, one(Class::Final), None).await.unwrap();
    let waiting = allocator.enqueue(&second, one(Class::Final), None).unwrap();
    assert_eq!(standing(&waiting), Some((1, None)));
}

#[tokio::test(start_paused = true)]
async fn leases_that_are_kept_say_nothing_about_fairness() {
    let (allocator, _retired) = pool(2);
    let kept = Ask { scope: LeaseScope::Session, ..one(Class::Final) };
    let flows = [flow(&allocator, "ann"), flow(&allocator, "bob")];
    let _ann = allocator.acquire(&flows[0], kept, None).await.unwrap();
    let _bob = allocator.acquire(&flows[1], kept, None).await.unwrap();
    tokio::time::advance(SECOND * 100).await;
    assert_eq!(allocator.snapshot().fairness, None);
}

#[tokio::test(start_paused = true)]
async fn flows_of_one_account_share_one_part() {
    let (allocator, _retired) = pool(1);
    let many: Vec<_> = (0..3)
        .map(|n| {
            let account = Some("uploads".into());
            allocator.enroll(FlowInfo { account, ..FlowInfo::request(format!("request {n}")) })
        })
        .collect();
    let talker = flow(&allocator, "talker");
    let mut uploads = Vec::new();
    let mut order = String::new();
    let mut held = allocator.acquire(&many[0], one(Class::Final), None).await.unwrap();
    for request in &many {
        uploads.push(allocator.enqueue(request, one(Class::Final), None).unwrap());
    }
    let mut talk: Vec<_> =
        (0..2).map(|_| allocator.enqueue(&talker, one(Class::Final), None).unwrap()).collect();
    while !(uploads.is_empty() && talk.is_empty()) {
        tokio::time::advance(SECOND).await;
        drop(held);
        let next = |line: &mut Vec<Place>| line.first_mut().and_then(|place| place.lease().now_or_never());
        held = if let Some(lease) = next(&mut talk) {
            talk.remove(0);
            order.push('t');
            lease.unwrap()
        } else {
            order.push('u');
            let lease = next(&mut uploads).expect("one of them is served");
            uploads.remove(0);
            lease.unwrap()
        };
    }
    assert_eq!(order, "tutuu", "in turns with the talker, and not all uploads first");
    drop((held, many));
    assert_eq!(allocator.snapshot().queue.depth(), 0);
}
