//! What happened in a session, told in OpenAI's events. Pure.

use super::beta::Dialect;
use super::fault::Fault;
use super::item::Item;
use super::reply;
use super::server_event::{CompletedPool, ServerEvent, TranscriptionError, Usage};
use super::writer::Update;
use crate::asr::{LaneEvent, Segment, Token, Transcript};
use crate::pool::Standing;
use crate::server::formats::{LogprobWire, logprobs};
use crate::server::pool::whole_millis;
use crate::session::{self, Dropped, ItemError, ItemId, Refusal, SessionEvent};
use std::time::Duration;
use uuid::Uuid;

/// How one client is told what happens.
#[derive(Debug)]
pub(super) struct Conversation {
    /// The name that replies have it by.
    name: String,
    dialect: Dialect,
    with_logprobs: bool,
    with_transcripts: bool,
}

impl Conversation {
    /// For the client of the session `id`, which has these names for things.
    pub(super) fn new(id: &Uuid, dialect: Dialect) -> Self {
        let name = format!("conv_{}", id.simple());
        Self { name, dialect, with_logprobs: false, with_transcripts: true }
    }

    /// Which names the client has for things.
    pub(super) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Tells it otherwise from here on.
    pub(super) fn update(&mut self, update: &Update) {
        self.dialect = update.dialect;
        self.with_logprobs = update.with_logprobs;
        self.with_transcripts = update.with_transcripts;
    }

    /// The events that tell of one thing that happened.
    pub(super) fn tell(&self, event: SessionEvent) -> Vec<ServerEvent> {
        match event {
            SessionEvent::SpeechStarted { item, at } => {
                vec![ServerEvent::SpeechStarted { audio_start_ms: millis(at), item_id: item.to_string() }]
            }
            SessionEvent::SpeechStopped { item, at } => {
                vec![ServerEvent::SpeechStopped { audio_end_ms: millis(at), item_id: item.to_string() }]
            }
            SessionEvent::Committed { item, previous, .. } => self.committed(item, previous),
            SessionEvent::Cleared => vec![ServerEvent::Cleared],
            SessionEvent::Discarded { item } => vec![discarded(item)],
            SessionEvent::TimedOut { item, span } => vec![ServerEvent::TimeoutTriggered {
                audio_start_ms: millis(span.start),
                audio_end_ms: millis(span.end),
                item_id: item.to_string(),
            }],
            SessionEvent::Delta { .. } | SessionEvent::Read { .. } | SessionEvent::Unread { .. }
                if !self.with_transcripts =>
            {
                Vec::new()
            }
            // Which tokens an interim text had is forgotten when it is told.
            SessionEvent::Delta { item, text } => vec![delta(item, text, None)],
            SessionEvent::Interims { paused: true } => vec![ServerEvent::InterimsPaused],
            SessionEvent::Interims { paused: false } => vec![ServerEvent::InterimsResumed],
            SessionEvent::Read { item, audio, transcript, rest, diverged_words } => {
                let rest = rest.map(|rest| self.rest(item, rest, &transcript));
                rest.into_iter().chain([self.completed(item, audio, *transcript, diverged_words)]).collect()
            }
            SessionEvent::Unread { item, error } => vec![unread(item, error.code(), error.to_string())],
            SessionEvent::Dropped { item, dropped } => gone(item, &dropped),
            SessionEvent::Lease(event) => vec![lease(event)],
            SessionEvent::ItemAdded { previous, item } => self.shown(previous, &item),
            SessionEvent::ItemShown(item) => vec![ServerEvent::ItemRetrieved { item: Item::in_full(&item) }],
            SessionEvent::ItemDeleted { id } => vec![ServerEvent::ItemDeleted { item_id: id }],
            SessionEvent::Reply(event) => reply::tell(*event, &self.name, self.dialect),
            SessionEvent::Refused { origin, refusal } => {
                vec![ServerEvent::Error { error: refused(&refusal).answering(origin) }]
            }
            SessionEvent::Deaf(error) => {
                vec![ServerEvent::Error { error: Fault::server(error.code(), error.to_string()) }]
            }
        }
    }

    fn committed(&self, item: ItemId, previous_item_id: Option<String>) -> Vec<ServerEvent> {
        let item_id = item.to_string();
        let committed =
            ServerEvent::Committed { previous_item_id: previous_item_id.clone(), item_id: item_id.clone() };
        let shown = self.shown(previous_item_id, &session::Item::heard(item_id));
        std::iter::once(committed).chain(shown).collect()
    }

    /// An item that came all at once.
    fn shown(&self, previous_item_id: Option<String>, item: &session::Item) -> Vec<ServerEvent> {
        let item = Item::of(item);
        match self.dialect {
            Dialect::Beta => vec![ServerEvent::ItemCreated { previous_item_id, item }],
            Dialect::Current => vec![
                ServerEvent::ItemAdded { previous_item_id: previous_item_id.clone(), item: item.clone() },
                ServerEvent::ItemDone { previous_item_id, item },
            ],
        }
    }

