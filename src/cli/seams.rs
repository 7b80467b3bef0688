//! Stand-ins for what other branches bring; this file goes when they are merged.

use crate::asr::{AsrError, EncoderWindow, Engine, ModelInfo};
use crate::server::Server;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Becomes `store::Weights`.
#[derive(Debug, Clone)]
pub(super) enum Weights {
    File(PathBuf),
    Embedded,
}

/// Becomes `store::ResolvedModel`.
#[derive(Debug, Clone)]
pub(super) struct ResolvedModel {
    pub(super) name: String,
    pub(super) weights: Weights,
}

/// Becomes `store::StoreError`.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{file} is in none of the places where models are looked for")]
pub(super) struct StoreError {
    file: String,
}

/// Becomes `store::search_path`.
pub(super) fn search_path(
    models_dir: Option<PathBuf>,
    exe_dir: Option<PathBuf>,
    cwd: Option<PathBuf>,
    cache: Option<PathBuf>,
) -> Vec<PathBuf> {
    let beside = |dir: PathBuf| dir.join("models");
    [models_dir, exe_dir.map(beside), cwd.map(beside), cache].into_iter().flatten().collect()
}

/// Becomes `store::Store`.
#[derive(Debug, Clone)]
pub(super) struct Store {
    path: Vec<PathBuf>,
}

impl Store {
    pub(super) fn new(path: Vec<PathBuf>) -> Self {
        Self { path }
    }

    pub(super) fn resolve(&self, name: Option<&str>) -> Result<ResolvedModel, StoreError> {
        let Some(name) = name.filter(|name| *name != "demo") else {
            return Ok(ResolvedModel { name: "demo".into(), weights: Weights::Embedded });
        };
        let path = if name.contains('/') { name.into() } else { self.find(&format!("ggml-{name}.bin"))? };
        Ok(ResolvedModel { name: name.into(), weights: Weights::File(path) })
    }

    pub(super) fn onnx_runtime(&self) -> Result<PathBuf, StoreError> {
        self.find("libonnxruntime.so")
    }

    pub(super) fn silero(&self) -> Result<PathBuf, StoreError> {
        self.find("silero_vad.onnx")
    }

    fn find(&self, file: &str) -> Result<PathBuf, StoreError> {
        let found = self.path.iter().map(|dir| dir.join(file)).find(|path| path.is_file());
        found.ok_or_else(|| StoreError { file: file.into() })
    }
}

/// Becomes a call of `asr::WhisperEngine::load`.
pub(super) fn load_engine(
    model: &ResolvedModel,
    _threads: u16,
    _window: Option<EncoderWindow>,
) -> Result<(Arc<dyn Engine>, ModelInfo), AsrError> {
    Err(AsrError::Load { model: model.name.clone(), reason: "this build has no engine yet".into() })
}

/// Becomes `server::serve`.
pub(super) async fn serve(
    _listener: tokio::net::TcpListener,
    _server: Arc<Server>,
    _grace: Duration,
) -> std::io::Result<()> {
    Err(std::io::Error::other("this build has no edge yet"))
}

/// Becomes `cli::models::ModelsCommand`.
#[derive(Debug, clap::Args)]
pub(super) struct ModelsCommand {}

impl ModelsCommand {
    #[expect(clippy::unused_async, reason = "the real one fetches files")]
    pub(super) async fn run(&self, _store: &Store, _mirror: Option<&str>) -> anyhow::Result<ExitCode> {
        anyhow::bail!("this build cannot look after models yet")
    }
}

/// Becomes `cli::transcribe::TranscribeCommand`.
#[derive(Debug, clap::Args)]
pub(super) struct TranscribeCommand {}

impl TranscribeCommand {
    #[expect(clippy::unused_async, reason = "the real one waits for slots")]
    pub(super) async fn run(&self, _settings: crate::config::Settings) -> anyhow::Result<ExitCode> {
        anyhow::bail!("this build cannot transcribe files yet")
    }
}
