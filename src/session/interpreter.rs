//! Reads what is being said while it is being said: interims, and the final text begun in a pause.
//!
//! Nothing here is promised. An interim that waits is dropped for a newer one, and what was begun in a pause is thrown
//! away when speech goes on. What is told is told for good, though: a [`Draft`] lets through only what two readings agree
//! on. At most one interim and one speculative decode are under way.

use super::backlog::{Known, Work};
use super::draft::Draft;
use super::driver::at;
use super::live::SessionSettings;
use super::pace::Pace;
use super::windows::Windows;
use super::{Closing, Ear, ItemId, Patience, closing};
use crate::asr::{AsrError, DecodeOptions, Hypothesis, Lane, Seam, Stability, Timestamps, Transcript, seam};
use crate::audio::{Span, Utterance, duration_of};
use crate::pool::Class;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, info_span};

/// What an interpreter has to say.
#[derive(Debug, PartialEq)]
pub(super) enum Word {
    /// More of the text of an item.
    Delta { item: ItemId, text: String },
    /// Interims have stopped, or come again.
    Interims { paused: bool },
    /// So much silence is the end of what is being said, going by its text.
    EndSilence(Duration),
}

type Task = AbortOnDropHandle<Result<Transcript, AsrError>>;

/// A final decode that was begun in a pause.
#[derive(Debug)]
pub(super) struct Speculation {
    task: Task,
    wanted: CancellationToken,
}

impl Speculation {
    /// Waits for its end, now that it is needed for sure.
    ///
    /// # Cancel safety
    ///
    /// Dropping this future drops the decode.
    pub(super) async fn transcript(self) -> Result<Transcript, AsrError> {
        self.wanted.cancel();
        ended(self.task).await
    }
}

struct Interim {
    task: Task,
    since: Instant,
    /// What it reads.
    window: Span,
}

/// What came of a final decode that was begun in a pause.
enum Guess {
    Underway(Speculation),
    Read(Transcript),
    /// The real one will find out.
    Failed,
}

/// What is being said.
struct Passage {
    item: ItemId,
    draft: Draft,
    /// Up to where it was read, or is being read.
    read_to: u64,
    /// Whether whoever speaks pauses.
    pausing: bool,
    /// The reading of what was said up to the pause.
    guess: Option<Guess>,
    interim: Option<Interim>,
}

/// Reads what is being said in one session.
pub(super) struct Interpreter {
    lane: Lane,
    pace: Pace,
    windows: Windows,
    passage: Option<Passage>,
}

impl Interpreter {
    pub(super) fn new(lane: Lane, settings: &SessionSettings) -> Self {
        let windows = Windows::of(lane.model().window);
        let pace = Pace::new(settings.live.interims.unwrap_or_default());
        Self { lane, pace, windows, passage: None }
    }

    /// Goes on with other settings.
    pub(super) fn configure(&mut self, settings: &SessionSettings) {
        self.pace.configure(settings.live.interims.unwrap_or_default());
    }

    /// Something begins to be said, here.
    pub(super) fn begin(&mut self, item: ItemId, at: u64) {
        if self.passage.as_ref().is_some_and(|passage| passage.item == item) {
            return;
        }
        let draft = Draft::new(at);
        self.passage = Some(Passage { item, draft, read_to: at, pausing: false, guess: None, interim: None });
    }

    /// Whoever speaks pauses.
    pub(super) fn pause(&mut self) {
        if let Some(passage) = &mut self.passage {
            passage.pausing = true;
        }
    }

    /// The pause was no end.
    pub(super) fn resume(&mut self) {
        if let Some(passage) = &mut self.passage {
            passage.resume(self.windows);
        }
    }

    /// Up to where what is being said has its text for good.
    pub(super) fn settled_to(&self) -> u64 {
        self.passage.as_ref().map_or(0, |passage| passage.draft.settled_to())
    }

    /// Forgets what is being said; gives its name if some of its text was told.
    pub(super) fn forget(&mut self) -> Option<ItemId> {
        self.passage.take().filter(|passage| passage.draft.is_told()).map(|passage| passage.item)
    }

