//! `stenopool listen`: a microphone, or a recording at its own pace, into the terminal by way of a running server.

mod open_items;
pub(in crate::cli) mod recorder;
mod screen;
mod sound;
mod terminal;

use super::failure::Failure;
use super::output;
use super::signals::on_first_signal;
use crate::load::{
    ConnectError, Dictation, DictationReceiver, DictationSender, DictationSettings, Disconnected, Target,
    Told,
};
use crate::pool::LeaseScope;
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
use tokio::time::{Instant, sleep_until, timeout};
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

Ctrl-C ends what is being said, waits for its text and leaves; a second one leaves at once.";

/// How long a text may take after the one before it, when nothing more is said.
const PATIENCE: Duration = Duration::from_secs(30);

/// The same for somebody who pressed Ctrl-C.
const HURRY: Duration = Duration::from_secs(10);

/// How long we look for the server's last word when it takes nothing any more.
const LAST_WORD: Duration = Duration::from_secs(1);

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
        let frames = sound.start()?;
        let mut reading = Reading::new(receiver, Display::new(self.json));
        let outcome = reading.along(speak(sender, frames, stop.clone()), &stop).await;
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
    mut frames: Frames,
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
}

impl Reading {
    fn new(receiver: DictationReceiver, display: Display) -> Self {
        Self { receiver, display, items: OpenItems::default(), failures: 0 }
    }

    /// Shows what comes until everything that was said has its text, or takes too long.
    async fn along(
        &mut self,
        speaking: impl Future<Output = Result<Spoken, Disconnected>>,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
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
                        let text_came = self.hear(&told)?;
                        leaves_at = leaves_at.map(|at| if text_came { Instant::now() + patience(stop) } else { at });
                    }
                    Ok(None) => return Err(parted("the server closed the connection")),
                    Err(lost) => return Err(parted(&lost.to_string())),
                },
                done = &mut speaking, if spoken.is_none() => match done {
                    Ok(done) => {
                        spoken = Some(done);
                        leaves_at.get_or_insert(Instant::now() + patience(stop));
                    }
                    Err(lost) => return Err(self.last_word(lost).await),
                },
                () = stop.cancelled(), if !hurries => {
                    (hurries, leaves_at) = (true, Some(Instant::now() + HURRY));
                }
                () = sleep_until(too_late), if leaves_at.is_some() => return self.give_up(spoken, stop),
                () = resizes.next() => self.display.resize(),
            }
        }
        let Some(Spoken { sender, broke }) = spoken else { return Ok(()) };
        sender.hang_up().await;
        broke.map_or(Ok(()), Err)
    }

    /// Tells whether an item has come to its end.
    fn hear(&mut self, told: &Told) -> anyhow::Result<bool> {
        let heard = self.items.hear(&told.event);
        self.failures += u64::from(heard.failed);
        // Who asked for the server's events gets them all.
        if self.display.is_json() || !heard.is_expected {
            self.display.show(told)?;
        }
        Ok(heard.settled)
    }

    /// The server knows better why it is gone; that may still lie in the socket.
    async fn last_word(&mut self, lost: Disconnected) -> anyhow::Error {
        let listening = async {
            while let Some(told) = self.receiver.next().await? {
                // What cannot be shown any more is no reason to keep the cause from the user.
                let _ = self.display.show(&told);
            }
            Err(lost)
        };
        match timeout(LAST_WORD, listening).await {
            Ok(Err::<(), _>(lost)) => parted(&lost.to_string()),
            _ => parted("the server takes no more audio"),
        }
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

fn patience(stop: &CancellationToken) -> Duration {
    if stop.is_cancelled() { HURRY } else { PATIENCE }
}

fn parted(why: &str) -> anyhow::Error {
    Failure::new(why, "see what the server says in its log, and begin again").into()
}
