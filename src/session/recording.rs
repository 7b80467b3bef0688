//! A recording: decoded, cut at silences, transcribed on as many slots as are free, told in order.
//!
//! Three stations work at once, each bounded: a blocking reader (a few chunks ahead), the frontend, and as many decodes
//! as the pool has slots. So memory does not grow with the length of the file.

use super::{Ear, EarInput, Frontend, FrontendError};
use crate::asr::{AsrError, DecodeOptions, EncoderWindow, Hypothesis, Lane, Timing};
use crate::audio::{AudioError, FileReader, SampleRate, Span, StreamFormat, Utterance, duration_of};
use crate::pool::Class;
use crate::telemetry::metrics;
use crate::vad::{EndpointEvent, EndpointSettings};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

/// Why a recording could not be transcribed (to its end).
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The file.
    #[error(transparent)]
    Audio(#[from] AudioError),
    /// The frontend.
    #[error(transparent)]
    Frontend(#[from] FrontendError),
    /// The recognizer.
    #[error(transparent)]
    Asr(#[from] AsrError),
    /// A defect of ours met something in the file.
    #[error("reading the recording ended in a defect of the server: {0}")]
    Defect(String),
}

impl RecordingError {
    /// The stable name of this error on the wire, in logs and in metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Audio(error) => error.code(),
            Self::Frontend(error) => error.code(),
            Self::Asr(error) => error.code(),
            Self::Defect(_) => "internal_error",
        }
    }
}

/// The text of one stretch of a recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Where it lies in the recording.
    pub span: Span,
    /// Its text.
    pub hypothesis: Hypothesis,
    /// What it took.
    pub timing: Timing,
}

/// How to cut a recording for a model.
///
/// Nobody waits for a recording's next word, so it gets at least half a second of pre-roll.
///
/// A window that fits its utterance is cheapest and most exact with one sentence in it, so every pause cuts. A full
/// window costs the same however little is in it, and gains from context, so only long pauses cut and the longest length
/// does the rest. That is what one window holds, because each utterance of a recording is decoded in one piece.
pub fn recording_endpoints(window: EncoderWindow, live: &EndpointSettings) -> EndpointSettings {
    let prefix = live.prefix.max(Duration::from_millis(500));
    let end_silence = match window {
        EncoderWindow::Fit => live.end_silence,
        EncoderWindow::Full => Duration::from_secs(2),
    };
    EndpointSettings { prefix, end_silence, longest: live.longest.min(LONGEST_PART), ..live.clone() }
}

/// No utterance of a recording gets longer: so much fits into the encoder's window of 30 s, with some to spare.
const LONGEST_PART: Duration = Duration::from_secs(28);

/// Recordings longer than this are batch work, which lets everybody else's finals pass.
const BATCH_FROM: Duration = Duration::from_secs(60);

/// Chunks of decoded audio (10 to 500 ms each) that the reader is ahead of the frontend.
const CHUNKS_AHEAD: usize = 8;

/// Finished parts that wait for whoever reads them; past that, decoding waits.
const PARTS_AHEAD: usize = 16;

/// A transcription in progress. Dropping it ends all its work.
#[derive(Debug)]
pub struct Recording {
    parts: mpsc::Receiver<Result<Part, RecordingError>>,
    progress: Arc<Progress>,
    /// Gone once it has ended.
    work: Option<AbortOnDropHandle<()>>,
}

#[derive(Debug, Default)]
struct Progress {
    samples_read: AtomicU64,
    truncated: AtomicBool,
}

impl Recording {
    /// Begins to transcribe. `wait` bounds how long the first slot may be waited for.
    ///
    /// Must be called on a tokio runtime.
    pub fn start(
        file: FileReader,
        frontend: &Frontend,
        lane: Lane,
        options: DecodeOptions,
        endpoint: EndpointSettings,
        wait: Option<Duration>,
    ) -> Self {
        // Also where a client has said how to cut.
        let endpoint = EndpointSettings { longest: endpoint.longest.min(LONGEST_PART), ..endpoint };
        let is_long = file.duration().is_some_and(|duration| duration > BATCH_FROM);
        let progress = Arc::<Progress>::default();
        let (tell, parts) = mpsc::channel(PARTS_AHEAD);
        let (chunks, reader) = read_ahead(file, Arc::clone(&progress));
        let pipeline = Pipeline {
            chunks,
            reader,
            frontend: frontend.clone(),
            ear: Some(Ear::new(StreamFormat::Pcm16 { rate: SampleRate::SPEECH }, endpoint)),
            decodes: Decodes { running: FuturesOrdered::new(), lane, options, is_long, first_deadline: wait },
            tell,
        };
        let work = AbortOnDropHandle::new(tokio::spawn(pipeline.run().in_current_span()));
        Self { parts, progress, work: Some(work) }
    }

    /// The next part in order of time, or `None` after the last.
    ///
    /// # Errors
    ///
    /// The first error ends the recording; parts before it have been told.
    ///
    /// # Cancel safety
    ///
    /// Dropping this future loses nothing.
    pub async fn next(&mut self) -> Option<Result<Part, RecordingError>> {
        match self.parts.recv().await {
            Some(part) => Some(part),
            None => self.end().await.err().map(Err),
        }
    }

    /// A pipeline that ended in a panic told less than there is to tell.
    async fn end(&mut self) -> Result<(), RecordingError> {
        let Some(work) = &mut self.work else { return Ok(()) };
        let end = work.await;
        self.work = None;
        end.map_err(|error| RecordingError::Defect(error.to_string()))
    }

