//! Commands; the only place that wires the others together.

mod assembly;
mod bench;
mod certificate;
mod device;
mod doctor;
mod failure;
mod flags;
mod health;
mod inherited;
mod knees;
mod language_model;
mod last_words;
mod listen;
mod loadtest;
mod models;
mod output;
mod plan;
mod privacy;
mod provider;
mod serve;
mod signals;
mod sizing;
mod speak;
mod transcribe;
mod voices;

use crate::config::{self, ConfigError, Settings};
use crate::telemetry;
use bench::BenchCommand;
use clap::{Args, Parser, Subcommand};
use flags::{BenchFlags, LogFlags, RecognizeFlags, ServeFlags, SpeakFlags, StoreFlags};
use inherited::Inherited;
use listen::ListenCommand;
use loadtest::LoadtestCommand;
use models::ModelsCommand;
use serde::Serialize;
use speak::SpeakCommand;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use transcribe::TranscribeCommand;

const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (commit ",
    env!("STENOPOOL_BUILD_COMMIT"),
    ", features ",
    env!("STENOPOOL_BUILD_FEATURES"),
    ")"
);

const EXAMPLES: &str = "\
Examples:
  stenopool serve                                 the best installed model on http://127.0.0.1:8080
  stenopool serve --model small.en --slots 4      a certain model, four utterances at once
  STENOPOOL_API_KEY=… stenopool serve --bind 0.0.0.0:8080
  stenopool models pull base.en                   install a real model
  stenopool transcribe talk.m4a --format srt      a file, without a server
  stenopool speak Hello --output hello.wav        a text to sound, without a server; played where no file is named
  stenopool listen                                the microphone into the terminal, by way of a running server
  stenopool loadtest --url http://127.0.0.1:8080 --audio DIR --clients 20
  stenopool bench --model base.en                 how many slots fit on this machine, and how fast they are
  stenopool doctor                                what was found, what is missing, what to do
  stenopool health                                is the server with these settings well?

Every setting is a flag, an environment variable (STENOPOOL_…, shown by --help) and a key of the file that --config names:
a flag counts more than a variable, a variable more than the file. A file has a table for each group of flags:
  [server]          [models]              [pool]           [vad]
  bind = \"…\"        model = \"small.en\"    slots = 4        silence_ms = 700

Exit codes: 0, 1 (failed), 2 (usage), 69 (a device or model is missing or does not fit), 78 (configuration).";

/// A self-hosted speech server: many live sessions on one pool of Whisper slots.
#[derive(Debug, Parser)]
#[command(name = "stenopool", version = VERSION, after_help = EXAMPLES, max_term_width = 110)]
struct Cli {
    /// A TOML file of settings
    #[arg(long, value_name = "FILE", env = "STENOPOOL_CONFIG", global = true, help_heading = "Global")]
    config: Option<PathBuf>,
    #[command(flatten)]
    log: LogFlags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the server
    Serve(ServeFlags),
    /// Transcribe audio files, without a server
    Transcribe(With<RecognizeFlags, TranscribeCommand>),
    /// Say a text, without a server
    Speak(With<SpeakFlags, SpeakCommand>),
    /// Transcribe what the microphone hears while it is spoken, by way of a running server
    Listen(ListenCommand),
    /// List, install and check models
    Models(With<StoreFlags, ModelsCommand>),
    /// Look for everything the server needs, and say what is missing
    Doctor(With<ServeFlags, doctor::DoctorCommand>),
    /// Ask a running server whether it is well, as a health check does
    Health(With<ServeFlags, health::HealthCommand>),
    /// Measure this machine: memory, slots, speed, word error, without a server
    Bench(With<BenchFlags, BenchCommand>),
    /// Let many virtual people talk to a server, and see how it does
    Loadtest(With<StoreFlags, LoadtestCommand>),
    /// Tell how many people fit on how many slots, and how long they wait
    Plan(plan::PlanCommand),
}

