//! One reply on its way: the language model writes, phrases are cut, a voice speaks them. A task of its own, which ends when
//! this is dropped, and with it the request upstream and the work of the voice.
//!
//! The model is read as fast as it writes, so that no request stays open for as long as it takes to say its answer. The
//! voice is at most [`AHEAD`] phrases ahead of what is sent: more would be thrown away by an interruption.
//!
//! One channel, of 64 [`Piece`]s; while it is full the task waits. Whoever takes them is expected to do so soon.

use crate::audio::{Pcm, SampleRate};
use crate::llm::{ChatModel, ChatRequest, Delta, Finish, LlmError, Usage};
use crate::tts::{Narrator, Phrase, Phraser, TtsError, Voice};
use futures_util::StreamExt;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, info_span};

/// Phrases that may be spoken and not yet sent.
const AHEAD: usize = 2;

/// Pieces that may wait.
const PIECES: usize = 64;

/// Phrases that may wait for the voice; as long as all do, the model is not read.
const PHRASES: usize = 1024;

/// The longest reply, in bytes of text: whoever writes more is cut off.
const LONGEST: usize = 64 * 1024;

/// A part of a reply, in order.
#[derive(Debug)]
pub(super) enum Piece {
    /// The model has begun to answer.
    FirstToken(Instant),
    /// The model writes something that will be spoken.
    Message,
    /// Text that is not spoken.
    Text(String),
    /// A phrase, whose sound follows.
    Phrase {
        /// As it was written.
        text: String,
        /// When it was whole.
        cut: Instant,
    },
    /// Sound of the phrase.
    Sound(Pcm),
    /// The phrase, or the rest of it, has no sound.
    Unsaid(TtsError),
    /// The phrase is over.
    PhraseEnd,
    /// The model calls a function.
    Call { index: u32, id: String, name: String },
    /// More of the arguments of a call.
    Arguments { index: u32, piece: String },
    /// The model has written all that it will, so that every call is whole. There may be more to be said.
    Written,
    /// Nothing follows.
    End(Result<(Finish, Option<Usage>), LlmError>),
}

/// Who speaks a reply, and how.
#[derive(Clone)]
pub(super) struct Speaking {
    pub(super) narrator: Arc<dyn Narrator>,
    pub(super) voice: Voice,
    pub(super) rate: SampleRate,
    /// Of the text, as an ISO 639-1 code.
    pub(super) language: Option<String>,
}

/// A reply on its way.
#[derive(Debug)]
pub(super) struct Reply {
    pieces: mpsc::Receiver<Piece>,
    has_ended: bool,
    ahead: Arc<Semaphore>,
    _task: AbortOnDropHandle<()>,
}

impl Reply {
    /// Asks for a reply; without somebody to speak it, it is text.
    pub(super) fn ask(model: &dyn ChatModel, request: ChatRequest, speaking: Option<Speaking>) -> Self {
        let deltas = model.reply(request);
        let (pieces, taken) = mpsc::channel(PIECES);
        let ahead = Arc::new(Semaphore::new(AHEAD));
        let writer = Writer { deltas, pieces: pieces.clone(), written: 0, has_begun: false, has_text: false };
        let permits = Arc::clone(&ahead);
        let run = async move {
            let end = match speaking {
                None => writer.write().await,
                Some(speaking) => {
                    let (to_voice, cut) = mpsc::channel(PHRASES);
                    let voice = speak(speaking.clone(), cut, permits, pieces.clone());
                    let phraser = Phraser::new(speaking.language.as_deref());
                    tokio::join!(writer.dictate(phraser, to_voice), voice).0
                }
            };
            let _ = pieces.send(Piece::End(end)).await;
        };
        let task = tokio::spawn(run.instrument(info_span!("llm.reply")));
        Self { pieces: taken, has_ended: false, ahead, _task: AbortOnDropHandle::new(task) }
    }

    /// The next piece; after the last, never one.
    ///
    /// # Cancel safety
    ///
    /// Dropping this future loses nothing.
    pub(super) async fn next(&mut self) -> Piece {
        if self.has_ended {
            return std::future::pending().await;
        }
        let broken = || LlmError::Client("the reply's task ended without a word".into());
        let piece = self.pieces.recv().await.unwrap_or_else(|| Piece::End(Err(broken())));
        self.has_ended = matches!(piece, Piece::End(_));
        piece
    }

