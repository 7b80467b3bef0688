//! `stenopool doctor`: what was found, what is missing, what to do about it.

use super::assembly::{demo_notice, open_store, pull_command};
use super::output;
use super::serve;
use super::sizing::{Sizing, cores};
use crate::config::{ConfigError, Settings};
use crate::gpu::Bytes;
use crate::store::{ResolvedModel, Store, StoreError, Weights};
use crate::vad::{Silero, VadError};
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use sysinfo::{Disks, System};

/// What the command can be told beside the server's settings.
#[derive(Debug, Args)]
pub(super) struct DoctorCommand {
    /// Print JSON, for machines
    #[arg(long)]
    json: bool,
}

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Finding {
    /// As it should be.
    Good,
    /// The server starts, but could do better.
    Poor,
    /// The server does not start.
    Missing,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    finding: Finding,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Check {
    fn good(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, finding: Finding::Good, detail: detail.into(), advice: None }
    }

    fn poor(name: &'static str, detail: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { finding: Finding::Poor, advice: Some(advice.into()), ..Self::good(name, detail) }
    }

    fn missing(name: &'static str, detail: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { finding: Finding::Missing, advice: Some(advice.into()), ..Self::good(name, detail) }
    }
}

/// Everything that was looked at.
#[derive(Debug, Serialize)]
struct Report {
    version: &'static str,
    commit: &'static str,
    features: &'static str,
    target: &'static str,
    ready: bool,
    checks: Vec<Check>,
}

