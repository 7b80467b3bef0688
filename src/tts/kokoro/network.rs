//! Kokoro's network through ONNX Runtime: tokens, a style and a speed in, sound at 24 kHz out.

use super::vocabulary::{self, MOST_TOKENS, PAD};
use super::voice_pack::{STYLE, VoicePack};
use crate::onnx::{self, OpenError, Provider};
use crate::tts::{KokoroSettings, TtsError};
use ort::inputs;
use ort::session::{RunOptions, Session};
use ort::value::Outlet;
use ort::value::TensorRef;
use std::thread;
use tokio_util::sync::CancellationToken;

/// Tokens of a short phrase.
const SHORT_PHRASE: usize = 24;

/// What is said to try a network out, in phonemes: the quick brown fox.
const SENTENCE: &str = "ðə kwˈɪk bɹˈWn fˈɑks ʤˈʌmps ˈOvəɹ ðə lˈAzi dˈɔɡ. ";

/// How much slower than any phrase the first one is said on a GPU: voices differ in how long they take over the same words, and
/// memory that was given back leaves gaps.
const MARGIN: f32 = 1.5;

/// The network, one set of weights; owned by one thread.
pub(super) struct Network {
    session: Session,
    names: Names,
    provider: Provider,
}

/// What its inputs and its output are called: exports differ.
#[derive(Debug, PartialEq, Eq)]
struct Names {
    tokens: String,
    sound: String,
}

impl Network {
    /// Loads ONNX Runtime (once per process) and the network, and says a phrase with it in this voice, so that
    /// another model in the file's place is found out now, and the first phrase of a session does not pay for what a first
    /// run costs. On a GPU it is the longest phrase there can be: what that takes of its memory must be there before the
    /// slots are counted.
    ///
    /// # Errors
    ///
    /// [`TtsError::Runtime`], [`TtsError::ModelInvalid`] or [`TtsError::Device`].
    pub(super) fn load(settings: &KokoroSettings, voice: &VoicePack) -> Result<Self, TtsError> {
        let KokoroSettings { runtime, model, threads, provider, .. } = settings;
        let network = onnx::Network { name: "Kokoro", runtime, model, threads: *threads, lengths_vary: true };
        let try_out = |session: Session, provider| {
            let names = names(session.inputs(), session.outputs())?;
            let mut network = Self { session, names, provider };
            network.try_out(voice).map(|()| network)
        };
        onnx::open(network, *provider, try_out).map_err(|error| match error {
            OpenError::Runtime(error) => TtsError::Runtime(error.to_string()),
            OpenError::Model(reason) => TtsError::ModelInvalid { path: model.clone(), reason },
            OpenError::Cuda { .. } => TtsError::Device(error.to_string()),
        })
    }

    fn try_out(&mut self, voice: &VoicePack) -> Result<(), String> {
        let (n_tokens, speed) = match self.provider {
            Provider::Cpu => (SHORT_PHRASE, 1.0),
            Provider::Cuda { .. } => (MOST_TOKENS, 1.0 / MARGIN),
        };
        let sound = self.run(&babble(n_tokens), voice.row(n_tokens), speed, &CancellationToken::new());
        match sound.map_err(|error| error.to_string())?.as_slice() {
            [] => Err("it gives no sound".into()),
            _ => Ok(()),
        }
    }

    /// On what it really runs.
    pub(super) fn provider(&self) -> Provider {
        self.provider
    }

    /// The sound of these tokens, which begin and end with [`PAD`].
    ///
    /// # Errors
    ///
    /// [`TtsError::Failed`], also when the sound is not all numbers; [`TtsError::Cancelled`] soon after `cancel` was.
    pub(super) fn run(
        &mut self,
        tokens: &[i64],
        style: &[f32],
        speed: f32,
        cancel: &CancellationToken,
    ) -> Result<Vec<f32>, TtsError> {
        let options = RunOptions::new().map_err(|error| TtsError::Failed(error.to_string()))?;
        let over = CancellationToken::new();
        let sound = thread::scope(|scope| {
            let _over = over.clone().drop_guard();
            let watch = || stop_when(cancel, &over, &options);
            // A run that nobody watches comes to its end by itself.
            drop(thread::Builder::new().name("tts-stop".into()).spawn_scoped(scope, watch));
            self.infer(tokens, style, speed, &options)
        });
        if cancel.is_cancelled() { Err(TtsError::Cancelled) } else { sound }
    }

