//! `stenopool loadtest idle`: many people who are connected and say nothing.

#![expect(clippy::doc_markdown, reason = "the comments on flags are help texts, where backticks would show")]

use super::flags::positive_seconds;
use super::live::Live;
use super::{in_words, label_by_ear, verdict};
use crate::cli::failure::Failure;
use crate::cli::output::{check_writable, deliver};
use crate::config::ModelSettings;
use crate::load::{Dictation, IdleSettings, Silence, Target, idle, read_clips};
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const EXAMPLES: &str = "\
Examples:
  stenopool loadtest idle --url http://127.0.0.1:8080 --audio tests/recordings/eval --clients 300 --duration 60
  stenopool loadtest idle --url http://127.0.0.1:8080 --audio DIR --clients 1000 --noise room --json idle.json

Everybody streams silence as a microphone does, 16-bit samples at 24 kHz in binary frames of 100 ms. After --duration seconds one
person after the other says a short recording of DIR. Its text has to come, and the server has to hear it where it was said in the
stream, to within 200 ms: otherwise audio was lost, and the exit code is 1.";

/// Lets many people be connected and say nothing.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct IdleFlags {
    /// The server, as in http://127.0.0.1:8080; it has to speak realtime
    #[arg(long, value_name = "URL", env = "STENOPOOL_URL")]
    url: String,
    /// A folder of recordings with their transcripts.tsv
    #[arg(long, value_name = "DIR", env = "STENOPOOL_AUDIO")]
    audio: PathBuf,
    /// How many people are connected
    #[arg(long, value_name = "N", env = "STENOPOOL_CLIENTS", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    clients: u32,
    /// For how many seconds all of them are silent
    #[arg(long, value_name = "SECONDS", env = "STENOPOOL_DURATION", default_value = "30", value_parser = positive_seconds)]
    duration: Duration,
    /// How silent: zeros (digital), or the noise of a quiet room at -60 dB (room)
    #[arg(long, value_name = "digital|room", env = "STENOPOOL_NOISE", default_value = "digital", value_parser = silence)]
    noise: Silence,
    /// The model to ask for [default: what the server has]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// The language that is spoken, as in en
    #[arg(long, value_name = "LANGUAGE", env = "STENOPOOL_LANGUAGE")]
    language: Option<String>,
    /// The key to come with
    #[arg(long, value_name = "KEY", env = "STENOPOOL_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
    /// Write the results as JSON; "-" is standard output
    #[arg(long, value_name = "FILE", env = "STENOPOOL_JSON")]
    json: Option<PathBuf>,
}

fn silence(text: &str) -> Result<Silence, String> {
    let known = [Silence::Digital, Silence::Room].into_iter().find(|silence| silence.as_str() == text);
    known.ok_or_else(|| "expected digital or room".into())
}

impl IdleFlags {
    pub(super) async fn run(
        self,
        models: &ModelSettings,
        stop: &CancellationToken,
    ) -> anyhow::Result<ExitCode> {
        self.json.iter().try_for_each(|path| check_writable(path))?;
        let clips = read_clips(&self.audio, Dictation::rate(), &mut label_by_ear(models))
            .map_err(|error| Failure::new(error.to_string(), error.hint()))?;
        let settings = IdleSettings {
            target: Target {
                url: self.url,
                key: self.api_key,
                model: self.model,
                language: self.language,
                conversation: false,
            },
            clients: self.clients,
            duration: self.duration,
            silence: self.noise,
        };
        let live = Live::new();
        live.begin("", settings.duration);
        let report = Box::pin(idle(&settings, &clips, &|progress| live.tell(&progress), stop)).await;
        live.clear();
        let report = report.map_err(in_words)?;
        deliver(&report, self.json.as_deref())?;
        Ok(verdict(&report.failures()))
    }
}
