//! A chunk of a completion as endpoints send it: everything may be missing.

use super::super::Usage;
use serde::Deserialize;
use serde_json::Value;

/// How much of what an endpoint says about an error is told on, in characters.
const SHORT: usize = 200;

#[derive(Debug, Deserialize)]
pub(super) struct Chunk {
    #[serde(default)]
    pub(super) error: Option<Value>,
    #[serde(default)]
    pub(super) choices: Option<Vec<Choice>>,
    #[serde(default)]
    pub(super) usage: Option<Tokens>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Tokens {
    #[serde(default)]
    prompt_tokens: Option<u64>,
    #[serde(default)]
    completion_tokens: Option<u64>,
}

impl From<Tokens> for Usage {
    fn from(tokens: Tokens) -> Self {
        let Tokens { prompt_tokens, completion_tokens } = tokens;
        Self {
            input_tokens: prompt_tokens.unwrap_or_default(),
            output_tokens: completion_tokens.unwrap_or_default(),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Choice {
    #[serde(default)]
    pub(super) index: Option<u32>,
    #[serde(default)]
    pub(super) delta: Option<Fragment>,
    #[serde(default)]
    pub(super) finish_reason: Option<String>,
}

/// More of a message.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Fragment {
    #[serde(default)]
    content: Option<Content>,
    /// Said instead of what was asked for; it is what the assistant says.
    #[serde(default)]
    refusal: Option<String>,
    #[serde(default)]
    reasoning_content: Option<Value>,
    #[serde(default)]
    reasoning: Option<Value>,
    #[serde(default)]
    pub(super) tool_calls: Option<Vec<CallPart>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

/// Some endpoints send text and reasoning as parts of different types.
#[derive(Debug, Deserialize)]
struct Part {
    #[serde(default)]
    r#type: Option<String>,
    #[serde(default)]
    text: Option<String>,
}

/// More of a function call.
#[derive(Debug, Default, Deserialize)]
pub(super) struct CallPart {
    #[serde(default)]
    pub(super) index: Option<u32>,
    #[serde(default)]
    pub(super) id: Option<String>,
    #[serde(default)]
    pub(super) function: Option<FunctionPart>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct FunctionPart {
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default)]
    arguments: Option<Value>,
}

impl Fragment {
    /// Whether it has thoughts that are not to be heard.
    pub(super) fn reasons(&self) -> bool {
        let thought = |value: &Option<Value>| value.as_ref().is_some_and(|value| value != "");
        let in_parts = matches!(&self.content, Some(Content::Parts(parts)) if !parts.is_empty());
        in_parts || thought(&self.reasoning_content) || thought(&self.reasoning)
    }

    /// What is to be heard.
    pub(super) fn text(&self) -> Option<String> {
        let text = match self.content.as_ref() {
            Some(Content::Text(text)) => Some(text.clone()),
            Some(Content::Parts(parts)) => {
                let heard = parts.iter().filter(|part| part.r#type.as_deref().unwrap_or("text") == "text");
                Some(heard.filter_map(|part| part.text.as_deref()).collect())
            }
            None => None,
        };
        text.filter(|text| !text.is_empty()).or_else(|| self.refusal.clone())
    }
}

impl FunctionPart {
    /// A piece of JSON. Some endpoints send the whole of it as what it means instead of as what it is written like.
    pub(super) fn arguments(self) -> String {
        match self.arguments {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(piece)) => piece,
            Some(whole) => whole.to_string(),
        }
    }
}

/// What an error object says, in short.
pub(in crate::llm) fn message_in(error: &Value) -> String {
    let said = error.get("message").or_else(|| error.get("detail")).unwrap_or(error);
    let first = said.get(0).and_then(|first| first.get("msg")).unwrap_or(said);
    short(first.as_str().unwrap_or_default())
}

/// What an endpoint says about an error, in one line, and not much of it.
///
/// Some endpoints repeat the request that they do not like, which is what people said. They do so as data, so a brace or
/// bracket ends what is told on.
pub(in crate::llm) fn short(text: &str) -> String {
    let text = text.split(['{', '[']).next().unwrap_or_default();
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let line = words.collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHORT) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None if line.is_empty() => "it says nothing more".into(),
        None => line,
    }
}
