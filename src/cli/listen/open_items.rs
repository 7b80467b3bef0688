//! Which items still wait for their text, and whether the server has named all of them. Pure.

use crate::load::DictationEvent;
use std::collections::BTreeSet;

/// The code of the error that says that there was nothing to commit.
const NOTHING_SAID: &str = "input_audio_buffer_commit_empty";

/// Items that were begun and are not over.
#[derive(Debug, Default)]
pub(super) struct OpenItems {
    open: BTreeSet<String>,
    /// The server has answered that nothing more is in the buffer.
    cleared: bool,
}

/// What an event comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Heard {
    /// An item has come to its end.
    pub(super) settled: bool,
    /// It has come to a bad one.
    pub(super) failed: bool,
    /// It is an answer to how we take our leave, and no news.
    pub(super) is_expected: bool,
}

impl OpenItems {
    /// Takes note of an event.
    pub(super) fn hear(&mut self, event: &DictationEvent) -> Heard {
        let nothing = Heard::default();
        match event {
            DictationEvent::SpeechStarted { item, .. } | DictationEvent::Committed { item } => {
                self.open.insert(item.clone());
                nothing
            }
            DictationEvent::Final { item, .. } => {
                self.open.remove(item);
                Heard { settled: true, ..nothing }
            }
            DictationEvent::Failed { item, .. } => {
                self.open.remove(item);
                Heard { settled: true, failed: true, ..nothing }
            }
            DictationEvent::Cleared => {
                self.cleared = true;
                nothing
            }
            DictationEvent::Trouble { code, .. } => Heard { is_expected: code == NOTHING_SAID, ..nothing },
            _ => nothing,
        }
    }

    /// Forgets those that were open, because the connection is gone that they came through; gives their names.
    pub(super) fn lose(&mut self) -> BTreeSet<String> {
        std::mem::take(self).open
    }

    /// Whether nothing more comes: all items are known, and all have come to their end.
    pub(super) fn are_settled(&self) -> bool {
        self.cleared && self.open.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn named(item: &str) -> String {
        item.to_owned()
    }

    /// `(a` begins an item, `a` commits it, `a)` tells its text, `a!` fails it, `.` is the answer to our leave.
    fn settled(events: &str) -> bool {
        let mut items = OpenItems::default();
        for word in events.split_whitespace() {
            items.hear(&match word {
                "." => DictationEvent::Cleared,
                word if word.starts_with('(') => {
                    DictationEvent::SpeechStarted { item: named(&word[1..]), at: Duration::ZERO }
                }
                word if word.ends_with(')') => {
                    DictationEvent::Final { item: named(&word[..1]), text: String::new() }
                }
                word if word.ends_with('!') => DictationEvent::Failed {
                    item: named(&word[..1]),
                    code: String::new(),
                    message: String::new(),
                },
                word => DictationEvent::Committed { item: named(word) },
            });
        }
        items.are_settled()
    }

    #[test]
    fn nothing_more_comes_when_all_items_are_known_and_over() {
        let cases = [
            ("", false),
            (".", true),
            ("(a a a)", false),
            ("(a a a) .", true),
            ("(a a .", false),
            ("(a a . a)", true),
            ("a . a)", true),
            ("(a a (b b b) . a!", true),
            ("(a a (b b a) .", false),
        ];
        for (events, expected) in cases {
            assert_eq!(settled(events), expected, "{events}");
        }
    }

    #[test]
    fn what_was_open_on_a_lost_connection_is_not_waited_for_on_the_next_one() {
        let mut items = OpenItems::default();
        for item in ["a", "b"].map(named) {
            items.hear(&DictationEvent::Committed { item });
        }
        items.hear(&DictationEvent::Final { item: named("a"), text: String::new() });
        items.hear(&DictationEvent::Cleared);
        assert_eq!(items.lose(), [named("b")].into());
        assert!(!items.are_settled(), "the next server has not answered yet");
        items.hear(&DictationEvent::Cleared);
        assert!(items.are_settled());
    }

    #[test]
    fn that_there_was_nothing_to_commit_is_no_news() {
        let trouble = |code: &str| DictationEvent::Trouble { code: code.into(), message: String::new() };
        assert!(OpenItems::default().hear(&trouble(NOTHING_SAID)).is_expected);
        assert_eq!(OpenItems::default().hear(&trouble("other")), Heard::default());
    }
}
