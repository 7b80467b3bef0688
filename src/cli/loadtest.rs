//! `stenopool loadtest`: virtual people talk to a server, this one or another.

mod flags;
mod idle;
mod live;

use super::assembly::open_store;
use super::failure::Failure;
use super::output::{self, check_writable, deliver};
use super::signals::on_first_signal;
use crate::audio::Span;
use crate::config::ModelSettings;
use crate::load::{
    Course, Ended, KneeSettings, LoadError, LoadSettings, ProtocolName, Rubbish, ServerWatch, SoakSettings,
    chart, find_knee, run, settled, soak, speech_spans,
};
use crate::vad::Silero;
use anyhow::Context;
use clap::{Args, Subcommand};
use flags::{LoadFlags, positive_seconds};
use idle::IdleFlags;
use live::Live;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const EXAMPLES: &str = "\
Examples:
  stenopool loadtest --url http://127.0.0.1:8080 --audio tests/recordings/eval --clients 8 --duration 60
  stenopool loadtest --url ws://127.0.0.1:9090 --protocol whisperlive --audio DIR --json run.json
  stenopool loadtest knee --url http://127.0.0.1:8080 --audio DIR --json knee.json --html knee.html
  stenopool loadtest soak --url http://127.0.0.1:8080 --audio DIR --clients 50 --duration 900
  stenopool loadtest idle --url http://127.0.0.1:8080 --audio DIR --clients 300
  stenopool loadtest knee --url http://127.0.0.1:8080 --audio DIR --duty 1     people who speak without pause

DIR has the recordings and a transcripts.tsv with the columns file and text (empty: silence or noise) and, if known,
kind and segments (where somebody speaks, in seconds: 0.13-2.59). Every client gets recordings of its own, as far as they go.

Final latency runs from the last speech of a recording to its final text, and counts for turns that begin after the ramp.
A leak is a run of four or more words in a client's text that stands in another client's sentences and not in its own. A
recording that yields one is said again when everybody has gone: what comes again then was misheard, and did not leak.
The exit code is 1 when there were leaks, lost utterances, errors or refusals, and when the generator itself was late by
more than 20 ms (99 of 100 frames): then no latency is told. Pin the two sides to different cores:
  taskset -c 0 stenopool serve &  taskset -c 1 stenopool loadtest …";

/// How many people talk where the user does not say.
const PEOPLE: u32 = 8;

/// How many people a search for the knee tries at most where the user does not say.
const MOST_PEOPLE: u32 = 1_024;

/// How long a soak warms up: long enough for the server to have allocated what it keeps.
const WARM_UP_AT_LEAST: Duration = Duration::from_secs(20);
const WARM_UP_AT_MOST: Duration = Duration::from_secs(120);

/// Puts a server under the load of many talking people, in real time.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true, after_help = EXAMPLES)]
pub(super) struct LoadtestCommand {
    #[command(subcommand)]
    kind: Option<Kind>,
    #[command(flatten)]
    plain: PlainFlags,
}

/// A run with a fixed number of people.
#[derive(Debug, Args)]
struct PlainFlags {
    #[command(flatten)]
    load: LoadFlags,
    /// For how many seconds they talk, the ramp included
    #[arg(long, value_name = "SECONDS", env = "STENOPOOL_DURATION", default_value = "60", value_parser = positive_seconds)]
    duration: Duration,
}

#[derive(Debug, Subcommand)]
enum Kind {
    /// Find out how many people can talk at once: raise their number until the texts come too late
    Knee(KneeFlags),
    /// Talk for long beside clients that misbehave, and see whether everything is as before
    Soak(PlainFlags),
    /// Be connected and silent, and see what that costs and whether audio is lost
    Idle(IdleFlags),
}

#[derive(Debug, Args)]
struct KneeFlags {
    #[command(flatten)]
    load: LoadFlags,
    /// How many milliseconds after the last word 95 of 100 final texts have to be there
    #[arg(long, value_name = "MS", env = "STENOPOOL_LIMIT_MS", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    limit_ms: u64,
    /// For how many seconds each number of people talks, the ramp included
    #[arg(long, value_name = "SECONDS", env = "STENOPOOL_STEP", default_value = "60", value_parser = positive_seconds)]
    step: Duration,
    /// With how many people to begin
    #[arg(long, value_name = "N", env = "STENOPOOL_FIRST", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    first: u32,
    /// Write the curve as one HTML page
    #[arg(long, value_name = "FILE", env = "STENOPOOL_HTML")]
    html: Option<PathBuf>,
}

impl LoadtestCommand {
    /// Runs the test, prints the table and writes the files.
    ///
    /// # Errors
    ///
    /// When it could not begin, or its results could not be written.
    pub(super) async fn run(self, models: &ModelSettings) -> anyhow::Result<ExitCode> {
        let stop = stop_on_signals()?;
        match self.kind {
            Some(Kind::Knee(flags)) => flags.run(models, &stop).await,
            Some(Kind::Soak(flags)) => Box::pin(flags.soak(models, &stop)).await,
            Some(Kind::Idle(flags)) => flags.run(models, &stop).await,
            None => self.plain.run(models, &stop).await,
        }
    }
}