/// A command and the settings that it can be told.
#[derive(Debug, Args)]
struct With<F: Args, C: Args> {
    #[command(flatten)]
    command: C,
    #[command(flatten)]
    flags: F,
}

/// Runs the command line and says how it went.
pub fn run() -> ExitCode {
    privacy::opt_out_of_telemetry();
    let inherited = Inherited::take();
    let Cli { config, log, command } = Cli::parse();
    let given = Given { config, log };
    command.run(&given, inherited).unwrap_or_else(|error| failure::report(&error))
}

impl Command {
    fn run(self, given: &Given, inherited: Inherited) -> anyhow::Result<ExitCode> {
        match self {
            Self::Serve(flags) => {
                let settings = given.settings(&flags, "info")?;
                block_on(serve::run(settings, inherited))
            }
            Self::Transcribe(With { command, flags }) => {
                let settings = given.settings(&flags, "warn")?;
                block_on(command.run(settings))
            }
            Self::Speak(With { command, flags }) => {
                let settings = given.settings(&flags, "warn")?;
                block_on(command.run(settings))
            }
            Self::Listen(command) => block_on(command.run()),
            Self::Models(With { command, flags }) => {
                let models = given.settings(&flags, "warn")?.models;
                block_on(command.run(&assembly::open_store(&models), models.mirror.as_deref()))
            }
            Self::Doctor(With { command, flags }) => {
                let settings = given.settings(&flags, "error")?;
                block_on(command.run(settings))
            }
            Self::Health(With { command, flags }) => {
                let settings = given.settings(&flags, "error")?;
                block_on(command.run(&settings))
            }
            Self::Bench(With { command, flags }) => {
                let settings = given.settings(&flags, "warn")?;
                block_on(command.run(settings))
            }
            Self::Loadtest(With { command, flags }) => {
                let models = given.settings(&flags, "warn")?.models;
                block_on(command.run(&models))
            }
            Self::Plan(command) => block_on(command.run()),
        }
    }
}

/// What was said before the command.
struct Given {
    config: Option<PathBuf>,
    log: LogFlags,
}

impl Given {
    /// The settings of a command, and logging started as they say; `level` when they do not.
    fn settings(&self, flags: &impl Serialize, level: &str) -> Result<Settings, ConfigError> {
        let settings = config::load(self.config.as_deref(), &Tables { log: &self.log, rest: flags })?;
        telemetry::init(&settings.log, level);
        Ok(settings)
    }
}

/// All flags in the shape of the configuration file.
#[derive(Serialize)]
struct Tables<'a, F: Serialize> {
    log: &'a LogFlags,
    #[serde(flatten)]
    rest: &'a F,
}

/// How long a thread for work that blocks stays when it has nothing to do. Such threads take turns, so that with tokio's
/// ten seconds the looks at the memory alone would keep as many as the busiest moment ever needed.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

