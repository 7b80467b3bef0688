//! How a session replies: what clients may set of it, in the session and for one reply.

use super::config::AudioFormat;
use super::fault::Fault;
use super::field::Field;
use super::item::{named, required, text};
use crate::llm::{Tool, ToolChoice};
use crate::server::TalkDefaults;
use crate::session::{Assistant, Manners, TalkSettings, TalkTerms};
use crate::tts::Voice;
use serde_json::{Value, json};
use std::ops::RangeInclusive;

/// How fast a voice may speak; OpenAI's limits.
const SPEED: RangeInclusive<f64> = 0.25..=1.5;

/// The longest reply that can be asked for, in tokens.
const MAX_TOKENS: RangeInclusive<u64> = 1..=128_000;

/// How daring a model may be; OpenAI's limits.
const TEMPERATURE: RangeInclusive<f64> = 0.0..=2.0;

/// The most functions that a model may be offered; OpenAI's limit.
const MOST_TOOLS: usize = 128;

/// The longest description of a function with its parameters, in bytes.
const LONGEST_TOOL: usize = 64 * 1024;

/// How a session replies, as its client set it.
#[derive(Debug, Clone)]
pub(super) struct TalkConfig {
    assistant: Assistant,
    instructions: String,
    spoken: bool,
    /// As the client called it, and as it is.
    voice: (String, String),
    speed: f64,
    format: AudioFormat,
    tools: Vec<Tool>,
    tool_choice: ToolChoice,
    max_tokens: Option<u32>,
    temperature: Option<f64>,
    terms: TalkTerms,
    pub(super) manners: Manners,
    /// Of the input, if the client said so: replies are taken to be in the same.
    pub(super) language: Option<String>,
}

impl PartialEq for TalkConfig {
    /// All but who replies, which is the same for everybody.
    fn eq(&self, other: &Self) -> bool {
        self.settings() == other.settings() && self.voice == other.voice
    }
}

impl TalkConfig {
    /// The defaults of a server.
    pub(super) fn new(assistant: &Assistant, defaults: &TalkDefaults) -> Self {
        let voice = assistant.studio.as_ref().map_or("", |studio| studio.default_voice()).to_owned();
        Self {
            assistant: assistant.clone(),
            instructions: defaults.instructions.clone(),
            spoken: assistant.studio.is_some(),
            voice: (voice.clone(), voice),
            speed: 1.0,
            format: AudioFormat::DEFAULT,
            tools: Vec::new(),
            tool_choice: ToolChoice::Auto,
            max_tokens: defaults.max_tokens,
            temperature: None,
            terms: defaults.terms,
            manners: Manners::default(),
            language: None,
        }
    }

    /// Takes an update of a session, or what a client wants of one reply.
    ///
    /// # Errors
    ///
    /// The first value that is wrong. Then some of it may have been taken already: update a copy.
    pub(super) fn update(&mut self, field: &Field<'_>) -> Result<(), Fault> {
        if let Some(value) = field.get("instructions")? {
            self.instructions = value.or(String::new(), text)?;
        }
        if let Some(value) = field.get("output_modalities")? {
            self.spoken = self.modalities(&value)?;
        }
        if let Some(value) = field.get("tools")? {
            self.tools = value.or(Vec::new(), tools)?;
        }
        if let Some(value) = field.get("tool_choice")? {
            self.tool_choice = value.or(ToolChoice::Auto, tool_choice)?;
        }
        if let Some(value) = field.get("max_output_tokens")? {
            self.max_tokens = value.or(None, max_tokens)?;
        }
        if let Some(value) = field.get("temperature")? {
            self.temperature = value.or(None, |value| value.number(TEMPERATURE).map(Some))?;
        }
        match field.get("audio")?.filter(|audio| !audio.is_null()) {
            Some(audio) => self.update_audio(&audio),
            None => Ok(()),
        }
    }

    fn update_audio(&mut self, audio: &Field<'_>) -> Result<(), Fault> {
        let Some(output) = audio.get("output")?.filter(|output| !output.is_null()) else { return Ok(()) };
        if let Some(format) = output.get("format")? {
            self.format = AudioFormat::read(&format, self.format)?;
        }
        if let Some(voice) = output.get("voice")?.filter(|voice| !voice.is_null()) {
            self.voice = self.known_voice(&voice)?;
        }
        if let Some(speed) = output.get("speed")? {
            self.speed = speed.or(1.0, |speed| speed.number(SPEED))?;
        }
        Ok(())
    }

    /// Whether replies are spoken. Some clients ask for both: what is spoken has its text with it.
    fn modalities(&self, field: &Field<'_>) -> Result<bool, Fault> {
        if field.is_null() {
            return Ok(self.assistant.studio.is_some());
        }
        let known = [("audio", true), ("text", false)];
        let asked: Vec<bool> = field.elements()?.map(|one| one.choice(&known)).collect::<Result<_, _>>()?;
        let spoken = asked.contains(&true);
        if asked.is_empty() {
            return Err(field.fault("invalid_value", "a reply needs a modality: \"audio\" or \"text\""));
        }
        if spoken && self.assistant.studio.is_none() {
            let message =
                "this server has no voice: install espeak-ng or Kokoro's files, or ask for \"text\"";
            return Err(field.fault("voice_unavailable", message));
        }
        Ok(spoken)
    }