impl DoctorCommand {
    /// Looks at everything the server needs. Exits 0 if it would start, else 1.
    pub(super) async fn run(&self, settings: Settings) -> anyhow::Result<ExitCode> {
        let report = Report::new(examine(&settings).await);
        if self.json {
            output::print(&(serde_json::to_string_pretty(&report)? + "\n"))?;
        } else {
            output::print(&report.to_text())?;
        }
        Ok(if report.ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Report {
    fn new(checks: Vec<Check>) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            commit: env!("STENOPOOL_BUILD_COMMIT"),
            features: env!("STENOPOOL_BUILD_FEATURES"),
            target: env!("STENOPOOL_BUILD_TARGET"),
            ready: checks.iter().all(|check| check.finding != Finding::Missing),
            checks,
        }
    }

    fn to_text(&self) -> String {
        let Self { version, commit, features, target, .. } = self;
        let mut lines =
            vec![format!("stenopool {version}, commit {commit}, features {features}, {target}\n")];
        for Check { name, finding, detail, advice } in &self.checks {
            let mark = match finding {
                Finding::Good => "ok",
                Finding::Poor => "!!",
                Finding::Missing => "NO",
            };
            lines.push(format!("  {mark}  {name:<13} {detail}"));
            lines.extend(advice.iter().map(|advice| format!("                    → {advice}")));
        }
        let verdict = if self.ready { "the server would start" } else { "the server would not start" };
        lines.push(format!("\n{verdict}\n"));
        lines.join("\n")
    }
}

async fn examine(settings: &Settings) -> Vec<Check> {
    let store = open_store(&settings.models);
    let mut checks = vec![check_cpu(settings), check_memory(), check_device()];
    checks.extend(check_voice_detector(&store).await);
    checks.push(check_model(&store, settings));
    checks.extend(check_disk(&store));
    checks.push(check_address(settings).await);
    checks.push(check_keys(settings));
    checks
}

fn check_cpu(settings: &Settings) -> Check {
    let Sizing { cores, slots, threads } = Sizing::new(cores(), settings.slots.slots, settings.asr.threads);
    let found: Vec<&str> = cpu_features().into_iter().filter_map(|(name, has)| has.then_some(name)).collect();
    let detail = format!("{cores} cores ({}); {slots} slots × {threads} threads", found.join(" "));
    if cpu_features().contains(&("avx2", false)) {
        return Check::poor("cpu", detail, "without AVX2 decoding is several times slower");
    }
    Check::good("cpu", detail)
}

#[cfg(target_arch = "x86_64")]
fn cpu_features() -> Vec<(&'static str, bool)> {
    vec![
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("fma", std::arch::is_x86_feature_detected!("fma")),
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
    ]
}

#[cfg(not(target_arch = "x86_64"))]
fn cpu_features() -> Vec<(&'static str, bool)> {
    vec![(std::env::consts::ARCH, true)]
}

fn check_memory() -> Check {
    let mut system = System::new();
    system.refresh_memory();
    let (total, free) = (Bytes(system.total_memory()), Bytes(system.available_memory()));
    let detail = format!("{free} free of {total}");
    if free < Bytes(1024 * 1024 * 1024) {
        return Check::poor("memory", detail, "one slot of a small model takes several hundred MiB");
    }
    Check::good("memory", detail)
}

fn check_device() -> Check {
    Check::good("device", "cpu (this build decodes on the CPU)")
}

/// ONNX Runtime and Silero: there, and loadable together.
async fn check_voice_detector(store: &Store) -> Vec<Check> {
    let mut checks =
        vec![check_file("onnx_runtime", store.onnx_runtime()), check_file("silero", store.silero())];
    if let (Ok(runtime), Ok(model)) = (store.onnx_runtime(), store.silero()) {
        if let Err(reason) = load_detector(runtime, model).await {
            checks.push(Check::missing("voice_detector", reason, "fetch both again: make setup"));
        } else {
            checks.push(Check::good("voice_detector", "loads"));
        }
    }
    checks
}

fn check_file(name: &'static str, found: Result<PathBuf, StoreError>) -> Check {
    match found {
        Ok(path) => Check::good(name, path.display().to_string()),
        Err(error) => Check::missing(name, error.to_string(), advice(&error)),
    }
}

fn advice(error: &StoreError) -> String {
    error.hint().unwrap_or_else(|| "see `stenopool models list`".into())
}

/// Loads the detector for a try; a library that panics is a finding, too.
async fn load_detector(runtime: PathBuf, model: PathBuf) -> Result<(), String> {
    let load = move || Silero::load(&runtime, &model).map(drop);
    match tokio::task::spawn_blocking(load).await {
        Ok(loaded) => loaded.map_err(|error: VadError| error.to_string()),
        Err(panic) => Err(format!("loading ended in a panic: {panic}")),
    }
}

fn check_model(store: &Store, settings: &Settings) -> Check {
    let model = match store.resolve(settings.models.model.as_deref()) {
        Ok(model) => model,
        Err(error) => return Check::missing("model", error.to_string(), advice(&error)),
    };
    let ResolvedModel { name, weights, .. } = &model;
    match weights {
        Weights::File(path) => Check::good("model", format!("{name} at {}", path.display())),
        Weights::Embedded => {
            let detail = format!("{name}: {}", demo_notice(&model).unwrap_or("bundled"));
            Check::poor("model", detail, format!("install a real one: {}", pull_command()))
        }
    }
}

/// Room for models where `models pull` would put them.
fn check_disk(store: &Store) -> Option<Check> {
    let dir = std::path::absolute(store.search().target()).ok()?;
    let free = free_space(&dir)?;
    let detail = format!("{free} free for {}", dir.display());
    Some(if free < Bytes(2 << 30) {
        Check::poor(
            "disk",
            detail,
            "the larger models take up to 3 GiB; choose another place with --models-dir",
        )
    } else {
        Check::good("disk", detail)
    })
}

/// What is free on the disk that `path` is on, or would be on.
fn free_space(path: &Path) -> Option<Bytes> {
    let disks = Disks::new_with_refreshed_list();
    let mounted = disks.iter().filter(|disk| path.starts_with(disk.mount_point()));
    let nearest = mounted.max_by_key(|disk| disk.mount_point().as_os_str().len())?;
    Some(Bytes(nearest.available_space()))
}

async fn check_address(settings: &Settings) -> Check {
    let address = settings.server.bind;
    match serve::bind(address).await {
        Ok(_) => Check::good("address", format!("{address} is free")),
        Err(error) => Check::missing("address", error.to_string(), error.hint()),
    }
}

fn check_keys(settings: &Settings) -> Check {
    if let Err(error) = settings.check_exposure() {
        let hint = ConfigError::hint(&error).unwrap_or_default();
        return Check::missing("keys", error.to_string(), hint);
    }
    if let Some(warning) = settings.warnings.first() {
        return Check::poor("keys", warning, "keep keys to yourself");
    }
    match settings.server.keys.len() {
        0 if settings.server.insecure => {
            Check::poor("keys", "none is asked for, on purpose", "set a key with --api-key")
        }
        0 => Check::good("keys", "none is asked for (only this machine can reach the server)"),
        n => Check::good("keys", format!("{n} known")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_missing_thing_is_enough_to_keep_the_server_from_starting() {
        let poor = || Check::poor("memory", "little", "buy some");
        assert!(Report::new(vec![Check::good("cpu", "fine"), poor()]).ready);
        assert!(!Report::new(vec![poor(), Check::missing("silero", "gone", "make setup")]).ready);
    }

    #[test]
    fn the_text_puts_the_advice_below_the_finding() {
        let text = Report::new(vec![Check::missing("silero", "gone", "make setup")]).to_text();
        assert!(text.contains("NO  silero        gone\n                    → make setup"), "{text}");
        assert!(text.ends_with("the server would not start\n"), "{text}");
    }
}
