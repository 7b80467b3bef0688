//! Utterances that wait for their text: one decode in flight, the others behind it in order.

use super::draft::Draft;
use super::interpreter::Speculation;
use super::jam::Jam;
use super::live::{Dropped, Keeping};
use super::waiting::{Task, ended};
use super::windows::{self, Read};
use crate::asr::{AsrError, DecodeOptions, Lane, LaneEvent, Transcript};
use crate::audio::{Span, Utterance, duration_of};
use crate::pool::LeaseScope;
use std::collections::VecDeque;
use std::iter::from_fn;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, info_span};

use super::ItemId;

/// How many utterances may wait before no more audio is taken in.
const MOST_UTTERANCES: usize = 32;

/// News of a lane's leases that may wait for the driver. While as many do, the lane drops news of its place in line, and
/// waits with all other news.
const NEWS: usize = 64;

/// What comes out of a backlog.
#[derive(Debug)]
pub(super) enum Step {
    /// Something happened to the leases.
    Lease(LaneEvent),
    /// An item has ended.
    Text(Box<Finished>),
}

/// The text of one item, or why there is none.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) item: ItemId,
    /// How long the audio is.
    pub(super) audio: Duration,
    pub(super) result: Result<Read, AsrError>,
    /// What happened to the leases, and is not told yet. It comes before the text.
    pub(super) leases: Vec<LaneEvent>,
    /// When it was cut, and how long nobody had spoken then; `None` when nobody spoke at all.
    pub(super) cut: Option<(Instant, Duration)>,
}

/// An utterance that is over, and what of its text is there.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) utterance: Arc<Utterance>,
    pub(super) options: DecodeOptions,
    pub(super) draft: Draft,
    pub(super) known: Known,
}

impl Work {
    /// For an utterance of which nothing was read.
    pub(super) fn unread(utterance: Utterance, options: DecodeOptions) -> Self {
        let draft = Draft::new(utterance.span.start);
        Self { utterance: Arc::new(utterance), options, draft, known: Known::Nothing }
    }
}

/// What is known about how the open part of an utterance reads.
#[derive(Debug)]
pub(super) enum Known {
    /// Nothing.
    Nothing,
    /// It is being read.
    Soon(Speculation),
    /// All.
    Text(Transcript),
}

struct Waiting {
    item: ItemId,
    work: Work,
    since: Instant,
}

struct Decoding {
    item: ItemId,
    audio: Duration,
    cut: Option<(Instant, Duration)>,
    /// A task of its own: its lease must come free also while the session waits for a slow client.
    task: Task<Read>,
}

/// Bounded by its owner, who asks [`is_full`](Self::is_full) before it takes in more audio. One piece of audio may hold
/// several utterances, so the bound can be passed by what was in the last piece.
///
/// Dropping it ends the decode in flight and forgets the others.
pub(super) struct Backlog {
    lane: Lane,
    news: mpsc::Receiver<LaneEvent>,
    keeping: Keeping,
    waiting: VecDeque<Waiting>,
    decoding: Option<Decoding>,
    jam: Jam,
}

impl Backlog {
    pub(super) fn new(lane: Lane, keeping: Keeping) -> Self {
        let (tell, news) = mpsc::channel(NEWS);
        let lane = lane.telling(tell);
        Self { lane, news, keeping, waiting: VecDeque::new(), decoding: None, jam: Jam::default() }
    }

    /// Keeps so much from here on.
    pub(super) fn keep(&mut self, keeping: Keeping) {
        self.keeping = keeping;
    }

    /// How long leases are kept from here on.
    pub(super) fn set_scope(&self, scope: LeaseScope) {
        self.lane.set_scope(scope);
    }

    /// Says whether somebody speaks now.
    pub(super) fn set_speaking(&self, speaking: bool) {
        self.lane.set_speaking(speaking);
    }

    /// Puts an utterance at the end of the line.
    pub(super) fn push(&mut self, item: ItemId, work: Work) {
        self.waiting.push_back(Waiting { item, work, since: Instant::now() });
        self.decode_next();
    }

