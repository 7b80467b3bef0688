//! Items of a conversation, as clients see and send them.

use super::fault::Fault;
use super::field::Field;
use crate::asr::Withheld;
use crate::llm::ToolCall;
use crate::session::{self, Body, ItemStatus, Place, Role};
use serde::Serialize;
use uuid::Uuid;

/// The longest text in an item, and the most text in all parts of a message, in bytes; a session keeps some hundred items.
const LONGEST_TEXT: usize = 256 * 1024;

/// The most parts of a message.
const MOST_PARTS: usize = 64;

/// The longest name of an item; OpenAI's limit is 32, and ours are longer.
const LONGEST_ID: usize = 64;

/// An item.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Item {
    pub(super) id: String,
    pub(super) object: &'static str,
    #[serde(flatten)]
    body: ItemBody,
    pub(super) status: &'static str,
    /// Only where there is something to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pool: Option<ItemPool>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ItemBody {
    Message { role: &'static str, content: Vec<Content> },
    FunctionCall { call_id: String, name: String, arguments: String },
    FunctionCallOutput { call_id: String, output: String },
}

/// What a message consists of. Sound itself is not kept.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Content {
    InputText { text: String },
    InputAudio { transcript: Option<String> },
    OutputText { text: String },
    OutputAudio { transcript: String },
}

/// What only those are told who ask for an item.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct ItemPool {
    pub(super) withheld: WithheldText,
}

/// A text that was read and is not told.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct WithheldText {
    pub(super) reason: &'static str,
    pub(super) text: String,
}

impl Item {
    /// An item as it is kept. What was cut off of what the assistant said is not shown.
    pub(super) fn of(item: &session::Item) -> Self {
        let body = match &item.body {
            Body::Message { role, content } => {
                ItemBody::Message { role: name_of(*role), content: content.iter().map(Content::of).collect() }
            }
            Body::Call(ToolCall { id, name, arguments }) => ItemBody::FunctionCall {
                call_id: id.clone(),
                name: name.clone(),
                arguments: arguments.clone(),
            },
            Body::Output { call_id, output } => {
                ItemBody::FunctionCallOutput { call_id: call_id.clone(), output: output.clone() }
            }
        };
        let status = match item.status {
            ItemStatus::InProgress => "in_progress",
            ItemStatus::Completed => "completed",
            ItemStatus::Incomplete => "incomplete",
        };
        Self { id: item.id.clone(), object: "realtime.item", body, status, pool: None }
    }

    /// The same, with the text that was read and is not told.
    pub(super) fn in_full(item: &session::Item) -> Self {
        let withheld = match &item.body {
            Body::Message { content, .. } => content.iter().find_map(|part| match part {
                session::Content::InputAudio { withheld, .. } => withheld.as_ref(),
                _ => None,
            }),
            _ => None,
        };
        let pool = withheld.map(|Withheld { doubt, text }| ItemPool {
            withheld: WithheldText { reason: doubt.code(), text: text.clone() },
        });
        Self { pool, ..Self::of(item) }
    }

    /// Before anything of it is known but what it is.
    pub(super) fn empty(item: &session::Item) -> Self {
        let mut this = Self::of(item);
        if let ItemBody::Message { content, .. } = &mut this.body {
            content.clear();
        }
        this
    }
}

impl Content {
    fn of(part: &session::Content) -> Self {
        match part {
            session::Content::InputText(text) => Self::InputText { text: text.clone() },
            session::Content::InputAudio { transcript, .. } => {
                Self::InputAudio { transcript: transcript.clone() }
            }
            session::Content::OutputText(text) => Self::OutputText { text: text.clone() },
            session::Content::OutputAudio(script) => {
                Self::OutputAudio { transcript: script.heard().to_owned() }
            }
        }
    }
}

fn name_of(role: Role) -> &'static str {
    match role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    }
}

