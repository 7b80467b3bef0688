//! A session's voice: phrases → PCM.
//!
//! A [`Studio`] gives each session a [`Narrator`], which turns [`Phrase`]s into sound, piece by piece, in the rate that
//! the session wants. Blocking engines ([`Synthesizer`]) run on a few threads of their own, which all narrators share.

mod account;
mod error;
mod espeak;
pub mod fake;
mod kokoro;
mod phrase;
mod recital;
mod remote;
mod settings;
mod spoken;
mod studio;
mod voices;
mod workers;

pub use crate::onnx::Provider;
pub use error::TtsError;
pub use phrase::{Phrase, Phraser, phrases, speakable};
pub use recital::recite;
pub use settings::{EngineChoice, KokoroSettings, RemoteSettings, TtsSettings, WorkerSettings};
pub use studio::studio;
pub use workers::LONGEST_PHRASE;

use crate::audio::{Pcm, SampleRate};
use futures_util::stream::BoxStream;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// A session's speaker.
#[derive(Debug, Clone, PartialEq)]
pub struct Voice {
    /// Its name, as in `af_heart`.
    pub name: String,
    /// How fast, 0.25 to 4; 1 is normal.
    pub speed: f32,
}

/// A blocking engine. One thread owns it.
pub trait Synthesizer: Send {
    /// Says a phrase, in pieces of sound at the engine's own rate.
    ///
    /// # Errors
    ///
    /// When it cannot be said; [`TtsError::Cancelled`] soon after `cancel` was cancelled.
    fn synthesize(
        &mut self,
        phrase: &Phrase,
        voice: &Voice,
        cancel: &CancellationToken,
        on_chunk: &mut dyn FnMut(Pcm),
    ) -> Result<(), TtsError>;

    /// On what it runs.
    fn provider(&self) -> Provider {
        Provider::Cpu
    }
}

/// A session's way to a voice. What one narrator says, it says in order; narrators take turns.
pub trait Narrator: Send + Sync {
    /// Says a phrase. The stream ends after the last piece, or with the first error; where nothing is spoken, at once.
    ///
    /// The work begins when this is called, whether the stream is read or not. Dropping the stream ends the work on it
    /// soon. To be called on a tokio runtime.
    fn say(
        &self,
        phrase: Phrase,
        voice: Voice,
        rate: SampleRate,
    ) -> BoxStream<'static, Result<Pcm, TtsError>>;
}

/// Where narrators come from.
pub trait Studio: Send + Sync {
    /// A narrator for one session.
    fn narrator(&self) -> Arc<dyn Narrator>;

    /// What speaks: `kokoro`, `remote`, `espeak-ng`.
    fn engine(&self) -> &'static str;

    /// The voice of that name, or of an alias of it (as OpenAI's `alloy`).
    ///
    /// # Errors
    ///
    /// [`TtsError::VoiceUnknown`], with the names that are known.
    fn voice(&self, name: &str) -> Result<String, TtsError>;

    /// The voice of those who ask for none.
    fn default_voice(&self) -> &str;

    /// On what of this machine it runs; `None` where another one does the work, or each session's voice comes with it.
    fn provider(&self) -> Option<Provider> {
        None
    }
}
