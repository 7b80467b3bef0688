//! Where audio comes from: a file that is played at its own pace, or a program that records.
//!
//! A thread of its own reads, a few frames ahead at most, and everything leaves as frames of 40 ms.

use super::recorder;
use crate::audio::{AudioError, FileReader, Resampler, SampleRate};
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::load::Dictation;
use anyhow::{Context, anyhow};
use bytes::Bytes;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// How much is sent at once.
const FRAME: Duration = Duration::from_millis(40);

/// How many frames may be read before they are sent: ten seconds. When a server takes nothing for longer, the recorder
/// waits, and drops what does not fit into its own buffer.
const AHEAD: usize = 250;

/// Something that can be listened to.
pub(super) enum Sound {
    /// A recording.
    File(Box<FileReader>, PathBuf),
    /// A program that records, and what to call it.
    Recorder(Command, String),
}

impl Sound {
    /// A recording.
    pub(super) fn file(path: &Path) -> Result<Self, Failure> {
        let cannot = |why: String| {
            Failure::new(
                format!("cannot play {}: {why}", path.display()),
                "name an audio file, as in speech.wav, talk.mp3 or memo.m4a",
            )
        };
        let file = File::open(path).map_err(|error| cannot(error.to_string()))?;
        let extension = path.extension().and_then(|extension| extension.to_str());
        let reader = FileReader::open(file, extension).map_err(|error| cannot(error.to_string()))?;
        Ok(Self::File(Box::new(reader), path.to_owned()))
    }

    /// The microphone, by the first recorder that is installed.
    pub(super) fn microphone() -> Result<Self, Failure> {
        let Some((name, command)) = recorder::first_found() else {
            let hint = format!("install one of {}, or use --recorder or --file", recorder::packages());
            return Err(Failure::unavailable("there is no program here that records", hint));
        };
        Ok(Self::Recorder(command, name.to_owned()))
    }

    /// The microphone, by a command of the user's.
    pub(super) fn command(line: &str) -> Self {
        Self::Recorder(recorder::by_shell(line), line.to_owned())
    }

    /// Begins to read.
    ///
    /// # Errors
    ///
    /// The recorder could not be started.
    pub(super) fn start(self) -> anyhow::Result<Frames> {
        let (sink, source) = mpsc::channel(AHEAD);
        match self {
            Self::File(reader, path) => {
                thread::Builder::new().name("file".into()).spawn(move || play(*reader, &path, &sink))?;
                Ok(Frames { source, pace: Some((Instant::now(), 0)), given: 0, recorder: None })
            }
            Self::Recorder(command, name) => {
                let recorder = record(command, name, sink)?;
                Ok(Frames { source, pace: None, given: 0, recorder: Some(recorder) })
            }
        }
    }
}

type Sink = mpsc::Sender<anyhow::Result<Bytes>>;

/// Frames of audio, as they are spoken.
pub(super) struct Frames {
    source: mpsc::Receiver<anyhow::Result<Bytes>>,
    /// Since when frames are played, and how many were; a recorder keeps its own pace.
    pace: Option<(Instant, u32)>,
    /// How many bytes were given out.
    given: u64,
    /// Ended with this value.
    #[cfg_attr(not(test), expect(dead_code, reason = "it is kept for its destructor"))]
    recorder: Option<Running>,
}

impl Frames {
    /// The next frame; `None` when there is no more. An error is the last thing that is said.
    ///
    /// # Cancel safety
    ///
    /// At most one frame is lost when the future is dropped, which only happens when nobody wants more.
    pub(super) async fn next(&mut self) -> Option<anyhow::Result<Bytes>> {
        if let Some((began, played)) = &mut self.pace {
            // A frame is due when it has been spoken.
            let due = *began + FRAME * (*played + 1);
            sleep_until(due).await;
            *played += 1;
        }
        let frame = self.source.recv().await;
        if let Some(Ok(frame)) = &frame {
            self.given += frame.len() as u64;
        }
        frame
    }

    /// How much sound was given out.
    pub(super) fn position(&self) -> Duration {
        Duration::from_micros(self.given * 1_000_000 / (2 * u64::from(Dictation::rate().hertz())))
    }
}

/// Decodes a file to the end.
fn play(mut reader: FileReader, path: &Path, sink: &Sink) {
    if let Err(error) = decode(&mut reader, sink) {
        let error = anyhow!(error).context(format!("cannot read {}", path.display()));
        // Nobody waits for it any more, or it is told.
        let _ = sink.blocking_send(Err(error));
    } else if reader.truncated() {
        output::tell(&format!("warning: {} breaks off before its end", path.display()));
    }
}

fn decode(reader: &mut FileReader, sink: &Sink) -> Result<(), AudioError> {
    let mut resampler = Resampler::new(SampleRate::SPEECH, Dictation::rate());
    let (mut samples, mut pending) = (Vec::new(), Vec::new());
    while let Some(more) = reader.read()? {
        resampler.push(&more, &mut samples);
        pending.extend(samples.drain(..).flat_map(pcm16));
        if !send_whole(&mut pending, sink) {
            return Ok(());
        }
    }
    resampler.finish(&mut samples);
    pending.extend(samples.drain(..).flat_map(pcm16));
    if send_whole(&mut pending, sink) && !pending.is_empty() {
        let _ = sink.blocking_send(Ok(pending.into()));
    }
    Ok(())
}

