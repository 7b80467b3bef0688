//! `stenopool plan`: how many people fit, from what was measured.

use super::output;
use crate::load::{Known, Length, Plan, PlanError, Question, Service, SimulationStep, Tier, plan, read_pool};
use crate::pool::Weight;
use crate::store::Manifest;
use anyhow::Context;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::Instant;

/// The question was wrong.
const USAGE: u8 = 2;
/// What takes no longer shows no progress.
const SHORT: Duration = Duration::from_secs(2);
/// The part of the time for which people speak who talk to a machine.
const DUTY: f64 = 0.3;
/// A sentence.
const UTTERANCE_S: f64 = 3.0;

const EXAMPLES: &str = "\
Examples:
  stenopool plan --from knee.json                          how many people this machine serves
  stenopool plan --from knee.json --people 200             how many slots that takes, and how long people wait
  stenopool plan --from http://127.0.0.1:8080 --people 50  from what a running server has measured
  stenopool plan --from base.en --decode-ms 180 --people 1000000 --slots-per-device 8
  stenopool plan --from load.json --from http://127.0.0.1:8080 --people 40 --slots 1

The answer is a simulation of the queue that the server itself runs: people who think for a heavy-tailed time and then
speak, whether their last text has come or not. The same seed gives the same answer.

Exit codes: 0, 1 (the given slots cannot do the work, or no slots can meet the target), 2 (usage, or an unusable source).";

/// Tells how many people fit on how many slots, how much memory that takes, and how long people wait.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct PlanCommand {
    /// What was measured: a JSON file of `stenopool loadtest` or `loadtest knee`, the URL of a running server, or a model's
    /// name for the size of its weights; may be repeated
    #[arg(long, value_name = "FILE|URL|MODEL")]
    from: Vec<String>,
    /// How many people there are [default: as many as one device serves]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    people: Option<u64>,
    /// The part of the time for which each of them speaks, 0 to 1 [default: as in the load test, else 0.3]
    #[arg(long, value_name = "PART", value_parser = duty)]
    duty: Option<f64>,
    /// Mean length of what is said at once in seconds, where no load test tells it [default: 3]
    #[arg(long, value_name = "S", value_parser = positive)]
    utterance_s: Option<f64>,
    /// Mean time of a decode in milliseconds, instead of what was measured
    #[arg(long, value_name = "MS", value_parser = positive)]
    decode_ms: Option<f64>,
    /// Milliseconds from the end of the speech to its text that are neither waiting nor decoding: the silence that ends an
    /// utterance, and the network [default: as in the load test, else 560]
    #[arg(long, value_name = "MS", value_parser = not_negative)]
    overhead_ms: Option<f64>,
    /// People who count for more: gold=4:10 is a tier of weight 4 for 10 parts of all people; may be repeated
    #[arg(long = "tier", value_name = "NAME=WEIGHT:SHARE", value_parser = tier, value_delimiter = ',')]
    tiers: Vec<Tier>,
    /// 95 of 100 texts should come so many milliseconds after the end of the speech
    #[arg(long, value_name = "MS", default_value_t = 1000.0, value_parser = positive)]
    target_p95_ms: f64,
    /// Slots of the one device that is asked about [default: as few as meet the target]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    slots: Option<u16>,
    /// Slots that a device has room for [default: those of the server that was measured, else 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    slots_per_device: Option<u16>,
    /// Memory of a slot in MiB, where no running server tells it
    #[arg(long, value_name = "MIB")]
    slot_mib: Option<u64>,
    /// Simulated hours for each estimate [default: until 50000 utterances were said]
    #[arg(long, value_name = "H", value_parser = positive)]
    hours: Option<f64>,
    /// Where chance begins
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// For a server that wants a key
    #[arg(long, value_name = "KEY", env = "STENOPOOL_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
    /// Write the answer here, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl PlanCommand {
    /// Prints the plan.
    ///
    /// # Errors
    ///
    /// When the answer cannot be written. What is wrong with the question is told here.
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let plan = match self.answer().await {
            Ok(plan) => plan,
            Err(error) => return Ok(refuse(&error)),
        };
        if let Some(path) = &self.json {
            let text = serde_json::to_string_pretty(&plan)? + "\n";
            std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        output::print(&plan.to_string())?;
        Ok(ExitCode::SUCCESS)
    }

    async fn answer(&self) -> Result<Plan, PlanError> {
        let known = self.known().await?;
        let service = self.service(&known)?;
        let question = self.question(&known);
        let mut bar = Bar::new();
        tokio::task::block_in_place(|| plan(&question, &service, &known, &mut |step| bar.step(step)))
    }

    async fn known(&self) -> Result<Known, PlanError> {
        let mut known = Known { slot_bytes: self.slot_mib.map(mib), ..Known::default() };
        for name in &self.from {
            let source = if name.contains("://") {
                read_pool(name, self.api_key.as_deref()).await?
            } else {
                read_file_or_model(name)?
            };
            known = known.and(source);
        }
        Ok(known)
    }

    /// What was said on the command line, else what a load test found, else what a server tells of itself.
    fn service(&self, known: &Known) -> Result<Service, PlanError> {
        let speech = Duration::from_secs_f64(self.utterance_s.unwrap_or(UTTERANCE_S));
        match (self.decode_ms, known.decode) {
            (Some(decode), _) => Service::assumed(speech, millis(decode)),
            (None, _) if !known.points.is_empty() => Service::measured(known.points.clone()),
            (None, Some((p50, p95))) => Service::through(speech, p50, p95),
            (None, None) => Err(PlanError::NoTimes),
        }
    }

    fn question(&self, known: &Known) -> Question {
        Question {
            people: self.people,
            duty: self.duty.or(known.duty).unwrap_or(DUTY),
            tiers: self.tiers.clone(),
            target: millis(self.target_p95_ms),
            slots: self.slots,
            slots_per_device: self.slots_per_device,
            overhead: self.overhead_ms.map(millis),
            seed: self.seed,
            length: match self.hours {
                Some(hours) => Length::Time(Duration::from_secs_f64(hours * 3_600.0)),
                None => Length::Utterances(50_000),
            },
        }
    }
}

