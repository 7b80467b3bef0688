//! Many people who are connected and say nothing: what they cost a server, and whether it loses any of their audio.
//!
//! Each streams silence in real time, in binary frames of 100 ms, and says one recording at the end. That its text comes,
//! and that the server heard it where it was said in the stream, shows that nothing before it was lost.

mod report;
mod seat;

pub use report::IdleReport;

use super::board::{Board, Progress};
use super::clips::Clip;
use super::descriptors::descriptors_for;
use super::protocol::{ConnectError, Dictation, DictationSettings, Target};
use super::run::LoadError;
use super::server_watch::{ServerWatch, Usage};
use super::turns::chance::Chance;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::join;
use futures_util::stream::iter;
use seat::{Outcome, Script, Seat};
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

/// How much is sent at once.
const FRAME: Duration = Duration::from_millis(100);

/// Asked of the server, so that it is known where an utterance begins.
const PREFIX: Duration = Duration::from_millis(300);

/// So many connect at the same time.
const ARRIVING: usize = 32;

/// What the first frames cost (buffers that are made, caches that are filled) is not what silence costs.
const SETTLING: Duration = Duration::from_secs(1);

/// At the end one person after the other speaks, ten in a second: how fast a server reads is not what is asked here.
const BETWEEN_SPEAKERS: Duration = Duration::from_millis(100);

/// How long a text may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How loud a quiet room is: −60 dB of full scale.
const ROOM: f64 = 32_768.0 / 1_000.0;

/// So many frames of it are different; then they come again.
const ROOM_FRAMES: usize = 50;

/// How silent the silence is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Silence {
    /// Zeros, as from a microphone that is muted.
    #[default]
    Digital,
    /// White noise at −60 dB of full scale, as from one in a quiet room.
    Room,
}

impl Silence {
    /// As in `--noise`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Digital => "digital",
            Self::Room => "room",
        }
    }

    /// Frames of it, to be sent one after the other, again and again.
    fn frames(self) -> Vec<Bytes> {
        let samples = frame_samples();
        match self {
            Self::Digital => vec![encoded(&vec![0; samples])],
            Self::Room => {
                let mut chance = Chance::of_person(1, 0);
                let mut frame = || (0..samples).map(|_| (ROOM * chance.normal()) as i16).collect::<Vec<_>>();
                (0..ROOM_FRAMES).map(|_| encoded(&frame())).collect()
            }
        }
    }
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How many sit there, and for how long.
#[derive(Debug, Clone)]
pub struct IdleSettings {
    /// The server, and as whom to come.
    pub target: Target,
    /// How many people are connected, 1 or more.
    pub clients: u32,
    /// How long all of them are silent.
    pub duration: Duration,
    /// How silent.
    pub silence: Silence,
}

/// Lets people be silent, and says what that cost. `clips` are at [`Dictation::rate`]; the shortest ones with text are said.
///
/// # Errors
///
/// [`LoadError`] when it could not even begin. Who cannot get in later is told in the report.
///
/// # Cancel safety
///
/// Dropping the future ends all connections.
pub async fn idle(
    settings: &IdleSettings,
    clips: &[Arc<Clip>],
    progress: &(dyn Fn(Progress) + Sync),
    stop: &CancellationToken,
) -> Result<IdleReport, LoadError> {
    let scripts = scripts(clips);
    if scripts.is_empty() {
        return Err(LoadError::NothingToSay);
    }
    descriptors_for(settings.clients)?;
    let watch = ServerWatch::of(&settings.target.url).with_key(settings.target.key.clone());
    let before = watch.usage();
    let board = Arc::new(Board::new());
    let work = async {
        let (sessions, turned_away) = tokio::select! {
            arrived = arrive(settings) => arrived?,
            () = stop.cancelled() => return Err(LoadError::Stopped),
        };
        let connected = sessions.len() as u32;
        let began = Instant::now() + FRAME;
        let seats = seats(settings, sessions, &scripts, &board, began);
        let (used, outcomes) = join(observe(&watch, began, settings.duration), sit(seats, stop)).await;
        Ok(IdleReport::of(settings, connected, before, used, &outcomes, &turned_away, board.lag.p99()))
    };
    let report = Box::pin(while_telling(&board, progress, work)).await?;
    Ok(IdleReport { interrupted: stop.is_cancelled(), ..report })
}

