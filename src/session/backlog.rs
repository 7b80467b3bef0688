//! Utterances that wait for their text: one decode in flight, the others behind it in order.

use crate::asr::{AsrError, DecodeOptions, Hypothesis, Lane, Stability, Timing, Transcript};
use crate::audio::{Utterance, duration_of};
use crate::pool::Class;
use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use super::ItemId;

/// How many utterances may wait before no more audio is taken in.
const MOST_UTTERANCES: usize = 32;

/// How much audio may wait before no more is taken in: 2 minutes.
const MOST_AUDIO: Duration = Duration::from_mins(2);

/// The text of one item, or why there is none.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) item: ItemId,
    /// How long the audio is.
    pub(super) audio: Duration,
    pub(super) result: Result<Transcript, AsrError>,
}

struct Waiting {
    item: ItemId,
    utterance: Arc<Utterance>,
    options: DecodeOptions,
}

struct Decoding {
    item: ItemId,
    audio: Duration,
    /// A task of its own: its lease must come free also while the session waits for a slow client.
    task: AbortOnDropHandle<Result<Transcript, AsrError>>,
}

/// Bounded by its owner, who asks [`is_full`](Self::is_full) before it takes in more audio. One piece of audio may hold
/// several utterances, so the bound can be passed by what was in the last piece.
///
/// Dropping it ends the decode in flight and forgets the others.
pub(super) struct Backlog {
    lane: Lane,
    waiting: VecDeque<Waiting>,
    decoding: Option<Decoding>,
}

impl Backlog {
    pub(super) fn new(lane: Lane) -> Self {
        Self { lane, waiting: VecDeque::new(), decoding: None }
    }

    /// Puts an utterance at the end of the line.
    pub(super) fn push(&mut self, item: ItemId, utterance: Utterance, options: DecodeOptions) {
        self.waiting.push_back(Waiting { item, utterance: Arc::new(utterance), options });
        self.decode_next();
    }

    /// Whether as much waits as may.
    pub(super) fn is_full(&self) -> bool {
        let samples = self.waiting.iter().map(|waiting| waiting.utterance.span.len()).sum();
        self.waiting.len() >= MOST_UTTERANCES || duration_of(samples) >= MOST_AUDIO
    }

    /// Whether nothing waits and nothing is being decoded.
    pub(super) fn is_empty(&self) -> bool {
        self.decoding.is_none()
    }

    /// Ends the decode in flight and forgets the others.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.decoding = None;
    }

    /// The next text, in the order of `push`; never ready while nothing waits.
    ///
    /// # Cancel safety
    ///
    /// Dropping this future loses nothing.
    pub(super) async fn next(&mut self) -> Finished {
        let Some(Decoding { item, audio, task }) = &mut self.decoding else {
            return pending().await;
        };
        let panicked = |_| Err(AsrError::Decode("the transcription task panicked".into()));
        let finished = Finished { item: *item, audio: *audio, result: task.await.unwrap_or_else(panicked) };
        self.decoding = None;
        self.decode_next();
        finished
    }

    fn decode_next(&mut self) {
        if self.decoding.is_some() {
            return;
        }
        let Some(Waiting { item, utterance, options }) = self.waiting.pop_front() else { return };
        let audio = utterance.span.duration();
        let work = read(self.lane.clone(), utterance, options).in_current_span();
        self.decoding = Some(Decoding { item, audio, task: AbortOnDropHandle::new(tokio::spawn(work)) });
    }
}

