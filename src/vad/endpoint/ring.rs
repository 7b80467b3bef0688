//! The end of a stream that an endpointer still holds: samples, and how likely each frame of them is speech. Pure.

use crate::audio::{FRAME_SAMPLES, Frame, Span, Utterance};
use std::collections::VecDeque;

const FRAME: u64 = FRAME_SAMPLES as u64;

/// Samples that can be extended at the end and forgotten or taken at the beginning; positions count from the beginning of
/// the stream.
#[derive(Debug, Default)]
pub(super) struct Ring {
    samples: VecDeque<f32>,
    /// Of every whole frame that overlaps `samples`, oldest first.
    probabilities: VecDeque<f32>,
    /// Where the last whole frame ends.
    frames_end: u64,
    /// Where `samples` end.
    end: u64,
}

impl Ring {
    pub(super) fn start(&self) -> u64 {
        self.end - self.len()
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    pub(super) fn len(&self) -> u64 {
        self.samples.len() as u64
    }

    /// Appends a frame.
    pub(super) fn push(&mut self, frame: &Frame, probability: f32) {
        self.append(frame);
        self.probabilities.push_back(probability);
        self.frames_end = self.end;
    }

    /// Appends the samples after the last frame. They end what is held: the next thing to do is [`Ring::take`] it all.
    pub(super) fn append(&mut self, samples: &[f32]) {
        // A deque left to itself doubles; thousands of sessions hold one, so it grows by a quarter.
        if self.samples.len() + samples.len() > self.samples.capacity() {
            self.samples.reserve_exact(samples.len().max(self.samples.len() / 4));
        }
        self.samples.extend(samples);
        self.end += samples.len() as u64;
    }

    /// Moves the stream on by `samples` that nobody kept, and forgets what was before them.
    pub(super) fn skip(&mut self, samples: u64) {
        self.end += samples;
        self.samples.clear();
        self.forget_before(self.end);
    }

    /// Keeps the last `samples` and forgets what is older.
    pub(super) fn keep(&mut self, samples: u64) {
        self.forget_before(self.end - samples.min(self.len()));
    }

    /// Takes what lies before `end` out of the ring. A frame from the probability `floor` on counts as speech.
    pub(super) fn take(&mut self, end: u64, floor: f32) -> Utterance {
        let utterance = self.copy(Span::new(self.start(), end), floor);
        self.forget_before(end);
        utterance
    }

    /// A copy of `span`, which lies in the ring.
    pub(super) fn copy(&self, span: Span, floor: f32) -> Utterance {
        Utterance::new(span, self.voices(span, floor), self.samples_in(span))
    }

    /// The samples of `span`. In two pieces at most: one by one they take too long for whoever looks at speech in progress.
    fn samples_in(&self, span: Span) -> Vec<f32> {
        let (older, newer) = self.samples.as_slices();
        let (start, end) = ((span.start - self.start()) as usize, (span.end - self.start()) as usize);
        let parted = older.len();
        let mut samples = Vec::with_capacity(end - start);
        samples.extend_from_slice(&older[start.min(parted)..end.min(parted)]);
        samples.extend_from_slice(&newer[start.max(parted) - parted..end.max(parted) - parted]);
        samples
    }

    fn forget_before(&mut self, start: u64) {
        let forgotten = start.saturating_sub(self.start()).min(self.len());
        self.samples.drain(..forgotten as usize);
        if self.samples.is_empty() {
            self.probabilities.clear();
            self.frames_end = self.end;
        }
        while self.probabilities.len() as u64 * FRAME >= self.frames_end - start.min(self.frames_end) + FRAME
        {
            self.probabilities.pop_front();
        }
        self.release();
    }

    /// Gives memory back after a long utterance, but not between two frames of silence.
    fn release(&mut self) {
        if self.samples.capacity() > self.samples.len() + 2 * FRAME_SAMPLES {
            self.samples.shrink_to(self.samples.len() + FRAME_SAMPLES);
            self.probabilities.shrink_to_fit();
        }
    }

    /// What the ring takes on the heap.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        (self.samples.capacity() + self.probabilities.capacity()) * size_of::<f32>()
    }

