//! The built-in persona for machines without a language model: it says what it was told, and that it does.
//!
//! It is no model and does not pretend to be one. It exists so that the whole way from ear to voice can be heard at once.

use super::{ChatModel, ChatRequest, Delta, Finish, LlmError, Message};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};

/// How many words one increment has.
const WORDS: usize = 4;

/// What it says about itself, once in a conversation.
const NOTICE: &str = "This is the built-in echo: no language model is configured.";

/// Says what it was told. Its replies depend on the conversation alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Echo;

impl ChatModel for Echo {
    fn name(&self) -> &'static str {
        "echo"
    }

    fn reply(&self, request: ChatRequest) -> BoxStream<'static, Result<Delta, LlmError>> {
        let mut deltas: Vec<_> = pieces(&answer(&request.messages)).into_iter().map(Delta::Text).collect();
        deltas.push(Delta::End { finish: Finish::Stop, usage: None });
        stream::iter(deltas).map(Ok).boxed()
    }
}

/// The whole reply. Whoever has not heard the notice yet (a reply of which nothing was heard leaves no trace in the
/// conversation) hears it now.
fn answer(messages: &[Message]) -> String {
    let said = match messages.iter().rev().find(|message| !matches!(message, Message::System(_))) {
        Some(Message::User(text)) => quote("You said", text, "You said nothing."),
        Some(Message::Tool { output, .. }) => {
            quote("The function gave", output, "The function gave nothing.")
        }
        Some(Message::Assistant { .. }) => "Nothing was said since.".into(),
        _ => "Nobody has said anything yet.".into(),
    };
    if messages.iter().any(|message| matches!(message, Message::Assistant { .. })) {
        return said;
    }
    format!("{said} {NOTICE}")
}

fn quote(label: &str, text: &str, nothing: &str) -> String {
    let text = text.trim();
    if text.is_empty() {
        return nothing.into();
    }
    let end = if text.ends_with(['.', '!', '?', '…']) { "" } else { "." };
    format!("{label}: {text}{end}")
}

/// The text in pieces of a few words; together they are the text.
fn pieces(text: &str) -> Vec<String> {
    let words: Vec<&str> = text.split_inclusive(' ').collect();
    words.chunks(WORDS).map(<[&str]>::concat).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn user(text: &str) -> Message {
        Message::User(text.into())
    }

    fn assistant(text: &str) -> Message {
        Message::Assistant { text: text.into(), calls: Vec::new() }
    }

    #[test]
    fn it_says_what_it_was_told_and_once_in_a_conversation_what_it_is() {
        let system = Message::System("Be brief.".into());
        let first = answer(&[system.clone(), user("hello there")]);
        assert_eq!(
            first,
            "You said: hello there. This is the built-in echo: no language model is configured."
        );
        let second = answer(&[system, user("hello there"), assistant(&first), user("are you sure?")]);
        assert_eq!(second, "You said: are you sure?");
    }

    #[test]
    fn it_has_an_answer_to_everything() {
        let tool = Message::Tool { call_id: "1".into(), output: "{\"degrees\": 20}".into() };
        assert_eq!(answer(&[assistant(""), tool]), "The function gave: {\"degrees\": 20}.");
        assert_eq!(answer(&[assistant("Hi."), user(" \n")]), "You said nothing.");
        assert_eq!(answer(&[user("Hello."), assistant("Hi.")]), "Nothing was said since.");
        assert_eq!(answer(&[]), format!("Nobody has said anything yet. {NOTICE}"));
    }

    #[tokio::test]
    async fn it_replies_in_a_few_deltas_and_ends() {
        let request = ChatRequest { messages: vec![user("hello there")], ..ChatRequest::default() };
        let deltas: Vec<_> = Echo.reply(request).map(Result::unwrap).collect().await;
        assert_eq!(deltas.len(), 5, "{deltas:?}");
        assert_eq!(deltas[0], Delta::Text("You said: hello there. ".into()));
        assert_eq!(deltas[4], Delta::End { finish: Finish::Stop, usage: None });
    }

    proptest! {
        #[test]
        fn its_pieces_are_the_text(text in "[a-z ü.]{0,60}") {
            prop_assert_eq!(pieces(&text).concat(), text.clone());
            prop_assert!(pieces(&text).iter().all(|piece| piece.matches(' ').count() <= WORDS));
        }
    }
}
