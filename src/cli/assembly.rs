//! Puts the parts together that every recognizing command needs: models, ears, slots.

use super::failure::Failure;
use super::sizing::{Sizing, cores};
use crate::asr::{
    AsrError, EncoderWindow, Engine, ModelInfo, Supervisor, SupervisorSettings, ThreadEngine, WeightsSource,
    Whisper, WhisperSettings,
};
use crate::config::{ModelSettings, Settings};
use crate::session::Frontend;
use crate::store::{ResolvedModel, Store, Weights, Window, demo_weights, search_path, user_cache};
use crate::vad::{Detector, Silero, VadError};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, interval_at};
use tracing::{info, warn};

/// A recognizer that is ready for work.
pub(super) struct Assembly {
    /// Listens for speech.
    pub(super) frontend: Frontend,
    /// Keeps the slots.
    pub(super) supervisor: Supervisor,
    /// The model in the slots.
    pub(super) model: ResolvedModel,
    /// How many slots, and how they share the cores.
    pub(super) sizing: Sizing,
}

/// Finds and loads everything; tells the user what takes long.
///
/// # Errors
///
/// A model or library that is missing or unusable, or not one slot that opens.
pub(super) async fn assemble(settings: &Settings) -> anyhow::Result<Assembly> {
    let store = open_store(&settings.models);
    let model = store.resolve(settings.models.model.as_deref()).map_err(Failure::from)?;
    let sizing = Sizing::new(cores(), settings.slots.slots, settings.asr.threads);
    if sizing.oversubscribed() {
        let Sizing { cores, slots, threads } = sizing;
        warn!(slots, threads, cores, "more threads than cores: decodes will slow each other down");
    }
    let frontend = patiently("the voice detector", start_frontend(&store, sizing.cores)).await?;
    let what = format!("the model {}", model.name);
    let supervisor = patiently(&what, start_slots(&model, sizing, settings)).await?;
    Ok(Assembly { frontend, supervisor, model, sizing })
}

/// The store over all places where models are looked for.
pub(super) fn open_store(settings: &ModelSettings) -> Store {
    let exe_dir = std::env::current_exe().ok().and_then(|exe| exe.parent().map(PathBuf::from));
    let cwd = std::env::current_dir().unwrap_or_default();
    let cache = user_cache(std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME"));
    Store::new(search_path(settings.dir.clone(), exe_dir, &cwd, cache))
}

/// Loads one detector for each frontend thread: one thread hears some hundred live streams, so two are plenty.
async fn start_frontend(store: &Store, cores: u16) -> anyhow::Result<Frontend> {
    let runtime = store.onnx_runtime().map_err(Failure::from)?;
    let model = store.silero().map_err(Failure::from)?;
    let n_threads = if cores >= 8 { 2 } else { 1 };
    let load =
        move || -> Result<Box<dyn Detector>, VadError> { Ok(Box::new(Silero::load(&runtime, &model)?)) };
    let detectors = off_the_runtime(move || (0..n_threads).map(|_| load()).collect()).await?;
    Ok(Frontend::start(detectors))
}

/// Loads the weights and opens the slots.
async fn start_slots(
    model: &ResolvedModel,
    sizing: Sizing,
    settings: &Settings,
) -> anyhow::Result<Supervisor> {
    let (model, window) = (model.clone(), settings.asr.window);
    let (engine, info) = off_the_runtime(move || load_engine(&model, sizing.threads, window)).await?;
    let settings =
        SupervisorSettings { pool: settings.pool.clone(), ..SupervisorSettings::fixed(sizing.slots) };
    Ok(Supervisor::start(engine, info, settings).await?)
}

/// Loads the weights, once for all slots.
fn load_engine(
    model: &ResolvedModel,
    threads: u16,
    window: Option<EncoderWindow>,
) -> Result<(Arc<dyn Engine>, ModelInfo), AsrError> {
    let window = window.unwrap_or(match model.window {
        Window::Fit => EncoderWindow::Fit,
        Window::Full => EncoderWindow::Full,
    });
    let settings = WhisperSettings { threads: threads.into(), ..WhisperSettings::default() };
    let (whisper, info) = match &model.weights {
        Weights::File(path) => Whisper::load(&model.name, WeightsSource::File(path), window, settings)?,
        Weights::Embedded => {
            Whisper::load(&model.name, WeightsSource::Bytes(&demo_weights()), window, settings)?
        }
    };
    Ok((Arc::new(ThreadEngine::new(whisper)), info))
}

async fn off_the_runtime<T: Send + 'static, E: std::error::Error + Send + Sync + 'static>(
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
    fn only_the_bundled_model_needs_an_explanation() {
        let store = Store::new(vec![]);
        let demo = store.resolve(Some("demo")).expect("it is in the binary");
        assert!(demo_notice(&demo).is_some_and(|notice| notice.contains("digits")));
        assert_eq!(demo_notice(&ResolvedModel { is_demo: false, ..demo }), None);
    }
}
