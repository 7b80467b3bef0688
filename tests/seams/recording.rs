//! A long recording without pauses, made of short ones, and what is said in it when.

use std::path::Path;
use stenopool::audio::Span;

const SECOND: f64 = 16_000.0;

/// One word that is said.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    /// With its punctuation.
    pub(crate) text: String,
    /// About where: a clip's sound is shared out among its words by their letters.
    pub(crate) span: Span,
}

/// Sentence on sentence, without any pause.
#[derive(Debug, Default)]
pub(crate) struct Recording {
    pub(crate) samples: Vec<i16>,
    pub(crate) words: Vec<Said>,
}

impl Recording {
    /// Joins the clips that the demo model gets right when they stand alone, each without the silence around its speech,
    /// round by round in a random order, until it is as long as wanted.
    pub(crate) fn new(seed: u64, seconds: usize) -> Self {
        let (clips, mut recording, mut state) = (clips(), Self::default(), seed);
        loop {
            let mut round: Vec<_> = clips.iter().collect();
            while !round.is_empty() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let (samples, text) = round.swap_remove((state >> 33) as usize % round.len());
                recording.append(samples, text);
                if recording.samples.len() >= seconds * SECOND as usize {
                    return recording;
                }
            }
        }
    }

    fn append(&mut self, samples: &[i16], text: &str) {
        let (begin, letters) = (self.samples.len() as u64, text.len() + 1);
        self.samples.extend(samples);
        let place = |byte: usize| begin + (byte * samples.len() / letters) as u64;
        let mut at = 0;
        for word in text.split(' ') {
            let end = at + word.len() + 1;
            self.words.push(Said { text: word.to_owned(), span: Span::new(place(at), place(end)) });
            at = end;
        }
    }

    /// As it goes over the wire.
    pub(crate) fn pcm16(&self) -> Vec<u8> {
        self.samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
    }
}

fn clips() -> Vec<(Vec<i16>, String)> {
    let eval = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings/eval");
    let [table, reliable] =
        ["transcripts.tsv", "reliable.tsv"].map(|name| std::fs::read_to_string(eval.join(name)).unwrap());
    let rows = table.lines().skip(1).map(|line| line.split('\t').collect::<Vec<_>>());
    let clip = |row: Vec<&str>| {
        let samples: Vec<i16> =
            hound::WavReader::open(eval.join(row[0])).unwrap().samples().map(Result::unwrap).collect();
        let at = |seconds: &str| ((seconds.parse::<f64>().unwrap() * SECOND) as usize).min(samples.len());
        let (from, to) = row[5].split_once('-').unwrap();
        (samples[at(from)..at(to)].to_vec(), row[4].to_owned())
    };
    rows.filter(|row| reliable.contains(row[0]) && row[2] != "silence/noise").map(clip).collect()
}
