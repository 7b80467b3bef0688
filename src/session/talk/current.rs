//! The reply that is being made: what of it was told, and what remains.

use super::dialogue::{Epoch, Reason};
use super::event::{Latency, Part, ReplyEvent, ReplyId, ReplyStatus, ReplyView};
use super::history::{Body, Content, History, Item, ItemStatus, Role};
use super::playout::{Cargo, Playout};
use super::reply::{Piece, Reply};
use super::script::Script;
use super::settings::ReplyRequest;
use crate::audio::Pcm;
use crate::llm::{Finish, LlmError, ToolCall, Usage};
use crate::session::ItemId;
use crate::tts::TtsError;
use std::time::Duration;
use tokio::time::Instant;
use tracing::warn;
use uuid::Uuid;

/// The longest piece of sound in one event.
const SLICE: Duration = Duration::from_millis(40);

/// What is due between two pieces of sound.
#[derive(Debug)]
pub(super) enum Mark {
    Phrase(String),
    Unsaid(TtsError),
    PhraseEnd,
    End(Result<(Finish, Option<Usage>), LlmError>),
}

/// When what happened on the way to the first sound.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// The end of what is answered, or the wish of a client.
    pub(super) from: Instant,
    /// What the way to its text was spent on, where somebody spoke: end, wait, decode.
    pub(super) turn: Option<[Duration; 3]>,
    token: Option<Instant>,
    phrase: Option<Instant>,
    audio: Option<Instant>,
}

/// An item that is not whole yet.
#[derive(Debug)]
struct Open {
    part: Part,
    previous: Option<String>,
    item: Item,
    /// The place of a call among those of the model.
    call: Option<u32>,
}

/// A reply that has begun and not ended.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) id: ReplyId,
    pub(super) epoch: Epoch,
    pub(super) request: ReplyRequest,
    pub(super) times: Times,
    /// Once it was asked for.
    pub(super) reply: Option<Reply>,
    pub(super) playout: Playout<Mark>,
    open: Vec<Open>,
    done: Vec<(u32, Item)>,
    n_items: u32,
    /// The first phrase that has no sound.
    unsaid: Option<TtsError>,
}

impl Times {
    pub(super) fn new(from: Instant, turn: Option<[Duration; 3]>) -> Self {
        Self { from, turn, token: None, phrase: None, audio: None }
    }

    /// Where the time went. Stations that were passed before the text was there took no time.
    pub(super) fn latency(&self) -> Latency {
        let [endpoint, wait, decode] = self.turn.map_or([None; 3], |turn| turn.map(Some));
        let text = self.from + self.turn.iter().flatten().sum::<Duration>();
        let after =
            |begin: Option<Instant>, end: Option<Instant>| Some(end?.saturating_duration_since(begin?));
        let last = self.audio.or(self.token);
        Latency {
            endpoint,
            wait,
            decode,
            first_token: after(Some(text), self.token),
            first_phrase: after(self.token.max(Some(text)), self.phrase),
            first_audio: after(self.phrase.max(Some(text)), self.audio),
            total: after(Some(self.from), last),
        }
    }
}

impl Current {
    pub(super) fn new(epoch: Epoch, request: ReplyRequest, times: Times, now: Instant) -> Self {
        let playout = Playout::new(epoch, request.settings.terms.lead, now);
        Self {
            id: ReplyId(Uuid::new_v4()),
            epoch,
            request,
            times,
            reply: None,
            playout,
            open: Vec::new(),
            done: Vec::new(),
            n_items: 0,
            unsaid: None,
        }
    }

    /// As clients see it.
    pub(super) fn view(&self, status: ReplyStatus, usage: Option<Usage>) -> ReplyView {
        let settings = &self.request.settings;
        ReplyView {
            id: self.id,
            status,
            items: self.done.iter().map(|(_, item)| item.clone()).collect(),
            spoken: settings.spoken,
            voice: settings.voice_name.clone(),
            output: settings.output,
            outside: self.request.outside,
            max_tokens: settings.max_tokens,
            metadata: self.request.metadata.clone(),
            usage,
            latency: self.times.latency(),
        }
    }

    /// The message that is being spoken or written.
    pub(super) fn message(&self) -> Option<&Item> {
        self.open.iter().find(|open| open.call.is_none()).map(|open| &open.item)
    }

