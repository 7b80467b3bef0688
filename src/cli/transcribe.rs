//! `stenopool transcribe`: files to text, on as many slots as there are.

#![expect(clippy::doc_markdown, reason = "the comments on flags are help texts, where backticks would show")]

use super::assembly::{Assembly, Purpose, assemble, find_devices};
use super::failure::Failure;
use super::output;
use crate::asr::{DecodeOptions, ModelInfo, Task};
use crate::audio::{FileReader, duration_of};
use crate::config::Settings;
use crate::pool::FlowInfo;
use crate::server::formats::{OutputFormat, TranscriptDocument, render};
use crate::server::{Readings, spoken_language};
use crate::session::{Recording, recording_endpoints};
use crate::vad::EndpointSettings;
use anyhow::Context;
use clap::Args;
use futures_util::StreamExt;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::fs::File;
use std::io::{IsTerminal, Read, Seek};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Transcribes audio files, or standard input.
#[derive(Debug, Args)]
pub(super) struct TranscribeCommand {
    /// Audio files; "-" is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// What to print: text, json, verbose_json, srt or vtt.
    #[arg(long, default_value = "text")]
    format: OutputFormat,

    /// Language that is spoken, as an ISO 639-1 code or in English; a multilingual model finds out by itself.
    #[arg(long, value_name = "LANGUAGE")]
    language: Option<String>,

    /// Text that came before, or names and words that may occur: it steers spelling and style.
    #[arg(long)]
    prompt: Option<String>,

    /// Sampling temperature, 0 to 1; 0 is greedy decoding that falls back to higher ones.
    #[arg(long, default_value_t = 0.0, value_parser = temperature)]
    temperature: f32,

    /// Translate to English instead of writing down what was said.
    #[arg(long)]
    translate: bool,

    /// Give verbose_json the time of every word, too.
    #[arg(long)]
    words: bool,
}

/// The transcript of one file.
struct Transcribed {
    readings: Readings,
    duration: Duration,
    truncated: bool,
}

impl TranscribeCommand {
    /// Prints one document per file, in the order given; a file that fails costs an error line and exit code 1.
    ///
    /// # Errors
    ///
    /// When standard output cannot be written.
    pub(super) async fn run(&self, settings: Settings) -> anyhow::Result<ExitCode> {
        let assembly = assemble(&settings, Purpose::Command, find_devices(&settings).await?).await?;
        let options = self.options(assembly.supervisor.lanes().model())?;
        let code = self.transcribe_all(&assembly, &options, &settings.endpoint).await;
        assembly.supervisor.stop().await;
        code
    }

    async fn transcribe_all(
        &self,
        assembly: &Assembly,
        options: &DecodeOptions,
        endpoint: &EndpointSettings,
    ) -> anyhow::Result<ExitCode> {
        let bars = &MultiProgress::new();
        let slots = usize::from(assembly.supervisor.sizing().slots);
        let mut transcripts = futures_util::stream::iter(&self.files)
            .map(|path| async move { (path, transcribe(path, assembly, options, endpoint, bars).await) })
            .buffered(slots);
        let mut code = ExitCode::SUCCESS;
        while let Some((path, transcript)) = transcripts.next().await {
            match transcript {
                Ok(transcript) => bars.suspend(|| self.print(path, &transcript))?,
                Err(error) => {
                    bars.suspend(|| output::tell(&format!("error: {}: {error:#}", path.display())));
                    code = ExitCode::FAILURE;
                }
            }
        }
        Ok(code)
    }

    /// How to decode, if the model knows the language asked for.
    fn options(&self, model: &ModelInfo) -> Result<DecodeOptions, Failure> {
        let language = self.language.as_deref().map(|text| spoken_language(text, model)).transpose();
        let hint = "choose a multilingual model with --model; see `stenopool models list`";
        Ok(DecodeOptions {
            language: language.map_err(|error| Failure::new(error.to_string(), hint))?.map(str::to_owned),
            task: self.task(),
            prompt: self.prompt.clone(),
            temperature: self.temperature,
            timestamps: self.format.timestamps(self.words),
            ..DecodeOptions::default()
        })
    }

    fn task(&self) -> Task {
        if self.translate { Task::Translate } else { Task::Transcribe }
    }

    fn print(&self, path: &Path, transcript: &Transcribed) -> anyhow::Result<()> {
        if transcript.truncated {
            let heard = transcript.duration.as_secs_f64();
            output::tell(&format!(
                "warning: {}: breaks off after {heard:.1} s; this is the text up to there",
                path.display()
            ));
        }
        let document = TranscriptDocument {
            task: self.task(),
            language: transcript.readings.language().or(self.language.as_deref()).unwrap_or("en"),
            duration: transcript.duration,
            segments: &transcript.readings.segments,
            with_segments: true,
            with_words: self.words,
            with_logprobs: false,
            truncated: transcript.truncated,
        };
        let mut text = render(self.format, &document);
        if !text.ends_with('\n') {
            text.push('\n');
        }
        output::print(&text)
    }
}

async fn transcribe(
    path: &Path,
    assembly: &Assembly,
    options: &DecodeOptions,
    live: &EndpointSettings,
    bars: &MultiProgress,
) -> anyhow::Result<Transcribed> {
    let path_to_open = path.to_owned();
    let reader = tokio::task::spawn_blocking(move || open(&path_to_open)).await??;
    let bar = bars.add(progress_bar(path, reader.duration()));
    let lane = assembly.supervisor.lanes().open(FlowInfo::request("transcribe"));
    let endpoint = recording_endpoints(lane.model().window, live);
    let mut recording = Recording::start(reader, &assembly.frontend, lane, options.clone(), endpoint, None);
    let mut readings = Readings::default();
    while let Some(part) = recording.next().await {
        let part = part?;
        bar.set_position(duration_of(part.span.end).as_millis() as u64);
        readings.add(part);
    }
    bar.finish_and_clear();
    Ok(Transcribed { readings, duration: recording.duration(), truncated: recording.truncated() })
}

/// Opens a file, or standard input, for reading back and forth, as containers are read.
fn open(path: &Path) -> anyhow::Result<FileReader> {
    if path == Path::new("-") {
        return Ok(FileReader::open(spool(&mut std::io::stdin().lock())?, None)?);
    }
    let mut file = File::open(path)?;
    let file = if file.metadata()?.file_type().is_fifo() { spool(&mut file)? } else { file };
    let extension = path.extension().and_then(|extension| extension.to_str());
    Ok(FileReader::open(file, extension)?)
}

/// Brings what can only be read once (a pipe, a `<(command)`) to a temporary file.
fn spool(source: &mut impl Read) -> anyhow::Result<File> {
    let mut spool = tempfile::tempfile().context("cannot make a temporary file")?;
    std::io::copy(source, &mut spool).context("cannot copy it to a temporary file")?;
    spool.rewind()?;
    Ok(spool)
}

/// Shown once a file takes longer than a moment, and only where somebody can see it.
fn progress_bar(path: &Path, duration: Option<Duration>) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (bar, template) = match duration {
        Some(duration) => {
            (ProgressBar::new(duration.as_millis() as u64), "{msg} {wide_bar} {percent} % · {eta} left")
        }
        None => (ProgressBar::no_length(), "{msg} {spinner} {elapsed}"),
    };
    bar.with_style(ProgressStyle::with_template(template).expect("the template is valid")).with_message(name)
}

fn temperature(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(temperature) if (0.0..=1.0).contains(&temperature) => Ok(temperature),
        _ => Err("expected a number from 0 to 1".into()),
    }
}
