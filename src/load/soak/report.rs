//! What a soak showed.

use super::super::report::Report;
use super::levels::{Growth, Levels, slope};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What a soak showed: of those who behaved well, and of the server before and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SoakReport {
    /// Of the people who behaved well.
    pub load: Report,
    /// What the server held before, after a warm-up, with nobody there.
    pub baseline: Levels,
    /// What it held afterwards, with nobody there.
    pub after: Levels,
    /// What has grown, and what has not.
    pub growth: Vec<Growth>,
    /// How often clients misbehaved, and how. Their errors are their own and stand nowhere.
    pub misbehaved: BTreeMap<String, u64>,
    /// Resident memory of the server in bytes, at seconds since the people came.
    pub rss_series: Vec<[f64; 2]>,
    /// By how many MiB an hour that grew in the second half.
    pub rss_slope_mib_per_hour: Option<f64>,
}

impl SoakReport {
    pub(super) fn new(
        load: Report,
        [baseline, after]: [Levels; 2],
        misbehaved: BTreeMap<String, u64>,
        rss_series: Vec<[f64; 2]>,
    ) -> Self {
        let (growth, rss_slope_mib_per_hour) = (after.growth(&baseline), slope(&rss_series));
        Self { load, baseline, after, growth, misbehaved, rss_series, rss_slope_mib_per_hour }
    }

    /// What went wrong, one line each; empty when the soak passed.
    pub fn failures(&self) -> Vec<String> {
        let grown = self.growth.iter().filter_map(Growth::failure);
        self.load.failures().into_iter().chain(grown).collect()
    }
}

impl fmt::Display for SoakReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.load)?;
        writeln!(f, "{:<22}{:>14}{:>14}{:>14}", "level", "before", "after", "limit")?;
        for Growth { quantity, baseline, after, limit, passed } in &self.growth {
            let [baseline, after, limit] =
                [baseline, after, limit].map(|level| level.map_or_else(|| "-".into(), |n| n.to_string()));
            let verdict = passed.map_or("not known", |passed| if passed { "ok" } else { "GROWN" });
            writeln!(f, "{quantity:<22}{baseline:>14}{after:>14}{limit:>14}  {verdict}")?;
        }
        if let Some(slope) = self.rss_slope_mib_per_hour {
            writeln!(f, "resident memory grew by {slope:.1} MiB an hour in the second half")?;
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

    fn soaked(after: Levels) -> SoakReport {
        let baseline = Levels { tasks: Some(5), sessions: Some(0), ..Levels::default() };
        let misbehaved = BTreeMap::from([("vanish".into(), 3)]);
        SoakReport::new(Report::default(), [baseline, after], misbehaved, vec![[0.0, 1e6], [10.0, 1e6]])
    }

    #[test]
    fn growth_is_a_failure_and_says_of_what() {
        let clean = soaked(Levels { tasks: Some(5), sessions: Some(0), ..Levels::default() });
        assert_eq!(clean.failures(), [""; 0]);
        let grown = soaked(Levels { tasks: Some(50), sessions: Some(0), ..Levels::default() });
        assert_eq!(grown.failures(), ["tasks not back at baseline: 50, was 5, limit 7"]);
        let table = grown.to_string();
        assert!(
            table.contains("GROWN") && table.contains("vanish 3") && table.contains("not known"),
            "{table}"
        );
    }

    #[test]
    fn what_is_not_known_is_null() {
        let json = serde_json::to_value(soaked(Levels::default())).unwrap();
        assert!(json["after"]["tasks"].is_null() && json["rss_slope_mib_per_hour"].is_null());
        assert_eq!(json["growth"][2]["passed"], false);
        assert!(json["growth"][4]["passed"].is_null());
    }
}
