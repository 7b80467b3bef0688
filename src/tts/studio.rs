//! Picks what speaks: a speech server if one is configured, else Kokoro if its files are there, else espeak-ng.

use super::espeak::{self, Espeak};
use super::kokoro::{self, Kokoro, Shared};
use super::remote::Remote;
use super::voices::Voices;
use super::workers::{Factory, Workers};
use super::{EngineChoice, Studio, Synthesizer, TtsError, TtsSettings};
use crate::telemetry::metrics::Speaker;
use std::sync::Arc;
use tracing::{info, warn};

/// What speaks, ready to speak. Blocks while weights and dictionaries are loaded: not for a thread of tokio's.
///
/// # Errors
///
/// [`TtsError::NotInstalled`] when nothing speaks here, or the error of the one engine that was asked for.
pub fn studio(settings: &TtsSettings) -> Result<Arc<dyn Studio>, TtsError> {
    let missing = |what: &str| TtsError::NotInstalled(format!("{what} is asked for and not configured"));
    match settings.engine {
        EngineChoice::Auto => automatic(settings),
        EngineChoice::Remote if settings.remote.is_none() => Err(missing("a speech server")),
        EngineChoice::Kokoro if settings.kokoro.is_none() => Err(missing("Kokoro")),
        EngineChoice::Remote => remote(settings),
        EngineChoice::Kokoro => kokoro(settings),
        EngineChoice::Espeak => espeak(settings),
        EngineChoice::Off => Err(TtsError::NotInstalled("voices are switched off".into())),
    }
}

/// The best that works. Files of Kokoro that are there and broken are told, and do not keep the server from speaking; a voice or
/// a device that was asked for by name and cannot be had does.
fn automatic(settings: &TtsSettings) -> Result<Arc<dyn Studio>, TtsError> {
    if settings.remote.is_some() {
        return remote(settings);
    }
    if settings.kokoro.is_some() {
        match kokoro(settings) {
            Err(error @ (TtsError::VoiceUnknown { .. } | TtsError::Device(_))) => return Err(error),
            Err(error) => warn!(%error, code = error.code(), "kokoro cannot be used"),
            studio => return studio,
        }
    }
    match espeak(settings) {
        Err(error @ TtsError::ProgramMissing { .. }) => Err(TtsError::NotInstalled(error.to_string())),
        Ok(studio) => {
            info!("voices are espeak-ng's, the fallback: Kokoro's model and voices are not installed");
            Ok(studio)
        }
        error => error,
    }
}

fn remote(settings: &TtsSettings) -> Result<Arc<dyn Studio>, TtsError> {
    let remote = settings.remote.clone().ok_or_else(|| TtsError::NotInstalled("no speech server".into()))?;
    info!(url = remote.base_url, model = remote.model, "voices come from a speech server");
    Ok(Arc::new(Remote::new(remote, settings.voice.as_deref())?))
}

fn kokoro(settings: &TtsSettings) -> Result<Arc<dyn Studio>, TtsError> {
    let files = settings.kokoro.clone().ok_or_else(|| TtsError::NotInstalled("no files of Kokoro".into()))?;
    let shared = Shared::load(files, &settings.espeak)?;
    let names = shared.voices();
    let voices = Voices::new(names, settings.voice.as_deref(), &kokoro::PREFERRED, kokoro::ALIASES)?;
    let factory = move || -> Result<Box<dyn Synthesizer>, TtsError> { Ok(Box::new(Kokoro::load(&shared)?)) };
    workers(Speaker::Kokoro, voices, settings, Arc::new(factory))
}

fn espeak(settings: &TtsSettings) -> Result<Arc<dyn Studio>, TtsError> {
    let program = settings.espeak.clone();
    let names = Espeak::voices(&program)?;
    let voices = Voices::new(names, settings.voice.as_deref(), &espeak::PREFERRED, espeak::ALIASES)?;
    let factory = move || -> Result<Box<dyn Synthesizer>, TtsError> { Ok(Box::new(Espeak::new(&program)?)) };
    workers(Speaker::Espeak, voices, settings, Arc::new(factory))
}

fn workers(
    speaker: Speaker,
    voices: Voices,
    settings: &TtsSettings,
    factory: Arc<Factory>,
) -> Result<Arc<dyn Studio>, TtsError> {
    let workers = Workers::start(speaker, voices, settings.workers, factory)?;
    info!(engine = speaker.as_str(), voice = workers.default_voice(), "voices are ready");
    Ok(Arc::new(workers))
}

#[cfg(test)]
mod tests;
