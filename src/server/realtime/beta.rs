//! What differs for clients of OpenAI's beta: names of events, and the flat session object.
//!
//! A client is one of beta when it asks for it as it connects, or from its first `transcription_session.update` that is
//! taken. Flat session objects are understood from everybody.

use super::config::SessionType;
use super::server_event::ServerEvent;
use axum::http::HeaderMap;
use axum::http::header::SEC_WEBSOCKET_PROTOCOL;
use serde::Serialize;
use serde_json::{Value, json};
use std::borrow::Cow;

/// What beta calls the parts of a reply, and what they are called today; in the names of events and in items.
const PARTS: [(&str, &str); 3] = [
    ("response.audio_transcript.", "response.output_audio_transcript."),
    ("response.audio.", "response.output_audio."),
    ("response.text.", "response.output_text."),
];
const CONTENT: [(&str, &str); 2] = [("text", "output_text"), ("audio", "output_audio")];

/// Beta's flat fields of replies, and where they stand today.
const RENAMED: [(&str, &str); 2] =
    [("modalities", "output_modalities"), ("max_response_output_tokens", "max_output_tokens")];

/// Beta's flat fields, and where they stand in `audio.input` today. The format stands there, too, in other words.
const MOVED: [(&str, &str); 3] = [
    ("input_audio_transcription", "transcription"),
    ("input_audio_noise_reduction", "noise_reduction"),
    ("turn_detection", "turn_detection"),
];

/// Beta's names of formats, and today's.
const FORMATS: [(&str, &str); 3] =
    [("pcm16", "audio/pcm"), ("g711_ulaw", "audio/pcmu"), ("g711_alaw", "audio/pcma")];

/// Which names a client has for things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Dialect {
    /// Today's.
    #[default]
    Current,
    /// Those of the beta.
    Beta,
}

impl Dialect {
    /// What a client asks for as it connects: beta by `OpenAI-Beta: realtime=v1` or, in browsers, by a subprotocol.
    pub(super) fn asked_for(headers: &HeaderMap) -> Self {
        let listed = |name: &str, wanted: &str| {
            let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
            values.flat_map(|value| value.split(',')).any(|part| part.trim() == wanted)
        };
        let beta = listed("openai-beta", "realtime=v1")
            || listed(SEC_WEBSOCKET_PROTOCOL.as_str(), "openai-beta.realtime-v1");
        if beta { Self::Beta } else { Self::Current }
    }

    /// Beta, if either is: who has begun to speak it goes on.
    pub(super) fn or(self, other: Self) -> Self {
        if other == Self::Beta { other } else { self }
    }

    /// An update's `session` as it is meant: beta's own update is for transcription sessions only.
    pub(super) fn update(self, session: &Value) -> Cow<'_, Value> {
        let untyped = session.as_object().is_some_and(|session| !session.contains_key("type"));
        if self == Self::Current || !untyped {
            return Cow::Borrowed(session);
        }
        let mut session = session.clone();
        session["type"] = json!(SessionType::Transcription);
        Cow::Owned(session)
    }

    /// The first event of a session that is shown as `session`.
    pub(super) fn created(self, kind: SessionType, session: Value) -> ServerEvent {
        match (self, kind) {
            (Self::Current, _) => ServerEvent::SessionCreated { session },
            (Self::Beta, SessionType::Realtime) => ServerEvent::SessionCreated { session: flat(session) },
            (Self::Beta, SessionType::Transcription) => {
                ServerEvent::TranscriptionSessionCreated { session: flat(session) }
            }
        }
    }

    /// The answer to an update of a session that is shown as `session`.
    pub(super) fn updated(self, kind: SessionType, session: Value) -> ServerEvent {
        match (self, kind) {
            (Self::Current, _) => ServerEvent::SessionUpdated { session },
            (Self::Beta, SessionType::Realtime) => ServerEvent::SessionUpdated { session: flat(session) },
            (Self::Beta, SessionType::Transcription) => {
                ServerEvent::TranscriptionSessionUpdated { session: flat(session) }
            }
        }
    }
}

impl Dialect {
    /// An event as text, under the names that the client has for things.
    pub(super) fn written(self, event: &impl Serialize) -> String {
        const WHY: &str = "server events hold only what JSON can say";
        if self == Self::Current {
            return serde_json::to_string(event).expect(WHY);
        }
        let mut event = serde_json::to_value(event).expect(WHY);
        rename_parts(&mut event);
        event.to_string()
    }
}

/// Gives what belongs to replies its old names.
fn rename_parts(event: &mut Value) {
    let kind = event["type"].as_str().unwrap_or_default();
    let part = PARTS.iter().find_map(|(old, new)| kind.strip_prefix(new).map(|rest| format!("{old}{rest}")));
    if let Some(kind) = part {
        event["type"] = kind.into();
    }
    if let Some(item) = event.get_mut("item") {
        rename_content(item);
    }
    if let Some(response) = event.get_mut("response") {
        response["modalities"] = modalities(&response["output_modalities"]);
        response["output"].as_array_mut().into_iter().flatten().for_each(rename_content);
    }
}

fn rename_content(item: &mut Value) {
    for part in item.get_mut("content").and_then(Value::as_array_mut).into_iter().flatten() {
        let kind = part["type"].as_str().unwrap_or_default();
        if let Some((old, _)) = CONTENT.iter().find(|(_, new)| *new == kind) {
            part["type"] = (*old).into();
        }
    }
}

/// In beta, what is spoken has both modalities.
fn modalities(current: &Value) -> Value {
    if *current == json!(["audio"]) { json!(["text", "audio"]) } else { current.clone() }
}

