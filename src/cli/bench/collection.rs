//! Many reports of one machine: what `scripts/gpu-check.sh` leaves behind, as a file, a table and a section for the README.

use super::figures::{DeviceFigures, Point, Report, SileroFigures};
use super::table::milliseconds;
use crate::cli::failure::Failure;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};

/// What a machine without a GPU can say about GPUs.
const NOT_MEASURED: &str = "Nothing here was measured on a GPU yet. `scripts/gpu-check.sh run` measures it all on a machine that has one: \
memory, slots, speed and word error.\n";

/// Reports of one device, and what could not be measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Collection {
    /// That of the first report.
    pub(super) device: DeviceFigures,
    /// In the order in which they were given.
    pub(super) reports: Vec<Report>,
    /// What failed before there was a report, each as `NAME: REASON`.
    pub(super) failures: Vec<String>,
    /// What there was no time or no room for, likewise.
    pub(super) skipped: Vec<String>,
}

impl Collection {
    /// Puts together what is in these files.
    ///
    /// # Errors
    ///
    /// A [`Failure`] for a file that is no report, and when there is none.
    pub(super) fn merge(
        files: &[PathBuf],
        failures: Vec<String>,
        skipped: Vec<String>,
    ) -> Result<Self, Failure> {
        let reports: Vec<Report> = files.iter().map(|file| read(file)).collect::<Result<_, _>>()?;
        let device = reports.first().map(|report| report.device.clone());
        let device = device.ok_or_else(|| Failure::usage("there is no report to merge", HINT))?;
        Ok(Self { device, reports, failures, skipped })
    }

    /// What its file is called.
    pub(super) fn file_name(&self) -> String {
        let name = slug(&self.device.name);
        match self.device.kind.as_str() {
            "cuda" => format!("gpu-{name}.json"),
            _ => format!("gpu-check-cpu-{name}.json"),
        }
    }

    /// Whether all was measured, and everything held that must.
    pub(super) fn is_good(&self) -> bool {
        self.failures.is_empty() && self.reports.iter().all(|report| report.failures().next().is_none())
    }

    fn sized(&self) -> impl Iterator<Item = &Report> {
        self.reports.iter().filter(|report| report.memory.is_some())
    }

    /// What failed, a line for each.
    fn complaints(&self) -> Vec<String> {
        let of = |report: &Report| {
            let name = report.model.name.clone();
            report
                .failures()
                .map(move |check| format!("{name}: {}: {}", check.name, check.detail))
                .collect::<Vec<_>>()
        };
        self.reports.iter().flat_map(of).chain(self.failures.iter().cloned()).collect()
    }

    /// Word errors, voices and the voice detector, a line for each.
    fn sentences(&self) -> Vec<String> {
        let words =
            self.reports.iter().flat_map(|report| report.words.iter().map(move |words| (report, words)));
        let words = words.map(|(report, words)| {
            let (model, device) = (&report.model.name, &words.device);
            let counted =
                format!("{} of {} words, {} recordings", words.errors, words.words, words.recordings);
            format!("word error of {model} on {device}: {:.2} % ({counted})", 100.0 * words.wer)
        });
        let voices = self.reports.iter().filter_map(|report| report.voice.as_ref()).map(|voice| {
            let first = milliseconds(voice.first_sound_ms.p50);
            let factor = voice.real_time_factor;
            format!("voice {voice}: first sound after {first}, {factor:.3} s of work for a second")
        });
        // A report of every model has them; the first is as good as the others.
        let silero = self.reports.iter().find(|report| !report.silero.is_empty());
        let silero = silero.into_iter().flat_map(|report| &report.silero).map(|silero| {
            let SileroFigures { device, step_us, step_of_32_us } = silero;
            format!("voice detector on {device}: {step_us:.0} µs for a frame, {step_of_32_us:.0} µs among 32")
        });
        words.chain(voices).chain(silero).collect()
    }
}

impl fmt::Display for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.device)?;
        let rows: Vec<_> = std::iter::once(HEAD.map(String::from)).chain(self.sized().map(cells)).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; COLUMNS] = std::array::from_fn(width);
        for row in &rows {
            let padded = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
            writeln!(f, "{}", padded.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        writeln!(f)?;
        self.sentences().iter().try_for_each(|sentence| writeln!(f, "{sentence}"))?;
        self.skipped.iter().try_for_each(|skipped| writeln!(f, "left out: {skipped}"))?;
        match self.complaints().as_slice() {
            [] => writeln!(f, "everything held"),
            complaints => complaints.iter().try_for_each(|complaint| writeln!(f, "FAILED {complaint}")),
        }
    }
}

