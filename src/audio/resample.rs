//! Band-limited resampling without seams: a windowed sinc (rubato) behind a face that knows neither chunks nor delay.
//!
//! What is not here: changing the ratio while running (clock drift), and more than one channel.

use super::SampleRate;
use rubato::audioadapter_buffers::direct::SequentialSlice;
use rubato::{
    Async, FixedAsync, Indexing, Resampler as _, SincInterpolationParameters, SincInterpolationType,
};
use rubato::{WindowFunction, calculate_cutoff};

/// Filter taps per channel, counted at the lower of the two rates: flat to 0.85 of the lower Nyquist frequency, and
/// 90 dB down from it on.
const TAPS: usize = 128;

/// Side lobes at −92 dB, with half the transition band of its square.
const WINDOW: WindowFunction = WindowFunction::BlackmanHarris;

/// Up to this many filter phases are laid out exactly; 11.025 kHz → 16 kHz is the usual rate that needs most (640).
const MAX_PHASES: u64 = 640;

/// Phases where an exact layout would be too large; the samples between them are interpolated.
const INTERPOLATED_PHASES: u64 = 256;

/// The filter grows with the ratio when rates go down; beyond 64:1 it stops growing and stops being sharp.
const MAX_STRETCH: f64 = 64.0;

/// Turns a stream at one rate into the same stream at another.
///
/// The output depends only on the samples and never on how they were cut into chunks; it has no delay at its
/// beginning and `finish` brings its end. In between it holds back half its filter and one 5 ms block: at most 9 ms
/// of audio, 13 ms when the source is at 8 kHz. Shorter blocks cost more, each for itself.
#[derive(Debug)]
pub struct Resampler {
    from: SampleRate,
    to: SampleRate,
    filter: Option<Filter>,
}

impl Resampler {
    /// A resampler from one rate to another; equal rates copy.
    pub fn new(from: SampleRate, to: SampleRate) -> Self {
        let filter = (from != to).then(|| Filter::new(from, to));
        Self { from, to, filter }
    }

    /// Takes the next samples and appends what is ready to `out`.
    pub fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) {
        match &mut self.filter {
            Some(filter) => filter.push(samples, out),
            None => out.extend_from_slice(samples),
        }
    }

    /// Gives back the memory of a chunk.
    pub fn rest(&mut self) {
        if let Some(filter) = &mut self.filter {
            filter.pending.shrink_to_fit();
        }
    }

    /// Appends what was still held back, and begins anew.
    ///
    /// Afterwards `out` has received `round(taken · to / from)` samples in all.
    pub fn finish(&mut self, out: &mut Vec<f32>) {
        if let Some(filter) = &mut self.filter {
            let taken = u128::from(filter.taken);
            let (from, to) = (u128::from(self.from.hertz()), u128::from(self.to.hertz()));
            filter.flush(((2 * taken * to + from) / (2 * from)) as u64, out);
        }
    }
}

/// A rubato resampler fed in blocks of one size, whatever the caller's chunks are.
#[derive(Debug)]
struct Filter {
    inner: Async<f32>,
    alignment: Alignment,
    /// Input that does not fill a block yet.
    pending: Vec<f32>,
    block: Vec<f32>,
    /// Output still to be dropped before the first real sample.
    skip: usize,
    /// Samples taken and given since the beginning of the stream.
    taken: u64,
    given: u64,
    /// What a block of silence gives; `None` where blocks do not all give the same number of samples.
    silence: Option<usize>,
    /// Zeros that were taken last, in a row, and how many fill the whole filter.
    zeros: usize,
    reach: usize,
}

impl Filter {
    fn new(from: SampleRate, to: SampleRate) -> Self {
        let ratio = f64::from(to.hertz()) / f64::from(from.hertz());
        let phases = Phases::between(from, to);
        let taps = ((TAPS as f64 * (1.0 / ratio).clamp(1.0, MAX_STRETCH)) as usize).next_multiple_of(16);
        let parameters = SincInterpolationParameters::new(taps, WINDOW)
            .f_cutoff(calculate_cutoff(TAPS, WINDOW))
            .oversampling_factor(phases.count as usize)
            .interpolation(phases.interpolation);
        let block = (from.hertz() / 200).max(8) as usize;
        let inner = Async::new_sinc(ratio, 1.0, &parameters, block, 1, FixedAsync::Input)
            .expect("the ratio is positive and finite, the block not empty");
        let alignment = phases.alignment(taps as u64 / 2);
        let silence = (block as u64 * phases.to).is_multiple_of(phases.from);
        let silence = silence.then_some((block as u64 * phases.to / phases.from) as usize);
        let block = vec![0.0; inner.output_frames_max()];
        let mut filter = Self {
            inner,
            alignment,
            pending: Vec::new(),
            block,
            skip: 0,
            taken: 0,
            given: 0,
            silence,
            zeros: 0,
            reach: 2 * taps,
        };
        filter.begin();
        filter
    }

