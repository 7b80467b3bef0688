//! What 1, 2, 4, … busy slots do together.

use super::figures::{Point, millis, rounded};
use super::sound::Sound;
use crate::asr::{DecodeOptions, Lanes};
use crate::gpu::KneeSearch;
use crate::load::Quantiles;
use crate::pool::{Class, FlowInfo};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Each number of slots is measured so often and the better throughput counts, by the rule of [`KneeSearch`]: whatever
/// else runs on the machine only ever slows a measurement down.
const TAKES: u32 = 2;

/// Throughput and latency over the number of slots.
pub(super) struct Curve {
    pub(super) points: Vec<Point>,
    pub(super) knee: Option<u16>,
    /// What went wrong, each kind once.
    pub(super) failures: Vec<String>,
}

/// Measures every number of slots, also past the knee: whoever reads the curve wants to see what more slots cost. Each is
/// busy for so long, or for one decode on every slot where that takes longer.
pub(super) async fn measure(
    lanes: &Lanes,
    slots: &[u16],
    sound: &Sound,
    options: &DecodeOptions,
    each: Duration,
    tell: &dyn Fn(&Point),
) -> Curve {
    let most = slots.last().copied().unwrap_or(1);
    let mut search = KneeSearch::new(most);
    let mut curve = Curve { points: Vec::new(), knee: None, failures: Vec::new() };
    for &slots in slots {
        let mut throughput = 0.0_f64;
        let mut decodes = Vec::new();
        for _ in 0..TAKES {
            let take = keep_busy(lanes, slots, sound, options, each / TAKES).await;
            throughput = throughput.max(take.throughput);
            search.record(slots, take.throughput);
            decodes.extend(take.decodes);
            curve.failures.extend(take.failures);
        }
        if let Some(decode_ms) = Quantiles::of(&mut decodes) {
            let point =
                Point { slots, throughput: rounded(throughput, 2), decodes: decodes.len(), decode_ms };
            tell(&point);
            curve.points.push(point);
        }
    }
    curve.failures.sort();
    curve.failures.dedup();
    curve.knee = search.knee();
    curve
}

/// The numbers of slots to measure: powers of two, and the most; or with `ends` one and the most alone.
pub(super) fn steps(most: u16, ends: bool) -> Vec<u16> {
    if ends {
        return if most > 1 { vec![1, most] } else { vec![1] };
    }
    let doubling = std::iter::successors(Some(1_u16), |slots| slots.checked_mul(2));
    doubling.take_while(|slots| *slots < most).chain([most.max(1)]).collect()
}

/// What some workers did.
#[derive(Default)]
pub(super) struct Take {
    /// Seconds of audio for each second.
    throughput: f64,
    /// In milliseconds.
    decodes: Vec<f64>,
    pub(super) failures: Vec<String>,
}

/// Keeps so many slots busy for so long, and until every worker has done a decode; the clock stops when the last one is done.
///
/// Nobody rests before that: on a device that does one decode after the other, the first to be done would else look as fast
/// as if it had the device for itself.
pub(super) async fn keep_busy(
    lanes: &Lanes,
    slots: u16,
    sound: &Sound,
    options: &DecodeOptions,
    so_long: Duration,
) -> Take {
    let (begun, waited_for) = (Instant::now(), Arc::new(AtomicU16::new(slots)));
    let mut workers = JoinSet::new();
    for worker in 0..usize::from(slots) {
        let (lane, options) = (lanes.open(FlowInfo::request("bench")), options.clone());
        // Each begins elsewhere, so that they do not all decode the same at once.
        let turns: Vec<_> =
            sound.utterances.iter().cycle().skip(worker).take(sound.utterances.len()).cloned().collect();
        let waited_for = Arc::clone(&waited_for);
        workers.spawn(async move {
            let (mut audio, mut take, mut first) = (0.0, Take::default(), true);
            for utterance in turns.iter().cycle() {
                let read = lane.transcribe(Arc::clone(utterance), options.clone(), Class::Final, None).await;
                if std::mem::take(&mut first) {
                    waited_for.fetch_sub(1, Ordering::Relaxed);
                }
                match read {
                    Ok(transcript) => take.decodes.push(millis(transcript.timing.decode)),
                    Err(error) => {
                        take.failures.push(error.to_string());
                        break;
                    }
                }
                audio += utterance.span.duration().as_secs_f64();
                if begun.elapsed() >= so_long && waited_for.load(Ordering::Relaxed) == 0 {
                    break;
                }
            }
            (audio, take)
        });
    }
    let (mut audio, mut all) = (0.0, Take::default());
    for (heard, one) in workers.join_all().await {
        audio += heard;
        all.decodes.extend(one.decodes);
        all.failures.extend(one.failures);
    }
    all.throughput = audio / begun.elapsed().as_secs_f64().max(1e-6);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asr::fake::{Act, FakeEngine, alone, fixed};
    use crate::asr::{EncoderWindow, ModelInfo, Supervisor};
    use std::sync::Mutex;

    /// A device that does one decode after the other, of 100 ms each.
    fn serial() -> FakeEngine {
        let free_at = Mutex::new(Instant::now());
        FakeEngine::new(move |_, _| {
            let (mut free_at, now) = (free_at.lock().unwrap(), Instant::now());
            *free_at = now.max(*free_at) + Duration::from_millis(100);
            Act::Say("noise".into(), *free_at - now)
        })
    }

    #[test]
    fn slots_are_doubled_up_to_the_most() {
        assert_eq!(steps(1, false), [1]);
        assert_eq!(steps(0, false), [1]);
        assert_eq!(steps(6, false), [1, 2, 4, 6]);
        assert_eq!(steps(8, false), [1, 2, 4, 8]);
        assert_eq!([steps(0, true), steps(1, true), steps(200, true)], [vec![1], vec![1], vec![1, 200]]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_device_that_does_one_thing_at_a_time_is_no_faster_with_more_slots_however_short_the_look() {
        let model = ModelInfo { name: "fake".into(), multilingual: false, window: EncoderWindow::Fit };
        let supervisor =
            Supervisor::start(alone(Arc::new(serial())), model, fixed(8)).await.expect("scripted slots open");
        let (lanes, options) = (supervisor.lanes(), DecodeOptions::default());
        let sound = Sound::noise();
        let throughput = |slots| keep_busy(lanes, slots, &sound, &options, Duration::from_millis(50));
        let (one, eight) = (throughput(1).await.throughput, throughput(8).await.throughput);
        assert!((eight / one - 1.0).abs() < 0.05, "{one} with one slot, {eight} with eight");
    }

    #[tokio::test(start_paused = true)]
    async fn a_device_that_does_one_thing_at_a_time_has_its_knee_at_one() {
        let model = ModelInfo { name: "fake".into(), multilingual: false, window: EncoderWindow::Fit };
        let engine = Arc::new(serial());
        let supervisor = Supervisor::start(alone(engine), model, fixed(4)).await.unwrap();
        let lanes = supervisor.lanes();
        let (options, each) = (DecodeOptions::default(), Duration::from_secs(20));
        let curve = measure(lanes, &steps(4, false), &Sound::noise(), &options, each, &|_| {}).await;
        assert_eq!(curve.points.iter().map(|point| point.slots).collect::<Vec<_>>(), [1, 2, 4]);
        assert_eq!(curve.knee, Some(1));
        assert!(curve.points[2].decode_ms.p50 > curve.points[0].decode_ms.p50);
        assert_eq!(curve.failures, Vec::<String>::new());
    }
}
