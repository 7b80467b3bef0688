//! What speaks, and how: plain values, which `config` fills in.

use super::Provider;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Which engine is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EngineChoice {
    /// The remote one if it is configured, else Kokoro if its files are there, else espeak-ng.
    #[default]
    Auto,
    /// Kokoro and nothing else.
    Kokoro,
    /// A speech server and nothing else.
    Remote,
    /// espeak-ng and nothing else.
    Espeak,
    /// Nothing speaks.
    Off,
}

/// Everything about voices.
#[derive(Debug, Clone, PartialEq)]
pub struct TtsSettings {
    /// What speaks.
    pub engine: EngineChoice,
    /// The voice of those who ask for none; `None`: the engine's own choice.
    pub voice: Option<String>,
    /// How the threads of blocking engines are shared.
    pub workers: WorkerSettings,
    /// Kokoro's files; `None` where they were not found.
    pub kokoro: Option<KokoroSettings>,
    /// The speech server; `None` where none is configured.
    pub remote: Option<RemoteSettings>,
    /// The program `espeak-ng`, as a name to be looked for or a path.
    pub espeak: PathBuf,
}

impl Default for TtsSettings {
    fn default() -> Self {
        Self {
            engine: EngineChoice::Auto,
            voice: None,
            workers: WorkerSettings::default(),
            kokoro: None,
            remote: None,
            espeak: "espeak-ng".into(),
        }
    }
}

/// How blocking synthesizers share threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerSettings {
    /// Shared threads, each with a synthesizer of its own; 1 or more.
    pub threads: usize,
    /// Whether each narrator gets a thread and a synthesizer of its own instead, for as long as it lives. Costs its
    /// weights once more for each.
    pub dedicated: bool,
    /// How many phrases of one narrator may be asked for and not be said yet; more are [refused](super::TtsError::Saturated).
    pub phrases_ahead: usize,
    /// The same of all narrators together.
    pub phrases_in_all: usize,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self { threads: 1, dedicated: false, phrases_ahead: 16, phrases_in_all: 512 }
    }
}

/// Where Kokoro's files lie, and on what it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KokoroSettings {
    /// ONNX Runtime's library.
    pub runtime: PathBuf,
    /// The network, an `.onnx` file.
    pub model: PathBuf,
    /// The folder of voice packs, `NAME.bin`.
    pub voices: PathBuf,
    /// On what it runs.
    pub provider: Provider,
    /// Threads of one run on the processor; 1 or more.
    pub threads: usize,
}

/// An OpenAI-compatible speech server.
#[derive(Clone, PartialEq)]
pub struct RemoteSettings {
    /// What stands before `/audio/speech`, as in `http://127.0.0.1:8880/v1`.
    pub base_url: String,
    /// What is sent as bearer token.
    pub key: Option<String>,
    /// The model's name there.
    pub model: String,
    /// The voices it has, the default first; empty: whatever is asked for is passed on.
    pub voices: Vec<String>,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long the first sound of a phrase may take, once the phrases before it were said; waiting until the server has
    /// room is included.
    pub first_sound_timeout: Duration,
    /// How long a whole phrase may take, less the time in which its listener does not take the sound.
    pub total_timeout: Duration,
    /// Requests at the same time; more wait for their turn.
    pub concurrency: usize,
}

impl RemoteSettings {
    /// A server at that address, with the usual patience.
    pub fn new(base_url: impl Into<String>) -> Self {
        Self {
            base_url: base_url.into(),
            key: None,
            model: "tts-1".into(),
            voices: Vec::new(),
            connect_timeout: Duration::from_secs(3),
            first_sound_timeout: Duration::from_secs(10),
            total_timeout: Duration::from_secs(60),
            concurrency: 16,
        }
    }
}

/// Without the key.
impl fmt::Debug for RemoteSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteSettings")
            .field("base_url", &self.base_url)
            .field("key", &self.key.as_ref().map(|_| "…"))
            .field("model", &self.model)
            .field("voices", &self.voices)
            .field("concurrency", &self.concurrency)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_speech_server_is_not_shown() {
        let settings = RemoteSettings { key: Some("sk-secret".into()), ..RemoteSettings::new("http://x/v1") };
        assert!(!format!("{settings:?}").contains("secret"));
    }
}
