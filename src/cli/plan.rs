//! `stenopool plan`: how many people fit, from what was measured.

use super::failure::Failure;
use super::output;
use crate::load::{
    Known, Length, Plan, PlanError, Question, Service, SimulationStep, Tier, TurnSettings, plan, read_pool,
};
use crate::pool::Weight;
use crate::store::Manifest;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::Instant;

/// What takes no longer shows no progress.
const SHORT: Duration = Duration::from_secs(2);
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
    /// What was measured: a JSON file of `stenopool loadtest` or `loadtest knee`, the address of a running server as for a
    /// load test, or a model's name for the size of its weights; may be repeated
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
    /// Write the answer as JSON; "-" is standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl PlanCommand {
    /// Prints the plan.
    ///
    /// # Errors
    ///
    /// When there is none, or it cannot be written.
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        self.json.iter().try_for_each(|path| output::check_writable(path))?;
        let plan = self.answer().await.map_err(|error| in_words(&error))?;
        output::deliver(&plan, self.json.as_deref())?;
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
            known = known.and(self.read(name).await?);
        }
        Ok(known)
    }

    async fn read(&self, name: &str) -> Result<Known, PlanError> {
        match Source::of(name)? {
            Source::Server => read_pool(name, self.api_key.as_deref()).await,
            Source::File => {
                let text = std::fs::read_to_string(name).map_err(|error| unreadable(name, &error))?;
                Known::read(name, &text)
            }
            Source::Model(bytes) => Ok(Known { weights_bytes: bytes, ..Known::default() }),
        }
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
            duty: self.duty.or(known.duty).unwrap_or(TurnSettings::DUTY),
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

fn in_words(error: &PlanError) -> Failure {
    let (message, hint) = (error.to_string(), error.hint());
    if error.is_usage() { Failure::usage(message, hint) } else { Failure::new(message, hint) }
}

/// What a name on the command line stands for. Whatever has a scheme is a server; else a file comes first, then a model,
/// and what is neither is a server if it has a port.
enum Source {
    Server,
    File,
    /// How large its weights are, in bytes.
    Model(Option<u64>),
}

impl Source {
    /// # Errors
    ///
    /// [`PlanError::Unreadable`] for what is nothing of all this.
    fn of(name: &str) -> Result<Self, PlanError> {
        if name.contains("://") {
            return Ok(Self::Server);
        }
        if Path::new(name).exists() {
            return Ok(Self::File);
        }
        if let Some(model) = Manifest::embedded().get(name) {
            return Ok(Self::Model(model.bytes.or(model.mib.map(mib))));
        }
        let reason = "there is no such file, and no model of this name";
        if has_port(name) { Ok(Self::Server) } else { Err(unreadable(name, &reason)) }
    }
}

/// Whether it begins as in `host:8080`.
fn has_port(name: &str) -> bool {
    let place = name.split('/').next().unwrap_or_default().rsplit_once(':');
    place.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

fn unreadable(name: &str, reason: &impl ToString) -> PlanError {
    PlanError::Unreadable { name: name.into(), reason: reason.to_string() }
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
    use super::super::failure;
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
    fn a_source_is_a_server_a_file_or_a_model_and_anything_else_is_refused() {
        assert!(matches!(Source::of("demo"), Ok(Source::Model(Some(16_824_256)))));
        assert!(matches!(Source::of("Cargo.toml"), Ok(Source::File)));
        for server in ["http://host", "wss://host/speech/v1", "localhost:8080", "[::1]:8080/v1/realtime"] {
            assert!(matches!(Source::of(server), Ok(Source::Server)), "{server}");
        }
        for wrong in ["no-such-thing", "no/such:80", ":80", "host:", "host:x", "host:70000", ""] {
            assert!(matches!(Source::of(wrong), Err(PlanError::Unreadable { .. })), "{wrong}");
        }
    }

    #[test]
    fn a_wrong_question_is_usage_and_a_discouraging_answer_is_not() {
        let [wrong, discouraging] =
            [PlanError::NoTimes, PlanError::Overloaded { people: 9, slots: 1, load: 2.0 }];
        let code = |error: &PlanError| format!("{:?}", failure::report(&in_words(error).into()));
        assert_eq!(code(&wrong), format!("{:?}", ExitCode::from(2)));
        assert_eq!(code(&discouraging), format!("{:?}", ExitCode::from(1)));
    }
}
