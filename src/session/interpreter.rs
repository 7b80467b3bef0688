//! Reads what is being said while it is being said: interims, and the final text begun in a pause.
//!
//! Nothing here is promised. An interim that waits is dropped for a newer one, and what was begun in a pause is thrown
//! away when speech goes on. What is told is told for good, though: a [`Draft`] lets through only what two readings agree
//! on. At most one interim and one speculative decode are under way.

use super::backlog::{Known, Work};
use super::draft::Draft;
use super::live::SessionSettings;
use super::pace::Pace;
use super::waiting::{Task, at, ended};
use super::windows::Windows;
use super::{Closing, Ear, ItemId, Patience, closing};
use crate::asr::{AsrError, DecodeOptions, Hypothesis, Lane, Seam, Stability, Timestamps, Transcript, seam};
use crate::audio::{Span, Utterance, duration_of, samples_in};
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
    /// If this pause is the end, this is all of the text.
    Guess(String),
}

/// A final decode that was begun in a pause.
#[derive(Debug)]
pub(super) struct Speculation {
    task: Task<Transcript>,
    wanted: CancellationToken,
}

impl Speculation {
    /// Begins to read what may be the end of an item.
    pub(super) fn begin(lane: Lane, item: ItemId, utterance: Utterance, options: DecodeOptions) -> Self {
        let wanted = CancellationToken::new();
        let token = wanted.clone();
        let reading = async move { lane.transcribe_speculatively(Arc::new(utterance), options, token).await };
        Self { task: spawn(item, reading), wanted }
    }

    /// Waits for its end, now that it is needed for sure.
    ///
    /// # Cancel safety
    ///
    /// Dropping this future drops the decode.
    pub(super) async fn transcript(mut self) -> Result<Transcript, AsrError> {
        self.wanted.cancel();
        ended(Some(&mut self.task)).await
    }
}

struct Interim {
    task: Task<Transcript>,
    /// When it is given up.
    until: Instant,
    /// What it reads.
    window: Span,
}

/// A final decode that was begun in a pause, in case that is the end.
struct Guess {
    /// What it reads.
    window: Span,
    /// The middle of the silence at its end.
    pause: u64,
    reading: Reading,
}

/// What came of it.
enum Reading {
    Underway(Speculation),
    Read(Transcript),
    /// The real one will find out.
    Failed,
}

impl Guess {
    /// What reads it, while something does.
    fn task(&mut self) -> Option<&mut Task<Transcript>> {
        match &mut self.reading {
            Reading::Underway(speculation) => Some(&mut speculation.task),
            Reading::Read(_) | Reading::Failed => None,
        }
    }

    /// What it says about an utterance. Nothing, where that goes on with what no pause ends (the detector was not sure of
    /// it), or was cut before it.
    fn known(self, utterance: &Utterance) -> Known {
        let fits = utterance.speech.end <= self.window.end && self.window.end <= utterance.span.end;
        match self.reading {
            Reading::Underway(speculation) if fits => Known::Soon(speculation),
            Reading::Read(transcript) if fits => Known::Text(transcript),
            _ => Known::Nothing,
        }
    }

    /// Whether it is out of date: something was heard since, and it is quiet again.
    fn is_outdated(&self, ear: &Ear) -> bool {
        let quiet_from = ear.position().saturating_sub(samples_in(ear.settings().short_pause));
        ear.voiced_since(self.window.end) > 0 && ear.voiced_since(quiet_from) == 0
    }
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

    /// Up to where what is being said has text that stays in its item.
    pub(super) fn kept_to(&self) -> u64 {
        self.passage.as_ref().map_or(0, |passage| passage.draft.kept_to())
    }

    /// Drops the readings that are under way. What was read so far stays: more of the same may be asked for.
    pub(super) fn rest(&mut self) {
        if let Some(passage) = &mut self.passage {
            (passage.interim, passage.guess) = (None, None);
        }
    }

    /// Forgets what is being said; gives its name if some of its text was told.
    pub(super) fn forget(&mut self) -> Option<ItemId> {
        self.passage.take().filter(|passage| passage.draft.is_told()).map(|passage| passage.item)
    }

    /// What is left to do for an utterance that is complete.
    pub(super) fn complete(&mut self, item: ItemId, utterance: Utterance, options: DecodeOptions) -> Work {
        let passage = self.passage.take().filter(|passage| passage.item == item);
        let Some(Passage { draft, guess, .. }) = passage else {
            return Work::unread(utterance, options);
        };
        let known = guess.map_or(Known::Nothing, |guess| guess.known(&utterance));
        Work { draft, known, ..Work::unread(utterance, options) }
    }

    /// Asks for the readings that are due, going by what has been heard.
    pub(super) fn look(&mut self, ear: &Ear, settings: &SessionSettings) {
        let (Some(passage), Some(options)) = (&mut self.passage, &settings.decode) else { return };
        if passage.pausing {
            let is_due = passage.guess.as_ref().is_none_or(|guess| guess.is_outdated(ear));
            if is_due && settings.live.speculate && !self.lane.is_crowded() {
                passage.speculate(&self.lane, self.windows, ear, options);
            }
        } else if settings.live.interims.is_some() && passage.is_due(ear, &self.pace) {
            passage.ask(&self.lane, self.windows, ear, options, &mut self.pace);
        }
    }

