//! Puts the parts together that every recognizing command needs: models, ears, slots.

use super::device::{self, Found, first_gpu};
use super::failure::Failure;
use super::knees::KneeCache;
use super::provider::{detector, provider};
use super::sizing::{CoreShare, cores, knee};
use crate::asr::{
    AsrError, Device, EncoderWindow, Engine, JobLimits, LaneSettings, ModelInfo, Placement, Site, StartError,
    Supervisor, SupervisorSettings, ThreadEngine, WeightsSource, Whisper, WhisperSettings,
};
use crate::config::{DebugSettings, ModelSettings, NetworkDevice, Settings, SlotSettings};
use crate::gpu::{BudgetError, Bytes, DeviceInfo, DeviceMemory, Footprint, KneeKey, Loaded, MemoryBudget};
use crate::session::Frontend;
use crate::store::{ResolvedModel, Store, Weights, Window, demo_weights, search_path, user_cache};
use crate::vad::{Detector, Silero, VadError};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, interval_at};
use tracing::{info, warn};

/// What the recognizer is put together for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To serve for a long time: it is looked after in every way.
    Server,
    /// For one command, which is to begin soon: nothing is measured, and nothing goes on in the background.
    Command,
}

impl Purpose {
    /// Where the detector is to run. A command that nobody told is done before a GPU is ready for it.
    fn detector(self, wanted: NetworkDevice) -> NetworkDevice {
        match (self, wanted) {
            (Self::Command, NetworkDevice::Auto) => NetworkDevice::Cpu,
            _ => wanted,
        }
    }
}

/// A recognizer that is ready for work.
pub(super) struct Assembly {
    /// Listens for speech.
    pub(super) frontend: Frontend,
    /// Keeps the slots.
    pub(super) supervisor: Supervisor,
    /// The model in the slots.
    pub(super) model: ResolvedModel,
    /// How the slots share the cores.
    pub(super) share: CoreShare,
}

/// The devices that were asked for, one at least.
///
/// # Errors
///
/// When one of them is not there, or of no use to this build.
pub(super) async fn find_devices(settings: &Settings) -> anyhow::Result<Vec<Found>> {
    let selector = settings.device.selector.clone();
    off_the_runtime(move || device::find(&selector)).await
}

/// Loads everything onto these devices; tells the user what takes long.
///
/// # Errors
///
/// A model or library that is missing or unusable, or not one slot that fits and opens.
pub(super) async fn assemble(
    settings: &Settings,
    purpose: Purpose,
    found: Vec<Found>,
) -> anyhow::Result<Assembly> {
    let store = open_store(&settings.models);
    let model = store.resolve(settings.models.model.as_deref()).map_err(Failure::from)?;
    let share = CoreShare::new(cores(), settings.slots.slots, settings.asr.threads);
    if share.oversubscribed() {
        let CoreShare { cores, slots, threads } = share;
        warn!(slots, threads, cores, "more threads than cores: decodes will slow each other down");
    }
    let (wanted, gpu) = (purpose.detector(settings.detector), first_gpu(&found));
    let frontend = patiently("the voice detector", start_frontend(&store, share.cores, wanted, gpu)).await?;
    let what = format!("the model {}", model.name);
    let slots = Slots { model: &model, share, settings, purpose };
    let supervisor = patiently(&what, slots.start(found)).await?;
    Ok(Assembly { frontend, supervisor, model, share })
}

/// The store over all places where models are looked for.
pub(super) fn open_store(settings: &ModelSettings) -> Store {
    let exe_dir = std::env::current_exe().ok().and_then(|exe| exe.parent().map(PathBuf::from));
    let cwd = std::env::current_dir().unwrap_or_default();
    let cache = user_cache(std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME"));
    Store::new(search_path(settings.dir.clone(), exe_dir, &cwd, cache))
}

/// Loads one detector for each frontend thread: one thread hears some hundred live streams, so two are plenty.
async fn start_frontend(
    store: &Store,
    cores: u16,
    wanted: NetworkDevice,
    gpu: Option<u32>,
) -> anyhow::Result<Frontend> {
    let provider = provider(wanted, gpu).map_err(VadError::Device)?;
    let runtime = store.onnx_runtime().map_err(Failure::from)?;
    let model = store.silero().map_err(Failure::from)?;
    let n_threads = if cores >= 8 { 2 } else { 1 };
    let load = move || -> Result<Vec<Box<dyn Detector>>, VadError> {
        let first = detector(&runtime, &model, wanted, provider)?;
        let provider = first.provider();
        let mut detectors: Vec<Box<dyn Detector>> = vec![Box::new(first)];
        for _ in 1..n_threads {
            detectors.push(Box::new(Silero::load_on(&runtime, &model, provider)?));
        }
        Ok(detectors)
    };
    Ok(Frontend::start(off_the_runtime(load).await?))
}

/// What the slots are made of.
pub(super) struct Slots<'a> {
    /// The weights.
    pub(super) model: &'a ResolvedModel,
    /// How the slots share the cores.
    pub(super) share: CoreShare,
    /// Everything else.
    pub(super) settings: &'a Settings,
    /// For what.
    pub(super) purpose: Purpose,
}

