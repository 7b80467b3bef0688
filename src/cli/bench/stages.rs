//! Encoder and decoder apart, and how soon a decoder stops: on one slot that does nothing else.
//!
//! whisper.cpp keeps times of its own, but for a context and not for the states of slots. So the same sound is decoded
//! twice, with few tokens and with more: what both have in common is the encoder's, the rest is the tokens'.

use super::figures::{AbortFigures, StageFigures, millis, rounded};
use super::sound::{Sound, WINDOW};
use super::stand::Stand;
use crate::asr::{AsrError, DecodeOptions, EncoderWindow, noise};
use crate::audio::Utterance;
use crate::load::Quantiles;
use anyhow::anyhow;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// The bounds of the two decodes. 2 is the least that whisper.cpp knows.
const FEW: u16 = 2;
const MORE: u16 = 34;

/// Each decode is done so often, and the fastest counts.
const TIMES: usize = 5;

/// And no more often when that has taken so long.
const LONG_ENOUGH: Duration = Duration::from_secs(8);

/// How often a decode is broken off.
const TRIES: u32 = 20;

/// Measures with a typical utterance, and with one that fills the window, on a stand whose encoder looks at the utterance alone.
pub(super) async fn measure(
    stand: &Stand,
    sound: &Sound,
    options: &DecodeOptions,
) -> anyhow::Result<Vec<StageFigures>> {
    let (fit, full) = (sound.typical(), &sound.typical_in_a_whole_window());
    let mut stages = Vec::new();
    for (window, utterance) in [(EncoderWindow::Fit, fit), (EncoderWindow::Full, full)] {
        stages.push(stage(stand, window, utterance, options).await?);
    }
    Ok(stages)
}

async fn stage(
    stand: &Stand,
    window: EncoderWindow,
    utterance: &Arc<Utterance>,
    options: &DecodeOptions,
) -> anyhow::Result<StageFigures> {
    let most = options.max_tokens.unwrap_or(MORE).max(FEW);
    let [few, many] = best_of_both(stand, utterance, options, [FEW, most]).await?;
    let (encoder, token) = apart(few, many);
    Ok(StageFigures {
        window: window.as_str().into(),
        audio_s: rounded(utterance.span.duration().as_secs_f64(), 1),
        encoder_ms: millis(encoder),
        token_ms: token.map(|token| rounded(token.as_secs_f64() * 1e3, 2)),
        tokens: many.1,
    })
}

/// What the first token waits for, and what each further one takes, from two decodes of the same sound.
fn apart(
    (few, few_tokens): (Duration, usize),
    (many, many_tokens): (Duration, usize),
) -> (Duration, Option<Duration>) {
    let further = u32::try_from(many_tokens.saturating_sub(few_tokens)).unwrap_or(u32::MAX);
    // A step or two would be lost among all that differs from decode to decode.
    if further < 4 {
        return (few, None);
    }
    let token = many.saturating_sub(few) / further;
    if token.is_zero() {
        return (few, None);
    }
    // The encoder's part has the first token in it, whose step is the prompt's.
    let beyond_the_first = u32::try_from(few_tokens.saturating_sub(1)).unwrap_or(u32::MAX);
    (few.saturating_sub(token * beyond_the_first), Some(token))
}

/// The fastest of some decodes with each of two bounds, and how many tokens it had. Whatever else runs on the machine only
/// ever slows one down, and they take turns, so that it slows both.
async fn best_of_both(
    stand: &Stand,
    utterance: &Arc<Utterance>,
    options: &DecodeOptions,
    bounds: [u16; 2],
) -> anyhow::Result<[(Duration, usize); 2]> {
    let mut best = [(Duration::MAX, 0); 2];
    let mut begun = Instant::now();
    for time in 0..=TIMES {
        for (best, most) in best.iter_mut().zip(bounds) {
            let options = DecodeOptions { max_tokens: Some(most), ..options.clone() };
            let decoded = stand.decode(utterance, &options, &CancellationToken::new()).await?;
            let tokens = decoded.result?.segments.iter().map(|segment| segment.tokens.len()).sum();
            *best = (best.0.min(decoded.decode), tokens);
        }
        if time == 0 {
            // The first decode of a kind is slower than the others: what it needs is loaded then.
            (best, begun) = ([(Duration::MAX, 0); 2], Instant::now());
        } else if begun.elapsed() >= LONG_ENOUGH {
            break;
        }
    }
    Ok(best)
}

