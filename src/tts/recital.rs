//! A whole text, read out: phrase after phrase, the next one asked for while one sounds.

use super::{Narrator, Phrase, TtsError, Voice};
use crate::audio::{Pcm, SampleRate};
use async_stream::stream;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use std::collections::VecDeque;
use std::sync::Arc;

/// Phrases that are asked for at the same time: the one that sounds and the one behind it.
const AHEAD: usize = 2;

/// Reads phrases out. The stream ends after the last piece, or with the first error; dropping it ends the work.
///
/// The first phrases are asked for when the stream is first polled, which is to happen on a tokio runtime.
pub fn recite(
    narrator: Arc<dyn Narrator>,
    phrases: Vec<Phrase>,
    voice: Voice,
    rate: SampleRate,
) -> BoxStream<'static, Result<Pcm, TtsError>> {
    let mut waiting = phrases.into_iter().filter(|phrase| !phrase.spoken.trim().is_empty());
    let reading = stream! {
        let mut asked = VecDeque::new();
        loop {
            while asked.len() < AHEAD && let Some(phrase) = waiting.next() {
                asked.push_back(narrator.say(phrase, voice.clone(), rate));
            }
            let Some(sound) = asked.front_mut() else { return };
            match sound.next().await {
                Some(Ok(piece)) => yield Ok(piece),
                Some(Err(error)) => {
                    yield Err(error);
                    return;
                }
                None => drop(asked.pop_front()),
            }
        }
    };
    reading.boxed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tts::Studio as _;
    use crate::tts::fake::{Act, FakeStudio, tag};
    use std::time::Duration;

    fn phrase(text: &str) -> Phrase {
        Phrase { text: text.into(), spoken: text.into() }
    }

    fn recital(studio: &FakeStudio, texts: &[&str]) -> BoxStream<'static, Result<Pcm, TtsError>> {
        let phrases = texts.iter().map(|text| phrase(text)).collect();
        let voice = Voice { name: "fake".into(), speed: 1.0 };
        recite(studio.narrator(), phrases, voice, SampleRate::SPEECH)
    }

    #[tokio::test(start_paused = true)]
    async fn phrases_follow_one_another_and_one_is_always_ahead() {
        let studio = FakeStudio::default().taking(Duration::from_millis(50), Duration::from_millis(20));
        let mut reading = recital(&studio, &["one", "  ", "two", "three"]);
        let mut tags = Vec::new();
        while let Some(piece) = reading.next().await {
            let heard = (piece.unwrap().samples[0] * 32_768.0) as i16;
            if tags.last() != Some(&heard) {
                tags.push(heard);
                let asked = studio.asked().len();
                assert_eq!(asked, [2, 3, 3][tags.len() - 1], "phrases asked for at the {}th", tags.len());
            }
        }
        assert_eq!(tags, ["one", "two", "three"].map(tag));
        assert_eq!((studio.open(), studio.cancelled()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_error_ends_it_and_nothing_stays_open() {
        let studio = FakeStudio::new(|phrase| match phrase.spoken.as_str() {
            "bad" => Act::Fail(TtsError::Failed("as scripted".into())),
            _ => Act::Say,
        });
        let heard: Vec<_> = recital(&studio, &["good", "bad", "never"]).collect().await;
        assert_eq!(heard.last(), Some(&Err(TtsError::Failed("as scripted".into()))));
        assert_eq!(heard.iter().filter(|piece| piece.is_err()).count(), 1);
        let mut reading = recital(&studio, &["good", "more"]);
        assert!(reading.next().await.is_some());
        drop(reading);
        assert_eq!(studio.open(), 0);
    }
}
