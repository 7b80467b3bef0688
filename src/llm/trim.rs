//! What of a conversation still goes to the model: within a budget, and never half a turn. Pure.
//!
//! A *turn* is what the person said, with everything that the assistant and functions said to it: it begins with the
//! first [`Message::User`] behind something else. What stands before the first turn is the prompt.

use super::{Message, ToolCall};
use std::collections::HashSet;
use std::num::NonZeroUsize;

/// How much of a conversation goes to the model, besides the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// How many turns.
    pub turns: NonZeroUsize,
    /// How many tokens, with the prompt; counted roughly, as four bytes each.
    pub tokens: usize,
}

impl Default for Budget {
    /// What a small model with a context of 8 192 tokens takes, with room for a reply.
    fn default() -> Self {
        Self { turns: NonZeroUsize::new(50).expect("50 is not 0"), tokens: 6_000 }
    }
}

/// The conversation without its oldest turns, as far as the budget asks for it.
///
/// The prompt (system messages before the first turn) is always kept, and so is the newest turn, whatever they take;
/// but where the newest turn alone is too much because somebody spoke on and on without a reply, it keeps the last of
/// these messages and as many before it as fit. A function's result without its call is never kept.
pub fn trim(messages: &[Message], budget: &Budget) -> Vec<Message> {
    let first = messages.iter().position(|message| !matches!(message, Message::System(_)));
    let (prompt, rest) = messages.split_at(first.unwrap_or(messages.len()));
    let begin = newest(rest, budget.turns.get(), budget.tokens.saturating_sub(tokens(prompt)));
    let mut called = HashSet::new();
    prompt
        .iter()
        .chain(&rest[begin..])
        .filter(|message| has_its_call(message, &mut called))
        .cloned()
        .collect()
}

/// How many tokens a message takes, roughly: no tokenizer is asked, as each model has its own. Four bytes of text are
/// taken for a token, which is generous for English and about right for scripts of three bytes a character.
pub(super) fn estimate(message: &Message) -> usize {
    let call = |call: &ToolCall| call.id.len() + call.name.len() + call.arguments.len();
    let bytes = match message {
        Message::System(text) | Message::User(text) => text.len(),
        Message::Assistant { text, calls } => text.len() + calls.iter().map(call).sum::<usize>(),
        Message::Tool { call_id, output } => call_id.len() + output.len(),
    };
    // What marks the message's beginning, end and role.
    bytes.div_ceil(4) + 4
}

fn tokens(messages: &[Message]) -> usize {
    messages.iter().map(estimate).sum()
}

/// Where the turns begin that are kept.
fn newest(messages: &[Message], turns: usize, room: usize) -> usize {
    let begins: Vec<usize> = (0..messages.len()).filter(|at| begins_turn(messages, *at)).collect();
    let Some(&newest) = begins.last() else { return 0 };
    let oldest = begins[begins.len().saturating_sub(turns)];
    let fits = |begin: &&usize| **begin >= oldest && tokens(&messages[**begin..]) <= room;
    let begin = begins.iter().find(fits).copied();
    begin.unwrap_or_else(|| newest + unanswered_surplus(&messages[newest..], room))
}

/// Whether a turn begins here. What stands before the first thing that a person said (a greeting) is a turn, too.
fn begins_turn(messages: &[Message], at: usize) -> bool {
    let user = |at: usize| matches!(messages[at], Message::User(_));
    at == 0 || (user(at) && !user(at - 1))
}

/// How many of the messages that begin the turn are left out, so that the others fit, or only one of them is left.
fn unanswered_surplus(turn: &[Message], room: usize) -> usize {
    let unanswered = turn.iter().take_while(|message| matches!(message, Message::User(_))).count();
    (0..unanswered).find(|begin| tokens(&turn[*begin..]) <= room).unwrap_or(unanswered.saturating_sub(1))
}

