//! The events of a streamed completion → deltas. Pure: no clock, no socket.
//!
//! Endpoints differ. What is missing is taken for its usual value, and what nobody hears (reasoning, other choices) is
//! passed over; but what is no completion at all is a [`Fault`].

mod calls;
mod chunk;
mod think;

use super::{Delta, Finish, Usage};
use calls::Calls;
use chunk::{Choice, Chunk};
pub(super) use chunk::{message_in, short};
use std::collections::VecDeque;
use think::Think;

/// What is wrong with a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is no completion, and why.
    Garbage(String),
    /// The endpoint says that it failed, and how.
    Failed(String),
    /// It ended before the reply did.
    CutOff,
}

/// Reads one reply.
#[derive(Debug, Default)]
pub(super) struct Reader {
    think: Think,
    calls: Calls,
    finish: Option<Finish>,
    usage: Option<Usage>,
    has_begun: bool,
    is_over: bool,
    ready: VecDeque<Delta>,
}

impl Reader {
    /// The next delta that is ready.
    pub(super) fn pop(&mut self) -> Option<Delta> {
        self.ready.pop_front()
    }

    /// Whether the model has written anything yet, be it reasoning that nobody hears.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Whether the model has said why it ended; only figures may still follow.
    pub(super) fn has_finished(&self) -> bool {
        self.finish.is_some()
    }

    /// Reads the data of one event.
    pub(super) fn event(&mut self, name: Option<&str>, data: &str) -> Result<(), Fault> {
        // Some endpoints show in this way that they are alive.
        if self.is_over || data.is_empty() || matches!(name, Some("ping" | "keepalive")) {
            return Ok(());
        }
        if data.trim() == "[DONE]" {
            return self.end();
        }
        // A list would be read as a chunk whose fields stand in order.
        if !data.trim_start().starts_with('{') {
            return Err(Fault::Garbage("an event is no JSON object".into()));
        }
        let chunk: Chunk = serde_json::from_str(data).map_err(|error| unreadable(&error, data))?;
        if let Some(error) = &chunk.error {
            return Err(Fault::Failed(message_in(error)));
        }
        if name == Some("error") {
            return Err(Fault::Failed(short(data)));
        }
        self.chunk(chunk)
    }

    /// The stream has ended, by itself or because no more of it is waited for. A reply that said why it ended is whole.
    pub(super) fn close(&mut self) -> Result<(), Fault> {
        if self.is_over {
            return Ok(());
        }
        if self.finish.is_none() {
            return Err(Fault::CutOff);
        }
        self.end()
    }

    fn chunk(&mut self, chunk: Chunk) -> Result<(), Fault> {
        if chunk.choices.is_none() && chunk.usage.is_none() {
            return Err(Fault::Garbage("an event has neither choices nor usage".into()));
        }
        if let Some(usage) = chunk.usage {
            self.usage = Some(usage.into());
        }
        let first = |choice: &Choice| choice.index.unwrap_or(0) == 0;
        chunk.choices.unwrap_or_default().into_iter().filter(first).try_for_each(|choice| self.choice(choice))
    }

    fn choice(&mut self, choice: Choice) -> Result<(), Fault> {
        let delta = choice.delta.unwrap_or_default();
        self.has_begun |= delta.reasons();
        if let Some(text) = delta.text().filter(|text| !text.is_empty()) {
            self.has_begun = true;
            let text = self.think.push(&text);
            self.say(text);
        }
        for part in delta.tool_calls.unwrap_or_default() {
            self.has_begun = true;
            self.calls.push(part, &mut self.ready)?;
        }
        if let Some(finish) = choice.finish_reason {
            self.has_begun = true;
            self.finish = Some(meaning(&finish));
        }
        Ok(())
    }

    fn say(&mut self, text: String) {
        if !text.is_empty() {
            self.ready.push_back(Delta::Text(text));
        }
    }

    fn end(&mut self) -> Result<(), Fault> {
        let rest = self.think.end();
        self.say(rest);
        self.calls.end()?;
        let finish = match self.finish.unwrap_or(Finish::Stop) {
            // Not all of them say so.
            Finish::Stop if self.calls.any() => Finish::Calls,
            finish => finish,
        };
        // What was cut off may have been about to have arguments.
        if matches!(finish, Finish::Calls | Finish::Stop) {
            self.calls.complete(&mut self.ready);
        }
        self.is_over = true;
        self.ready.push_back(Delta::End { finish, usage: self.usage });
        Ok(())
    }
}

fn meaning(finish_reason: &str) -> Finish {
    match finish_reason {
        "length" | "max_tokens" => Finish::Length,
        "tool_calls" | "function_call" => Finish::Calls,
        "content_filter" => Finish::Filtered,
        _ => Finish::Stop,
    }
}

/// Says what is wrong without telling what it says: that may be what somebody said.
fn unreadable(error: &serde_json::Error, data: &str) -> Fault {
    let kind = if error.is_data() { "an event is JSON of another kind" } else { "an event is no JSON" };
    Fault::Garbage(format!("{kind} (column {} of {} bytes)", error.column(), data.len()))
}

#[cfg(test)]
mod tests;
