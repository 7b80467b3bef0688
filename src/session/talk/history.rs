//! What was said and written in one session, item by item. Pure.
//!
//! Items are what clients see; a language model is shown the same as [`Message`]s, in which the assistant has said what was
//! heard of it and no more.

use super::script::Script;
use crate::asr::Withheld;
use crate::llm::{Message, ToolCall};
use std::collections::{HashSet, VecDeque};
use std::time::Duration;

/// How many items a session keeps; older ones are forgotten.
const KEPT_ITEMS: usize = 256;

/// And how many bytes of text.
const KEPT_BYTES: usize = 4 * 1024 * 1024;

/// One thing in a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Its name, unlike that of any other in the session.
    pub id: String,
    /// What it is.
    pub body: Body,
    /// How far it has come.
    pub status: ItemStatus,
}

/// What an item is.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// Something that somebody said or wrote.
    Message {
        /// Who.
        role: Role,
        /// In order.
        content: Vec<Content>,
    },
    /// The assistant calls a function.
    Call(ToolCall),
    /// What a function gave.
    Output {
        /// The name of the call.
        call_id: String,
        /// As the client gave it.
        output: String,
    },
}

/// Who said or wrote a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Whoever set the session up.
    System,
    /// The person.
    User,
    /// The machine.
    Assistant,
}

/// A part of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Written by the person, or for the machine.
    InputText(String),
    /// Spoken by the person.
    InputAudio {
        /// What was read of it, once it is.
        transcript: Option<String>,
        /// What was read and is not believed.
        withheld: Option<Withheld>,
    },
    /// Written by the machine.
    OutputText(String),
    /// Spoken by the machine.
    OutputAudio(Script),
}

/// How far an item has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemStatus {
    /// More is coming.
    InProgress,
    /// It is whole.
    Completed,
    /// It was broken off.
    Incomplete,
}

/// Where a new item goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Place {
    /// After all others.
    #[default]
    End,
    /// Before all others.
    Root,
    /// After this one.
    After(String),
}

/// Why an item cannot be had, or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ItemError {
    /// No such item is kept.
    #[error("there is no item \"{id}\" in this session")]
    Unknown {
        /// The name that was given.
        id: String,
    },
    /// The item that a new one was to follow is not kept.
    #[error("there is no item \"{id}\" in this session to put another behind")]
    NoPlace {
        /// The name that was given.
        id: String,
    },
    /// There is one already.
    #[error("there is an item \"{id}\" already")]
    Taken {
        /// The name that was given.
        id: String,
    },
    /// It has nothing that can be cut.
    #[error("item \"{id}\" is not a spoken message of the assistant, so it cannot be truncated")]
    NotSpoken {
        /// The name that was given.
        id: String,
    },
    /// It is shorter than that.
    #[error("item \"{id}\" is {} ms long, it cannot be truncated at {} ms", audio.as_millis(), at.as_millis())]
    TooShort {
        /// The name that was given.
        id: String,
        /// How long it is.
        audio: Duration,
        /// Where it was to be cut.
        at: Duration,
    },
}

impl ItemError {
    /// The stable name of this error on the wire, in logs and in metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unknown { .. } | Self::NoPlace { .. } => "item_not_found",
            Self::Taken { .. } => "item_exists",
            Self::NotSpoken { .. } => "item_not_spoken",
            Self::TooShort { .. } => "invalid_audio_end",
        }
    }
}

impl Item {
    /// What the person said, of which no text is known yet.
    pub fn heard(id: String) -> Self {
        let content = vec![Content::InputAudio { transcript: None, withheld: None }];
        Self { id, body: Body::Message { role: Role::User, content }, status: ItemStatus::Completed }
    }

    /// Whether it says how the assistant is to behave.
    fn is_prompt(&self) -> bool {
        matches!(self.body, Body::Message { role: Role::System, .. })
    }

    /// How much text is in it.
    fn bytes(&self) -> usize {
        match &self.body {
            Body::Message { content, .. } => content.iter().map(|part| part.words().len()).sum(),
            Body::Call(call) => call.arguments.len(),
            Body::Output { output, .. } => output.len(),
        }
    }

    fn input_audio(&mut self) -> Option<(&mut Option<String>, &mut Option<Withheld>)> {
        let Body::Message { content, .. } = &mut self.body else { return None };
        content.iter_mut().find_map(|part| match part {
            Content::InputAudio { transcript, withheld } => Some((transcript, withheld)),
            _ => None,
        })
    }

