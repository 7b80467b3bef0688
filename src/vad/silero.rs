//! Silero VAD through ONNX Runtime.
//!
//! One set of weights per thread, one [`VadState`] per stream; the frames of many streams go through in one run, which
//! costs about a fifth per frame of single runs.

use super::{Detector, VadError};
use crate::audio::{FRAME_SAMPLES, Frame, SampleRate};
use crate::onnx::{Network, OpenError, Provider, open};
use ort::inputs;
use ort::session::{Session, SessionOutputs};
use ort::value::TensorRef;
use std::path::Path;

/// Samples of the previous frame that the model wants to see again before each frame.
const CONTEXT: usize = 64;
/// What one stream puts into one run: context and frame.
const WINDOW: usize = CONTEXT + FRAME_SAMPLES;
/// Width of one of the two layers of recurrent state.
const WIDTH: usize = 128;
/// Layers of recurrent state.
const LAYERS: usize = 2;

/// What the model remembers of one stream: 64 samples of context and its recurrent state, about 1.3 KB.
#[derive(Debug, Clone)]
pub struct VadState {
    context: [f32; CONTEXT],
    layers: [[f32; WIDTH]; LAYERS],
}

impl Default for VadState {
    fn default() -> Self {
        Self { context: [0.0; CONTEXT], layers: [[0.0; WIDTH]; LAYERS] }
    }
}

/// The model, one set of weights; owned by one thread.
pub struct Silero {
    session: Session,
    provider: Provider,
    /// `[streams, WINDOW]`, kept between runs for its memory.
    windows: Vec<f32>,
    /// `[LAYERS, streams, WIDTH]`, likewise.
    layers: Vec<f32>,
}

impl Silero {
    /// Loads ONNX Runtime (once per process) and the model, to run on the processor.
    ///
    /// # Errors
    ///
    /// [`VadError::Runtime`] or [`VadError::Model`].
    pub fn load(runtime: &Path, model: &Path) -> Result<Self, VadError> {
        Self::load_on(runtime, model, Provider::Cpu)
    }

    /// The same, to run on `provider`. One thread: the one that owns the model is the only one that works for it.
    ///
    /// # Errors
    ///
    /// As for [`load`](Self::load), and [`VadError::Device`].
    pub fn load_on(runtime: &Path, model: &Path, provider: Provider) -> Result<Self, VadError> {
        let failed = |reason: String| VadError::Model { path: model.to_owned(), reason };
        let network = Network { name: "Silero", runtime, model, threads: 1, lengths_vary: false };
        let try_out = |session, provider| {
            let mut silero = Self { session, provider, windows: Vec::new(), layers: Vec::new() };
            silero.try_out().map_err(|error| error.to_string())?;
            Ok(silero)
        };
        open(network, provider, try_out).map_err(|error| match error {
            OpenError::Runtime(error) => error.into(),
            OpenError::Model(reason) => failed(reason),
            OpenError::Cuda { .. } => VadError::Device(error.to_string()),
        })
    }

    /// On what it really runs.
    pub fn provider(&self) -> Provider {
        self.provider
    }

    /// Runs one silent frame, so that another model in the file's place is found out now and not in a session.
    fn try_out(&mut self) -> Result<(), VadError> {
        let mut state = VadState::default();
        self.probabilities(&mut [(&mut state, &[0.0; FRAME_SAMPLES])], &mut [0.0])
    }

    /// Lays out the inputs of all streams side by side.
    fn gather(&mut self, steps: &[(&mut VadState, &Frame)]) {
        self.windows.clear();
        self.layers.clear();
        for (state, frame) in steps {
            self.windows.extend_from_slice(&state.context);
            self.windows.extend(frame.iter().copied().map(tame));
        }
        for layer in 0..LAYERS {
            self.layers.extend(steps.iter().flat_map(|(state, _)| state.layers[layer]));
        }
    }

    /// One run over what was gathered for `streams` streams.
    fn run(&mut self, streams: usize) -> ort::Result<SessionOutputs<'_>> {
        let rate = [i64::from(SampleRate::SPEECH.hertz())];
        self.session.run(inputs! {
            "input" => TensorRef::from_array_view(([streams, WINDOW], &*self.windows))?,
            "state" => TensorRef::from_array_view(([LAYERS, streams, WIDTH], &*self.layers))?,
            "sr" => TensorRef::from_array_view(((), &rate[..]))?,
        })
    }
}

impl Detector for Silero {
    fn probabilities(
        &mut self,
        steps: &mut [(&mut VadState, &Frame)],
        out: &mut [f32],
    ) -> Result<(), VadError> {
        assert_eq!(steps.len(), out.len(), "one probability for each step");
        if steps.is_empty() {
            return Ok(());
        }
        self.gather(steps);
        let outputs = self.run(steps.len()).map_err(|error| VadError::Run(error.to_string()))?;
        let heard = floats(&outputs, "output", steps.len())?;
        let layers = floats(&outputs, "stateN", LAYERS * steps.len() * WIDTH)?;
        out.copy_from_slice(heard);
        remember(steps, layers);
        Ok(())
    }
}

/// The output called `name`, which must hold `len` finite numbers.
fn floats<'o>(outputs: &'o SessionOutputs<'_>, name: &str, len: usize) -> Result<&'o [f32], VadError> {
    let value = outputs.get(name).ok_or_else(|| VadError::Run(format!("the model gave no `{name}`")))?;
    let (_, values) = value.try_extract_tensor::<f32>().map_err(|error| VadError::Run(error.to_string()))?;
    if values.len() != len {
        return Err(VadError::Run(format!("`{name}` has {} values, expected {len}", values.len())));
    }
    if values.iter().any(|value| !value.is_finite()) {
        return Err(VadError::Run(format!("`{name}` is not finite")));
    }
    Ok(values)
}

/// Carries the context and the new recurrent state of each stream over to its next frame.
fn remember(steps: &mut [(&mut VadState, &Frame)], layers: &[f32]) {
    let streams = steps.len();
    for (stream, (state, frame)) in steps.iter_mut().enumerate() {
        state.context.copy_from_slice(&frame[FRAME_SAMPLES - CONTEXT..]);
        state.context.iter_mut().for_each(|sample| *sample = tame(*sample));
        for (layer, values) in state.layers.iter_mut().enumerate() {
            let start = (layer * streams + stream) * WIDTH;
            values.copy_from_slice(&layers[start..start + WIDTH]);
        }
    }
}

/// A sample that cannot do harm: one NaN or overflow (floating-point files have them) would stay in the recurrent state
/// for the rest of the stream.
fn tame(sample: f32) -> f32 {
    if sample.is_nan() { 0.0 } else { sample.clamp(-1.0, 1.0) }
}

#[cfg(test)]
mod tests;