    /// What is left to do for an utterance that is complete.
    pub(super) fn complete(&mut self, item: ItemId, utterance: Utterance, options: DecodeOptions) -> Work {
        let passage = self.passage.take().filter(|passage| passage.item == item);
        let Some(Passage { draft, pausing, guess, .. }) = passage else {
            return Work::unread(utterance, options);
        };
        let known = match guess.filter(|_| pausing) {
            Some(Guess::Underway(speculation)) => Known::Soon(speculation),
            Some(Guess::Read(transcript)) => Known::Text(transcript),
            Some(Guess::Failed) | None => Known::Nothing,
        };
        Work { draft, known, ..Work::unread(utterance, options) }
    }

    /// Asks for the readings that are due, going by what has been heard.
    pub(super) fn look(&mut self, ear: &Ear, settings: &SessionSettings) {
        let (Some(passage), Some(options)) = (&mut self.passage, &settings.decode) else { return };
        if passage.pausing {
            if passage.guess.is_none() && settings.live.speculate && !self.lane.is_crowded() {
                passage.speculate(&self.lane, self.windows, ear, options);
            }
        } else if settings.live.interims.is_some() && passage.is_due(ear, &self.pace) {
            passage.ask(&self.lane, self.windows, ear, options);
        }
    }

    /// The next thing to say; never ready while nothing is under way.
    ///
    /// # Cancel safety
    ///
    /// Dropping this future loses nothing.
    pub(super) async fn next(&mut self, patience: Option<&Patience>) -> Vec<Word> {
        let Some(passage) = &mut self.passage else { return pending().await };
        let gives_up = passage.interim.as_ref().map(|interim| interim.since + self.pace.patience());
        tokio::select! {
            biased;
            transcript = guessed(&mut passage.guess) => passage.guessed(transcript, patience),
            transcript = interpreted(&mut passage.interim) => self.interpreted(transcript),
            () = at(gives_up) => {
                passage.interim = None;
                let paused = self.pace.starved();
                paused.then_some(Word::Interims { paused: true }).into_iter().collect()
            }
        }
    }

    fn interpreted(&mut self, transcript: Result<Transcript, AsrError>) -> Vec<Word> {
        let passage = self.passage.as_mut().expect("an interim belongs to a passage");
        let interim = passage.interim.take().expect("it has just ended");
        // What failed once may succeed in half a second, and the final text will tell if it does not.
        let Ok(transcript) = transcript else { return Vec::new() };
        let resumed = self.pace.read(transcript.timing.waited, transcript.timing.decode);
        let resumed = resumed.then_some(Word::Interims { paused: false });
        resumed.into_iter().chain(passage.heard(transcript, interim.window, self.windows)).collect()
    }
}

impl Passage {
    /// Whether as much new speech was heard as calls for another reading.
    fn is_due(&self, ear: &Ear, pace: &Pace) -> bool {
        self.interim.is_none()
            && duration_of(ear.voiced_since(self.read_to)) >= pace.interval(self.draft.is_told())
    }

    /// What is open so far, as much of it as goes into a window.
    fn open(&self, ear: &Ear, windows: Windows) -> Option<Utterance> {
        let open = ear.so_far(self.draft.open_from())?;
        let most = Span::new(open.span.start, open.span.start + windows.longest);
        Some(if open.span.len() > windows.longest { open.part(most) } else { open })
    }

    fn ask(&mut self, lane: &Lane, windows: Windows, ear: &Ear, options: &DecodeOptions) {
        let Some(open) = self.open(ear, windows) else { return };
        let window = open.span;
        let options = DecodeOptions {
            stability: Stability::Interim,
            timestamps: if windows.may_be_cut(window.len()) { Timestamps::Word } else { options.timestamps },
            ..windows.options(&self.draft, options)
        };
        // A window that is about to be full has to be cut, however many others wait.
        let class = if window.len() >= windows.longest { Class::Final } else { Class::Interim };
        let lane = lane.clone();
        let reading = async move { lane.transcribe(Arc::new(open), options, class, None).await };
        self.read_to = window.end;
        self.interim = Some(Interim { task: self.spawn(reading), since: Instant::now(), window });
    }

