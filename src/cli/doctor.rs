//! `stenopool doctor`: what was found, what is missing, what to do about it.

use super::assembly::{Purpose, Slots, check_weights, demo_notice, open_store, pull_command};
use super::device::{Found, first_gpu};
use super::failure::Failure;
use super::output;
use super::provider::{detector, provider};
use super::serve;
use super::sizing::{CoreShare, cores, knee};
use super::voices;
use super::{device, knees::KneeCache};
use crate::asr::{Device, Knee};
use crate::config::{ConfigError, NetworkDevice, Settings};
use crate::gpu::{Bytes, CudaBuild, CudaVersion, DeviceKind, DeviceSelector, Driver, Gpu, GpuError};
use crate::store::{ResolvedModel, Store, StoreError, Weights};
use crate::tts::{EngineChoice, TtsError};
use crate::vad::{Provider, VadError, cuda_part};
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use sysinfo::Disks;

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
    let mut checks = vec![check_cpu(settings)];
    let found = device::find(&settings.device.selector);
    let gpu = found.as_ref().ok().and_then(|found| first_gpu(found));
    checks.extend(check_devices(&store, settings, found));
    checks.extend(check_cuda_build());
    checks.extend(check_driver());
    checks.extend(check_gpus());
    checks.extend(check_voice_detector(&store, settings, gpu).await);
    checks.push(check_model(&store, settings));
    checks.extend(check_networks(&store, settings, gpu));
    checks.push(check_voice(settings, gpu).await);
    checks.extend(check_disk(&store));
    checks.push(check_address(settings).await);
    checks.push(check_keys(settings));
    checks
}

fn check_cpu(settings: &Settings) -> Check {
    let CoreShare { cores, threads, .. } = share(settings);
    let found: Vec<&str> = cpu_features().into_iter().filter_map(|(name, has)| has.then_some(name)).collect();
    let detail = format!("{cores} cores ({}); threads per slot: {threads}", found.join(" "));
    if cpu_features().contains(&("avx2", false)) {
        return Check::poor("cpu", detail, "without AVX2 decoding is several times slower");
    }
    Check::good("cpu", detail)
}

/// What of the processor makes decoding fast, and whether it is there.
#[cfg(target_arch = "x86_64")]
pub(super) fn cpu_features() -> Vec<(&'static str, bool)> {
    vec![
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("fma", std::arch::is_x86_feature_detected!("fma")),
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
    ]
}

/// What the processor is.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn cpu_features() -> Vec<(&'static str, bool)> {
    vec![(std::env::consts::ARCH, true)]
}

fn share(settings: &Settings) -> CoreShare {
    CoreShare::new(cores(), settings.slots.slots, settings.asr.threads)
}

/// The devices that decode, their memory, and how many slots they are known to carry.
fn check_devices(store: &Store, settings: &Settings, found: Result<Vec<Found>, Failure>) -> Vec<Check> {
    match found {
        Ok(found) => found.iter().flat_map(|found| check_device(store, settings, &found.device)).collect(),
        Err(error) => vec![Check::missing("device", error.to_string(), error.hint())],
    }
}

fn check_device(store: &Store, settings: &Settings, device: &Device) -> Vec<Check> {
    let info = &device.info;
    let named = format!("{} {}", info.kind, info.name);
    let device_check = match (device::build_decodes_on(), info.kind) {
        (DeviceKind::Cpu, _) => Check::good("device", format!("{named} (this build decodes on the CPU)")),
        (DeviceKind::Cuda, DeviceKind::Cpu) if settings.device.selector == DeviceSelector::Auto => {
            let advice =
                "this build is for GPUs: what keeps it from using one is told below, at driver and gpus";
            Check::poor("device", format!("{named} (no GPU can be used)"), advice)
        }
        (DeviceKind::Cuda, _) => Check::good("device", named),
    };
    let slots = check_slots(store, settings, device);
    [device_check, check_memory(store, settings, device)].into_iter().chain(slots).collect()
}

fn check_memory(store: &Store, settings: &Settings, device: &Device) -> Check {
    let memory = match device.probe.memory() {
        Ok(memory) => memory,
        Err(error) => return Check::missing("memory", error.to_string(), error.hint().unwrap_or_default()),
    };
    let reserve = device::reserve(settings.device.reserve, device.info.kind, memory.total);
    let detail = format!("{} free of {}, {reserve} of it in reserve", memory.free, memory.total);
    let model = store.resolve(settings.models.model.as_deref());
    if let Some(error) = model.ok().and_then(|model| check_weights(&model, memory, reserve).err()) {
        return Check::missing("memory", format!("{detail}: {error}"), error.hint());
    }
    if memory.free.since(reserve) < Bytes::mib(1024) {
        return Check::poor("memory", detail, "one slot of a small model takes several hundred MiB");
    }
    Check::good("memory", format!("{detail}; what weights and a slot take is measured at the start"))
}