/// Reads an item that a client made.
///
/// # Errors
///
/// What is wrong with it.
pub(super) fn read_item(field: &Field<'_>) -> Result<session::Item, Fault> {
    let id = match field.get("id")?.filter(|id| !id.is_null()) {
        Some(id) => named(&id)?,
        None => format!("item_{}", Uuid::new_v4().simple()),
    };
    let kind = required(field, "type")?;
    let kinds = [("message", 0), ("function_call", 1), ("function_call_output", 2)];
    let body = match kind.choice(&kinds)? {
        0 => read_message(field)?,
        1 => Body::Call(ToolCall {
            id: match field.get("call_id")?.filter(|id| !id.is_null()) {
                Some(id) => named(&id)?,
                None => format!("call_{}", Uuid::new_v4().simple()),
            },
            name: named(&required(field, "name")?)?,
            arguments: text(&required(field, "arguments")?)?,
        }),
        _ => Body::Output {
            call_id: named(&required(field, "call_id")?)?,
            output: text(&required(field, "output")?)?,
        },
    };
    Ok(session::Item { id, body, status: ItemStatus::Completed })
}

/// Where a client wants a new item.
///
/// # Errors
///
/// When it does not say so with a string.
pub(super) fn read_place(field: Option<Field<'_>>) -> Result<Place, Fault> {
    match field.filter(|field| !field.is_null()) {
        None => Ok(Place::End),
        Some(field) if field.text()? == "root" => Ok(Place::Root),
        Some(field) => Ok(Place::After(field.text()?.to_owned())),
    }
}

fn read_message(field: &Field<'_>) -> Result<Body, Fault> {
    let roles = [("system", Role::System), ("user", Role::User), ("assistant", Role::Assistant)];
    let role = required(field, "role")?.choice(&roles)?;
    let content = read_content(&required(field, "content")?, role)?;
    if content.is_empty() {
        return Err(field.fault("invalid_value", "a message needs content"));
    }
    Ok(Body::Message { role, content })
}

/// Reads the parts of a message as long as they are not too many, and not too much together.
fn read_content(field: &Field<'_>, role: Role) -> Result<Vec<session::Content>, Fault> {
    let (mut content, mut bytes) = (Vec::new(), 0);
    for part in field.elements()? {
        if content.len() == MOST_PARTS {
            return Err(field.fault("invalid_value", format!("a message has at most {MOST_PARTS} parts")));
        }
        let part = read_part(&part, role)?;
        bytes += length(&part);
        if bytes > LONGEST_TEXT {
            let message = format!("the texts of a message have at most {LONGEST_TEXT} bytes together");
            return Err(field.fault("item_too_large", message));
        }
        content.push(part);
    }
    Ok(content)
}

/// In bytes.
fn length(part: &session::Content) -> usize {
    match part {
        session::Content::InputText(text) | session::Content::OutputText(text) => text.len(),
        session::Content::InputAudio { transcript, .. } => transcript.as_ref().map_or(0, String::len),
        // Clients do not make these.
        session::Content::OutputAudio(_) => 0,
    }
}

fn read_part(part: &Field<'_>, role: Role) -> Result<session::Content, Fault> {
    let kinds = [
        ("input_text", false),
        ("text", false),
        ("output_text", false),
        ("input_audio", true),
        ("audio", true),
        ("output_audio", true),
    ];
    let spoken = required(part, "type")?.choice(&kinds)?;
    let words = part.get(if spoken { "transcript" } else { "text" })?.filter(|words| !words.is_null());
    let words = words.map(|words| text(&words)).transpose()?;
    match (role, spoken, words) {
        (Role::Assistant, _, Some(words)) => Ok(session::Content::OutputText(words)),
        (_, false, Some(words)) => Ok(session::Content::InputText(words)),
        (_, true, Some(words)) => {
            Ok(session::Content::InputAudio { transcript: Some(words), withheld: None })
        }
        (_, true, None) => Err(part.fault(
            "unsupported_value",
            "audio in an item is not read: append it to the input audio buffer, or give its transcript",
        )),
        (_, false, None) => Err(part.fault("invalid_value", "a text part needs a \"text\"")),
    }
}

/// A field that has to be there.
///
/// # Errors
///
/// When it is not.
pub(super) fn required<'a>(field: &Field<'a>, key: &str) -> Result<Field<'a>, Fault> {
    let found = field.get(key)?.filter(|found| !found.is_null());
    let missing = || Fault::invalid("invalid_value", format!("\"{key}\" is missing"));
    found.ok_or_else(|| missing().in_param(field.path_to(key)))
}

