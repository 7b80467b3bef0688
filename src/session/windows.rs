//! Reads an utterance that may be longer than what the recognizer looks at: window by window, each cut between two words.

use super::draft::{Draft, Written};
use crate::asr::{
    AsrError, DecodeOptions, EncoderWindow, Hypothesis, Lane, Stability, Timestamps, Timing, seam,
};
use crate::audio::{Span, Utterance, samples_in};
use crate::pool::Class;
use crate::vad::EndpointSettings;
use std::sync::Arc;
use std::time::Duration;

/// So much of the silence before speech is read where most of it is left out.
const LEAD: Duration = Duration::from_millis(500);

/// How much of an utterance goes into one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Windows {
    /// From so many samples on the end of a sentence is a seam.
    sentence_from: u64,
    /// From so many on, any place between two words.
    word_from: u64,
    /// No window has more samples.
    longest: u64,
    /// Whether what was said before a window helps to read it.
    has_context: bool,
}

impl Windows {
    /// A window that fits its utterance costs by its length, and models made for it read a sentence or two best: the demo
    /// model gets most words wrong with earlier text before them. A full window costs the same whatever is in it, and
    /// gains from context.
    pub(super) fn of(window: EncoderWindow) -> Self {
        let seconds = |seconds| samples_in(Duration::from_secs(seconds));
        let (sentence_from, word_from, has_context) = match window {
            EncoderWindow::Fit => (seconds(5), seconds(10), false),
            EncoderWindow::Full => (seconds(15), seconds(22), true),
        };
        Self { sentence_from, word_from, longest: seconds(28), has_context }
    }

    /// Whether it has to be cut, and no more goes into it.
    pub(super) fn is_full(self, window: Span) -> bool {
        window.len() >= self.longest
    }

    /// Whether so many samples may be cut, so that the times of words are wanted.
    pub(super) fn may_be_cut(self, samples: u64) -> bool {
        samples >= self.sentence_from
    }

    /// Whether a window of so many samples is worth a cut in this place.
    pub(super) fn cuts_at(self, samples: u64, ends_sentence: bool) -> bool {
        samples >= if ends_sentence { self.sentence_from } else { self.word_from }
    }

    /// How to read the next window of an item.
    pub(super) fn options(self, draft: &Draft, options: &DecodeOptions) -> DecodeOptions {
        if self.has_context { draft.options(options) } else { options.clone() }
    }

    /// The next window, where what is open begins at `from` and the first voice in it is heard at `voice`. Silence that is
    /// longer than any pre-roll is left out: recognizers hear things in it, and a window may be full of it.
    pub(super) fn next(self, from: u64, voice: u64) -> Span {
        let longest_silence = samples_in(Duration::from_millis(*EndpointSettings::PREFIX_MS.end()));
        let silence = voice.saturating_sub(from);
        let start = if silence > longest_silence { voice - samples_in(LEAD) } else { from };
        Span::new(start, start + self.longest)
    }
}

/// The text of an utterance, and what it took.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) written: Written,
    pub(super) timing: Timing,
}

/// Reads what is open of an utterance to its end.
///
/// # Errors
///
/// As [`Lane::transcribe`]: what one window could not be read for ends it all.
///
/// # Cancel safety
///
/// As [`Lane::transcribe`].
pub(super) async fn read(
    lane: &Lane,
    utterance: &Arc<Utterance>,
    options: &DecodeOptions,
    mut draft: Draft,
) -> Result<Read, AsrError> {
    let windows = Windows::of(lane.model().window);
    let mut timing = Timing::default();
    loop {
        let from = draft.open_from().max(utterance.span.start);
        let Some(voice) = utterance.voice_from(from) else {
            return Ok(Read { written: draft.finish(silence(options), None), timing });
        };
        let window = windows.next(from, voice).overlap(utterance.span);
        let part = part(utterance, window);
        let is_last = utterance.voice_from(window.end).is_none();
        let asked = windows.options(&draft, options);
        let asked = if is_last { asked } else { DecodeOptions { timestamps: Timestamps::Word, ..asked } };
        let transcript = lane.transcribe(part, asked, Class::Final, None).await?;
        timing.waited += transcript.timing.waited;
        timing.decode += transcript.timing.decode;
        let hypothesis = draft.anew(transcript.hypothesis);
        if is_last {
            return Ok(Read { written: draft.finish(hypothesis, transcript.withheld), timing });
        }
        if let Some(withheld) = transcript.withheld {
            draft.withhold(withheld, window.end);
            continue;
        }
        match seam(&hypothesis, None, window).filter(|seam| seam.at > window.start) {
            Some(seam) => draft.settle(seam),
            // Nothing to cut between: the window's end will have to do.
            None => draft.settle_all(hypothesis, window.end),
        }
    }
}

/// A part of an utterance, which shares its samples where it is all of it.
fn part(utterance: &Arc<Utterance>, span: Span) -> Arc<Utterance> {
    if span == utterance.span { Arc::clone(utterance) } else { Arc::new(utterance.part(span)) }
}

/// The reading of what nobody said.
pub(super) fn silence(options: &DecodeOptions) -> Hypothesis {
    let language = options.language.clone().unwrap_or_else(|| "en".into());
    Hypothesis { segments: Vec::new(), language, stability: Stability::Final }
}