/// How many slots there would be, as far as that is known before the start.
fn check_slots(store: &Store, settings: &Settings, device: &Device) -> Option<Check> {
    let model = store.resolve(settings.models.model.as_deref()).ok()?;
    let (share, kind) = (share(settings), device.info.kind);
    let slots = Slots { model: &model, share, settings, purpose: Purpose::Server };
    let found_before = KneeCache::of_user().get(&slots.knee_key(&device.info));
    let most = settings.slots.slots.unwrap_or(settings.slots.max_slots);
    let knee = match knee(&settings.slots, Purpose::Server, kind, share, found_before) {
        Knee::Off => "no knee is asked for".into(),
        Knee::Known(slots) if found_before.is_some() && kind == DeviceKind::Cuda => {
            format!("knee {slots}, as measured before")
        }
        Knee::Known(slots) => format!("knee {slots}"),
        Knee::Measure { .. } => "the knee is measured at the start".into(),
    };
    Some(Check::good("slots", format!("as many as fit, at most {most}; {knee}")))
}

/// What this build can use: which CUDA, which GPUs.
fn check_cuda_build() -> Option<Check> {
    let build = device::cuda_build()?;
    let version = build.version.map_or("an unknown version".into(), |version| version.to_string());
    Some(Check::good("cuda_build", format!("CUDA {version}, code for {}", build.architectures)))
}

/// The driver, where this build needs one.
fn check_driver() -> Option<Check> {
    let build = device::cuda_build()?;
    let needed = build.version.map_or(String::new(), |version| format!("CUDA {}", version.major));
    let advice = || {
        let container = "in a container: start it with its GPUs (--gpus all)";
        format!("install an NVIDIA driver that speaks {needed}; {container}; without one the CPU decodes")
    };
    Some(match Driver::load() {
        Ok(driver) => judge_driver(driver.version().as_deref(), driver.cuda_version(), build.version, advice),
        Err(error) => Check::poor("driver", error.to_string(), advice()),
    })
}

fn judge_driver(
    version: Option<&str>,
    speaks: Option<CudaVersion>,
    needed: Option<CudaVersion>,
    advice: impl Fn() -> String,
) -> Check {
    let version = version.unwrap_or("of an unknown version");
    let told =
        speaks.map_or("it does not say which CUDA it speaks".into(), |cuda| format!("speaks CUDA {cuda}"));
    let detail = format!("NVIDIA {version}, {told}");
    match (speaks, needed) {
        (Some(speaks), Some(needed)) if speaks.major < needed.major => {
            Check::poor("driver", format!("{detail}; this build needs {}", needed.major), advice())
        }
        _ => Check::good("driver", detail),
    }
}

/// The GPUs of this machine, of use or not.
fn check_gpus() -> Vec<Check> {
    let build = device::cuda_build();
    match device::list_gpus() {
        Ok(listed) if listed.gpus.is_empty() => vec![Check::good("gpus", "none")],
        Ok(listed) => listed.gpus.iter().map(|gpu| judge_gpu(gpu, build.as_ref())).collect(),
        Err(GpuError::NoDriver { .. }) if build.is_none() => {
            vec![Check::good("gpus", "none (no NVIDIA driver); this build needs none")]
        }
        // What is wrong with the driver is told where the driver is.
        Err(GpuError::NoDriver { .. }) => vec![Check::good("gpus", "none (no NVIDIA driver)")],
        Err(error) => vec![Check::poor("gpus", error.to_string(), error.hint().unwrap_or_default())],
    }
}

fn judge_gpu(gpu: &Gpu, build: Option<&CudaBuild>) -> Check {
    let capability =
        gpu.capability.map_or(String::new(), |capability| format!(", compute capability {capability}"));
    let detail = format!("{}{capability}", device::describe(gpu));
    match device::can_use(gpu, build) {
        Ok(()) if build.is_none() => Check::poor(
            "gpus",
            format!("{detail}; this build does not use it"),
            "build one that does: make build-cuda",
        ),
        Ok(()) => Check::good("gpus", detail),
        Err(error) => Check::poor("gpus", format!("{detail}: {error}"), error.hint().unwrap_or_default()),
    }
}

/// ONNX Runtime and Silero: there, and loadable together.
async fn check_voice_detector(store: &Store, settings: &Settings, gpu: Option<u32>) -> Vec<Check> {
    let mut checks =
        vec![check_file("onnx_runtime", store.onnx_runtime()), check_file("silero", store.silero())];
    if let (Ok(runtime), Ok(model)) = (store.onnx_runtime(), store.silero()) {
        checks.push(judge_detector(load_detector(runtime, model, settings.detector, gpu).await));
    }
    checks
}

/// What a try to load the detector says: where it runs, or what it lacks.
fn judge_detector(loaded: Result<Provider, VadError>) -> Check {
    match loaded {
        Ok(provider) => Check::good("voice_detector", format!("loads, and runs on {}", named(provider))),
        Err(error) => {
            let advice = match &error {
                VadError::Device(_) => error.hint().unwrap_or_default(),
                _ => "fetch both again: make setup",
            };
            Check::missing("voice_detector", error.to_string(), advice)
        }
    }
}

/// As people call it.
fn named(provider: Provider) -> String {
    match provider {
        Provider::Cpu => "the CPU".into(),
        Provider::Cuda { .. } => provider.to_string(),
    }
}

