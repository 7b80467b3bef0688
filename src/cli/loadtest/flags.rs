//! What all load tests can be told.

#![expect(clippy::doc_markdown, reason = "the comments on flags are help texts, where backticks would show")]

use super::{in_words, label_by_ear};
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::config::ModelSettings;
use crate::load::{Clip, LoadError, LoadSettings, ProtocolName, Target, TurnSettings, read_clips};
use clap::Args;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How likely a person is to interrupt a reply.
const INTERRUPTS: f64 = 0.2;

/// Optional in type only, so that a subcommand may have them in its stead.
const REQUIRED: &str = "clap asks for it";

#[derive(Debug, Args)]
pub(super) struct LoadFlags {
    /// The server, as in http://127.0.0.1:8080
    #[arg(long, value_name = "URL", env = "STENOPOOL_URL", required = true)]
    url: Option<String>,
    /// A folder of recordings with their transcripts.tsv
    #[arg(long, value_name = "DIR", env = "STENOPOOL_AUDIO", required = true)]
    audio: Option<PathBuf>,
    /// How many people talk at once [default: 8]; with knee: how many to try at most [default: 1024]
    #[arg(long, value_name = "N", env = "STENOPOOL_CLIENTS", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    clients: Option<u32>,
    /// Which part of the time each of them speaks, up to 1: without pause, recordings cut to their speech, and just as much
    /// silence between them as ends a turn (see --shortest-pause)
    #[arg(long, value_name = "F", env = "STENOPOOL_DUTY", default_value_t = TurnSettings::DUTY, value_parser = duty)]
    duty: f64,
    /// Over how many seconds they arrive [default: a tenth of the duration, at most 10]
    #[arg(long, value_name = "SECONDS", env = "STENOPOOL_RAMP", value_parser = seconds)]
    ramp: Option<Duration>,
    /// How many seconds of silence are between two recordings at least [default: 1]; with --duty 1: how many are between the
    /// last speech of one and the first of the next, always [default: 0.7]
    #[arg(long, value_name = "SECONDS", env = "STENOPOOL_SHORTEST_PAUSE", value_parser = positive_seconds)]
    shortest_pause: Option<Duration>,
    /// What to speak with the server: realtime, rest, whisperlive or deepgram
    #[arg(long, value_name = "NAME", env = "STENOPOOL_PROTOCOL", default_value = "realtime")]
    protocol: ProtocolName,
    /// Listen to the spoken reply before speaking again, and sometimes interrupt it (realtime only)
    #[arg(long, env = "STENOPOOL_CONVERSATION")]
    conversation: bool,
    /// Wait for the text of what was said before speaking again; whisperlive always does, because it does not say which
    /// part of the audio a text is of
    #[arg(long, env = "STENOPOOL_WAIT_FOR_TEXT")]
    wait_for_text: bool,
    /// How many seconds to wait for a text or a reply before going on without it; a text that comes later still counts
    #[arg(long, value_name = "SECONDS", env = "STENOPOOL_PATIENCE", default_value = "30", value_parser = positive_seconds)]
    patience: Duration,
    /// Where chance begins: the same number gives the same pauses
    #[arg(long, value_name = "N", env = "STENOPOOL_SEED", default_value_t = 1)]
    seed: u64,
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
    pub(super) json: Option<PathBuf>,
}

impl LoadFlags {
    pub(super) fn url(&self) -> &str {
        self.url.as_deref().expect(REQUIRED)
    }

    /// What to do, for so long; so many clients where the user does not say.
    pub(super) fn settings(&self, duration: Duration, clients: u32) -> Result<LoadSettings, Failure> {
        if self.conversation && self.protocol != ProtocolName::Realtime {
            let message = format!("{} has no spoken replies", self.protocol);
            return Err(Failure::usage(message, "leave out --conversation, or use --protocol realtime"));
        }
        let ramp = self.ramp.unwrap_or_else(|| (duration / 10).min(Duration::from_secs(10)));
        if ramp >= duration {
            let message = format!("the ramp of {ramp:?} leaves nothing of a duration of {duration:?}");
            return Err(Failure::usage(message, "choose a shorter --ramp, or a longer run"));
        }
        Ok(LoadSettings {
            target: self.target(),
            protocol: self.protocol,
            clients: self.clients.unwrap_or(clients),
            duration,
            ramp,
            turns: TurnSettings {
                duty: self.duty,
                seed: self.seed,
                interrupts: if self.conversation { INTERRUPTS } else { 0.0 },
                shortest_pause: self.shortest_pause.unwrap_or(if self.duty < 1.0 {
                    TurnSettings::SHORTEST_PAUSE
                } else {
                    TurnSettings::SHORTEST_GAP
                }),
            },
            waits_for_text: self.wait_for_text,
            patience: self.patience,
        })
    }

    fn target(&self) -> Target {
        Target {
            url: self.url().to_owned(),
            key: self.api_key.clone(),
            model: self.model.clone(),
            language: self.language.clone(),
            conversation: self.conversation,
        }
    }

    /// The recordings, at the rate that the protocol sends.
    pub(super) fn clips(
        &self,
        models: &ModelSettings,
        settings: &LoadSettings,
    ) -> anyhow::Result<Vec<Arc<Clip>>> {
        let protocol =
            settings.protocol.protocol(settings.target.clone()).map_err(LoadError::from).map_err(in_words)?;
        let rate = protocol.rate();
        let clips = read_clips(self.audio.as_deref().expect(REQUIRED), rate, &mut label_by_ear(models))
            .map_err(|error| Failure::new(error.to_string(), error.hint()))?;
        if clips.len() < settings.clients as usize {
            output::tell(&format!(
                "note: {} recordings for {} people: some say the same, where no leak between them would show",
                clips.len(),
                settings.clients
            ));
        }
        Ok(clips)
    }
}

fn duty(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(duty) if duty > 0.0 && duty <= 1.0 => Ok(duty),
        _ => Err("expected a number from 0 to 1, as in 0.3".into()),
    }
}

/// Seconds, with or without a fraction; at most a week.
fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=604_800.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("expected seconds, as in 90 or 0.5".into()),
    }
}

pub(super) fn positive_seconds(text: &str) -> Result<Duration, String> {
    seconds(text).and_then(|seconds| {
        if seconds.is_zero() { Err("expected more than 0 seconds".into()) } else { Ok(seconds) }
    })
}