    /// Takes a piece of the reply. What has its place in the sound is queued, the rest is told at once.
    pub(super) fn take(&mut self, piece: Piece, history: &mut History) -> Vec<ReplyEvent> {
        match piece {
            Piece::FirstToken(at) => self.times.token = self.times.token.or(Some(at)),
            Piece::Phrase { text, cut } => {
                self.times.phrase = self.times.phrase.or(Some(cut));
                self.mark(Mark::Phrase(text));
            }
            Piece::Sound(pcm) => self.queue(&pcm),
            Piece::Unsaid(error) => self.mark(Mark::Unsaid(error)),
            Piece::PhraseEnd => self.mark(Mark::PhraseEnd),
            Piece::End(end) => self.mark(Mark::End(end)),
            Piece::Message => return self.open_message(history).into_iter().collect(),
            Piece::Written => return self.close(ItemStatus::Completed, |open| open.call.is_some(), history),
            Piece::Text(text) => return self.write(text, history),
            Piece::Call { index, id, name } => return self.call(index, id, name, history),
            Piece::Arguments { index, piece } => return self.argue(index, piece),
        }
        Vec::new()
    }

    fn mark(&mut self, mark: Mark) {
        self.playout.push(self.epoch, Cargo::Mark(mark));
    }

    fn queue(&mut self, pcm: &Pcm) {
        let hertz = pcm.rate.hertz();
        let slice = (SLICE.as_secs_f64() * f64::from(hertz)) as usize;
        for samples in pcm.samples.chunks(slice.max(1)) {
            let duration = Duration::from_secs_f64(samples.len() as f64 / f64::from(hertz));
            let bytes = self.request.settings.output.encode(samples);
            self.playout.push(self.epoch, Cargo::Sound { bytes, duration });
        }
    }

    /// Tells sound that is due.
    pub(super) fn sound(&mut self, bytes: Vec<u8>, duration: Duration, now: Instant) -> Option<ReplyEvent> {
        self.times.audio = self.times.audio.or(Some(now));
        let open = self.open.iter_mut().find(|open| open.call.is_none())?;
        if let Some(script) = open.item.script() {
            script.sound(duration);
        }
        Some(ReplyEvent::Audio { part: open.part.clone(), bytes })
    }

    /// Tells a phrase whose sound comes next.
    pub(super) fn say(&mut self, phrase: String, history: &mut History) -> Vec<ReplyEvent> {
        let (mut events, Some(open)) = self.message_for(&phrase, history) else { return Vec::new() };
        if let Some(script) = open.item.script() {
            script.begin(&phrase);
        }
        events.push(ReplyEvent::Text { part: open.part.clone(), spoken: true, delta: phrase });
        events
    }

    fn write(&mut self, text: String, history: &mut History) -> Vec<ReplyEvent> {
        let (mut events, Some(open)) = self.message_for(&text, history) else { return Vec::new() };
        if let Body::Message { content, .. } = &mut open.item.body
            && let Some(Content::OutputText(written)) = content.first_mut()
        {
            written.push_str(&text);
        }
        events.push(ReplyEvent::Text { part: open.part.clone(), spoken: false, delta: text });
        events
    }

    /// The message in progress, which is opened by the first text that is more than white space.
    fn message_for(&mut self, text: &str, history: &mut History) -> (Vec<ReplyEvent>, Option<&mut Open>) {
        let is_text = !text.trim().is_empty();
        let opened = is_text.then(|| self.open_message(history)).flatten();
        (opened.into_iter().collect(), self.open.iter_mut().find(|open| open.call.is_none()))
    }

    fn open_message(&mut self, history: &mut History) -> Option<ReplyEvent> {
        if self.message().is_some() {
            return None;
        }
        let content = if self.request.settings.spoken {
            Content::OutputAudio(Script::default())
        } else {
            Content::OutputText(String::new())
        };
        let body = Body::Message { role: Role::Assistant, content: vec![content] };
        Some(self.open(body, None, history))
    }

    fn call(&mut self, index: u32, id: String, name: String, history: &mut History) -> Vec<ReplyEvent> {
        // Some endpoints number the calls of each reply anew.
        let id = if history.has_call(&id) { format!("call_{}", Uuid::new_v4().simple()) } else { id };
        let call = ToolCall { id, name, arguments: String::new() };
        vec![self.open(Body::Call(call), Some(index), history)]
    }

    fn argue(&mut self, index: u32, piece: String) -> Vec<ReplyEvent> {
        let open = self.open.iter_mut().find(|open| open.call == Some(index));
        let Some(Open { part, item: Item { body: Body::Call(call), .. }, .. }) = open else {
            return Vec::new();
        };
        call.arguments.push_str(&piece);
        vec![ReplyEvent::Arguments { part: part.clone(), call_id: call.id.clone(), delta: piece }]
    }

