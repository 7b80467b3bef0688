//! One person who is silent for long and says one recording at the end.

use super::{FRAME, PREFIX, encoded, frame_samples};
use crate::audio::duration_of;
use crate::load::board::Board;
use crate::load::clips::Clip;
use crate::load::pace::Pace;
use crate::load::protocol::{Dictation, DictationEvent, Disconnected, Final, Heard};
use crate::load::words::{word_errors, words};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// A recording in frames that are ready to be sent.
#[derive(Debug)]
pub(super) struct Script {
    frames: Vec<Bytes>,
    words: Vec<String>,
    /// Where its first speech is.
    speech: Duration,
}

impl Script {
    /// What is left of its last frame is silent.
    pub(super) fn of(clip: &Clip) -> Self {
        let frame = |samples: &[i16]| {
            let mut samples = samples.to_vec();
            samples.resize(frame_samples(), 0);
            encoded(&samples)
        };
        Self {
            frames: clip.samples.chunks(frame_samples()).map(frame).collect(),
            words: words(&clip.text),
            speech: clip.speech.first().map_or(Duration::ZERO, |first| duration_of(first.start)),
        }
    }
}

/// A person with its connection.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) session: Dictation,
    /// When its stream begins.
    pub(super) began: Instant,
    pub(super) silence: Arc<[Bytes]>,
    /// Which frame of the silence comes first.
    pub(super) first_frame: usize,
    /// How many frames of it come before the recording.
    pub(super) quiet_frames: usize,
    pub(super) script: Arc<Script>,
    /// How long the text may take.
    pub(super) patience: Duration,
    pub(super) board: Arc<Board>,
}

/// How it went for one person.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Outcome {
    /// Whether the text came.
    pub(super) answered: bool,
    /// Wrong words, and words said.
    pub(super) wrong: u64,
    pub(super) words: u64,
    /// By how many milliseconds the server heard the recording later than it was said; less than nothing when audio before
    /// it was lost.
    pub(super) late_ms: Option<i64>,
    /// How often the server took silence for speech.
    pub(super) phantoms: u64,
    /// Errors by code.
    pub(super) errors: Vec<String>,
}

impl Seat {
    /// Streams silence, says the recording, and waits for its text.
    pub(super) async fn sit(self, stop: CancellationToken) -> Outcome {
        let Self { session, began, silence, first_frame, quiet_frames, script, patience, board } = self;
        let _present = board.connected();
        let Dictation { mut sender, mut receiver } = session;
        let mut ear = Ear { script: &script, said_at: None, texts: Vec::new(), outcome: Outcome::default() };
        let last_frame = quiet_frames + script.frames.len() + frames_in(patience);
        let mut pace = Pace::new(began, FRAME);
        let mut speaking = None;
        for number in 0..last_frame {
            loop {
                tokio::select! {
                    biased;
                    heard = receiver.next() => match heard {
                        Ok(Some(told)) => ear.hear(&told.event, &board),
                        Ok(None) => return ear.lose("connection_lost", &board),
                        Err(Disconnected { code, .. }) => return ear.lose(&code, &board),
                    },
                    _ = pace.next_frame(&board.lag) => break,
                    () = stop.cancelled() => return ear.close(),
                }
            }
            if ear.outcome.answered {
                break;
            }
            let said = number.checked_sub(quiet_frames);
            if said == Some(0) {
                ear.said_at = Some(FRAME * number as u32);
                speaking = Some(board.speaking());
            }
            let frame = said.and_then(|said| script.frames.get(said));
            if said.is_some() && frame.is_none() {
                speaking = None;
            }
            let frame = frame.unwrap_or_else(|| &silence[(first_frame + number) % silence.len()]);
            let from = Instant::now();
            match timeout(patience, sender.send(frame.clone())).await {
                Ok(Ok(())) => pace.sent(from),
                Ok(Err(Disconnected { code, .. })) => return ear.lose(&code, &board),
                Err(_) => return ear.lose("stalled", &board),
            }
        }
        drop(speaking);
        sender.hang_up().await;
        ear.close()
    }
}

fn frames_in(duration: Duration) -> usize {
    duration.as_millis().div_ceil(FRAME.as_millis()) as usize
}

/// What a person hears.
struct Ear<'a> {
    script: &'a Script,
    /// Where in the stream its recording begins; `None` while it is silent.
    said_at: Option<Duration>,
    texts: Vec<String>,
    outcome: Outcome,
}

impl Ear<'_> {
    fn hear(&mut self, event: &DictationEvent, board: &Board) {
        match (event, self.said_at) {
            (DictationEvent::SpeechStarted { .. }, None) => self.outcome.phantoms += 1,
            (DictationEvent::SpeechStarted { at, .. }, Some(said_at)) => {
                let expected = (said_at + self.script.speech).saturating_sub(PREFIX);
                let late_ms = at.as_millis() as i64 - expected.as_millis() as i64;
                self.outcome.late_ms.get_or_insert(late_ms);
            }
            (DictationEvent::Final { text, .. }, Some(_)) if !words(text).is_empty() => {
                board.heard(&Heard::Final(Final::default()));
                self.texts.extend(words(text));
                self.outcome.answered = true;
            }
            (DictationEvent::Failed { code, .. } | DictationEvent::Trouble { code, .. }, _) => {
                board.error();
                self.outcome.errors.push(code.clone());
            }
            _ => {}
        }
    }

    fn lose(mut self, code: &str, board: &Board) -> Outcome {
        board.error();
        self.outcome.errors.push(code.to_owned());
        self.close()
    }

    fn close(self) -> Outcome {
        if !self.outcome.answered {
            return self.outcome;
        }
        let Script { words, .. } = self.script;
        let wrong = word_errors(words, &self.texts) as u64;
        Outcome { wrong, words: words.len() as u64, ..self.outcome }
    }
}
