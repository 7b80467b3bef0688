//! Leaves out what a model thinks aloud before its reply: a leading `<think>…</think>`. Pure, in pieces of any size.

const BEGIN: &str = "<think>";
const END: &str = "</think>";

/// What is known so far.
#[derive(Debug)]
enum State {
    /// This much of the beginning, which may become [`BEGIN`].
    Beginning(String),
    /// It thinks; this is the last of it, which may become [`END`].
    Thinking(String),
    /// It has thought, and white space follows.
    Thought,
    /// The reply.
    Replying,
}

/// Passes on a reply, but for the thoughts and the white space before it.
#[derive(Debug)]
pub(super) struct Think {
    state: State,
}

impl Default for Think {
    fn default() -> Self {
        Self { state: State::Beginning(String::new()) }
    }
}

impl Think {
    /// More text; gives what of it is to be heard.
    pub(super) fn push(&mut self, text: &str) -> String {
        match &mut self.state {
            State::Replying => text.to_owned(),
            State::Thought => self.after(text),
            State::Beginning(held) => {
                held.push_str(text);
                let begun = held.trim_start().to_owned();
                self.beginning(begun)
            }
            State::Thinking(tail) => {
                tail.push_str(text);
                let thoughts = std::mem::take(tail);
                self.thinking(&thoughts)
            }
        }
    }

    /// The text is over; gives what was held back.
    pub(super) fn end(&mut self) -> String {
        match std::mem::replace(&mut self.state, State::Replying) {
            State::Beginning(held) => held,
            _ => String::new(),
        }
    }

    fn beginning(&mut self, begun: String) -> String {
        if let Some(thoughts) = begun.strip_prefix(BEGIN) {
            return self.thinking(thoughts);
        }
        if BEGIN.starts_with(&begun) {
            self.state = State::Beginning(begun);
            return String::new();
        }
        self.state = State::Replying;
        begun
    }

    fn thinking(&mut self, thoughts: &str) -> String {
        if let Some((_, reply)) = thoughts.split_once(END) {
            return self.after(reply);
        }
        let kept = thoughts.char_indices().rev().nth(END.len() - 2).map_or(0, |(at, _)| at);
        self.state = State::Thinking(thoughts[kept..].to_owned());
        String::new()
    }

    fn after(&mut self, text: &str) -> String {
        let reply = text.trim_start();
        self.state = if reply.is_empty() { State::Thought } else { State::Replying };
        reply.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn heard<'a>(pieces: impl IntoIterator<Item = &'a str>) -> String {
        let mut think = Think::default();
        let mut heard: String = pieces.into_iter().map(|piece| think.push(piece)).collect();
        heard.push_str(&think.end());
        heard
    }

    #[test]
    fn thoughts_before_the_reply_are_not_heard() {
        for (text, expected) in [
            ("Hello.", "Hello."),
            ("\n\n Hello.", "Hello."),
            ("<think>Who is that?</think>\n\nHello.", "Hello."),
            (" <think></think>Hello.", "Hello."),
            ("<think>a < b </ think></think>Hello <think>.", "Hello <think>."),
            ("<think>it never ends", ""),
            ("<thi", "<thi"),
            ("<thimble>", "<thimble>"),
            ("I <think>so</think>.", "I <think>so</think>."),
            ("", ""),
        ] {
            assert_eq!(heard([text]), expected, "{text}");
        }
    }

    #[test]
    fn a_reply_without_thoughts_is_heard_as_it_comes() {
        let mut think = Think::default();
        assert_eq!(think.push("He"), "He");
        assert_eq!(think.push(" llo"), " llo");
    }

    proptest! {
        #[test]
        fn it_does_not_matter_where_the_text_is_cut(
            parts in proptest::collection::vec("<think>|</think>|[<a/ü \n]{0,4}|</thi|<t", 0..8),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let text = parts.concat();
            let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            ends.retain(|end| text.is_char_boundary(*end));
            ends.extend([0, text.len()]);
            ends.sort_unstable();
            let pieces = ends.windows(2).map(|pair| &text[pair[0]..pair[1]]);
            prop_assert_eq!(heard(pieces), heard([text.as_str()]));
        }

        #[test]
        fn what_it_holds_is_short(pieces in proptest::collection::vec("<think>|[ a<]{0,9}", 0..20)) {
            let mut think = Think::default();
            for piece in &pieces {
                think.push(piece);
                let held = match &think.state {
                    State::Beginning(held) | State::Thinking(held) => held.len(),
                    _ => 0,
                };
                prop_assert!(held <= END.len() * 4, "{:?}", think);
            }
        }
    }
}