/// The README's section on GPUs, from these files.
///
/// # Errors
///
/// A [`Failure`] for a file that is no collection.
pub(super) fn section(files: &[PathBuf]) -> Result<String, Failure> {
    let collections: Vec<Collection> = files.iter().map(|file| read(file)).collect::<Result<_, _>>()?;
    let sections: Vec<String> =
        collections.iter().filter(|measured| measured.device.kind == "cuda").map(markdown).collect();
    Ok(if sections.is_empty() { NOT_MEASURED.into() } else { sections.join("\n") })
}

fn markdown(collection: &Collection) -> String {
    let row = |cells: [String; COLUMNS]| format!("| {} |\n", cells.join(" | "));
    let (device, file) = (&collection.device, collection.file_name());
    let head = format!("**{device}**, by `scripts/gpu-check.sh` ([all figures](bench/{file})):\n\n");
    let line = format!("|{}\n", "---|".repeat(COLUMNS));
    let rows = collection.sized().map(|report| row(cells(report)));
    let table = [head, row(HEAD.map(String::from)), line].into_iter().chain(rows);
    let paragraph = |before: &str, sentences: Vec<String>| {
        if sentences.is_empty() { String::new() } else { format!("\n{before}{}.\n", sentences.join("; ")) }
    };
    let bad = "What did not hold or could not be measured: ";
    table.chain([paragraph("", collection.sentences()), paragraph(bad, collection.complaints())]).collect()
}

const COLUMNS: usize = 11;

const HEAD: [&str; COLUMNS] = [
    "model",
    "window",
    "weights",
    "per slot",
    "fit",
    "knee",
    "audio s/s, 1 slot and best",
    "decode p50/p95, 1 slot",
    "encoder 5 s/30 s",
    "token",
    "abort p95",
];

/// One model in a row.
fn cells(report: &Report) -> [String; COLUMNS] {
    let memory = report.memory.as_ref();
    let mib =
        |bytes: Option<u64>| told(bytes.map(|bytes| format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20))));
    let best = report.points.iter().max_by(|a, b| a.throughput.total_cmp(&b.throughput));
    let alone = report.points.first();
    let pair = |point: &Point| format!("{:.1}/{:.1} ms", point.decode_ms.p50, point.decode_ms.p95);
    let throughput = alone
        .zip(best)
        .map(|(one, best)| format!("{:.1}, {:.1} ({} slots)", one.throughput, best.throughput, best.slots));
    let encoder: Vec<String> = report.stages.iter().map(|stage| format!("{:.1}", stage.encoder_ms)).collect();
    let token = report.stages.iter().find_map(|stage| stage.token_ms);
    let beyond = || report.points.last().map_or("-".into(), |last| format!("> {}", last.slots));
    [
        report.model.name.clone(),
        report.model.window.clone(),
        mib(memory.map(|memory| memory.weights_bytes)),
        mib(memory.map(|memory| memory.slot_bytes)),
        told(memory.map(|memory| memory.fits)),
        report.knee.map_or_else(beyond, |knee| knee.to_string()),
        told(throughput),
        told(alone.map(pair)),
        if encoder.is_empty() { "-".into() } else { format!("{} ms", encoder.join("/")) },
        told(token.map(|token| format!("{token:.2} ms"))),
        told(report.abort.as_ref().map(|abort| milliseconds(abort.latency_ms.p95))),
    ]
}

