//! A driver's part in a conversation: what was heard is passed to the [`Talk`], and what comes of it is told.

use super::{Driver, EAR_IS_HOME, End};
use crate::audio::Span;
use crate::session::ItemId;
use crate::session::live::{Command, Refusal, SessionEvent};
use crate::session::talk::{Held, History, Item, ReplyEvent, Talk, TalkSettings, Verdict, is_surely_speech};
use std::future::pending;
use tokio::time::Instant;

/// What a told event means to the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reaction {
    None,
    SpeechStarted,
    Committed { detected: bool },
    Read { words: bool },
    Cleared,
    TimedOut,
}

impl Reaction {
    pub(super) fn to(event: &SessionEvent) -> Self {
        match event {
            SessionEvent::SpeechStarted { .. } => Self::SpeechStarted,
            SessionEvent::Committed { detected, .. } => Self::Committed { detected: *detected },
            SessionEvent::Read { transcript, .. } => {
                Self::Read { words: transcript.hypothesis.text().contains(char::is_alphanumeric) }
            }
            SessionEvent::Unread { .. } | SessionEvent::Dropped { .. } => Self::Read { words: false },
            SessionEvent::Cleared => Self::Cleared,
            SessionEvent::TimedOut { .. } => Self::TimedOut,
            _ => Self::None,
        }
    }
}

/// The next that is to be told of a reply; never ready without a conversation.
pub(super) async fn next(talk: &mut Option<Box<Talk>>, history: &mut History) -> Vec<ReplyEvent> {
    match talk {
        Some(talk) => talk.next(history).await,
        None => pending().await,
    }
}

impl Driver {
    /// Tells something that was heard, unless it may be an echo.
    pub(super) async fn tell_heard(&mut self, event: SessionEvent) -> Result<(), End> {
        if let (SessionEvent::SpeechStarted { item, at }, Some(talk)) = (&event, &self.talk)
            && talk.may_echo(Instant::now())
        {
            self.held.push_back(Held::new(*item, *at));
        }
        let item = event.spoken_item();
        let Some(place) = self.held.iter().position(|held| Some(held.item) == item) else {
            return self.tell(event).await;
        };
        let said = self.talk.as_ref().map_or(String::new(), |talk| talk.words(&self.history));
        match self.held[place].hold(event, &said) {
            Verdict::Open => Ok(()),
            Verdict::Speech => self.release(place).await,
            Verdict::Nothing => {
                self.held.remove(place);
                self.talk.iter_mut().for_each(|talk| talk.never_said());
                Ok(())
            }
        }
    }

    /// Looks whether what is held back has become long and loud enough, or nothing is playing that it could be the echo of.
    pub(super) async fn weigh(&mut self) -> Result<(), End> {
        let (Some(last), Some(talk)) = (self.held.back(), &self.talk) else { return Ok(()) };
        let ear = self.ear.as_ref().expect(EAR_IS_HOME);
        let heard = ear.so_far(Span::new(last.from, ear.position()));
        let sure = heard.is_some_and(|heard| is_surely_speech(&heard, talk.echo()));
        if sure || !talk.may_echo(Instant::now()) {
            let last = self.held.len() - 1;
            return self.release(last).await;
        }
        Ok(())
    }

    /// Tells all that was held back: a client that commits knows that somebody spoke.
    pub(super) async fn release_all(&mut self) -> Result<(), End> {
        match self.held.len().checked_sub(1) {
            Some(last) => self.release(last).await,
            None => Ok(()),
        }
    }

    /// Whether nobody was told of an item.
    pub(super) fn is_held(&self, item: ItemId) -> bool {
        self.held.iter().any(|held| held.item == item)
    }

    /// Tells what was held back of an item, and of those before it.
    async fn release(&mut self, place: usize) -> Result<(), End> {
        let released: Vec<_> = self.held.drain(..=place).collect();
        for event in released.into_iter().flat_map(Held::release) {
            self.tell(event).await?;
        }
        Ok(())
    }

