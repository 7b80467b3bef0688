//! Searches of servers that are made up.

use super::curves::point;
use super::*;
use std::sync::Mutex;

const SETTINGS: KneeSettings = KneeSettings { first: 4, most: 64, limit: Duration::from_secs(1) };

/// A server whose p95 is 50 ms for each of its people.
fn slowed_down(n: u32) -> LoadReport {
    point(n, f64::from(n) * 50.0)
}

async fn slows_down(n: u32) -> Result<LoadReport, LoadError> {
    Ok(slowed_down(n))
}

fn gone() -> LoadError {
    ConnectError::Unreachable { url: "http://x".into(), reason: "nobody listens".into() }.into()
}

fn full() -> LoadError {
    ConnectError::Rejected { reason: "all seats are taken".into() }.into()
}

fn tried(curve: &Curve) -> Vec<u32> {
    curve.points.iter().map(|point| point.clients).collect()
}

#[tokio::test]
async fn the_knee_is_the_most_people_whose_texts_come_in_time() {
    let curve = find_knee(&SETTINGS, slows_down, async || {}, &CancellationToken::new()).await;
    assert_eq!((curve.knee, curve.good, &curve.ended), (Some(20), Some(20), &Ended::Found));
    assert_eq!(tried(&curve), [4, 8, 16, 20, 21, 22, 24, 32], "in order of their number");
}

#[tokio::test]
async fn a_server_that_holds_everybody_has_no_knee_yet() {
    let settings = KneeSettings { most: 10, ..SETTINGS };
    let curve = find_knee(&settings, slows_down, async || {}, &CancellationToken::new()).await;
    assert_eq!((curve.knee, curve.good, &curve.ended), (None, Some(10), &Ended::AllPassed));
    assert_eq!(tried(&curve), [4, 8, 10]);
}

#[tokio::test]
async fn an_error_is_as_bad_as_a_late_text() {
    let errs = async |n: u32| {
        let mut point = point(n, 10.0);
        if n > 5 {
            point.errors.insert("decode_failed".into(), 1);
        }
        Ok::<_, LoadError>(point)
    };
    let curve = find_knee(&SETTINGS, errs, async || {}, &CancellationToken::new()).await;
    assert_eq!((curve.knee, &curve.ended), (Some(5), &Ended::Found));
}

#[tokio::test]
async fn a_generator_that_is_late_ends_the_curve_and_is_no_knee() {
    let late = async |n: u32| {
        let mut point = point(n, 10.0);
        if n > 8 {
            point.unpublished = Some("the generator was 31 ms late".into());
            point.final_latency_ms = None;
        }
        Ok::<_, LoadError>(point)
    };
    let curve = find_knee(&SETTINGS, late, async || {}, &CancellationToken::new()).await;
    let why = "the generator was 31 ms late".into();
    assert_eq!((curve.knee, curve.good), (None, Some(8)));
    assert_eq!(curve.ended, Ended::GeneratorLate { people: 16, why });
}

#[tokio::test]
async fn what_was_measured_before_a_server_died_is_kept() {
    let dies = async |n: u32| if n < 16 { Ok(point(n, 10.0)) } else { Err(gone()) };
    let curve = find_knee(&SETTINGS, dies, async || {}, &CancellationToken::new()).await;
    assert_eq!((tried(&curve), curve.knee), (vec![4, 8], None));
    assert_eq!(curve.ended, Ended::Broke { people: 16, error: gone().to_string() });
    assert!(curve.complaint().unwrap().contains("cannot reach"));
}

#[tokio::test]
async fn whoever_stops_it_keeps_the_curve_so_far() {
    let (stop, runs) = (CancellationToken::new(), Mutex::new(0));
    let stopping = async |n: u32| {
        *runs.lock().unwrap() += 1;
        stop.cancel();
        Ok::<_, LoadError>(LoadReport { interrupted: true, ..point(n, 10.0) })
    };
    let curve = find_knee(&SETTINGS, stopping, async || {}, &stop).await;
    assert_eq!((tried(&curve), &curve.ended, curve.good), (vec![4], &Ended::Stopped, None));
    assert_eq!(find_knee(&SETTINGS, stopping, async || {}, &stop).await.points, []);
    assert_eq!(*runs.lock().unwrap(), 1);
}

