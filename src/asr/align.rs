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

/// A word that got this many times its share is not considered, which keeps the search short.
const MOST_SHARES: f32 = 4.0;

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
    let sharing = Sharing { boundaries, loudness, sound: running_sum(loudness) };
    let all_letters: usize = letters.iter().map(|letters| letters + 1).sum();
    let all_sound = sharing.sound.last().copied().filter(|sound| *sound > 0.0)?;
    // The least cost of the words so far, for each boundary that the last of them may end at.
    let mut costs: Vec<f32> = vec![f32::INFINITY; boundaries.len()];
    costs[0] = 0.0;
    let mut begins: Vec<Vec<usize>> = Vec::with_capacity(letters.len());
    for letters in letters {
        let share = all_sound * (letters + 1) as f32 / all_letters as f32;
        let next = (0..boundaries.len()).map(|end| sharing.cheapest_begin(&costs, end, share));
        let (begin, cost) = next.unzip();
        begins.push(begin);
        costs = cost;
    }
    costs.last().is_some_and(|cost| cost.is_finite()).then(|| trace_back(&begins, boundaries))
}

struct Sharing<'a> {
    boundaries: &'a [usize],
    loudness: &'a [f32],
    /// The sound before each step.
    sound: Vec<f32>,
}

impl Sharing<'_> {
    /// Which boundary a word that ends at boundary `end` and should get `share` of the sound best begins at, and what all
    /// words up to it then cost.
    fn cheapest_begin(&self, costs: &[f32], end: usize, share: f32) -> (usize, f32) {
        let end_step = self.boundaries[end];
        let parting = LOUD_BOUNDARY * self.loudness.get(end_step).copied().unwrap_or(0.0);
        let mut best = (0, f32::INFINITY);
        for begin in (0..end).rev() {
            let got = self.sound[end_step] - self.sound[self.boundaries[begin]];
            if got > MOST_SHARES * share {
                break;
            }
            let cost = costs[begin] + parting + (got / share - 1.0).powi(2);
            if cost < best.1 {
                best = (begin, cost);
            }
        }
        best
    }
}

fn running_sum(loudness: &[f32]) -> Vec<f32> {
    let sums = loudness.iter().scan(0.0, |sum, level| {
        *sum += level;
        Some(*sum)
    });
    std::iter::once(0.0).chain(sums).collect()
}

/// The chosen boundaries, from where each word best begins when it ends at a boundary.
fn trace_back(begins: &[Vec<usize>], boundaries: &[usize]) -> Vec<usize> {
    let mut at = boundaries.len() - 1;
    let mut chosen = vec![boundaries[at]];
    for begin in begins.iter().rev() {
        at = begin[at];
        chosen.push(boundaries[at]);
    }
    chosen.reverse();
    chosen
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
        let shown = spans.iter().map(|span| format!("[{} {}]", span.start / 800, span.end / 800));
        shown.collect::<Vec<_>>().concat()
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