impl PlainFlags {
    async fn run(&self, models: &ModelSettings, stop: &CancellationToken) -> anyhow::Result<ExitCode> {
        let settings = self.load.settings(self.duration, PEOPLE)?;
        self.load.json.iter().try_for_each(|path| check_writable(path))?;
        let clips = self.load.clips(models, &settings)?;
        let live = Live::new();
        live.begin("", settings.duration);
        let report = run(&settings, &clips, &|progress| live.tell(&progress), &course(stop)).await;
        live.clear();
        let report = report.map_err(in_words)?;
        deliver(&report, self.load.json.as_deref())?;
        let silent = report.is_silent().then(|| "nothing was said: the run was too short".to_owned());
        Ok(verdict(&report.failures().into_iter().chain(silent).collect::<Vec<_>>()))
    }

    async fn soak(&self, models: &ModelSettings, stop: &CancellationToken) -> anyhow::Result<ExitCode> {
        let settings = self.load.settings(self.duration, PEOPLE)?;
        self.load.json.iter().try_for_each(|path| check_writable(path))?;
        let clips = self.load.clips(models, &settings)?;
        let live = Live::new();
        let for_so_long = async |duration, course| {
            live.begin("", duration);
            run(&settings.clone().lasting(duration), &clips, &|progress| live.tell(&progress), &course).await
        };
        let report = soak(&soak_settings(&settings)?, &clips, for_so_long, stop).await;
        live.clear();
        let report = report.map_err(in_words)?;
        deliver(&report, self.load.json.as_deref())?;
        Ok(verdict(&report.failures()))
    }
}

/// The same load, and who misbehaves beside it.
fn soak_settings(load: &LoadSettings) -> Result<SoakSettings, Failure> {
    let protocol = load.protocol.protocol(load.target.clone()).map_err(LoadError::from).map_err(in_words)?;
    let (url, key) = (load.target.url.clone(), load.target.key.clone());
    let rubbish = match load.protocol {
        ProtocolName::Realtime => Rubbish::Realtime,
        ProtocolName::Rest => Rubbish::Rest,
        ProtocolName::Whisperlive | ProtocolName::Deepgram => Rubbish::Never,
    };
    Ok(SoakSettings {
        warm_up: (load.duration / 10).clamp(WARM_UP_AT_LEAST, WARM_UP_AT_MOST),
        duration: load.duration,
        seed: load.turns.seed,
        at_once: (load.clients as usize / 5).clamp(2, 16),
        ..SoakSettings::new(url, key, protocol, rubbish)
    })
}

impl KneeFlags {
    async fn run(&self, models: &ModelSettings, stop: &CancellationToken) -> anyhow::Result<ExitCode> {
        let load = self.load.settings(self.step, MOST_PEOPLE)?;
        self.load.json.iter().chain(&self.html).try_for_each(|path| check_writable(path))?;
        let clips = self.load.clips(models, &load)?;
        let limit = Duration::from_millis(self.limit_ms);
        let settings = KneeSettings { first: self.first.min(load.clients), most: load.clients, limit };
        let live = Live::new();
        let so_many = async |clients| {
            live.begin(&format!("{clients} people: "), self.step);
            run(
                &LoadSettings { clients, ..load.clone() },
                &clips,
                &|progress| live.tell(&progress),
                &course(stop),
            )
            .await
        };
        let watch = ServerWatch::of(&load.target.url).with_key(load.target.key.clone());
        let curve = find_knee(&settings, so_many, async || settled(&watch).await, stop).await;
        live.clear();
        if let (Ended::Broke { error, .. }, []) = (&curve.ended, &*curve.points) {
            return Err(
                Failure::new(error, "check host and port, and that the server speaks --protocol").into()
            );
        }
        deliver(&curve, self.load.json.as_deref())?;
        if let Some(path) = &self.html {
            let page = chart::page(&curve, &format!("How many people can talk to {}", self.load.url()));
            std::fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(verdict(&Vec::from_iter(curve.complaint())))
    }
}

fn course(stop: &CancellationToken) -> Course {
    Course { stop: stop.clone(), ..Course::default() }
}

/// Where speech is in recordings whose table does not say so: the voice detector is asked.
pub(super) fn label_by_ear(models: &ModelSettings) -> impl FnMut(&[f32]) -> Result<Vec<Span>, String> {
    let store = open_store(models);
    let mut detector: Option<Silero> = None;
    move |samples| {
        if detector.is_none() {
            let runtime = store.onnx_runtime().map_err(|error| error.to_string())?;
            let model = store.silero().map_err(|error| error.to_string())?;
            detector = Some(Silero::load(&runtime, &model).map_err(|error| error.to_string())?);
        }
        let detector = detector.as_mut().expect("it was loaded above");
        speech_spans(detector, samples).map_err(|error| error.to_string())
    }
}

/// The first signal ends the run and reports what there is.
fn stop_on_signals() -> std::io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let told = stop.clone();
    on_first_signal(move || told.cancel())?;
    Ok(stop)
}

/// Says what went wrong, a line for each.
fn verdict(failures: &[String]) -> ExitCode {
    for failure in failures {
        output::tell(&format!("error: {failure}"));
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[expect(clippy::needless_pass_by_value, reason = "it is handed to `map_err`")]
fn in_words(error: LoadError) -> Failure {
    Failure::new(error.to_string(), error.hint())
}
