//! `stenopool bench`: what this machine's device does with a model, in numbers that anyone can reproduce. The slots are
//! opened, sized and closed by the code that serves; nobody talks to it.

mod collection;
mod curve;
mod ears;
mod figures;
mod machine;
mod memory;
mod sound;
mod stages;
mod stand;
mod table;
mod voice;
mod words;

use super::assembly::open_store;
use super::failure::Failure;
use super::output::{self, check_writable, deliver, tell};
use crate::asr::{DecodeOptions, EncoderWindow, JobLimits};
use crate::config::Settings;
use crate::gpu::{Bytes, DeviceSelector, Footprint};
use crate::store::{Weights, Window};
use anyhow::Context;
use clap::Args;
use collection::Collection;
use curve::Curve;
use figures::{
    AbortFigures, Build, Check, MemoryFigures, ModelFigures, OpeningFigures, Report, SettingFigures,
    StageFigures, millis,
};
use memory::{MemoryWatcher, signed};
use sound::Sound;
use stand::{Stand, Workshop};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::Instant;

const EXAMPLES: &str = "\
Examples:
  stenopool bench                                          the best installed model on the best device
  stenopool bench --model small.en --device cuda:0 --max-slots 32 --json small.json
  stenopool bench --audio tests/recordings/eval            speech instead of noise
  stenopool bench --words tests/recordings/eval --device cuda:0 --compare cpu
  stenopool bench --speech --tts kokoro                    the voice
  stenopool bench --merge small.json large.json --json bench/
  stenopool bench --table bench/gpu-*.json                 as a table in Markdown

Noise says nothing: where it is decoded, decodes end with 32 tokens unless --debug-max-tokens says otherwise, and none is
tried again. A first model is opened and closed before memory is compared, since a driver keeps what it needed once.

Exit codes: 0, 1 (something did not hold; the table says what), 2 (usage), 69 (device or model missing, or does not fit).";

/// Where noise is decoded.
const TOKENS_OF_NOISE: u16 = 32;

/// What may be left behind: allocators and drivers keep something. A slot that was not given back is always more.
const LEFT_BEHIND: Bytes = Bytes::mib(64);

/// Measures a device with a model.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct BenchCommand {
    /// Decode this recording, or those in this folder, instead of noise
    #[arg(long, value_name = "FILE|DIR")]
    audio: Option<PathBuf>,
    /// For how many seconds each number of slots is kept busy; longer where one decode takes longer
    #[arg(long, value_name = "S", default_value = "6", value_parser = seconds)]
    seconds: Duration,
    /// Measure one slot and all of them, and no number between
    #[arg(long, conflicts_with_all = ["words", "speech"])]
    ends: bool,
    /// Measure word error instead, of a folder of recordings with their transcripts.tsv
    #[arg(long, value_name = "DIR", conflicts_with_all = ["audio", "speech"])]
    words: Option<PathBuf>,
    /// And on this device, too: whether both are within half a point
    #[arg(long, value_name = "DEVICE", requires = "words")]
    compare: Option<DeviceSelector>,
    /// Measure the voice instead, which --tts chooses
    #[arg(long, conflicts_with = "audio")]
    speech: bool,
    /// Write the figures as JSON; "-" is standard output. With --merge, a folder gets a file named by the device
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure nothing, but put such files together
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["audio", "words", "speech"])]
    merge: Option<Vec<PathBuf>>,
    /// What could not be measured, to be told with what is put together; may be repeated
    #[arg(long, value_name = "NAME: REASON", requires = "merge")]
    failed: Vec<String>,
    /// What there was no time or no room for, likewise
    #[arg(long, value_name = "NAME: REASON", requires = "merge")]
    skipped: Vec<String>,
    /// Measure nothing, but print what was put together in Markdown; without a file, that nothing was measured
    #[arg(long, value_name = "FILE", num_args = 0.., conflicts_with_all = ["audio", "words", "speech", "merge", "json"])]
    table: Option<Vec<PathBuf>>,
}

