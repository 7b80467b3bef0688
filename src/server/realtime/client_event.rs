//! What clients send: text frames to [`ClientEvent`]s.

use super::beta::Dialect;
use super::fault::Fault;
use super::field::Field;
use super::item::{read_item, read_place, required};
use crate::server::error::shortened;
use crate::session::{Item, Place};
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde_json::Value;
use std::borrow::Cow;
use std::time::Duration;

/// The largest append, decoded; OpenAI's limit.
pub(super) const LARGEST_APPEND: usize = 15 * 1024 * 1024;

/// The longest `event_id`; OpenAI's limit. It is kept with every append, so it may not fill memory.
const LONGEST_EVENT_ID: usize = 512;

/// No reply is longer, in milliseconds: a day.
const LONGEST_AUDIO_MS: u64 = 24 * 3_600_000;

/// Some clients pad their base64 and some do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One event of a client.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ClientEvent {
    /// `session.update` (or beta's `transcription_session.update`) with its `session`.
    SessionUpdate(Dialect, Value),
    /// `input_audio_buffer.append`, decoded.
    Append(Vec<u8>),
    /// `input_audio_buffer.commit`
    Commit,
    /// `input_audio_buffer.clear`
    Clear,
    /// `conversation.item.retrieve` of this item.
    ItemRetrieve(String),
    /// `conversation.item.delete` of this item.
    ItemDelete(String),
    /// `conversation.item.create`
    ItemCreate(Place, Box<Item>),
    /// `conversation.item.truncate`
    ItemTruncate { item_id: String, audio_end: Duration },
    /// `response.create` with its `response`.
    ResponseCreate(Option<Value>),
    /// `response.cancel` of this reply, or of any.
    ResponseCancel(Option<String>),
    /// `output_audio_buffer.clear`
    OutputClear,
    /// `pool.output_audio.played`: so much of this message has been played.
    Played { item_id: String, audio_end: Duration },
}

/// What one text frame was.
#[derive(Debug)]
pub(super) struct Incoming {
    /// The client's own name for the event.
    pub(super) event_id: Option<String>,
    pub(super) event: Result<ClientEvent, Fault>,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(default, rename = "type")]
    kind: Value,
    #[serde(default)]
    event_id: Value,
}

#[derive(Deserialize)]
struct Append<'a> {
    #[serde(borrow)]
    audio: Cow<'a, str>,
}

/// Reads a text frame.
pub(super) fn parse(text: &str) -> Incoming {
    let envelope: Envelope = match serde_json::from_str(text) {
        Ok(envelope) => envelope,
        Err(error) => return Incoming { event_id: None, event: Err(not_an_event(&error)) },
    };
    // serde takes a list for a struct whose fields come in order.
    if !text.trim_start().starts_with('{') {
        let fault = Fault::invalid("invalid_event", "this JSON is not an event: it is not an object");
        return Incoming { event_id: None, event: Err(fault) };
    }
    let event_id = match event_id(&envelope) {
        Ok(event_id) => event_id,
        Err(fault) => return Incoming { event_id: None, event: Err(fault) },
    };
    let event =
        match envelope.kind.as_str() {
            Some(kind) => parse_kind(kind, text),
            None => Err(Fault::invalid("invalid_event", "an event needs a \"type\", which is a string")
                .in_param("type")),
        };
    Incoming { event_id, event }
}

fn not_an_event(error: &serde_json::Error) -> Fault {
    if error.is_data() {
        return Fault::invalid("invalid_event", format!("this JSON is not an event: {error}"));
    }
    Fault::invalid("invalid_json", format!("this is not JSON, or more than is taken: {error}"))
}

/// The client's name for an event, which comes back with its fault.
fn event_id(envelope: &Envelope) -> Result<Option<String>, Fault> {
    match envelope.event_id.as_str() {
        Some(id) if id.len() > LONGEST_EVENT_ID => {
            let message =
                format!("an event_id of {} bytes is longer than {LONGEST_EVENT_ID} bytes", id.len());
            Err(Fault::invalid("invalid_value", message).in_param("event_id"))
        }
        id => Ok(id.map(str::to_owned)),
    }
}