    /// The last delta of an item.
    fn rest(&self, item: ItemId, rest: String, read: &Transcript) -> ServerEvent {
        let logprobs = self.with_logprobs.then(|| logprobs_of(&rest, read)).flatten();
        delta(item, rest, logprobs)
    }

    fn completed(&self, item: ItemId, audio: Duration, read: Transcript, diverged_words: u32) -> ServerEvent {
        let Transcript { hypothesis, timing, withheld } = read;
        let (item_id, transcript) = (item.to_string(), hypothesis.text());
        let reason = withheld.as_ref().map(|withheld| withheld.doubt.code());
        ServerEvent::TranscriptionCompleted {
            item_id,
            content_index: 0,
            transcript,
            logprobs: self.with_logprobs.then(|| logprobs(&hypothesis.segments)),
            usage: Usage { seconds: audio.as_secs_f64() },
            pool: CompletedPool {
                waited_ms: whole_millis(timing.waited),
                decode_ms: whole_millis(timing.decode),
                diverged_words,
                withheld: reason,
            },
        }
    }
}

fn delta(item: ItemId, delta: String, logprobs: Option<Vec<LogprobWire>>) -> ServerEvent {
    ServerEvent::TranscriptionDelta { item_id: item.to_string(), content_index: 0, delta, logprobs }
}

/// The log probabilities of the last tokens of a reading, those that spell `rest`; `None` where a token goes across its
/// beginning, or where the reading has it otherwise.
fn logprobs_of(rest: &str, read: &Transcript) -> Option<Vec<LogprobWire>> {
    let segments = &read.hypothesis.segments;
    if rest == read.hypothesis.text() {
        return Some(logprobs(segments));
    }
    let tokens: Vec<&Token> = segments.iter().flat_map(|Segment { tokens, .. }| tokens).collect();
    let bytes: Vec<u8> = tokens.iter().flat_map(|token| &token.bytes).copied().collect();
    let mut start = bytes.len();
    let spells_rest = |token: &usize| {
        start -= tokens[*token].bytes.len();
        bytes[start..].trim_ascii() == rest.trim().as_bytes()
    };
    let first = (0..tokens.len()).rev().find(spells_rest)?;
    Some(logprobs(segments).split_off(first))
}

/// Samples at 16 kHz in milliseconds.
fn millis(at: u64) -> u64 {
    at / 16
}

fn lease(event: LaneEvent) -> ServerEvent {
    match event {
        LaneEvent::Waiting(Standing { position, estimated_wait }) => {
            ServerEvent::QueueUpdated { position, estimated_wait_ms: estimated_wait.map(whole_millis) }
        }
        LaneEvent::Granted { slot, waited } => {
            ServerEvent::LeaseGranted { slot: slot.0, waited_ms: whole_millis(waited) }
        }
        LaneEvent::Released { held } => ServerEvent::LeaseReleased { held_ms: whole_millis(held) },
    }
}

fn unread(item: ItemId, code: &'static str, message: String) -> ServerEvent {
    failed(item, TranscriptionError { kind: "server_error", code, message, param: None })
}

/// The end of an item that was cleared when a part of its text was told already. It is the client who cleared it.
fn discarded(item: ItemId) -> ServerEvent {
    let message = "the audio was cleared before it was committed".to_owned();
    let (kind, code) = ("invalid_request_error", "input_audio_buffer_cleared");
    failed(item, TranscriptionError { kind, code, message, param: None })
}

fn failed(item: ItemId, error: TranscriptionError) -> ServerEvent {
    ServerEvent::TranscriptionFailed { item_id: item.to_string(), content_index: 0, error }
}

/// Nobody shall overlook that something was said and will not be read: an error, and the end of the item.
fn gone(item: ItemId, dropped: &Dropped) -> Vec<ServerEvent> {
    let error = Fault::server(dropped.code(), dropped.to_string());
    vec![ServerEvent::Error { error }, unread(item, dropped.code(), dropped.to_string())]
}

/// What is wrong with what a client wanted.
fn refused(refusal: &Refusal) -> Fault {
    let fault = Fault::invalid(refusal.code(), refusal.to_string());
    match refusal {
        Refusal::Item(ItemError::TooShort { .. }) => fault.in_param("audio_end_ms"),
        Refusal::Item(ItemError::NoPlace { .. }) => fault.in_param("previous_item_id"),
        Refusal::Item(ItemError::Taken { .. }) => fault.in_param("item.id"),
        Refusal::Item(_) => fault.in_param("item_id"),
        Refusal::Speechless => fault.in_param("type"),
        _ => fault,
    }
}

#[cfg(test)]
mod tests;
