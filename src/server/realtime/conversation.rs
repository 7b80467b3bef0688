//! What happened in a session, told in OpenAI's events. Pure.

use super::beta::Dialect;
use super::fault::Fault;
use super::server_event::{
    CompletedPool, Item, ItemPool, ServerEvent, TranscriptionError, Usage, WithheldText,
};
use crate::asr::{LaneEvent, Segment, Token, Transcript, Withheld};
use crate::pool::Standing;
use crate::server::error::shortened;
use crate::server::formats::{LogprobWire, logprobs};
use crate::server::pool::whole_millis;
use crate::session::{Dropped, ItemId, SessionEvent};
use std::collections::VecDeque;
use std::time::Duration;

/// How many items can be retrieved; older ones are forgotten.
const KEPT_ITEMS: usize = 256;

/// The items that were told, newest last.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    items: VecDeque<Kept>,
    dialect: Dialect,
    with_logprobs: bool,
}

#[derive(Debug)]
struct Kept {
    id: String,
    transcript: Option<String>,
    withheld: Option<Withheld>,
}

impl Conversation {
    /// With nothing told, for a client that has these names for things.
    pub(super) fn new(dialect: Dialect) -> Self {
        Self { dialect, ..Self::default() }
    }

    /// Which names things are told under, from here on.
    pub(super) fn speak(&mut self, dialect: Dialect) {
        self.dialect = dialect;
    }

    /// Whether texts are told with the log probabilities of their tokens, from here on.
    pub(super) fn include_logprobs(&mut self, with_logprobs: bool) {
        self.with_logprobs = with_logprobs;
    }

    /// The events that tell of one thing that happened.
    pub(super) fn tell(&mut self, event: SessionEvent) -> Vec<ServerEvent> {
        match event {
            SessionEvent::SpeechStarted { item, at } => {
                vec![ServerEvent::SpeechStarted { audio_start_ms: millis(at), item_id: item.to_string() }]
            }
            SessionEvent::SpeechStopped { item, at } => {
                vec![ServerEvent::SpeechStopped { audio_end_ms: millis(at), item_id: item.to_string() }]
            }
            SessionEvent::Committed { item, .. } => self.committed(item),
            SessionEvent::Cleared => vec![ServerEvent::Cleared],
            SessionEvent::Discarded { item } => vec![discarded(item)],
            SessionEvent::TimedOut { item, span } => vec![ServerEvent::TimeoutTriggered {
                audio_start_ms: millis(span.start),
                audio_end_ms: millis(span.end),
                item_id: item.to_string(),
            }],
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
            SessionEvent::Refused { origin, refusal } => {
                let error = Fault::invalid(refusal.code(), refusal.to_string()).answering(origin);
                vec![ServerEvent::Error { error }]
            }
            SessionEvent::Deaf(error) => {
                vec![ServerEvent::Error { error: Fault::server(error.code(), error.to_string()) }]
            }
        }
    }

    /// The event that shows an item.
    ///
    /// # Errors
    ///
    /// When no such item is kept.
    pub(super) fn retrieve(&self, id: &str) -> Result<ServerEvent, Fault> {
        let kept = self.items.iter().find(|kept| kept.id == id).ok_or_else(|| no_such_item(id))?;
        Ok(ServerEvent::ItemRetrieved { item: kept.shown() })
    }

    /// Forgets an item.
    ///
    /// # Errors
    ///
    /// When no such item is kept.
    pub(super) fn delete(&mut self, id: &str) -> Result<ServerEvent, Fault> {
        let place = self.items.iter().position(|kept| kept.id == id).ok_or_else(|| no_such_item(id))?;
        self.items.remove(place);
        Ok(ServerEvent::ItemDeleted { item_id: id.to_owned() })
    }

    fn committed(&mut self, item: ItemId) -> Vec<ServerEvent> {
        let item_id = item.to_string();
        let previous_item_id = self.items.back().map(|kept| kept.id.clone());
        if self.items.len() == KEPT_ITEMS {
            self.items.pop_front();
        }
        self.items.push_back(Kept { id: item_id.clone(), transcript: None, withheld: None });
        let item = Item::spoken(item_id.clone(), None);
        let committed = ServerEvent::Committed { previous_item_id: previous_item_id.clone(), item_id };
        let shown = match self.dialect {
            Dialect::Beta => vec![ServerEvent::ItemCreated { previous_item_id, item }],
            Dialect::Current => vec![
                ServerEvent::ItemAdded { previous_item_id: previous_item_id.clone(), item: item.clone() },
                ServerEvent::ItemDone { previous_item_id, item },
            ],
        };
        std::iter::once(committed).chain(shown).collect()
    }

    /// The last delta of an item.
    fn rest(&self, item: ItemId, rest: String, read: &Transcript) -> ServerEvent {
        let logprobs = self.with_logprobs.then(|| logprobs_of(&rest, read)).flatten();
        delta(item, rest, logprobs)
    }

    fn completed(
        &mut self,
        item: ItemId,
        audio: Duration,
        read: Transcript,
        diverged_words: u32,
    ) -> ServerEvent {
        let Transcript { hypothesis, timing, withheld } = read;
        let (item_id, transcript) = (item.to_string(), hypothesis.text());
        let reason = withheld.as_ref().map(|withheld| withheld.doubt.code());
        if let Some(kept) = self.items.iter_mut().find(|kept| kept.id == item_id) {
            (kept.transcript, kept.withheld) = (Some(transcript.clone()), withheld);
        }
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

impl Kept {
    fn shown(&self) -> Item {
        let pool = self.withheld.as_ref().map(|Withheld { doubt, text }| ItemPool {
            withheld: WithheldText { reason: doubt.code(), text: text.clone() },
        });
        Item { pool, ..Item::spoken(self.id.clone(), self.transcript.clone()) }
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

fn no_such_item(id: &str) -> Fault {
    let message = format!("there is no item \"{}\" in this session", shortened(id));
    Fault::invalid("item_not_found", message).in_param("item_id")
}

#[cfg(test)]
mod tests;
