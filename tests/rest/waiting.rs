//! The waiting room of REST: how long a request waits, what it is told when that is too long, and what the pool calls it.

use super::*;
use std::num::NonZero;

/// The header that says when to come back, in seconds.
fn retry_after(answer: &Answer) -> u64 {
    answer.headers["retry-after"].parse().expect("whole seconds")
}

impl Running {
    /// Takes a slot as somebody would who needs it for so long, or for ever.
    async fn occupied(&self, cost: Duration, scope: LeaseScope) -> Lease {
        let allocator = self.server.lanes.allocator();
        let flow = allocator.enroll(FlowInfo::session("sess_other"));
        let ask = Ask { scope, ..Ask::new(Class::Final, Cost(cost)) };
        allocator.acquire(&flow, ask, None).await.unwrap()
    }
}

fn patient_for(rest_wait: Duration) -> Stage {
    Stage { settings: ServerSettings { rest_wait, ..ServerSettings::default() }, ..Stage::with(never_done()) }
}

#[tokio::test]
async fn a_full_line_answers_503_and_when_to_come_back() {
    let server = Stage { queue_limit: 1, ..Stage::with(never_done()) }.start().await;
    let _lease = server.occupied(Duration::from_secs(90), LeaseScope::Utterance).await;
    let whole = transcription(&[], &one_utterance());
    let _first = send(server.address, &whole).await;
    server.until(|pool| pool.queue.depth() == 1).await;
    let second = server.answer(&whole).await;
    assert_eq!(second.refusal(), (503, "pool_saturated".into()));
    // What is left of the lease, and the one who waits for it.
    assert!((60..=120).contains(&retry_after(&second)), "{second:?}");
}

#[tokio::test]
async fn a_request_that_waits_too_long_for_its_first_slot_answers_503_and_leaves_the_line() {
    let server = patient_for(Duration::from_millis(50)).start().await;
    let _lease = server.occupied(Duration::from_secs(90), LeaseScope::Utterance).await;
    let late = server.answer(&transcription(&[], &one_utterance())).await;
    assert_eq!(late.refusal(), (503, "pool_deadline_exceeded".into()));
    assert!((60..=90).contains(&retry_after(&late)), "{late:?}");
    server.until(|pool| pool.queue.depth() == 0 && pool.slots.leased == 1).await;
}

#[tokio::test]
async fn where_nobody_knows_how_long_it_takes_a_request_is_told_five_seconds() {
    let server = patient_for(Duration::from_millis(50)).start().await;
    let _lease = server.occupied(Duration::from_secs(90), LeaseScope::Session).await;
    let late = server.answer(&transcription(&[], &one_utterance())).await;
    assert_eq!((late.refusal().0, retry_after(&late)), (503, 5));
    server.server.lanes.allocator().drain();
    let newcomer = server.answer(&transcription(&[], &one_utterance())).await;
    assert_eq!(newcomer.refusal(), (503, "pool_draining".into()));
    assert_eq!(retry_after(&newcomer), 5);
}

#[tokio::test]
async fn a_request_waits_for_its_first_slot_as_long_as_it_may() {
    let server = Stage::with(counting()).start().await;
    let lease = server.occupied(Duration::from_secs(90), LeaseScope::Session).await;
    let freed = async {
        server.until(|pool| pool.queue.depth() == 1).await;
        drop(lease);
    };
    let (answered, ()) = tokio::join!(server.transcribe(&[("response_format", "text")]), freed);
    assert_eq!(answered.body, "One. Two.\n");
}

#[tokio::test]
async fn the_pool_knows_a_request_by_the_name_that_its_answer_has() {
    let server = patient_for(Duration::from_millis(200)).start().await;
    let _lease = server.occupied(Duration::ZERO, LeaseScope::Utterance).await;
    let whole = transcription(&[], &one_utterance());
    let look = async {
        server.until(|pool| pool.queue.depth() == 1).await;
        server.server.lanes.allocator().snapshot().queue.waiters[0].name.to_string()
    };
    let (answer, name) = tokio::join!(server.answer(&whole), look);
    assert!(name.starts_with("req_"), "{name}");
    assert_eq!(answer.headers["x-request-id"], name);
}

#[tokio::test]
async fn a_request_belongs_to_the_tier_of_its_key() {
    let gold = Tier { name: "gold".into(), weight: Weight::new(4).unwrap() };
    let keys = vec![KeyEntry { tier: gold, ..key("ann", None) }];
    let server = Stage { keys, ..Stage::with(never_done()) }.start().await;
    let head = format!("Authorization: Bearer ann\r\n{FORM}");
    let body = form(&[], Some(&one_utterance()));
    let _client = send(server.address, &request("POST", "/v1/audio/transcriptions", &head, &body)).await;
    server.until(|pool| pool.holders.iter().any(|holder| &*holder.tier == "gold")).await;
}

#[tokio::test]
async fn what_a_key_does_at_once_shares_its_cap_on_leases() {
    let keys = vec![KeyEntry { max_leases: NonZero::new(1), ..key("ann", None) }, key("bob", None)];
    let server = Stage { slots: 2, keys, ..Stage::with(never_done()) }.start().await;
    let body = form(&[], Some(&one_utterance()));
    let whole = |name: &str| {
        let head = format!("Authorization: Bearer {name}\r\n{FORM}");
        request("POST", "/v1/audio/transcriptions", &head, &body)
    };
    let _first = send(server.address, &whole("ann")).await;
    server.until(|pool| pool.slots.leased == 1).await;
    let _second = send(server.address, &whole("ann")).await;
    server.until(|pool| (pool.queue.depth(), pool.slots.idle) == (1, 1)).await;
    let _third = send(server.address, &whole("bob")).await;
    server.until(|pool| (pool.queue.depth(), pool.slots.idle) == (1, 0)).await;
}
