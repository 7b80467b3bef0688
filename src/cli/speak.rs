//! `stenopool speak`: a text to a file, or out of the loudspeakers, without a server.

use super::assembly::find_devices;
use super::device::first_gpu;
use super::failure::Failure;
use super::listen::recorder;
use super::voices;
use crate::audio::{SoundEncoder, SoundFormat};
use crate::config::{NetworkDevice, Settings};
use crate::tts::{Voice, phrases, recite};
use anyhow::{Context, anyhow};
use clap::Args;
use futures_util::StreamExt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::process::{Child, Command};

/// Says a text.
#[derive(Debug, Args)]
pub(super) struct SpeakCommand {
    /// The text; "-" is standard input
    #[arg(value_name = "TEXT")]
    text: String,

    /// How fast, 0.25 to 4
    #[arg(long, value_name = "SPEED", default_value_t = 1.0, value_parser = speed)]
    speed: f32,

    /// Write the sound to this file instead of playing it; "-" is standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    /// What to write: pcm, wav, flac, opus or mp3 [default: by the file's name, else wav]
    #[arg(long, value_name = "FORMAT", requires = "output", value_parser = format)]
    format: Option<SoundFormat>,
}

/// The GPU that Kokoro may share with decoding, by CUDA's number. Nothing is decoded here: only who asks for it must have it.
async fn gpu_to_share(settings: &Settings) -> anyhow::Result<Option<u32>> {
    match settings.voices.device {
        NetworkDevice::Cpu => Ok(None),
        NetworkDevice::Auto => Ok(find_devices(settings).await.ok().and_then(|found| first_gpu(&found))),
        NetworkDevice::Cuda => Ok(first_gpu(&find_devices(settings).await?)),
    }
}

impl SpeakCommand {
    /// Says it.
    ///
    /// # Errors
    ///
    /// When nothing speaks here, or nothing plays, or the file cannot be written.
    pub(super) async fn run(&self, settings: Settings) -> anyhow::Result<ExitCode> {
        let text = if self.text == "-" { read_input()? } else { self.text.clone() };
        let studio = voices::open(&settings, gpu_to_share(&settings).await?).await?;
        let voice = Voice { name: studio.default_voice().to_owned(), speed: self.speed };
        let sound = recite(studio.narrator(), phrases(&text, None), voice, SoundEncoder::RATE);
        let mut target = Target::open(self.output.as_deref()).await?;
        let written = write(sound, self.format(), &mut *target.out).await;
        target.close(written).await?;
        // Its threads are joined, which blocks.
        tokio::task::spawn_blocking(move || drop(studio)).await?;
        Ok(ExitCode::SUCCESS)
    }

    fn format(&self) -> SoundFormat {
        let by_name = |path: &Path| {
            let ending = path.extension()?.to_str()?.to_lowercase();
            let ending = if ending == "ogg" { "opus" } else { &ending };
            SoundFormat::named(ending)
        };
        match (&self.output, self.format) {
            (None, _) => SoundFormat::Pcm,
            (Some(_), Some(format)) => format,
            (Some(path), None) => by_name(path).unwrap_or(SoundFormat::Wav),
        }
    }
}

type Sound = futures_util::stream::BoxStream<'static, Result<crate::audio::Pcm, crate::tts::TtsError>>;

async fn write(
    mut sound: Sound,
    format: SoundFormat,
    out: &mut (dyn AsyncWrite + Unpin + Send),
) -> anyhow::Result<()> {
    let mut encoder = SoundEncoder::new(format)?;
    while let Some(piece) = sound.next().await {
        out.write_all(&encoder.push(&piece?.samples)?).await?;
    }
    out.write_all(&encoder.finish()?).await?;
    Ok(out.flush().await?)
}

/// Where the sound goes.
struct Target {
    out: Box<dyn AsyncWrite + Unpin + Send>,
    /// The program that plays it, if one does.
    player: Option<(&'static str, Child)>,
}

impl Target {
    async fn open(file: Option<&Path>) -> anyhow::Result<Self> {
        let out: Box<dyn AsyncWrite + Unpin + Send> = match file {
            None => return Self::player(),
            Some(path) if path == Path::new("-") => Box::new(tokio::io::stdout()),
            Some(path) => Box::new(tokio::fs::File::create(path).await.map_err(|error| {
                Failure::new(format!("cannot write {}: {error}", path.display()), "choose another file")
            })?),
        };
        Ok(Self { out, player: None })
    }

    /// The first program that plays and is installed.
    fn player() -> anyhow::Result<Self> {
        let Some((name, command)) = recorder::first_player() else {
            let packages = recorder::player_packages();
            let hint = format!("install one of {packages}, or write a file with --output speech.wav");
            return Err(Failure::unavailable("there is no program here that plays", hint).into());
        };
        let mut command = Command::from(command);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).kill_on_drop(true);
        let mut process = command.spawn().with_context(|| format!("cannot run {name}"))?;
        let input = process.stdin.take().context("the player takes no input")?;
        Ok(Self { out: Box::new(input), player: Some((name, process)) })
    }

    /// Waits until all of it has sounded. Why a player ended explains more than that it took no more.
    async fn close(self, written: anyhow::Result<()>) -> anyhow::Result<()> {
        drop(self.out);
        let Some((name, mut process)) = self.player else { return written };
        let status = process.wait().await?;
        if status.success() { written } else { Err(anyhow!("{name} ended with {status}")) }
    }
}

fn read_input() -> anyhow::Result<String> {
    let mut text = String::new();
    io::stdin().lock().read_to_string(&mut text).context("cannot read standard input")?;
    Ok(text)
}

fn speed(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(speed) if (0.25..=4.0).contains(&speed) => Ok(speed),
        _ => Err("expected a number from 0.25 to 4".into()),
    }
}

fn format(name: &str) -> Result<SoundFormat, String> {
    let names = || SoundFormat::ALL.iter().map(|format| format.name()).collect::<Vec<_>>().join(", ");
    SoundFormat::named(name).ok_or_else(|| format!("expected one of {}", names()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(output: Option<&str>, format: Option<SoundFormat>) -> SpeakCommand {
        SpeakCommand { text: String::new(), speed: 1.0, output: output.map(Into::into), format }
    }

    #[test]
    fn the_format_goes_by_the_name_of_the_file_unless_it_is_said() {
        let cases = [
            (None, None, SoundFormat::Pcm),
            (Some("a.wav"), None, SoundFormat::Wav),
            (Some("a.OGG"), None, SoundFormat::Opus),
            (Some("a.flac"), None, SoundFormat::Flac),
            (Some("a.txt"), None, SoundFormat::Wav),
            (Some("-"), None, SoundFormat::Wav),
            (Some("a.wav"), Some(SoundFormat::Pcm), SoundFormat::Pcm),
        ];
        for (output, format, expected) in cases {
            assert_eq!(command(output, format).format(), expected, "{output:?}");
        }
    }
}