/// A name that is not too long to keep.
///
/// # Errors
///
/// When it is, or is empty, or no text.
pub(super) fn named(field: &Field<'_>) -> Result<String, Fault> {
    let name = field.text()?;
    match name.len() {
        1..=LONGEST_ID => Ok(name.to_owned()),
        n => Err(field.fault("invalid_value", format!("a name has 1 to {LONGEST_ID} bytes, this has {n}"))),
    }
}

/// A text that is not too long to keep.
///
/// # Errors
///
/// When it is, or is no text.
pub(super) fn text(field: &Field<'_>) -> Result<String, Fault> {
    let text = field.text()?;
    if text.len() > LONGEST_TEXT {
        let message = format!("a text of {} bytes is longer than {LONGEST_TEXT} bytes", text.len());
        return Err(field.fault("invalid_value", message));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// What a client is shown of an item that it made, less the names; or what is wrong with it.
    fn taken(item: &Value) -> String {
        match read_item(&Field::root("item", item)) {
            Ok(item) => {
                let mut shown = serde_json::to_value(Item::of(&item)).expect("items are JSON");
                let shown = shown.as_object_mut().expect("items are objects");
                shown.retain(|key, _| !["id", "object", "status"].contains(&key.as_str()));
                Value::Object(shown.clone()).to_string()
            }
            Err(fault) => format!("{} in {}", fault.code, fault.param.unwrap_or_default()),
        }
    }

    #[test]
    fn items_of_clients_are_taken_or_refused_with_the_field_that_is_wrong() {
        let message =
            |role: &str, content: Value| json!({"type": "message", "role": role, "content": content});
        let part = |n: usize| json!({"type": "input_text", "text": "x".repeat(n)});
        let table = [
            (
                message("user", json!([{"type": "input_text", "text": "hi"}])),
                r#"{"content":[{"text":"hi","type":"input_text"}],"role":"user","type":"message"}"#,
            ),
            (
                message("assistant", json!([{"type": "output_text", "text": "hi"}])),
                r#"{"content":[{"text":"hi","type":"output_text"}],"role":"assistant","type":"message"}"#,
            ),
            (
                message("user", json!([{"type": "input_audio", "transcript": "hi"}])),
                r#"{"content":[{"transcript":"hi","type":"input_audio"}],"role":"user","type":"message"}"#,
            ),
            (
                json!({"type": "function_call_output", "call_id": "c", "output": "42"}),
                r#"{"call_id":"c","output":"42","type":"function_call_output"}"#,
            ),
            (
                json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}),
                r#"{"arguments":"{}","call_id":"c","name":"f","type":"function_call"}"#,
            ),
            (
                message("user", json!([{"type": "input_audio", "audio": "AAAA"}])),
                "unsupported_value in item.content[0]",
            ),
            (message("user", json!([{"type": "input_text"}])), "invalid_value in item.content[0]"),
            (message("user", json!([])), "invalid_value in item"),
            (message("user", json!("hi")), "invalid_value in item.content"),
            (message("user", json!(vec![part(1); MOST_PARTS + 1])), "invalid_value in item.content"),
            (message("user", json!([part(LONGEST_TEXT), part(1)])), "item_too_large in item.content"),
            (
                message("user", json!([part(1), part(LONGEST_TEXT + 1)])),
                "invalid_value in item.content[1].text",
            ),
            (message("robot", json!([])), "invalid_value in item.role"),
            (json!({"type": "function_call_output", "output": "42"}), "invalid_value in item.call_id"),
            (json!({"type": "coffee"}), "invalid_value in item.type"),
            (json!({"id": "", "type": "message"}), "invalid_value in item.id"),
            (json!({}), "invalid_value in item.type"),
            (json!(7), "invalid_value in item"),
        ];
        for (item, expected) in table {
            assert_eq!(taken(&item), expected, "{item}");
        }
    }

    #[test]
    fn an_item_may_be_as_large_as_one_text_and_no_larger() {
        let part = |n: usize| json!({"type": "input_text", "text": "x".repeat(n)});
        let message = |content: Value| json!({"type": "message", "role": "user", "content": content});
        let whole = message(json!([part(LONGEST_TEXT / 2), part(LONGEST_TEXT / 2)]));
        assert!(read_item(&Field::root("item", &whole)).is_ok());
        assert!(read_item(&Field::root("item", &message(json!(vec![part(1); MOST_PARTS])))).is_ok());
    }
}
