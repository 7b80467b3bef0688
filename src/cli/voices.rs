//! Finds what speaks, and makes it ready.

use super::assembly::open_store;
use super::provider::provider;
use crate::config::{Settings, VoiceSettings};
use crate::store::Store;
use crate::tts::{EngineChoice, KokoroSettings, Provider, Studio, TtsError, TtsSettings, studio};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tracing::warn;

/// Where Kokoro lies in a folder of models: its network, and its voices beside it.
const KOKORO: &str = "kokoro";
const NETWORKS: [&str; 2] = ["model.onnx", "model_quantized.onnx"];
const VOICES: &str = "voices";

/// What speaks for a server; `None` where nothing does, which is told and keeps no server from hearing.
///
/// # Errors
///
/// When a certain engine was asked for and cannot be had.
pub(super) async fn for_server(
    settings: &Settings,
    gpu: Option<u32>,
) -> Result<Option<Arc<dyn Studio>>, TtsError> {
    if settings.voices.tts.engine == EngineChoice::Off {
        return Ok(None);
    }
    match open(settings, gpu).await {
        Err(error @ TtsError::NotInstalled(_)) if settings.voices.tts.engine == EngineChoice::Auto => {
            warn!(%error, hint = error.hint(), "the server has no voice");
            Ok(None)
        }
        studio => studio.map(Some),
    }
}

/// What speaks; on the GPU that decodes, by CUDA's number, where that is wanted. Loading takes a moment, and blocks, so it
/// is done off the runtime.
///
/// # Errors
///
/// What keeps it from speaking.
pub(super) async fn open(settings: &Settings, gpu: Option<u32>) -> Result<Arc<dyn Studio>, TtsError> {
    let provider = if may_be_kokoro(&settings.voices.tts) {
        provider(settings.voices.device, gpu).map_err(TtsError::Device)?
    } else {
        Provider::Cpu
    };
    let tts = found(settings, provider);
    let runtime = tokio::runtime::Handle::current();
    let opening = tokio::task::spawn_blocking(move || {
        // A speech server is reached from the runtime.
        let _context = runtime.enter();
        studio(&tts)
    });
    opening.await.unwrap_or_else(|panic| Err(TtsError::Failed(panic.to_string())))
}

/// Whether Kokoro is what speaks, if its files are there: it alone runs on a device of this machine.
fn may_be_kokoro(tts: &TtsSettings) -> bool {
    match tts.engine {
        EngineChoice::Kokoro => true,
        EngineChoice::Auto => tts.remote.is_none(),
        EngineChoice::Remote | EngineChoice::Espeak | EngineChoice::Off => false,
    }
}

/// The settings with the files that were found.
fn found(settings: &Settings, provider: Provider) -> TtsSettings {
    let VoiceSettings { tts, kokoro_model, voices_dir, .. } = settings.voices.clone();
    let store = open_store(&settings.models);
    let network =
        kokoro_model.or_else(|| store.search().folders().iter().find_map(|folder| network_in(folder)));
    let beside = |network: &PathBuf| network.parent().map(|folder| folder.join(VOICES));
    let voices = voices_dir.or_else(|| network.as_ref().and_then(beside));
    let kokoro = match (network, voices, runtime(&store)) {
        (Some(model), Some(voices), Some(runtime)) => {
            let threads = usize::from(settings.asr.threads.unwrap_or_else(super::sizing::cores).clamp(1, 4));
            Some(KokoroSettings { runtime, model, voices, provider, threads })
        }
        _ => None,
    };
    TtsSettings { kokoro, ..tts }
}

fn network_in(folder: &Path) -> Option<PathBuf> {
    NETWORKS.iter().map(|name| folder.join(KOKORO).join(name)).find(|path| path.is_file())
}

fn runtime(store: &Store) -> Option<PathBuf> {
    store.onnx_runtime().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_network_is_found_in_a_folder_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(network_in(folder.path()), None);
        fs::create_dir_all(folder.path().join("kokoro")).unwrap();
        for name in ["model_quantized.onnx", "model.onnx"] {
            let path = folder.path().join("kokoro").join(name);
            fs::write(&path, "").unwrap();
            assert_eq!(network_in(folder.path()), Some(path));
        }
    }
}