    /// How much audio was read so far; all of it once `next` gave `None`.
    pub fn duration(&self) -> Duration {
        duration_of(self.progress.samples_read.load(Ordering::Relaxed))
    }

    /// Whether the file broke off before its time (known at its end).
    pub fn truncated(&self) -> bool {
        self.progress.truncated.load(Ordering::Relaxed)
    }
}

/// Reads the file on a blocking thread, which ends when the receiver is dropped.
fn read_ahead(mut file: FileReader, progress: Arc<Progress>) -> (mpsc::Receiver<Chunk>, JoinHandle<()>) {
    let (tell, chunks) = mpsc::channel(CHUNKS_AHEAD);
    let reader = tokio::task::spawn_blocking(move || {
        while let Some(chunk) = file.read().transpose() {
            let samples = chunk.as_ref().map_or(0, Vec::len);
            let failed = chunk.is_err();
            progress.samples_read.fetch_add(samples as u64, Ordering::Relaxed);
            if tell.blocking_send(chunk).is_err() || failed {
                return;
            }
        }
        progress.truncated.store(file.truncated(), Ordering::Relaxed);
    });
    (chunks, reader)
}

type Chunk = Result<Vec<f32>, AudioError>;

struct Pipeline {
    chunks: mpsc::Receiver<Chunk>,
    /// Fills `chunks`; if it panicked, they end too early.
    reader: JoinHandle<()>,
    frontend: Frontend,
    /// With the frontend while it hears.
    ear: Option<Ear>,
    decodes: Decodes,
    tell: mpsc::Sender<Result<Part, RecordingError>>,
}

impl Pipeline {
    async fn run(mut self) {
        if let Err(error) = self.transcribe().await {
            // Whoever asked may be gone; then nobody needs the error.
            let _ = self.tell.send(Err(error)).await;
        }
    }

    async fn transcribe(&mut self) -> Result<(), RecordingError> {
        let read = self.read().await;
        if read.is_ok() {
            self.hear(EarInput::Commit).await?;
        }
        while let Some(part) = self.decodes.next().await {
            tell(&self.tell, part?).await;
        }
        read
    }

    /// Hears the file to its end, and tells parts as they are ready.
    async fn read(&mut self) -> Result<(), RecordingError> {
        loop {
            tokio::select! {
                Some(part) = self.decodes.next() => tell(&self.tell, part?).await,
                chunk = self.chunks.recv() => match chunk {
                    Some(chunk) => self.hear(EarInput::Samples(chunk?)).await?,
                    None => break,
                },
            }
        }
        (&mut self.reader).await.map_err(|error| RecordingError::Defect(error.to_string()))
    }

    async fn hear(&mut self, input: EarInput) -> Result<(), RecordingError> {
        let ear = self.ear.take().expect("the ear is back when the frontend is not hearing");
        let (ear, events) = self.frontend.hear(ear, input).await?;
        self.ear = Some(ear);
        for event in events? {
            if let EndpointEvent::Utterance(utterance, _) = event {
                self.decode(utterance).await?;
            }
        }
        Ok(())
    }

    /// Starts a decode; while as many run as there are slots, waits for the oldest.
    async fn decode(&mut self, utterance: Utterance) -> Result<(), RecordingError> {
        while self.decodes.full() {
            match self.decodes.next().await {
                Some(part) => tell(&self.tell, part?).await,
                None => break,
            }
        }
        self.decodes.start(utterance);
        Ok(())
    }
}

async fn tell(listener: &mpsc::Sender<Result<Part, RecordingError>>, part: Part) {
    // The listener is gone only when the recording was dropped, and then this task is being aborted.
    let _ = listener.send(Ok(part)).await;
}

/// Decodes under way, answered in the order of their begin.
struct Decodes {
    lane: Lane,
    options: DecodeOptions,
    /// Whether the file says that it is long; one that does not say so is found out.
    is_long: bool,
    /// Taken by the first decode.
    first_deadline: Option<Duration>,
    running: FuturesOrdered<BoxFuture<'static, Result<Part, AsrError>>>,
}

impl Decodes {
    fn full(&self) -> bool {
        self.running.len() >= self.lane.slots().max(1)
    }

    async fn next(&mut self) -> Option<Result<Part, AsrError>> {
        self.running.next().await
    }

    fn start(&mut self, utterance: Utterance) {
        metrics::speech_heard(utterance.speech.duration());
        let (lane, options) = (self.lane.clone(), self.options.clone());
        self.is_long |= duration_of(utterance.span.end) > BATCH_FROM;
        let class = if self.is_long { Class::Batch } else { Class::Final };
        let deadline = self.first_deadline.take().map(|wait| Instant::now() + wait);
        let decode = async move {
            let span = utterance.span;
            let transcript = lane.transcribe(Arc::new(utterance), options, class, deadline).await?;
            Ok(Part { span, hypothesis: transcript.hypothesis, timing: transcript.timing })
        };
        // A task of its own, so that the decode goes on while the pipeline waits for the reader.
        let task = AbortOnDropHandle::new(tokio::spawn(decode.in_current_span()));
        self.running.push_back(Box::pin(async move {
            task.await.unwrap_or_else(|error| Err(AsrError::Decode(error.to_string())))
        }));
    }
}
