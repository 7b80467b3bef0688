//! Whatever an engine does, and whenever its caller leaves: afterwards the pool is whole, and others were served.

use super::tests::{A_DAY, Bench, bench, read, second_of_audio, settle};
use super::*;
use crate::asr::fake::{Act, FakeEngine};
use std::pin::Pin;
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

const SECOND: Duration = Duration::from_secs(1);

/// What the engine does with the speech of the caller in question.
const BEHAVIOURS: [&str; 6] = ["ok", "err", "slow", "never", "stuck", "panic"];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Leaves {
    Never,
    InLine,
    /// The lease is on its way, and nobody has seen it yet.
    AtTheGrant,
    Decoding,
    /// The answer is there, and nobody has seen it yet.
    AfterTheAnswer,
}

const CANCEL_POINTS: [Leaves; 5] =
    [Leaves::Never, Leaves::InLine, Leaves::AtTheGrant, Leaves::Decoding, Leaves::AfterTheAnswer];

fn act(behaviour: &str, gate: &CancellationToken) -> Act {
    match behaviour {
        "ok" => Act::Say("yes".into(), SECOND),
        "err" => Act::Fail(AsrError::Decode("as scripted".into()), SECOND),
        "slow" => Act::Say("yes".into(), SECOND * 9),
        "never" => Act::Never,
        "stuck" => Act::Stuck(gate.clone()),
        _ => Act::Panic,
    }
}

fn answer_to(behaviour: &str) -> Result<String, &'static str> {
    match behaviour {
        "ok" | "slow" => Ok("yes".into()),
        "err" => Err("decode_failed"),
        "never" => Err("decode_overrun"),
        _ => Err("slot_lost"),
    }
}

/// Two slots; the prompt says who is meant.
fn scene(behaviour: &'static str, gate: CancellationToken) -> Bench {
    let engine = FakeEngine::new(move |_, options| match options.prompt {
        Some(_) => act(behaviour, &gate),
        None => Act::Say("other".into(), SECOND),
    });
    let mut bench = bench(2, engine);
    let limits = JobLimits { shortest: SECOND * 10, ..JobLimits::default() };
    bench.lanes = bench.lanes.with_settings(LaneSettings { limits, ..LaneSettings::default() });
    bench
}

type Call = Pin<Box<dyn Future<Output = Result<Transcript, AsrError>> + Send>>;

fn call(lane: &Lane) -> Call {
    let options = DecodeOptions { prompt: Some("the one in question".into()), ..DecodeOptions::default() };
    let lane = lane.clone();
    Box::pin(async move { lane.transcribe(second_of_audio(), options, Class::Final, None).await })
}

/// Lets the call go as far as it can now; it is not expected to end there.
fn advance(call: &mut Call) {
    assert!(call.now_or_never().is_none(), "nothing ends without time passing");
}

/// Lets the caller go that far, and then lets it leave.
async fn play(bench: &Bench, scope: LeaseScope, leaves: Leaves, behaviour: &str) {
    let others = vec![hold(bench).await, hold(bench).await];
    let lane = bench.lanes.open(FlowInfo::session("test"));
    lane.set_scope(scope);
    let mut call = call(&lane);
    advance(&mut call);
    settle().await;
    assert_eq!(bench.pool(), (0, 2, 1));
    if leaves == Leaves::InLine {
        return;
    }
    drop(others);
    if leaves == Leaves::AtTheGrant {
        return;
    }
    if leaves == Leaves::Never {
        let answer = timeout(A_DAY, call).await.expect("every caller gets an answer");
        let read = answer.map(|transcript| transcript.hypothesis.text()).map_err(|error| error.code());
        assert_eq!(read, answer_to(behaviour));
        return;
    }
    settle().await;
    advance(&mut call);
    settle().await;
    if leaves == Leaves::AfterTheAnswer {
        sleep(SECOND * 30).await;
    }
}

async fn hold(bench: &Bench) -> Lease {
    let flow = bench.lanes.allocator().enroll(FlowInfo::request("holder"));
    let ask = Ask::new(Class::Final, Cost(SECOND));
    bench.lanes.allocator().acquire(&flow, ask, None).await.expect("there is no deadline")
}

async fn is_whole(bench: &Bench, case: &str) {
    let snapshot = bench.lanes.allocator().snapshot();
    assert_eq!((snapshot.slots.total, snapshot.slots.idle), (2, 2), "{case}");
    assert_eq!((snapshot.queue.depth(), snapshot.sessions.connected), (0, 0), "{case}");
    let others = [(); 2].map(|()| bench.lanes.open(FlowInfo::session("other")));
    let since = Instant::now();
    let served = tokio::join!(read(&others[0]), read(&others[1]));
    assert_eq!(served, (Ok("other".into()), Ok("other".into())), "{case}");
    assert_eq!(since.elapsed(), SECOND, "{case}: both slots work");
}

async fn check(behaviour: &'static str, leaves: Leaves, scope: LeaseScope) {
    let case = format!("{behaviour}, leaves {leaves:?}, {}", scope.name());
    let gate = CancellationToken::new();
    let bench = scene(behaviour, gate.clone());
    settle().await;
    let tasks = Handle::current().metrics().num_alive_tasks();
    play(&bench, scope, leaves, behaviour).await;
    // Whatever still goes on there, another slot serves.
    let other = bench.lanes.open(FlowInfo::session("other"));
    assert_eq!(read(&other).await.as_deref(), Ok("other"), "{case}");
    drop(other);
    sleep(SECOND * 20).await;
    is_whole(&bench, &case).await;
    gate.cancel();
    settle().await;
    is_whole(&bench, &format!("{case}, late return")).await;
    settle().await;
    assert_eq!(Handle::current().metrics().num_alive_tasks(), tasks, "{case}: no task is left");
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_the_pool_is_whole_afterwards() {
    for behaviour in BEHAVIOURS {
        for leaves in CANCEL_POINTS {
            for scope in [LeaseScope::Utterance, LeaseScope::Session] {
                check(behaviour, leaves, scope).await;
            }
        }
    }
}
