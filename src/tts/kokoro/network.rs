//! Kokoro's network through ONNX Runtime: tokens, a style and a speed in, sound at 24 kHz out.

use super::vocabulary::PAD;
use super::voice_pack::STYLE;
use crate::onnx::environment;
use crate::tts::{KokoroSettings, Provider, TtsError};
use ort::ep;
use ort::inputs;
use ort::logging::LogLevel;
use ort::session::Session;
use ort::value::Outlet;
use ort::value::TensorRef;
use tracing::warn;

/// The network, one set of weights; owned by one thread.
pub(super) struct Network {
    session: Session,
    names: Names,
}

/// What its inputs and its output are called: exports differ.
#[derive(Debug, PartialEq, Eq)]
struct Names {
    tokens: String,
    sound: String,
}

impl Network {
    /// Loads ONNX Runtime (once per process) and the network, and runs one token through it, so that another model in the
    /// file's place is found out now and not in a session.
    ///
    /// # Errors
    ///
    /// [`TtsError::Runtime`] or [`TtsError::ModelInvalid`].
    pub(super) fn load(settings: &KokoroSettings) -> Result<Self, TtsError> {
        let invalid = |reason: String| TtsError::ModelInvalid { path: settings.model.clone(), reason };
        let session = open(settings)?;
        let names = names(session.inputs(), session.outputs()).map_err(invalid)?;
        let mut network = Self { session, names };
        let sound =
            network.run(&[PAD, 16, PAD], &[0.0; STYLE], 1.0).map_err(|error| invalid(error.to_string()))?;
        if sound.is_empty() {
            return Err(invalid("it gives no sound".into()));
        }
        Ok(network)
    }

    /// The sound of these tokens, which begin and end with [`PAD`].
    ///
    /// # Errors
    ///
    /// [`TtsError::Failed`], also when the sound is not all numbers.
    pub(super) fn run(&mut self, tokens: &[i64], style: &[f32], speed: f32) -> Result<Vec<f32>, TtsError> {
        let failed = |error: ort::Error| TtsError::Failed(format!("the network: {error}"));
        let speed = [speed];
        let (tokens, style, speed) = (
            TensorRef::from_array_view(([1, tokens.len()], tokens)).map_err(failed)?,
            TensorRef::from_array_view(([1, STYLE], style)).map_err(failed)?,
            TensorRef::from_array_view(([1], &speed[..])).map_err(failed)?,
        );
        let names = &self.names;
        let given = inputs! { names.tokens.as_str() => tokens, "style" => style, "speed" => speed };
        let outputs = self.session.run(given).map_err(failed)?;
        let sound = outputs.get(names.sound.as_str());
        let sound = sound.ok_or_else(|| TtsError::Failed("the network gave no sound".into()))?;
        let (_, samples) = sound.try_extract_tensor::<f32>().map_err(failed)?;
        if samples.iter().any(|sample| !sample.is_finite()) {
            return Err(TtsError::Failed("the network's sound is not finite".into()));
        }
        Ok(samples.to_vec())
    }
}

/// On the wanted provider, or on the processor where that cannot be had.
fn open(settings: &KokoroSettings) -> Result<Session, TtsError> {
    let runtime = environment(&settings.runtime).map_err(|error| TtsError::Runtime(error.to_string()))?;
    let invalid = |error: ort::Error| TtsError::ModelInvalid {
        path: settings.model.clone(),
        reason: error.to_string(),
    };
    if let Provider::Cuda(device) = settings.provider {
        match commit(&runtime, settings, Some(device)) {
            Ok(session) => return Ok(session),
            Err(error) => {
                warn!(%error, device, "kokoro runs on the processor: its CUDA device cannot be used");
            }
        }
    }
    commit(&runtime, settings, None).map_err(invalid)
}

fn commit(
    runtime: &ort::environment::Environment,
    settings: &KokoroSettings,
    cuda: Option<u32>,
) -> ort::Result<Session> {
    let mut builder = Session::builder(runtime)?
        .with_intra_threads(settings.threads.max(1))?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?
        .with_log_level(LogLevel::Warning)?;
    if let Some(device) = cuda {
        let provider = ep::CUDA::default().with_device_id(device as i32).build().error_on_failure();
        builder = builder.with_execution_providers([provider])?;
    }
    builder.commit_from_file(&settings.model)
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
