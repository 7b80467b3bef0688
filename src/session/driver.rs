//! A live stream, driven: bytes and commands in, what was heard and read out, in order.
//!
//! The driver knows no socket and no wire format. It is one future, to be polled beside the connection that it serves:
//! dropping every [`Session`] lets it finish what was said, cancelling its token makes it say what it leaves unread, and
//! dropping the [`Driver`] itself ends it without a word.
//!
//! Two channels, both bounded, none ever drops anything. Commands: 32 of them, at most 1 MiB of audio; while it is full
//! (the frontend is behind, as much speech waits for text as is kept, or the events are not taken away) the sender waits,
//! and decides itself for how long. Events: 64 of them; while it is full the driver waits and takes in no commands.
//!
//! Only where it is the pool's line that holds everything up does the driver go on hearing with a full backlog: nobody
//! knows when the turn comes, and until then the sender would be cut off from the whole session. What it hears on top is
//! dropped, utterance by utterance, each with an event that says so.

use super::backlog::{Backlog, Finished, Step};
use super::draft::Written;
use super::interpreter::{Interpreter, Word};
use super::live::{Command, LEAST_COMMIT, Refusal, Request, SessionEvent, SessionSettings};
use super::talk::{Assistant, Held, History, ReplyEvent, Talk};
use super::turns::Turns;
use super::waiting::at;
use super::windows::Read;
use super::{Ear, EarInput, Frontend, FrontendError, ItemId};
use crate::asr::{AsrError, Lane, Timing, Transcript};
use crate::audio::{AudioError, SampleRate, StreamFormat, Utterance, duration_of, samples_in};
use crate::pool::LeaseScope;
use crate::telemetry::metrics::{self, Stage};
use crate::vad::EndpointEvent;
use std::collections::VecDeque;
use std::mem;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Commands that may wait for the driver.
const COMMANDS: usize = 32;

/// Events that may wait for the connection.
const EVENTS: usize = 64;

/// Where the client cuts, it speaks for so long after its last audio: nobody else knows when it stopped.
const SPEECH_LINGERS: Duration = Duration::from_secs(1);

/// Where commands go.
#[derive(Debug, Clone)]
pub struct Session {
    requests: mpsc::Sender<Request>,
    busy: watch::Receiver<bool>,
}

/// The driver has ended, and its last event says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session has ended")]
pub struct Ended;

impl Session {
    /// Hands a request to the driver; waits while the channel is full.
    ///
    /// # Errors
    ///
    /// [`Ended`].
    ///
    /// # Cancel safety
    ///
    /// Dropping this future drops the request, unless it was already handed over.
    pub async fn send(&self, request: Request) -> Result<(), Ended> {
        self.requests.send(request).await.map_err(|_| Ended)
    }

    /// Whether something is being said, or waits for its text, or a slot is kept: whether anybody gains by the session's
    /// end.
    pub fn busy(&self) -> watch::Receiver<bool> {
        self.busy.clone()
    }
}

/// Where events come from; ends after the last.
pub type SessionEvents = mpsc::Receiver<SessionEvent>;

/// Makes a session: where commands go, where events come from, and the future between them.
pub fn open(
    frontend: Frontend,
    lane: Lane,
    assistant: Assistant,
    settings: SessionSettings,
) -> (Session, SessionEvents, Driver) {
    let (requests_in, requests) = mpsc::channel(COMMANDS);
    let (events, events_out) = mpsc::channel(EVENTS);
    let (busy, busy_out) = watch::channel(false);
    let driver = Driver {
        frontend,
        ear: Some(Ear::new(settings.format, settings.endpoint.clone())),
        interpreter: Interpreter::new(lane.clone(), &settings),
        backlog: Backlog::new(lane, settings.keeping),
        talk: settings.talk.clone().map(|talk| Box::new(Talk::new(assistant.clone(), *talk))),
        history: History::default(),
        held: VecDeque::new(),
        assistant,
        settings,
        requests,
        events,
        turns: Turns::default(),
        owed: VecDeque::new(),
        busy,
        speaking: false,
        heard: None,
        replied_at: 0,
        uncut: 0,
    };
    (Session { requests: requests_in, busy: busy_out }, events_out, driver)
}