fn block_on(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let workers = usize::from(sizing::cores()).clamp(2, 4);
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(workers).thread_keep_alive(KEEP_ALIVE).enable_all().build()?;
    let outcome = runtime.block_on(command);
    // A decoder that does not stop keeps nobody from leaving.
    runtime.shutdown_timeout(Duration::from_secs(2));
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::LiveSettings;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_setting_has_the_variable_that_its_flag_suggests() {
        for name in ["serve", "transcribe", "models", "speak", "bench"] {
            let mut cli = Cli::command();
            let command = cli.find_subcommand_mut(name).expect("it is a command");
            for argument in command.get_arguments().filter(|argument| argument.get_env().is_some()) {
                let flag = argument.get_long().expect("settings are flags");
                let variable = format!("STENOPOOL_{}", flag.replace('-', "_").to_uppercase());
                assert_eq!(argument.get_env().unwrap(), &*variable, "{name} --{flag}");
            }
        }
    }

    #[test]
    fn the_server_cannot_be_told_anything_without_a_variable() {
        let mut cli = Cli::command();
        let serve = cli.find_subcommand_mut("serve").expect("it is a command");
        let without = serve.get_arguments().find(|argument| argument.get_env().is_none());
        assert_eq!(without.map(clap::Arg::get_id), None);
    }

    #[test]
    fn every_flag_arrives_under_a_key_that_the_file_knows() {
        let values = [
            "--bind=127.0.0.1:1",
            "--insecure",
            "--api-key=a,b",
            "--aliases=x",
            "--upload-limit-mib=1",
            "--rest-wait-s=1",
            "--message-limit-kib=16",
            "--session-idle-s=1",
            "--session-lifetime-s=1",
            "--slow-client-s=1",
            "--shutdown-grace-s=1",
            "--tls-self-signed",
            "--model=m",
            "--models-dir=d",
            "--slots=1",
            "--queue-limit=1",
            "--lease=utterance",
            "--max-slots=1",
            "--knee=measure",
            "--elastic=false",
            "--canary-s=0",
            "--job-deadline-s=auto",
            "--starvation-s=1",
            "--batch-share=0",
            "--idle-reclaim-s=1",
            "--lease-switching=false",
            "--keep-audio-s=60",
            "--tier=gold=4,silver=2",
            "--threads=1",
            "--flash-attention=on",
            "--window=fit",
            "--interims=false",
            "--interim-ms=700",
            "--first-interim-ms=100",
            "--speculate=false",
            "--adaptive=false",
            "--llm-url=http://x/v1",
            "--llm-model=m",
            "--llm-key=k",
            "--llm-concurrency=1",
            "--llm-max-waiting=1",
            "--llm-first-token-s=1",
            "--llm-stall-s=1",
            "--llm-total-s=1",
            "--llm-retries=0",
            "--llm-keep-warm-s=0",
            "--instructions=i",
            "--reply-tokens=1",
            "--history-turns=1",
            "--history-tokens=100",
            "--lead-ms=100",
            "--speculative-reply",
            "--echo-ms=1",
            "--echo-db=-40",
            "--tts=espeak",
            "--voice=en-gb",
            "--tts-workers=2",
            "--tts-dedicated",
            "--kokoro-model=k",
            "--voices-dir=v",
            "--espeak=e",
            "--tts-url=http://x/v1",
            "--tts-key=k",
            "--tts-model=m",
            "--tts-voices=a,b",
            "--tts-concurrency=1",
            "--vad-device=cpu",
            "--tts-device=cpu",
            "--vad-threshold=0.4",
            "--vad-prefix-ms=1",
            "--vad-silence-ms=50",
            "--vad-pause-ms=50",
            "--vad-min-speech-ms=1",
            "--vad-longest-s=5",
            "--device=cpu",
            "--reserve-mib=0",
            "--debug-abort-after=1",
            "--debug-max-tokens=32",
            "--log=debug",
            "--log-format=json",
        ];
        let cli = Cli::parse_from(["stenopool", "serve"].into_iter().chain(values));
        let Command::Serve(flags) = cli.command else { panic!("that was `serve`") };
        let settings = config::load(None, &Tables { log: &cli.log, rest: &flags }).expect("all is well");
        assert!(settings.server.insecure);
        assert_eq!((settings.server.keys.len(), settings.slots.slots), (2, Some(1)));
        assert!(!settings.server.limits.lease_switching && !settings.server.limits.adaptive);
        assert_eq!(settings.server.limits.live, LiveSettings::OFF);
        assert!((settings.endpoint.threshold - 0.4).abs() < 1e-6);
        assert_eq!(settings.debug.max_tokens, Some(32));
        assert!(!settings.log.format.is_for_people());
        assert_eq!(settings.debug.abort_after, Some(1));
        let mut serve = Cli::command();
        let known = serve.find_subcommand_mut("serve").expect("it is a command").get_arguments().count();
        // All but `--key-file`, which would have to exist, and the two of a certificate, which is made here; and the two of the
        // log, which are not the command's own.
        assert_eq!(values.len(), known - 3 + 2, "a flag is missing above");
    }
}
