//! The voice of those who have no better one: the program espeak-ng, which every distribution has.
//!
//! A run of the program says one phrase. The next run is started ahead, for the voice and speed of the last, and waits
//! for its text, so that a phrase does not pay for its start.

mod program;
#[cfg(test)]
mod tests;
mod wav;

use super::voices::Alias;
use super::{Phrase, Synthesizer, TtsError, Voice};
use crate::audio::Pcm;
use program::Process;
pub(super) use program::Program;
use std::path::Path;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use wav::Header;

/// Words per minute at normal speed, and the least and most that the program knows.
const WORDS_PER_MINUTE: f32 = 175.0;
const SPEEDS: (f32, f32) = (80.0, 450.0);

/// How long the program may take for its next sound.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes that are read at once: some 90 ms.
const BLOCK: usize = 4_096;

/// The voices that one would want for a default, the best first.
pub(super) const PREFERRED: [&str; 3] = ["en-us", "en", "en-gb"];

/// What the voices of OpenAI's service sound like here.
pub(super) const ALIASES: &[Alias] = &[
    ("alloy", &["en-us"]),
    ("ash", &["en-us+m3"]),
    ("ballad", &["en-gb+m7"]),
    ("cedar", &["en-us+m7"]),
    ("coral", &["en-us+f2"]),
    ("echo", &["en-us+m1"]),
    ("fable", &["en-gb"]),
    ("marin", &["en-us+f3"]),
    ("nova", &["en-us+f4"]),
    ("onyx", &["en-us+m2"]),
    ("sage", &["en-gb+f2"]),
    ("shimmer", &["en-us+f1"]),
    ("verse", &["en-us+m4"]),
];

/// The program, as a synthesizer.
pub(super) struct Espeak {
    program: Program,
    /// A run that waits for its text.
    ahead: Option<(Manner, Process)>,
}

/// How something is said.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Manner {
    voice: String,
    words_per_minute: u16,
}

impl Manner {
    fn of(voice: &Voice) -> Self {
        let speed = (WORDS_PER_MINUTE * voice.speed).clamp(SPEEDS.0, SPEEDS.1);
        Self { voice: voice.name.clone(), words_per_minute: speed.round() as u16 }
    }
}

impl Espeak {
    /// A synthesizer that runs the program at `path`.
    ///
    /// # Errors
    ///
    /// [`TtsError::Failed`]; whether the program is there shows with its first run.
    pub(super) fn new(path: &Path) -> Result<Self, TtsError> {
        Ok(Self { program: Program::new(path)?, ahead: None })
    }

    /// The names of the program's voices: languages, and for English some voices of women and men.
    ///
    /// # Errors
    ///
    /// [`TtsError::ProgramMissing`], or another when it does not answer.
    pub(super) fn voices(path: &Path) -> Result<Vec<String>, TtsError> {
        let program = Program::new(path)?;
        let languages = languages(&program.ask(&["--voices"], "", PATIENCE)?);
        let variants = variants(&program.ask(&["--voices=variant"], "", PATIENCE)?);
        let english = languages.iter().filter(|language| ["en-us", "en-gb"].contains(&language.as_str()));
        let varied: Vec<_> = english
            .flat_map(|language| variants.iter().map(move |variant| format!("{language}+{variant}")))
            .collect();
        Ok([varied, languages].concat())
    }

    fn start(&self, manner: &Manner) -> Result<Process, TtsError> {
        let speed = manner.words_per_minute.to_string();
        self.program.start(&["--stdout", "-v", &manner.voice, "-s", &speed])
    }

    /// The run that waits, if it waits to speak in this manner; else a new one. A run of another manner is ended.
    fn take(&mut self, manner: &Manner) -> Result<Process, TtsError> {
        if let Some((ready, mut process)) = self.ahead.take() {
            if ready == *manner {
                return Ok(process);
            }
            self.program.block_on(process.kill());
        }
        self.start(manner)
    }
}

