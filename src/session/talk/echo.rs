//! What is heard while a reply is being said may be the reply itself. Pure.
//!
//! A listener without echo cancellation sends back what we say. So, as long as something is playing, whatever the voice
//! detector takes for speech is held back until it is long and loud enough, or words are read in it that are not ours. What
//! turns out to be neither was never said.

use super::settings::EchoSettings;
use crate::audio::{Utterance, duration_of};
use crate::session::{ItemId, SessionEvent};

/// Ours, where as many words in a row are what was just said.
const ECHOED_WORDS: usize = 2;

/// What is held back of one item, in order.
#[derive(Debug)]
pub(in crate::session) struct Held {
    /// The item.
    pub(in crate::session) item: ItemId,
    /// Where its speech begins, in samples.
    pub(in crate::session) from: u64,
    events: Vec<SessionEvent>,
}

/// What is known about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session) enum Verdict {
    /// Nothing yet.
    Open,
    /// It was said.
    Speech,
    /// It was not.
    Nothing,
}

impl Held {
    /// Nothing is held back yet of an item that begins here.
    pub(in crate::session) fn new(item: ItemId, from: u64) -> Self {
        Self { item, from, events: Vec::new() }
    }

    /// Holds back what belongs to the item; says what can be told from it, when `said` is what is playing.
    pub(in crate::session) fn hold(&mut self, event: SessionEvent, said: &str) -> Verdict {
        let verdict = match &event {
            SessionEvent::Delta { .. } | SessionEvent::Read { .. } => {
                let words = self.words_with(&event);
                let ends = matches!(event, SessionEvent::Read { .. });
                match () {
                    () if has_words(&words) && !is_echo(&words, said) => Verdict::Speech,
                    () if ends => Verdict::Nothing,
                    () => Verdict::Open,
                }
            }
            // Something went wrong, and whoever spoke has to know.
            SessionEvent::Unread { .. } | SessionEvent::Dropped { .. } => Verdict::Speech,
            SessionEvent::Discarded { .. } => Verdict::Nothing,
            _ => Verdict::Open,
        };
        self.events.push(event);
        verdict
    }

    /// What was held back.
    pub(in crate::session) fn release(self) -> Vec<SessionEvent> {
        self.events
    }

    /// All words of the item that are known.
    fn words_with(&self, last: &SessionEvent) -> String {
        if let SessionEvent::Read { transcript, .. } = last {
            return transcript.hypothesis.text();
        }
        let delta = |event: &SessionEvent| match event {
            SessionEvent::Delta { text, .. } => text.clone(),
            _ => String::new(),
        };
        self.events.iter().chain([last]).map(delta).collect()
    }
}

/// Whether what was heard is too long and too loud for an echo.
pub(in crate::session) fn is_surely_speech(heard: &Utterance, settings: EchoSettings) -> bool {
    duration_of(heard.voiced) >= settings.speech && level(heard) >= settings.level
}

/// The mean level of the frames that sound like speech, in dB relative to full scale.
fn level(heard: &Utterance) -> f32 {
    let samples = || {
        heard.voices.iter().flat_map(|voice| {
            let at = |position: u64| ((position - heard.span.start) as usize).min(heard.samples.len());
            &heard.samples[at(voice.start)..at(voice.end)]
        })
    };
    let n = samples().count().max(1) as f32;
    let power = samples().map(|sample| sample * sample).sum::<f32>() / n;
    10.0 * power.max(1e-12).log10()
}

fn has_words(text: &str) -> bool {
    text.contains(char::is_alphanumeric)
}

/// Whether a text is what was just said, or a part of it.
fn is_echo(text: &str, said: &str) -> bool {
    let words = |text: &str| -> Vec<String> {
        let words = text.split(|letter: char| !letter.is_alphanumeric() && letter != '\'');
        words.filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
    };
    let (text, said) = (words(text), words(said));
    text.len() >= ECHOED_WORDS && said.windows(text.len()).any(|window| window == text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::Span;
    use std::time::Duration;
    use uuid::Uuid;

    fn held() -> Held {
        Held::new(ItemId(Uuid::from_u128(1)), 0)
    }

    fn delta(held: &mut Held, text: &str, said: &str) -> Verdict {
        let event = SessionEvent::Delta { item: held.item, text: text.into() };
        held.hold(event, said)
    }

    #[test]
    fn words_are_speech_unless_they_are_what_is_playing() {
        let said = "The light in the kitchen is on now.";
        let table = [
            (&["stop"][..], Verdict::Speech),
            (&["The light"], Verdict::Open),
            (&["in the", " kitchen is"], Verdict::Open),
            (&["in the", " garden"], Verdict::Speech),
            (&["kitchen"], Verdict::Speech),
            (&[" ", "..."], Verdict::Open),
        ];
        for (deltas, expected) in table {
            let mut held = held();
            let verdicts: Vec<_> = deltas.iter().map(|text| delta(&mut held, text, said)).collect();
            assert_eq!(verdicts.last(), Some(&expected), "{deltas:?}");
            assert_eq!(held.release().len(), deltas.len());
        }
    }

    #[test]
    fn a_failure_is_told_and_what_was_cleared_was_never_said() {
        let mut held = held();
        let item = held.item;
        assert_eq!(held.hold(SessionEvent::SpeechStarted { item, at: 0 }, ""), Verdict::Open);
        assert_eq!(held.hold(SessionEvent::Discarded { item }, ""), Verdict::Nothing);
        let unread = SessionEvent::Unread { item, error: crate::asr::AsrError::Cancelled };
        assert_eq!(held.hold(unread, ""), Verdict::Speech);
    }

    #[test]
    fn speech_has_to_be_long_and_loud() {
        let settings = EchoSettings { speech: Duration::from_millis(200), level: -40.0 };
        let table = [(4_000, 0.1, true), (3_000, 0.1, false), (4_000, 0.001, false)];
        for (voiced, amplitude, expected) in table {
            let samples = vec![amplitude; 8_000];
            let heard = Utterance::new(Span::new(0, 8_000), vec![Span::new(0, voiced)], samples);
            assert_eq!(is_surely_speech(&heard, settings), expected, "{voiced} samples of {amplitude}");
        }
    }
}
