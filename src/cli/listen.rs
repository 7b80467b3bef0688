//! `stenopool listen`: a microphone, or a recording at its own pace, into the terminal by way of a running server.

mod backoff;
mod open_items;
pub(in crate::cli) mod recorder;
mod screen;
mod sound;
mod terminal;

use super::failure::Failure;
use super::output;
use super::signals::on_first_signal;
use crate::load::{
    ConnectError, Dictation, DictationEvent, DictationReceiver, DictationSender, DictationSettings,
    Disconnected, Target, Told,
};
use crate::pool::LeaseScope;
use backoff::Backoff;
use clap::Args;
use open_items::OpenItems;
use screen::{Piece, Screen};
use sound::{Frames, Sound};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;
use terminal::Resizes;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

const EXAMPLES: &str = "\
Examples:
  stenopool serve &
  stenopool listen                                 what the microphone hears; Ctrl-C ends it
  stenopool listen --file talk.m4a                 a recording, as fast as it was spoken
  stenopool listen --file talk.m4a > talk.txt      one line for each utterance, nothing else
  stenopool listen --json | jq -r 'select(.type == \"pool.queue.updated\")'
  stenopool listen --recorder 'arecord -q -D hw:1 -t raw -f S16_LE -r 24000 -c 1'

On a terminal, words that are being spoken appear in grey, and each utterance stands on a line of its own with its time when it is
final. NO_COLOR leaves only those lines.

The first of pw-record, parecord, arecord, rec (sox) and ffmpeg that is installed records. --recorder takes any command that writes
16-bit mono samples at 24 kHz, low byte first, to its standard output, and nothing else.

When the connection is lost, it is tried again for two minutes, and what is said meanwhile is sent then, ten seconds of it at most
from a microphone. What was being said when it was lost has no text.

Ctrl-C ends what is being said, waits for its text and leaves; a second one leaves at once.";

/// How long a text may take after the one before it, when nothing more is said.
const PATIENCE: Duration = Duration::from_secs(30);

/// The same for somebody who pressed Ctrl-C.
const HURRY: Duration = Duration::from_secs(10);

/// How long we look for the server's last word when it takes nothing any more.
const LAST_WORD: Duration = Duration::from_secs(1);

/// For how long a lost connection is tried again: a server that has crashed may have a large model to load.
const PERSISTENCE: Duration = Duration::from_secs(120);

/// Transcribes what the microphone hears while it is spoken, by way of a running server.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ListenCommand {
    /// Play a recording in real time instead of listening to the microphone
    #[arg(long, value_name = "FILE", conflicts_with = "recorder")]
    file: Option<PathBuf>,
    /// The server
    #[arg(long, value_name = "URL", env = "STENOPOOL_URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// The key to come with
    #[arg(long, value_name = "KEY", env = "STENOPOOL_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
    /// The model to ask for [default: what the server has]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Language that is spoken, as in en [default: the server finds out, if its model can]
    #[arg(long, value_name = "LANGUAGE", env = "STENOPOOL_LANGUAGE")]
    language: Option<String>,
    /// Text that came before, or names and words that may occur: it steers spelling and style
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,
    /// How long to keep a slot of the server: for an utterance, or for the whole session [default: what the server does]
    #[arg(long, value_name = "utterance|session", value_parser = lease)]
    lease: Option<LeaseScope>,
    /// A command that records, instead of the first one that is found
    #[arg(long, value_name = "COMMAND", env = "STENOPOOL_RECORDER")]
    recorder: Option<String>,
    /// Print the server's events, one JSON object on each line
    #[arg(long)]
    json: bool,
}

fn lease(text: &str) -> Result<LeaseScope, String> {
    match text {
        "utterance" => Ok(LeaseScope::Utterance),
        "session" => Ok(LeaseScope::Session),
        _ => Err("expected utterance or session".into()),
    }
}

impl ListenCommand {
    /// Shows texts until the recording or the user has come to an end.
    ///
    /// # Errors
    ///
    /// When there is nothing to record with, no server, or the connection was lost.
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let sound = self.sound()?;
        let stop = CancellationToken::new();
        let told = stop.clone();
        on_first_signal(move || told.cancel())?;
        let settings = self.settings();
        let dictation = tokio::select! {
            dictation = settings.connect() => dictation.map_err(in_words)?,
            () = stop.cancelled() => return Ok(ExitCode::SUCCESS),
        };
        let Dictation { sender, receiver } = dictation;
        let mut frames = sound.start()?;
        let mut reading = Reading::new(receiver, Display::new(self.json));
        let outcome = reading.through(&settings, sender, &mut frames, &stop).await;
        reading.display.close()?;
        outcome?;
        let failed = reading.failures > 0 && !stop.is_cancelled();
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    fn sound(&self) -> Result<Sound, Failure> {
        match (&self.file, &self.recorder) {
            (Some(file), _) => Sound::file(file),
            (None, Some(command)) => Ok(Sound::command(command)),
            (None, None) => Sound::microphone(),
        }
    }