    fn speculate(&mut self, lane: &Lane, windows: Windows, ear: &Ear, options: &DecodeOptions) {
        let Some(open) = self.open(ear, windows).filter(|open| open.span.len() < windows.longest) else {
            return;
        };
        // Its slot is for the final text now.
        self.interim = None;
        let options = windows.options(&self.draft, options);
        let (lane, wanted) = (lane.clone(), CancellationToken::new());
        self.read_to = open.span.end;
        let token = wanted.clone();
        let reading = async move { lane.transcribe_speculatively(Arc::new(open), options, token).await };
        self.guess = Some(Guess::Underway(Speculation { task: self.spawn(reading), wanted }));
    }

    fn spawn(&self, reading: impl Future<Output = Result<Transcript, AsrError>> + Send + 'static) -> Task {
        let turn = info_span!("turn", item = %self.item);
        AbortOnDropHandle::new(tokio::spawn(reading.instrument(turn)))
    }

    fn resume(&mut self, windows: Windows) {
        self.pausing = false;
        let Some(Guess::Read(transcript)) = self.guess.take() else { return };
        let length = self.read_to.saturating_sub(self.draft.open_from());
        let Hypothesis { language, .. } = &transcript.hypothesis;
        let is_sentence = closing(&transcript.hypothesis.text(), language) == Closing::Sentence;
        if windows.cuts_at(length, is_sentence) && transcript.withheld.is_none() {
            // No seam is better than a pause.
            self.draft.settle_all(transcript.hypothesis, self.read_to);
        }
    }

    /// Takes what an interim gave.
    fn heard(&mut self, transcript: Transcript, window: Span, windows: Windows) -> Option<Word> {
        if transcript.withheld.is_some() {
            return None;
        }
        let reading = self.draft.anew(transcript.hypothesis);
        let older = self.draft.latest().map(str::to_owned);
        let delta = self.draft.hear(&reading);
        if windows.may_be_cut(window.len()) {
            self.cut(reading, older.as_deref(), window, windows);
        }
        delta.map(|text| Word::Delta { item: self.item, text })
    }

    /// Settles what is sure of a long window.
    fn cut(&mut self, reading: Hypothesis, older: Option<&str>, window: Span, windows: Windows) {
        let is_full = window.len() >= windows.longest;
        let older = older.filter(|_| !is_full);
        let is_worth_it =
            |seam: &Seam| seam.at > window.start && windows.cuts_at(window.len(), seam.ends_sentence);
        match seam(&reading, older, window).filter(is_worth_it) {
            Some(seam) => self.draft.settle(seam),
            None if is_full => self.draft.settle_all(reading, window.end),
            None => {}
        }
    }

    /// Takes what was read in the pause.
    fn guessed(
        &mut self,
        transcript: Result<Transcript, AsrError>,
        patience: Option<&Patience>,
    ) -> Vec<Word> {
        let Ok(transcript) = transcript else {
            self.guess = Some(Guess::Failed);
            return Vec::new();
        };
        let mut words = Vec::new();
        let hypothesis = self.draft.anew(transcript.hypothesis);
        let transcript = Transcript { hypothesis, ..transcript };
        if transcript.withheld.is_none() {
            let delta = self.draft.hear(&transcript.hypothesis);
            words.extend(delta.map(|text| Word::Delta { item: self.item, text }));
        }
        let closing = closing(&transcript.hypothesis.text(), &transcript.hypothesis.language);
        words.extend(patience.map(|patience| Word::EndSilence(patience.wait(closing))));
        self.guess = Some(Guess::Read(transcript));
        words
    }
}

/// Waits for the end of what was begun in a pause; for ever when there is nothing.
async fn guessed(guess: &mut Option<Guess>) -> Result<Transcript, AsrError> {
    match guess {
        Some(Guess::Underway(Speculation { task, .. })) => ended(task).await,
        _ => pending().await,
    }
}

/// Waits for the end of an interim; for ever when there is none.
async fn interpreted(interim: &mut Option<Interim>) -> Result<Transcript, AsrError> {
    match interim {
        Some(Interim { task, .. }) => ended(task).await,
        None => pending().await,
    }
}

async fn ended<T>(task: T) -> Result<Transcript, AsrError>
where
    T: Future<Output = Result<Result<Transcript, AsrError>, tokio::task::JoinError>>,
{
    let panicked = |_| Err(AsrError::Decode("the transcription task panicked".into()));
    task.await.unwrap_or_else(panicked)
}