async fn while_telling<T>(
    board: &Board,
    progress: &(dyn Fn(Progress) + Sync),
    work: impl Future<Output = T>,
) -> T {
    let mut work = pin!(work);
    let mut tick = interval(Duration::from_millis(500));
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = tick.tick() => progress(board.progress()),
        }
    }
}

/// Everybody who gets in, and why others do not. If nobody does, that is the error.
async fn arrive(settings: &IdleSettings) -> Result<(Vec<Dictation>, Vec<ConnectError>), LoadError> {
    let visit = DictationSettings {
        target: settings.target.clone(),
        prefix: Some(PREFIX),
        ..DictationSettings::default()
    };
    // One first: a server that is not there is called once.
    let mut sessions = vec![visit.connect().await?];
    let mut arriving = iter(1..settings.clients).map(|_| visit.connect()).buffer_unordered(ARRIVING);
    let mut turned_away = Vec::new();
    while let Some(arrived) = arriving.next().await {
        match arrived {
            Ok(session) => sessions.push(session),
            Err(error) => turned_away.push(error),
        }
    }
    Ok((sessions, turned_away))
}

/// What the server uses at the beginning and at the end of the silence.
async fn observe(
    watch: &ServerWatch,
    began: Instant,
    duration: Duration,
) -> Option<(Usage, Usage, Duration)> {
    let from = began + SETTLING.min(duration / 2);
    let to = began + duration;
    sleep_until(from).await;
    let first = watch.usage();
    sleep_until(to).await;
    Some((first?, watch.usage()?, to - from))
}

fn seats(
    settings: &IdleSettings,
    sessions: Vec<Dictation>,
    scripts: &[Arc<Script>],
    board: &Arc<Board>,
    began: Instant,
) -> Vec<Seat> {
    let silence: Arc<[Bytes]> = settings.silence.frames().into();
    let apart = FRAME / sessions.len().max(1) as u32;
    let seat = |(number, session): (usize, Dictation)| {
        let turn = settings.duration + BETWEEN_SPEAKERS * number as u32;
        Seat {
            session,
            // Evenly over a frame, so that the generator and the server have as much to do at all times.
            began: began + apart * number as u32,
            silence: Arc::clone(&silence),
            first_frame: number,
            quiet_frames: turn.as_millis().div_ceil(FRAME.as_millis()) as usize,
            script: Arc::clone(&scripts[number % scripts.len()]),
            patience: PATIENCE,
            board: Arc::clone(board),
        }
    };
    sessions.into_iter().enumerate().map(seat).collect()
}

async fn sit(seats: Vec<Seat>, stop: &CancellationToken) -> Vec<Outcome> {
    let mut sitting = JoinSet::new();
    for seat in seats {
        sitting.spawn(seat.sit(stop.clone()));
    }
    let mut outcomes = Vec::new();
    while let Some(outcome) = sitting.join_next().await {
        outcomes.push(outcome.expect("people do not panic"));
    }
    outcomes
}

/// How many recordings are said: a few short ones.
const SCRIPTS: usize = 8;

/// The shortest recordings with text that are one stretch of speech; the shortest of all where none is.
fn scripts(clips: &[Arc<Clip>]) -> Vec<Arc<Script>> {
    let mut spoken: Vec<_> =
        clips.iter().filter(|clip| !clip.text.is_empty() && !clip.speech.is_empty()).collect();
    spoken.sort_by_key(|clip| (clip.speech.len(), clip.samples.len()));
    spoken.into_iter().take(SCRIPTS).map(|clip| Arc::new(Script::of(clip))).collect()
}

fn frame_samples() -> usize {
    Dictation::rate().hertz() as usize * FRAME.as_millis() as usize / 1_000
}

/// 16-bit samples as bytes, low byte first.
fn encoded(samples: &[i16]) -> Bytes {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests;