    fn infer(
        &mut self,
        tokens: &[i64],
        style: &[f32],
        speed: f32,
        options: &RunOptions,
    ) -> Result<Vec<f32>, TtsError> {
        let failed = |error: ort::Error| TtsError::Failed(format!("the network: {error}"));
        let speed = [speed];
        let (tokens, style, speed) = (
            TensorRef::from_array_view(([1, tokens.len()], tokens)).map_err(failed)?,
            TensorRef::from_array_view(([1, STYLE], style)).map_err(failed)?,
            TensorRef::from_array_view(([1], &speed[..])).map_err(failed)?,
        );
        let names = &self.names;
        let given = inputs! { names.tokens.as_str() => tokens, "style" => style, "speed" => speed };
        let outputs = self.session.run_with_options(given, options).map_err(failed)?;
        let sound = outputs.get(names.sound.as_str());
        let sound = sound.ok_or_else(|| TtsError::Failed("the network gave no sound".into()))?;
        let (_, samples) = sound.try_extract_tensor::<f32>().map_err(failed)?;
        if samples.iter().any(|sample| !sample.is_finite()) {
            return Err(TtsError::Failed("the network's sound is not finite".into()));
        }
        Ok(samples.to_vec())
    }
}

/// Waits until the run is over, and ends it when it is cancelled before: a sentence takes seconds on a slow machine, and
/// whoever interrupted it wants to hear something else.
fn stop_when(cancel: &CancellationToken, over: &CancellationToken, run: &RunOptions) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() else { return };
    runtime.block_on(async {
        tokio::select! {
            () = over.cancelled() => {}
            // It can only fail for want of memory; then the run comes to its end by itself.
            () = cancel.cancelled() => drop(run.terminate()),
        }
    });
}

/// So many tokens between two of [`PAD`], of a sentence that is said again and again.
fn babble(n_tokens: usize) -> Vec<i64> {
    let tokens: Vec<i64> = vocabulary::tokens(SENTENCE).into_iter().cycle().take(n_tokens).collect();
    [&[PAD], &tokens[..], &[PAD]].concat()
}

fn names(inputs: &[Outlet], outputs: &[Outlet]) -> Result<Names, String> {
    let known = |outlets: &[Outlet], wanted: &[&str]| {
        outlets.iter().map(Outlet::name).find(|name| wanted.contains(name)).map(ToOwned::to_owned)
    };
    let tokens = known(inputs, &["input_ids", "tokens"]);
    let sound = known(outputs, &["waveform", "audio"]);
    let complete =
        ["style", "speed"].iter().all(|name| known(inputs, &[name]).is_some()) && inputs.len() == 3;
    match (tokens, sound) {
        (Some(tokens), Some(sound)) if complete => Ok(Names { tokens, sound }),
        _ => {
            let all = |outlets: &[Outlet]| outlets.iter().map(Outlet::name).collect::<Vec<_>>().join(", ");
            Err(format!("it takes ({}) and gives ({}), which is not Kokoro's way", all(inputs), all(outputs)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_phrase_that_tries_a_network_out_has_as_many_tokens_as_are_asked_for_and_none_that_ends_it() {
        for n_tokens in [SHORT_PHRASE, MOST_TOKENS] {
            let tokens = babble(n_tokens);
            let (first, inside, last) = (tokens[0], &tokens[1..=n_tokens], tokens[n_tokens + 1..].to_vec());
            assert_eq!((first, last), (PAD, vec![PAD]));
            assert!(!inside.contains(&PAD));
        }
        assert_eq!(
            vocabulary::tokens(SENTENCE).len(),
            SENTENCE.chars().count(),
            "every sound of it is known"
        );
    }
}
