//! Whose turn it is. Pure: it hears of what happened, and says when to begin a reply, when to ask for it and when to stop.
//!
//! A reply is *begun* when it gets its name, and *asked for* when every text that it answers is there. The two differ where
//! a client wants a reply to what it has just committed. A turn that the voice detector ended begins its reply only when its
//! text is known, since nobody has to answer a cough.

/// Counts interruptions and replies: what carries an older one than the current belongs to nobody any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u64);

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cue {
    /// Somebody began to speak.
    SpeechStarted,
    /// What was said is an item, which will be read; the detector found its end, or a client did.
    Committed {
        /// Whether it was the detector.
        detected: bool,
    },
    /// The oldest item without a text has been read (or will never be): whether there are words in it.
    Read {
        /// Whether there are.
        words: bool,
    },
    /// What was being said is forgotten.
    Cleared,
    /// Nobody said anything for so long that it is answered.
    TimedOut,
    /// A client wants a reply.
    Create,
    /// A client wants none.
    Cancel,
    /// All of the current reply was told.
    Ended,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// A reply begins.
    Begin(Epoch, Origin),
    /// Now it can be asked for.
    Ask(Epoch),
    /// The current reply ends before its time.
    Stop(Epoch, Reason),
}

/// Why a reply begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Somebody has spoken.
    Turn,
    /// A client asked for it.
    Client,
}

/// Why a reply ended before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Somebody spoke.
    Interrupted,
    /// A client wanted so.
    Cancelled,
}

/// Why a cue was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Untimely {
    /// There is a reply already.
    ReplyActive,
    /// There is none.
    NoReply,
}

/// Where a conversation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing happens.
    Listening,
    /// Somebody speaks.
    Hearing,
    /// What was said is being read, and then answered.
    Transcribing,
    /// A reply is made or spoken.
    Replying,
    /// Somebody speaks whom the last reply gave way to.
    Interrupted,
}

/// What a turn does to replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manners {
    /// Whether a turn is answered without being asked.
    pub create: bool,
    /// Whether speech ends a reply.
    pub interrupt: bool,
}

impl Default for Manners {
    fn default() -> Self {
        Self { create: true, interrupt: true }
    }
}

/// A reply that has begun and not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Current {
    /// Texts that have to come before it can be asked for.
    awaits: usize,
}

/// What the person does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Speaker {
    #[default]
    Silent,
    Speaking,
    /// Over a reply, which gave way.
    Interrupting,
}

/// The turn-taking of one conversation.
#[derive(Debug, Default)]
pub(super) struct Dialogue {
    manners: Manners,
    epoch: Epoch,
    speaker: Speaker,
    /// Items whose text is not there yet.
    unread: usize,
    /// A turn is over that has to be answered, if there are words in it.
    owes: bool,
    /// There are words that nobody has answered.
    words: bool,
    current: Option<Current>,
}

impl Dialogue {
    /// From here on it behaves like this.
    pub(super) fn behave(&mut self, manners: Manners) {
        self.manners = manners;
    }

    /// Where it stands.
    pub(super) fn phase(&self) -> Phase {
        match (self.speaker, self.current) {
            (Speaker::Interrupting, _) => Phase::Interrupted,
            (Speaker::Speaking, _) => Phase::Hearing,
            (Speaker::Silent, Some(Current { awaits: 0 })) => Phase::Replying,
            (Speaker::Silent, None) if !self.owes => Phase::Listening,
            (Speaker::Silent, _) => Phase::Transcribing,
        }
    }

    /// Whether something of this epoch still belongs to somebody.
    pub(super) fn is_current(&self, epoch: Epoch) -> bool {
        self.current.is_some() && epoch == self.epoch
    }

    /// Whether there is a reply that has not ended.
    pub(super) fn has_reply(&self) -> bool {
        self.current.is_some()
    }

    /// Whether speech ends a reply.
    pub(super) fn gives_way(&self) -> bool {
        self.manners.interrupt
    }

    /// Takes what happened; gives what is to be done, in order.
    ///
    /// # Errors
    ///
    /// When a client asks for what cannot be now; nothing changes then, except that a reply that was only owed is not any
    /// more after a cancel.
    pub(super) fn take(&mut self, cue: Cue) -> Result<Vec<Act>, Untimely> {
        match cue {
            Cue::SpeechStarted => {
                let stopped = if self.manners.interrupt { self.stop(Reason::Interrupted) } else { None };
                self.speaker = if stopped.is_some() { Speaker::Interrupting } else { Speaker::Speaking };
                Ok(stopped.into_iter().collect())
            }
            Cue::Committed { detected } => {
                self.speaker = Speaker::Silent;
                self.unread += 1;
                self.owes |= detected && self.manners.create;
                Ok(Vec::new())
            }
            Cue::Read { words } => {
                self.unread = self.unread.saturating_sub(1);
                self.words |= words && self.owes;
                Ok(self.text_came())
            }
            Cue::Cleared => {
                self.speaker = Speaker::Silent;
                Ok(self.answer())
            }
            Cue::TimedOut => {
                self.words |= self.manners.create;
                Ok(Vec::new())
            }
            Cue::Create if self.current.is_some() => Err(Untimely::ReplyActive),
            Cue::Create => Ok(self.begin(Origin::Client)),
            Cue::Cancel => {
                (self.owes, self.words) = (false, false);
                self.stop(Reason::Cancelled).map(|stop| vec![stop]).ok_or(Untimely::NoReply)
            }
            Cue::Ended => {
                self.current = None;
                Ok(self.answer())
            }
        }
    }

    fn text_came(&mut self) -> Vec<Act> {
        match &mut self.current {
            Some(Current { awaits }) if *awaits > 0 => {
                *awaits -= 1;
                if *awaits == 0 { vec![Act::Ask(self.epoch)] } else { Vec::new() }
            }
            _ => self.answer(),
        }
    }

    /// Answers the turn that is owed an answer, once nothing stands against it.
    fn answer(&mut self) -> Vec<Act> {
        if !self.owes || self.speaker != Speaker::Silent || self.unread > 0 || self.current.is_some() {
            return Vec::new();
        }
        self.owes = false;
        if self.words { self.begin(Origin::Turn) } else { Vec::new() }
    }

    fn begin(&mut self, origin: Origin) -> Vec<Act> {
        self.epoch.0 += 1;
        let awaits = self.unread;
        (self.owes, self.words) = (false, false);
        self.current = Some(Current { awaits });
        let ask = (awaits == 0).then_some(Act::Ask(self.epoch));
        std::iter::once(Act::Begin(self.epoch, origin)).chain(ask).collect()
    }

    fn stop(&mut self, reason: Reason) -> Option<Act> {
        self.current.take()?;
        let stopped = self.epoch;
        self.epoch.0 += 1;
        Some(Act::Stop(stopped, reason))
    }
}

#[cfg(test)]
mod tests;
