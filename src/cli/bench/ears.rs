//! What the voice detector takes for a frame.

use super::figures::{SileroFigures, rounded};
use crate::cli::assembly::off_the_runtime;
use crate::cli::failure::Failure;
use crate::cli::provider::{MANY, run_time};
use crate::store::Store;
use crate::vad::{Silero, VadError};
use std::time::Duration;

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
        let step_us = rounded(micros(run_time(&mut silero, 1, RUNS)?), 1);
        let step_of_32_us = rounded(micros(run_time(&mut silero, MANY, RUNS)?) / MANY as f64, 1);
        Ok(SileroFigures { step_us, step_of_32_us })
    };
    off_the_runtime(measured).await
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
