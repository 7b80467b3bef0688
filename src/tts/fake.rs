//! A scripted studio for tests: its sound is a known function of the text, it takes time and fails when it is told to.

use super::{Narrator, Phrase, Studio, TtsError, Voice};
use crate::audio::{Pcm, SampleRate};
use futures_util::stream::BoxStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How much sound one piece has, the last of a phrase excepted.
const PIECE: Duration = Duration::from_millis(20);

/// The voices it knows.
const VOICES: [&str; 2] = ["fake", "other"];

/// The sample that everything said of this text consists of, in steps of 1/32768: 1000 to 30999, other for other texts
/// as good as always.
pub fn tag(spoken: &str) -> i16 {
    let hash =
        spoken.bytes().fold(0xcbf2_9ce4_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    1_000 + (hash % 30_000) as i16
}

/// What the fake does with one phrase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Says it.
    Say,
    /// Fails when the first piece is due.
    Fail(TtsError),
    /// Fails after that many pieces.
    FailAfter(usize, TtsError),
    /// Never gives any sound.
    Never,
}

/// A phrase that was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// By which narrator, counted from 0 in order of their making.
    pub narrator: usize,
    /// What.
    pub phrase: Phrase,
    /// In which voice.
    pub voice: Voice,
}

/// What happened so far.
#[derive(Debug, Default)]
struct Books {
    narrators: usize,
    asked: Vec<Asked>,
    open: usize,
    cancelled: usize,
}

type Script = dyn Fn(&Phrase) -> Act + Send + Sync;

/// Makes narrators that act out a script, in virtual time when tokio's clock is paused.
#[derive(Clone)]
pub struct FakeStudio {
    script: Arc<Script>,
    first_piece: Duration,
    each_piece: Duration,
    per_character: Duration,
    books: Arc<Mutex<Books>>,
}

impl Default for FakeStudio {
    fn default() -> Self {
        Self::new(|_| Act::Say)
    }
}

impl FakeStudio {
    /// A studio that asks `script` about every phrase; its sound comes at once, 10 ms for every character.
    pub fn new(script: impl Fn(&Phrase) -> Act + Send + Sync + 'static) -> Self {
        Self {
            script: Arc::new(script),
            first_piece: Duration::ZERO,
            each_piece: Duration::ZERO,
            per_character: Duration::from_millis(10),
            books: Arc::default(),
        }
    }

    /// The same studio, whose phrases begin to sound after so long, with so long from one 20 ms piece to the next.
    pub fn taking(self, first_piece: Duration, each_piece: Duration) -> Self {
        Self { first_piece, each_piece, ..self }
    }

    /// The same studio, which says every character for so long.
    pub fn per_character(self, per_character: Duration) -> Self {
        Self { per_character, ..self }
    }

    /// How long a phrase sounds.
    pub fn duration(&self, phrase: &Phrase, speed: f32) -> Duration {
        (self.per_character * phrase.spoken.chars().count() as u32).div_f32(speed)
    }

    /// Every phrase that was asked for, in that order.
    pub fn asked(&self) -> Vec<Asked> {
        self.books().asked.clone()
    }

    /// How many streams are open.
    pub fn open(&self) -> usize {
        self.books().open
    }

    /// How many streams were dropped before they came to their end.
    pub fn cancelled(&self) -> usize {
        self.books().cancelled
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Studio for FakeStudio {
    fn narrator(&self) -> Arc<dyn Narrator> {
        let mut books = self.books();
        let number = books.narrators;
        books.narrators += 1;
        drop(books);
        Arc::new(FakeNarrator { studio: self.clone(), number, busy_until: Arc::default() })
    }

    fn engine(&self) -> &'static str {
        "fake"
    }

    fn voice(&self, name: &str) -> Result<String, TtsError> {
        match name {
            "alloy" => Ok(VOICES[0].into()),
            name if VOICES.contains(&name) => Ok(name.into()),
            name => Err(TtsError::VoiceUnknown { name: name.into(), known: VOICES.join(", ") }),
        }
    }

    fn default_voice(&self) -> &str {
        VOICES[0]
    }
}

struct FakeNarrator {
    studio: FakeStudio,
    number: usize,
    /// When it will have said everything that it was asked for.
    busy_until: Arc<Mutex<Option<Instant>>>,
}

impl Narrator for FakeNarrator {
    fn say(
        &self,
        phrase: Phrase,
        voice: Voice,
        rate: SampleRate,
    ) -> BoxStream<'static, Result<Pcm, TtsError>> {
        let act = (self.studio.script)(&phrase);
        let pieces = pieces(self.studio.duration(&phrase, voice.speed), tag(&phrase.spoken), rate);
        let began = self.reserve(pieces.len());
        let mut books = self.studio.books();
        books.asked.push(Asked { narrator: self.number, phrase, voice });
        books.open += 1;
        drop(books);
        let mut open = Open {
            studio: self.studio.clone(),
            busy_until: Arc::clone(&self.busy_until),
            until: began + self.studio.each_piece * pieces.len() as u32,
            ended: false,
        };
        let each_piece = self.studio.each_piece;
        Box::pin(async_stream::stream! {
            for (n, piece) in pieces.into_iter().enumerate() {
                sleep_until(began + each_piece * n as u32).await;
                match &act {
                    Act::Never => std::future::pending().await,
                    Act::Fail(error) | Act::FailAfter(0, error) => {
                        open.end();
                        yield Err(error.clone());
                        return;
                    }
                    Act::FailAfter(after, error) if *after == n => {
                        open.end();
                        yield Err(error.clone());
                        return;
                    }
                    Act::Say | Act::FailAfter(..) => yield Ok(piece),
                }
            }
            open.end();
        })
    }
}