#[tokio::test]
async fn few_texts_that_are_late_once_are_no_knee() {
    let runs = Mutex::new(Vec::new());
    // The very first decode of the server is slow, and 40 people are too many for it.
    let cold = async |n: u32| {
        let mut runs = runs.lock().unwrap();
        runs.push(n);
        let late = runs.len() == 1 || n > 40;
        Ok::<_, LoadError>(LoadReport { turns: u64::from(n), ..point(n, if late { 1_500.0 } else { 10.0 }) })
    };
    let settings = KneeSettings { first: 1, ..SETTINGS };
    let curve = find_knee(&settings, cold, async || {}, &CancellationToken::new()).await;
    assert_eq!((curve.knee, &runs.lock().unwrap()[..4]), (Some(40), &[1, 1, 2, 4][..]));
    let fails = async |n| Ok::<_, LoadError>(LoadReport { turns: 1, ..point(n, 1_500.0) });
    let curve = find_knee(&settings, fails, async || {}, &CancellationToken::new()).await;
    assert_eq!((curve.good, curve.points.len()), (None, 1), "twice is no bad luck");
}

#[tokio::test]
async fn a_load_in_which_nothing_was_said_is_no_knee() {
    let quiet = async |n: u32| {
        let point = point(n, f64::from(n) * 50.0);
        let unsaid = LoadReport { turns: 0, final_latency_ms: None, ..point.clone() };
        Ok::<_, LoadError>(if n < 8 { unsaid } else { point })
    };
    let curve = find_knee(&SETTINGS, quiet, async || {}, &CancellationToken::new()).await;
    assert_eq!((curve.knee, curve.complaint()), (Some(20), None));
    assert!(curve.to_string().contains("nothing was said"), "{curve}");
    let never = async |n| Ok::<_, LoadError>(LoadReport { clients: n, ..LoadReport::default() });
    let curve = find_knee(&SETTINGS, never, async || {}, &CancellationToken::new()).await;
    assert!(curve.complaint().unwrap().contains("nothing was said"), "{curve}");
    assert_eq!((curve.good, curve.knee), (None, None));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_full_for_a_moment_gets_another_try() {
    let refusals = Mutex::new(0);
    let recovers = async |n: u32| {
        let mut refusals = refusals.lock().unwrap();
        *refusals += 1;
        if n == 8 && *refusals <= 4 { Err(full()) } else { Ok(slowed_down(n)) }
    };
    let curve = find_knee(&SETTINGS, recovers, async || {}, &CancellationToken::new()).await;
    assert_eq!((curve.knee, &curve.ended), (Some(20), &Ended::Found));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stays_full_does_not_hold_so_many() {
    let fills = async |n: u32| if n > 5 { Err(full()) } else { Ok(slowed_down(n)) };
    let began = tokio::time::Instant::now();
    let curve = find_knee(&SETTINGS, fills, async || {}, &CancellationToken::new()).await;
    assert_eq!((curve.knee, &curve.ended, tried(&curve)), (Some(5), &Ended::Found, vec![4, 5, 6, 8]));
    assert_eq!(began.elapsed(), 2 * Duration::from_secs(10), "ten seconds for each that it turned away");
    assert!(curve.to_string().contains("1 rejected connection"), "{curve}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_the_wait_for_a_server_that_is_full() {
    let stop = CancellationToken::new();
    let fills = async |_| {
        stop.cancel();
        Err(full())
    };
    let curve = find_knee(&SETTINGS, fills, async || {}, &stop).await;
    assert_eq!((&curve.ended, curve.good), (&Ended::Stopped, None));
}

#[tokio::test]
async fn every_load_begins_when_the_server_is_done_with_the_one_before() {
    let order = Mutex::new(String::new());
    let run = async |n| {
        order.lock().unwrap().push('r');
        slows_down(n).await
    };
    let settle = async || order.lock().unwrap().push('s');
    let settings = KneeSettings { most: 10, ..SETTINGS };
    find_knee(&settings, run, settle, &CancellationToken::new()).await;
    assert_eq!(*order.lock().unwrap(), "srsrsr");
}
