//! The flat session object of OpenAI's beta, which some clients still send, in the shape of today.

use serde_json::{Value, json};
use std::borrow::Cow;

/// `session` with beta's flat fields moved to where they stand now; anything else comes back as it was.
pub(super) fn translated(session: &Value) -> Cow<'_, Value> {
    let Some(object) = session.as_object() else { return Cow::Borrowed(session) };
    let mut input = serde_json::Map::new();
    if let Some(format) = object.get("input_audio_format") {
        input.insert("format".into(), current_format(format));
    }
    let moved = [
        ("input_audio_transcription", "transcription"),
        ("input_audio_noise_reduction", "noise_reduction"),
        ("turn_detection", "turn_detection"),
    ];
    for (flat, nested) in moved {
        if let Some(value) = object.get(flat) {
            input.insert(nested.into(), value.clone());
        }
    }
    if input.is_empty() || object.contains_key("audio") {
        return Cow::Borrowed(session);
    }
    let mut session = session.clone();
    session["audio"] = json!({ "input": input });
    Cow::Owned(session)
}

/// Beta's name of a format as today's object; a value that is no such name stays, to be refused under its own name.
fn current_format(format: &Value) -> Value {
    match format.as_str() {
        Some("pcm16") => json!({ "type": "audio/pcm", "rate": 24_000 }),
        Some("g711_ulaw") => json!({ "type": "audio/pcmu" }),
        Some("g711_alaw") => json!({ "type": "audio/pcma" }),
        Some(other) => json!({ "type": other }),
        None => format.clone(),
    }
}
