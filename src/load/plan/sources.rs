//! What was measured before: reports of load tests and knees, and a server's `/pool`.

use super::PlanError;
use super::service::{Point, Sample};
use crate::load::knee::Curve;
use crate::load::report::LoadReport;
use crate::load::server_watch::PoolReading;
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

/// What sources know. Nothing of it has to be known.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Known {
    /// Measured decodes, for each number of people.
    pub points: Vec<Point>,
    /// Median and 95th percentile of decodes.
    pub decode: Option<(Duration, Duration)>,
    /// Part of the time for which people spoke when this was measured.
    pub duty: Option<f64>,
    /// Slots of a device.
    pub slots: Option<u16>,
    /// Memory of the weights, in bytes.
    pub weights_bytes: Option<u64>,
    /// Memory of each slot, in bytes.
    pub slot_bytes: Option<u64>,
}

impl Known {
    /// Reads the JSON of a load test, of a knee, or of `/pool`; `name` is for messages.
    ///
    /// # Errors
    ///
    /// [`PlanError::Unreadable`] for what is no JSON, [`PlanError::Foreign`] for other JSON, [`PlanError::NoSamples`]
    /// when nothing in it says how long decodes took.
    pub fn read(name: &str, text: &str) -> Result<Self, PlanError> {
        let value: Value = serde_json::from_str(text)
            .map_err(|error| PlanError::Unreadable { name: name.into(), reason: error.to_string() })?;
        if value.get("sizing").is_some() {
            return Ok(of_pool(&parse(name, value)?));
        }
        let reports = match value.get("points") {
            Some(_) => parse::<Curve>(name, value)?.points,
            None => vec![parse(name, value)?],
        };
        let known = reports.iter().map(of_report).fold(Self::default(), Self::and);
        if known.points.is_empty() { Err(PlanError::NoSamples { name: name.into() }) } else { Ok(known) }
    }

    /// Both together; where both know something that can only be one, this one is right.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.points.extend(other.points);
        Self {
            points: self.points,
            decode: self.decode.or(other.decode),
            duty: self.duty.or(other.duty),
            slots: self.slots.or(other.slots),
            weights_bytes: self.weights_bytes.or(other.weights_bytes),
            slot_bytes: self.slot_bytes.or(other.slot_bytes),
        }
    }
}

fn parse<T: for<'a> Deserialize<'a>>(name: &str, value: Value) -> Result<T, PlanError> {
    serde_json::from_value(value)
        .map_err(|error| PlanError::Foreign { name: name.into(), reason: error.to_string() })
}

/// What a report tells.
fn of_report(report: &LoadReport) -> Known {
    let samples: Vec<Sample> = report.samples.iter().filter_map(sample).collect();
    let point = Point {
        people: report.clients,
        speech_per_utterance: speech_per_utterance(report),
        overhead: overhead(report),
        clips: report.clips.clone(),
        samples,
    };
    let points = if point.samples.is_empty() { Vec::new() } else { vec![point] };
    // A report that does not tell its duty has one of 0.
    let duty = Some(report.duty).filter(|duty| *duty > 0.0);
    Known { points, duty, slots: report.slots, ..Known::default() }
}

/// What was played for each text decides how often people speak, whatever the recordings looked like to the server.
fn speech_per_utterance(report: &LoadReport) -> Option<Duration> {
    let by_duty = f64::from(report.clients) * report.duration_s * report.duty;
    let played = if report.audio_seconds > 0.0 { report.audio_seconds } else { by_duty };
    seconds(played / report.finals as f64).filter(|speech| !speech.is_zero())
}

fn overhead(report: &LoadReport) -> Option<Duration> {
    let told = [&report.queue_wait_ms, &report.decode_ms].into_iter().flatten().map(|median| median.p50);
    seconds((report.final_latency_ms.as_ref()?.p50 - told.sum::<f64>()).max(0.0) / 1e3)
}

/// What took no time was not decoded, or nobody told.
fn sample([speech, decode_ms, _]: &[f64; 3]) -> Option<Sample> {
    let decode = seconds(decode_ms / 1e3).filter(|decode| !decode.is_zero())?;
    Some(Sample { speech: seconds(*speech)?, decode })
}

