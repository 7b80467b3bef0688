//! Replies, as clients see them and ask for them: OpenAI's `response`.

use super::config::AudioFormat;
use super::fault::Fault;
use super::field::Field;
use super::item::{Item, read_item, required};
use super::talk::TalkConfig;
use crate::llm;
use crate::server::pool::whole_millis;
use crate::session::{Input, Latency, Reason, ReplyRequest, ReplyStatus, ReplyView};
use serde::Serialize;
use serde_json::{Map, Value};
use std::time::Duration;

/// The most notes that a client may have with a reply, and their lengths; OpenAI's limits.
const METADATA: (usize, usize, usize) = (16, 64, 512);

/// A reply.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Response {
    object: &'static str,
    id: String,
    status: &'static str,
    status_details: Option<StatusDetails>,
    output: Vec<Item>,
    conversation_id: Option<String>,
    output_modalities: [&'static str; 1],
    max_output_tokens: Value,
    audio: Audio,
    usage: Option<Usage>,
    metadata: Option<Map<String, Value>>,
    /// Once something of it was heard or read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pool: Option<LatencyPool>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct StatusDetails {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<StatusError>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct StatusError {
    #[serde(rename = "type")]
    kind: &'static str,
    code: &'static str,
    message: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Audio {
    output: AudioOutput,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct AudioOutput {
    format: AudioFormat,
    voice: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Usage {
    total_tokens: u64,
    input_tokens: u64,
    output_tokens: u64,
    input_token_details: InputTokens,
    output_token_details: OutputTokens,
}

/// The language model reads and writes text alone.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(clippy::struct_field_names, reason = "they are OpenAI's names")]
struct InputTokens {
    text_tokens: u64,
    audio_tokens: u64,
    cached_tokens: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct OutputTokens {
    text_tokens: u64,
    audio_tokens: u64,
}

/// Where the time went, station by station.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[expect(clippy::struct_field_names, reason = "the unit is part of what clients see")]
struct LatencyPool {
    endpoint_ms: Option<u64>,
    wait_ms: Option<u64>,
    decode_ms: Option<u64>,
    first_token_ms: Option<u64>,
    first_phrase_ms: Option<u64>,
    first_audio_ms: Option<u64>,
    total_ms: Option<u64>,
}

impl Response {
    /// A reply of the conversation of this name.
    pub(super) fn of(view: &ReplyView, conversation: &str) -> Self {
        Self {
            object: "realtime.response",
            id: view.id.to_string(),
            status: status(&view.status),
            status_details: details(&view.status),
            output: view.items.iter().map(Item::of).collect(),
            conversation_id: (!view.outside).then(|| conversation.to_owned()),
            output_modalities: [if view.spoken { "audio" } else { "text" }],
            max_output_tokens: view.max_tokens.map_or_else(|| "inf".into(), Into::into),
            audio: Audio {
                output: AudioOutput { format: AudioFormat::of(view.output), voice: view.voice.clone() },
            },
            usage: view.usage.map(usage),
            metadata: notes(&view.metadata),
            pool: LatencyPool::of(view.latency),
        }
    }
}

fn status(status: &ReplyStatus) -> &'static str {
    match status {
        ReplyStatus::InProgress => "in_progress",
        ReplyStatus::Completed => "completed",
        ReplyStatus::Cancelled(_) => "cancelled",
        ReplyStatus::Incomplete { .. } => "incomplete",
        ReplyStatus::Failed { .. } => "failed",
    }
}

fn details(status: &ReplyStatus) -> Option<StatusDetails> {
    let (kind, reason, error) = match status {
        ReplyStatus::InProgress | ReplyStatus::Completed => return None,
        ReplyStatus::Cancelled(Reason::Interrupted) => ("cancelled", Some("turn_detected"), None),
        ReplyStatus::Cancelled(Reason::Cancelled) => ("cancelled", Some("client_cancelled"), None),
        ReplyStatus::Incomplete { filtered: true } => ("incomplete", Some("content_filter"), None),
        ReplyStatus::Incomplete { filtered: false } => ("incomplete", Some("max_output_tokens"), None),
        ReplyStatus::Failed { code, message } => {
            ("failed", None, Some(StatusError { kind: "server_error", code, message: message.clone() }))
        }
    };
    Some(StatusDetails { kind, reason, error })
}

fn usage(llm::Usage { input_tokens, output_tokens }: llm::Usage) -> Usage {
    Usage {
        total_tokens: input_tokens + output_tokens,
        input_tokens,
        output_tokens,
        input_token_details: InputTokens { text_tokens: input_tokens, audio_tokens: 0, cached_tokens: 0 },
        output_token_details: OutputTokens { text_tokens: output_tokens, audio_tokens: 0 },
    }
}

fn notes(metadata: &[(String, String)]) -> Option<Map<String, Value>> {
    let note = |(key, value): &(String, String)| (key.clone(), Value::from(value.clone()));
    (!metadata.is_empty()).then(|| metadata.iter().map(note).collect())
}

impl LatencyPool {
    fn of(latency: Latency) -> Option<Self> {
        let ms = |took: Option<Duration>| took.map(whole_millis);
        latency.total?;
        Some(Self {
            endpoint_ms: ms(latency.endpoint),
            wait_ms: ms(latency.wait),
            decode_ms: ms(latency.decode),
            first_token_ms: ms(latency.first_token),
            first_phrase_ms: ms(latency.first_phrase),
            first_audio_ms: ms(latency.first_audio),
            total_ms: ms(latency.total),
        })
    }
}

/// What a client wants a reply to be like, in a session that is set like this.
///
/// # Errors
///
/// The first value that is wrong.
pub(super) fn read_request(
    session: &TalkConfig,
    response: Option<&Field<'_>>,
) -> Result<ReplyRequest, Fault> {
    let mut talk = session.clone();
    let (mut input, mut outside, mut metadata) = (None, false, Vec::new());
    if let Some(response) = response.filter(|response| !response.is_null()) {
        talk.update(response)?;
        if let Some(items) = response.get("input")?.filter(|items| !items.is_null()) {
            input = Some(items.elements()?.map(|item| read_input(&item)).collect::<Result<_, _>>()?);
        }
        if let Some(conversation) = response.get("conversation")?.filter(|field| !field.is_null()) {
            outside = conversation.choice(&[("auto", false), ("none", true)])?;
        }
        if let Some(notes) = response.get("metadata")?.filter(|notes| !notes.is_null()) {
            metadata = read_metadata(&notes)?;
        }
    }
    Ok(ReplyRequest { settings: Box::new(talk.settings()), input, outside, metadata })
}

/// An item, or the name of one of the conversation.
fn read_input(field: &Field<'_>) -> Result<Input, Fault> {
    let kind = required(field, "type")?;
    if kind.text()? == "item_reference" {
        return Ok(Input::Reference(required(field, "id")?.text()?.to_owned()));
    }
    read_item(field).map(|item| Input::Item(Box::new(item)))
}

fn read_metadata(field: &Field<'_>) -> Result<Vec<(String, String)>, Fault> {
    let (most, longest_key, longest_value) = METADATA;
    let keys: Vec<String> = field.keys()?.map(str::to_owned).collect();
    let too_much = |what: String| field.fault("invalid_value", what);
    if keys.len() > most {
        return Err(too_much(format!("metadata has {} entries, at most {most} are taken", keys.len())));
    }
    let mut notes = Vec::new();
    for key in keys {
        let value = required(field, &key)?.text()?.to_owned();
        if key.len() > longest_key || value.len() > longest_value {
            return Err(too_much(format!(
                "metadata has keys of at most {longest_key} and values of at most {longest_value} bytes"
            )));
        }
        notes.push((key, value));
    }
    Ok(notes)
}
