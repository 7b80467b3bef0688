//! What each load showed, in order of their size. Pure.

use super::super::report::{LoadReport, Quantiles};
use super::Climb;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Of fewer final latencies than this, the 95th percentile is the latest one.
const FEW: u64 = 20;

/// Latency over the number of people, and where it bends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// The 95th percentile of the final latency may not be over so many milliseconds.
    pub limit_ms: f64,
    /// The largest number of people who were served well, where a larger one was not.
    pub knee: Option<u32>,
    /// The largest number of people who were served well, whether or not more would be.
    pub good: Option<u32>,
    /// Why no more loads were tried.
    pub ended: Ended,
    /// One report for each load, by its number of people.
    pub points: Vec<LoadReport>,
}

/// Why a curve ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Ended {
    /// The knee is known.
    Found,
    /// Everybody was served well, as many as were to be tried.
    AllPassed,
    /// The generator could not keep the pace, so that nothing can be said of the server.
    GeneratorLate {
        /// With so many people.
        people: u32,
        /// How late it was.
        why: String,
    },
    /// A load could not be run.
    Broke {
        /// With so many people.
        people: u32,
        /// Why.
        error: String,
    },
    /// Somebody stopped it.
    Stopped,
}

/// What a load says of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It holds so many.
    Passed,
    /// It does not, for these reasons.
    Failed(Vec<String>),
    /// Nothing, for nobody's text was measured and nothing failed: with more people there will be more to be heard.
    Unsaid,
    /// Nothing: the generator was too late.
    Unpublished(String),
    /// Nothing: the load was stopped before its time.
    Interrupted,
}

impl Curve {
    /// A curve without points.
    pub(super) fn new(limit: Duration) -> Self {
        let limit_ms = limit.as_secs_f64() * 1e3;
        Self { limit_ms, knee: None, good: None, ended: Ended::Stopped, points: Vec::new() }
    }

    /// Takes the report of a load, and judges it.
    pub(super) fn add(&mut self, report: LoadReport) -> Verdict {
        let verdict = self.verdict(&report);
        let at = self.points.partition_point(|point| point.clients <= report.clients);
        self.points.insert(at, report);
        verdict
    }

    /// The curve, now that nothing more is tried. Only a search that came to its end knows the knee, and nobody was
    /// served well where nothing was said.
    pub(super) fn end(mut self, ended: Ended, climb: &Climb) -> Self {
        self.good = climb.good().filter(|good| !self.is_unsaid(*good));
        self.knee = self.good.filter(|_| ended == Ended::Found);
        self.ended = ended;
        self
    }

    /// Whether nothing was said in the load of so many people.
    fn is_unsaid(&self, people: u32) -> bool {
        self.points.iter().any(|point| point.clients == people && self.verdict(point) == Verdict::Unsaid)
    }

    /// What a load says of the server.
    pub fn verdict(&self, report: &LoadReport) -> Verdict {
        if report.interrupted {
            return Verdict::Interrupted;
        }
        if let Some(why) = &report.unpublished {
            return Verdict::Unpublished(why.clone());
        }
        let mut failures = report.failures();
        match &report.final_latency_ms {
            // Texts that were awaited and never came are lost, and failures.
            None if failures.is_empty() => return Verdict::Unsaid,
            Some(Quantiles { p95, .. }) if *p95 > self.limit_ms => {
                failures.push(format!("p95 {p95:.0} ms is over {:.0} ms", self.limit_ms));
            }
            _ => {}
        }
        if failures.is_empty() { Verdict::Passed } else { Verdict::Failed(failures) }
    }

    /// Whether a load failed only because one of a few texts was late.
    pub(super) fn may_be_bad_luck(&self, report: &LoadReport) -> bool {
        // How many were measured is not told. Each is of a turn, and each sample, where the server gives any, is of one.
        let samples = Some(report.samples.len() as u64).filter(|samples| *samples > 0);
        let measured = samples.map_or(report.turns, |samples| samples.min(report.turns));
        let is_late_only = report.failures().is_empty() && !report.interrupted;
        measured < FEW && is_late_only && matches!(self.verdict(report), Verdict::Failed(_))
    }

    /// Why the curve does not say how many the server holds, or at least how many it was asked to; `None` when it does.
    pub fn complaint(&self) -> Option<String> {
        match &self.ended {
            Ended::Found | Ended::AllPassed if self.good.is_some() => None,
            Ended::Found | Ended::AllPassed if self.points.iter().any(|point| self.is_unsaid(point.clients)) => {
                Some("nothing was said after the ramp of the largest load that did not fail: let loads last longer".into())
            }
            Ended::Found | Ended::AllPassed => Some("the server did not serve a single person well".into()),
            Ended::GeneratorLate { people, why } => {
                Some(format!("the load generator was the limit with {people} people: {why}"))
            }
            Ended::Broke { people, error } => Some(format!("the load of {people} people broke off: {error}")),
            Ended::Stopped => Some("stopped before the knee was found".into()),
        }
    }

