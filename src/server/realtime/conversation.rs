//! What happened in a session, told in OpenAI's events. Pure.

use super::fault::Fault;
use super::server_event::{CompletedPool, Item, ServerEvent, TranscriptionError, Usage};
use crate::asr::{LaneEvent, Transcript};
use crate::pool::Standing;
use crate::server::error::shortened;
use crate::server::formats::logprobs;
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
    with_logprobs: bool,
}

#[derive(Debug)]
struct Kept {
    id: String,
    transcript: Option<String>,
}

impl Conversation {
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
            SessionEvent::Discarded { .. }
            | SessionEvent::TimedOut { .. }
            | SessionEvent::Delta { .. }
            | SessionEvent::Interims { .. } => Vec::new(),
            SessionEvent::Read { item, audio, transcript, .. } => self.read(item, audio, &transcript),
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
        Ok(ServerEvent::ItemRetrieved { item: Item::spoken(kept.id.clone(), kept.transcript.clone()) })
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
        self.items.push_back(Kept { id: item_id.clone(), transcript: None });
        let item = Item::spoken(item_id.clone(), None);
        vec![
            ServerEvent::Committed { previous_item_id: previous_item_id.clone(), item_id },
            ServerEvent::ItemAdded { previous_item_id: previous_item_id.clone(), item: item.clone() },
            ServerEvent::ItemDone { previous_item_id, item },
        ]
    }

    fn read(&mut self, item: ItemId, audio: Duration, read: &Transcript) -> Vec<ServerEvent> {
        let item_id = item.to_string();
        let transcript = read.hypothesis.text();
        if let Some(kept) = self.items.iter_mut().find(|kept| kept.id == item_id) {
            kept.transcript = Some(transcript.clone());
        }
        let logprobs = self.with_logprobs.then(|| logprobs(&read.hypothesis.segments));
        let delta = (!transcript.is_empty()).then(|| ServerEvent::TranscriptionDelta {
            item_id: item_id.clone(),
            content_index: 0,
            delta: transcript.clone(),
            logprobs: logprobs.clone(),
        });
        let completed = ServerEvent::TranscriptionCompleted {
            item_id,
            content_index: 0,
            transcript,
            logprobs,
            usage: Usage { seconds: audio.as_secs_f64() },
            pool: CompletedPool {
                waited_ms: whole_millis(read.timing.waited),
                decode_ms: whole_millis(read.timing.decode),
                diverged_words: 0,
                withheld: None,
            },
        };
        delta.into_iter().chain([completed]).collect()
    }
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
    let error = TranscriptionError { kind: "server_error", code, message, param: None };
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
