//! Soaks of a server that is only made up, in virtual time.

use super::*;
use crate::audio::SampleRate;
use crate::load::{ConnectError, Connection, Disconnected, Heard, Listener, Speaker};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, pending};
use std::convert::Infallible;
use std::sync::Mutex;

/// Lets everybody in, and counts who is there.
struct Open(Arc<()>);

impl Open {
    fn connected(guard: &Arc<()>) -> usize {
        // The test and the protocol hold one each.
        Arc::strong_count(guard) - 2
    }
}

struct Mouth(#[expect(dead_code, reason = "it is counted")] Arc<()>);

struct Ear;

impl Protocol for Open {
    fn rate(&self) -> SampleRate {
        SampleRate::new(16_000).expect("it is a rate")
    }

    fn tells_positions(&self) -> bool {
        true
    }

    fn connect(&self, _: u32) -> BoxFuture<'_, Result<Connection, ConnectError>> {
        let speaker = Box::new(Mouth(Arc::clone(&self.0)));
        async { Ok(Connection { speaker, listener: Box::new(Ear) }) }.boxed()
    }
}

impl Speaker for Mouth {
    fn begin_turn(&mut self) {}

    fn say<'a>(&'a mut self, _: &'a [i16]) -> BoxFuture<'a, Result<Duration, Disconnected>> {
        async { Ok(Duration::ZERO) }.boxed()
    }

    fn end_turn(&mut self) -> BoxFuture<'_, Result<(), Disconnected>> {
        async { Ok(()) }.boxed()
    }

    fn hang_up(self: Box<Self>) -> BoxFuture<'static, ()> {
        async {}.boxed()
    }
}

impl Listener for Ear {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Heard>, Disconnected>> {
        pending().boxed()
    }
}

/// A minute of somebody who misbehaves every tenth of a second; nobody answers questions about the server.
fn settings(protocol: Arc<dyn Protocol>, rubbish: Rubbish) -> SoakSettings {
    SoakSettings {
        duration: Duration::from_secs(60),
        warm_up: Duration::from_secs(60),
        pause: Duration::from_millis(100),
        ..SoakSettings::new(String::new(), None, protocol, rubbish)
    }
}

#[tokio::test(start_paused = true)]
async fn who_misbehaves_leaves_when_the_people_have_spoken() {
    let guard = Arc::new(());
    let settings = settings(Arc::new(Open(Arc::clone(&guard))), Rubbish::Never);
    // The settings hold a protocol, and each culprit a clone of the same one: only connections count.
    let people = async |duration, course: Course| {
        sleep(duration).await;
        let beside = Open::connected(&guard);
        course.over.cancel();
        sleep(Duration::from_millis(1)).await;
        let at_once = Open::connected(&guard);
        sleep(duration).await;
        assert_eq!((at_once, Open::connected(&guard)), (0, 0), "{beside} were there");
        Ok::<_, Infallible>(LoadReport { turns: beside as u64, ..LoadReport::default() })
    };
    let Ok(report) = soak(&settings, &[], people, &CancellationToken::new()).await;
    assert!(report.load.expect("it came to its end").turns > 0, "somebody was there until then");
}

#[tokio::test(start_paused = true)]
async fn a_server_of_ours_that_does_not_say_what_it_holds_has_not_passed() {
    let settings = settings(Arc::new(Open(Arc::default())), Rubbish::Rest);
    let people = async |_, _| Ok::<_, Infallible>(LoadReport::default());
    let Ok(report) = soak(&settings, &[], people, &CancellationToken::new()).await;
    let unknown = ["slots_idle unknown", "sessions unknown", "tasks unknown"];
    let expected = ["before", "after"].map(|when| unknown.map(|what| format!("{when}: {what}"))).concat();
    assert_eq!(report.failures(), expected);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_begun_after_a_stop() {
    let (stop, runs) = (CancellationToken::new(), Mutex::new(0));
    let people = async |_, course: Course| {
        *runs.lock().unwrap() += 1;
        stop.cancel();
        assert!(course.stop.is_cancelled());
        Ok::<_, Infallible>(LoadReport { interrupted: true, finals: 7, ..LoadReport::default() })
    };
    let settings = settings(Arc::new(Open(Arc::default())), Rubbish::Rest);
    let Ok(report) = soak(&settings, &[], people, &stop).await;
    assert_eq!((*runs.lock().unwrap(), report.warm_up.finals, &report.load), (1, 7, &None));
    assert_eq!(report.failures(), ["in the warm-up: ended before its time", "stopped before its time"]);
}

#[tokio::test(start_paused = true)]
async fn a_soak_that_is_stopped_keeps_the_report_of_the_people() {
    let (stop, runs) = (CancellationToken::new(), Mutex::new(0));
    let people = async |_, _: Course| {
        let mut runs = runs.lock().unwrap();
        *runs += 1;
        if *runs == 2 {
            stop.cancel();
        }
        Ok::<_, Infallible>(LoadReport { finals: *runs, ..LoadReport::default() })
    };
    let settings = settings(Arc::new(Open(Arc::default())), Rubbish::Never);
    let Ok(report) = soak(&settings, &[], people, &stop).await;
    assert_eq!(report.load.as_ref().map(|load| load.finals), Some(2));
    assert_eq!(report.failures(), ["stopped before its time"]);
}
