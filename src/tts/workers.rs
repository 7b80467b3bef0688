//! Threads `tts-N` that own blocking synthesizers, and the narrators that share them.
//!
//! It knows no engine: it takes turns between narrators, contains panics, converts rates and joins threads. What a
//! synthesizer is, its factory says.
//!
//! **How full things get.** A narrator's line holds a bounded number of phrases ([`WorkerSettings::phrases_ahead`], and
//! [`WorkerSettings::phrases_in_all`] for all lines together); past that [`Narrator::say`] answers [`TtsError::Saturated`]. The
//! way of a phrase's sound back to its listener has no bound of its own, so that a thread never waits for somebody who
//! does not read: what can stand in it is the sound of one phrase, and a phrase is at most [`LONGEST_PHRASE`] long.

#[cfg(test)]
mod tests;
mod thread;
mod turns;

use super::account::Account;
use super::voices::Voices;
use super::{Narrator, Phrase, Provider, Studio, Synthesizer, TtsError, Voice, WorkerSettings};
use crate::audio::{Pcm, SampleRate};
use crate::telemetry::metrics::Speaker;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
pub(super) use thread::Factory;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::Span;
use turns::{NarratorId, Turns};

/// Characters of the longest phrase that is said. Phrases are written far shorter; a row of digits becomes a long row of
/// words. Its sound has a bound of its own.
pub const LONGEST_PHRASE: usize = 4_000;

/// A phrase on its way to a thread, and its sound's way back.
struct Job {
    phrase: Phrase,
    voice: Voice,
    rate: SampleRate,
    cancel: CancellationToken,
    /// Unit: pieces of up to 40 ms. Bounded by the length of a phrase, see the head of this file.
    pieces: mpsc::UnboundedSender<Result<Pcm, TtsError>>,
    account: Account,
    span: Span,
}

/// The lines of all narrators that share threads.
struct Line {
    state: Mutex<LineState>,
    changed: Condvar,
    limits: WorkerSettings,
}

#[derive(Default)]
struct LineState {
    turns: Turns<Job>,
    closed: bool,
}

