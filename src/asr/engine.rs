//! The seam between the pool and whatever decodes.

use super::{AsrError, DecodeOptions, Hypothesis, Segment};
use crate::audio::Utterance;
use crate::gpu::Footprint;
use crate::pool::{Class, Lease, Retirement, SlotId};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// One blocking decoder. It lives on a thread of its own.
pub trait Recognizer: Send {
    /// Decodes one utterance; times in the result are positions in the utterance's stream.
    ///
    /// Segments are handed to `on_segment` as they are found (by whisper.cpp at the end of each window) and stand in the
    /// result again.
    ///
    /// # Errors
    ///
    /// [`AsrError::Cancelled`] soon after `cancel`, [`AsrError::Decode`] when this utterance cannot be decoded,
    /// [`AsrError::SlotLost`] when the recognizer must not be used again.
    fn recognize(
        &mut self,
        utterance: &Utterance,
        options: &DecodeOptions,
        cancel: &CancellationToken,
        on_segment: &mut dyn FnMut(Segment),
    ) -> Result<Hypothesis, AsrError>;
}

/// What comes back from a decode: the text or why there is none, the lease, and how long the decoder worked.
#[derive(Debug)]
pub struct Outcome {
    /// The text, or why there is none.
    pub result: Result<Hypothesis, AsrError>,
    /// To be dropped or used again; `None` when the slot was lost, and the engine retired it.
    pub lease: Option<Lease>,
    /// How long the decoder worked.
    pub decode: Duration,
}

/// One decode on its way. The lease rides in it: the slot is free only when the decoder has returned.
#[derive(Debug)]
pub struct Job {
    /// What to decode.
    pub utterance: Arc<Utterance>,
    /// How.
    pub options: DecodeOptions,
    /// What kind of work it is.
    pub class: Class,
    /// The right to decode.
    pub lease: Lease,
    /// Ends the decode early.
    pub cancel: CancellationToken,
    /// The caller's span; the decode is logged inside it.
    pub span: tracing::Span,
    /// Where the outcome goes; if nobody listens any more, the lease in it drops.
    pub reply: oneshot::Sender<Outcome>,
}

/// Opens, runs and closes slots.
pub trait Engine: Send + Sync {
    /// Makes a slot ready: working memory and the widest decode it will ever do. Blocks; call it off the runtime.
    /// Opening a slot that is open rebuilds it.
    ///
    /// # Errors
    ///
    /// [`AsrError::Open`].
    fn open(&self, slot: SlotId) -> Result<Footprint, AsrError>;

    /// Runs a job on the slot its lease is for. Never blocks; the outcome comes through `job.reply`.
    ///
    /// A slot that is lost meanwhile is retired here, whether anybody still waits for the outcome or not.
    fn submit(&self, job: Job);

    /// The decode on this slot does not end, and its lease was taken from it: nobody waits for it any more, and the slot
    /// will be opened again. Never blocks.
    ///
    /// If it ever ends, its lease gives nothing back.
    fn abandon(&self, slot: SlotId);

    /// Ends a slot and frees its memory, after the decode that it may be doing, unless that is
    /// [abandoned](Self::abandon) meanwhile. Blocks.
    fn close(&self, slot: SlotId);
}

impl Outcome {
    /// The end of a job: its lease, which rests from now on or is retired if the slot was lost, and what came of it.
    ///
    /// A text whose tokens are not even possible is none: broken memory gives such, and a slot that does is not proven.
    pub(super) fn new(lease: Lease, result: Result<Hypothesis, AsrError>, decode: Duration) -> Self {
        let result = result.and_then(possible);
        let lease = match &result {
            Err(AsrError::SlotLost(reason)) => {
                lease.retire(Retirement::Lost, reason);
                None
            }
            result => {
                lease.rests(decode, result.is_ok());
                Some(lease)
            }
        };
        Self { result, lease, decode }
    }
}

fn possible(read: Hypothesis) -> Result<Hypothesis, AsrError> {
    let mut tokens = read.segments.iter().flat_map(|segment| &segment.tokens);
    if tokens.all(|token| token.logprob.is_finite()) {
        return Ok(read);
    }
    Err(AsrError::Decode("the probabilities of its tokens are no numbers".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asr::{Stability, Token};
    use crate::audio::Span;
    use crate::pool::{Allocator, PoolSettings};

    fn reading(logprob: f32) -> Hypothesis {
        let segment = Segment {
            text: "word".into(),
            span: Span::new(0, 160),
            tokens: vec![Token { id: 1, bytes: b"word".into(), logprob }],
            words: Vec::new(),
            avg_logprob: logprob,
            no_speech_prob: None,
            temperature: 0.0,
        };
        Hypothesis { segments: vec![segment], language: "en".into(), stability: Stability::Final }
    }

    #[tokio::test(start_paused = true)]
    async fn a_text_of_impossible_tokens_is_an_error_and_does_not_prove_its_slot() {
        let (allocator, _retired) = Allocator::new(PoolSettings::default());
        allocator.add(SlotId(0));
        for (logprob, proven) in [(f32::NAN, false), (f32::NEG_INFINITY, false), (-0.1, true)] {
            tokio::time::advance(Duration::from_secs(60)).await;
            let lease = allocator.lend(SlotId(0), "test").expect("it is idle");
            let outcome = Outcome::new(lease, Ok(reading(logprob)), Duration::ZERO);
            assert_eq!(outcome.result.is_ok(), proven);
            drop(outcome);
            assert_eq!(allocator.unproven(Duration::from_secs(1)).is_empty(), proven, "{logprob}");
        }
    }
}