impl Slots<'_> {
    /// Loads the weights, once on each device, and opens the slots. A device that has no room for them is left out as long
    /// as there is another.
    pub(super) async fn start(self, found: Vec<Found>) -> anyhow::Result<Supervisor> {
        let cache = KneeCache::of_user();
        let (mut sites, mut loaded, mut refused) = (Vec::new(), None, None);
        for found in found {
            match self.site(&found, &cache).await {
                Ok((site, info)) => {
                    sites.push(site);
                    loaded = Some(info);
                }
                Err(error) => {
                    if let Some(former) = refused.replace(error) {
                        warn!(error = %former, "device left out");
                    }
                }
            }
        }
        let Some(info) = loaded else { return Err(refused.expect("there is a device, of use or not")) };
        if let Some(error) = refused {
            warn!(%error, "device left out");
        }
        let supervisor =
            Supervisor::start(sites, info, self.supervisor_settings()).await.map_err(Failure::from)?;
        for (device, found) in supervisor.knees_found() {
            cache.put(&self.knee_key(device), *found);
        }
        self.warn_if_fewer(supervisor.sizing().slots);
        Ok(supervisor)
    }

    /// Loads the weights on one device.
    async fn site(&self, found: &Found, cache: &KneeCache) -> anyhow::Result<(Site, ModelInfo)> {
        let Device { info, probe } = found.device.clone();
        let memory = {
            let probe = Arc::clone(&probe);
            off_the_runtime(move || probe.memory().map_err(Failure::from)).await?
        };
        let reserve = device::reserve(self.settings.device.reserve, info.kind, memory.total);
        check_weights(self.model, memory, reserve).map_err(|error| Failure::from(StartError::from(error)))?;
        let (model, window, placement) = (self.model.clone(), self.window(), found.placement());
        let flash_attention = self.settings.asr.flash_attention.unwrap_or(found.gpu.is_some());
        let threads = self.share.threads.into();
        let DebugSettings { abort_after, max_tokens } = self.settings.debug;
        let usual = WhisperSettings::default();
        let settings = WhisperSettings { threads, flash_attention, abort_after, max_tokens, ..usual };
        let (engine, loaded) =
            off_the_runtime(move || load_engine(&model, placement, window, settings)).await?;
        let found_before = cache.get(&self.knee_key(&info));
        let knee = knee(&self.settings.slots, self.purpose, info.kind, self.share, found_before);
        Ok((Site { engine, device: Device { info, probe }, reserve, knee }, loaded))
    }

    /// The encoder's window: as asked for, else as the model was trained.
    fn window(&self) -> EncoderWindow {
        self.settings.asr.window.unwrap_or(match self.model.window {
            Window::Fit => EncoderWindow::Fit,
            Window::Full => EncoderWindow::Full,
        })
    }

    /// What a knee that was measured with them on a device is remembered under.
    pub(super) fn knee_key(&self, device: &DeviceInfo) -> KneeKey {
        KneeKey {
            model: self.model.name.clone(),
            device: device.uuid.clone().unwrap_or_else(|| device.name.clone()),
            threads: self.share.threads,
            window: self.window().as_str().into(),
        }
    }

    fn supervisor_settings(&self) -> SupervisorSettings {
        let slots = &self.settings.slots;
        let for_long = self.purpose == Purpose::Server;
        let defaults = SupervisorSettings::default();
        SupervisorSettings {
            max_slots: slots.slots.unwrap_or(slots.max_slots),
            pool: self.settings.pool,
            lanes: lane_settings(slots),
            readings: defaults.readings.filter(|_| for_long),
            elastic: slots.elastic && for_long,
            canary: slots.canary.filter(|_| for_long),
        }
    }

    fn warn_if_fewer(&self, slots: u16) {
        if let Some(asked) = self.settings.slots.slots.filter(|asked| *asked > slots) {
            warn!(asked, slots, "fewer slots than asked for: more do not fit into the memory");
        }
    }
}