    /// A phrase has been sent: another may be spoken.
    pub(super) fn phrase_sent(&self) {
        self.ahead.add_permits(1);
    }
}

type End = Result<(Finish, Option<Usage>), LlmError>;

/// Reads the model.
struct Writer {
    deltas: futures_util::stream::BoxStream<'static, Result<Delta, LlmError>>,
    pieces: mpsc::Sender<Piece>,
    written: usize,
    has_begun: bool,
    has_text: bool,
}

/// The next thing that the model has to say.
enum Written {
    Text(String),
    End(End),
}

impl Writer {
    /// The next text; everything else is passed on.
    async fn next(&mut self) -> Written {
        loop {
            let delta = match self.deltas.next().await {
                Some(Ok(delta)) => delta,
                Some(Err(error)) => return Written::End(Err(error)),
                None => return Written::End(Ok((Finish::Stop, None))),
            };
            if !self.has_begun {
                self.has_begun = true;
                self.pass(Piece::FirstToken(Instant::now())).await;
            }
            match delta {
                Delta::Text(text) => {
                    self.written += text.len();
                    return if self.written > LONGEST {
                        Written::End(Ok((Finish::Length, None)))
                    } else {
                        Written::Text(text)
                    };
                }
                Delta::Call { index, id, name } => self.pass(Piece::Call { index, id, name }).await,
                Delta::Arguments { index, piece } => self.pass(Piece::Arguments { index, piece }).await,
                Delta::End { finish, usage } => return Written::End(Ok((finish, usage))),
            }
        }
    }

    async fn write(mut self) -> End {
        loop {
            match self.next().await {
                Written::Text(text) => self.pass(Piece::Text(text)).await,
                Written::End(end) => return end,
            }
        }
    }

    /// Cuts phrases. What was written before the model failed is said all the same.
    async fn dictate(mut self, mut phraser: Phraser, to_voice: mpsc::Sender<(Phrase, Instant)>) -> End {
        loop {
            let (cut, end) = match self.next().await {
                Written::Text(text) => {
                    self.announce(&text).await;
                    (phraser.push(&text), None)
                }
                Written::End(end) => {
                    if end.is_ok() {
                        self.pass(Piece::Written).await;
                    }
                    (phraser.finish(), Some(end))
                }
            };
            for phrase in cut {
                let _ = to_voice.send((phrase, Instant::now())).await;
            }
            if let Some(end) = end {
                return end;
            }
        }
    }

    /// A message takes its place before calls that follow it, long before its first phrase is whole.
    async fn announce(&mut self, text: &str) {
        if !self.has_text && !text.trim().is_empty() {
            self.has_text = true;
            self.pass(Piece::Message).await;
        }
    }

    async fn pass(&mut self, piece: Piece) {
        // When nobody takes pieces any more, this task ends anyway.
        let _ = self.pieces.send(piece).await;
    }
}

/// Speaks phrase after phrase.
async fn speak(
    speaking: Speaking,
    mut phrases: mpsc::Receiver<(Phrase, Instant)>,
    ahead: Arc<Semaphore>,
    pieces: mpsc::Sender<Piece>,
) {
    while let Some((phrase, cut)) = phrases.recv().await {
        ahead.acquire().await.expect("nobody closes it").forget();
        let silent = phrase.spoken.trim().is_empty();
        let _ = pieces.send(Piece::Phrase { text: phrase.text.clone(), cut }).await;
        if !silent {
            say(&speaking, phrase, &pieces).await;
        }
        let _ = pieces.send(Piece::PhraseEnd).await;
    }
}

async fn say(speaker: &Speaking, phrase: Phrase, pieces: &mpsc::Sender<Piece>) {
    let span = info_span!("tts.phrase");
    let mut sound = speaker.narrator.say(phrase, speaker.voice.clone(), speaker.rate);
    let saying = async {
        while let Some(chunk) = sound.next().await {
            let piece = match chunk {
                Ok(pcm) => Piece::Sound(pcm),
                Err(error) => Piece::Unsaid(error),
            };
            let _ = pieces.send(piece).await;
        }
    };
    saying.instrument(span).await;
}