/// The inside of a session.
pub struct Driver {
    frontend: Frontend,
    ear: Option<Ear>,
    settings: SessionSettings,
    requests: mpsc::Receiver<Request>,
    events: mpsc::Sender<SessionEvent>,
    turns: Turns,
    interpreter: Interpreter,
    backlog: Backlog,
    /// What was said and written.
    history: History,
    /// Who replies, and the other half of the conversation if there is one.
    assistant: Assistant,
    talk: Option<Box<Talk>>,
    /// What may be an echo of a reply and is not told yet, oldest first.
    held: VecDeque<Held>,
    /// Up to where the ear had heard when a reply was last heard.
    replied_at: u64,
    /// Items that were told to be committed and not yet to be read or unread, in order.
    owed: VecDeque<ItemId>,
    busy: watch::Sender<bool>,
    /// Whether the pool was told that somebody speaks.
    speaking: bool,
    /// When audio came last that is not cut yet.
    heard: Option<Instant>,
    /// Samples at 16 kHz since the last cut, as the sender counts them: none is held back by a resampler.
    uncut: u64,
}

/// Why there is an ear whenever the driver looks for it: `hear` gives it back, or ends the driver.
const EAR_IS_HOME: &str = "the ear is home between two pieces of work";

/// Why the driver ends before it was told to.
enum End {
    /// Nobody takes the events any more.
    Unheard,
    /// The frontend kept the ear.
    Deaf(FrontendError),
}

impl Driver {
    /// Drives the session until every [`Session`] is dropped; then commits what is being said, reads all that waits,
    /// tells it, and ends.
    ///
    /// Once `abandon` is cancelled it leaves all that alone at once, and only tells of every item that was committed
    /// that it will not be read.
    ///
    /// # Cancel safety
    ///
    /// Dropping this future ends the session without a word: its place in line is left, and a running decode ends soon.
    pub async fn run(mut self, abandon: CancellationToken) {
        if abandon.run_until_cancelled(self.finish()).await.is_none() {
            self.abandon().await;
        }
    }

    async fn finish(&mut self) {
        // `Unheard` needs no more words, and neither does a last event that nobody takes.
        if let Err(End::Deaf(error)) = self.live().await
            && self.read_all().await.is_ok()
        {
            let _ = self.tell(SessionEvent::Deaf(error)).await;
        }
    }

    async fn abandon(&mut self) {
        self.backlog.clear();
        if self.end_talk().await.is_err() {
            return;
        }
        let owed = mem::take(&mut self.owed);
        for item in owed.into_iter().filter(|item| !self.is_held(*item)).collect::<Vec<_>>() {
            if self.tell(SessionEvent::Unread { item, error: AsrError::Cancelled }).await.is_err() {
                return;
            }
        }
    }

    async fn live(&mut self) -> Result<(), End> {
        if self.settings.scope() == LeaseScope::Session {
            self.backlog.set_scope(LeaseScope::Session);
        }
        while let Some(request) = self.next_request().await? {
            // On the heap, so that a session that waits for the next request, as most do, holds no room for this one.
            Box::pin(self.obey(request)).await?;
        }
        self.end_talk().await?;
        // What is being said when the last handle goes is worth its text, however short it is.
        let _ = Box::pin(self.hear(EarInput::Commit)).await?;
        self.forget_turn();
        self.read_all().await
    }

    /// The next request; meanwhile, texts are told. `None` when there will be no more.
    async fn next_request(&mut self) -> Result<Option<Request>, End> {
        loop {
            self.note_busy();
            let takes_more = !self.backlog.is_full() || self.backlog.overflows();
            let (blocked_from, quiet_from) = (self.backlog.blocked_from(), self.quiet_from());
            tokio::select! {
                biased;
                step = self.backlog.next() => Box::pin(self.tell_step(step)).await?,
                words = self.interpreter.next(self.settings.patience.as_ref()) => self.tell_words(words).await?,
                replied = talking::next(&mut self.talk, &mut self.history) => self.tell_replies(replied).await?,
                request = self.requests.recv(), if takes_more => return Ok(request),
                () = at(blocked_from), if !takes_more => {}
                () = at(quiet_from) => self.note_speaking(),
                () = self.events.closed() => return Err(End::Unheard),
            }
        }
    }

    async fn read_all(&mut self) -> Result<(), End> {
        while !self.backlog.is_empty() {
            let step = self.backlog.next().await;
            self.tell_step(step).await?;
        }
        Ok(())
    }