fn parse_kind(kind: &str, text: &str) -> Result<ClientEvent, Fault> {
    match kind {
        "input_audio_buffer.append" => append(text),
        "input_audio_buffer.commit" => Ok(ClientEvent::Commit),
        "input_audio_buffer.clear" => Ok(ClientEvent::Clear),
        "session.update" => {
            session(text).map(|session| ClientEvent::SessionUpdate(Dialect::Current, session))
        }
        "transcription_session.update" => {
            session(text).map(|session| ClientEvent::SessionUpdate(Dialect::Beta, session))
        }
        "conversation.item.retrieve" => item_id(text).map(ClientEvent::ItemRetrieve),
        "conversation.item.delete" => item_id(text).map(ClientEvent::ItemDelete),
        "conversation.item.create" => item_create(&reread(text)?),
        "conversation.item.truncate" => audio_end(&reread(text)?)
            .map(|(item_id, audio_end)| ClientEvent::ItemTruncate { item_id, audio_end }),
        "pool.output_audio.played" => {
            audio_end(&reread(text)?).map(|(item_id, audio_end)| ClientEvent::Played { item_id, audio_end })
        }
        "response.create" => {
            Ok(ClientEvent::ResponseCreate(reread(text)?.get_mut("response").map(Value::take)))
        }
        "response.cancel" => response_cancel(&reread(text)?),
        "output_audio_buffer.clear" => Ok(ClientEvent::OutputClear),
        unknown => {
            let message = format!("unknown event type \"{}\"", shortened(unknown));
            Err(Fault::invalid("unknown_event", message).in_param("type"))
        }
    }
}

fn append(text: &str) -> Result<ClientEvent, Fault> {
    let Append { audio } = serde_json::from_str(text).map_err(|_| {
        Fault::invalid("invalid_value", "\"audio\" must be a string of base64").in_param("audio")
    })?;
    let bytes = BASE64.decode(audio.as_bytes()).map_err(|error| {
        Fault::invalid("invalid_audio_base64", format!("\"audio\" is not base64: {error}")).in_param("audio")
    })?;
    Ok(ClientEvent::Append(bytes))
}

fn session(text: &str) -> Result<Value, Fault> {
    let session = reread(text)?.get_mut("session").map(Value::take);
    session.ok_or_else(|| Fault::invalid("invalid_value", "\"session\" is missing").in_param("session"))
}

fn item_id(text: &str) -> Result<String, Fault> {
    let event = reread(text)?;
    let id = event.get("item_id").and_then(Value::as_str).map(str::to_owned);
    id.ok_or_else(|| Fault::invalid("invalid_value", "\"item_id\" must be a string").in_param("item_id"))
}

fn item_create(event: &Value) -> Result<ClientEvent, Fault> {
    let event = Field::root("", event);
    let place = read_place(event.get("previous_item_id")?)?;
    read_item(&required(&event, "item")?).map(|item| ClientEvent::ItemCreate(place, Box::new(item)))
}

/// An item, and how much of it was heard.
fn audio_end(event: &Value) -> Result<(String, Duration), Fault> {
    let event = Field::root("", event);
    let item_id = required(&event, "item_id")?.text()?.to_owned();
    let audio_end = required(&event, "audio_end_ms")?.integer(0..=LONGEST_AUDIO_MS)?;
    Ok((item_id, Duration::from_millis(audio_end)))
}

fn response_cancel(event: &Value) -> Result<ClientEvent, Fault> {
    let id = Field::root("", event).get("response_id")?.filter(|id| !id.is_null());
    let id = id.map(|id| id.text().map(str::to_owned)).transpose()?;
    Ok(ClientEvent::ResponseCancel(id))
}