/// Whether this is no function's result, or one whose call was kept, too.
fn has_its_call<'a>(message: &'a Message, called: &mut HashSet<&'a str>) -> bool {
    match message {
        Message::Assistant { calls, .. } => {
            called.extend(calls.iter().map(|call| call.id.as_str()));
            true
        }
        Message::Tool { call_id, .. } => called.contains(call_id.as_str()),
        Message::System(_) | Message::User(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `s`, `u`, `a`: system, user, assistant; `c1`: an assistant's call 1; `t1`: its result. Each takes 5 tokens.
    fn conversation(written: &str) -> Vec<Message> {
        written.split_whitespace().map(message).collect()
    }

    fn message(written: &str) -> Message {
        let (kind, id) = written.split_at(1);
        let assistant = |text: &str, calls| Message::Assistant { text: text.into(), calls };
        match kind {
            "s" => Message::System(id.into()),
            "u" => Message::User(id.into()),
            "a" => assistant(id, Vec::new()),
            "c" => {
                assistant("", vec![ToolCall { id: id.into(), name: String::new(), arguments: String::new() }])
            }
            "t" => Message::Tool { call_id: id.into(), output: String::new() },
            other => panic!("{other}"),
        }
    }

    fn trimmed(written: &str, turns: usize, tokens: usize) -> Vec<Message> {
        trim(&conversation(written), &Budget { turns: NonZeroUsize::new(turns).unwrap(), tokens })
    }

    #[test]
    fn the_oldest_turns_go_and_the_prompt_stays() {
        let all = "s0 a0 u1 a1 u2 u3 a3 u4";
        for (turns, tokens, kept) in [
            (9, 999, all),
            (4, 999, all),
            (3, 999, "s0 u1 a1 u2 u3 a3 u4"),
            (2, 999, "s0 u2 u3 a3 u4"),
            (1, 999, "s0 u4"),
            (9, 40, all),
            (9, 39, "s0 u1 a1 u2 u3 a3 u4"),
            (9, 25, "s0 u2 u3 a3 u4"),
            (9, 24, "s0 u4"),
            (9, 0, "s0 u4"),
        ] {
            assert_eq!(trimmed(all, turns, tokens), conversation(kept), "{turns} turns, {tokens} tokens");
        }
    }

    #[test]
    fn of_a_turn_in_which_somebody_speaks_on_and_on_the_last_words_are_kept() {
        assert_eq!(trimmed("s0 u1 u2 u3", 9, 15), conversation("s0 u2 u3"));
        assert_eq!(trimmed("s0 u1 u2 u3", 9, 0), conversation("s0 u3"));
        assert_eq!(trimmed("u1 u2 c3 t3", 9, 0), conversation("u2 c3 t3"));
    }

    #[test]
    fn a_result_goes_where_its_call_went() {
        assert_eq!(trimmed("u1 c1 u2 t1 a2", 1, 999), conversation("u2 a2"));
        assert_eq!(trimmed("u1 c1 u2 t1 a2", 2, 999), conversation("u1 c1 u2 t1 a2"));
        assert_eq!(trimmed("u1 t1 c1", 9, 999), conversation("u1 c1"), "a result before its call");
    }

    #[test]
    fn what_is_no_conversation_yet_stays_as_it_is() {
        for written in ["", "s0", "a0", "s0 a0"] {
            assert_eq!(trimmed(written, 1, 0), conversation(written), "{written}");
        }
    }

    fn written() -> impl Strategy<Value = String> {
        let word = ("[suuaact]", 0..4_u8).prop_map(|(kind, id)| format!("{kind}{id}"));
        proptest::collection::vec(word, 0..30).prop_map(|words| words.join(" "))
    }

    proptest! {
        #[test]
        fn what_is_kept_is_the_prompt_and_an_end_of_the_conversation(
            written in written(), turns in 1..8_usize, tokens in 0..120_usize,
        ) {
            let all = conversation(&written);
            let kept = trimmed(&written, turns, tokens);
            let prompt = all.iter().take_while(|message| matches!(message, Message::System(_))).count();
            prop_assert_eq!(&kept[..prompt], &all[..prompt]);
            // Without results, which may go with their calls, it is an end.
            let spoken = |message: &&Message| !matches!(message, Message::Tool { .. });
            let of = |messages: &[Message]| messages.iter().filter(spoken).cloned().collect::<Vec<_>>();
            prop_assert!(of(&all).ends_with(&of(&kept[prompt..])));
            // The last thing that was said, and all behind it, is there.
            let last = all.iter().rposition(|message| matches!(message, Message::User(_))).unwrap_or(0);
            prop_assert!(of(&kept).ends_with(&of(&all[last.max(prompt)..])));
        }

        #[test]
        fn a_result_never_stands_without_its_call(
            written in written(), turns in 1..8_usize, tokens in 0..120_usize,
        ) {
            let kept = trimmed(&written, turns, tokens);
            for (at, message) in kept.iter().enumerate() {
                let Message::Tool { call_id, .. } = message else { continue };
                let calls = |before: &Message| matches!(before, Message::Assistant { calls, .. } if calls.iter().any(|call| call.id == *call_id));
                prop_assert!(kept[..at].iter().any(calls), "{:?}", kept);
            }
        }

        #[test]
        fn more_than_one_turn_is_within_the_budget(
            written in written(), turns in 1..8_usize, room in 0..120_usize,
        ) {
            let kept = trimmed(&written, turns, room);
            let prompt = kept.iter().take_while(|message| matches!(message, Message::System(_))).count();
            let begins = (prompt..kept.len()).filter(|at| begins_turn(&kept[prompt..], at - prompt)).count();
            prop_assert!(begins <= turns);
            prop_assert!(begins <= 1 || tokens(&kept) <= room, "{:?}", kept);
        }

        #[test]
        fn trimming_twice_is_trimming_once(written in written(), turns in 1..8_usize, room in 0..120_usize) {
            let budget = Budget { turns: NonZeroUsize::new(turns).unwrap(), tokens: room };
            let once = trim(&conversation(&written), &budget);
            prop_assert_eq!(trim(&once, &budget), once.clone());
        }
    }
}
