//! One frontend thread: it owns a detector and steps all ears that are with it frame by frame, side by side.
//!
//! An ear with an hour of audio and one with 20 ms take turns, so nobody waits for anybody's input to end; ears that
//! arrive join in between two steps, as soon as [`Gathering`] lets them. What panics or fails for one ear is told to that ear's session alone.

use super::gathering::Gathering;
use super::queue::{Receiver, Wait};
use super::{Ear, EarInput, FrontendError, Heard};
use crate::audio::AudioError;
use crate::vad::{Detector, EndpointEvent, VadError};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;
use tracing::warn;

/// Frames that go through the detector in one run at most; more do not make it cheaper per frame.
const BATCH: usize = 32;

/// Bytes decoded at a time, so that a session with a huge chunk does not keep the others waiting. Even, so that no
/// 16-bit sample is halved.
const SLICE: usize = 4 * 1024;

/// Frames without any sound that an ear may pass over before it is somebody else's turn.
const DULL_FRAMES: usize = 64;

type Reply = oneshot::Sender<Result<Heard, FrontendError>>;

/// An ear, something for it to hear, and where to send it back.
pub(super) struct Job {
    pub(super) ear: Ear,
    pub(super) input: EarInput,
    pub(super) reply: Reply,
    /// A place among those that wait for the thread.
    pub(super) room: OwnedSemaphorePermit,
}

impl Job {
    /// Pieces of a live stream can wait a few milliseconds. Whoever commits or reads a file waits for the answer itself.
    pub(super) fn is_in_hurry(&self) -> bool {
        !matches!(self.input, EarInput::Bytes(_))
    }
}

/// A thread's work.
pub(super) struct Listener {
    detector: Box<dyn Detector>,
    jobs: Receiver<Job>,
    gathering: Gathering,
    /// Those that came and wait for others, which takes no longer than `gathering` says.
    gathered: Vec<Job>,
    /// Those with a frame for the detector, the one that waits longest in front. No bound of its own: each session has at
    /// most one task, and the samples are its own.
    tasks: VecDeque<Task>,
}

impl Listener {
    pub(super) fn new(detector: Box<dyn Detector>, jobs: Receiver<Job>, gathering: Gathering) -> Self {
        Self { detector, jobs, gathering, gathered: Vec::new(), tasks: VecDeque::new() }
    }

    /// Works until nobody can send any more and all is done.
    pub(super) fn run(mut self) {
        while self.take_in() {
            self.step();
        }
    }

    /// Takes in all that is queued, and begins it when it is time; waits when there is nothing else to do. `false` when
    /// nothing will come any more and all is done.
    fn take_in(&mut self) -> bool {
        loop {
            let more_may_come = self.gather();
            let is_time = self.gathering.due().is_some_and(|due| due <= Instant::now());
            if is_time || !more_may_come {
                self.begin_gathered();
                return more_may_come || !self.tasks.is_empty();
            }
            if !self.tasks.is_empty() {
                return true;
            }
        }
    }

    /// Puts what has come to what was gathered; waits for it while nobody's frame waits. `false` when nothing will come
    /// any more.
    fn gather(&mut self) -> bool {
        let wait = match self.gathering.due() {
            _ if !self.tasks.is_empty() => Wait::No,
            Some(due) => Wait::Until(due, self.gathering.lacking()),
            None => Wait::ForAny,
        };
        let Some(jobs) = self.jobs.take(wait) else { return false };
        let now = Instant::now();
        for mut job in jobs {
            let hurry = job.is_in_hurry();
            self.gathering.arrive(now, &mut job.ear.counted_in, hurry);
            self.gathered.push(job);
        }
        true
    }

    fn begin_gathered(&mut self) {
        self.gathering.begin();
        for job in std::mem::take(&mut self.gathered) {
            self.begin(job);
        }
    }

    fn begin(&mut self, Job { ear, input, reply, room }: Job) {
        drop(room);
        let mut task = Task { ear, bytes: Vec::new(), decoded: 0, commit: false, events: Vec::new(), reply };
        match contain(|| task.take(input)) {
            Ok(Ok(())) => self.go_on(task),
            Ok(Err(refused)) => task.answer(Err(refused)),
            Err(error) => task.fail(error),
        }
    }

    /// One frame of as many ears as go into one run.
    fn step(&mut self) {
        let mut batch = self.next_batch();
        if batch.is_empty() {
            return;
        }
        let probabilities = self.listen(&mut batch);
        for (mut task, probability) in batch.into_iter().zip(probabilities) {
            match probability.and_then(|probability| contain(|| task.hear(probability))) {
                Ok(()) => self.go_on(task),
                Err(error) => task.fail(error),
            }
        }
    }

