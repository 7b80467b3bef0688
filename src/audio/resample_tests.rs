//! What the resampler promises: no seams, no delay, no aliases, the right length.

use super::*;
use proptest::prelude::*;
use std::f64::consts::TAU;

fn rate(hertz: u32) -> SampleRate {
    SampleRate::new(hertz).unwrap()
}

fn sine(hertz: f64, rate: u32, samples: usize) -> Vec<f32> {
    (0..samples).map(|n| (TAU * hertz * n as f64 / f64::from(rate)).sin() as f32).collect()
}

fn resample(from: u32, to: u32, samples: &[f32]) -> Vec<f32> {
    let mut resampler = Resampler::new(rate(from), rate(to));
    let mut out = Vec::new();
    resampler.push(samples, &mut out);
    resampler.finish(&mut out);
    out
}

/// Decibels of the middle half, where no edge of the stream is near; 0 dB is a full-scale sine.
fn level(samples: &[f32]) -> f64 {
    let middle = &samples[samples.len() / 4..samples.len() * 3 / 4];
    let power = middle.iter().map(|&s| f64::from(s) * f64::from(s)).sum::<f64>() / middle.len() as f64;
    10.0 * (2.0 * power + 1e-30).log10()
}

/// Every rate of the field, two with interpolated phases, and one that is absurd.
const RATES: [u32; 16] = [
    8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 47_999, 48_000, 50_123, 88_200, 96_000,
    176_400, 192_000, 384_000,
];

#[test]
fn speech_frequencies_keep_their_level() {
    for from in RATES {
        for hertz in [100.0, 1_000.0, 3_000.0, 6_800.0] {
            if hertz < 0.85 * f64::from(from) / 2.0 {
                let level = level(&resample(from, 16_000, &sine(hertz, from, from as usize / 4)));
                assert!(level.abs() < 0.1, "{hertz} Hz at {from} Hz came out at {level:.2} dB");
            }
        }
    }
}

#[test]
fn what_16_khz_cannot_hold_is_gone() {
    for from in RATES.into_iter().filter(|&from| from >= 22_050) {
        for hertz in [8_100.0, 9_000.0, 10_500.0, f64::from(from) / 2.0 - 300.0] {
            let level = level(&resample(from, 16_000, &sine(hertz, from, from as usize / 4)));
            assert!(level < -80.0, "{hertz} Hz at {from} Hz left {level:.1} dB");
        }
    }
}

#[test]
fn upsampling_invents_no_images() {
    let original = sine(1_000.0, 16_000, 8_000);
    for from in [8_000, 11_025, 12_000, 15_999] {
        let out = resample(from, 16_000, &sine(1_000.0, from, from as usize / 2));
        let error: Vec<f32> = out.iter().zip(&original).map(|(a, b)| a - b).collect();
        assert!(level(&error) < -60.0, "{from} Hz: {:.1} dB", level(&error));
    }
}

/// A sine that comes out where the same sine sampled at 16 kHz would be has neither delay nor a shift of phase.
#[test]
fn nothing_is_delayed() {
    let original = sine(440.0, 16_000, 8_000);
    for from in RATES.into_iter().filter(|&from| ![47_999, 50_123].contains(&from)) {
        let out = resample(from, 16_000, &sine(440.0, from, from as usize / 2));
        let error: Vec<f32> = out.iter().zip(&original).map(|(a, b)| a - b).collect();
        assert!(level(&error) < -70.0, "{from} Hz: {:.1} dB", level(&error));
    }
}

#[test]
fn a_click_at_the_beginning_stays_at_the_beginning() {
    for from in RATES {
        let mut samples = vec![0.0; from as usize / 10];
        samples[0] = 1.0;
        let out = resample(from, 16_000, &samples);
        let peak = (0..out.len()).max_by(|&a, &b| out[a].abs().total_cmp(&out[b].abs()));
        assert_eq!(peak, Some(0), "{from} Hz");
    }
}

#[test]
fn equal_rates_copy() {
    let samples = sine(7_990.0, 16_000, 100);
    assert_eq!(resample(16_000, 16_000, &samples), samples);
}

#[test]
fn nothing_in_is_nothing_out() {
    assert!(resample(44_100, 16_000, &[]).is_empty());
    assert_eq!(resample(8_000, 16_000, &[0.5]).len(), 2);
}

#[test]
fn a_finished_resampler_begins_anew() {
    let samples = sine(440.0, 44_100, 5_000);
    let mut resampler = Resampler::new(rate(44_100), rate(16_000));
    let mut rounds = [Vec::new(), Vec::new()];
    for out in &mut rounds {
        resampler.push(&samples, out);
        resampler.finish(out);
    }
    assert_eq!(rounds[0], rounds[1]);
}

#[test]
fn live_audio_is_held_back_for_at_most_13_ms() {
    for from in RATES {
        let mut resampler = Resampler::new(rate(from), rate(16_000));
        let mut out = Vec::new();
        for block in 1..=200 {
            resampler.push(&vec![0.0; from as usize / 1000], &mut out);
            let held_ms = f64::from(block) - out.len() as f64 / 16.0;
            assert!(held_ms <= 13.1, "{from} Hz holds {held_ms} ms back");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Fails if a block is passed over whose neighbours still sound in it, or if it gives too many samples or too few. What
    /// is too faint to hear is no silence, and is never passed over.
    #[test]
    fn silence_that_is_passed_over_gives_what_it_would_have_given(
        from in proptest::sample::select(RATES.to_vec()),
        sounds in proptest::collection::vec((0_usize..600, 0_usize..4_000), 1..5),
    ) {
        let stretch = |(sound, silence): &(usize, usize)| {
            sine(440.0, from, *sound).into_iter().chain(std::iter::repeat_n(0.0, *silence)).collect::<Vec<_>>()
        };
        let samples: Vec<f32> = sounds.iter().flat_map(stretch).collect();
        let faint: Vec<f32> = samples.iter().map(|sample| sample + 1e-9).collect();
        let (passed, judged) = (resample(from, 16_000, &samples), resample(from, 16_000, &faint));
        prop_assert_eq!(passed.len(), judged.len());
        prop_assert!(passed.iter().zip(&judged).all(|(left, right)| (left - right).abs() < 1e-6));
    }

    /// Fails as soon as a chunk's edge is visible in the output, or the length depends on it.
    #[test]
    fn the_output_does_not_know_the_chunks(
        from in prop_oneof![proptest::sample::select(RATES.to_vec()), 8_000_u32..192_000],
        samples in proptest::collection::vec(-1.0_f32..1.0, 0..3_000),
        cuts in proptest::collection::vec(0_usize..700, 1..30),
    ) {
        let mut resampler = Resampler::new(rate(from), rate(16_000));
        let mut pieces = Vec::new();
        let mut rest = samples.as_slice();
        for size in cuts {
            let (chunk, after) = rest.split_at(size.min(rest.len()));
            resampler.push(chunk, &mut pieces);
            rest = after;
        }
        resampler.push(rest, &mut pieces);
        resampler.finish(&mut pieces);
        let whole = resample(from, 16_000, &samples);
        prop_assert_eq!(&pieces, &whole);
        let expected = samples.len() as f64 * 16_000.0 / f64::from(from);
        prop_assert!((whole.len() as f64 - expected).abs() <= 1.0);
    }
}
