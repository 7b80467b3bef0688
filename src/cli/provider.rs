//! On what the small networks run, the voice detector and Kokoro: what was asked for, and which GPU decodes. Pure, but for
//! the measurement that chooses for the detector.

use crate::audio::{FRAME_SAMPLES, Frame};
use crate::config::NetworkDevice;
use crate::vad::{Detector, Provider, Silero, VadError, VadState};
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{info, warn};

/// Runs that are measured to choose; the middle one counts.
const RUNS_TO_CHOOSE: usize = 40;

/// Streams in one run, where many speak.
pub(super) const MANY: usize = 32;

/// On what a network runs. `gpu` is CUDA's number of the GPU that decodes.
///
/// # Errors
///
/// Why there is none, when a GPU is asked for and none decodes.
pub(super) fn provider(wanted: NetworkDevice, gpu: Option<u32>) -> Result<Provider, String> {
    match (wanted, gpu) {
        (NetworkDevice::Cpu, _) | (NetworkDevice::Auto, None) => Ok(Provider::Cpu),
        (NetworkDevice::Auto, Some(device)) => Ok(Provider::Cuda { device, required: false }),
        (NetworkDevice::Cuda, Some(device)) => Ok(Provider::Cuda { device, required: true }),
        (NetworkDevice::Cuda, None) => Err("no GPU decodes here, so there is none to share".into()),
    }
}

/// Loads the detector. Where it may run on a GPU and nobody says where, both are measured and the faster one is kept: its
/// network is so small that a GPU may take longer to begin than the processor takes in all. The processor is kept where the
/// GPU fails.
///
/// # Errors
///
/// As [`Silero::load_on`].
pub(super) fn detector(
    runtime: &Path,
    model: &Path,
    wanted: NetworkDevice,
    provider: Provider,
) -> Result<Silero, VadError> {
    let mut there = Silero::load_on(runtime, model, provider)?;
    if wanted != NetworkDevice::Auto || there.provider() == Provider::Cpu {
        return Ok(there);
    }
    let mut here = Silero::load(runtime, model)?;
    let cpu = run_time(&mut here, MANY, RUNS_TO_CHOOSE)?;
    let gpu = match run_time(&mut there, MANY, RUNS_TO_CHOOSE) {
        Ok(gpu) => gpu,
        Err(error) => {
            warn!(%error, "the voice detector runs on the processor: it fails on the GPU");
            return Ok(here);
        }
    };
    let chosen = if gpu < cpu { there } else { here };
    info!(?cpu, ?gpu, streams = MANY, chosen = %chosen.provider(), "voice detector measured, per run");
    Ok(chosen)
}

/// How long a run over so many streams takes: the middle one of so many runs, after one that is not counted.
///
/// # Errors
///
/// When the detector fails.
pub(super) fn run_time(
    detector: &mut impl Detector,
    streams: usize,
    runs: usize,
) -> Result<Duration, VadError> {
    let frame: Frame = std::array::from_fn(|at| ((at * 37 % FRAME_SAMPLES) as f32 / 512.0 - 0.5) * 0.1);
    let mut states = vec![VadState::default(); streams];
    let mut heard = vec![0.0; streams];
    let mut times = Vec::with_capacity(runs);
    for _ in 0..=runs {
        let mut steps: Vec<_> = states.iter_mut().map(|state| (state, &frame)).collect();
        let begun = Instant::now();
        detector.probabilities(&mut steps, &mut heard)?;
        times.push(begun.elapsed());
    }
    times.remove(0);
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_runs_where_it_is_asked_to_or_where_decoding_does() {
        use NetworkDevice::{Auto, Cpu, Cuda};
        let on = provider;
        let cuda = |required| Ok(Provider::Cuda { device: 3, required });
        assert_eq!([on(Cpu, Some(3)), on(Cpu, None), on(Auto, None)], [(); 3].map(|()| Ok(Provider::Cpu)));
        assert_eq!((on(Auto, Some(3)), on(Cuda, Some(3))), (cuda(false), cuda(true)));
        assert!(on(Cuda, None).unwrap_err().contains("no GPU decodes here"));
    }
}