    /// Has the history know of an event, before it is told.
    pub(super) fn note(&mut self, event: &mut SessionEvent) {
        match event {
            SessionEvent::Committed { item, previous, .. } => {
                *previous = self.history.append(Item::heard(item.to_string()));
            }
            SessionEvent::Read { item, transcript, .. } => {
                let text = transcript.hypothesis.text();
                self.history.read(&item.to_string(), text, transcript.withheld.clone());
            }
            _ => {}
        }
    }

    /// What comes of an event that was told.
    pub(super) fn react(&mut self, reaction: Reaction) -> Vec<ReplyEvent> {
        let Some(talk) = &mut self.talk else { return Vec::new() };
        let history = &mut self.history;
        match reaction {
            Reaction::None => Vec::new(),
            Reaction::SpeechStarted => talk.speech_started(history),
            Reaction::Committed { detected } => talk.committed(detected, history),
            Reaction::Read { words } => talk.read(words, history),
            Reaction::Cleared => talk.cleared(history),
            Reaction::TimedOut => talk.timed_out(history),
        }
    }

    /// Obeys what clients want of items and replies.
    pub(super) async fn converse(&mut self, command: Command, origin: Option<String>) -> Result<(), End> {
        let done = match command {
            Command::AddItem(..) | Command::ShowItem(_) | Command::DeleteItem(_) => {
                self.item(command).map(|event| vec![event])
            }
            command => self
                .reply(command)
                .map(|events| events.into_iter().map(|event| SessionEvent::Reply(Box::new(event))).collect()),
        };
        match done {
            Ok(events) => {
                for event in events {
                    self.tell(event).await?;
                }
                Ok(())
            }
            Err(refusal) => self.tell(SessionEvent::Refused { origin, refusal }).await,
        }
    }

    fn item(&mut self, command: Command) -> Result<SessionEvent, Refusal> {
        Ok(match command {
            Command::AddItem(place, item) => {
                let previous = self.history.add(&place, (*item).clone())?;
                SessionEvent::ItemAdded { previous, item }
            }
            Command::ShowItem(id) => {
                self.talk.iter().for_each(|talk| talk.note(&mut self.history));
                SessionEvent::ItemShown(Box::new(self.history.get(&id)?.clone()))
            }
            Command::DeleteItem(id) => {
                self.history.remove(&id)?;
                SessionEvent::ItemDeleted { id }
            }
            other => unreachable!("{other:?} is about no item"),
        })
    }

    fn reply(&mut self, command: Command) -> Result<Vec<ReplyEvent>, Refusal> {
        let talk = self.talk.as_mut().ok_or(Refusal::Speechless)?;
        let history = &mut self.history;
        match command {
            Command::Reply(request) => talk.create(*request, history),
            Command::CancelReply(reply) => talk.cancel(reply.as_deref(), history),
            Command::ClearOutput => talk.clear_output(history),
            Command::Played { item, heard } => talk.played(&item, heard).map(|()| Vec::new()),
            Command::Truncate { item, heard } => talk.truncate(&item, heard, history),
            other => unreachable!("{other:?} is about no reply"),
        }
    }

    /// Goes on with other settings, with or without a conversation.
    pub(super) async fn configure_talk(&mut self, settings: Option<&TalkSettings>) -> Result<(), End> {
        match (&mut self.talk, settings) {
            (Some(talk), Some(settings)) => talk.configure(settings.clone()),
            (None, Some(settings)) => {
                self.talk = Some(Box::new(Talk::new(self.assistant.clone(), settings.clone())));
            }
            (_, None) => return self.end_talk().await,
        }
        Ok(())
    }

    /// Nothing is said any more.
    pub(super) async fn end_talk(&mut self) -> Result<(), End> {
        let Some(mut talk) = self.talk.take() else { return Ok(()) };
        let replied = talk.finish(&mut self.history);
        self.tell_replies(replied).await
    }
}