    /// The next thing to say; never ready while nothing is under way.
    ///
    /// # Cancel safety
    ///
    /// Dropping this future loses nothing.
    pub(super) async fn next(&mut self, patience: Option<&Patience>) -> Vec<Word> {
        let Some(passage) = &mut self.passage else { return pending().await };
        let gives_up = passage.interim.as_ref().map(|interim| interim.until);
        tokio::select! {
            biased;
            transcript = ended(passage.guess.as_mut().and_then(Guess::task)) => passage.guessed(transcript, patience),
            transcript = ended(passage.interim.as_mut().map(|interim| &mut interim.task)) => self.interpreted(transcript),
            () = at(gives_up) => {
                passage.interim = None;
                let paused = self.pace.starved(Instant::now());
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
        let interval = pace.interval(self.draft.is_told(), Instant::now());
        self.interim.is_none()
            && interval.is_some_and(|interval| duration_of(ear.voiced_since(self.read_to)) >= interval)
    }

    /// The window that is read next; it may end later than what was heard.
    fn window(&self, ear: &Ear, windows: Windows) -> Option<Span> {
        let from = self.draft.open_from();
        ear.voice_from(from).map(|voice| windows.next(from, voice))
    }

    fn ask(&mut self, lane: &Lane, windows: Windows, ear: &Ear, options: &DecodeOptions, pace: &mut Pace) {
        let Some(open) = self.window(ear, windows).and_then(|window| ear.so_far(window)) else { return };
        let window = open.span;
        let is_full = windows.is_full(window);
        let options = DecodeOptions {
            // Nobody reads what is settled of it once more.
            stability: if is_full { Stability::Final } else { Stability::Interim },
            timestamps: if windows.may_be_cut(window.len()) { Timestamps::Word } else { options.timestamps },
            ..windows.options(&self.draft, options)
        };
        // A window that is about to be full has to be cut, however many others wait.
        let class = if is_full { Class::Final } else { Class::Interim };
        let now = Instant::now();
        let until = now + pace.ask(lane.expected(window.duration()), now);
        let lane = lane.clone();
        let reading = async move { lane.transcribe(Arc::new(open), options, class, None).await };
        self.read_to = window.end;
        self.interim = Some(Interim { task: spawn(self.item, reading), until, window });
    }

    fn speculate(&mut self, lane: &Lane, windows: Windows, ear: &Ear, options: &DecodeOptions) {
        // A full window is to be cut, and that is done by an interim.
        let window = self.window(ear, windows).filter(|window| window.end > ear.position());
        let Some(open) = window.and_then(|window| ear.so_far(window)) else { return };
        // Its slot is for the final text now.
        self.interim = None;
        let options = windows.options(&self.draft, options);
        let (window, pause) = (open.span, open.speech.end.midpoint(open.span.end));
        let reading = Reading::Underway(Speculation::begin(lane.clone(), self.item, open, options));
        self.read_to = window.end;
        self.guess = Some(Guess { window, pause, reading });
    }

    fn resume(&mut self, windows: Windows) {
        self.pausing = false;
        let Some(Guess { window, pause, reading: Reading::Read(transcript) }) = self.guess.take() else {
            return;
        };
        let Hypothesis { language, .. } = &transcript.hypothesis;
        let is_sentence = closing(&transcript.hypothesis.text(), language) == Closing::Sentence;
        if windows.cuts_at(window.len(), is_sentence) && transcript.withheld.is_none() {
            // No seam is better than a pause. Its middle, because at its end a word may have begun that the detector was
            // not sure of yet.
            self.draft.settle_all(transcript.hypothesis, pause);
        }
    }

    /// Takes what an interim gave.
    fn heard(&mut self, transcript: Transcript, window: Span, windows: Windows) -> Option<Word> {
        if let Some(withheld) = transcript.withheld {
            // No other reading of a full window would come, and no reading of what lies behind it.
            if windows.is_full(window) {
                self.draft.withhold(withheld, window.end);
            }
            return None;
        }
        let reading = self.draft.anew(transcript.hypothesis);
        let older = self.draft.latest().map(str::to_owned);
        let delta = self.draft.hear(&reading, window.end);
        if windows.may_be_cut(window.len()) {
            self.cut(reading, older.as_deref(), window, windows);
        }
        delta.map(|text| Word::Delta { item: self.item, text })
    }

    /// Settles what is sure of a long window.
    fn cut(&mut self, reading: Hypothesis, older: Option<&str>, window: Span, windows: Windows) {
        let is_full = windows.is_full(window);
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
        let guess = self.guess.as_mut().expect("it has just been read");
        let Ok(transcript) = transcript else {
            guess.reading = Reading::Failed;
            return Vec::new();
        };
        let mut words = Vec::new();
        let hypothesis = self.draft.anew(transcript.hypothesis);
        let transcript = Transcript { hypothesis, ..transcript };
        if transcript.withheld.is_none() {
            let delta = self.draft.hear(&transcript.hypothesis, guess.window.end);
            words.extend(delta.map(|text| Word::Delta { item: self.item, text }));
            words.push(Word::Guess(self.draft.whole(&transcript.hypothesis.text())));
        }
        let closing = closing(&transcript.hypothesis.text(), &transcript.hypothesis.language);
        words.extend(patience.map(|patience| Word::EndSilence(patience.wait(closing))));
        guess.reading = Reading::Read(transcript);
        words
    }
}

fn spawn(
    item: ItemId,
    reading: impl Future<Output = Result<Transcript, AsrError>> + Send + 'static,
) -> Task<Transcript> {
    let turn = info_span!("turn", %item);
    AbortOnDropHandle::new(tokio::spawn(reading.instrument(turn)))
}