/// Sends all frames that are complete. Tells whether anybody still wants them.
fn send_whole(pending: &mut Vec<u8>, sink: &Sink) -> bool {
    let whole = pending.len() / frame_bytes() * frame_bytes();
    let frames: Vec<u8> = pending.drain(..whole).collect();
    frames.chunks(frame_bytes()).all(|frame| sink.blocking_send(Ok(Bytes::copy_from_slice(frame))).is_ok())
}

fn pcm16(sample: f32) -> [u8; 2] {
    ((sample * 32_767.0).round() as i16).to_le_bytes()
}

fn frame_bytes() -> usize {
    2 * Dictation::rate().hertz() as usize * FRAME.as_millis() as usize / 1_000
}

/// A recorder; ended when dropped.
struct Running(Arc<Mutex<Child>>);

impl Drop for Running {
    fn drop(&mut self) {
        // It is locked by its reader only when it has closed its output, which is its end.
        if let Ok(mut child) = self.0.try_lock() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn record(mut command: Command, name: String, sink: Sink) -> anyhow::Result<Running> {
    let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = started.with_context(|| format!("cannot start {name}"))?;
    let stdout = child.stdout.take().expect("it is piped");
    let stderr = child.stderr.take().expect("it is piped");
    let complaints = thread::Builder::new().name("recorder-log".into()).spawn(|| last_line(stderr))?;
    let child = Arc::new(Mutex::new(child));
    let running = Running(Arc::clone(&child));
    thread::Builder::new().name("microphone".into()).spawn(move || {
        if pass_on(stdout, &sink).is_err() {
            return;
        }
        let ended = child.lock().map(|mut child| child.wait());
        let last = complaints.join().ok().flatten();
        if !matches!(ended, Ok(Ok(status)) if status.success()) {
            let why = last.unwrap_or_else(|| "it gave no reason".to_owned());
            let hint = "try the command by hand, or record with another one: --recorder";
            let _ =
                sink.blocking_send(Err(Failure::new(format!("{name} does not record: {why}"), hint).into()));
        }
    })?;
    Ok(running)
}

/// Nobody wants more.
struct Unwanted;

/// Sends what a recorder writes, to its end.
fn pass_on(mut recorded: impl Read, sink: &Sink) -> Result<(), Unwanted> {
    let mut frame = vec![0; frame_bytes()];
    loop {
        let filled = fill(&mut recorded, &mut frame);
        // Half a sample is none.
        let whole = Bytes::copy_from_slice(&frame[..filled / 2 * 2]);
        if !whole.is_empty() {
            sink.blocking_send(Ok(whole)).map_err(|_| Unwanted)?;
        }
        if filled < frame.len() {
            return Ok(());
        }
    }
}

/// Reads until `frame` is full or nothing more comes; gives how much was read.
fn fill(source: &mut impl Read, frame: &mut [u8]) -> usize {
    let mut filled = 0;
    while filled < frame.len() {
        match source.read(&mut frame[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    filled
}

fn last_line(stderr: ChildStderr) -> Option<String> {
    let lines = BufReader::new(stderr).lines().map_while(Result::ok);
    lines.map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).last()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of all frames, and how it ended.
    async fn recorded(line: &str) -> (Vec<Bytes>, Option<String>) {
        let mut frames = Sound::command(line).start().unwrap();
        let mut all = Vec::new();
        while let Some(frame) = frames.next().await {
            match frame {
                Ok(frame) => all.push(frame),
                Err(error) => return (all, Some(error.to_string())),
            }
        }
        (all, None)
    }

    #[tokio::test]
    async fn what_a_recorder_writes_comes_in_frames_and_whole() {
        let (frames, error) = recorded("head -c 5001 /dev/zero").await;
        let lengths: Vec<_> = frames.iter().map(Bytes::len).collect();
        assert_eq!((lengths, error), (vec![1_920, 1_920, 1_160], None));
    }

    #[tokio::test]
    async fn a_recorder_that_dies_is_told_with_its_last_words() {
        let (frames, error) = recorded("echo busy >&2; echo 'no such card' >&2; exit 3").await;
        assert!(frames.is_empty());
        let line = "echo busy >&2; echo 'no such card' >&2; exit 3 does not record: no such card";
        assert_eq!(error.as_deref(), Some(line));
    }

    #[tokio::test]
    async fn a_recorder_that_nobody_needs_any_more_is_ended() {
        let frames = Sound::command("exec cat /dev/zero").start().unwrap();
        let pid = frames.recorder.as_ref().unwrap().0.lock().unwrap().id();
        drop(frames);
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "{pid}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_is_played_at_its_own_pace() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings/eval/seen-voice-000.wav");
        let mut frames = Sound::file(&file).unwrap().start().unwrap();
        let began = Instant::now();
        let mut bytes = 0;
        while let Some(frame) = frames.next().await {
            bytes += frame.unwrap().len();
        }
        // All of it, at 24 instead of 16 kHz; that it is over shows one frame later.
        assert_eq!(bytes / 2, 47_164 * 3 / 2);
        assert_eq!(began.elapsed(), FRAME * 75);
        assert_eq!(frames.position(), Duration::from_micros(47_164 * 1_000_000 / 16_000));
    }

    #[test]
    fn what_is_no_audio_is_told_before_anybody_is_called() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let told = Sound::file(&file).err().unwrap();
        assert!(told.to_string().contains("Cargo.toml: "), "{told}");
    }
}