    fn open(&mut self, body: Body, call: Option<u32>, history: &mut History) -> ReplyEvent {
        let id = ItemId::mint().to_string();
        let item = Item { id: id.clone(), body, status: ItemStatus::InProgress };
        let previous = if self.request.outside { None } else { history.append(item.clone()) };
        let part = Part { reply: self.id, index: self.n_items, item: id };
        self.n_items += 1;
        self.open.push(Open { part: part.clone(), previous: previous.clone(), item: item.clone(), call });
        ReplyEvent::ItemAdded { part, joins: !self.request.outside, previous, item }
    }

    /// Has the history know what was told so far.
    pub(super) fn note(&self, history: &mut History) {
        for Open { item, .. } in &self.open {
            history.change(&item.id, |kept| *kept = item.clone());
        }
    }

    /// A phrase has no sound.
    pub(super) fn fail_phrase(&mut self, error: TtsError) -> ReplyEvent {
        let (code, message) = (error.code(), error.to_string());
        self.unsaid.get_or_insert(error);
        ReplyEvent::Unsaid { code, message }
    }

    /// Ends it by itself; gives the last events.
    pub(super) fn end(
        &mut self,
        end: Result<(Finish, Option<Usage>), LlmError>,
        history: &mut History,
    ) -> Vec<ReplyEvent> {
        let (status, usage) = match end {
            Ok((finish, usage)) => (self.status(finish), usage),
            Err(error) => {
                // Where the endpoint is, and what it said, is nothing for clients.
                warn!(%error, code = error.code(), reply = %self.id, "a reply failed");
                let (code, message) = (error.code(), "the language model did not give a whole reply".into());
                (ReplyStatus::Failed { code, message }, None)
            }
        };
        let whole = status == ReplyStatus::Completed;
        let how = if whole { ItemStatus::Completed } else { ItemStatus::Incomplete };
        let mut events = self.close(how, |_| true, history);
        events.push(ReplyEvent::Ended(self.view(status, usage)));
        events
    }

    fn status(&self, finish: Finish) -> ReplyStatus {
        let silent = self.times.audio.is_none();
        match (finish, &self.unsaid) {
            (_, Some(error)) if silent => {
                ReplyStatus::Failed { code: error.code(), message: error.to_string() }
            }
            (Finish::Length, _) => ReplyStatus::Incomplete { filtered: false },
            (Finish::Filtered, _) => ReplyStatus::Incomplete { filtered: true },
            (Finish::Stop | Finish::Calls, _) => ReplyStatus::Completed,
        }
    }

    /// Ends it before its time; gives the last events. What is not sent yet is never sent.
    pub(super) fn stop(&mut self, reason: Reason, now: Instant, history: &mut History) -> Vec<ReplyEvent> {
        self.reply = None;
        let spoken = self.message().filter(|_| self.request.settings.spoken).map(|item| item.id.clone());
        let heard = self.playout.heard(now);
        self.playout.clear();
        let mut events = self.close(ItemStatus::Incomplete, |_| true, history);
        if let Some(item) = spoken.filter(|_| !self.request.outside) {
            events.extend(truncated(history, item, heard));
        }
        events.push(ReplyEvent::Ended(self.view(ReplyStatus::Cancelled(reason), None)));
        events
    }

    /// Closes those of the open items that are meant.
    fn close(
        &mut self,
        status: ItemStatus,
        mut meant: impl FnMut(&Open) -> bool,
        history: &mut History,
    ) -> Vec<ReplyEvent> {
        let mut events = Vec::new();
        for Open { part, previous, mut item, .. } in self.open.extract_if(.., |open| meant(open)) {
            item.status = status;
            history.change(&item.id, |kept| *kept = item.clone());
            self.done.push((part.index, item.clone()));
            events.push(ReplyEvent::ItemDone { part, joins: !self.request.outside, previous, item });
        }
        self.done.sort_by_key(|(index, _)| *index);
        events
    }
}

/// Cuts a message down to what was heard of it, and tells so; nothing, where that is all of it, or the message is forgotten.
pub(super) fn truncated(history: &mut History, item: String, heard: Duration) -> Option<ReplyEvent> {
    history.truncate(&item, heard).ok()?;
    Some(ReplyEvent::Truncated { item, heard })
}