    /// Whether as much waits as may.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= MOST_UTTERANCES || self.audio_behind() >= self.keeping.audio
    }

    /// From when on it is the pool's line that holds everything up, if nothing happens until then; `None` while a decode
    /// is under way.
    pub(super) fn blocked_from(&self) -> Option<Instant> {
        self.jam.blocks_from(self.keeping.patience)
    }

    /// Whether what comes now has to be dropped: as much waits as may, the oldest included, and the decoder cannot help
    /// it.
    pub(super) fn overflows(&self) -> bool {
        let Dropped { waiting, n_waiting, .. } = self.dropping(Span::default());
        let is_over = n_waiting >= MOST_UTTERANCES || waiting >= self.keeping.audio;
        is_over && self.blocked_from().is_some_and(|from| from <= Instant::now())
    }

    /// What there is to say about audio that is dropped now.
    pub(super) fn dropping(&self, span: Span) -> Dropped {
        let oldest = self.decoding.as_ref();
        let waiting = self.audio_behind() + oldest.map_or(Duration::ZERO, |oldest| oldest.audio);
        Dropped { span, waiting, n_waiting: self.waiting.len() + usize::from(oldest.is_some()) }
    }

    /// How much audio waits behind the oldest utterance.
    fn audio_behind(&self) -> Duration {
        duration_of(self.waiting.iter().map(|waiting| waiting.work.utterance.span.len()).sum())
    }

    /// Whether nothing waits and nothing is being decoded.
    pub(super) fn is_empty(&self) -> bool {
        self.decoding.is_none()
    }

    /// Ends the decode in flight and forgets the others.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.decoding = None;
        self.jam.end();
    }

    /// The next news of the leases, or the next text in the order of `push`; never ready while there is neither.
    ///
    /// # Cancel safety
    ///
    /// Dropping this future loses nothing.
    pub(super) async fn next(&mut self) -> Step {
        let result = tokio::select! {
            biased;
            Some(event) = self.news.recv() => {
                self.jam.follow(event, Instant::now());
                return Step::Lease(event);
            }
            result = ended(self.decoding.as_mut().map(|decoding| &mut decoding.task)) => result,
        };
        let Decoding { item, audio, cut, .. } = self.decoding.take().expect("it has just ended");
        // The next decode has not begun, so all this is about the one that has ended.
        let leases: Vec<_> = from_fn(|| self.news.try_recv().ok()).collect();
        for event in &leases {
            self.jam.follow(*event, Instant::now());
        }
        self.jam.end();
        self.decode_next();
        Step::Text(Box::new(Finished { item, audio, result, leases, cut }))
    }

    fn decode_next(&mut self) {
        if self.decoding.is_some() {
            return;
        }
        let Some(Waiting { item, work, since }) = self.waiting.pop_front() else { return };
        let utterance = &work.utterance;
        let audio = utterance.span.duration();
        let spoken = (!utterance.speech.is_empty()).then_some(utterance.speech);
        let cut = spoken.map(|speech| (since, duration_of(utterance.span.end.saturating_sub(speech.end))));
        match work.known {
            Known::Nothing if cut.is_some() => self.jam.begin(Instant::now()),
            Known::Soon(_) => self.jam.go_on(),
            Known::Nothing | Known::Text(_) => {}
        }
        let turn = info_span!("turn", %item);
        let work = read(self.lane.clone(), work).instrument(turn);
        self.decoding = Some(Decoding { item, audio, cut, task: AbortOnDropHandle::new(tokio::spawn(work)) });
    }
}

