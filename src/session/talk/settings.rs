//! How a session replies, and what it can be told to do about that.

use super::dialogue::Manners;
use super::history::Item;
use crate::audio::StreamFormat;
use crate::llm::{Budget, ChatModel, Tool, ToolChoice};
use crate::tts::{Studio, Voice};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Who replies: one for all sessions.
#[derive(Clone)]
pub struct Assistant {
    /// Who writes.
    pub model: Arc<dyn ChatModel>,
    /// Where voices come from; `None`: replies are text.
    pub studio: Option<Arc<dyn Studio>>,
}

impl fmt::Debug for Assistant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let engine = self.studio.as_ref().map(|studio| studio.engine());
        f.debug_struct("Assistant").field("model", &self.model.name()).field("engine", &engine).finish()
    }
}

/// How a session replies. Changes apply to the replies that begin after them.
#[derive(Debug, Clone, PartialEq)]
pub struct TalkSettings {
    /// The system prompt; may be empty.
    pub instructions: String,
    /// Whether replies are spoken.
    pub spoken: bool,
    /// With which voice.
    pub voice: Voice,
    /// What the client calls it.
    pub voice_name: String,
    /// In which format.
    pub output: StreamFormat,
    /// In which language, as an ISO 639-1 code, if that is known.
    pub language: Option<String>,
    /// Functions that may be called.
    pub tools: Vec<Tool>,
    /// Whether they are to be.
    pub tool_choice: ToolChoice,
    /// The longest reply, in tokens.
    pub max_tokens: Option<u32>,
    /// How much the model dares.
    pub temperature: Option<f32>,
    /// What a turn does to replies.
    pub manners: Manners,
    /// What the server has for all sessions.
    pub terms: TalkTerms,
}

/// What a server has for all sessions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TalkTerms {
    /// How much more sound than it has played a listener has.
    pub lead: Duration,
    /// What the model is shown of what was said before.
    pub memory: Budget,
    /// Whether the model is asked in a pause that may be the end of a turn.
    pub speculate: bool,
    /// What is taken for the echo of a reply.
    pub echo: EchoSettings,
}

impl Default for TalkTerms {
    fn default() -> Self {
        Self {
            lead: Duration::from_millis(200),
            memory: Budget::default(),
            speculate: false,
            echo: EchoSettings::default(),
        }
    }
}

/// While a reply is heard, what begins like speech is taken for its echo until it is at least this. Words, once they are
/// recognized, need no more.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EchoSettings {
    /// So much speech.
    pub speech: Duration,
    /// So loud on average, in dB relative to full scale.
    pub level: f32,
}

impl Default for EchoSettings {
    fn default() -> Self {
        Self { speech: Duration::from_millis(200), level: -50.0 }
    }
}

/// Something that a reply may be to.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// This.
    Item(Box<Item>),
    /// The item of the conversation that has this name.
    Reference(String),
}

impl Input {
    /// The item itself, where it is here.
    pub(super) fn item(&self) -> Option<&Item> {
        if let Self::Item(item) = self { Some(item) } else { None }
    }
}

/// What a client wants a reply to be like.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplyRequest {
    /// As the session's, with what the client has otherwise for this reply.
    pub settings: Box<TalkSettings>,
    /// What it is a reply to, if not to the conversation.
    pub input: Option<Vec<Input>>,
    /// Whether it stays outside of the conversation.
    pub outside: bool,
    /// The client's own notes, which come back with the reply.
    pub metadata: Vec<(String, String)>,
}