fn refuse(error: &PlanError) -> ExitCode {
    output::tell(&format!("error: {error}"));
    output::tell(&format!("hint: {}", error.hint()));
    ExitCode::from(if error.is_usage() { USAGE } else { 1 })
}

/// A file of this name, or a model.
fn read_file_or_model(name: &str) -> Result<Known, PlanError> {
    if Path::new(name).exists() {
        let unreadable =
            |error: std::io::Error| PlanError::Unreadable { name: name.into(), reason: error.to_string() };
        return Known::read(name, &std::fs::read_to_string(name).map_err(unreadable)?);
    }
    let manifest = Manifest::embedded();
    let Some(model) = manifest.get(name) else {
        let reason = "there is no such file, and no model of this name".into();
        return Err(PlanError::Unreadable { name: name.into(), reason });
    };
    Ok(Known { weights_bytes: model.bytes.or(model.mib.map(mib)), ..Known::default() })
}

/// What is being simulated, for whoever waits longer than a moment.
struct Bar {
    since: Instant,
    drawn: Option<ProgressBar>,
}

impl Bar {
    fn new() -> Self {
        Self { since: Instant::now(), drawn: None }
    }

    fn step(&mut self, SimulationStep { done, people, slots }: SimulationStep) {
        if self.since.elapsed() < SHORT {
            return;
        }
        let drawn = self.drawn.get_or_insert_with(|| {
            let style =
                ProgressStyle::with_template("{spinner} {msg}").expect("the template is fixed and valid");
            ProgressBar::new_spinner().with_style(style)
        });
        drawn.set_message(format!("simulation {}: {people} people on {slots} slots", done + 1));
        drawn.tick();
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(drawn) = &self.drawn {
            drawn.finish_and_clear();
        }
    }
}

fn mib(mib: u64) -> u64 {
    mib.saturating_mul(1 << 20)
}

fn millis(ms: f64) -> Duration {
    Duration::from_secs_f64(ms / 1e3)
}

/// More is a slip of the hand, and no length of time that anybody waits.
const MOST: f64 = 1e6;

fn number(text: &str, fits: impl Fn(f64) -> bool, expected: &str) -> Result<f64, String> {
    text.parse().ok().filter(|number| fits(*number)).ok_or_else(|| format!("expected {expected}"))
}

fn positive(text: &str) -> Result<f64, String> {
    number(text, |number| number > 0.0 && number <= MOST, "a number above 0, at most a million")
}

fn not_negative(text: &str) -> Result<f64, String> {
    number(text, |number| (0.0..=MOST).contains(&number), "0 or more, at most a million")
}

fn duty(text: &str) -> Result<f64, String> {
    number(text, |duty| duty > 0.0 && duty < 1.0, "a part of the time: more than 0, less than 1")
}

/// `NAME=WEIGHT:SHARE`.
fn tier(text: &str) -> Result<Tier, String> {
    let parts = text.split_once('=').and_then(|(name, rest)| Some((name, rest.split_once(':')?)));
    let Some((name, (weight, share))) = parts else {
        return Err("expected NAME=WEIGHT:SHARE as in gold=4:10".into());
    };
    let weight = weight.parse().ok().and_then(Weight::new);
    let weight = weight.ok_or_else(|| format!("expected a weight from 1 to {}", Weight::MAX))?;
    Ok(Tier { name: name.trim().to_owned(), weight, share: positive(share)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiers_are_a_name_a_weight_and_a_share() {
        let gold = tier("gold=4:10").unwrap();
        assert_eq!((gold.name.as_str(), gold.weight.get()), ("gold", 4));
        assert!((gold.share - 10.0).abs() < 1e-9);
        for wrong in ["gold", "gold=4", "gold=0:1", "gold=4:0", "gold=4:x", "gold=2000:1", "gold=4:inf"] {
            assert!(tier(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_without_sense_are_refused_before_anything_begins() {
        for wrong in ["0", "-1", "nan", "inf", "x", "", "1e99"] {
            assert!(positive(wrong).is_err(), "{wrong}");
        }
        for wrong in ["0", "1", "1.5", "nan"] {
            assert!(duty(wrong).is_err(), "{wrong}");
        }
        assert!(not_negative("0").is_ok() && not_negative("-1").is_err());
    }

    #[test]
    fn a_models_name_tells_its_weights_and_an_unknown_one_is_refused() {
        assert_eq!(read_file_or_model("demo").unwrap().weights_bytes, Some(16_824_256));
        assert!(matches!(read_file_or_model("no-such-thing"), Err(PlanError::Unreadable { .. })));
    }
}
