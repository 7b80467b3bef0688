//! The threads that decode, resample and listen for speech, for all sessions.
//!
//! A session's [`Ear`] travels to a thread together with each piece of input and comes back with what was heard. So a
//! session has at most one piece of work in the frontend (which is its backpressure), needs no lock, and is gone when
//! its task is gone. Frames of all ears that are at a thread at the same time go through the detector in one run; where
//! many sessions stream, pieces of input wait some milliseconds for each other, so that there are several.

mod ear;
mod gathering;
mod hush;
mod queue;
#[cfg(test)]
mod tests;
mod thread;

pub use ear::{Ear, EarInput};

use crate::audio::AudioError;
use crate::vad::{Detector, EndpointEvent, VadError};
use gathering::Gathering;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Builder;
use thread::{Job, Listener};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

/// Pieces of input that may wait for a thread. A thread takes in all of them between two frames, or some milliseconds
/// later, so they only pile up for a moment; when there is no room, [`Frontend::hear`] waits.
const QUEUED_JOBS: usize = 256;

/// Why the frontend gave nothing back.
#[derive(Debug, thiserror::Error)]
pub enum FrontendError {
    /// The detector failed.
    #[error(transparent)]
    Vad(#[from] VadError),
    /// The frontend's thread is gone: the server is stopping.
    #[error("the frontend has stopped")]
    Stopped,
}

impl FrontendError {
    /// The stable name of this error on the wire and in logs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Vad(error) => error.code(),
            Self::Stopped => "frontend_stopped",
        }
    }
}

/// A handle on the frontend threads. Clones share them; they end when the last clone is dropped.
#[derive(Clone)]
pub struct Frontend {
    threads: Arc<[Entrance]>,
    /// Counts jobs, which go to the threads in turn: an ear carries all it needs, so any thread will do.
    jobs: Arc<AtomicUsize>,
}

/// The way to a thread. Each job takes a place in the room, and leaves it when it is begun.
struct Entrance {
    jobs: queue::Sender<Job>,
    room: Arc<Semaphore>,
}

/// An ear that comes back, and what it heard.
type Heard = (Ear, Result<Vec<EndpointEvent>, AudioError>);

impl Frontend {
    /// Starts one thread (`frontend-N`) for each detector.
    ///
    /// # Panics
    ///
    /// When the operating system refuses a thread.
    pub fn start(detectors: Vec<Box<dyn Detector>>) -> Self {
        let epoch = Instant::now();
        let threads = detectors.into_iter().enumerate().map(|(index, detector)| {
            let (jobs, queue) = queue::queue();
            let listener = Listener::new(detector, queue, Gathering::new(epoch));
            let thread = Builder::new().name(format!("frontend-{index}")).spawn(|| listener.run());
            thread.expect("the operating system starts a thread");
            Entrance { jobs, room: Arc::new(Semaphore::new(QUEUED_JOBS)) }
        });
        Self { threads: threads.collect(), jobs: Arc::default() }
    }

    /// Lets `ear` hear `input`; gives the ear back with what happened.
    ///
    /// The ear comes back also when the bytes were not audio in its format; only a failed detector or a stopping server
    /// keeps it.
    ///
    /// # Errors
    ///
    /// [`FrontendError::Vad`] or [`FrontendError::Stopped`]; the inner result: [`AudioError::OddByteCount`].
    ///
    /// # Cancel safety
    ///
    /// Dropping this future loses the ear: only a session that ends may do it.
    pub async fn hear(&self, ear: Ear, input: EarInput) -> Result<Heard, FrontendError> {
        let (reply, answer) = oneshot::channel();
        let entrance = self.next_thread()?;
        let room = Arc::clone(&entrance.room).acquire_owned().await.map_err(|_| FrontendError::Stopped)?;
        let job = Job { ear, input, reply, room };
        let hurry = job.is_in_hurry();
        if !entrance.jobs.send(job, hurry) {
            return Err(FrontendError::Stopped);
        }
        answer.await.map_err(|_| FrontendError::Stopped)?
    }

    fn next_thread(&self) -> Result<&Entrance, FrontendError> {
        let turn = self.jobs.fetch_add(1, Ordering::Relaxed);
        let index = turn.checked_rem(self.threads.len()).ok_or(FrontendError::Stopped)?;
        Ok(&self.threads[index])
    }
}