    async fn obey(&mut self, Request { command, origin }: Request) -> Result<(), End> {
        match command {
            Command::Append(bytes) => self.append(bytes, origin).await,
            Command::Commit => self.commit(origin).await,
            Command::Clear => self.clear().await,
            Command::Configure(settings) => self.configure(*settings).await,
            command => self.converse(command, origin).await,
        }
    }

    async fn append(&mut self, bytes: Vec<u8>, origin: Option<String>) -> Result<(), End> {
        if bytes.is_empty() {
            return Ok(());
        }
        if !self.settings.endpoint.automatic {
            let begin = self.ear.as_ref().map_or(0, |ear| ear.position() - ear.pending());
            self.interpreter.begin(self.turns.begin(), begin);
        }
        self.heard = Some(Instant::now());
        self.note_speaking();
        let samples = samples_in_bytes(self.settings.format, bytes.len());
        self.uncut += samples;
        match self.hear(EarInput::Bytes(bytes)).await? {
            Ok(_) => {
                self.look();
                self.weigh().await?;
                self.time_out().await
            }
            Err(error) => {
                self.uncut = self.uncut.saturating_sub(samples);
                self.tell(SessionEvent::Refused { origin, refusal: Refusal::Audio(error) }).await
            }
        }
    }

    async fn commit(&mut self, origin: Option<String>) -> Result<(), End> {
        self.release_all().await?;
        let samples = if self.settings.endpoint.automatic { self.pending() } else { self.uncut };
        let buffered = duration_of(samples);
        // A commit brings no bytes, so there is nothing in it that could fail to be audio.
        if buffered >= LEAST_COMMIT && self.hear(EarInput::Commit).await?.is_ok_and(|cuts| cuts > 0) {
            return Ok(());
        }
        self.tell(SessionEvent::Refused { origin, refusal: Refusal::CommitEmpty { buffered } }).await
    }

    async fn clear(&mut self) -> Result<(), End> {
        let _ = self.hear(EarInput::Clear).await?;
        if let Some(item) = self.interpreter.forget() {
            self.tell_heard(SessionEvent::Discarded { item }).await?;
        }
        self.forget_turn();
        self.uncut = 0;
        self.tell(SessionEvent::Cleared).await
    }

    async fn configure(&mut self, settings: SessionSettings) -> Result<(), End> {
        let ear = self.ear.as_mut().expect(EAR_IS_HOME);
        if settings.format != self.settings.format {
            ear.set_format(settings.format);
        }
        if settings.endpoint != self.settings.endpoint {
            ear.configure(settings.endpoint.clone());
        }
        if settings.endpoint.automatic != self.settings.endpoint.automatic {
            // The detector has let go of the silence before; what it has not is what a commit would cut.
            self.uncut = self.pending();
        }
        if settings.scope() != self.settings.scope() {
            self.backlog.set_scope(settings.scope());
        }
        self.backlog.keep(settings.keeping);
        self.interpreter.configure(&settings);
        if settings.decode.is_none() {
            // Nothing more is to be read, and nobody waits for what is.
            self.interpreter.rest();
        }
        self.configure_talk(settings.talk.as_deref()).await?;
        self.settings = settings;
        self.note_speaking();
        Ok(())
    }

    /// Lets the ear hear something, and follows what it heard; gives the number of utterances that were cut.
    async fn hear(&mut self, input: EarInput) -> Result<Result<usize, AudioError>, End> {
        let events = match self.listen(input).await? {
            Ok(events) => events,
            Err(error) => return Ok(Err(error)),
        };
        let mut cuts = 0;
        for event in events {
            cuts += usize::from(matches!(event, EndpointEvent::Utterance(..)));
            self.follow(event).await?;
        }
        Ok(Ok(cuts))
    }

    /// Lets the ear hear something.
    async fn listen(&mut self, input: EarInput) -> Result<Result<Vec<EndpointEvent>, AudioError>, End> {
        let ear = self.ear.take().expect(EAR_IS_HOME);
        let (ear, heard) = self.frontend.hear(ear, input).await.map_err(End::Deaf)?;
        self.ear = Some(ear);
        Ok(heard)
    }

