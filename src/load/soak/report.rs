//! What a soak showed.

use super::super::report::LoadReport;
use super::levels::{Growth, Levels, slope};
use super::rest::Rest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What a soak showed: of those who behaved well, and of the server before and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SoakReport {
    /// Of the people who behaved well, while the server warmed up.
    pub warm_up: LoadReport,
    /// Of the people who behaved well afterwards; `None` when it was stopped before they came.
    pub load: Option<LoadReport>,
    /// What the server held before, after a warm-up, with nobody there.
    pub baseline: Levels,
    /// What it held afterwards, with nobody there.
    pub after: Levels,
    /// What has grown, and what has not.
    pub growth: Vec<Growth>,
    /// Why less than that is known, one line each.
    pub doubts: Vec<String>,
    /// Whether it ended before its time: nothing is said of growth then.
    pub stopped: bool,
    /// How often clients misbehaved, and how. Their errors are their own and stand nowhere.
    pub misbehaved: BTreeMap<String, u64>,
    /// Resident memory of the server in bytes, at seconds since the people came.
    pub rss_series: Vec<[f64; 2]>,
    /// By how many MiB an hour that grew in the second half. To be looked at: no limit is set to it.
    pub rss_slope_mib_per_hour: Option<f64>,
}

impl SoakReport {
    pub(super) fn new(
        warm_up: LoadReport,
        load: Option<LoadReport>,
        [baseline, after]: [Rest; 2],
        misbehaved: BTreeMap<String, u64>,
        rss_series: Vec<[f64; 2]>,
    ) -> Self {
        let growth = after.levels.growth(&baseline.levels);
        let doubts = doubts(&baseline, &after, &growth);
        let (baseline, after, stopped) = (baseline.levels, after.levels, false);
        let rss_slope_mib_per_hour = slope(&rss_series);
        Self {
            warm_up,
            load,
            baseline,
            after,
            growth,
            doubts,
            stopped,
            misbehaved,
            rss_series,
            rss_slope_mib_per_hour,
        }
    }

    /// The same of a soak that was ended before its time: the server was not given the time to come back.
    pub(super) fn stopped(self) -> Self {
        let growth = self.growth.into_iter().map(|growth| Growth { passed: None, ..growth }).collect();
        Self { growth, doubts: Vec::new(), stopped: true, ..self }
    }

    /// What went wrong, one line each; empty when the soak passed.
    pub fn failures(&self) -> Vec<String> {
        let warm_up = self.warm_up.failures().into_iter().map(|failure| format!("in the warm-up: {failure}"));
        let load = self.load.iter().flat_map(LoadReport::failures);
        let grown = self.growth.iter().filter_map(Growth::failure);
        let stopped = self.stopped.then(|| "stopped before its time".to_owned());
        warm_up.chain(load).chain(self.doubts.clone()).chain(grown).chain(stopped).collect()
    }
}

/// What is not known before or after. A level that is lost between the two has not come back, which its growth says.
fn doubts(baseline: &Rest, after: &Rest, growth: &[Growth]) -> Vec<String> {
    let before = baseline.doubts.iter().map(|doubt| format!("before: {doubt}"));
    let is_told = growth.iter().any(|growth| growth.passed == Some(false));
    let later = after.doubts.iter().filter(|_| !is_told).map(|doubt| format!("after: {doubt}"));
    before.chain(later).collect()
}

impl fmt::Display for SoakReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.load.as_ref().unwrap_or(&self.warm_up))?;
        writeln!(f, "{:<22}{:>14}{:>14}{:>14}", "level", "before", "after", "limit")?;
        for Growth { quantity, baseline, after, limit, passed } in &self.growth {
            let [baseline, after, limit] =
                [baseline, after, limit].map(|level| level.map_or_else(|| "-".into(), |n| n.to_string()));
            let unjudged = if self.stopped { "not judged" } else { "not known" };
            let verdict = passed.map_or(unjudged, |passed| if passed { "ok" } else { "GROWN" });
            writeln!(f, "{quantity:<22}{baseline:>14}{after:>14}{limit:>14}  {verdict}")?;
        }
        if let Some(slope) = self.rss_slope_mib_per_hour {
            writeln!(f, "resident memory grew by {slope:.1} MiB an hour in the second half (not judged)")?;
        }
        let kinds: Vec<_> = self.misbehaved.iter().map(|(kind, n)| format!("{kind} {n}")).collect();
        writeln!(
            f,
            "misbehaved beside them: {}",
            if kinds.is_empty() { "nobody".into() } else { kinds.join(", ") }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(levels: Levels) -> Rest {
        Rest { levels, doubts: Vec::new() }
    }

    fn soaked(after: Rest) -> SoakReport {
        let baseline = rest(Levels { tasks: Some(5), sessions: Some(0), ..Levels::default() });
        let misbehaved = BTreeMap::from([("vanish".into(), 3)]);
        let series = vec![[0.0, 1e6], [10.0, 1e6]];
        SoakReport::new(
            LoadReport::default(),
            Some(LoadReport::default()),
            [baseline, after],
            misbehaved,
            series,
        )
    }

    #[test]
    fn growth_is_a_failure_and_says_of_what() {
        let clean = soaked(rest(Levels { tasks: Some(5), sessions: Some(0), ..Levels::default() }));
        assert_eq!(clean.failures(), [""; 0]);
        let grown = soaked(rest(Levels { tasks: Some(50), sessions: Some(0), ..Levels::default() }));
        assert_eq!(grown.failures(), ["tasks not back at baseline: 50, was 5, limit 7"]);
        let table = grown.to_string();
        assert!(
            table.contains("GROWN") && table.contains("vanish 3") && table.contains("not known"),
            "{table}"
        );
    }

    #[test]
    fn what_went_wrong_in_the_warm_up_went_wrong() {
        let levels = Levels { tasks: Some(5), sessions: Some(0), ..Levels::default() };
        let mut report = soaked(rest(levels));
        report.warm_up.lost_utterances = 1;
        assert_eq!(report.failures(), ["in the warm-up: 1 lost utterance of 0"]);
    }

    #[test]
    fn what_should_be_known_and_is_not_is_told_once() {
        let doubtful = |levels| Rest { levels, doubts: vec!["tasks unknown".into()] };
        let unknown = || doubtful(Levels::default());
        let never = SoakReport::new(
            LoadReport::default(),
            Some(LoadReport::default()),
            [unknown(), unknown()],
            BTreeMap::new(),
            Vec::new(),
        );
        assert_eq!(never.failures(), ["before: tasks unknown", "after: tasks unknown"]);
        let lost = soaked(doubtful(Levels { sessions: Some(0), ..Levels::default() }));
        assert_eq!(lost.failures(), ["tasks not back at baseline: unknown, was 5, limit 7"]);
    }

    #[test]
    fn a_soak_that_was_stopped_judges_no_growth_and_has_not_passed() {
        let stopped = soaked(rest(Levels::default())).stopped();
        assert_eq!(stopped.failures(), ["stopped before its time"]);
        assert!(stopped.to_string().contains("not judged"), "{stopped}");
        assert_eq!(stopped.growth[2].baseline, Some(5), "what was seen is told");
    }

    #[test]
    fn what_is_not_known_is_null() {
        let json = serde_json::to_value(soaked(rest(Levels::default()))).unwrap();
        assert!(json["after"]["tasks"].is_null() && json["rss_slope_mib_per_hour"].is_null());
        assert_eq!(json["growth"][2]["passed"], false);
        assert!(json["growth"][4]["passed"].is_null());
    }
}
