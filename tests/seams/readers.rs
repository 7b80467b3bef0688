//! Readers that tell what they were given: the demo model, and one that makes no mistakes.

use super::recording::{Recording, Said};
use std::sync::{Arc, Mutex};
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
#[derive(Clone)]
pub(crate) struct Log {
    spans: Arc<Mutex<Vec<Span>>>,
    busy: watch::Sender<usize>,
}

impl Log {
    pub(crate) fn new() -> Self {
        Self { spans: Arc::default(), busy: watch::Sender::new(0) }
    }

    /// Waits until nothing is being read.
    pub(crate) async fn quiet(&self) {
        self.busy.subscribe().wait_for(|busy| *busy == 0).await.expect("the sender is here");
    }

    /// What was read, in order.
    pub(crate) fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap().clone()
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
        self.log.busy.send_modify(|busy| *busy += 1);
        let begun = std::time::Instant::now();
        let read = self.reader.recognize(utterance, options, cancel, on_segment);
        if std::env::var("VERBOSE").is_ok() {
            println!(
                "READ {:?} {:?} {:.1}-{:.1} {}",
                options.stability,
                begun.elapsed(),
                utterance.span.start as f64 / 16e3,
                utterance.span.end as f64 / 16e3,
                read.as_ref().map_or("-".into(), |h| h.text())
            );
        }
        self.log.spans.lock().unwrap().push(utterance.span);
        self.log.busy.send_modify(|busy| *busy -= 1);
        read
    }
}

/// The demo model.
pub(crate) fn demo() -> Whisper {
    let weights = stenopool::store::demo_weights();
    let settings = WhisperSettings { threads: 1, ..WhisperSettings::default() };
    Whisper::load("demo.en", WeightsSource::Bytes(&weights), EncoderWindow::Fit, settings).unwrap().0
}

/// Reads each word of which it hears more than a half.
#[derive(Clone)]
pub(crate) struct Perfect {
    pub(crate) said: Arc<Vec<Said>>,
    /// Its times are off by so many samples at most.
    pub(crate) blur: u64,
}

impl Perfect {
    pub(crate) fn new(recording: &Recording, blur: u64) -> Self {
        Self { said: Arc::new(recording.words.clone()), blur }
    }

    /// Where it says that a word begins, in this window.
    fn told(&self, at: u64, window: Span) -> u64 {
        // Off by something else in each window, but always by the same.
        let mixed = (at ^ window.start.rotate_left(17) ^ window.end.rotate_left(34))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let off = (mixed >> 32) % (2 * self.blur + 1);
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
        let window = utterance.span;
        let heard = |said: &&Said| {
            let from = said.span.start.max(window.start);
            2 * said.span.end.min(window.end).saturating_sub(from) > said.span.len()
        };
        let word = |said: &Said| {
            let start = self.told(said.span.start, window);
            let span = Span::new(start, self.told(said.span.end, window).max(start));
            Word { text: said.text.clone(), span, probability: 0.9 }
        };
        let mut words: Vec<Word> = self.said.iter().filter(heard).map(word).collect();
        for at in 1..words.len() {
            let before = words[at - 1].span.end;
            let span = words[at].span;
            words[at].span = Span::new(span.start.max(before), span.end.max(before));
        }
        let segments = if words.is_empty() { Vec::new() } else { vec![segment(words, options)] };
        Ok(Hypothesis { segments, language: "en".into(), stability: options.stability })
    }
}

fn segment(words: Vec<Word>, options: &DecodeOptions) -> Segment {
    let token = |word: &Word| Token { id: 1, bytes: format!(" {}", word.text).into(), logprob: -0.1 };
    Segment {
        text: words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" "),
        span: Span::new(words[0].span.start, words[words.len() - 1].span.end),
        tokens: words.iter().map(token).collect(),
        words: if options.timestamps == Timestamps::Word { words } else { Vec::new() },
        avg_logprob: -0.1,
        no_speech_prob: None,
        temperature: 0.0,
    }
}
