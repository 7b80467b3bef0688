//! The labelled recordings beside the checkout, and how well a text matches its label.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One recording and what is said in it.
#[derive(Debug, Clone)]
pub(crate) struct Recording {
    pub(crate) path: PathBuf,
    pub(crate) kind: String,
    pub(crate) text: String,
}

impl Recording {
    /// Its samples as PCM16 at 16 kHz, little endian.
    pub(crate) fn pcm16(&self) -> Vec<u8> {
        let mut reader = hound::WavReader::open(&self.path).unwrap();
        reader.samples::<i16>().flat_map(|sample| sample.unwrap().to_le_bytes()).collect()
    }
}

/// All recordings.
pub(crate) fn all() -> Vec<Recording> {
    read("transcripts.tsv")
}

/// Those that the demo model gets right to the letter in every mode.
pub(crate) fn reliable() -> Vec<Recording> {
    read("reliable.tsv")
}

fn read(table: &str) -> Vec<Recording> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/demo-model/eval");
    let rows = std::fs::read_to_string(folder.join(table)).expect("the recordings lie beside the checkout");
    let mut rows = rows.lines().map(|row| row.split('\t').collect::<Vec<_>>());
    let names = rows.next().expect("a table has a head");
    let column = |name| names.iter().position(|column| *column == name).expect("the table has this column");
    let (file, kind, text) = (column("file"), column("kind"), column("text"));
    rows.map(|row| Recording { path: folder.join(row[file]), kind: row[kind].into(), text: row[text].into() })
        .collect()
}

/// What was measured when the demo model was made, in percent of words for each kind, whole files in one piece.
const MEASURED: [(&str, f64); 4] =
    [("seen-voice", 0.7), ("unseen-voice", 25.6), ("human-digits", 5.9), ("long", 21.8)];

/// Fails when a kind's word error is more than two points above what was measured, or when silence gave text.
pub(crate) fn assert_as_measured(heard: &[(Recording, String)]) {
    let mut tally: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (recording, text) in heard {
        let (said, got) = (words(&recording.text), words(text));
        let (errors, total) = tally.entry(&recording.kind).or_default();
        *errors += distance(&said, &got);
        *total += said.len();
    }
    assert_eq!(tally["silence/noise"], (0, 0), "silence gave text");
    for (kind, measured) in MEASURED {
        let (errors, total) = tally[kind];
        let percent = 100.0 * errors as f64 / total as f64;
        assert!(
            percent <= measured + 2.0,
            "{kind}: {percent:.1} % of words are wrong, {measured} % were measured"
        );
    }
}

/// Words alone: lower case, no punctuation, hyphens as spaces.
fn words(text: &str) -> Vec<String> {
    let lower = text.to_lowercase().replace('-', " ");
    lower
        .split(|char: char| !char.is_alphanumeric() && char != '\'')
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Substitutions, insertions and deletions (Levenshtein distance).
fn distance(said: &[String], got: &[String]) -> usize {
    let mut row: Vec<usize> = (0..=got.len()).collect();
    for (i, word) in said.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, other) in got.iter().enumerate() {
            let substituted = diagonal + usize::from(word != other);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[got.len()]
}
