//! What the voice detector takes for a frame.

use super::figures::{SileroFigures, rounded};
use crate::audio::{FRAME_SAMPLES, Frame};
use crate::cli::assembly::off_the_runtime;
use crate::cli::failure::Failure;
use crate::store::Store;
use crate::vad::{Detector, Silero, VadError, VadState};
use std::time::Duration;
use tokio::time::Instant;

/// Runs that are measured; the middle one counts.
const RUNS: usize = 400;

/// Loads the detector and lets it listen to noise, alone and with many streams in one run.
///
/// # Errors
///
/// When ONNX Runtime or the model is not there or does not load.
pub(super) async fn measure(store: &Store) -> anyhow::Result<SileroFigures> {
    let runtime = store.onnx_runtime().map_err(Failure::from)?;
    let model = store.silero().map_err(Failure::from)?;
    let measured = move || -> Result<SileroFigures, VadError> {
        let mut silero = Silero::load(&runtime, &model)?;
        let step_us = rounded(micros(run(&mut silero, 1)?), 1);
        let step_of_32_us = rounded(micros(run(&mut silero, 32)?) / 32.0, 1);
        Ok(SileroFigures { step_us, step_of_32_us })
    };
    off_the_runtime(measured).await
}

/// How long one run over so many streams takes.
fn run(silero: &mut Silero, streams: usize) -> Result<Duration, VadError> {
    let frame: Frame = std::array::from_fn(|at| ((at * 37 % FRAME_SAMPLES) as f32 / 512.0 - 0.5) * 0.1);
    let mut states = vec![VadState::default(); streams];
    let mut heard = vec![0.0; streams];
    let mut times = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let mut steps: Vec<_> = states.iter_mut().map(|state| (state, &frame)).collect();
        let begun = Instant::now();
        silero.probabilities(&mut steps, &mut heard)?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    Ok(times[RUNS / 2])
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