/// Reads what is open of an utterance, unless that is known.
async fn read(lane: Lane, work: Work) -> Result<Read, AsrError> {
    let Work { utterance, options, draft, known } = work;
    let transcript = match known {
        Known::Nothing => None,
        Known::Text(transcript) => Some(transcript),
        // What failed in a hurry is read in peace.
        Known::Soon(speculation) => speculation
            .transcript()
            .await
            .ok()
            .map(|transcript| Transcript { hypothesis: draft.anew(transcript.hypothesis), ..transcript }),
    };
    match transcript {
        Some(Transcript { hypothesis, timing, withheld }) => {
            Ok(Read { written: draft.finish(hypothesis, withheld), timing })
        }
        None => windows::read(&lane, &utterance, &options, draft).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asr::fake::{Act, FakeEngine};
    use crate::asr::{EncoderWindow, Lanes, ModelInfo};
    use crate::audio::Span;
    use crate::pool::{Allocator, Class, FlowInfo, PoolSettings, SlotId};
    use futures_util::FutureExt;
    use std::io::Write;
    use std::sync::Mutex;
    use uuid::Uuid;

    /// A backlog on one slot with this engine.
    fn backlog_on(engine: FakeEngine) -> (Backlog, Allocator) {
        let (allocator, _retired) = Allocator::new(PoolSettings::default());
        allocator.add(SlotId(0));
        let model = ModelInfo { name: "fake".into(), multilingual: false, window: EncoderWindow::Fit };
        let lane = Lanes::new(Arc::new(engine), allocator.clone(), model).open(FlowInfo::session("test"));
        (Backlog::new(lane, Keeping::default()), allocator)
    }

    /// A backlog on one slot, whose engine says how many seconds of audio it saw.
    fn backlog(decode: Duration) -> (Backlog, Allocator) {
        backlog_on(FakeEngine::new(move |utterance, _| {
            Act::Say(utterance.span.duration().as_secs().to_string(), decode)
        }))
    }

    fn utterance(seconds: u64) -> Utterance {
        let span = Span::new(0, seconds * 16_000);
        Utterance::spoken(span, vec![0.0; span.len() as usize])
    }

    fn unread(utterance: Utterance) -> Work {
        Work::unread(utterance, DecodeOptions::default())
    }

    fn item(number: u128) -> ItemId {
        ItemId(Uuid::from_u128(number))
    }

    async fn next_text(backlog: &mut Backlog) -> (ItemId, String) {
        let finished = next_end(backlog).await;
        (finished.item, finished.result.expect("the fake reads everything").written.hypothesis.text())
    }

    /// The next item that has ended; what happens to leases before is skipped.
    async fn next_end(backlog: &mut Backlog) -> Finished {
        loop {
            if let Step::Text(finished) = backlog.next().await {
                return *finished;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn texts_come_in_the_order_of_the_utterances_one_decode_at_a_time() {
        let (mut backlog, _) = backlog(Duration::from_secs(1));
        let since = Instant::now();
        for seconds in 1..=3 {
            backlog.push(item(seconds.into()), unread(utterance(seconds)));
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
        let silence = Utterance::new(Span::new(0, 32_000), Vec::new(), vec![0.0; 32_000]);
        backlog.push(item(1), unread(silence));
        assert_eq!(next_text(&mut backlog).await, (item(1), String::new()));
        assert_eq!(since.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn two_minutes_of_waiting_audio_fill_the_backlog() {
        let (mut backlog, _) = backlog(Duration::from_secs(1));
        backlog.push(item(0), unread(utterance(28)));
        for number in 1..=5 {
            assert!(!backlog.is_full(), "after {number} of 6 utterances");
            backlog.push(item(number), unread(utterance(28)));
        }
        assert!(backlog.is_full());
        next_end(&mut backlog).await;
        assert!(!backlog.is_full());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_comes_free_also_when_nobody_asks_for_the_text() {
        let (mut backlog, allocator) = backlog(Duration::from_secs(1));
        backlog.push(item(1), unread(utterance(1)));
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(allocator.slots().leased, 1);
        tokio::time::sleep(Duration::from_millis(501)).await;
        assert_eq!(allocator.slots().leased, 0);
        assert!(next_end(&mut backlog).now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_backlog_ends_its_decode() {
        let (mut backlog, allocator) = backlog(Duration::from_hours(1));
        backlog.push(item(1), unread(utterance(1)));
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(allocator.slots().leased, 1);
        drop(backlog);
        // The clock stands still until everybody waits for it, so by then whoever was to notice has noticed.
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(allocator.slots().leased, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_backlog_overflows_when_the_line_has_blocked_it_for_long_enough() {
        let (mut backlog, allocator) = backlog(Duration::from_secs(100));
        let other = allocator.enroll(FlowInfo::request("other"));
        let ask = crate::pool::Ask::new(Class::Final, crate::pool::Cost::default());
        let lease = allocator.acquire(&other, ask, None).await.unwrap();
        (0..=5).for_each(|number| backlog.push(item(number), unread(utterance(28))));
        assert!(backlog.is_full() && !backlog.overflows());
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(backlog.overflows());
        drop(lease);
        assert!(matches!(backlog.next().await, Step::Lease(LaneEvent::Waiting(_))));
        assert!(matches!(backlog.next().await, Step::Lease(LaneEvent::Granted { .. })));
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(backlog.is_full() && !backlog.overflows(), "now it is the decoder that is behind");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_begun_before_is_blocked_only_if_it_still_stands_in_line() {
        for in_line in [false, true] {
            let (mut backlog, allocator) = backlog(Duration::from_secs(100));
            let other = allocator.enroll(FlowInfo::request("other"));
            let ask = crate::pool::Ask::new(Class::Final, crate::pool::Cost::default());
            let _lease = if in_line { allocator.acquire(&other, ask, None).await.ok() } else { None };
            let options = DecodeOptions::default();
            let begun = Speculation::begin(backlog.lane.clone(), item(0), utterance(28), options);
            tokio::time::sleep(Duration::from_millis(1)).await;
            backlog.push(item(0), Work { known: Known::Soon(begun), ..unread(utterance(28)) });
            (1..=5).for_each(|number| backlog.push(item(number), unread(utterance(28))));
            tokio::time::sleep(Duration::from_millis(1)).await;
            let news = backlog.next().now_or_never();
            assert_eq!(matches!(news, Some(Step::Lease(LaneEvent::Waiting(_)))), in_line);
            tokio::time::sleep(Duration::from_secs(3)).await;
            assert_eq!((backlog.is_full(), backlog.overflows()), (true, in_line));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_is_timed_from_the_end_of_its_speech() {
        let (mut backlog, _) = backlog(Duration::from_secs(1));
        let second = |voices| Utterance::new(Span::new(0, 16_000), voices, vec![0.0; 16_000]);
        backlog.push(item(1), unread(second(vec![Span::new(0, 8_000)])));
        backlog.push(item(2), unread(second(Vec::new())));
        let (cut_at, endpoint) = next_end(&mut backlog).await.cut.expect("somebody spoke");
        assert_eq!((cut_at.elapsed(), endpoint), (Duration::from_secs(1), Duration::from_millis(500)));
        assert_eq!(next_end(&mut backlog).await.cut, None);
    }

    /// Keeps what is logged.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_is_logged_about_a_decode_names_its_turn() {
        let log = Log::default();
        let writer = log.clone();
        // With one subscriber in the process, tracing takes the word of whichever thread comes to a span first, and the
        // threads of other tests have none. With two it asks both.
        let _another = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
        let lines = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
        let _logging = tracing::subscriber::set_default(lines);
        // The lane warns about each slot that it loses.
        let lost = |_: &Utterance, _: &DecodeOptions| {
            Act::Fail(AsrError::SlotLost("scripted".into()), Duration::ZERO)
        };
        let (mut backlog, allocator) = backlog_on(FakeEngine::new(lost));
        backlog.push(item(7), unread(utterance(1)));
        while !matches!(backlog.next().await, Step::Lease(LaneEvent::Released { .. })) {}
        allocator.add(SlotId(0));
        assert!(next_end(&mut backlog).await.result.is_err());
        let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let turn = format!("turn{{item={}}}:transcribe{{", item(7));
        assert!(logged.lines().any(|line| line.contains(&turn)), "{logged}");
    }
}