impl Line {
    fn new(limits: WorkerSettings) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), changed: Condvar::new(), limits })
    }

    fn lock(&self) -> MutexGuard<'_, LineState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a phrase in line; what nobody waits for any more makes room for it.
    fn push(&self, narrator: NarratorId, job: Job) -> Result<(), TtsError> {
        let mut state = self.lock();
        state.turns.retain(|job| !job.cancel.is_cancelled());
        if let Some(error) = self.refusal(&state, narrator) {
            job.account.close(&Err(error.clone()));
            return Err(error);
        }
        state.turns.push(narrator, job);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    fn refusal(&self, state: &LineState, narrator: NarratorId) -> Option<TtsError> {
        let own = (state.turns.len_of(narrator), self.limits.phrases_ahead);
        let all = (state.turns.len(), self.limits.phrases_in_all);
        if state.closed {
            return Some(TtsError::Closed);
        }
        let full = [own, all].into_iter().find(|(queued, limit)| queued >= limit);
        full.map(|(queued, limit)| TtsError::Saturated { queued, limit })
    }

    /// Blocks until there is something to say; `None` when there never will be.
    fn wait(&self) -> Option<(NarratorId, Job)> {
        let mut state = self.lock();
        loop {
            if let Some(next) = state.turns.next() {
                return Some(next);
            }
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn done(&self, narrator: NarratorId) {
        self.lock().turns.done(narrator);
        self.changed.notify_one();
    }

    /// Takes nothing more; what stands in line is still said.
    fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }
}

/// The threads of one engine, as a studio. Dropping it ends what they say and joins them.
pub(super) struct Workers {
    speaker: Speaker,
    voices: Voices,
    settings: WorkerSettings,
    factory: Arc<Factory>,
    /// On what the shared ones run, where there are any.
    provider: Option<Provider>,
    shared: Arc<Line>,
    /// Ends everything that is being said.
    ended: CancellationToken,
    threads: Mutex<Vec<(Arc<Line>, JoinHandle<()>)>>,
    narrators: AtomicU64,
}

impl Workers {
    /// Makes the synthesizers, and a thread for each. Blocks.
    ///
    /// # Errors
    ///
    /// The factory's, or [`TtsError::Failed`] when a thread cannot be started.
    pub(super) fn start(
        speaker: Speaker,
        voices: Voices,
        settings: WorkerSettings,
        factory: Arc<Factory>,
    ) -> Result<Self, TtsError> {
        let mut workers = Self {
            speaker,
            voices,
            settings,
            factory,
            provider: None,
            shared: Line::new(settings),
            ended: CancellationToken::new(),
            threads: Mutex::default(),
            narrators: AtomicU64::new(0),
        };
        let shared = if settings.dedicated { 0 } else { settings.threads.max(1) };
        for n in 0..shared {
            let synthesizer = (workers.factory)()?;
            workers.provider = Some(synthesizer.provider());
            workers.spawn(format!("tts-{n}"), Arc::clone(&workers.shared), Some(synthesizer))?;
        }
        Ok(workers)
    }

    fn spawn(
        &self,
        name: String,
        line: Arc<Line>,
        synthesizer: Option<Box<dyn Synthesizer>>,
    ) -> Result<(), TtsError> {
        let (own, factory) = (Arc::clone(&line), Arc::clone(&self.factory));
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(move || thread::work(&own, synthesizer, &factory))
            .map_err(|error| TtsError::Failed(format!("no thread: {error}")))?;
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        // Those of sessions that have gone.
        threads.retain(|(_, thread)| !thread.is_finished());
        threads.push((line, thread));
        Ok(())
    }

    /// A line and a thread for one narrator alone, which makes its synthesizer with its first phrase.
    fn dedicated(&self, id: NarratorId) -> Arc<Line> {
        let line = Line::new(self.settings);
        if self.spawn(format!("tts-{}", id.0), Arc::clone(&line), None).is_err() {
            line.close();
        }
        line
    }
}

impl Studio for Workers {
    fn narrator(&self) -> Arc<dyn Narrator> {
        let id = NarratorId(self.narrators.fetch_add(1, Ordering::Relaxed));
        let dedicated = self.settings.dedicated;
        let line = if dedicated { self.dedicated(id) } else { Arc::clone(&self.shared) };
        Arc::new(WorkerNarrator { id, line, dedicated, ended: self.ended.clone(), speaker: self.speaker })
    }

    fn engine(&self) -> &'static str {
        self.speaker.as_str()
    }

    fn voice(&self, name: &str) -> Result<String, TtsError> {
        self.voices.resolve(name)
    }

    fn default_voice(&self) -> &str {
        self.voices.default_voice()
    }

    fn provider(&self) -> Option<Provider> {
        self.provider
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for (line, _) in &threads {
            line.close();
            for job in line.lock().turns.clear() {
                // If nobody listens any more, nobody needs to know.
                drop(job.pieces.send(Err(TtsError::Closed)));
            }
        }
        // After that, so that no thread begins something else only to be told that it is over.
        self.ended.cancel();
        for (_, thread) in threads {
            // Panics are caught inside; nothing that the thread owned is missed.
            drop(thread.join());
        }
    }
}

/// One session's place among those who share the threads.
struct WorkerNarrator {
    id: NarratorId,
    line: Arc<Line>,
    dedicated: bool,
    ended: CancellationToken,
    speaker: Speaker,
}

impl Narrator for WorkerNarrator {
    fn say(
        &self,
        phrase: Phrase,
        voice: Voice,
        rate: SampleRate,
    ) -> BoxStream<'static, Result<Pcm, TtsError>> {
        if phrase.spoken.trim().is_empty() {
            return stream::empty().boxed();
        }
        let length = phrase.spoken.chars().count();
        if length > LONGEST_PHRASE {
            let reason = format!("it has {length} characters, {LONGEST_PHRASE} is the limit");
            return stream::iter([Err(TtsError::Failed(reason))]).boxed();
        }
        let (pieces, heard) = mpsc::unbounded_channel();
        let cancel = self.ended.child_token();
        let guard = cancel.clone().drop_guard();
        let account = Account::open(self.speaker);
        let job = Job { phrase, voice, rate, cancel, pieces, account, span: Span::current() };
        match self.line.push(self.id, job) {
            Ok(()) => stream::unfold((heard, guard), |(mut heard, guard)| async move {
                let piece = heard.recv().await?;
                Some((piece, (heard, guard)))
            })
            .boxed(),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }
}

impl Drop for WorkerNarrator {
    fn drop(&mut self) {
        if self.dedicated {
            self.line.close();
        }
    }
}