    fn settings(&self) -> DictationSettings {
        DictationSettings {
            target: Target {
                url: self.url.clone(),
                key: self.api_key.clone(),
                model: self.model.clone(),
                language: self.language.clone(),
                conversation: false,
            },
            prompt: self.prompt.clone(),
            lease: self.lease,
            prefix: None,
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is handed to `map_err`")]
fn in_words(error: ConnectError) -> Failure {
    let hint = match error {
        ConnectError::Unreachable { .. } => "start one with `stenopool serve`, or name another with --url",
        ConnectError::WrongProtocol { .. } => "name a server with OpenAI's Realtime protocol with --url",
        _ => error.hint(),
    };
    Failure::new(error.to_string(), hint)
}

/// What is left when everything has been said.
struct Spoken {
    sender: DictationSender,
    /// Why it ended before its time.
    broke: Option<anyhow::Error>,
}

/// Sends all frames, until there are no more or somebody stops it, and says that this is the end.
async fn speak(
    mut sender: DictationSender,
    frames: &mut Frames,
    stop: CancellationToken,
) -> Result<Spoken, Disconnected> {
    let mut broke = None;
    loop {
        let frame = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            frame = frames.next() => frame,
        };
        match frame {
            Some(Ok(frame)) => sender.send(frame).await?,
            Some(Err(error)) => broke = Some(error),
            None => break,
        }
    }
    sender.finish().await?;
    Ok(Spoken { sender, broke })
}

/// Where events go.
struct Display {
    /// None where the events themselves are wanted.
    screen: Option<Screen>,
}

impl Display {
    fn new(json: bool) -> Self {
        let look = terminal::look(std::io::stdout().is_terminal());
        Self { screen: (!json).then(|| Screen::new(look, terminal::width())) }
    }

    fn is_json(&self) -> bool {
        self.screen.is_none()
    }

    fn show(&mut self, told: &Told) -> anyhow::Result<()> {
        match &mut self.screen {
            Some(screen) => put(screen.show(&told.event)),
            None => output::print(&format!("{}\n", told.json)),
        }
    }

    /// Tells of something that did not come from the server.
    fn tell(&mut self, event: &DictationEvent) -> anyhow::Result<()> {
        // Who asked for the server's events gets no others.
        self.screen.as_mut().map_or(Ok(()), |screen| put(screen.show(event)))
    }

    fn note(&mut self, line: &str) -> anyhow::Result<()> {
        match &mut self.screen {
            Some(screen) => put(screen.note(line)),
            None => put(vec![Piece::Note(line.to_owned())]),
        }
    }

    fn resize(&mut self) {
        if let Some(screen) = &mut self.screen {
            screen.resize(terminal::width());
        }
    }

    fn close(&mut self) -> anyhow::Result<()> {
        self.screen.as_mut().map_or(Ok(()), |screen| put(screen.close()))
    }
}

fn put(pieces: Vec<Piece>) -> anyhow::Result<()> {
    for piece in pieces {
        match piece {
            Piece::Out(text) => output::print(&text)?,
            Piece::Note(line) => output::tell(&line),
        }
    }
    Ok(())
}

/// Reading along while somebody speaks.
struct Reading {
    receiver: DictationReceiver,
    display: Display,
    items: OpenItems,
    failures: u64,
    /// When the server wants us back, once it has said that it goes.
    retry_after: Duration,
    /// How much was said over earlier connections: each counts from its own beginning.
    said_before: Duration,
}

impl Reading {
    fn new(receiver: DictationReceiver, display: Display) -> Self {
        Self {
            receiver,
            display,
            items: OpenItems::default(),
            failures: 0,
            retry_after: Duration::ZERO,
            said_before: Duration::ZERO,
        }
    }

    /// Shows what comes until everything that was said has its text, or takes too long; over as many connections as that
    /// takes.
    async fn through(
        &mut self,
        settings: &DictationSettings,
        mut sender: DictationSender,
        frames: &mut Frames,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        while let Some(lost) = self.along(speak(sender, frames, stop.clone()), stop).await? {
            let back = tokio::select! {
                back = self.come_back(settings, lost) => back?,
                () = stop.cancelled() => return Ok(()),
            };
            (sender, self.receiver) = (back.sender, back.receiver);
            self.said_before = frames.position();
        }
        Ok(())
    }

    /// Tries a lost connection again.
    async fn come_back(
        &mut self,
        settings: &DictationSettings,
        lost: Disconnected,
    ) -> anyhow::Result<Dictation> {
        let since = Instant::now();
        self.give_up_items(&lost)?;
        let mut waits = Backoff::after(std::mem::take(&mut self.retry_after));
        let mut why = lost.to_string();
        let mut wait = waits.next(fastrand::f64());
        self.display.note(&format!("note: {why}; trying again in {:.1} s", wait.as_secs_f32()))?;
        while since.elapsed() + wait <= PERSISTENCE {
            sleep(wait).await;
            match settings.connect().await {
                Ok(dictation) => {
                    let gone = since.elapsed().as_secs_f32();
                    self.display.note(&format!("note: connected again after {gone:.1} s"))?;
                    return Ok(dictation);
                }
                // What does not pass by waiting. Who was a server of the right kind a moment ago is that still.
                Err(error @ (ConnectError::Unauthorized { .. } | ConnectError::BadAddress { .. })) => {
                    return Err(in_words(error).into());
                }
                Err(error) => why = error.to_string(),
            }
            wait = waits.next(fastrand::f64());
        }
        Err(parted(&why))
    }

    /// What was being said over a connection that was lost has no text any more.
    fn give_up_items(&mut self, lost: &Disconnected) -> anyhow::Result<()> {
        for item in self.items.lose() {
            self.failures += 1;
            let (code, message) = (lost.code.clone(), "the connection was lost".to_owned());
            self.display.tell(&DictationEvent::Failed { item, code, message })?;
        }
        Ok(())
    }

    /// Shows what comes until everything that was said has its text, or takes too long. Gives how the connection was lost
    /// before that, if it is worth trying again.
    async fn along(
        &mut self,
        speaking: impl Future<Output = Result<Spoken, Disconnected>>,
        stop: &CancellationToken,
    ) -> anyhow::Result<Option<Disconnected>> {
        let mut speaking = pin!(speaking);
        let mut resizes = Resizes::new()?;
        let mut spoken: Option<Spoken> = None;
        let mut leaves_at: Option<Instant> = None;
        let mut hurries = false;
        while spoken.is_none() || !self.items.are_settled() {
            let too_late = leaves_at.unwrap_or_else(Instant::now);
            tokio::select! {
                told = self.receiver.next() => match told {
                    Ok(Some(told)) => {
                        let text_came = self.hear(told)?;
                        leaves_at = leaves_at.map(|at| if text_came { Instant::now() + patience(stop) } else { at });
                    }
                    Ok(None) => return Err(parted("the server closed the connection")),
                    Err(lost) => return worth_another_try(lost, spoken.is_none(), stop),
                },
                done = &mut speaking, if spoken.is_none() => match done {
                    Ok(done) => {
                        spoken = Some(done);
                        leaves_at.get_or_insert(Instant::now() + patience(stop));
                    }
                    Err(lost) => return match self.last_word(lost).await {
                        Some(lost) => worth_another_try(lost, true, stop),
                        None => Err(parted("the server takes no more audio")),
                    },
                },
                () = stop.cancelled(), if !hurries => {
                    (hurries, leaves_at) = (true, Some(Instant::now() + HURRY));
                }
                () = sleep_until(too_late), if leaves_at.is_some() => {
                    return self.give_up(spoken, stop).map(|()| None);
                }
                () = resizes.next() => self.display.resize(),
            }
        }
        let Some(Spoken { sender, broke }) = spoken else { return Ok(None) };
        sender.hang_up().await;
        broke.map_or(Ok(None), Err)
    }

    /// Tells whether an item has come to its end.
    fn hear(&mut self, mut told: Told) -> anyhow::Result<bool> {
        match &mut told.event {
            DictationEvent::SpeechStarted { at, .. } => *at += self.said_before,
            DictationEvent::Closing { retry_after, .. } => self.retry_after = *retry_after,
            _ => {}
        }
        let heard = self.items.hear(&told.event);
        self.failures += u64::from(heard.failed);
        // Who asked for the server's events gets them all.
        if self.display.is_json() || !heard.is_expected {
            self.display.show(&told)?;
        }
        Ok(heard.settled)
    }

    /// The server knows better why it is gone; that may still lie in the socket. `None` where it went in good order.
    async fn last_word(&mut self, lost: Disconnected) -> Option<Disconnected> {
        let listening = async {
            loop {
                match self.receiver.next().await {
                    // What cannot be shown any more is no reason to keep the cause from the user.
                    Ok(Some(told)) => drop(self.hear(told)),
                    Ok(None) => return None,
                    Err(better) => return Some(better),
                }
            }
        };
        timeout(LAST_WORD, listening).await.unwrap_or(Some(lost))
    }

    fn give_up(&mut self, spoken: Option<Spoken>, stop: &CancellationToken) -> anyhow::Result<()> {
        if let Some(error) = spoken.and_then(|spoken| spoken.broke) {
            return Err(error);
        }
        let message = "the server still owes a text, and nothing came for too long";
        if stop.is_cancelled() {
            return self.display.note(&format!("note: {message}"));
        }
        Err(Failure::new(message, "see how busy it is: GET /pool, or `stenopool plan`").into())
    }
}

/// A lost connection, if it may come back and there is more to be said; what was said before has no text any more.
fn worth_another_try(
    lost: Disconnected,
    says_more: bool,
    stop: &CancellationToken,
) -> anyhow::Result<Option<Disconnected>> {
    let worthy = says_more && lost.may_pass() && !stop.is_cancelled();
    if worthy { Ok(Some(lost)) } else { Err(parted(&lost.to_string())) }
}

fn patience(stop: &CancellationToken) -> Duration {
    if stop.is_cancelled() { HURRY } else { PATIENCE }
}

fn parted(why: &str) -> anyhow::Error {
    Failure::new(why, "see what the server says in its log, and begin again").into()
}