impl Drop for Espeak {
    fn drop(&mut self) {
        if let Some((_, mut process)) = self.ahead.take() {
            self.program.block_on(process.kill());
        }
    }
}

impl Synthesizer for Espeak {
    fn synthesize(
        &mut self,
        phrase: &Phrase,
        voice: &Voice,
        cancel: &CancellationToken,
        on_chunk: &mut dyn FnMut(Pcm),
    ) -> Result<(), TtsError> {
        let manner = Manner::of(voice);
        let mut process = self.take(&manner)?;
        let result = self.program.block_on(async {
            let said = tokio::select! {
                biased;
                () = cancel.cancelled() => Err(TtsError::Cancelled),
                said = listen(&mut process, &phrase.spoken, on_chunk) => said,
            };
            if said.is_err() {
                process.kill().await;
            }
            said
        });
        // Should it not start, the next phrase will tell.
        self.ahead = self.start(&manner).ok().map(|process| (manner, process));
        result
    }
}

/// Has the text said, and passes on the sound as it comes.
async fn listen(process: &mut Process, text: &str, on_chunk: &mut dyn FnMut(Pcm)) -> Result<(), TtsError> {
    let failed = |reason: &str| TtsError::Failed(format!("espeak-ng: {reason}"));
    // It cannot be fed when it has ended at once, which its exit status explains better.
    let fed = process.feed(text).await;
    let mut wave = Wave::default();
    let mut block = [0; BLOCK];
    loop {
        let read = timeout(PATIENCE, process.stdout.read(&mut block)).await;
        match read.map_err(|_| TtsError::Timeout { waited: PATIENCE })? {
            Ok(0) => break,
            Ok(n) => {
                if let Some(pcm) = wave.push(&block[..n]).map_err(failed)? {
                    on_chunk(pcm);
                }
            }
            Err(error) => return Err(failed(&error.to_string())),
        }
    }
    match process.end().await {
        Some(status) if status.success() && fed.is_ok() && wave.header.is_some() => Ok(()),
        Some(status) => Err(failed(&format!("it gave up ({status})"))),
        None => Err(failed("it was lost")),
    }
}

/// A WAV stream that is being read.
#[derive(Default)]
struct Wave {
    header: Option<Header>,
    /// What was not a whole header, or not a whole sample, yet.
    rest: Vec<u8>,
}

impl Wave {
    fn push(&mut self, bytes: &[u8]) -> Result<Option<Pcm>, &'static str> {
        self.rest.extend_from_slice(bytes);
        if self.header.is_none() {
            self.header = Header::read(&self.rest)?;
            let Some(header) = self.header else { return Ok(None) };
            self.rest.drain(..header.len);
        }
        let rate = self.header.ok_or("no header")?.rate;
        let whole = self.rest.len() & !1;
        let samples: Vec<f32> = self.rest[..whole].chunks_exact(2).map(sample).collect();
        self.rest.drain(..whole);
        Ok((!samples.is_empty()).then_some(Pcm { samples, rate }))
    }
}

fn sample(bytes: &[u8]) -> f32 {
    f32::from(i16::from_le_bytes([bytes[0], bytes[1]])) / 32_768.0
}

/// The languages in the program's table of voices; those of MBROLA need files that are seldom there.
fn languages(table: &str) -> Vec<String> {
    let rows = table.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>());
    let own = rows.filter(|row| row.len() >= 5 && !row[4].starts_with("mb/"));
    let mut languages: Vec<String> = own.map(|row| row[1].to_owned()).collect();
    languages.sort();
    languages.dedup();
    languages
}

/// The women (`f1`, …) and men (`m1`, …) in the program's table of variants.
fn variants(table: &str) -> Vec<String> {
    let files = table.split_whitespace().filter_map(|word| word.strip_prefix("!v/"));
    let plain = |name: &&str| {
        let number = name.strip_prefix(['f', 'm']);
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let mut variants: Vec<String> = files.filter(plain).map(ToOwned::to_owned).collect();
    variants.sort();
    variants
}
