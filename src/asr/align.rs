//! Where in a segment each of its words lies, from the loudness of the sound. Pure.
//!
//! Whisper's own word times are guesses where a model was not trained for them, and the alignment by attention in
//! whisper.cpp ends the process on short windows. So the segment's sound is shared out: every word gets about as much of
//! it as it has letters, and words part where it is quiet. The best sharing is found by dynamic programming.

use crate::audio::Span;

/// Samples in one step of loudness: 10 ms.
const STEP: usize = 160;

/// How much a boundary in full sound costs, against a word that gets twice its share.
const LOUD_BOUNDARY: f32 = 2.0;

/// Below this loudness (0 to 1) a step is no part of a word's sound.
const QUIET: f32 = 0.12;

/// The spans of words with these lengths (in letters), in order, without overlap, inside `segment`.
///
/// `samples` is the sound of `segment`, 16 kHz mono.
pub(super) fn align(letters: &[usize], samples: &[f32], segment: Span) -> Vec<Span> {
    let loudness = loudness(samples);
    let boundaries = candidates(&loudness, letters.len());
    let Some(chosen) = share_out(letters, &loudness, &boundaries) else {
        return evenly(letters.len(), segment);
    };
    let word = |bounds: &[usize]| {
        let (from, to) = sounding(&loudness, bounds[0], bounds[1]);
        let at = |step: usize| (segment.start + (step * STEP) as u64).min(segment.end);
        Span::new(at(from), at(to))
    };
    chosen.windows(2).map(word).collect()
}

/// How loud each step is, from 0 (the quietest tenth) to 1 (the loudest), in decibels between them.
fn loudness(samples: &[f32]) -> Vec<f32> {
    let decibels = |step: &[f32]| {
        let power = step.iter().map(|sample| sample * sample).sum::<f32>() / step.len() as f32;
        10.0 * power.max(1e-9).log10()
    };
    let levels: Vec<f32> = samples.chunks(STEP).map(decibels).collect();
    let mut sorted = levels.clone();
    sorted.sort_by(f32::total_cmp);
    let at = |share: f32| sorted.get((sorted.len() as f32 * share) as usize).copied().unwrap_or(-90.0);
    // A range of at least 20 dB, so that even sound is sound and even silence is silence.
    let (loud, quiet) = (at(0.95), at(0.1).min(at(0.95) - 20.0).max(at(0.95) - 45.0));
    levels.iter().map(|level| ((level - quiet) / (loud - quiet)).clamp(0.0, 1.0)).collect()
}

/// Steps at which a word may begin or end: the dips in loudness and, where there are few, every so many steps.
fn candidates(loudness: &[f32], words: usize) -> Vec<usize> {
    let every = (loudness.len() / (8 * words.max(1))).clamp(1, 5);
    let dip = |step: usize| loudness[step] <= loudness[step - 1] && loudness[step] <= loudness[step + 1];
    let inside = 1..loudness.len().saturating_sub(1);
    let within = inside.filter(|&step| dip(step) || step % every == 0);
    std::iter::once(0).chain(within).chain(std::iter::once(loudness.len())).collect()
}

