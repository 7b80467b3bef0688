//! How long utterances are and how long they take to decode: measured values, or a distribution through few of them.

use super::PlanError;
use super::drift::Drift;
use super::repertoire::Repertoire;
use crate::load::report::ClipTakes;
use crate::load::simulation::Chance;
use crate::vad::EndpointSettings;
use std::time::Duration;

/// One utterance that was decoded, or might have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// How long it was.
    pub speech: Duration,
    /// How long its decode took.
    pub decode: Duration,
}

/// What was measured with so many people on one device.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// How many people there were.
    pub people: u32,
    /// Utterances and their decodes.
    pub samples: Vec<Sample>,
    /// What came of each recording; empty where nobody told.
    pub clips: Vec<ClipTakes>,
    /// How long people spoke for each utterance that was decoded; a recording may have pauses in it.
    pub speech_per_utterance: Option<Duration>,
    /// What of the final latency was neither waiting nor decoding: finding the end of the speech, and the network.
    pub overhead: Option<Duration>,
}

/// How long decodes take, and what was said for them.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// A joint sample, in which decodes last `mean` on average: as with the fewest people that were measured.
    samples: Vec<Sample>,
    mean: Duration,
    /// By how much decodes take longer with so many people on the device, in order of people.
    slowdowns: Vec<(u32, f64)>,
    /// What people say, where a load test told.
    repertoire: Option<Repertoire>,
    speech_per_utterance: Duration,
    overhead: Option<Duration>,
}

/// Where a number of people lies among those that were measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Nothing was measured at any number of people.
    Assumed,
    /// So many were measured, or fewer and more.
    Measured,
    /// Fewer than these were never measured.
    Below(u32),
    /// More than these were never measured.
    Beyond(u32),
}

/// Lognormal distributions are drawn so finely.
const STEPS: usize = 1_000;
/// Where only a mean is known, decodes spread so much: the deviation of the logarithm.
const DECODE_SPREAD: f64 = 0.3;
/// The same for the lengths of utterances.
const SPEECH_SPREAD: f64 = 0.6;
/// The 95th percentile of a standard normal distribution.
const Z95: f64 = 1.644_853_627;

impl Service {
    /// From what was measured with one or more numbers of people. Shapes are put together, means are kept apart.
    ///
    /// # Errors
    ///
    /// [`PlanError::NoTimes`] without any sample.
    pub fn measured(mut points: Vec<Point>) -> Result<Self, PlanError> {
        points.retain(|point| !point.samples.is_empty());
        points.sort_by_key(|point| point.people);
        let Some(first) = points.first() else { return Err(PlanError::NoTimes) };
        let mean = mean_decode(&first.samples);
        let (repertoire, slowdowns) = match Repertoire::of(&points) {
            Some((repertoire, slowdowns)) => (Some(repertoire), slowdowns),
            None => (None, points.iter().map(|point| ratio(mean_decode(&point.samples), mean)).collect()),
        };
        let shaped = |point: &Point| {
            let scale = ratio(mean, mean_decode(&point.samples));
            let shaped = move |sample: &Sample| Sample { decode: sample.decode.mul_f64(scale), ..*sample };
            point.samples.iter().map(shaped).collect::<Vec<_>>()
        };
        let samples: Vec<Sample> = points.iter().flat_map(shaped).collect();
        let said = points.iter().filter_map(|point| point.speech_per_utterance);
        Ok(Self {
            slowdowns: averaged(&points, &slowdowns),
            repertoire,
            speech_per_utterance: average(said).unwrap_or_else(|| mean_speech(&samples)),
            // Medians of latency, wait and decode only add up where hardly anybody waits.
            overhead: points.iter().filter_map(|point| point.overhead).min(),
            samples,
            mean,
        })
    }

    /// Utterances of this mean length, and decodes of this mean; both lognormal, with a spread as it is usual.
    ///
    /// # Errors
    ///
    /// [`PlanError::Setting`] when one of them is zero.
    pub fn assumed(speech: Duration, decode: Duration) -> Result<Self, PlanError> {
        Self::spread(speech, decode.mul_f64((-DECODE_SPREAD * DECODE_SPREAD / 2.0).exp()), DECODE_SPREAD)
    }

    /// Utterances of this mean length, and decodes that are lognormal through their median and 95th percentile.
    ///
    /// # Errors
    ///
    /// [`PlanError::Setting`] when one of them is zero.
    pub fn through(speech: Duration, p50: Duration, p95: Duration) -> Result<Self, PlanError> {
        let spread = (p95.as_secs_f64() / p50.as_secs_f64()).ln() / Z95;
        Self::spread(speech, p50, if spread.is_finite() { spread.max(0.0) } else { 0.0 })
    }