    /// Puts everything back to the beginning of a stream.
    fn begin(&mut self) {
        self.inner.reset();
        self.pending.clear();
        self.pending.resize(self.alignment.leading_zeros, 0.0);
        self.skip = self.alignment.skip;
        (self.taken, self.given, self.zeros) = (0, 0, 0);
    }

    fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) {
        self.taken += samples.len() as u64;
        self.pending.extend_from_slice(samples);
        let mut used = 0;
        while self.pending.len() - used >= self.inner.input_frames_next() {
            let block = &self.pending[used..used + self.inner.input_frames_next()];
            let is_silent = block.iter().all(|sample| *sample == 0.0);
            let given = self.silence.filter(|_| is_silent && self.skip == 0 && self.zeros >= self.reach);
            let taken = match given {
                Some(given) => self.pass_over(block.len(), given, out),
                None => self.process(used, None, out),
            };
            self.zeros = if is_silent { self.zeros.saturating_add(taken) } else { 0 };
            used += taken;
        }
        self.pending.drain(..used);
    }

    /// Takes a block of silence after silence, which leaves the filter as it is: a microphone that is muted costs nothing.
    fn pass_over(&mut self, taken: usize, given: usize, out: &mut Vec<f32>) -> usize {
        out.extend(std::iter::repeat_n(0.0, given));
        self.given += given as u64;
        taken
    }

    /// Runs silence through the filter until the stream has given `total` samples.
    fn flush(&mut self, total: u64, out: &mut Vec<f32>) {
        while self.given < total {
            let rest = self.pending.len();
            self.process(0, Some(rest), out);
            self.pending.clear();
        }
        out.truncate(out.len() - (self.given - total) as usize);
        self.begin();
    }

    /// Resamples one block of `pending`, from `offset` on; returns how many samples of it were used.
    fn process(&mut self, offset: usize, partial_len: Option<usize>, out: &mut Vec<f32>) -> usize {
        let frames = self.block.len();
        let input = SequentialSlice::new(&self.pending, 1, self.pending.len()).expect("one channel");
        let mut output = SequentialSlice::new_mut(&mut self.block, 1, frames).expect("one channel");
        let indexing = Indexing { input_offset: offset, partial_len, ..Indexing::default() };
        let (used, made) = self
            .inner
            .process_into_buffer(&input, &mut output, Some(&indexing))
            .expect("both buffers are as large as the resampler asked for");
        let skipped = self.skip.min(made);
        self.skip -= skipped;
        self.given += (made - skipped) as u64;
        out.extend_from_slice(&self.block[skipped..made]);
        used
    }
}

/// How finely the filter is laid out between two input samples.
struct Phases {
    /// The two rates without their common divisor.
    from: u64,
    to: u64,
    count: u64,
    interpolation: SincInterpolationType,
}

impl Phases {
    /// One phase per output position if there are few: then nothing is interpolated.
    fn between(from: SampleRate, to: SampleRate) -> Self {
        let (from, to) = (u64::from(from.hertz()), u64::from(to.hertz()));
        let divisor = greatest_common_divisor(from, to);
        let (from, to) = (from / divisor, to / divisor);
        let (count, interpolation) = match to {
            ..=MAX_PHASES => (to, SincInterpolationType::Nearest),
            _ => (INTERPOLATED_PHASES, SincInterpolationType::Cubic),
        };
        Self { from, to, count, interpolation }
    }

    /// What makes output sample 0 fall on input sample 0.
    ///
    /// rubato's output `k` lies at input position `(k + 1) · from / to − half + 1 / count`, where `half` is half the
    /// filter. With the right number of zeros ahead of the stream, its first sample is exactly such a position (to half
    /// an output sample when phases are interpolated).
    fn alignment(&self, half: u64) -> Alignment {
        let falls_on_output = |zeros: &u64| ((zeros + half) * self.to - 1).is_multiple_of(self.from);
        let exact = (self.interpolation == SincInterpolationType::Nearest)
            .then(|| (0..self.from).find(falls_on_output).expect("the reduced rates have no common divisor"));
        let zeros = exact.unwrap_or(0);
        let position = (zeros + half) as f64 - 1.0 / self.count as f64;
        let skip = (position * self.to as f64 / self.from as f64).round() as usize;
        Alignment { leading_zeros: zeros as usize, skip: skip.saturating_sub(1) }
    }
}

/// Zeros to feed before a stream, and output samples to drop, so that it begins without delay.
#[derive(Debug)]
struct Alignment {
    leading_zeros: usize,
    skip: usize,
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
#[path = "resample_tests.rs"]
mod tests;
