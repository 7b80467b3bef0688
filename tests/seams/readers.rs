//! Readers that tell what they were given: the demo model, and one that makes no mistakes.

use super::recording::Said;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use stenopool::asr::{
    AsrError, DecodeOptions, EncoderWindow, Hypothesis, Recognizer, RecognizerFactory, Segment, Timestamps,
    Token, WeightsSource, Whisper, WhisperSettings, Word,
};
use stenopool::audio::{Span, Utterance};
use stenopool::gpu::Footprint;
use stenopool::pool::SlotId;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What was read, and whether anything is being read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log {
    spans: Arc<Mutex<Vec<Span>>>,
    readers_at_work: watch::Sender<usize>,
}

impl Log {
    /// Waits until nothing is being read.
    pub(crate) async fn quiet(&self) {
        let mut at_work = self.readers_at_work.subscribe();
        at_work.wait_for(|at_work| *at_work == 0).await.expect("its sender is here");
    }

    /// Where what was read began, but for the first time.
    pub(crate) fn seams(&self) -> Vec<u64> {
        let spans = self.spans.lock().expect("nobody panics while it is locked");
        let begins: BTreeSet<u64> = spans.iter().map(|span| span.start).collect();
        begins.into_iter().skip(1).collect()
    }
}

/// Makes recognizers whose work is noted.
pub(crate) struct Noted<F> {
    pub(crate) readers: F,
    pub(crate) log: Log,
}

struct NotedReader {
    reader: Box<dyn Recognizer>,
    log: Log,
}

impl<F: RecognizerFactory> RecognizerFactory for Noted<F> {
    fn make(&self, slot: SlotId) -> Result<(Box<dyn Recognizer>, Footprint), AsrError> {
        let (reader, footprint) = self.readers.make(slot)?;
        Ok((Box::new(NotedReader { reader, log: self.log.clone() }), footprint))
    }
}

impl Recognizer for NotedReader {
    fn recognize(
        &mut self,
        utterance: &Utterance,
        options: &DecodeOptions,
        cancel: &CancellationToken,
        on_segment: &mut dyn FnMut(Segment),
    ) -> Result<Hypothesis, AsrError> {
        self.log.readers_at_work.send_modify(|at_work| *at_work += 1);
        let read = self.reader.recognize(utterance, options, cancel, on_segment);
        self.log.spans.lock().expect("nobody panics while it is locked").push(utterance.span);
        self.log.readers_at_work.send_modify(|at_work| *at_work -= 1);
        read
    }
}

/// The demo model.
pub(crate) fn demo() -> Whisper {
    let weights = stenopool::store::demo_weights();
    let source = WeightsSource::Bytes(&weights);
    Whisper::load("demo.en", source, EncoderWindow::Fit, WhisperSettings::default()).unwrap().0
}

/// Reads each word of which it hears more than half, and nothing else. Only where words begin and end it does not know
/// well.
#[derive(Debug, Clone)]
pub(crate) struct Perfect {
    said: Arc<Vec<Said>>,
    /// So many samples its times are off at most.
    blur: u64,
}

impl Perfect {
    pub(crate) fn new(said: &[Said], blur: Duration) -> Self {
        Self { said: Arc::new(said.to_vec()), blur: blur.as_millis() as u64 * 16 }
    }

    fn hears(&self, window: Span) -> Vec<Word> {
        let is_heard = |said: &&Said| {
            let (from, to) = (said.span.start.max(window.start), said.span.end.min(window.end));
            2 * to.saturating_sub(from) > said.span.len()
        };
        let mut end = window.start;
        let word = |said: &Said| {
            let start = self.blurred(said.span.start, window).max(end);
            end = self.blurred(said.span.end, window).max(start);
            Word { text: said.text.clone(), span: Span::new(start, end), probability: 0.9 }
        };
        self.said.iter().filter(is_heard).map(word).collect()
    }

    /// Where it takes this place to be: in each window elsewhere, by a hash of both.
    fn blurred(&self, at: u64, window: Span) -> u64 {
        let mixed = at ^ window.start.rotate_left(17) ^ window.end.rotate_left(34);
        let off = (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % (2 * self.blur + 1);
        (at + off).saturating_sub(self.blur).clamp(window.start, window.end)
    }
}

impl RecognizerFactory for Perfect {
    fn make(&self, _slot: SlotId) -> Result<(Box<dyn Recognizer>, Footprint), AsrError> {
        Ok((Box::new(self.clone()), Footprint::default()))
    }
}

impl Recognizer for Perfect {
    fn recognize(
        &mut self,
        utterance: &Utterance,
        options: &DecodeOptions,
        _cancel: &CancellationToken,
        _on_segment: &mut dyn FnMut(Segment),
    ) -> Result<Hypothesis, AsrError> {
        let words = self.hears(utterance.span);
        let segments = if words.is_empty() { Vec::new() } else { vec![segment(words, options.timestamps)] };
        Ok(Hypothesis { segments, language: "en".into(), stability: options.stability })
    }
}

fn segment(words: Vec<Word>, timestamps: Timestamps) -> Segment {
    let token = |word: &Word| Token { id: 1, bytes: format!(" {}", word.text).into(), logprob: -0.1 };
    Segment {
        text: words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" "),
        span: Span::new(words[0].span.start, words[words.len() - 1].span.end),
        tokens: words.iter().map(token).collect(),
        words: if timestamps == Timestamps::Word { words } else { Vec::new() },
        avg_logprob: -0.1,
        no_speech_prob: None,
        temperature: 0.0,
    }
}
