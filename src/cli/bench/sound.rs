//! What is decoded: recordings, cut to what Whisper hears at once, or noise.

use crate::asr::noise;
use crate::audio::{FileReader, SampleRate, Span, Utterance, samples_in};
use crate::cli::failure::Failure;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What Whisper hears at once.
pub(super) const WINDOW: Duration = Duration::from_secs(30);

/// How long the noise lasts that stands for an utterance.
const UTTERANCE: Duration = Duration::from_secs(5);

/// Utterances to decode, one after the other and then from the first again.
pub(super) struct Sound {
    /// One or more.
    pub(super) utterances: Vec<Arc<Utterance>>,
    /// What it is, for people.
    pub(super) what: String,
    /// Whether words may be expected.
    pub(super) is_speech: bool,
}

impl Sound {
    /// Noise, which says how long work takes and not what comes of it.
    pub(super) fn noise() -> Self {
        let what = format!("{} s of noise", UTTERANCE.as_secs());
        Self { utterances: vec![Arc::new(noise(UTTERANCE))], what, is_speech: false }
    }

    /// 30 s of it: the widest decode there is.
    pub(super) fn widest() -> Self {
        let what = format!("{} s of noise", WINDOW.as_secs());
        Self { utterances: vec![Arc::new(noise(WINDOW))], what, is_speech: false }
    }

    /// A recording, or all that are in a folder. Longer ones are cut every 30 s.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when there is none, or one cannot be read.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let mut utterances = Vec::new();
        let files = files(path)?;
        for file in &files {
            utterances.extend(decode(file)?);
        }
        if utterances.is_empty() {
            let hint = "name an audio file, or a folder of them";
            return Err(Failure::new(format!("there is nothing to decode in {}", path.display()), hint));
        }
        let seconds: f64 = utterances.iter().map(|utterance| utterance.span.duration().as_secs_f64()).sum();
        let what =
            format!("{} recordings, {:.1} s on average", files.len(), seconds / utterances.len() as f64);
        Ok(Self { utterances, what, is_speech: true })
    }

    /// The one whose length is most like that of a sentence.
    pub(super) fn typical(&self) -> &Arc<Utterance> {
        let off = |utterance: &&Arc<Utterance>| utterance.span.duration().abs_diff(UTTERANCE);
        self.utterances.iter().min_by_key(off).expect("there is always one")
    }

    /// The same, with silence behind it up to 30 s; noise goes on instead.
    pub(super) fn typical_in_a_whole_window(&self) -> Arc<Utterance> {
        if !self.is_speech {
            return Arc::new(noise(WINDOW));
        }
        let mut samples = self.typical().samples.clone();
        samples.resize(samples_in(WINDOW) as usize, 0.0);
        spoken(&samples)
    }
}

/// The file itself, or those in a folder that are named like sound, in order.
fn files(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let listed = std::fs::read_dir(path).map_err(|error| unreadable(path, &error))?;
    let mut files: Vec<PathBuf> =
        listed.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| sounds(path)).collect();
    files.sort();
    Ok(files)
}

fn sounds(path: &Path) -> bool {
    const ENDINGS: [&str; 8] = ["wav", "flac", "mp3", "ogg", "opus", "m4a", "webm", "aiff"];
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    path.is_file() && ENDINGS.contains(&&*ending.to_lowercase())
}

fn decode(path: &Path) -> Result<Vec<Arc<Utterance>>, Failure> {
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    let extension = path.extension().and_then(|extension| extension.to_str());
    let mut reader = FileReader::open(file, extension).map_err(|error| unreadable(path, &error))?;
    let mut samples = Vec::new();
    while let Some(more) = reader.read().map_err(|error| unreadable(path, &error))? {
        samples.extend(more);
    }
    let pieces = samples.chunks(samples_in(WINDOW) as usize);
    // What is left behind a cut may be too short to say anything.
    let least = SampleRate::SPEECH.hertz() as usize / 10;
    Ok(pieces.filter(|piece| piece.len() >= least).map(spoken).collect())
}

/// An utterance that is speech throughout.
pub(super) fn spoken(samples: &[f32]) -> Arc<Utterance> {
    Arc::new(Utterance::spoken(Span::new(0, samples.len() as u64), samples.to_vec()))
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(
        format!("cannot read {}: {error}", path.display()),
        "name an audio file, or a folder of them",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(path: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(path)
    }

    #[test]
    fn a_folder_gives_all_its_recordings_and_a_file_itself() {
        let one = Sound::read(&fixture("fixtures/audio/speech.flac")).unwrap();
        assert_eq!(one.utterances.len(), 1);
        let all = Sound::read(&fixture("recordings/speech")).unwrap();
        assert_eq!((all.utterances.len(), all.is_speech), (6, true));
        assert!(all.utterances.iter().all(|utterance| utterance.span.duration() <= WINDOW));
        let seconds = |utterance: &Utterance| utterance.span.duration().as_secs_f64();
        assert!((seconds(all.typical()) - 5.0).abs() < 2.5, "{}", seconds(all.typical()));
        assert_eq!(all.typical_in_a_whole_window().span.duration(), WINDOW);
    }

    #[test]
    fn what_is_no_sound_is_refused_with_its_name() {
        for path in ["nowhere.wav", "nvml/stub.c"] {
            let error = Sound::read(&fixture(path)).err().expect("it is no sound").to_string();
            assert!(error.contains(path), "{error}");
        }
        let empty = tempfile::tempdir().unwrap();
        assert!(Sound::read(empty.path()).is_err());
    }
}
