//! Which item a stretch of audio belongs to. Pure.
//!
//! An item gets its name when speech begins (or, without a voice detector in charge, with the first audio), long before
//! anybody knows what was said, so that everything told about it later can be told under one name.

use super::SessionEvent;
use crate::audio::Utterance;
use crate::vad::{Cut, EndpointEvent};
use std::fmt;
use uuid::Uuid;

/// The name of one thing that was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ItemId(pub Uuid);

impl ItemId {
    /// One that nobody has.
    pub(super) fn mint() -> Self {
        Self(Uuid::new_v4())
    }
}

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "item_{}", self.0.simple())
    }
}

#[derive(Debug, Clone, Copy)]
struct Open {
    item: ItemId,
    speaking: bool,
}

/// The item in progress, if there is one.
#[derive(Debug, Default)]
pub(super) struct Turns {
    open: Option<Open>,
}

impl Turns {
    /// Names the item in progress, beginning one when there is none.
    pub(super) fn begin(&mut self) -> ItemId {
        self.open.get_or_insert_with(|| Open { item: ItemId::mint(), speaking: false }).item
    }

    /// Whether an item is in progress.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether speech has begun in the item in progress, and has not stopped.
    pub(super) fn is_speech(&self) -> bool {
        self.open.is_some_and(|open| open.speaking)
    }

    /// Forgets the item in progress and tells its name.
    pub(super) fn clear(&mut self) -> Option<ItemId> {
        self.open.take().map(|open| open.item)
    }

    /// Takes what the endpointer saw; appends what is to be told, and gives the utterance that is complete, if one is.
    ///
    /// Every `SpeechStarted` that was told is followed by a `SpeechStopped`, also when a commit or the longest length
    /// ended the utterance and the endpointer saw no silence.
    pub(super) fn follow(
        &mut self,
        event: EndpointEvent,
        told: &mut Vec<SessionEvent>,
    ) -> Option<(ItemId, Utterance)> {
        let item = self.begin();
        match event {
            // A pause is nothing new to an item.
            EndpointEvent::SpeechPaused { .. } | EndpointEvent::SpeechResumed { .. } => None,
            EndpointEvent::SpeechStarted { at } => {
                self.open = Some(Open { item, speaking: true });
                told.push(SessionEvent::SpeechStarted { item, at });
                None
            }
            EndpointEvent::SpeechStopped { at } => {
                self.open = Some(Open { item, speaking: false });
                told.push(SessionEvent::SpeechStopped { item, at });
                None
            }
            EndpointEvent::Utterance(utterance, cut) => {
                if self.open.take().is_some_and(|open| open.speaking) {
                    told.push(SessionEvent::SpeechStopped { item, at: utterance.span.end });
                }
                let (span, detected) = (utterance.span, cut != Cut::Commit);
                told.push(SessionEvent::Committed { item, previous: None, span, detected });
                Some((item, utterance))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::Span;

    /// Speaks the language of the endpointer: `(` speech started, `)` stopped, `|` utterance, `x` clear, `.` first audio
    /// in manual mode. Answers with what was told, items numbered in order of appearance.
    fn told(script: &str) -> String {
        let mut turns = Turns::default();
        let mut events = Vec::new();
        for step in script.chars() {
            match step {
                '(' => drop(turns.follow(EndpointEvent::SpeechStarted { at: 0 }, &mut events)),
                ')' => drop(turns.follow(EndpointEvent::SpeechStopped { at: 9 }, &mut events)),
                '|' => {
                    let utterance = Utterance::spoken(Span::new(0, 9), Vec::new());
                    drop(turns.follow(EndpointEvent::Utterance(utterance, Cut::Silence), &mut events));
                }
                'x' => drop(turns.clear()),
                '.' => drop(turns.begin()),
                other => unreachable!("no such step: {other}"),
            }
        }
        let mut items = Vec::new();
        events.iter().map(|event| describe(event, &mut items)).collect::<Vec<_>>().join(" ")
    }

    fn describe(event: &SessionEvent, items: &mut Vec<ItemId>) -> String {
        let (name, item) = match event {
            SessionEvent::SpeechStarted { item, .. } => ("started", item),
            SessionEvent::SpeechStopped { item, .. } => ("stopped", item),
            SessionEvent::Committed { item, .. } => ("committed", item),
            other => unreachable!("turns never tell {other:?}"),
        };
        if !items.contains(item) {
            items.push(*item);
        }
        let number = items.iter().position(|known| known == item).expect("it was just added");
        format!("{name}{number}")
    }

    #[test]
    fn everything_about_one_utterance_is_told_under_one_name() {
        assert_eq!(told("()|()|"), "started0 stopped0 committed0 started1 stopped1 committed1");
    }

    #[test]
    fn speech_that_is_cut_without_silence_is_told_to_have_stopped() {
        assert_eq!(told("(|()|"), "started0 stopped0 committed0 started1 stopped1 committed1");
    }

    #[test]
    fn manual_audio_is_committed_without_speech_events() {
        assert_eq!(told("..|.|"), "committed0 committed1");
    }

    #[test]
    fn audio_after_a_clear_is_a_new_item() {
        assert_eq!(told("(x()|"), "started0 started1 stopped1 committed1");
    }
}
