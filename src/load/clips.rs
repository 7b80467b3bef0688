//! Labelled recordings: what people say in a load test, and what is right.
//!
//! A folder of them has a `transcripts.tsv` with a line for each file. Where somebody speaks in it is in the table, or
//! found out by whoever opens the folder: this module knows no model.

mod error;
mod speech;
mod table;
#[cfg(test)]
mod tests;

pub use error::ClipsError;
pub use speech::speech_spans;

use crate::audio::{FileReader, Resampler, SampleRate, Span, duration_of, samples_in};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use table::{Defect, Row};

/// One labelled recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Clip {
    /// The name of its file.
    pub file: String,
    /// What kind of recording it is, as the table says; `all` where it does not.
    pub kind: String,
    /// What is said in it; empty for silence and noise.
    pub text: String,
    /// 16-bit mono at `rate`.
    pub samples: Arc<[i16]>,
    /// Samples per second.
    pub rate: SampleRate,
    /// Where somebody speaks, counted in samples of 16 kHz whatever the rate, in order. Not empty where there is text.
    pub speech: Vec<Span>,
}

impl Clip {
    /// The same from its first speech to its last, with so much around it as there is, up to `margin`.
    pub(super) fn tight(&self, margin: Duration) -> Self {
        let margin = samples_in(margin);
        let (Some(first), Some(last)) = (self.speech.first(), self.speech.last()) else {
            return self.clone();
        };
        let (start, end) = (first.start.saturating_sub(margin), last.end + margin);
        let own = |speech: u64| (speech * u64::from(self.rate.hertz()) / 16_000) as usize;
        let end = own(end).min(self.samples.len());
        let moved = |span: &Span| Span::new(span.start - start, span.end - start);
        Self {
            samples: self.samples[own(start)..end].into(),
            speech: self.speech.iter().map(moved).collect(),
            ..self.clone()
        }
    }

    /// How long it lasts.
    pub fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.samples.len() as f64 / f64::from(self.rate.hertz()))
    }
}

/// The name of the table in a folder of recordings.
const TABLE: &str = "transcripts.tsv";

/// No recording may be longer.
const LONGEST: Duration = Duration::from_mins(10);

/// Finds the speech in samples of 16 kHz, or says why it cannot.
type Label<'a> = dyn FnMut(&[f32]) -> Result<Vec<Span>, String> + 'a;

/// Reads all recordings of a folder, in any format, at that rate.
///
/// `label` finds the speech in samples of 16 kHz. It is asked only where there is text but the table does not say
/// where it is spoken; if it finds nothing, the whole recording counts as speech.
///
/// # Errors
///
/// The first thing that is wrong with the folder, its table or a recording.
pub fn read_clips(dir: &Path, rate: SampleRate, label: &mut Label<'_>) -> Result<Vec<Arc<Clip>>, ClipsError> {
    let table = dir.join(TABLE);
    let rows = table::rows(&read_table(dir, &table)?).map_err(|defect| match defect {
        Defect::Table(reason) => ClipsError::Table { table: table.clone(), reason },
        Defect::Line(line, reason) => ClipsError::Line { table: table.clone(), line, reason },
    })?;
    let mut clip = |row: Row| {
        let (line, file) = (row.line, row.file.clone());
        let failed = |reason| ClipsError::Recording { table: table.clone(), line, file, reason };
        open(dir, rate, row, label).map(Arc::new).map_err(failed)
    };
    rows.into_iter().map(&mut clip).collect()
}

fn read_table(dir: &Path, table: &PathBuf) -> Result<Vec<u8>, ClipsError> {
    if !dir.is_dir() {
        return Err(ClipsError::NoFolder(dir.to_owned()));
    }
    if !table.exists() {
        return Err(ClipsError::NoTable(dir.to_owned()));
    }
    let unreadable =
        |error| ClipsError::Table { table: table.clone(), reason: format!("it cannot be read: {error}") };
    fs::read(table).map_err(unreadable)
}

fn open(dir: &Path, rate: SampleRate, row: Row, label: &mut Label<'_>) -> Result<Clip, String> {
    let samples = decode(&dir.join(&row.file))?;
    let whole = Span::new(0, samples.len() as u64);
    let mut speech = within(&row.segments, whole)?;
    if speech.is_empty() && !row.text.is_empty() {
        speech = within(&label(&samples)?, whole)?;
        if speech.is_empty() {
            speech.push(whole);
        }
    }
    let samples = at_rate(&samples, rate);
    Ok(Clip { file: row.file, kind: row.kind, text: row.text, samples, rate, speech })
}

/// All of a file, at 16 kHz.
fn decode(path: &Path) -> Result<Vec<f32>, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let extension = path.extension().and_then(|extension| extension.to_str());
    let mut reader = FileReader::open(file, extension).map_err(|error| error.to_string())?;
    // Not every file says how long it is, and not every file that does is right.
    let mut length = reader.duration().unwrap_or_default();
    let mut samples = Vec::new();
    while length <= LONGEST {
        match reader.read().map_err(|error| error.to_string())? {
            Some(more) => samples.extend(more),
            None => break,
        }
        length = duration_of(samples.len() as u64);
    }
    if length > LONGEST {
        return Err("it is longer than 10 minutes".to_owned());
    }
    // Its text is of all of it: what is missing would count as the server's mistake.
    if reader.truncated() { Err("it breaks off before its end".to_owned()) } else { Ok(samples) }
}

/// Labels are rounded: the last may end a little after the recording does. One that begins there is of another file.
fn within(speech: &[Span], whole: Span) -> Result<Vec<Span>, String> {
    match speech.iter().find(|span| span.start >= whole.end) {
        None => Ok(speech.iter().map(|span| Span::new(span.start, span.end.min(whole.end))).collect()),
        Some(span) => Err(format!(
            "a segment begins at {:.2} s, but it is {:.2} s long",
            span.start_seconds(),
            whole.end_seconds()
        )),
    }
}

fn at_rate(samples: &[f32], rate: SampleRate) -> Arc<[i16]> {
    let mut resampler = Resampler::new(SampleRate::SPEECH, rate);
    let mut out = Vec::new();
    resampler.push(samples, &mut out);
    resampler.finish(&mut out);
    out.iter().map(|sample| (sample * 32_767.0).round() as i16).collect()
}
