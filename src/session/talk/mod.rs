//! The other half of a conversation: replies to what was said, in time, until somebody speaks.
//!
//! [`Dialogue`] decides whose turn it is, [`Playout`] when sound is sent and what was heard of it, [`History`] what a language
//! model is shown; those three are pure. [`Talk`] puts them together with a [`Reply`] on its way. It is polled by the session's
//! driver, which tells what it gives: so everything that a session tells comes from one place, in one order, and after
//! `speech_started` there is no sound of a reply that gave way to it.

mod current;
mod dialogue;
mod echo;
mod event;
mod history;
mod playout;
mod reply;
mod script;
mod settings;

pub use dialogue::{Epoch, Manners, Origin, Reason};
pub(super) use echo::{Held, Verdict, is_surely_speech};
pub use event::{Latency, Part, ReplyEvent, ReplyId, ReplyStatus, ReplyView};
pub use history::{Body, Content, History, Item, ItemError, ItemStatus, Place, Role};
pub use script::Script;
pub use settings::{Assistant, EchoSettings, Input, ReplyRequest, TalkSettings, TalkTerms};

use super::live::Refusal;
use super::waiting::at;
use crate::asr::Timing;
use crate::llm::{ChatRequest, Message, trim};
use crate::telemetry::metrics::{self, Stage};
use crate::tts::Narrator;
use current::{Current, Mark, Times, truncated};
use dialogue::{Act, Cue, Dialogue, Untimely};
use playout::{Cargo, Playout};
use reply::{Reply, Speaking};
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;
use tracing::trace;

/// How long a reply that was begun in a pause is kept.
const GUESS_LASTS: Duration = Duration::from_secs(5);

/// Tells sessions apart for those who take turns in fair order.
static ASKERS: AtomicU64 = AtomicU64::new(1);

/// What was spoken last, and may be playing still.
struct Tail {
    reply: ReplyId,
    item: String,
    playout: Playout<Mark>,
}

/// A reply that was asked for before anybody knew whether it is wanted.
struct Guessed {
    /// For these settings.
    settings: Box<TalkSettings>,
    request: ChatRequest,
    reply: Reply,
    /// When it is given up: whoever paused has neither ended nor gone on, and somebody else may need the place.
    until: Instant,
}

/// When somebody stopped speaking, and what the way to the text was spent on.
#[derive(Debug, Clone, Copy)]
struct Turn {
    ended: Instant,
    stations: [Duration; 3],
}

/// The conversation of one session.
pub(super) struct Talk {
    assistant: Assistant,
    narrator: Option<Arc<dyn Narrator>>,
    settings: Box<TalkSettings>,
    dialogue: Dialogue,
    current: Option<Box<Current>>,
    tail: Option<Tail>,
    guessed: Option<Guessed>,
    turn: Option<Turn>,
    asker: u64,
}