    pub(super) fn script(&mut self) -> Option<&mut Script> {
        let Body::Message { content, .. } = &mut self.body else { return None };
        content.iter_mut().find_map(|part| match part {
            Content::OutputAudio(script) => Some(script),
            _ => None,
        })
    }
}

impl Content {
    /// What a language model is shown of it.
    fn words(&self) -> &str {
        match self {
            Self::InputText(text) | Self::OutputText(text) => text,
            Self::InputAudio { transcript, .. } => transcript.as_deref().unwrap_or_default(),
            Self::OutputAudio(script) => script.heard(),
        }
    }
}

/// The items of a session, oldest first.
#[derive(Debug, Clone, Default)]
pub struct History {
    items: VecDeque<Item>,
}

impl History {
    /// Keeps an item; gives the name of the one before it.
    ///
    /// # Errors
    ///
    /// When its name is taken, or there is nothing at its place.
    pub fn add(&mut self, place: &Place, item: Item) -> Result<Option<String>, ItemError> {
        if self.position(&item.id).is_some() {
            return Err(ItemError::Taken { id: item.id });
        }
        let at = match place {
            Place::End => self.items.len(),
            Place::Root => 0,
            Place::After(id) => self.position(id).ok_or_else(|| ItemError::NoPlace { id: id.clone() })? + 1,
        };
        let previous = at.checked_sub(1).map(|before| self.items[before].id.clone());
        let id = item.id.clone();
        self.items.insert(at, item);
        self.forget_oldest(&id);
        Ok(previous)
    }

    /// Keeps an item of ours, after all others; gives the name of the one before it. Clients know such names before the items
    /// are kept: an item that one made under the same name has to go.
    pub fn append(&mut self, item: Item) -> Option<String> {
        self.items.retain(|kept| kept.id != item.id);
        let previous = self.items.back().map(|before| before.id.clone());
        let id = item.id.clone();
        self.items.push_back(item);
        self.forget_oldest(&id);
        previous
    }

    /// Makes room for the item that has just come, which stays however large it is. A prompt goes after everything else.
    fn forget_oldest(&mut self, newest: &str) {
        let mut bytes: usize = self.items.iter().map(Item::bytes).sum();
        while self.items.len() > KEPT_ITEMS || bytes > KEPT_BYTES {
            let may_go = |item: &&Item| item.id != newest;
            let oldest = |items: &VecDeque<Item>, prompts: bool| {
                items.iter().position(|item| may_go(&item) && (prompts || !item.is_prompt()))
            };
            let Some(at) = oldest(&self.items, false).or_else(|| oldest(&self.items, true)) else { return };
            bytes -= self.items.remove(at).map_or(0, |item| item.bytes());
        }
    }

    /// An item.
    ///
    /// # Errors
    ///
    /// When no such item is kept.
    pub fn get(&self, id: &str) -> Result<&Item, ItemError> {
        self.find(id).map(|at| &self.items[at])
    }

    /// Changes an item, if it is kept still.
    pub fn change(&mut self, id: &str, change: impl FnOnce(&mut Item)) {
        if let Some(at) = self.position(id) {
            change(&mut self.items[at]);
        }
    }

    /// Forgets an item.
    ///
    /// # Errors
    ///
    /// When no such item is kept.
    pub fn remove(&mut self, id: &str) -> Result<(), ItemError> {
        let at = self.find(id)?;
        self.items.remove(at);
        Ok(())
    }

    /// What was read of a spoken item.
    pub fn read(&mut self, id: &str, text: String, doubt: Option<Withheld>) {
        self.change(id, |item| {
            if let Some((transcript, withheld)) = item.input_audio() {
                (*transcript, *withheld) = (Some(text), doubt);
            }
        });
    }

    /// Cuts what the assistant said down to what was heard of it; the last word on that counts.
    ///
    /// # Errors
    ///
    /// When there is no such item, nothing to cut in it, or less than that.
    pub fn truncate(&mut self, id: &str, heard: Duration) -> Result<(), ItemError> {
        let at = self.find(id)?;
        let id = id.to_owned();
        let script = self.items[at].script().ok_or_else(|| ItemError::NotSpoken { id: id.clone() })?;
        let audio = script.audio();
        // Clients count in milliseconds and round as they like.
        if heard > audio + Duration::from_millis(1) {
            return Err(ItemError::TooShort { id, audio, at: heard });
        }
        script.hear(heard);
        Ok(())
    }