    /// Commits silence that has lasted as long as the session waits for speech.
    async fn time_out(&mut self) -> Result<(), End> {
        let ear = self.ear.as_ref().expect(EAR_IS_HOME);
        let limit = self.settings.idle_timeout.filter(|_| self.settings.endpoint.automatic);
        if self.talk.as_ref().is_some_and(|talk| talk.is_busy()) {
            self.replied_at = ear.position();
        }
        let silence = ear.silence().min(ear.position() - self.replied_at);
        if limit.is_none_or(|limit| silence < samples_in(limit)) {
            return Ok(());
        }
        for event in self.listen(EarInput::CommitSilence).await?.unwrap_or_default() {
            if let EndpointEvent::Utterance(silence, _) = &event {
                let item = self.turns.begin();
                self.tell(SessionEvent::TimedOut { item, span: silence.span }).await?;
            }
            self.follow(event).await?;
        }
        Ok(())
    }

    /// Has what is being said read, as far as that is due. A session that is behind with its finals reads those first.
    fn look(&mut self) {
        let ear = self.ear.as_mut().expect(EAR_IS_HOME);
        ear.settle(self.interpreter.kept_to());
        if self.backlog.is_empty() {
            self.interpreter.look(ear, &self.settings);
        }
    }

    async fn follow(&mut self, event: EndpointEvent) -> Result<(), End> {
        match &event {
            EndpointEvent::SpeechStarted { at } => self.interpreter.begin(self.turns.begin(), *at),
            EndpointEvent::SpeechPaused { .. } => self.interpreter.pause(),
            EndpointEvent::SpeechResumed { .. } => {
                self.interpreter.resume();
                self.talk.iter_mut().for_each(|talk| talk.resumed());
            }
            EndpointEvent::SpeechStopped { .. } | EndpointEvent::Utterance(..) => {}
        }
        let mut told = Vec::new();
        let complete = self.turns.follow(event, &mut told);
        if complete.is_some() {
            self.heard = None;
        }
        self.note_speaking();
        for event in told {
            self.tell_heard(event).await?;
        }
        if let Some((item, utterance)) = complete {
            self.uncut = self.pending();
            metrics::speech_heard(utterance.speech.duration());
            self.keep(item, utterance).await?;
        }
        Ok(())
    }

    /// Keeps an utterance until it is read, if it is to be read and can be kept.
    async fn keep(&mut self, item: ItemId, utterance: Utterance) -> Result<(), End> {
        let Some(options) = &self.settings.decode else {
            // Words of it were told while it was to be read.
            return match self.interpreter.forget() {
                Some(item) => {
                    self.tell_heard(SessionEvent::Unread { item, error: AsrError::Cancelled }).await
                }
                None => Ok(()),
            };
        };
        self.owed.push_back(item);
        let span = utterance.span;
        let work = self.interpreter.complete(item, utterance, options.clone());
        if !self.backlog.overflows() {
            self.backlog.push(item, work);
            return Ok(());
        }
        let dropped = self.backlog.dropping(span);
        self.tell_heard(SessionEvent::Dropped { item, dropped }).await?;
        // Older ones are still owed.
        self.owed.pop_back();
        Ok(())
    }

    /// Nobody has said anything since the last cut.
    fn forget_turn(&mut self) {
        self.turns.clear();
        self.interpreter.forget();
        // What is committed already is still owed its text.
        let owed = &self.owed;
        self.held.retain(|held| owed.contains(&held.item));
        self.heard = None;
        self.note_speaking();
    }

    /// Lets the connection know whether anybody gains by its end.
    fn note_busy(&self) {
        let keeps_slot = self.settings.scope() == LeaseScope::Session;
        let replies = self.talk.as_ref().is_some_and(|talk| talk.is_busy());
        let busy = keeps_slot || replies || self.turns.is_open() || !self.owed.is_empty();
        self.busy.send_if_modified(|shown| mem::replace(shown, busy) != busy);
    }

    /// When whoever speaks will have ceased to, if no more of its audio comes.
    fn quiet_from(&self) -> Option<Instant> {
        self.heard.filter(|_| self.speaking).map(|heard| heard + SPEECH_LINGERS)
    }

    /// Lets the pool know whether somebody speaks: from the first speech of an item until it is complete, or, where the
    /// client cuts, all the time; but only as long as audio comes. That an item is open for long means nothing: its
    /// client may have left it.
    fn note_speaking(&mut self) {
        let audio_comes = self.heard.is_some_and(|heard| heard.elapsed() < SPEECH_LINGERS);
        let speaking = audio_comes && (!self.settings.endpoint.automatic || self.turns.is_speech());
        if mem::replace(&mut self.speaking, speaking) != speaking {
            self.backlog.set_speaking(speaking);
        }
    }

