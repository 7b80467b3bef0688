//! Kokoro: text to phonemes to tokens, a voice's row for so many tokens, and a small network that makes sound of both.
//!
//! Weights belong to a thread; voices and dictionaries are shared by all.

mod foreign;
mod network;
mod pronunciation;
mod split;
#[cfg(test)]
mod tests;
mod vocabulary;
mod voice_pack;

use super::voices::Alias;
use super::{KokoroSettings, Phrase, Provider, Synthesizer, TtsError, Voice};
use crate::audio::{Pcm, SampleRate};
use network::Network;
use pronunciation::{Accent, Pronunciation};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use vocabulary::{MOST_TOKENS, PAD};
use voice_pack::VoicePack;

/// The rate of its sound.
const RATE: u32 = 24_000;

/// Speeds that it still speaks well at.
const SPEEDS: (f32, f32) = (0.25, 4.0);

/// The voices that one would want for a default, the best first.
pub(super) const PREFERRED: [&str; 3] = ["af_heart", "af_bella", "bf_emma"];

/// What the voices of OpenAI's service sound like here.
pub(super) const ALIASES: &[Alias] = &[
    ("alloy", &["af_alloy", "af_heart"]),
    ("ash", &["am_adam", "am_michael"]),
    ("ballad", &["bm_george", "am_michael"]),
    ("cedar", &["am_fenrir", "am_michael"]),
    ("coral", &["af_bella", "af_heart"]),
    ("echo", &["am_echo", "am_michael"]),
    ("fable", &["bm_fable", "bf_emma"]),
    ("marin", &["af_sarah", "af_heart"]),
    ("nova", &["af_nova", "af_heart"]),
    ("onyx", &["am_onyx", "am_michael"]),
    ("sage", &["af_sage", "bf_emma"]),
    ("shimmer", &["af_sky", "bf_emma"]),
    ("verse", &["am_puck", "am_michael"]),
];

/// What all threads share: voices and dictionaries.
pub(super) struct Shared {
    settings: KokoroSettings,
    packs: BTreeMap<String, VoicePack>,
    pronunciation: Arc<Pronunciation>,
}

impl Shared {
    /// Reads the voices, and the dictionaries that they need. Takes a moment.
    ///
    /// # Errors
    ///
    /// [`TtsError::ModelInvalid`] when there are no voices.
    pub(super) fn load(settings: KokoroSettings, espeak: &Path) -> Result<Arc<Self>, TtsError> {
        let packs = voice_pack::read_all(&settings.voices)?;
        let accents = packs.keys().map(|name| Accent::of(name));
        let pronunciation = Pronunciation::load(accents, espeak);
        Ok(Arc::new(Self { settings, packs, pronunciation }))
    }

    /// The names of the voices.
    pub(super) fn voices(&self) -> Vec<String> {
        self.packs.keys().cloned().collect()
    }

    /// What the network is given for a text, piece by piece: so many tokens at most, in order.
    fn pieces(&self, text: &str, accent: Accent, most: usize) -> Result<Vec<Vec<i64>>, TtsError> {
        let tokens = vocabulary::tokens(self.pronunciation.phonemes(text, accent)?.trim());
        if tokens.len() <= most {
            return Ok(if tokens.is_empty() { Vec::new() } else { vec![tokens] });
        }
        match split::halve(text) {
            Some((first, second)) => {
                Ok([self.pieces(first, accent, most)?, self.pieces(second, accent, most)?].concat())
            }
            // One character that sounds that long: what fits is said.
            None => Ok(vec![tokens[..most].to_vec()]),
        }
    }
}

/// How many tokens one run is given: as many as the network takes, and fewer of those that are said slowly. Memory goes by the
/// length of the sound, which is never longer than at speed 1.
fn most_tokens(speed: f32) -> usize {
    (MOST_TOKENS as f32 * speed.min(1.0)) as usize
}

/// The network of one thread.
pub(super) struct Kokoro {
    shared: Arc<Shared>,
    network: Network,
}

impl Kokoro {
    /// Loads the network.
    ///
    /// # Errors
    ///
    /// [`TtsError::Runtime`], [`TtsError::ModelInvalid`] or [`TtsError::Device`].
    pub(super) fn load(shared: &Arc<Shared>) -> Result<Self, TtsError> {
        let voice = shared.packs.values().next().expect("without a voice there is nothing to share");
        let network = Network::load(&shared.settings, voice)?;
        Ok(Self { shared: Arc::clone(shared), network })
    }
}

impl Synthesizer for Kokoro {
    fn synthesize(
        &mut self,
        phrase: &Phrase,
        voice: &Voice,
        cancel: &CancellationToken,
        on_chunk: &mut dyn FnMut(Pcm),
    ) -> Result<(), TtsError> {
        let pack = self.shared.packs.get(&voice.name).ok_or_else(|| TtsError::VoiceUnknown {
            name: voice.name.clone(),
            known: self.shared.voices().join(", "),
        })?;
        let rate = SampleRate::new(RATE).expect("it is not 0");
        let speed = voice.speed.clamp(SPEEDS.0, SPEEDS.1);
        let accent = Accent::of(&voice.name);
        for tokens in self.shared.pieces(&phrase.spoken, accent, most_tokens(speed))? {
            if cancel.is_cancelled() {
                return Err(TtsError::Cancelled);
            }
            let padded = [&[PAD], &tokens[..], &[PAD]].concat();
            let samples = self.network.run(&padded, pack.row(tokens.len()), speed, cancel)?;
            on_chunk(Pcm { samples, rate });
        }
        Ok(())
    }

    fn provider(&self) -> Provider {
        self.network.provider()
    }
}