fn told(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

const HINT: &str = "name files that `stenopool bench --json` has written";

fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<T, Failure> {
    let failed =
        |reason: &dyn fmt::Display| Failure::new(format!("cannot use {}: {reason}", path.display()), HINT);
    let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
    serde_json::from_str(&text).map_err(|error| failed(&error))
}

/// A device's name as a part of a file's.
fn slug(name: &str) -> String {
    let plain = name.to_lowercase().replace(|char: char| !char.is_ascii_alphanumeric(), " ");
    plain.split_whitespace().collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::super::figures::{Build, Check, MemoryFigures, ModelFigures, SettingFigures, WordFigures};
    use super::*;
    use crate::load::Quantiles;

    fn report(kind: &str, model: &str) -> Report {
        let decode_ms = Quantiles { p50: 40.0, p95: 44.0, p99: 44.0, max: 44.0 };
        let point = |slots, throughput| Point { slots, throughput, decodes: 9, decode_ms };
        let device = DeviceFigures {
            kind: kind.into(),
            name: "NVIDIA H200 (SXM)".into(),
            memory_bytes: 139 << 30,
            driver: Some("580.1".into()),
            ..DeviceFigures::default()
        };
        let memory = MemoryFigures {
            total_bytes: 139 << 30,
            free_before_bytes: 138 << 30,
            reserve_bytes: 7 << 30,
            weights_bytes: 574 << 20,
            slot_bytes: 300 << 20,
            fits: 400,
            opened: 16,
            max_slots: 16,
            taken_bytes: 5 << 30,
            promised_bytes: 5 << 30,
            free_lowest_bytes: 130 << 30,
            given_back_bytes: vec![300 << 20, 0],
            left_behind_bytes: -5,
        };
        Report {
            stenopool: Build::this(),
            device,
            model: ModelFigures { name: model.into(), window: "full".into(), file_bytes: Some(574 << 20) },
            settings: SettingFigures {
                threads: 4,
                max_tokens: Some(32),
                sound: "noise".into(),
                seconds: 6.0,
            },
            opening: None,
            memory: Some(memory),
            points: vec![point(1, 125.0), point(2, 200.0), point(4, 190.0)],
            knee: Some(2),
            stages: Vec::new(),
            abort: None,
            silero: Vec::new(),
            voice: None,
            words: Vec::new(),
            checks: vec![Check::new("reserve", true, "it was never touched")],
        }
    }

    fn written(reports: &[Report]) -> (tempfile::TempDir, Vec<PathBuf>) {
        let folder = tempfile::tempdir().unwrap();
        let write = |(at, report): (usize, &Report)| {
            let path = folder.path().join(format!("{at}.json"));
            std::fs::write(&path, serde_json::to_string(report).unwrap()).unwrap();
            path
        };
        let files = reports.iter().enumerate().map(write).collect();
        (folder, files)
    }

    #[test]
    fn reports_are_put_together_as_they_were_written() {
        let reports = [report("cuda", "tiny"), report("cuda", "small")];
        let (_folder, files) = written(&reports);
        let merged = Collection::merge(&files, Vec::new(), Vec::new()).unwrap();
        assert_eq!(merged.reports, reports);
        assert!(merged.is_good());
        assert_eq!(merged.file_name(), "gpu-nvidia-h200-sxm.json");
        let text = merged.to_string();
        assert!(text.contains("tiny") && text.contains("125.0, 200.0 (2 slots)"), "{text}");
        assert!(text.ends_with("everything held\n"), "{text}");
        assert!(Collection::merge(&[], Vec::new(), Vec::new()).is_err());
        let nonsense = Collection::merge(&[PathBuf::from("Cargo.toml")], Vec::new(), Vec::new()).unwrap_err();
        assert!(nonsense.to_string().contains("cannot use Cargo.toml"));
    }

    #[test]
    fn what_failed_stands_in_the_table_and_in_the_verdict() {
        let mut bad = report("cuda", "tiny");
        bad.checks.push(Check::new("memory back", false, "700.0 MiB left behind"));
        let (_folder, files) = written(&[bad]);
        let merged = Collection::merge(
            &files,
            vec!["large-v3: no room on the disk".into()],
            vec!["base: no time".into()],
        )
        .unwrap();
        assert!(!merged.is_good());
        let text = merged.to_string();
        assert!(text.contains("FAILED tiny: memory back: 700.0 MiB left behind\n"), "{text}");
        assert!(text.contains("FAILED large-v3: no room on the disk\n"), "{text}");
        assert!(text.contains("left out: base: no time\n"), "{text}");
    }

    #[test]
    fn the_section_is_drawn_from_gpus_only_and_says_when_there_is_none() {
        assert_eq!(section(&[]).unwrap(), NOT_MEASURED);
        let mut gpu = report("cuda", "tiny");
        gpu.words.push(WordFigures {
            device: "cuda:0".into(),
            recordings: 60,
            words: 200,
            errors: 5,
            wer: 0.025,
            wer_by_kind: std::collections::BTreeMap::new(),
            seconds: 2.0,
        });
        let (folder, files) = written(&[gpu, report("cpu", "tiny")]);
        let collected = |at: usize| {
            let merged = Collection::merge(&files[at..=at], Vec::new(), Vec::new()).unwrap();
            let path = folder.path().join(merged.file_name());
            std::fs::write(&path, serde_json::to_string(&merged).unwrap()).unwrap();
            path
        };
        let (gpu, cpu) = (collected(0), collected(1));
        assert_eq!(section(std::slice::from_ref(&cpu)).unwrap(), NOT_MEASURED);
        let text = section(&[gpu, cpu]).unwrap();
        assert!(text.starts_with("**NVIDIA H200 (SXM), "), "{text}");
        assert!(text.contains("| tiny | full | 574 MiB | 300 MiB | 400 | 2 |"), "{text}");
        assert!(
            text.contains("word error of tiny on cuda:0: 2.50 % (5 of 200 words, 60 recordings)"),
            "{text}"
        );
        assert_eq!(text.matches("**").count(), 2, "{text}");
    }
}