    fn pending(&self) -> u64 {
        self.ear.as_ref().expect(EAR_IS_HOME).pending()
    }

    async fn tell_step(&mut self, step: Step) -> Result<(), End> {
        match step {
            Step::Lease(event) => self.tell(SessionEvent::Lease(event)).await,
            Step::Text(finished) => self.tell_text(*finished).await,
        }
    }

    async fn tell_words(&mut self, words: Vec<Word>) -> Result<(), End> {
        for word in words {
            match word {
                Word::Delta { item, text } => {
                    metrics::words_told(words_in(&text));
                    self.tell_heard(SessionEvent::Delta { item, text }).await?;
                }
                Word::Interims { paused } => self.tell(SessionEvent::Interims { paused }).await?,
                Word::EndSilence(silence) => {
                    self.ear.as_mut().expect(EAR_IS_HOME).set_end_silence(silence);
                }
                Word::Guess(text) => {
                    self.talk.iter_mut().for_each(|talk| talk.guess(&text, &self.history));
                }
            }
        }
        self.look();
        Ok(())
    }

    async fn tell_text(&mut self, finished: Finished) -> Result<(), End> {
        let Finished { item, audio, result, leases, cut } = finished;
        for event in leases {
            self.tell(SessionEvent::Lease(event)).await?;
        }
        let timing = result.as_ref().ok().map(|read| read.timing);
        let turn = timing.zip(cut);
        if let (Some(talk), Some((timing, (cut_at, endpoint)))) = (&mut self.talk, turn) {
            talk.note_turn(endpoint, cut_at, timing);
        }
        self.tell_heard(match result {
            Ok(Read { written: Written { hypothesis, rest, diverged_words, withheld }, timing }) => {
                let transcript = Box::new(Transcript { hypothesis, timing, withheld });
                metrics::words_diverged(diverged_words);
                SessionEvent::Read { item, audio, transcript, rest, diverged_words }
            }
            Err(error) => SessionEvent::Unread { item, error },
        })
        .await?;
        // Texts come in the order of their items. One that was on its way when the session was abandoned is still owed.
        self.owed.pop_front();
        if let Some((timing, (cut_at, endpoint))) = turn {
            note_turn(endpoint, timing, endpoint + cut_at.elapsed());
        }
        Ok(())
    }

    /// Tells an event, and what it brings about.
    async fn tell(&mut self, mut event: SessionEvent) -> Result<(), End> {
        if let Some(code) = event.failure() {
            metrics::failed(metrics::Module::Session, code);
        }
        self.note(&mut event);
        let reaction = Reaction::to(&event);
        self.events.send(event).await.map_err(|_| End::Unheard)?;
        let replied = self.react(reaction);
        self.tell_replies(replied).await
    }

    async fn tell_replies(&mut self, replied: Vec<ReplyEvent>) -> Result<(), End> {
        for event in replied {
            let event = SessionEvent::Reply(Box::new(event));
            self.events.send(event).await.map_err(|_| End::Unheard)?;
        }
        Ok(())
    }
}

/// Records what the way from the end of speech to its text was spent on. All of it is more than the sum of the parts when
/// the utterance waited behind older ones of its own session.
fn note_turn(endpoint: Duration, timing: Timing, total: Duration) {
    metrics::turn_took(Stage::Endpoint, endpoint);
    metrics::turn_took(Stage::Wait, timing.waited);
    metrics::turn_took(Stage::Decode, timing.decode);
    metrics::turn_took(Stage::Total, total);
}

/// How many words a piece of text has; a mark alone is none.
fn words_in(text: &str) -> u32 {
    text.split_whitespace().filter(|word| word.contains(char::is_alphanumeric)).count() as u32
}

/// How many samples at 16 kHz so many bytes are.
fn samples_in_bytes(format: StreamFormat, bytes: usize) -> u64 {
    let (samples, hertz) = match format {
        StreamFormat::Pcm16 { rate } => (bytes as u64 / 2, rate.hertz()),
        StreamFormat::MuLaw | StreamFormat::ALaw => (bytes as u64, 8_000),
    };
    samples * u64::from(SampleRate::SPEECH.hertz()) / u64::from(hertz)
}

mod talking;

use talking::Reaction;

#[cfg(test)]
mod tests;
