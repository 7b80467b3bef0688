//! The body of a request for speech, from JSON to meaning. Pure.
//!
//! `instructions` are taken and not followed: no voice here can be told how to feel. Fields that nobody knows are ignored.

use crate::audio::SoundFormat;
use crate::server::error::shortened;
use crate::server::{RequestError, UnknownModel};
use crate::tts::{Studio, TtsError, Voice};
use serde_json::Value;

/// The longest text, in characters, as in OpenAI's API.
pub(super) const LONGEST_INPUT: usize = 4_096;

/// What OpenAI's service calls its own; whatever speaks here answers to these.
const MODELS: [&str; 5] =
    ["tts-1", "tts-1-hd", "gpt-4o-mini-tts", "gpt-4o-mini-tts-2025-03-20", "gpt-4o-mini-tts-2025-12-15"];

/// How the sound is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    /// As the body of the answer.
    Body,
    /// As events.
    Events,
}

/// What is wanted.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SpeechRequest {
    pub(super) input: String,
    pub(super) voice: Voice,
    pub(super) format: SoundFormat,
    pub(super) delivery: Delivery,
}

/// Why it cannot be.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Refusal {
    Request(RequestError),
    Voice(TtsError),
}

impl From<RequestError> for Refusal {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl SpeechRequest {
    /// Reads it, for a studio.
    pub(super) fn read(body: &Value, studio: &dyn Studio) -> Result<Self, Refusal> {
        model(body, studio)?;
        let format = match text(body, "response_format")? {
            Some(name) => format(name)?,
            None => SoundFormat::named("mp3").unwrap_or(SoundFormat::Wav),
        };
        let delivery = match text(body, "stream_format")? {
            None | Some("audio") => Delivery::Body,
            Some("sse") => Delivery::Events,
            Some(_) => return Err(invalid(body, "stream_format", "audio or sse").into()),
        };
        Ok(Self {
            input: input(body)?,
            voice: Voice { name: voice(body, studio)?, speed: speed(body)? },
            format,
            delivery,
        })
    }
}

fn model(body: &Value, studio: &dyn Studio) -> Result<(), RequestError> {
    let known = || MODELS.into_iter().chain([studio.engine()]);
    match text(body, "model")? {
        Some(name) if !known().any(|model| model == name) => {
            let known = known().map(ToOwned::to_owned).collect();
            Err(UnknownModel { name: shortened(name), known }.into())
        }
        _ => Ok(()),
    }
}

fn input(body: &Value) -> Result<String, RequestError> {
    let expected = || format!("a text of 1 to {LONGEST_INPUT} characters");
    let input = text(body, "input")?.unwrap_or_default();
    match input.chars().count() {
        1..=LONGEST_INPUT => Ok(input.to_owned()),
        0 => Err(invalid(body, "input", &expected())),
        length => {
            let value = format!("{length} characters long");
            Err(RequestError::InvalidValue { param: "input", value, expected: expected() })
        }
    }
}

/// A name, or an object with an `id`; the studio's own voice where none is given.
fn voice(body: &Value, studio: &dyn Studio) -> Result<String, Refusal> {
    let name = match &body["voice"] {
        Value::Null => return Ok(studio.default_voice().to_owned()),
        Value::Object(voice) => voice.get("id").and_then(Value::as_str),
        value => value.as_str(),
    };
    let name = name.ok_or_else(|| invalid(body, "voice", "a name, or an object with an id"))?;
    studio.voice(name).map_err(Refusal::Voice)
}

fn speed(body: &Value) -> Result<f32, RequestError> {
    match &body["speed"] {
        Value::Null => Ok(1.0),
        value => match value.as_f64() {
            Some(speed) if (0.25..=4.0).contains(&speed) => Ok(speed as f32),
            _ => Err(invalid(body, "speed", "a number from 0.25 to 4")),
        },
    }
}

fn format(name: &str) -> Result<SoundFormat, RequestError> {
    let names = SoundFormat::ALL.iter().map(|format| format.name()).collect::<Vec<_>>().join(", ");
    SoundFormat::named(name).ok_or_else(|| match name {
        "aac" | "mp3" => RequestError::Unsupported {
            param: "response_format",
            reason: format!("this server has no encoder for {name}; it has {names}"),
        },
        _ => RequestError::InvalidValue { param: "response_format", value: shortened(name), expected: names },
    })
}

/// A text; `None` where it is missing or null.
fn text<'a>(body: &'a Value, param: &'static str) -> Result<Option<&'a str>, RequestError> {
    match &body[param] {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        _ => Err(invalid(body, param, "a text")),
    }
}

fn invalid(body: &Value, param: &'static str, expected: &str) -> RequestError {
    let value = match &body[param] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    RequestError::InvalidValue { param, value: shortened(&value), expected: expected.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tts::fake::FakeStudio;
    use serde_json::json;

    fn read(fields: &Value) -> Result<SpeechRequest, Refusal> {
        let mut body = json!({"model": "tts-1", "input": "Hello.", "voice": "alloy"});
        let fields = fields.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(fields);
        SpeechRequest::read(&body, &FakeStudio::default())
    }

    /// The parameter and code of the refusal.
    fn refused(fields: &Value) -> (&'static str, &'static str) {
        match read(fields).unwrap_err() {
            Refusal::Request(error) => (error.param(), error.code()),
            Refusal::Voice(error) => ("voice", error.code()),
        }
    }

    #[test]
    fn what_clients_of_openai_send_is_understood() {
        let plain = read(&json!({})).unwrap();
        assert_eq!((plain.voice.name.as_str(), plain.delivery), ("fake", Delivery::Body));
        assert_eq!(Some(plain.format), SoundFormat::named("mp3").or(Some(SoundFormat::Wav)));
        let all = json!({
            "model": "gpt-4o-mini-tts", "voice": {"id": "other"}, "response_format": "opus", "speed": 2,
            "stream_format": "sse", "instructions": "Whisper.", "unknown": [1],
        });
        let expected = SpeechRequest {
            input: "Hello.".into(),
            voice: Voice { name: "other".into(), speed: 2.0 },
            format: SoundFormat::Opus,
            delivery: Delivery::Events,
        };
        assert_eq!(read(&all), Ok(expected));
        assert!(read(&json!({"model": null, "voice": null, "speed": null, "response_format": null})).is_ok());
        assert!(read(&json!({"input": "ä".repeat(LONGEST_INPUT), "model": "fake"})).is_ok());
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let cases = [
            (json!({"input": ""}), ("input", "invalid_value")),
            (json!({"input": null}), ("input", "invalid_value")),
            (json!({"input": 7}), ("input", "invalid_value")),
            (json!({"input": "a".repeat(LONGEST_INPUT + 1)}), ("input", "invalid_value")),
            (json!({"voice": "nobody"}), ("voice", "voice_unknown")),
            (json!({"voice": {"name": "x"}}), ("voice", "invalid_value")),
            (json!({"voice": 1}), ("voice", "invalid_value")),
            (json!({"response_format": "aac"}), ("response_format", "unsupported_value")),
            (json!({"response_format": "midi"}), ("response_format", "invalid_value")),
            (json!({"stream_format": "smoke"}), ("stream_format", "invalid_value")),
            (json!({"speed": 0.2}), ("speed", "invalid_value")),
            (json!({"speed": 4.1}), ("speed", "invalid_value")),
            (json!({"speed": "fast"}), ("speed", "invalid_value")),
            (json!({"model": "whisper-1"}), ("model", "model_not_found")),
        ];
        for (fields, expected) in cases {
            assert_eq!(refused(&fields), expected, "{fields}");
        }
    }
}