    fn known_voice(&self, field: &Field<'_>) -> Result<(String, String), Fault> {
        // A voice is a name, or an object with one.
        let id = if field.is_object() { required(field, "id")? } else { field.clone() };
        let name = id.text()?;
        let Some(studio) = &self.assistant.studio else { return named(&id).map(|name| (name.clone(), name)) };
        let voice = studio.voice(name).map_err(|error| id.fault(error.code(), error.to_string()))?;
        Ok((name.to_owned(), voice))
    }

    /// What it means to the session inside.
    pub(super) fn settings(&self) -> TalkSettings {
        TalkSettings {
            instructions: self.instructions.clone(),
            spoken: self.spoken,
            voice: Voice { name: self.voice.1.clone(), speed: self.speed as f32 },
            voice_name: self.voice.0.clone(),
            output: self.format.stream_format().expect("rates are checked when they are set"),
            language: self.language.clone(),
            tools: self.tools.clone(),
            tool_choice: self.tool_choice.clone(),
            max_tokens: self.max_tokens,
            temperature: self.temperature.map(|temperature| temperature as f32),
            manners: self.manners,
            terms: self.terms,
        }
    }

    /// Adds it to the session object that clients are shown.
    pub(super) fn show(&self, session: &mut Value) {
        session["instructions"] = self.instructions.as_str().into();
        session["output_modalities"] = json!([if self.spoken { "audio" } else { "text" }]);
        session["tools"] = self.tools.iter().map(shown_tool).collect();
        session["tool_choice"] = shown_choice(&self.tool_choice);
        session["max_output_tokens"] = self.max_tokens.map_or_else(|| "inf".into(), Value::from);
        session["audio"]["output"] =
            json!({ "format": self.format, "voice": self.voice.0, "speed": self.speed });
    }
}

fn max_tokens(field: &Field<'_>) -> Result<Option<u32>, Fault> {
    if field.text().is_ok_and(|text| text == "inf") {
        return Ok(None);
    }
    field.integer(MAX_TOKENS).map(|tokens| Some(tokens as u32))
}

fn tools(field: &Field<'_>) -> Result<Vec<Tool>, Fault> {
    let n_tools = field.elements()?.count();
    if n_tools > MOST_TOOLS {
        return Err(field.fault("invalid_value", format!("{n_tools} tools are more than {MOST_TOOLS}")));
    }
    field.elements()?.map(|tool| read_tool(&tool)).collect()
}

fn read_tool(field: &Field<'_>) -> Result<Tool, Fault> {
    let kind = required(field, "type")?;
    if kind.text()? == "mcp" {
        return Err(kind
            .fault("unsupported_value", "tools are called by the client; this server calls no MCP servers"));
    }
    kind.choice(&[("function", ())])?;
    let description = field.get("description")?.filter(|description| !description.is_null());
    let parameters = field.get("parameters")?.filter(|parameters| !parameters.is_null());
    let tool = Tool {
        name: named(&required(field, "name")?)?,
        description: description.map(|description| text(&description)).transpose()?,
        parameters: parameters.map(|parameters| parameters.object_as_text()).transpose()?,
    };
    let length = [&tool.description, &tool.parameters].into_iter().flatten().map(String::len).sum::<usize>();
    if length > LONGEST_TOOL {
        let message = format!("a tool of {length} bytes is longer than {LONGEST_TOOL} bytes");
        return Err(field.fault("invalid_value", message));
    }
    Ok(tool)
}

fn tool_choice(field: &Field<'_>) -> Result<ToolChoice, Fault> {
    if field.is_object() {
        return Ok(ToolChoice::Function(named(&required(field, "name")?)?));
    }
    field.choice(&[("auto", 0), ("none", 1), ("required", 2)]).map(|choice| match choice {
        0 => ToolChoice::Auto,
        1 => ToolChoice::None,
        _ => ToolChoice::Required,
    })
}

fn shown_tool(tool: &Tool) -> Value {
    let parameters = tool.parameters.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok());
    json!({ "type": "function", "name": tool.name, "description": tool.description, "parameters": parameters })
}

fn shown_choice(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Function(name) => json!({ "type": "function", "name": name }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(tools: &Value) -> Option<String> {
        let fault = super::tools(&Field::root("tools", tools)).err()?;
        Some(format!("{} in {}", fault.code, fault.param.unwrap_or_default()))
    }

    #[test]
    fn tools_are_few_and_short() {
        let tool = |name: &str, description: usize, parameters: usize| {
            json!({
                "type": "function", "name": name, "description": "x".repeat(description),
                "parameters": { "description": "x".repeat(parameters) },
            })
        };
        let short = tool("now", 9, 9);
        assert_eq!(refused(&json!(vec![short.clone(); MOST_TOOLS])), None);
        let (many, half) = (vec![short.clone(); MOST_TOOLS + 1], LONGEST_TOOL / 2);
        assert_eq!(refused(&json!(many)).as_deref(), Some("invalid_value in tools"));
        let long = json!([short, tool("now", half, half)]);
        assert_eq!(refused(&long).as_deref(), Some("invalid_value in tools[1]"));
        assert_eq!(refused(&json!([tool("now", half, half - 100)])), None);
        let named = json!([tool(&"x".repeat(65), 9, 9)]);
        assert_eq!(refused(&named).as_deref(), Some("invalid_value in tools[0].name"));
    }
}