/// How sessions use their slots.
fn lane_settings(slots: &SlotSettings) -> LaneSettings {
    // A deadline that was given is one whatever is expected of a decode.
    let given = |shortest| JobLimits { shortest, factor: 0, ..JobLimits::default() };
    LaneSettings {
        idle_reclaim: slots.idle_reclaim,
        limits: slots.job_deadline.map_or_else(JobLimits::default, given),
    }
}

/// Refuses weights that cannot fit before they are loaded: a host that runs out of memory ends the process without a
/// word. What they take is about what their file has; what a slot takes is measured later.
pub(super) fn check_weights(
    model: &ResolvedModel,
    memory: DeviceMemory,
    reserve: Bytes,
) -> Result<(), BudgetError> {
    let Weights::File(path) = &model.weights else { return Ok(()) };
    let weights = std::fs::metadata(path).map_or(Bytes(0), |file| Bytes(file.len()));
    let footprint = Footprint { weights, slot: Bytes(0) };
    MemoryBudget::up_to(NonZeroU16::MIN, reserve).size(memory, footprint, Loaded::Nothing).map(|_| ())
}

/// Loads the weights, once for all slots of a device.
fn load_engine(
    model: &ResolvedModel,
    placement: Placement,
    window: EncoderWindow,
    settings: WhisperSettings,
) -> Result<(Arc<dyn Engine>, ModelInfo), AsrError> {
    let load = |source: WeightsSource<'_>| Whisper::load_on(placement, &model.name, source, window, settings);
    let (whisper, info) = match &model.weights {
        Weights::File(path) => load(WeightsSource::File(path))?,
        Weights::Embedded => load(WeightsSource::Bytes(&demo_weights()))?,
    };
    Ok((Arc::new(ThreadEngine::new(whisper)), info))
}

pub(super) async fn off_the_runtime<T: Send + 'static, E: std::error::Error + Send + Sync + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> anyhow::Result<T> {
    Ok(tokio::task::spawn_blocking(work).await??)
}

/// Waits for `work`, and says so when it takes longer than two seconds.
async fn patiently<T>(what: &str, work: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    let mut patience = interval_at(begun + Duration::from_secs(2), Duration::from_secs(5));
    tokio::pin!(work);
    loop {
        tokio::select! {
            result = &mut work => return result,
            _ = patience.tick() => info!("loading {what} … {} s", begun.elapsed().as_secs()),
        }
    }
}

/// What kind of model this is, told to people; `None` for one that needs no explanation.
pub(super) fn demo_notice(model: &ResolvedModel) -> Option<&'static str> {
    model.is_demo.then_some(
        "the bundled demo is a small test model: it knows simple spoken commands and digits, nothing else",
    )
}

/// The command that installs a real model, to be typed as it stands: the program by the name it was called by, because
/// after `make run` it is on no search path.
pub(super) fn pull_command() -> String {
    let program = std::env::args_os().next().unwrap_or_else(|| "stenopool".into());
    format!("{} models pull base.en", program.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_that_takes_long_is_waited_for_to_its_end() {
        let work = async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            "loaded"
        };
        assert_eq!(patiently("a large model", work).await, "loaded");
    }

    #[test]
    fn weights_that_cannot_fit_are_refused_before_they_are_loaded() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(Bytes::mib(300).0).unwrap();
        let demo = Store::new(vec![]).resolve(Some("demo")).expect("it is in the binary");
        let model = ResolvedModel { weights: Weights::File(file.path().to_owned()), ..demo };
        let memory = |mib| DeviceMemory { total: Bytes::mib(1_000), free: Bytes::mib(mib) };
        assert_eq!(check_weights(&model, memory(401), Bytes::mib(100)), Ok(()));
        let error = check_weights(&model, memory(400), Bytes::mib(100)).unwrap_err();
        assert_eq!(error.code(), "model_does_not_fit");
    }

    #[test]
    fn only_the_bundled_model_needs_an_explanation() {
        let store = Store::new(vec![]);
        let demo = store.resolve(Some("demo")).expect("it is in the binary");
        assert!(demo_notice(&demo).is_some_and(|notice| notice.contains("digits")));
        assert_eq!(demo_notice(&ResolvedModel { is_demo: false, ..demo }), None);
    }
}