impl BenchCommand {
    /// Measures, prints a table and writes the file.
    ///
    /// # Errors
    ///
    /// When it could not begin, broke off, or its results could not be written.
    pub(super) async fn run(self, settings: Settings) -> anyhow::Result<ExitCode> {
        if let Some(files) = &self.table {
            output::print(&collection::section(files)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        if let Some(files) = &self.merge {
            return self.merge(files);
        }
        self.json.iter().try_for_each(|path| check_writable(path))?;
        let report = match &self.words {
            Some(folder) => self.word_errors(settings, folder).await?,
            None if self.speech => voice_alone(settings).await?,
            None => self.slots(settings).await?,
        };
        deliver(&report, self.json.as_deref())?;
        for check in report.failures() {
            tell(&format!("error: {}: {}", check.name, check.detail));
        }
        Ok(verdict(report.failures().next().is_none()))
    }

    fn merge(&self, files: &[PathBuf]) -> anyhow::Result<ExitCode> {
        let merged = Collection::merge(files, self.failed.clone(), self.skipped.clone())?;
        let json = self
            .json
            .as_ref()
            .map(|path| if path.is_dir() { path.join(merged.file_name()) } else { path.clone() });
        deliver(&merged, json.as_deref())?;
        if let Some(path) = &json {
            tell(&format!("written to {}", path.display()));
        }
        Ok(verdict(merged.is_good()))
    }

    /// Memory, slots and speed.
    async fn slots(&self, mut settings: Settings) -> anyhow::Result<Report> {
        let sound = self.audio.as_deref().map_or_else(|| Ok(Sound::noise()), Sound::read)?;
        if !sound.is_speech {
            settings.debug.max_tokens.get_or_insert(TOKENS_OF_NOISE);
        }
        let workshop = Workshop::open(settings).await?;
        let run = Run {
            sound,
            each: self.seconds,
            ends: self.ends,
            meter: MemoryWatcher::of(&workshop.found.device),
            workshop,
        };
        run.report().await
    }

    async fn word_errors(&self, settings: Settings, folder: &Path) -> anyhow::Result<Report> {
        if settings.debug.max_tokens.is_some() {
            let hint = "leave out --debug-max-tokens, or --words";
            return Err(Failure::usage("texts of bounded length have no word error", hint).into());
        }
        let clips = words::read(folder)?;
        let workshop = Workshop::open(settings.clone()).await?;
        let other = self.other(settings, &workshop).await?;
        tell(&format!("decoding {} recordings on {}", clips.len(), workshop.found.device.info.name));
        let one = words::measure(&workshop, &clips).await?;
        let what = format!("{} labelled recordings", clips.len());
        let mut report = blank(&workshop, what, Duration::ZERO).await?;
        report.words.push(one.figures.clone());
        if let Some(other) = other {
            tell(&format!("and on {}", other.found.device.info.name));
            let other = words::measure(&other, &clips).await?;
            report.words.push(other.figures.clone());
            report.checks.push(words::compared(&one, &other));
        }
        Ok(report)
    }

    /// What the first device is compared with, if anything is.
    async fn other(&self, mut settings: Settings, one: &Workshop) -> anyhow::Result<Option<Workshop>> {
        let Some(compare) = &self.compare else { return Ok(None) };
        settings.device.selector = compare.clone();
        let other = Workshop::open(settings).await?;
        if other.found.gpu == one.found.gpu {
            let hint = "name two devices, as in --device cuda:0 --compare cpu";
            return Err(
                Failure::usage(format!("{compare} is the device that is measured already"), hint).into()
            );
        }
        Ok(Some(other))
    }
}

fn verdict(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn voice_alone(settings: Settings) -> anyhow::Result<Report> {
    let workshop = Workshop::open(settings).await?;
    let voice = voice::measure(&workshop.settings, workshop.found.gpu).await?;
    let mut report = blank(&workshop, "phrases, said".into(), Duration::ZERO).await?;
    let factor = voice.real_time_factor;
    let detail = format!("{factor:.3} s of work for a second of sound");
    report.checks.push(Check::new("voice keeps up", factor < 1.0, detail));
    report.voice = Some(voice);
    Ok(report)
}

/// A report of which only the head is known.
async fn blank(workshop: &Workshop, sound: String, each: Duration) -> anyhow::Result<Report> {
    let Workshop { settings, model, share, .. } = workshop;
    let own = match model.window {
        Window::Fit => EncoderWindow::Fit,
        Window::Full => EncoderWindow::Full,
    };
    let file_bytes = match &model.weights {
        Weights::File(path) => std::fs::metadata(path).ok().map(|file| file.len()),
        Weights::Embedded => None,
    };
    let window = settings.asr.window.unwrap_or(own).as_str().into();
    Ok(Report {
        stenopool: Build::this(),
        device: machine::describe(workshop).await?,
        model: ModelFigures { name: model.name.clone(), window, file_bytes },
        settings: SettingFigures {
            threads: share.threads,
            max_tokens: settings.debug.max_tokens,
            sound,
            seconds: each.as_secs_f64(),
        },
        opening: None,
        memory: None,
        points: Vec::new(),
        knee: None,
        stages: Vec::new(),
        abort: None,
        silero: Vec::new(),
        voice: None,
        words: Vec::new(),
        checks: Vec::new(),
    })
}

/// One measurement of slots.
struct Run {
    workshop: Workshop,
    sound: Sound,
    each: Duration,
    /// One slot and all of them only.
    ends: bool,
    meter: MemoryWatcher,
}

/// What one slot showed that did nothing else.
struct Alone {
    ready: Duration,
    stages: Vec<StageFigures>,
    abort: Option<AbortFigures>,
}

/// What all slots showed together.
struct Together {
    ready: Duration,
    all: Duration,
    memory: MemoryFigures,
    curve: Curve,
    wanted: u16,
}

impl Run {
    async fn report(&self) -> anyhow::Result<Report> {
        let mut report = blank(&self.workshop, self.sound.what.clone(), self.each).await?;
        tell(&format!("{} on {}", report.model.name, report.device));
        let Workshop { settings, found, .. } = &self.workshop;
        match ears::measure(&open_store(&settings.models), found.gpu).await {
            Ok(silero) => report.silero = silero,
            Err(error) => report.checks.push(Check::new("voice detector", false, format!("{error:#}"))),
        }
        let free_before = self.meter.memory().await?.free;
        let alone = self.alone().await.context("with one slot")?;
        let together = self.together(free_before).await?;
        report.checks.extend(checks(&alone, &together));
        report.opening = Some(OpeningFigures {
            first_ms: millis(alone.ready),
            again_ms: millis(together.ready),
            all_ms: millis(together.all),
        });
        (report.stages, report.abort) = (alone.stages, alone.abort);
        (report.points, report.knee) = (together.curve.points, together.curve.knee);
        report.memory = Some(together.memory);
        Ok(report)
    }

    fn options(&self) -> DecodeOptions {
        DecodeOptions {
            language: Some("en".into()),
            max_tokens: self.workshop.settings.debug.max_tokens,
            ..DecodeOptions::default()
        }
    }

    /// Encoder, decoder and aborts, on one slot whose encoder looks at the utterance alone: 30 s are the full window.
    async fn alone(&self) -> anyhow::Result<Alone> {
        tell("opening one slot");
        let stand = self.workshop.stand(1, Some(EncoderWindow::Fit)).await?;
        tell("measuring encoder, decoder and aborts");
        let stages = stages::measure(&stand, &self.sound, &self.options()).await?;
        let abort =
            stages::abort(&stand, &self.options(), (self.each * 2).max(Duration::from_secs(5))).await?;
        let ready = stand.ready;
        stand.close(&self.meter).await?;
        Ok(Alone { ready, stages, abort })
    }

    /// Memory and throughput, with all slots that there can be.
    async fn together(&self, free_before: Bytes) -> anyhow::Result<Together> {
        let baseline = self.meter.held().await?;
        let watch = self.meter.watch().await?;
        tell("opening all slots");
        let stand = self.workshop.stand(self.workshop.most_slots(), None).await?;
        let (ready, begun) = (stand.ready, Instant::now());
        let opened = stand.all_open().await;
        let all = begun.elapsed();
        let curve = self.curve(&stand, opened).await;
        let taken = self.meter.held().await?;
        let free_lowest = watch.end().await?;
        let sizing = stand.supervisor.sizing();
        tell(&format!("closing {opened} slots"));
        let given_back_bytes = stand.close(&self.meter).await?;
        let left_behind_bytes = signed(self.meter.held_in_the_end(baseline).await?, baseline);
        let Footprint { weights, slot } = sizing.footprint;
        let memory = MemoryFigures {
            total_bytes: sizing.memory.total.0,
            free_before_bytes: free_before.0,
            reserve_bytes: sizing.reserve.0,
            weights_bytes: weights.0,
            slot_bytes: slot.0,
            fits: sizing.fits,
            opened,
            max_slots: sizing.max_slots,
            taken_bytes: taken.since(baseline).0,
            promised_bytes: weights.and(slot.times(opened)).0,
            free_lowest_bytes: free_lowest.0,
            given_back_bytes,
            left_behind_bytes,
        };
        Ok(Together { ready, all, memory, curve, wanted: sizing.slots })
    }

    /// First the widest decode on all slots at once, which is when most memory is taken and everything gets warm.
    async fn curve(&self, stand: &Stand, opened: u16) -> Curve {
        let (lanes, options) = (stand.lanes(), self.options());
        tell(&format!("{opened} slots decode 30 s at once"));
        let widest = curve::keep_busy(lanes, opened, &Sound::widest(), &options, Duration::ZERO).await;
        let told = |point: &figures::Point| {
            tell(&format!("{} slots: {:.2} seconds of audio per second", point.slots, point.throughput));
        };
        let mut curve =
            curve::measure(lanes, &curve::steps(opened, self.ends), &self.sound, &options, self.each, &told)
                .await;
        curve.failures.extend(widest.failures);
        curve
    }
}

/// What must hold of all.
fn checks(alone: &Alone, together: &Together) -> Vec<Check> {
    let Together { memory, curve, wanted, .. } = together;
    let grace = JobLimits::default().abort_grace;
    let abort = alone.abort.as_ref().map(|abort| (abort.latency_ms.max, abort.heard));
    let failures = match curve.failures.as_slice() {
        [] => "none failed".to_owned(),
        failures => failures.join("; "),
    };
    let mut checks = vec![
        Check::new("slots open", memory.opened == *wanted, format!("{} of {wanted}", memory.opened)),
        Check::new("decodes", curve.failures.is_empty(), failures),
    ];
    checks.extend(memory_checks(memory));
    checks.push(match abort {
        Some((slowest, heard)) => {
            let detail = format!(
                "{heard} stopped early; {slowest} ms at the longest, a slot is given up after {grace:?}"
            );
            Check::new("abort", heard > 0 && slowest <= millis(grace), detail)
        }
        None => Check::new("abort", false, "no decode went on for long enough to be told to stop"),
    });
    checks
}

/// What must hold of memory.
fn memory_checks(memory: &MemoryFigures) -> [Check; 3] {
    let (lowest, reserve) = (Bytes(memory.free_lowest_bytes), Bytes(memory.reserve_bytes));
    let reserve_kept = format!("{lowest} were free at the least, {reserve} are to stay untouched");
    let (taken, promised) = (Bytes(memory.taken_bytes), Bytes(memory.promised_bytes));
    let allowed = promised.and(Bytes(promised.0 / 10)).and(LEFT_BEHIND);
    let footprint = format!("{taken} were taken, {promised} promised, {allowed} are allowed");
    let tolerated = LEFT_BEHIND.max(Bytes(memory.slot_bytes / 2));
    let left = Bytes(memory.left_behind_bytes.max(0) as u64);
    let back = format!("{left} left behind, {tolerated} are allowed");
    [
        Check::new("reserve untouched", lowest >= reserve, reserve_kept),
        Check::new("footprint true", taken <= allowed, footprint),
        Check::new("memory back", left <= tolerated, back),
    ]
}

/// `6` or `0.5`: more than nothing, and no longer than a day.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.1..=86_400.0).contains(seconds));
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "expected a number of seconds from 0.1 to 86400".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> MemoryFigures {
        let mib = |mib| Bytes::mib(mib).0;
        MemoryFigures {
            total_bytes: mib(24_000),
            free_before_bytes: mib(23_000),
            reserve_bytes: mib(1_200),
            weights_bytes: mib(1_600),
            slot_bytes: mib(300),
            fits: 67,
            opened: 4,
            max_slots: 4,
            taken_bytes: mib(2_800),
            promised_bytes: mib(2_800),
            free_lowest_bytes: mib(20_000),
            given_back_bytes: vec![0; 4],
            left_behind_bytes: 0,
        }
    }

    fn failed(memory: &MemoryFigures) -> Vec<String> {
        memory_checks(memory).into_iter().filter(|check| !check.passed).map(|check| check.name).collect()
    }

    #[test]
    fn memory_that_is_as_promised_and_comes_back_is_good() {
        assert_eq!(failed(&memory()), Vec::<String>::new());
        // What is freed by others, or by the allocator, is nobody's fault.
        assert_eq!(
            failed(&MemoryFigures { left_behind_bytes: -1_000_000, ..memory() }),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_reserve_that_was_touched_a_slot_that_took_more_and_one_that_stayed_are_found() {
        let mib = |mib: i64| mib * 1_048_576;
        let touched = MemoryFigures { free_lowest_bytes: mib(1_199) as u64, ..memory() };
        assert_eq!(failed(&touched), ["reserve untouched"]);
        let larger = MemoryFigures { taken_bytes: mib(3_200) as u64, ..memory() };
        assert_eq!(failed(&larger), ["footprint true"]);
        let stayed = MemoryFigures { left_behind_bytes: mib(300), ..memory() };
        assert_eq!(failed(&stayed), ["memory back"]);
        let some = MemoryFigures { left_behind_bytes: mib(149), ..memory() };
        assert_eq!(failed(&some), Vec::<String>::new());
    }

    #[test]
    fn seconds_are_a_number_in_reason() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["0", "-1", "nan", "inf", "1e9", "six", ""] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
