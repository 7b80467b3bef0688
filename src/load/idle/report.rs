//! What silence cost.

use super::IdleSettings;
use super::seat::Outcome;
use crate::load::protocol::{ConnectError, REJECTED};
use crate::load::report::{Lag, Quantiles};
use crate::load::server_watch::Usage;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// A recording that is heard so much earlier or later than it was said stands at another place of the stream: two frames.
/// Labels and voice detectors differ by less.
const MISPLACED_MS: i64 = 200;

/// Width of the names of figures.
const NAME: usize = 26;

/// What many silent people cost a server. What cannot be known, of a server on another machine, is `null`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct IdleReport {
    /// Where the server is.
    pub url: String,
    /// How many people there were to be.
    pub clients: u32,
    /// How many got in.
    pub connected: u32,
    /// For how long all of them were silent.
    pub duration_s: f64,
    /// How silent: `digital` or `room`.
    pub silence: String,
    /// Processors that the server was busy with, for each hundred people.
    pub cpu_cores_per_100: Option<f64>,
    /// The server's resident memory before anybody was there.
    pub rss_before_bytes: Option<u64>,
    /// The same at the end of the silence.
    pub rss_bytes: Option<u64>,
    /// How much of that came with each person.
    pub rss_per_session_bytes: Option<u64>,
    /// People whose recording came back as text.
    pub texts: u32,
    /// People whose recording did not.
    pub missing_texts: u32,
    /// People whose recording the server heard at another place of the stream than where it was said: audio was lost, or came
    /// twice.
    pub misplaced: u32,
    /// How far the two places are apart.
    pub offset_ms: Option<Quantiles>,
    /// How often the server took silence for speech.
    pub phantoms: u64,
    /// Wrong words by words said, of texts that came.
    pub wer: Option<f64>,
    /// People whom a full server turned away.
    pub rejected: u64,
    /// Errors by code.
    pub errors: BTreeMap<String, u64>,
    /// How late the generator itself was.
    pub lag_ms: Lag,
    /// Whether it was ended before its time.
    pub interrupted: bool,
}

impl IdleReport {
    /// The figures of a run; `used` is what the server used at the beginning and at the end of the silence, and how long that
    /// was.
    pub(super) fn of(
        settings: &IdleSettings,
        connected: u32,
        before: Option<Usage>,
        used: Option<(Usage, Usage, Duration)>,
        outcomes: &[Outcome],
        turned_away: &[ConnectError],
        lag_p99: Duration,
    ) -> Self {
        let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
        let offsets = || outcomes.iter().filter_map(|outcome| outcome.late_ms);
        let texts = outcomes.iter().filter(|outcome| outcome.answered).count() as u32;
        let mut errors: BTreeMap<String, u64> = BTreeMap::new();
        let mut codes: Vec<&str> = turned_away.iter().map(ConnectError::code).collect::<Vec<_>>();
        codes.extend(outcomes.iter().flat_map(|outcome| &outcome.errors).map(String::as_str));
        for code in codes {
            *errors.entry(code.to_owned()).or_default() += 1;
        }
        let words = sum(|outcome| outcome.words);
        Self {
            url: settings.target.url.clone(),
            clients: settings.clients,
            connected,
            duration_s: settings.duration.as_secs_f64(),
            silence: settings.silence.to_string(),
            cpu_cores_per_100: used.map(|used| cores_per_100(used, connected)),
            rss_before_bytes: before.map(|usage| usage.rss_bytes),
            rss_bytes: used.map(|(_, usage, _)| usage.rss_bytes),
            rss_per_session_bytes: before.zip(used).map(|(before, (_, after, _))| {
                after.rss_bytes.saturating_sub(before.rss_bytes) / u64::from(connected.max(1))
            }),
            texts,
            missing_texts: outcomes.len() as u32 - texts,
            misplaced: offsets().filter(|late| late.abs() > MISPLACED_MS).count() as u32,
            offset_ms: Quantiles::of(&mut offsets().map(|late| late.abs() as f64).collect::<Vec<_>>()),
            phantoms: sum(|outcome| outcome.phantoms),
            wer: (words > 0).then(|| sum(|outcome| outcome.wrong) as f64 / words as f64),
            rejected: errors.remove(REJECTED).unwrap_or_default(),
            errors,
            lag_ms: Lag { p99: lag_p99.as_secs_f64() * 1e3 },
            interrupted: false,
        }
    }

    /// What makes the run a failure, one line each; empty when it passed.
    pub fn failures(&self) -> Vec<String> {
        let of_all =
            |count: u32, what: &str| (count > 0).then(|| format!("{count} of {} {what}", self.connected));
        let rejected = (self.rejected > 0).then(|| format!("{} connections were rejected", self.rejected));
        let early = self.interrupted.then(|| "ended before its time".to_owned());
        let errors = self.errors.iter().map(|(code, count)| format!("{count} errors {code}"));
        early
            .into_iter()
            .chain(of_all(self.missing_texts, "texts did not come"))
            .chain(of_all(self.misplaced, "recordings were heard where they were not said: audio was lost"))
            .chain(rejected)
            .chain(errors)
            .collect()
    }
}

fn cores_per_100((from, to, silence): (Usage, Usage, Duration), connected: u32) -> f64 {
    let cores = to.cpu.saturating_sub(from.cpu).as_secs_f64() / silence.as_secs_f64();
    (1e5 * cores / f64::from(connected.max(1))).round() / 1e3
}

impl fmt::Display for IdleReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "silent sessions at {}", self.url)?;
        for (name, value) in self.lines() {
            writeln!(f, "{name:NAME$} {value}")?;
        }
        Ok(())
    }
}

impl IdleReport {
    fn lines(&self) -> [(&'static str, String); 10] {
        let Self { clients, connected, duration_s, silence, texts, misplaced, .. } = self;
        let errors: Vec<_> = self.errors.iter().map(|(code, count)| format!("{count} {code}")).collect();
        [
            ("clients", format!("{connected} of {clients} for {duration_s:.1} s, {silence} silence")),
            (
                "server: processors",
                known(self.cpu_cores_per_100, |cores| format!("{cores:.3} for each 100 sessions")),
            ),
            (
                "server: memory",
                known(self.rss_bytes, |bytes| format!("{:.1} MiB", kibibytes(bytes) / 1_024.0)),
            ),
            (
                "server: memory by session",
                known(self.rss_per_session_bytes, |bytes| format!("{:.1} KiB", kibibytes(bytes))),
            ),
            ("texts at the end", format!("{texts} of {connected}")),
            ("heard elsewhere", format!("{misplaced} of {connected}")),
            (
                "offset from the label",
                known(self.offset_ms, |offset| {
                    format!("{:.0} ms (p50), {:.0} ms (max)", offset.p50, offset.max)
                }),
            ),
            ("silence taken for speech", self.phantoms.to_string()),
            ("errors", if errors.is_empty() { "0".to_owned() } else { errors.join(", ") }),
            ("lag of the generator", format!("{:.1} ms (p99)", self.lag_ms.p99)),
        ]
    }
}

fn kibibytes(bytes: u64) -> f64 {
    bytes as f64 / 1_024.0
}

fn known<T>(value: Option<T>, told: impl Fn(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), told)
}