/// Decodes an utterance, unless nobody spoke in it: then its text is known.
async fn read(lane: Lane, utterance: Arc<Utterance>, options: DecodeOptions) -> Result<Transcript, AsrError> {
    if utterance.speech.is_empty() {
        let language = options.language.unwrap_or_else(|| "en".into());
        let hypothesis = Hypothesis { segments: Vec::new(), language, stability: Stability::Final };
        return Ok(Transcript { hypothesis, timing: Timing::default() });
    }
    lane.transcribe(utterance, options, Class::Final, None).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asr::fake::{Act, FakeEngine};
    use crate::asr::{EncoderWindow, Lanes, ModelInfo};
    use crate::audio::Span;
    use crate::pool::{Allocator, FlowInfo, PoolSettings, SlotId};
    use futures_util::FutureExt;
    use tokio::time::Instant;
    use uuid::Uuid;

    /// A backlog on one slot, whose engine says how many seconds of audio it saw.
    fn backlog(decode: Duration) -> (Backlog, Allocator) {
        let engine = FakeEngine::new(move |utterance, _| {
            Act::Say(utterance.span.duration().as_secs().to_string(), decode)
        });
        let (allocator, _retired) = Allocator::new(PoolSettings::default());
        allocator.add(SlotId(0));
        let model = ModelInfo { name: "fake".into(), multilingual: false, window: EncoderWindow::Fit };
        (
            Backlog::new(
                Lanes::new(Arc::new(engine), allocator.clone(), model).open(FlowInfo::session("test")),
            ),
            allocator,
        )
    }

    fn utterance(seconds: u64) -> Utterance {
        let span = Span::new(0, seconds * 16_000);
        Utterance { span, speech: span, samples: vec![0.0; span.len() as usize] }
    }

    fn item(number: u128) -> ItemId {
        ItemId(Uuid::from_u128(number))
    }

    async fn next_text(backlog: &mut Backlog) -> (ItemId, String) {
        let finished = backlog.next().await;
        (finished.item, finished.result.expect("the fake reads everything").hypothesis.text())
    }

    #[tokio::test(start_paused = true)]
    async fn texts_come_in_the_order_of_the_utterances_one_decode_at_a_time() {
        let (mut backlog, _) = backlog(Duration::from_secs(1));
        let since = Instant::now();
        for seconds in 1..=3 {
            backlog.push(item(seconds.into()), utterance(seconds), DecodeOptions::default());
        }
        for seconds in 1..=3_u64 {
            assert_eq!(next_text(&mut backlog).await, (item(seconds.into()), seconds.to_string()));
            assert_eq!(since.elapsed(), Duration::from_secs(seconds));
        }
        assert!(backlog.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_utterance_without_speech_is_empty_without_a_decode() {
        let (mut backlog, _) = backlog(Duration::from_secs(1));
        let since = Instant::now();
        let silence = Utterance { speech: Span::default(), ..utterance(2) };
        backlog.push(item(1), silence, DecodeOptions::default());
        assert_eq!(next_text(&mut backlog).await, (item(1), String::new()));
        assert_eq!(since.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn two_minutes_of_waiting_audio_fill_the_backlog() {
        let (mut backlog, _) = backlog(Duration::from_secs(1));
        backlog.push(item(0), utterance(28), DecodeOptions::default());
        for number in 1..=5 {
            assert!(!backlog.is_full(), "after {number} of 6 utterances");
            backlog.push(item(number), utterance(28), DecodeOptions::default());
        }
        assert!(backlog.is_full());
        backlog.next().await;
        assert!(!backlog.is_full());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_comes_free_also_when_nobody_asks_for_the_text() {
        let (mut backlog, allocator) = backlog(Duration::from_secs(1));
        backlog.push(item(1), utterance(1), DecodeOptions::default());
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(allocator.slots().leased, 1);
        tokio::time::sleep(Duration::from_millis(501)).await;
        assert_eq!(allocator.slots().leased, 0);
        assert!(backlog.next().now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_backlog_ends_its_decode() {
        let (mut backlog, allocator) = backlog(Duration::from_hours(1));
        backlog.push(item(1), utterance(1), DecodeOptions::default());
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(allocator.slots().leased, 1);
        drop(backlog);
        // The clock stands still until everybody waits for it, so by then whoever was to notice has noticed.
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(allocator.slots().leased, 0);
    }
}