/// `None` for what is no length of time, or longer than any that people have.
fn seconds(seconds: f64) -> Option<Duration> {
    (0.0..1e9).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}

/// What a server tells of itself.
fn of_pool(pool: &PoolReading) -> Known {
    let decode = pool.decode_ms().and_then(|[p50, p95]| seconds(p50 / 1e3).zip(seconds(p95 / 1e3)));
    Known {
        decode,
        slots: Some(pool.slots.total),
        weights_bytes: Some(pool.sizing.weights_bytes),
        slot_bytes: Some(pool.sizing.slot_bytes),
        ..Known::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"{"clients": 10, "duration_s": 60.0, "duty": 0.3, "finals": 60, "slots": 1,
        "final_latency_ms": {"p50": 800.0, "p95": 900, "p99": 950, "max": 999}, "queue_wait_ms": {"p50": 20.0, "p95": 30, "p99": 30,
        "max": 30}, "decode_ms": {"p50": 200.0, "p95": 210, "p99": 210, "max": 210}, "samples": [[2.5, 210, 0], [1.5, 190, 30], [1.0, 0, 0]], "wer": 0.1}"#;

    #[test]
    fn a_report_tells_decodes_how_often_people_spoke_and_what_else_took_time() {
        let known = Known::read("report.json", REPORT).unwrap();
        let [point] = known.points.as_slice() else { panic!("one report, one point") };
        assert_eq!((point.people, point.samples.len(), known.slots), (10, 2, Some(1)));
        assert_eq!(point.speech_per_utterance, Some(Duration::from_secs(3)));
        assert_eq!(point.overhead, Some(Duration::from_millis(580)));
        let played = REPORT.replace(r#""wer""#, r#""audio_seconds": 150.0, "wer""#);
        let known = Known::read("report.json", &played).unwrap();
        assert_eq!(known.points[0].speech_per_utterance, Some(Duration::from_millis(2_500)));
    }

    #[test]
    fn a_knee_is_many_reports_and_those_without_decodes_are_passed_over() {
        let silent = REPORT.replace("[[2.5, 210, 0], [1.5, 190, 30], [1.0, 0, 0]]", "[]");
        let knee = format!(
            r#"{{"limit_ms": 1000.0, "knee": 10, "good": 10, "ended": {{"reason": "found"}},
            "points": [{REPORT}, {silent}, {REPORT}]}}"#
        );
        assert_eq!(Known::read("knee.json", &knee).unwrap().points.len(), 2);
        let error = Known::read("knee.json", &silent).unwrap_err();
        assert_eq!(error, PlanError::NoSamples { name: "knee.json".into() });
    }

    #[test]
    fn a_pool_tells_its_memory_and_what_it_measured() {
        let pool = r#"{"model": "demo", "device": {"kind": "cpu", "name": "Card", "memory": {"total_bytes": 100,
            "free_bytes": 30}}, "sizing": {"fits": 9, "knee": null, "max_slots": 16, "binding": "fits",
            "weights_bytes": 16, "slot_bytes": 4}, "slots": {"total": 2, "idle": 2, "leased": 0}, "queue": {"depth": 0},
            "service": {"decode_p50_ms": 200.0, "decode_p95_ms": 300.0}, "sessions": {"connected": 0}}"#;
        let known = Known::read("pool", pool).unwrap();
        assert_eq!(known.decode, Some((Duration::from_millis(200), Duration::from_millis(300))));
        assert_eq!((known.slots, known.weights_bytes, known.slot_bytes), (Some(2), Some(16), Some(4)));
        let fresh = pool.replace("200.0", "null");
        assert_eq!(Known::read("pool", &fresh).unwrap().decode, None);
    }

    #[test]
    fn what_is_something_else_is_refused_with_what_is_missing() {
        let error = |text: &str| Known::read("it", text).unwrap_err();
        assert!(matches!(error("not json"), PlanError::Unreadable { .. }));
        for text in ["[]", "{}", "7", r#"{"points": 3}"#, r#"{"sizing": {}}"#, r#"{"clients": 3}"#] {
            assert!(matches!(error(text), PlanError::Foreign { .. }), "{text}");
        }
    }
}