    /// The conversation, as a language model is shown it.
    pub fn messages(&self) -> Vec<Message> {
        messages(self.items.iter())
    }

    /// Whether a function was called under this name.
    pub(super) fn has_call(&self, id: &str) -> bool {
        self.items.iter().any(|item| item.calls() == Some(id))
    }

    fn position(&self, id: &str) -> Option<usize> {
        self.items.iter().rposition(|item| item.id == id)
    }

    fn find(&self, id: &str) -> Result<usize, ItemError> {
        self.position(id).ok_or_else(|| ItemError::Unknown { id: id.to_owned() })
    }
}

/// Items, as a language model is shown them. A call goes with the words before it, and only where its output is known:
/// endpoints refuse one without the other.
pub(super) fn messages<'a>(items: impl Iterator<Item = &'a Item> + Clone) -> Vec<Message> {
    let answered: HashSet<&str> = items.clone().filter_map(Item::answers).collect();
    let called: HashSet<&str> = items.clone().filter_map(Item::calls).collect();
    let mut messages = Vec::new();
    for item in items {
        match &item.body {
            Body::Message { role, content } => messages.extend(message(*role, content)),
            Body::Call(call) if answered.contains(call.id.as_str()) => add_call(&mut messages, call),
            Body::Output { call_id, output } if called.contains(call_id.as_str()) => {
                messages.push(Message::Tool { call_id: call_id.clone(), output: output.clone() });
            }
            Body::Call(_) | Body::Output { .. } => {}
        }
    }
    messages
}

impl Item {
    fn answers(&self) -> Option<&str> {
        if let Body::Output { call_id, .. } = &self.body { Some(call_id) } else { None }
    }

    fn calls(&self) -> Option<&str> {
        if let Body::Call(call) = &self.body { Some(&call.id) } else { None }
    }
}

fn message(role: Role, content: &[Content]) -> Option<Message> {
    let parts = content.iter().map(Content::words).filter(|words| !words.trim().is_empty());
    let text = parts.collect::<Vec<_>>().join("\n");
    if text.is_empty() {
        return None;
    }
    Some(match role {
        Role::System => Message::System(text),
        Role::User => Message::User(text),
        Role::Assistant => Message::Assistant { text, calls: Vec::new() },
    })
}