impl Talk {
    /// A conversation in which nothing was said yet.
    pub(super) fn new(assistant: Assistant, settings: TalkSettings) -> Self {
        let narrator = assistant.studio.as_ref().map(|studio| studio.narrator());
        let mut dialogue = Dialogue::default();
        dialogue.behave(settings.manners);
        Self {
            assistant,
            narrator,
            settings: Box::new(settings),
            dialogue,
            current: None,
            tail: None,
            guessed: None,
            turn: None,
            asker: ASKERS.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Goes on with other settings. A reply that has begun keeps its own.
    pub(super) fn configure(&mut self, settings: TalkSettings) {
        self.dialogue.behave(settings.manners);
        if *self.settings != settings {
            self.guessed = None;
        }
        *self.settings = settings;
    }

    /// Whether a reply is being made, or heard.
    pub(super) fn is_busy(&self) -> bool {
        self.dialogue.has_reply() || self.is_audible(Instant::now())
    }

    /// Whether the listener hears a reply now, or is about to.
    pub(super) fn is_audible(&self, now: Instant) -> bool {
        self.current.as_ref().is_some_and(|current| current.playout.is_audible(now))
            || self.tail.as_ref().is_some_and(|tail| tail.playout.is_audible(now))
    }

    /// Whether what sounds like speech may be an echo of a reply that would give way to it.
    pub(super) fn may_echo(&self, now: Instant) -> bool {
        self.dialogue.gives_way() && self.is_audible(now)
    }

    /// How sure one has to be that it is speech.
    pub(super) fn echo(&self) -> EchoSettings {
        self.settings.terms.echo
    }

    /// What the listener hears, in words.
    pub(super) fn words(&self, history: &History) -> String {
        let current = self.current.as_ref().and_then(|current| current.message()).cloned();
        let last = || self.tail.as_ref().and_then(|tail| history.get(&tail.item).ok()).cloned();
        let message = current.or_else(last);
        message
            .map(|mut item| item.script().map_or(String::new(), |script| script.text().to_owned()))
            .unwrap_or_default()
    }

    // What happens on the person's side.

    /// Somebody began to speak.
    pub(super) fn speech_started(&mut self, history: &mut History) -> Vec<ReplyEvent> {
        let mut events = self.cue(Cue::SpeechStarted, history);
        if self.dialogue.gives_way() {
            events.extend(self.hush(history));
        }
        events
    }

    /// What was said is an item, which will be read.
    pub(super) fn committed(&mut self, detected: bool, history: &mut History) -> Vec<ReplyEvent> {
        self.cue(Cue::Committed { detected }, history)
    }

    /// Nobody has said anything for so long that it is answered.
    pub(super) fn timed_out(&mut self, history: &mut History) -> Vec<ReplyEvent> {
        self.cue(Cue::TimedOut, history)
    }

    /// What the way to the next text was spent on: since the end of speech, which was believed at `cut`, `endpoint` later.
    pub(super) fn note_turn(&mut self, endpoint: Duration, cut: Instant, timing: Timing) {
        let after = cut.elapsed();
        // What was waited for and read in the pause did not make anybody wait.
        let wait = timing.waited.min(after);
        let ended = cut.checked_sub(endpoint).unwrap_or(cut);
        self.turn = Some(Turn { ended, stations: [endpoint, wait, after.saturating_sub(wait)] });
    }

    /// The oldest item that was committed and not read has its text, or never will.
    pub(super) fn read(&mut self, words: bool, history: &mut History) -> Vec<ReplyEvent> {
        let events = self.cue(Cue::Read { words }, history);
        // What was not wanted now never will be.
        self.guessed = None;
        events
    }

    /// What was being said is forgotten.
    pub(super) fn cleared(&mut self, history: &mut History) -> Vec<ReplyEvent> {
        self.guessed = None;
        self.cue(Cue::Cleared, history)
    }

    /// What was said so far may be all of it, and reads like this: the model may begin to think.
    pub(super) fn guess(&mut self, text: &str, history: &History) {
        let wanted = self.settings.terms.speculate && self.settings.manners.create;
        if !wanted || self.dialogue.has_reply() || text.trim().is_empty() {
            return;
        }
        let mut messages = history.messages();
        messages.push(Message::User(text.to_owned()));
        let settings = self.settings.clone();
        let request = self.request(&settings, messages);
        if self.guessed.as_ref().is_some_and(|guessed| guessed.request == request) {
            return;
        }
        let reply = self.ask(&settings, request.clone());
        self.guessed = Some(Guessed { settings, request, reply, until: Instant::now() + GUESS_LASTS });
    }

    /// It was not all.
    pub(super) fn resumed(&mut self) {
        self.guessed = None;
    }

    /// It was an echo: nobody said anything.
    pub(super) fn never_said(&mut self) {
        (self.guessed, self.turn) = (None, None);
    }

    // What clients want.

    /// A client wants a reply.
    ///
    /// # Errors
    ///
    /// When there is one, or the request refers to an item that is not there.
    pub(super) fn create(
        &mut self,
        mut request: ReplyRequest,
        history: &mut History,
    ) -> Result<Vec<ReplyEvent>, Refusal> {
        for input in request.input.iter_mut().flatten() {
            if let Input::Reference(id) = input {
                *input = Input::Item(Box::new(history.get(id)?.clone()));
            }
        }
        let acts = self.dialogue.take(Cue::Create).map_err(refusal)?;
        Ok(self.act(acts, Some(request), history))
    }

    /// A client wants no reply, or not this one.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub(super) fn cancel(
        &mut self,
        reply: Option<&str>,
        history: &mut History,
    ) -> Result<Vec<ReplyEvent>, Refusal> {
        let current = self.current.as_ref().map(|current| current.id.to_string());
        if reply.is_some() && reply != current.as_deref() {
            return Err(Refusal::NoReply);
        }
        self.guessed = None;
        let acts = self.dialogue.take(Cue::Cancel).map_err(refusal)?;
        Ok(self.act(acts, None, history))
    }

    /// A client wants to hear no more of what is being said.
    ///
    /// # Errors
    ///
    /// When nothing is.
    pub(super) fn clear_output(&mut self, history: &mut History) -> Result<Vec<ReplyEvent>, Refusal> {
        let current = self.current.as_ref().filter(|current| current.request.settings.spoken);
        let reply = match (current, &self.tail) {
            (Some(current), _) => current.id,
            (None, Some(tail)) => tail.reply,
            (None, None) => return Err(Refusal::NoOutput),
        };
        let mut events = if current.is_some() { self.cancel(None, history)? } else { self.hush(history) };
        events.push(ReplyEvent::OutputCleared { reply });
        Ok(events)
    }

    /// A listener says how much of a message it has heard, while it goes on.
    ///
    /// # Errors
    ///
    /// When nothing of that name is being heard.
    pub(super) fn played(&mut self, item: &str, heard: Duration) -> Result<(), Refusal> {
        let now = Instant::now();
        let current =
            self.current.as_mut().filter(|current| current.message().is_some_and(|it| it.id == item));
        let playout = match current {
            Some(current) => Some(&mut current.playout),
            None => self.tail.as_mut().filter(|tail| tail.item == item).map(|tail| &mut tail.playout),
        };
        playout.ok_or(Refusal::NoOutput)?.acknowledge(heard, now);
        Ok(())
    }

    /// A client says how much of a message was heard, and that there will be no more: if it is being said, that ends.
    ///
    /// # Errors
    ///
    /// As [`History::truncate`].
    pub(super) fn truncate(
        &mut self,
        item: &str,
        heard: Duration,
        history: &mut History,
    ) -> Result<Vec<ReplyEvent>, Refusal> {
        self.note(history);
        history.truncate(item, heard)?;
        let is_current =
            self.current.as_ref().and_then(|current| current.message()).is_some_and(|it| it.id == item);
        if is_current {
            self.played(item, heard)?;
            return self.cancel(None, history);
        }
        if self.tail.as_ref().is_some_and(|tail| tail.item == item) {
            self.tail = None;
        }
        Ok(vec![ReplyEvent::Truncated { item: item.to_owned(), heard }])
    }

    /// Has the history know what was told so far of the current reply.
    pub(super) fn note(&self, history: &mut History) {
        self.current.iter().for_each(|current| current.note(history));
    }

    /// The session ends: nothing is said any more.
    pub(super) fn finish(&mut self, history: &mut History) -> Vec<ReplyEvent> {
        self.guessed = None;
        self.cancel(None, history).unwrap_or_default()
    }

    // The reply.

    /// The next that is to be told of the reply; never ready while there is nothing.
    ///
    /// # Cancel safety
    ///
    /// Dropping this future loses nothing.
    pub(super) async fn next(&mut self, history: &mut History) -> Vec<ReplyEvent> {
        loop {
            let Some(current) = &mut self.current else {
                at(self.guessed.as_ref().map(|guessed| guessed.until)).await;
                self.guessed = None;
                continue;
            };
            let now = Instant::now();
            if let Some(cargo) = current.playout.due(now) {
                let events = self.deliver(cargo, now, history);
                if events.is_empty() {
                    continue;
                }
                return events;
            }
            let due = current.playout.next();
            let piece = async {
                match &mut current.reply {
                    Some(reply) => reply.next().await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                piece = piece => {
                    let events = current.take(piece, history);
                    if !events.is_empty() {
                        return events;
                    }
                }
                () = at(due) => {}
            }
        }
    }

    fn deliver(&mut self, cargo: Cargo<Mark>, now: Instant, history: &mut History) -> Vec<ReplyEvent> {
        let current = self.current.as_mut().expect("it has just given its cargo");
        match cargo {
            Cargo::Sound { bytes, duration } => {
                let is_first = current.times.latency().first_audio.is_none();
                let event = current.sound(bytes, duration, now);
                if is_first {
                    note_latency(&current.times.latency());
                }
                event.into_iter().collect()
            }
            Cargo::Mark(Mark::Phrase(phrase)) => current.say(phrase, history),
            Cargo::Mark(Mark::Unsaid(error)) => {
                metrics::failed(metrics::Module::Tts, error.code());
                vec![current.fail_phrase(error)]
            }
            Cargo::Mark(Mark::PhraseEnd) => {
                current.reply.iter().for_each(Reply::phrase_sent);
                Vec::new()
            }
            Cargo::Mark(Mark::End(end)) => {
                if let Err(error) = &end {
                    metrics::failed(metrics::Module::Llm, error.code());
                }
                let spoken = current.message().filter(|_| current.request.settings.spoken);
                let item = spoken.map(|item| item.id.clone());
                let mut events = current.end(end, history);
                let current = *self.current.take().expect("it has just ended");
                self.tail = item.map(|item| Tail { reply: current.id, item, playout: current.playout });
                events.extend(self.cue(Cue::Ended, history));
                events
            }
        }
    }

    /// What was said to the end and may be playing still is not listened to any more.
    fn hush(&mut self, history: &mut History) -> Vec<ReplyEvent> {
        let now = Instant::now();
        let Some(mut tail) = self.tail.take().filter(|tail| tail.playout.is_audible(now)) else {
            return Vec::new();
        };
        truncated(history, tail.item, tail.playout.heard(now)).into_iter().collect()
    }

    fn cue(&mut self, cue: Cue, history: &mut History) -> Vec<ReplyEvent> {
        let acts = self.dialogue.take(cue).expect("only what clients want can be untimely");
        trace!(?cue, phase = ?self.dialogue.phase(), "turn-taking");
        self.act(acts, None, history)
    }

    fn act(
        &mut self,
        acts: Vec<Act>,
        mut request: Option<ReplyRequest>,
        history: &mut History,
    ) -> Vec<ReplyEvent> {
        let mut events = Vec::new();
        for act in acts {
            match act {
                Act::Begin(epoch, origin) => events.push(self.begin(epoch, origin, request.take())),
                Act::Ask(epoch) => self.begin_asking(epoch, history),
                Act::Stop(_, reason) => {
                    let now = Instant::now();
                    let stopped = self.current.take().map(|mut current| current.stop(reason, now, history));
                    events.extend(stopped.into_iter().flatten());
                    (self.tail, self.guessed) = (None, None);
                }
            }
        }
        events
    }

    fn begin(&mut self, epoch: Epoch, origin: Origin, request: Option<ReplyRequest>) -> ReplyEvent {
        let now = Instant::now();
        let mut request = request.unwrap_or_else(|| ReplyRequest {
            settings: self.settings.clone(),
            input: None,
            outside: false,
            metadata: Vec::new(),
        });
        // Without a voice a reply is text.
        request.settings.spoken &= self.narrator.is_some();
        let turn = self.turn.take().filter(|_| origin == Origin::Turn);
        let times = match turn {
            Some(Turn { ended, stations }) => Times::new(ended, Some(stations)),
            None => Times::new(now, None),
        };
        self.tail = None;
        let current = Current::new(epoch, request, times, now);
        let began = ReplyEvent::Began(current.view(ReplyStatus::InProgress, None));
        self.current = Some(Box::new(current));
        began
    }

    fn begin_asking(&mut self, epoch: Epoch, history: &History) {
        let Some(mut current) = self.current.take().filter(|_| self.dialogue.is_current(epoch)) else {
            return;
        };
        let settings = &current.request.settings;
        let messages = match &current.request.input {
            Some(input) => history::messages(input.iter().filter_map(Input::item)),
            None => history.messages(),
        };
        let request = self.request(settings, messages);
        let is_it = |guessed: &Guessed| guessed.request == request && guessed.settings == *settings;
        let guessed = self.guessed.take().filter(is_it);
        let reply = guessed.map(|guessed| guessed.reply);
        current.reply = Some(reply.unwrap_or_else(|| self.ask(settings, request)));
        self.current = Some(current);
    }

    fn request(&self, settings: &TalkSettings, messages: Vec<Message>) -> ChatRequest {
        let instructions = Some(settings.instructions.clone()).filter(|text| !text.trim().is_empty());
        let messages: Vec<_> = instructions.map(Message::System).into_iter().chain(messages).collect();
        ChatRequest {
            asker: self.asker,
            messages: trim(&messages, &settings.terms.memory),
            tools: settings.tools.clone(),
            tool_choice: settings.tool_choice.clone(),
            max_tokens: settings.max_tokens,
            temperature: settings.temperature,
        }
    }

    fn ask(&self, settings: &TalkSettings, request: ChatRequest) -> Reply {
        let narrator = self.narrator.clone().filter(|_| settings.spoken);
        let speaking = narrator.map(|narrator| Speaking {
            narrator,
            voice: settings.voice.clone(),
            rate: settings.output.rate(),
            language: settings.language.clone(),
        });
        Reply::ask(self.assistant.model.as_ref(), request, speaking)
    }
}

fn refusal(untimely: Untimely) -> Refusal {
    match untimely {
        Untimely::ReplyActive => Refusal::ReplyActive,
        Untimely::NoReply => Refusal::NoReply,
    }
}

fn note_latency(latency: &Latency) {
    let Latency { first_token, first_phrase, first_audio, total, .. } = *latency;
    let stations = [
        (Stage::FirstToken, first_token),
        (Stage::FirstPhrase, first_phrase),
        (Stage::FirstAudio, first_audio),
        (Stage::Reply, total),
    ];
    for (stage, took) in stations {
        if let Some(took) = took {
            metrics::turn_took(stage, took);
        }
    }
}