/// Whether small networks may share the GPU that decodes, where one of them is to.
fn check_networks(store: &Store, settings: &Settings, gpu: Option<u32>) -> Option<Check> {
    let (device, runtime) = (gpu?, store.onnx_runtime().ok()?);
    let on_cpu = [settings.detector, settings.voices.device].map(|wanted| wanted == NetworkDevice::Cpu);
    if on_cpu == [true; 2] {
        return None;
    }
    Some(match cuda_part(&runtime) {
        Ok(()) => {
            let detail = format!("ONNX Runtime has its part for CUDA: what may runs on cuda:{device}");
            Check::good("networks", detail)
        }
        Err(reason) => Check::poor(
            "networks",
            format!("Kokoro and Silero run on the CPU: {reason}"),
            "scripts/setup.sh cuda-runtime brings ONNX Runtime with its part for CUDA",
        ),
    })
}

/// Who speaks. A server without a voice still writes down what others say.
async fn check_voice(settings: &Settings, gpu: Option<u32>) -> Check {
    if settings.voices.tts.engine == EngineChoice::Off {
        return Check::good("voice", "switched off");
    }
    match voices::open(settings, gpu).await {
        Ok(studio) => {
            let place = studio.provider().map_or(String::new(), |on| format!(", on {}", named(on)));
            let detail = format!("{}, {}{place}", studio.engine(), studio.default_voice());
            match studio.engine() {
                "espeak-ng" => {
                    Check::poor("voice", detail, "for a better one: stenopool models pull kokoro af_heart")
                }
                _ => Check::good("voice", detail),
            }
        }
        Err(error) => {
            let advice = error.hint().unwrap_or("see `stenopool serve --help`, under Voices").to_owned();
            let poor = matches!(error, TtsError::NotInstalled(_))
                && settings.voices.tts.engine == EngineChoice::Auto;
            let finding = if poor { Check::poor } else { Check::missing };
            finding("voice", error.to_string(), advice)
        }
    }
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

/// Loads the detector for a try, as a server would; a library that panics is a finding, too. Says on what it runs.
async fn load_detector(
    runtime: PathBuf,
    model: PathBuf,
    wanted: NetworkDevice,
    gpu: Option<u32>,
) -> Result<Provider, VadError> {
    let provider = provider(wanted, gpu).map_err(VadError::Device)?;
    let load = move || detector(&runtime, &model, wanted, provider).map(|silero| silero.provider());
    let loading = tokio::task::spawn_blocking(load).await;
    loading.unwrap_or_else(|panic| Err(VadError::Run(format!("loading ended in a panic: {panic}"))))
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
    use crate::gpu::{Capability, DeviceMemory, Mig};

    #[test]
    fn one_missing_thing_is_enough_to_keep_the_server_from_starting() {
        let poor = || Check::poor("memory", "little", "buy some");
        assert!(Report::new(vec![Check::good("cpu", "fine"), poor()]).ready);
        assert!(!Report::new(vec![poor(), Check::missing("silero", "gone", "make setup")]).ready);
    }

    #[test]
    fn a_driver_or_a_gpu_that_does_not_fit_the_build_is_told_with_the_way_out() {
        let cuda = |major, minor| Some(CudaVersion { major, minor });
        let driver =
            |speaks| judge_driver(Some("550.54"), speaks, cuda(13, 0), || "install a later driver".into());
        let old = driver(cuda(12, 4));
        assert_eq!((old.finding, old.advice.as_deref()), (Finding::Poor, Some("install a later driver")));
        assert_eq!(old.detail, "NVIDIA 550.54, speaks CUDA 12.4; this build needs 13");
        assert_eq!([driver(cuda(13, 0)), driver(None)].map(|check| check.finding), [Finding::Good; 2]);

        let gpu = Gpu {
            index: 0,
            uuid: "GPU-a".into(),
            name: "NVIDIA L4".into(),
            memory: DeviceMemory::default(),
            mig: Mig::Off,
            capability: Some(Capability { major: 8, minor: 9 }),
        };
        let build = |architectures: &str| CudaBuild { version: None, architectures: architectures.into() };
        assert_eq!(judge_gpu(&gpu, Some(&build("89-real"))).finding, Finding::Good);
        let wrong = judge_gpu(&gpu, Some(&build("90-real")));
        assert_eq!(wrong.finding, Finding::Poor);
        assert!(
            wrong.detail.contains("compute capability 8.9: this build has no code for NVIDIA L4"),
            "{wrong:?}"
        );
        assert!(wrong.advice.unwrap().contains("CUDA_ARCHITECTURES=89-real"));
        assert!(judge_gpu(&gpu, None).advice.unwrap().contains("make build-cuda"));
    }

    #[test]
    fn the_text_puts_the_advice_below_the_finding() {
        let text = Report::new(vec![Check::missing("silero", "gone", "make setup")]).to_text();
        assert!(text.contains("NO  silero        gone\n                    → make setup"), "{text}");
        assert!(text.ends_with("the server would not start\n"), "{text}");
    }
}