/// The boundaries of all words, one more than there are words; `None` when there is no room for them.
fn share_out(letters: &[usize], loudness: &[f32], boundaries: &[usize]) -> Option<Vec<usize>> {
    let mut mass = vec![0.0_f32];
    mass.extend(loudness.iter().scan(0.0, |sum, level| {
        *sum += level;
        Some(*sum)
    }));
    let total: usize = letters.iter().map(|letters| letters + 1).sum();
    let sound = mass.last().copied().filter(|sound| *sound > 0.0)?;
    let parting = |step: usize| LOUD_BOUNDARY * loudness.get(step).copied().unwrap_or(0.0);
    // best[b]: the least cost of the words so far, the last of them ending at boundary b; and where it began.
    let mut best: Vec<f32> = vec![f32::INFINITY; boundaries.len()];
    best[0] = 0.0;
    let mut begins: Vec<Vec<usize>> = Vec::with_capacity(letters.len());
    for letters in letters {
        let share = sound * (letters + 1) as f32 / total as f32;
        let mut next = vec![f32::INFINITY; boundaries.len()];
        let mut from = vec![0; boundaries.len()];
        for (end, &end_step) in boundaries.iter().enumerate() {
            for (begin, &begin_step) in boundaries[..end].iter().enumerate().rev() {
                let got = mass[end_step] - mass[begin_step];
                if got > 4.0 * share {
                    break;
                }
                let cost = best[begin] + parting(end_step) + (got / share - 1.0).powi(2);
                if cost < next[end] {
                    (next[end], from[end]) = (cost, begin);
                }
            }
        }
        best = next;
        begins.push(from);
    }
    let mut at = boundaries.len() - 1;
    if !best[at].is_finite() {
        return None;
    }
    let mut chosen = vec![boundaries[at]];
    for from in begins.iter().rev() {
        at = from[at];
        chosen.push(boundaries[at]);
    }
    chosen.reverse();
    Some(chosen)
}

/// The part of `from..to` that sounds; all of it when nothing does.
fn sounding(loudness: &[f32], from: usize, to: usize) -> (usize, usize) {
    let sounds = |step: &usize| loudness[*step] > QUIET;
    match ((from..to).find(sounds), (from..to).rfind(sounds)) {
        (Some(first), Some(last)) => (first, last + 1),
        _ => (from, to),
    }
}

fn evenly(words: usize, segment: Span) -> Vec<Span> {
    let at = |word: usize| segment.start + segment.len() * word as u64 / words.max(1) as u64;
    (0..words).map(|word| Span::new(at(word), at(word + 1))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `.` is 50 ms of near silence, `#` is 50 ms of sound.
    fn sound(pattern: &str) -> Vec<f32> {
        let level = |char| if char == '#' { 0.3 } else { 0.0005 };
        let step = |char| (0..800).map(move |n| if n % 2 == 0 { level(char) } else { -level(char) });
        pattern.chars().flat_map(step).collect()
    }

    /// Words as `[begin end]` in steps of 50 ms.
    fn aligned(letters: &[usize], pattern: &str) -> String {
        let samples = sound(pattern);
        let spans = align(letters, &samples, Span::new(0, samples.len() as u64));
        spans.iter().map(|span| format!("[{} {}]", span.start / 800, span.end / 800)).collect()
    }

    #[test]
    fn words_with_pauses_between_them_lie_where_the_sound_is() {
        assert_eq!(aligned(&[3, 3, 3], "..####...####..####."), "[2 6][9 13][15 19]");
    }

    #[test]
    fn longer_words_get_more_of_an_unbroken_sound() {
        assert_eq!(aligned(&[1, 5], "########"), "[0 2][2 8]");
    }

    #[test]
    fn a_dip_near_the_expected_place_parts_two_words() {
        assert_eq!(aligned(&[4, 4], "######.####"), "[0 6][7 11]");
    }

    #[test]
    fn more_words_than_there_is_room_for_share_it_evenly() {
        let spans = align(&[1; 50], &[0.0; 320], Span::new(0, 320));
        assert_eq!((spans.len(), spans[49].end), (50, 320));
    }

    proptest! {
        // Fails when a boundary is chosen twice, when trimming crosses one, or when the last step sticks out.
        #[test]
        fn every_word_has_a_span_in_order_inside_the_segment(
            letters in prop::collection::vec(1_usize..12, 1..12),
            samples in prop::collection::vec(-1.0_f32..1.0, 0..20_000),
        ) {
            let segment = Span::new(1_000, 1_000 + samples.len() as u64);
            let spans = align(&letters, &samples, segment);
            prop_assert_eq!(spans.len(), letters.len());
            prop_assert!(spans.windows(2).all(|pair| pair[0].end <= pair[1].start));
            prop_assert!(spans.iter().all(|span| segment.start <= span.start && span.end <= segment.end));
        }
    }
}