    /// Each frame's span and probability, oldest first. The last one reaches over the samples appended after it.
    fn frames(&self) -> impl DoubleEndedIterator<Item = (Span, f32)> {
        let count = self.probabilities.len() as u64;
        let first = self.frames_end - count * FRAME;
        self.probabilities.iter().enumerate().map(move |(index, probability)| {
            let start = first + index as u64 * FRAME;
            let last = index as u64 + 1 == count;
            (Span::new(start, if last { self.end } else { start + FRAME }), *probability)
        })
    }

    /// Where in `span` frames are speech.
    fn voices(&self, span: Span, floor: f32) -> Vec<Span> {
        let frames = self.frames().filter(|(_, probability)| *probability >= floor);
        let mut voices: Vec<Span> = Vec::new();
        for voice in frames.map(|(frame, _)| frame.overlap(span)).filter(|voice| !voice.is_empty()) {
            match voices.last_mut() {
                Some(last) if last.end == voice.start => last.end = voice.end,
                _ => voices.push(voice),
            }
        }
        voices
    }

    /// Where the first frame of speech from `from` on is.
    pub(super) fn voice_from(&self, from: u64, floor: f32) -> Option<u64> {
        let from = from.max(self.start());
        let mut frames =
            self.frames().filter(|(frame, probability)| frame.end > from && *probability >= floor);
        frames.next().map(|(frame, _)| frame.start.max(from))
    }

    /// How many samples from `from` on lie in frames of speech.
    pub(super) fn voiced_since(&self, from: u64, floor: f32) -> u64 {
        let from = from.max(self.start());
        let frames = self.frames().rev().take_while(|(frame, _)| frame.end > from);
        let speech = frames.filter(|(_, probability)| *probability >= floor);
        speech.map(|(frame, _)| frame.end - frame.start.max(from)).sum()
    }

    /// How many frames are speech.
    pub(super) fn frames_of_speech(&self, floor: f32) -> u64 {
        self.probabilities.iter().filter(|probability| **probability >= floor).count() as u64
    }

    /// The middle of the longest pause in the later half of the first `longest` samples, or of the least likely frame
    /// when nobody pauses there. Of two that are alike the later one counts. Lies inside what is held, neither at its
    /// start nor at its end, and not before `settled`.
    pub(super) fn quietest_pause(&self, longest: u64, floor: f32, settled: u64) -> u64 {
        let bound = Span::new(self.start(), self.start() + longest.min(self.len()));
        let last = bound.end.saturating_sub(FRAME).max(bound.start);
        let middle = bound.start.midpoint(bound.end).max(settled).min(last);
        let in_later_half = |frame: &Span| frame.start >= middle && frame.end <= bound.end;
        let frames: Vec<(Span, f32)> = self.frames().filter(|(frame, _)| in_later_half(frame)).collect();
        let pause = longest_pause(&frames, floor).or_else(|| least_likely(&frames));
        let Span { start, end } = pause.unwrap_or(Span::new(middle, middle));
        start.midpoint(end)
    }
}

/// The longest run of frames below `floor`.
fn longest_pause(frames: &[(Span, f32)], floor: f32) -> Option<Span> {
    let runs = frames.chunk_by(|left, right| (left.1 < floor) == (right.1 < floor));
    let pauses = runs.filter(|run| run[0].1 < floor);
    let spans = pauses.map(|run| Span::new(run[0].0.start, run[run.len() - 1].0.end));
    spans.max_by_key(|span| span.len())
}

/// The frame that is least likely speech.
fn least_likely(frames: &[(Span, f32)]) -> Option<Span> {
    frames.iter().rev().min_by(|left, right| left.1.total_cmp(&right.1)).map(|(frame, _)| *frame)
}