fn add_call(messages: &mut Vec<Message>, call: &ToolCall) {
    if let Some(Message::Assistant { calls, .. }) = messages.last_mut() {
        calls.push(call.clone());
        return;
    }
    messages.push(Message::Assistant { text: String::new(), calls: vec![call.clone()] });
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn written(id: &str, role: Role, text: &str) -> Item {
        let part = if role == Role::Assistant { Content::OutputText } else { Content::InputText };
        let body = Body::Message { role, content: vec![part(text.into())] };
        Item { id: id.into(), body, status: ItemStatus::Completed }
    }

    fn spoken(id: &str, phrases: &[(&str, u64)]) -> Item {
        let mut script = Script::default();
        for (phrase, sound) in phrases {
            script.begin(phrase);
            script.sound(ms(*sound));
        }
        let body = Body::Message { role: Role::Assistant, content: vec![Content::OutputAudio(script)] };
        Item { id: id.into(), body, status: ItemStatus::Completed }
    }

    fn call(id: &str) -> Item {
        let call = ToolCall { id: id.into(), name: "look".into(), arguments: "{}".into() };
        Item { id: format!("item_{id}"), body: Body::Call(call), status: ItemStatus::Completed }
    }

    fn output(id: &str) -> Item {
        let body = Body::Output { call_id: id.into(), output: "42".into() };
        Item { id: format!("out_{id}"), body, status: ItemStatus::Completed }
    }

    fn names(history: &History) -> String {
        history.items.iter().map(|item| item.id.as_str()).collect::<Vec<_>>().join(" ")
    }

    /// `s` system, `u` user, `a` assistant with its calls in brackets, `t` tool.
    fn shown(items: &[Item]) -> String {
        let letter = |message: &Message| match message {
            Message::System(text) => format!("s:{text}"),
            Message::User(text) => format!("u:{text}"),
            Message::Assistant { text, calls } if calls.is_empty() => format!("a:{text}"),
            Message::Assistant { text, calls } => {
                format!(
                    "a:{text}[{}]",
                    calls.iter().map(|call| call.id.as_str()).collect::<Vec<_>>().join(",")
                )
            }
            Message::Tool { call_id, .. } => format!("t:{call_id}"),
        };
        messages(items.iter()).iter().map(letter).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn items_go_where_they_are_told_to() {
        let mut history = History::default();
        let item = |id: &str| written(id, Role::User, id);
        assert_eq!(history.append(item("b")), None);
        assert_eq!(history.append(item("d")), Some("b".into()));
        assert_eq!(history.add(&Place::After("b".into()), item("c")), Ok(Some("b".into())));
        assert_eq!(history.add(&Place::Root, item("a")), Ok(None));
        assert_eq!(names(&history), "a b c d");
        assert_eq!(history.add(&Place::End, item("c")).unwrap_err().code(), "item_exists");
        assert_eq!(history.add(&Place::After("x".into()), item("e")).unwrap_err().code(), "item_not_found");
        history.remove("b").unwrap();
        assert_eq!(history.remove("b").unwrap_err().code(), "item_not_found");
        assert_eq!(names(&history), "a c d");
    }

    #[test]
    fn the_oldest_items_are_forgotten() {
        let mut history = History::default();
        (0..=KEPT_ITEMS).for_each(|n| drop(history.append(written(&n.to_string(), Role::User, "x"))));
        assert!(history.get("0").is_err() && history.get("1").is_ok());
        history.add(&Place::Root, written("first", Role::System, "x")).unwrap();
        assert!(history.get("first").is_ok() && history.get("1").is_err());
        history.append(written("last", Role::User, "x"));
        assert!(history.get("first").is_ok() && history.get("2").is_err(), "a prompt goes last");
    }

    #[test]
    fn the_oldest_items_make_room_for_long_ones() {
        let mut history = History::default();
        let long = "x".repeat(KEPT_BYTES / 4);
        (0..6).for_each(|n| drop(history.append(written(&n.to_string(), Role::User, &long))));
        assert_eq!(names(&history), "2 3 4 5");
        history.append(written("huge", Role::User, &"x".repeat(KEPT_BYTES * 2)));
        assert_eq!(names(&history), "huge");
    }

    #[test]
    fn what_was_spoken_is_kept_though_a_client_took_its_name() {
        let mut history = History::default();
        history.add(&Place::End, written("spoken", Role::User, "mine")).unwrap();
        history.append(written("other", Role::User, "x"));
        assert_eq!(history.append(Item::heard("spoken".into())), Some("other".into()));
        assert_eq!(names(&history), "other spoken");
    }

    #[test]
    fn a_model_is_shown_what_was_read_and_what_was_heard() {
        let mut history = History::default();
        history.append(Item::heard("u1".into()));
        history.append(spoken("a1", &[("Well, ", 1000), ("that is all.", 1200)]));
        history.append(Item::heard("u2".into()));
        history.read("u1", "turn on the light".into(), None);
        history.truncate("a1", ms(1450)).unwrap();
        let expected = [
            Message::User("turn on the light".into()),
            Message::Assistant { text: "Well, that".into(), calls: Vec::new() },
        ];
        assert_eq!(history.messages(), expected, "what has no text is not shown");
    }

    #[test]
    fn only_what_the_assistant_said_can_be_truncated_and_only_as_far_as_it_goes() {
        let mut history = History::default();
        history.append(Item::heard("u".into()));
        history.append(spoken("a", &[("Hello.", 1000)]));
        let code = |history: &mut History, id: &str, at| history.truncate(id, ms(at)).unwrap_err().code();
        assert_eq!(code(&mut history, "u", 5), "item_not_spoken");
        assert_eq!(code(&mut history, "x", 5), "item_not_found");
        assert_eq!(code(&mut history, "a", 1002), "invalid_audio_end");
        assert_eq!(history.truncate("a", ms(1001)), Ok(()));
    }

    #[test]
    fn calls_and_their_outputs_are_shown_together_or_not_at_all() {
        let user = || written("u", Role::User, "hi");
        let table = [
            (vec![user(), call("1"), output("1")], "u:hi a:[1] t:1"),
            (
                vec![user(), written("a", Role::Assistant, "wait"), call("1"), output("1")],
                "u:hi a:wait[1] t:1",
            ),
            (vec![user(), call("1"), call("2"), output("1"), output("2")], "u:hi a:[1,2] t:1 t:2"),
            (vec![user(), call("1"), written("u2", Role::User, "well?")], "u:hi u:well?"),
            (vec![output("9"), user()], "u:hi"),
        ];
        for (items, expected) in table {
            assert_eq!(shown(&items), expected);
        }
    }
}