    fn spread(speech: Duration, median: Duration, spread: f64) -> Result<Self, PlanError> {
        if median.is_zero() {
            return Err(setting("the decode time", median, "more than 0 ms".into()));
        }
        let longest = EndpointSettings::default().longest;
        if speech.is_zero() || speech > longest {
            let expected = format!("more than 0 s, and at most {longest:?}, where a server cuts");
            return Err(setting("the length of utterances", speech, expected));
        }
        let said = speech.mul_f64((-SPEECH_SPREAD * SPEECH_SPREAD / 2.0).exp());
        let decodes = lognormal(median, spread);
        // Independent of each other: how the one follows from the other, nobody measured.
        let mut chance = Chance::new(1);
        let mut speeches = lognormal(said, SPEECH_SPREAD);
        for last in (1..speeches.len()).rev() {
            speeches.swap(last, (chance.unit() * (last + 1) as f64) as usize);
        }
        let pair = |(speech, decode): (Duration, Duration)| Sample { speech: speech.min(longest), decode };
        let samples: Vec<Sample> = speeches.into_iter().zip(decodes).map(pair).collect();
        let mean = mean_decode(&samples);
        Ok(Self {
            speech_per_utterance: mean_speech(&samples),
            samples,
            mean,
            slowdowns: Vec::new(),
            repertoire: None,
            overhead: None,
        })
    }

    /// The joint sample; its decodes are to be multiplied by [`slowdown`](Self::slowdown).
    pub(super) fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// What people say, where a load test told; its decodes are to be multiplied by [`slowdown`](Self::slowdown).
    pub(super) fn repertoire(&self) -> Option<&Repertoire> {
        self.repertoire.as_ref()
    }

    /// How much slower or faster than on average the device is from one moment to the next.
    pub(super) fn drift(&self) -> &Drift {
        self.repertoire.as_ref().map_or(Drift::even(), Repertoire::drift)
    }

    /// By how much decodes take longer with so many people on the device: between measured numbers of people on a
    /// straight line, beyond them on the last one, if it rises.
    pub(super) fn slowdown(&self, people: u32) -> f64 {
        let above = self.slowdowns.partition_point(|(level, _)| *level < people);
        let (low, high) = match self.slowdowns.as_slice() {
            [] => return 1.0,
            [(_, only)] => return *only,
            [.., a, b] if above == self.slowdowns.len() => return beyond(*a, *b, people),
            levels if above == 0 => return levels[0].1,
            levels => (levels[above - 1], levels[above]),
        };
        let part = f64::from(people - low.0) / f64::from(high.0 - low.0);
        low.1 * (1.0 - part) + high.1 * part
    }

    /// The mean decode of the sample.
    pub(super) fn mean_decode(&self) -> Duration {
        self.mean
    }

    /// Whether so many people were measured.
    pub fn reach(&self, people: u32) -> Reach {
        match (self.slowdowns.first(), self.slowdowns.last()) {
            (Some((least, _)), _) if people < *least => Reach::Below(*least),
            (_, Some((most, _))) if people > *most => Reach::Beyond(*most),
            (None, _) => Reach::Assumed,
            _ => Reach::Measured,
        }
    }

    /// How long people speak for each utterance that is decoded.
    pub fn speech_per_utterance(&self) -> Duration {
        self.speech_per_utterance
    }

    /// The mean length of an utterance.
    pub fn mean_speech(&self) -> Duration {
        mean_speech(&self.samples)
    }

    /// What of the final latency is neither waiting nor decoding, if it was measured.
    pub fn overhead(&self) -> Option<Duration> {
        self.overhead
    }
}

/// By the number of people; of the same number measured twice, the average.
fn averaged(points: &[Point], slowdowns: &[f64]) -> Vec<(u32, f64)> {
    let all: Vec<(u32, f64)> =
        points.iter().map(|point| point.people).zip(slowdowns.iter().copied()).collect();
    let level = |same: &[(u32, f64)]| {
        let sum: f64 = same.iter().map(|(_, slowdown)| slowdown).sum();
        (same[0].0, sum / same.len() as f64)
    };
    all.chunk_by(|a, b| a.0 == b.0).map(level).collect()
}