/// `session` with beta's flat fields moved to where they stand now; anything else comes back as it was.
pub(super) fn translated(session: &Value) -> Cow<'_, Value> {
    let Some(object) = session.as_object() else { return Cow::Borrowed(session) };
    let mut session = Cow::Borrowed(session);
    for (flat, now) in RENAMED {
        if let Some(value) = object.get(flat).filter(|_| !object.contains_key(now)) {
            session.to_mut()[now] = value.clone();
        }
    }
    if object.contains_key("audio") {
        return session;
    }
    let (input, output) = (moved_input(object), moved_output(object));
    if !input.is_empty() {
        session.to_mut()["audio"]["input"] = Value::Object(input);
    }
    if !output.is_empty() {
        session.to_mut()["audio"]["output"] = Value::Object(output);
    }
    session
}

fn moved_output(object: &serde_json::Map<String, Value>) -> serde_json::Map<String, Value> {
    let mut output = serde_json::Map::new();
    if let Some(voice) = object.get("voice") {
        output.insert("voice".into(), voice.clone());
    }
    if let Some(format) = object.get("output_audio_format") {
        output.insert("format".into(), current_format(format));
    }
    output
}

fn moved_input(object: &serde_json::Map<String, Value>) -> serde_json::Map<String, Value> {
    let mut input = serde_json::Map::new();
    if let Some(format) = object.get("input_audio_format") {
        input.insert("format".into(), current_format(format));
    }
    for (flat, nested) in MOVED {
        if let Some(value) = object.get(flat) {
            input.insert(nested.into(), value.clone());
        }
    }
    input
}

/// A session as it is shown today, in beta's shape. That has one rate for PCM and no place for others.
fn flat(mut session: Value) -> Value {
    let (input, output) = (session["audio"]["input"].take(), session["audio"]["output"].take());
    if let Some(session) = session.as_object_mut() {
        session.remove("audio");
        session.remove("type");
    }
    session["input_audio_format"] = flat_format(&input["format"]);
    if !output.is_null() {
        session["output_audio_format"] = flat_format(&output["format"]);
        session["voice"] = output["voice"].clone();
        session["modalities"] = modalities(&session["output_modalities"]);
        session["max_response_output_tokens"] = session["max_output_tokens"].clone();
    }
    for (flat, nested) in MOVED {
        session[flat] = input[nested].clone();
    }
    session
}

fn flat_format(format: &Value) -> Value {
    FORMATS.iter().find(|(_, current)| format["type"] == *current).map(|(beta, _)| *beta).into()
}

/// Beta's name of a format as today's object; a value that is no such name stays, to be refused under its own name.
fn current_format(format: &Value) -> Value {
    let Some(name) = format.as_str() else { return format.clone() };
    match FORMATS.iter().find(|(beta, _)| *beta == name).map(|(_, current)| *current) {
        Some("audio/pcm") => json!({ "type": "audio/pcm", "rate": 24_000 }),
        Some(current) => json!({ "type": current }),
        None => json!({ "type": name }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beta_is_asked_for_in_a_header_or_among_the_subprotocols() {
        let table = [
            ("openai-beta", "realtime=v1", Dialect::Beta),
            ("openai-beta", "assistants=v2, realtime=v1", Dialect::Beta),
            ("openai-beta", "assistants=v2", Dialect::Current),
            (
                "sec-websocket-protocol",
                "realtime, openai-insecure-api-key.k, openai-beta.realtime-v1",
                Dialect::Beta,
            ),
            ("sec-websocket-protocol", "openai-beta.realtime-v1,realtime", Dialect::Beta),
            ("sec-websocket-protocol", "realtime, openai-insecure-api-key.k", Dialect::Current),
            ("accept", "realtime=v1", Dialect::Current),
        ];
        for (name, value, expected) in table {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().expect("a header value"));
            assert_eq!(Dialect::asked_for(&headers), expected, "{name}: {value}");
        }
    }

    #[test]
    fn who_has_begun_to_speak_beta_goes_on() {
        use Dialect::{Beta, Current};
        assert_eq!([Current.or(Current), Current.or(Beta), Beta.or(Current)], [Current, Beta, Beta]);
    }

    #[test]
    fn betas_own_update_makes_a_transcription_session_and_nothing_else_is_added() {
        let update = |dialect: Dialect, session: Value| dialect.update(&session).into_owned();
        assert_eq!(update(Dialect::Beta, json!({})), json!({ "type": "transcription" }));
        assert_eq!(update(Dialect::Beta, json!({ "type": "realtime" })), json!({ "type": "realtime" }));
        assert_eq!(update(Dialect::Beta, json!(7)), json!(7));
        assert_eq!(update(Dialect::Current, json!({})), json!({}));
    }

    #[test]
    fn what_is_shown_flat_means_the_same_when_it_is_sent_back() {
        for (format, name) in [
            (json!({ "type": "audio/pcm", "rate": 24_000 }), "pcm16"),
            (json!({ "type": "audio/pcmu" }), "g711_ulaw"),
            (json!({ "type": "audio/pcma" }), "g711_alaw"),
        ] {
            let input = json!({
                "format": format,
                "transcription": { "model": "demo" },
                "noise_reduction": null,
                "turn_detection": { "type": "semantic_vad" },
            });
            let session = json!({ "type": "transcription", "id": "s", "audio": { "input": input } });
            let flat = flat(session);
            assert_eq!(flat["input_audio_format"], name);
            assert_eq!((flat.get("audio"), flat.get("type")), (None, None));
            assert_eq!(translated(&flat)["audio"]["input"], input);
        }
    }
}