    /// Takes those out of the line whose turn it is. Who needs no detector goes on without it.
    fn next_batch(&mut self) -> Vec<Task> {
        let mut batch = Vec::with_capacity(self.tasks.len().min(BATCH));
        for _ in 0..self.tasks.len() {
            let Some(mut task) = self.tasks.pop_front() else { break };
            if task.ear.is_dull() {
                self.go_on(task);
            } else {
                batch.push(task);
            }
            if batch.len() == BATCH {
                break;
            }
        }
        batch
    }

    /// How likely each task's frame is speech. When they fail together each is tried alone, so that only those that are
    /// to blame bear it.
    fn listen(&mut self, batch: &mut [Task]) -> Vec<Result<f32, VadError>> {
        let mut heard = vec![0.0; batch.len()];
        let mut steps: Vec<_> = batch.iter_mut().filter_map(|task| task.ear.frame()).collect();
        match contain(|| self.detector.probabilities(&mut steps, &mut heard)).flatten() {
            Ok(()) => heard.into_iter().map(Ok).collect(),
            Err(error) if batch.len() == 1 => vec![Err(error)],
            Err(error) => {
                warn!(%error, frames = batch.len(), "frames failed together and are tried one by one");
                batch.chunks_mut(1).flat_map(|one| self.listen(one)).collect()
            }
        }
    }

    /// Puts a task in line for its next frame, or ends it. One that nobody waits for is dropped.
    fn go_on(&mut self, mut task: Task) {
        if task.reply.is_closed() {
            return;
        }
        match contain(|| task.prepare()) {
            Ok(Ok(true)) => self.tasks.push_back(task),
            Ok(Ok(false)) => task.answer(Ok(())),
            Ok(Err(refused)) => task.answer(Err(refused)),
            Err(error) => task.fail(error),
        }
    }
}

/// A job on its way through the thread.
struct Task {
    ear: Ear,
    /// Input in the ear's format, and how much of it has been decoded.
    bytes: Vec<u8>,
    decoded: usize,
    /// Cut when all frames have been heard.
    commit: bool,
    events: Vec<EndpointEvent>,
    reply: Reply,
}

impl Task {
    /// Does what needs no detector.
    fn take(&mut self, input: EarInput) -> Result<(), AudioError> {
        match input {
            EarInput::Bytes(bytes) => {
                self.ear.check(&bytes)?;
                self.bytes = bytes;
            }
            EarInput::Samples(samples) => self.ear.extend(&samples),
            EarInput::Commit if self.ear.can_commit() => {
                self.ear.flush();
                self.commit = true;
            }
            EarInput::Commit => {}
            EarInput::CommitSilence => self.ear.commit_silence(&mut self.events),
            EarInput::Clear => self.ear.clear(),
        }
        Ok(())
    }

    /// Sees to it that a frame waits for the detector; `false` when there is none any more, and all is done. Frames that
    /// need no detector are passed over; after many of them the next waits like others, until it is the ear's turn.
    fn prepare(&mut self) -> Result<bool, AudioError> {
        let mut n_dull = 0;
        while self.has_frame()? {
            if n_dull == DULL_FRAMES || !self.ear.is_dull() {
                return Ok(true);
            }
            self.ear.pass_over(&mut self.events);
            n_dull += 1;
        }
        if self.commit {
            self.ear.commit(&mut self.events);
        }
        Ok(false)
    }

    /// Whether there is a frame, once all is decoded that has to be for it.
    fn has_frame(&mut self) -> Result<bool, AudioError> {
        while !self.ear.has_frame() && self.decoded < self.bytes.len() {
            let end = self.bytes.len().min(self.decoded + SLICE);
            self.ear.decode(&self.bytes[self.decoded..end])?;
            self.decoded = end;
        }
        Ok(self.ear.has_frame())
    }

    fn hear(&mut self, probability: f32) {
        self.ear.hear(probability, &mut self.events);
    }

    /// Sends the ear home. A session that is gone loses it, which is what it wanted.
    fn answer(mut self, outcome: Result<(), AudioError>) {
        self.ear.rest();
        let heard = outcome.map(|()| self.events);
        let _ = self.reply.send(Ok((self.ear, heard)));
    }

    /// The ear is of no use any more.
    fn fail(self, error: VadError) {
        let _ = self.reply.send(Err(error.into()));
    }
}

/// Runs `work`; a panic in it becomes an error like others, because the thread serves other sessions too.
fn contain<T>(work: impl FnOnce() -> T) -> Result<T, VadError> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let message = panic.downcast_ref::<&str>().map(ToString::to_string);
        let message = message.or_else(|| panic.downcast_ref::<String>().cloned());
        VadError::Run(format!("panicked: {}", message.unwrap_or_default()))
    })
}