/// Everything in a text whose type was read before. What was skipped then can still be nested too deep, name half a
/// character or a number that is too large.
fn reread(text: &str) -> Result<Value, Fault> {
    serde_json::from_str(text).map_err(|error| not_an_event(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The event, or the fault's code and field.
    fn read(text: &str) -> String {
        match parse(text).event {
            Ok(event) => format!("{event:?}"),
            Err(fault) => format!("{} in {}", fault.code, fault.param.unwrap_or_else(|| "the whole".into())),
        }
    }

    #[test]
    fn events_are_read_and_bad_ones_are_named() {
        let table = [
            (r#"{"type":"input_audio_buffer.append","audio":"AAEC"}"#, "Append([0, 1, 2])"),
            (r#"{"type":"input_audio_buffer.append","audio":"AAE="}"#, "Append([0, 1])"),
            (r#"{"type":"input_audio_buffer.append","audio":"AAE"}"#, "Append([0, 1])"),
            (r#"{"type":"input_audio_buffer.append","audio":"\u0041AEC"}"#, "Append([0, 1, 2])"),
            (r#"{"type":"input_audio_buffer.append","audio":"!"}"#, "invalid_audio_base64 in audio"),
            (r#"{"type":"input_audio_buffer.append","audio":7}"#, "invalid_value in audio"),
            (r#"{"type":"input_audio_buffer.append"}"#, "invalid_value in audio"),
            (r#"{"type":"input_audio_buffer.commit"}"#, "Commit"),
            (r#"{"type":"input_audio_buffer.clear","more":1}"#, "Clear"),
            (r#"{"type":"session.update"}"#, "invalid_value in session"),
            (r#"{"type":"session.update","session":7}"#, "SessionUpdate(Current, Number(7))"),
            (r#"{"type":"transcription_session.update","session":7}"#, "SessionUpdate(Beta, Number(7))"),
            (r#"{"type":"transcription_session.update"}"#, "invalid_value in session"),
            (r#"{"type":"conversation.item.delete","item_id":"a"}"#, r#"ItemDelete("a")"#),
            (r#"{"type":"conversation.item.retrieve"}"#, "invalid_value in item_id"),
            (r#"{"type":"response.create"}"#, "ResponseCreate(None)"),
            (r#"{"type":"response.create","response":{}}"#, "ResponseCreate(Some(Object {}))"),
            (r#"{"type":"response.cancel"}"#, "ResponseCancel(None)"),
            (r#"{"type":"response.cancel","response_id":"r"}"#, r#"ResponseCancel(Some("r"))"#),
            (r#"{"type":"response.cancel","response_id":7}"#, "invalid_value in response_id"),
            (r#"{"type":"output_audio_buffer.clear"}"#, "OutputClear"),
            (
                r#"{"type":"conversation.item.truncate","item_id":"a","content_index":0,"audio_end_ms":1500}"#,
                r#"ItemTruncate { item_id: "a", audio_end: 1.5s }"#,
            ),
            (r#"{"type":"conversation.item.truncate","item_id":"a"}"#, "invalid_value in audio_end_ms"),
            (
                r#"{"type":"pool.output_audio.played","item_id":"a","audio_end_ms":-1}"#,
                "invalid_value in audio_end_ms",
            ),
            (r#"{"type":"conversation.item.create"}"#, "invalid_value in item"),
            (r#"{"type":"conversation.item.create","item":{"type":"x"}}"#, "invalid_value in item.type"),
            (r#"{"type":"make.coffee"}"#, "unknown_event in type"),
            (r#"{"type":7}"#, "invalid_event in type"),
            (r#"{"audio":"AAEC"}"#, "invalid_event in type"),
            (r#"["input_audio_buffer.commit", "e7"]"#, "invalid_event in the whole"),
            (r#"{"type":"session.update","session":{"x":"\ud800"}}"#, "invalid_json in the whole"),
            (r#"{"type":"session.update","session":{"x":1e999}}"#, "invalid_json in the whole"),
            (r#"{"type":"conversation.item.delete","item_id":"\ud800"}"#, "invalid_json in the whole"),
            ("7", "invalid_event in the whole"),
            ("{", "invalid_json in the whole"),
            ("", "invalid_json in the whole"),
            ("hello", "invalid_json in the whole"),
        ];
        for (text, expected) in table {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn json_that_is_nested_too_deep_is_refused() {
        let deep = format!(r#"{{"type":"session.update","session":{}{}}}"#, "[".repeat(200), "]".repeat(200));
        assert_eq!(read(&deep), "invalid_json in the whole");
    }

    #[test]
    fn what_comes_back_to_the_client_is_short_however_long_its_event_was() {
        let long = "e".repeat(1_000_000);
        let fault = |text: String| parse(&text).event.unwrap_err();
        assert!(fault(format!(r#"{{"type":"{long}"}}"#)).message.len() < 100);
        let named = fault(format!(r#"{{"type":"input_audio_buffer.clear","event_id":"{long}"}}"#));
        assert_eq!((named.param.as_deref(), named.event_id), (Some("event_id"), None));
    }

    #[test]
    fn the_clients_name_for_an_event_comes_back_with_its_fault() {
        assert_eq!(parse(r#"{"type":"no.such","event_id":"e7"}"#).event_id.as_deref(), Some("e7"));
        assert_eq!(parse(r#"{"type":"no.such","event_id":7}"#).event_id, None);
    }
}