fn beyond(a: (u32, f64), b: (u32, f64), people: u32) -> f64 {
    let rise = (b.1 - a.1).max(0.0) / f64::from(b.0 - a.0);
    b.1 + rise * f64::from(people - b.0)
}

fn ratio(part: Duration, whole: Duration) -> f64 {
    part.as_secs_f64() / whole.as_secs_f64()
}

fn mean_decode(samples: &[Sample]) -> Duration {
    average(samples.iter().map(|sample| sample.decode)).unwrap_or_default()
}

fn mean_speech(samples: &[Sample]) -> Duration {
    average(samples.iter().map(|sample| sample.speech)).unwrap_or_default()
}

fn average(times: impl Iterator<Item = Duration>) -> Option<Duration> {
    let (sum, count) = times.fold((Duration::ZERO, 0_u32), |(sum, count), time| (sum + time, count + 1));
    sum.checked_div(count)
}

/// Evenly sdrifted quantiles.
fn lognormal(median: Duration, spread: f64) -> Vec<Duration> {
    let quantile = |step: usize| normal_quantile((step as f64 + 0.5) / STEPS as f64);
    (0..STEPS).map(|step| median.mul_f64((spread * quantile(step)).exp())).collect()
}

/// The value that a standard normal variable does not exceed with this probability, to about 0.0005 (Abramowitz and
/// Stegun, 26.2.23).
fn normal_quantile(probability: f64) -> f64 {
    let tail = probability.min(1.0 - probability);
    let t = (-2.0 * tail.ln()).sqrt();
    let above = 2.515_517 + t * (0.802_853 + t * 0.010_328);
    let below = 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308));
    (t - above / below).copysign(probability - 0.5)
}

fn setting(what: &'static str, value: Duration, expected: String) -> PlanError {
    PlanError::Setting { what, value: format!("{value:?}"), expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn point(people: u32, decodes: &[u32]) -> Point {
        let sample = |decode: &u32| Sample { speech: Duration::from_secs(2), decode: MS * *decode };
        let samples = decodes.iter().map(sample).collect();
        Point { people, samples, clips: Vec::new(), speech_per_utterance: None, overhead: None }
    }

    #[test]
    fn decodes_between_measured_crowds_lie_on_a_line_and_beyond_them_go_on_rising() {
        let points = vec![point(30, &[200, 400]), point(10, &[100, 300]), point(20, &[210, 190])];
        let service = Service::measured(points).unwrap();
        let cases = [(1, 1.0), (10, 1.0), (15, 1.0), (20, 1.0), (25, 1.25), (30, 1.5), (40, 2.0)];
        for (people, slowdown) in cases {
            assert!((service.slowdown(people) - slowdown).abs() < 1e-6, "{people} people");
        }
        assert_eq!(service.reach(5), Reach::Below(10));
        assert_eq!(service.reach(25), Reach::Measured);
        assert_eq!(service.reach(31), Reach::Beyond(30));
    }

    #[test]
    fn decodes_that_become_faster_are_not_taken_to_go_on_doing_so() {
        let service = Service::measured(vec![point(10, &[300]), point(20, &[200])]).unwrap();
        assert!((service.slowdown(30) - 200.0 / 300.0).abs() < 1e-6);
    }

    #[test]
    fn a_distribution_goes_through_what_is_known_of_it() {
        let service = Service::through(Duration::from_secs(3), MS * 200, MS * 500).unwrap();
        let mut decodes: Vec<_> =
            service.samples().iter().map(|sample| sample.decode.as_secs_f64()).collect();
        decodes.sort_by(f64::total_cmp);
        assert!((decodes[500] - 0.2).abs() < 0.002 && (decodes[950] - 0.5).abs() < 0.01);
        let assumed = Service::assumed(Duration::from_secs(3), MS * 200).unwrap();
        assert!((assumed.mean_decode().as_secs_f64() - 0.2).abs() < 0.002);
        assert!((assumed.mean_speech().as_secs_f64() - 3.0).abs() < 0.05);
        assert_eq!(assumed.reach(7), Reach::Assumed);
    }

    #[test]
    fn nothing_comes_of_nothing() {
        assert_eq!(Service::measured(vec![point(3, &[])]), Err(PlanError::NoTimes));
        for (speech, decode) in [(0, 200), (3_000, 0), (600_000, 200)] {
            let error = Service::assumed(MS * speech, MS * decode).unwrap_err();
            assert!(matches!(error, PlanError::Setting { .. }), "{speech} {decode}");
        }
    }
}
