//! Streamed chat completions: one shared client for every session.
//!
//! A session asks a [`ChatModel`] for a reply and gets a stream of [`Delta`]s. It knows no wire format and no endpoint;
//! dropping the stream closes the request upstream. [`Client`] is the model behind any OpenAI-compatible endpoint,
//! [`Echo`] the persona where none is set, and [`trim()`] what keeps a session's history within its budget.
//!
//! What people said is in requests and deltas: it is never logged here, and no error tells it.

mod breaker;
mod client;
mod echo;
mod error;
mod failure;
pub mod fake;
mod line;
mod mend;
mod reader;
mod settings;
mod trim;
mod turnstile;
mod wire;

pub use client::Client;
pub use echo::Echo;
pub use error::LlmError;
pub use settings::{BreakerSettings, Endpoint, LlmSettings, Secret};
pub use trim::{Budget, trim};

use futures_util::stream::BoxStream;

/// One message of a conversation, oldest first in a [`ChatRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// How the assistant is to behave.
    System(String),
    /// What the person said or wrote.
    User(String),
    /// What the assistant said, and the functions that it called.
    Assistant {
        /// As far as the person heard or read it.
        text: String,
        /// In order; mostly none.
        calls: Vec<ToolCall>,
    },
    /// What a function that was called gave.
    Tool {
        /// [`ToolCall::id`].
        call_id: String,
        /// As the client gave it.
        output: String,
    },
}

/// A function that the assistant calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// The name of this call.
    pub id: String,
    /// The function's name.
    pub name: String,
    /// JSON, as the model wrote it. Nothing at all is sent as `{}`.
    pub arguments: String,
}

/// A function that the assistant may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// JSON schema of its arguments.
    pub parameters: Option<String>,
}

/// Whether functions are to be called.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ToolChoice {
    /// As the model likes.
    #[default]
    Auto,
    /// None.
    None,
    /// One at least.
    Required,
    /// This one.
    Function(String),
}

/// What a reply is wanted to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ChatRequest {
    /// Who asks: replies are given in fair order among those who ask at the same time.
    pub asker: u64,
    /// The conversation so far.
    pub messages: Vec<Message>,
    /// What may be called.
    pub tools: Vec<Tool>,
    /// Whether it is to be.
    pub tool_choice: ToolChoice,
    /// The longest reply; `None`: as the endpoint has it.
    pub max_tokens: Option<u32>,
    /// 0 to 2; `None`: as the endpoint has it.
    pub temperature: Option<f32>,
}

/// One increment of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delta {
    /// More text.
    Text(String),
    /// A function call begins.
    Call {
        /// Its place among the calls of this reply, from 0.
        index: u32,
        /// The name of the call.
        id: String,
        /// The function's name.
        name: String,
    },
    /// More of the arguments of a call that has begun. A whole call without any has the piece `{}`, right before the end.
    Arguments {
        /// [`Delta::Call::index`].
        index: u32,
        /// A piece of JSON.
        piece: String,
    },
    /// The reply is over; nothing follows.
    End {
        /// Why.
        finish: Finish,
        /// What it took, where the endpoint says so.
        usage: Option<Usage>,
    },
}

/// Why a reply ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// All was said.
    Stop,
    /// It was as long as it may be.
    Length,
    /// Functions are to be called.
    Calls,
    /// The endpoint held something back.
    Filtered,
}

/// Tokens of a request and of its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Of the conversation.
    pub input_tokens: u64,
    /// Of the reply.
    pub output_tokens: u64,
}

/// Who replies.
pub trait ChatModel: Send + Sync {
    /// What it is called, to be shown to clients: the model's name.
    fn name(&self) -> &str;

    /// Replies to a conversation, increment by increment. The stream ends after [`Delta::End`] or the first error.
    ///
    /// Nothing is asked before the stream is polled first. A stream that nobody polls keeps its place upstream, so
    /// whoever cannot use the text yet should still take it: a whole reply is small.
    ///
    /// # Cancel safety
    ///
    /// Dropping the stream, at any moment, leaves the line or closes the request.
    fn reply(&self, request: ChatRequest) -> BoxStream<'static, Result<Delta, LlmError>>;
}