/// Breaks decodes of 30 s off, at moments all over them. `None` when all of them were done before they were told to stop.
///
/// # Errors
///
/// When a decode failed in another way than to be told to.
pub(super) async fn abort(
    stand: &Stand,
    options: &DecodeOptions,
    so_long: Duration,
) -> anyhow::Result<Option<AbortFigures>> {
    let utterance = Arc::new(noise(WINDOW));
    let whole = stand.decode(&utterance, options, &CancellationToken::new()).await?;
    whole.result?;
    let (begun, mut latencies, mut heard) = (Instant::now(), Vec::new(), 0);
    for attempt in 0..TRIES {
        let delay = whole.decode.mul_f64(moment(attempt));
        if let Some((latency, stopped)) = broken_off(stand, &utterance, options, delay).await? {
            latencies.push(millis(latency));
            heard += usize::from(stopped);
        }
        if begun.elapsed() >= so_long {
            break;
        }
    }
    let tries = latencies.len();
    Ok(Quantiles::of(&mut latencies).map(|latency_ms| AbortFigures { tries, heard, latency_ms }))
}

/// Where in a decode it is broken off, from 0 to 1. The golden section spreads any number of moments evenly.
fn moment(attempt: u32) -> f64 {
    (f64::from(attempt) + 0.5) * 0.618_034 % 1.0
}

/// How long a decoder that was told to stop after this delay took until it answered, and whether it stopped before its end;
/// `None` when it was done by then.
async fn broken_off(
    stand: &Stand,
    utterance: &Arc<Utterance>,
    options: &DecodeOptions,
    delay: Duration,
) -> anyhow::Result<Option<(Duration, bool)>> {
    let cancel = CancellationToken::new();
    let told = async {
        sleep(delay).await;
        cancel.cancel();
        Instant::now()
    };
    let decode = async {
        let outcome = stand.decode(utterance, options, &cancel).await;
        (outcome, Instant::now())
    };
    let ((outcome, answered), told) = tokio::join!(decode, told);
    let latency = answered.saturating_duration_since(told);
    match outcome?.result {
        Err(AsrError::Cancelled) => Ok(Some((latency, true))),
        // Too late to be stopped, or deaf: how long it went on is told all the same.
        Ok(_) if told < answered => Ok(Some((latency, false))),
        Ok(_) => Ok(None),
        Err(error) => Err(anyhow!("a decode that was told to stop failed: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_moments_and_many_lie_all_over_a_decode() {
        for tries in [3, 8, TRIES] {
            let mut moments: Vec<f64> = (0..tries).map(moment).collect();
            moments.sort_unstable_by(f64::total_cmp);
            let even = 1.0 / f64::from(tries);
            let gaps = moments.windows(2).map(|pair| pair[1] - pair[0]);
            assert!(gaps.fold(moments[0], f64::max) < 2.0 * even, "{moments:?}");
        }
    }

    #[test]
    fn what_two_decodes_have_in_common_is_the_encoders() {
        let ms = Duration::from_millis;
        assert_eq!(apart((ms(105), 2), (ms(265), 34)), (ms(100), Some(ms(5))));
        assert_eq!(apart((ms(105), 1), (ms(265), 33)), (ms(105), Some(ms(5))));
        // Nothing was said, or hardly anything.
        assert_eq!(apart((ms(105), 0), (ms(107), 0)), (ms(105), None));
        assert_eq!(apart((ms(105), 2), (ms(125), 5)), (ms(105), None));
        // What was disturbed so much says nothing.
        assert_eq!(apart((ms(300), 2), (ms(265), 34)), (ms(300), None));
    }
}
