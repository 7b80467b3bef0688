//! A conversation as endpoints accept it. Pure.
//!
//! A spoken conversation is not tidy: replies are interrupted before a word of them is heard, functions are called and
//! nobody ever says what they gave. Endpoints refuse such conversations, and would refuse everything said later, too.

use super::{Message, ToolCall};
use std::collections::{HashMap, HashSet};

/// The conversation with each function's result right behind its call, without calls that have no result (and results
/// without a call), without assistant messages in which nothing is left, and with what a person said in one go in one
/// message: many models' templates want both sides to take turns.
pub(super) fn mend(messages: &[Message]) -> Vec<Message> {
    let mut results = results(messages);
    let mut mended: Vec<Message> = Vec::with_capacity(messages.len());
    for message in messages {
        match message {
            Message::System(_) => mended.push(message.clone()),
            Message::User(text) => append_user(&mut mended, text),
            Message::Assistant { text, calls } => append_assistant(&mut mended, text, calls, &mut results),
            // Each goes where its call is.
            Message::Tool { .. } => {}
        }
    }
    mended
}

/// What functions gave, by the name of the call; of two for one call the first, and only those behind their call.
fn results(messages: &[Message]) -> HashMap<&str, &str> {
    let mut called = HashSet::new();
    let mut results = HashMap::new();
    for message in messages {
        match message {
            Message::Assistant { calls, .. } => called.extend(calls.iter().map(|call| call.id.as_str())),
            Message::Tool { call_id, output } if called.contains(call_id.as_str()) => {
                results.entry(call_id.as_str()).or_insert(output.as_str());
            }
            _ => {}
        }
    }
    results
}

fn append_user(mended: &mut Vec<Message>, text: &str) {
    if let Some(Message::User(before)) = mended.last_mut() {
        before.push('\n');
        before.push_str(text);
    } else {
        mended.push(Message::User(text.to_owned()));
    }
}

fn append_assistant(
    mended: &mut Vec<Message>,
    text: &str,
    calls: &[ToolCall],
    results: &mut HashMap<&str, &str>,
) {
    let answered = calls.iter().filter_map(|call| Some((call.clone(), results.remove(call.id.as_str())?)));
    let (calls, outputs): (Vec<ToolCall>, Vec<&str>) = answered.unzip();
    if calls.is_empty() && text.trim().is_empty() {
        return;
    }
    let outputs: Vec<Message> = calls
        .iter()
        .zip(outputs)
        .map(|(call, output)| Message::Tool { call_id: call.id.clone(), output: output.to_owned() })
        .collect();
    mended.push(Message::Assistant { text: text.to_owned(), calls });
    mended.extend(outputs);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `sX`, `uX`, `aX`: X said by system, user, assistant; `cX`: assistant calls X; `bX`: assistant says and calls X;
    /// `tX`: result of X.
    fn conversation(written: &str) -> Vec<Message> {
        let message = |word: &str| {
            let (kind, id) = word.split_at(1);
            let call = ToolCall { id: id.into(), name: "f".into(), arguments: "{}".into() };
            match kind {
                "s" => Message::System(id.into()),
                "u" => Message::User(id.into()),
                "a" => Message::Assistant { text: id.into(), calls: Vec::new() },
                "c" => Message::Assistant { text: String::new(), calls: vec![call] },
                "b" => Message::Assistant { text: id.into(), calls: vec![call] },
                "t" => Message::Tool { call_id: id.into(), output: id.into() },
                other => panic!("{other}"),
            }
        };
        written.split_whitespace().map(message).collect()
    }

    #[test]
    fn a_tidy_conversation_stays_as_it_is() {
        let tidy = conversation("s u1 a1 u2 c2 t2 a2 u3 b3 t3 u4");
        assert_eq!(mend(&tidy), tidy);
    }

    #[test]
    fn what_endpoints_would_refuse_is_mended() {
        for (written, expected) in [
            ("u1 c1 u2 t1", "u1 c1 t1 u2"),
            ("u1 c1 a1 u2", "u1 a1 u2"),
            ("u1 b1 u2", "u1 a1 u2"),
            ("t1 c1 u2", "u2"),
            ("u1 c1 t1 t1 t9 a1", "u1 c1 t1 a1"),
        ] {
            assert_eq!(mend(&conversation(written)), conversation(expected), "{written}");
        }
    }

    #[test]
    fn what_was_said_without_a_reply_in_between_is_one_message() {
        let said = mend(&conversation("u1 a u2 c9 u3 a3 u4"));
        let mut expected = vec![Message::User("1\n2\n3".into())];
        expected.extend(conversation("a3 u4"));
        assert_eq!(said, expected);
    }

    proptest! {
        #[test]
        fn every_call_is_followed_by_its_result_and_nobody_speaks_twice(
            words in proptest::collection::vec(("[suacbt]", 0..4_u8), 0..25),
        ) {
            let written: Vec<_> = words.iter().map(|(kind, id)| format!("{kind}{id}")).collect();
            let all = conversation(&written.join(" "));
            let mended = mend(&all);
            prop_assert_eq!(mend(&mended), mended.clone());
            let mut rest = mended.as_slice();
            while let Some((message, behind)) = rest.split_first() {
                rest = behind;
                match message {
                    Message::Assistant { text, calls } => {
                        prop_assert!(!text.is_empty() || !calls.is_empty());
                        for call in calls {
                            let (result, behind) = rest.split_first().expect("a result");
                            let is_its = matches!(result, Message::Tool { call_id, .. } if *call_id == call.id);
                            prop_assert!(is_its, "{:?}", mended);
                            rest = behind;
                        }
                    }
                    Message::User(_) => prop_assert!(!matches!(rest.first(), Some(Message::User(_)))),
                    Message::Tool { .. } => prop_assert!(false, "a result without a call: {:?}", mended),
                    Message::System(_) => {}
                }
            }
            let texts = |messages: &[Message]| {
                let texts = messages.iter().filter_map(|message| match message {
                    Message::User(text) => Some(text.as_str()),
                    _ => None,
                });
                texts.collect::<Vec<_>>().join("\n")
            };
            prop_assert_eq!(texts(&mended), texts(&all), "nothing that a person said is lost");
        }
    }
}
