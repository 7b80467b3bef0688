//! What the voice detector takes for a frame.

use super::figures::{SileroFigures, rounded};
use crate::cli::assembly::off_the_runtime;
use crate::cli::failure::Failure;
use crate::cli::provider::{MANY, run_time};
use crate::store::Store;
use crate::vad::{Provider, Silero, VadError, cuda_part};
use std::time::Duration;

/// Runs that are measured; the middle one counts.
const RUNS: usize = 400;

/// Loads the detector and lets it listen to noise, alone and with many streams in one run: on the processor, and on the GPU that
/// decodes, by CUDA's number, if ONNX Runtime has its part for it.
///
/// # Errors
///
/// When ONNX Runtime or the model is not there or does not load.
pub(super) async fn measure(store: &Store, gpu: Option<u32>) -> anyhow::Result<Vec<SileroFigures>> {
    let runtime = store.onnx_runtime().map_err(Failure::from)?;
    let model = store.silero().map_err(Failure::from)?;
    let there =
        gpu.filter(|_| cuda_part(&runtime).is_ok()).map(|device| Provider::Cuda { device, required: true });
    let measured = move || -> Result<Vec<SileroFigures>, VadError> {
        let on = |provider| figures(Silero::load_on(&runtime, &model, provider)?);
        [Some(Provider::Cpu), there].into_iter().flatten().map(on).collect()
    };
    off_the_runtime(measured).await
}

fn figures(mut silero: Silero) -> Result<SileroFigures, VadError> {
    let step_us = rounded(micros(run_time(&mut silero, 1, RUNS)?), 1);
    let step_of_32_us = rounded(micros(run_time(&mut silero, MANY, RUNS)?) / MANY as f64, 1);
    Ok(SileroFigures { device: silero.provider().to_string(), step_us, step_of_32_us })
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