    /// What was found, in one sentence.
    pub fn conclusion(&self) -> String {
        let limit = self.limit_ms;
        match (self.knee, self.good, self.complaint()) {
            (Some(knee), ..) => {
                format!(
                    "{knee} people are served well: p95 final latency within {limit:.0} ms, and no errors"
                )
            }
            (None, Some(good), None) => {
                format!(
                    "all {good} people that were tried are served well, within {limit:.0} ms: no knee yet"
                )
            }
            (None, Some(good), Some(complaint)) => {
                format!("at least {good} people are served well; {complaint}")
            }
            (None, None, complaint) => complaint.unwrap_or_default(),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("good"),
            Self::Unsaid => f.write_str("nothing was said, so not judged"),
            Self::Failed(reasons) => f.write_str(&reasons.join("; ")),
            Self::Unpublished(why) => f.write_str(why),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

/// The heads of the table's columns.
pub(in super::super) const COLUMNS: [&str; 10] =
    ["people", "p50 ms", "p95 ms", "p99 ms", "wait p95", "WER %", "lost", "errors", "CPU %", "verdict"];

impl Curve {
    /// The table's row of a load, as [`COLUMNS`]; `-` for what is not known.
    pub(in super::super) fn row(&self, report: &LoadReport) -> [String; 10] {
        let latency = |of: fn(&Quantiles) -> f64| figure(report.final_latency_ms.as_ref().map(of), 0);
        [
            report.clients.to_string(),
            latency(|quantiles| quantiles.p50),
            latency(|quantiles| quantiles.p95),
            latency(|quantiles| quantiles.p99),
            figure(report.queue_wait_ms.as_ref().map(|wait| wait.p95), 0),
            figure(report.wer.map(|wer| wer * 100.0), 1),
            report.lost_utterances.to_string(),
            report.errors.values().sum::<u64>().to_string(),
            figure(cpu_percent(report), 0),
            self.verdict(report).to_string(),
        ]
    }
}

/// How busy the server kept the processors: 100 is one core, all the time.
pub(in super::super) fn cpu_percent(report: &LoadReport) -> Option<f64> {
    let seconds = report.server.cpu_seconds?;
    (report.duration_s > 0.0).then(|| 100.0 * seconds / report.duration_s)
}

fn figure(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.decimals$}"))
}

impl fmt::Display for Curve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<_> = self.points.iter().map(|report| self.row(report)).collect();
        for row in std::iter::once(&COLUMNS.map(String::from)).chain(&rows) {
            let [numbers @ .., verdict] = row;
            for cell in numbers {
                write!(f, "{cell:>8}  ")?;
            }
            writeln!(f, "{verdict}")?;
        }
        writeln!(f, "\n{}", self.conclusion())
    }
}

#[cfg(test)]
mod tests {
    use super::super::curves::{curve, point};
    use super::*;

    #[test]
    fn a_load_passes_when_its_texts_come_in_time_and_nothing_fails() {
        let curve = curve(Vec::new());
        assert_eq!(curve.verdict(&point(1, 1_000.0)), Verdict::Passed);
        let late = Verdict::Failed(vec!["p95 1000 ms is over 1000 ms".into()]);
        assert_eq!(curve.verdict(&point(1, 1_000.1)), late);
        let lost = LoadReport { lost_utterances: 1, ..point(1, 1.0) };
        assert!(matches!(curve.verdict(&lost), Verdict::Failed(_)));
    }

    #[test]
    fn a_load_without_a_latency_fails_only_if_something_failed() {
        let (curve, silent) = (curve(Vec::new()), LoadReport { final_latency_ms: None, ..point(1, 1.0) });
        assert_eq!(curve.verdict(&silent), Verdict::Unsaid);
        let dead = LoadReport { lost_utterances: 3, ..silent };
        assert_eq!(curve.verdict(&dead), Verdict::Failed(vec!["3 lost utterances of 100".into()]));
    }

    #[test]
    fn only_few_texts_that_are_late_and_nothing_else_may_be_bad_luck() {
        let late = |turns| LoadReport { turns, ..point(1, 1_500.0) };
        let cases = [
            (late(19), true),
            (late(20), false),
            (LoadReport { samples: vec![[1.0; 3]; 19], ..late(100) }, true),
            (LoadReport { samples: vec![[1.0; 3]; 20], ..late(100) }, false),
            (LoadReport { lost_utterances: 1, ..late(3) }, false),
            (LoadReport { turns: 3, ..point(1, 10.0) }, false),
        ];
        for (report, expected) in cases {
            assert_eq!(curve(Vec::new()).may_be_bad_luck(&report), expected, "{report:?}");
        }
    }

    #[test]
    fn the_table_has_a_row_for_every_load_and_says_what_was_found() {
        let mut busy = point(8, 400.0);
        busy.server.cpu_seconds = Some(81.0);
        busy.wer = Some(0.123);
        let text = curve(vec![point(16, 1_600.0), busy]).to_string();
        let lines: Vec<&str> = text.lines().collect();
        let cells = |line: &str| line.split_whitespace().map(String::from).collect::<Vec<_>>();
        assert_eq!(cells(lines[1])[..10], ["8", "200", "400", "600", "400", "12.3", "0", "0", "135", "good"]);
        assert!(lines[2].ends_with("p95 1600 ms is over 1000 ms") && cells(lines[2])[5] == "-", "{text}");
        assert!(lines[4].starts_with("8 people are served well"), "{text}");
    }

    #[test]
    fn a_curve_is_the_same_after_it_was_written_and_read() {
        let mut curve = curve(vec![point(8, 400.0), point(16, 1_600.0)]);
        for ended in [Ended::Found, Ended::Broke { people: 3, error: "it died".into() }] {
            curve.ended = ended;
            let text = serde_json::to_string(&curve).unwrap();
            assert_eq!(serde_json::from_str::<Curve>(&text).unwrap(), curve, "{text}");
        }
    }
}
