//! `stenopool transcribe`: files to text, on as many slots as there are.

use super::assembly::{Assembly, assemble};
use super::failure::Failure;
use super::output;
use crate::asr::{DecodeOptions, ModelInfo, Segment, Task, Timestamps};
use crate::audio::{FileReader, duration_of};
use crate::config::Settings;
use crate::server::formats::{OutputFormat, TranscriptDocument, render};
use crate::server::language_code;
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
    #[arg(long, value_name = "LANGUAGE", value_parser = language)]
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
    segments: Vec<Segment>,
    language: String,
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
        let assembly = assemble(&settings).await?;
        self.check_language(assembly.supervisor.lanes().model())?;
        let code = self.transcribe_all(&assembly, &settings.endpoint).await;
        assembly.supervisor.stop().await;
        code
    }

    /// Another language than its own would only make an English model guess.
    fn check_language(&self, model: &ModelInfo) -> Result<(), Failure> {
        match &self.language {
            Some(language) if !model.multilingual && language != "en" => Err(Failure::new(
                format!("the model {} knows only English, not \"{language}\"", model.name),
                "choose a multilingual model with --model; see `stenopool models list`",
            )),
            _ => Ok(()),
        }
    }

    async fn transcribe_all(
        &self,
        assembly: &Assembly,
        endpoint: &EndpointSettings,
    ) -> anyhow::Result<ExitCode> {
        let bars = &MultiProgress::new();
        let slots = usize::from(assembly.sizing.slots);
        let mut transcripts = futures_util::stream::iter(&self.files)
            .map(|path| async move { (path, self.transcribe(path, assembly, endpoint, bars).await) })
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

    async fn transcribe(
        &self,
        path: &Path,
        assembly: &Assembly,
        live: &EndpointSettings,
        bars: &MultiProgress,
    ) -> anyhow::Result<Transcribed> {
        let path_to_open = path.to_owned();
        let reader = tokio::task::spawn_blocking(move || open(&path_to_open)).await??;
        let bar = bars.add(progress_bar(path, reader.duration()));
        let lane = assembly.supervisor.lanes().open();
        let endpoint = recording_endpoints(lane.model().window, live);
        let mut recording =
            Recording::start(reader, &assembly.frontend, lane, self.options(), endpoint, None);
        let (mut segments, mut language) = (Vec::new(), None);
        while let Some(part) = recording.next().await {
            let part = part?;
            bar.set_position(duration_of(part.span.end).as_millis() as u64);
            language.get_or_insert(part.hypothesis.language);
            segments.extend(part.hypothesis.segments);
        }
        bar.finish_and_clear();
        let language = language.or_else(|| self.language.clone()).unwrap_or_else(|| "en".into());
        Ok(Transcribed {
            segments,
            language,
            duration: recording.duration(),
            truncated: recording.truncated(),
        })
    }

    fn options(&self) -> DecodeOptions {
        DecodeOptions {
            language: self.language.clone(),
            task: self.task(),
            prompt: self.prompt.clone(),
            temperature: self.temperature,
            timestamps: match self.format {
                OutputFormat::VerboseJson if self.words => Timestamps::Word,
                OutputFormat::VerboseJson | OutputFormat::Srt | OutputFormat::Vtt => Timestamps::Segment,
                OutputFormat::Json | OutputFormat::Text => Timestamps::None,
            },
        }
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
            language: &transcript.language,
            duration: transcript.duration,
            segments: &transcript.segments,
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

fn language(text: &str) -> Result<String, String> {
    let code = language_code(text).ok_or("expected a language such as \"de\" or \"german\"")?;
    Ok(code.to_owned())
}

fn temperature(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(temperature) if (0.0..=1.0).contains(&temperature) => Ok(temperature),
        _ => Err("expected a number from 0 to 1".into()),
    }
}