impl FakeNarrator {
    /// When the first piece of what is asked for now is due: what one narrator says, it says in order.
    fn reserve(&self, n_pieces: usize) -> Instant {
        let mut busy_until = self.busy_until.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let began = busy_until.map_or(now, |until| until.max(now)) + self.studio.first_piece;
        *busy_until = Some(began + self.studio.each_piece * n_pieces as u32);
        began
    }
}

/// A stream that was not dropped yet.
struct Open {
    studio: FakeStudio,
    busy_until: Arc<Mutex<Option<Instant>>>,
    until: Instant,
    ended: bool,
}

impl Open {
    fn end(&mut self) {
        self.ended = true;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut books = self.studio.books();
        books.open -= 1;
        if !self.ended {
            books.cancelled += 1;
            let mut busy_until = self.busy_until.lock().unwrap_or_else(PoisonError::into_inner);
            // Unless something was asked for behind it, the narrator is free from now on.
            if *busy_until == Some(self.until) {
                *busy_until = None;
            }
        }
    }
}

/// So much of the same sample, in pieces of 20 ms and a rest.
fn pieces(duration: Duration, tag: i16, rate: SampleRate) -> Vec<Pcm> {
    let samples_in = |time: Duration| (time.as_secs_f64() * f64::from(rate.hertz())).round() as usize;
    let all = vec![f32::from(tag) / 32_768.0; samples_in(duration)];
    all.chunks(samples_in(PIECE).max(1)).map(|samples| Pcm { samples: samples.to_vec(), rate }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt as _;

    const RATE: SampleRate = SampleRate::SPEECH;

    fn phrase(text: &str) -> Phrase {
        Phrase { text: text.into(), spoken: text.into() }
    }

    fn voice() -> Voice {
        Voice { name: "fake".into(), speed: 1.0 }
    }

    #[tokio::test(start_paused = true)]
    async fn what_it_says_is_told_by_the_text_alone_and_in_order() {
        let studio = FakeStudio::default().taking(Duration::from_millis(50), Duration::from_millis(5));
        let narrator = studio.narrator();
        let start = Instant::now();
        let streams = ["hello", "you"].map(|text| narrator.say(phrase(text), voice(), RATE));
        for (stream, (text, first_ms, n_samples)) in
            streams.into_iter().zip([("hello", 50, 800), ("you", 50 + 15 + 50, 480)])
        {
            let pieces: Vec<_> = stream.map(|piece| (start.elapsed(), piece.unwrap())).collect().await;
            assert_eq!(pieces[0].0, Duration::from_millis(first_ms), "{text}");
            let samples: Vec<f32> = pieces.into_iter().flat_map(|(_, piece)| piece.samples).collect();
            assert_eq!(samples, vec![f32::from(tag(text)) / 32_768.0; n_samples]);
        }
        assert_eq!((studio.open(), studio.cancelled(), studio.asked().len()), (0, 0, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn failures_come_when_they_are_told_to_and_a_dropped_stream_is_counted() {
        let lost = TtsError::Failed("as scripted".into());
        let error = lost.clone();
        let studio = FakeStudio::new(move |phrase| match phrase.spoken.as_str() {
            "bad" => Act::Fail(error.clone()),
            "half" => Act::FailAfter(1, error.clone()),
            "mute" => Act::Never,
            _ => Act::Say,
        });
        let narrator = studio.narrator();
        let say = |text: &str| narrator.say(phrase(text), voice(), RATE);
        assert_eq!(say("bad").collect::<Vec<_>>().await, [Err(lost.clone())]);
        let half: Vec<_> = say("half").collect().await;
        assert!(half.len() == 2 && half[0].is_ok() && half[1] == Err(lost), "{half:?}");
        let mut mute = say("mute");
        assert_eq!(studio.open(), 1);
        assert!(tokio::time::timeout(Duration::from_secs(60), mute.next()).await.is_err());
        drop(mute);
        assert_eq!((studio.open(), studio.cancelled()), (0, 1));
        assert!(say("").next().await.is_none());
    }
}
