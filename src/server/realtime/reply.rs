//! What becomes of a reply, told in OpenAI's events. Pure.

use super::beta::Dialect;
use super::fault::Fault;
use super::item::Item;
use super::response::Response;
use super::server_event::{At, Part, ServerEvent};
use crate::session::{self, Body, Content, ReplyEvent, ReplyPart, Script};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// The events that tell of one thing that became of a reply of this conversation.
pub(super) fn tell(event: ReplyEvent, conversation: &str, dialect: Dialect) -> Vec<ServerEvent> {
    match event {
        ReplyEvent::Began(view) => {
            vec![ServerEvent::ResponseCreated { response: Box::new(Response::of(&view, conversation)) }]
        }
        ReplyEvent::ItemAdded { part, joins, previous, item } => {
            let joined = joins.then(|| joined(previous, &item, dialect));
            added(&part, joined, &item)
        }
        ReplyEvent::Text { part, spoken: false, delta } => {
            vec![ServerEvent::TextDelta { at: at(part), delta }]
        }
        ReplyEvent::Text { part, spoken: true, delta } => {
            vec![ServerEvent::AudioTranscriptDelta { at: at(part), delta }]
        }
        ReplyEvent::Audio { part, bytes } => {
            vec![ServerEvent::AudioDelta { at: at(part), delta: BASE64_STANDARD.encode(bytes) }]
        }
        ReplyEvent::Arguments { part, call_id, delta } => vec![ServerEvent::ArgumentsDelta {
            response_id: part.reply.to_string(),
            item_id: part.item,
            output_index: part.index,
            call_id,
            delta,
        }],
        ReplyEvent::ItemDone { part, joins, previous, item } => {
            let shown = Item::of(&item);
            // Beta has one event for both ends of an item.
            let joined = (joins && dialect == Dialect::Current)
                .then_some(ServerEvent::ItemDone { previous_item_id: previous, item: shown });
            done(&part, joined, &item)
        }
        ReplyEvent::Truncated { item, heard } => vec![ServerEvent::ItemTruncated {
            item_id: item,
            content_index: 0,
            audio_end_ms: heard.as_millis() as u64,
        }],
        ReplyEvent::OutputCleared { reply } => {
            vec![ServerEvent::OutputCleared { response_id: reply.to_string() }]
        }
        ReplyEvent::Unsaid { code, message } => {
            vec![ServerEvent::Error { error: Fault::server(code, message) }]
        }
        ReplyEvent::Ended(view) => {
            vec![ServerEvent::ResponseDone { response: Box::new(Response::of(&view, conversation)) }]
        }
    }
}

fn at(part: ReplyPart) -> At {
    At { response_id: part.reply.to_string(), item_id: part.item, output_index: part.index, content_index: 0 }
}

/// A new item of the conversation.
fn joined(previous_item_id: Option<String>, item: &session::Item, dialect: Dialect) -> ServerEvent {
    let item = Item::empty(item);
    match dialect {
        Dialect::Current => ServerEvent::ItemAdded { previous_item_id, item },
        Dialect::Beta => ServerEvent::ItemCreated { previous_item_id, item },
    }
}

/// An item begins, and joins the conversation if it does.
fn added(part: &ReplyPart, joined: Option<ServerEvent>, item: &session::Item) -> Vec<ServerEvent> {
    let shown = Item::empty(item);
    let (response_id, output_index) = (part.reply.to_string(), part.index);
    let mut events = vec![ServerEvent::OutputItemAdded { response_id, output_index, item: shown }];
    events.extend(joined);
    let part = at(part.clone());
    match content(item) {
        Some(Content::OutputText(_)) => {
            events.push(ServerEvent::ContentPartAdded { at: part, part: Part::Text { text: String::new() } });
        }
        Some(Content::OutputAudio(_)) => {
            let transcript = String::new();
            events.push(ServerEvent::ContentPartAdded { at: part, part: Part::Audio { transcript } });
        }
        _ => {}
    }
    events
}

/// An item ends, in the conversation, too, if it joined that.
fn done(part: &ReplyPart, joined: Option<ServerEvent>, item: &session::Item) -> Vec<ServerEvent> {
    let mut events = match &item.body {
        Body::Call(call) => vec![ServerEvent::ArgumentsDone {
            response_id: part.reply.to_string(),
            item_id: part.item.clone(),
            output_index: part.index,
            call_id: call.id.clone(),
            name: call.name.clone(),
            arguments: call.arguments.clone(),
        }],
        _ => content(item).map_or_else(Vec::new, |content| content_done(part, content)),
    };
    events.extend(joined);
    let (response_id, output_index) = (part.reply.to_string(), part.index);
    events.push(ServerEvent::OutputItemDone { response_id, output_index, item: Item::of(item) });
    events
}

fn content_done(part: &ReplyPart, content: &Content) -> Vec<ServerEvent> {
    let at = || at(part.clone());
    match content {
        Content::OutputText(text) => vec![
            ServerEvent::TextDone { at: at(), text: text.clone() },
            ServerEvent::ContentPartDone { at: at(), part: Part::Text { text: text.clone() } },
        ],
        Content::OutputAudio(script) => {
            let transcript = Script::text(script).to_owned();
            vec![
                ServerEvent::AudioDone { at: at() },
                ServerEvent::AudioTranscriptDone { at: at(), transcript: transcript.clone() },
                ServerEvent::ContentPartDone { at: at(), part: Part::Audio { transcript } },
            ]
        }
        _ => Vec::new(),
    }
}

fn content(item: &session::Item) -> Option<&Content> {
    if let Body::Message { content, .. } = &item.body { content.first() } else { None }
}
