//! The report as a table for a terminal.

use super::{LoadReport, Quantiles};
use std::fmt;

/// Width of the names of figures.
const NAME: usize = 24;

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} at {}", self.protocol, self.url)?;
        for (name, value) in self.load() {
            writeln!(f, "{name:NAME$} {value}")?;
        }
        write!(f, "{:NAME$} {:>10} {:>10} {:>10} {:>10}", "", "p50", "p95", "p99", "max")?;
        for (name, quantiles) in self.latencies() {
            write!(f, "\n{name:NAME$} {}", row(quantiles))?;
        }
        for (name, value) in self.findings() {
            write!(f, "\n{name:NAME$} {value}")?;
        }
        Ok(())
    }
}

impl LoadReport {
    fn load(&self) -> [(&'static str, String); 2] {
        let early = if self.interrupted { ", ended early" } else { "" };
        let clients = format!("{} for {:.1} s, duty {:.2}{early}", self.clients, self.duration_s, self.duty);
        let speech = format!("{:.1} s in {} turns, {} finals", self.audio_seconds, self.turns, self.finals);
        [("clients", clients), ("speech sent", speech)]
    }

    fn latencies(&self) -> [(&'static str, Option<Quantiles>); 5] {
        [
            ("final latency", self.final_latency_ms),
            ("first delta", self.first_delta_ms),
            ("first sound of reply", self.first_audio_ms),
            ("wait for a slot", self.queue_wait_ms),
            ("decode", self.decode_ms),
        ]
    }

    fn findings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("finals that waited", percent(self.waited_share)),
            ("slots", self.slots_used()),
            ("word error", self.word_error()),
            ("word error of deltas", percent(self.delta_wer)),
            ("words that diverged", self.diverged()),
            ("leaks", self.leaks_told()),
            ("lost utterances", self.lost_utterances.to_string()),
            ("rejected", self.rejected.to_string()),
            ("errors", self.errors_told()),
            ("lag of the generator", format!("{:.1} ms (p99)", self.lag_ms.p99)),
            ("server: processor", known(self.server.cpu_seconds.map(|seconds| format!("{seconds:.1} s")))),
            ("server: decodes", self.decodes()),
            ("server: memory", known(self.server.rss_bytes.map(mebibytes))),
            ("server: device memory", known(self.server.device_memory_bytes.map(mebibytes))),
        ]
    }

    fn slots_used(&self) -> String {
        let busy = self.utilization.map(|busy| format!(", {:.1} % busy", 100.0 * busy)).unwrap_or_default();
        known(self.slots.map(|slots| format!("{slots}{busy}")))
    }

    fn diverged(&self) -> String {
        let share = self.diverged_share.map(|share| format!(" ({:.2} %)", 100.0 * share)).unwrap_or_default();
        known(self.diverged_words.map(|words| format!("{words}{share}")))
    }

    fn decodes(&self) -> String {
        let both = self.server.final_decodes.zip(self.server.interim_decodes);
        known(both.map(|(finals, interims)| {
            format!("{finals} finals, {interims} interims, {} deltas", self.deltas)
        }))
    }

    fn word_error(&self) -> String {
        let kinds = self.wer_by_kind.iter().map(|(kind, wer)| format!("{kind} {:.1} %", 100.0 * wer));
        match self.wer_by_kind.len() {
            0 | 1 => percent(self.wer),
            _ => format!("{} ({})", percent(self.wer), kinds.collect::<Vec<_>>().join(", ")),
        }
    }

    fn leaks_told(&self) -> String {
        match self.misheard.len() {
            0 => self.leaks.to_string(),
            n => format!("{} (and {n} wrong readings that come again when nobody else is there)", self.leaks),
        }
    }

    fn errors_told(&self) -> String {
        let errors: Vec<_> = self.errors.iter().map(|(code, count)| format!("{count} {code}")).collect();
        if errors.is_empty() { "0".to_owned() } else { errors.join(", ") }
    }
}

fn row(quantiles: Option<Quantiles>) -> String {
    let Some(Quantiles { p50, p95, p99, max }) = quantiles else { return format!("{:>10}", "-") };
    [p50, p95, p99, max].map(|ms| format!("{:>10}", milliseconds(ms))).join(" ")
}

fn milliseconds(ms: f64) -> String {
    if ms < 10.0 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
}

fn percent(share: Option<f64>) -> String {
    known(share.map(|share| format!("{:.1} %", 100.0 * share)))
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn known(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}
