//! Word error of labelled recordings, each decoded in one piece: the same on every device, without the cuts of a detector.

use super::figures::{Check, WordFigures, rounded};
use super::sound::spoken;
use super::stand::Workshop;
use crate::asr::{DecodeOptions, Lanes};
use crate::audio::SampleRate;
use crate::cli::failure::Failure;
use crate::load::{Clip, read_clips, word_errors, words};
use crate::pool::{Class, FlowInfo};
use anyhow::Context;
use futures_util::{StreamExt as _, TryStreamExt as _};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tokio::time::Instant;

/// How far the word error of two devices may be apart: half a point.
const MOST_APART: f64 = 0.005;

/// The labelled recordings of a folder.
///
/// # Errors
///
/// A [`Failure`] when there are none.
pub(super) fn read(folder: &Path) -> Result<Vec<Arc<Clip>>, Failure> {
    let hint = "name a folder of recordings with their transcripts.tsv, which has the columns file and text";
    // Where in a recording somebody speaks is of no use here.
    let clips = read_clips(folder, SampleRate::SPEECH, &mut |_| Ok(Vec::new()));
    clips.map_err(|error| Failure::new(error.to_string(), hint))
}

/// What one device read.
pub(super) struct Read {
    pub(super) figures: WordFigures,
    /// The words of each recording.
    texts: Vec<Vec<String>>,
}

/// Decodes all recordings on as many slots as keep the machine busy.
///
/// # Errors
///
/// What keeps a server from starting, or a decode that failed.
pub(super) async fn measure(workshop: &Workshop, clips: &[Arc<Clip>]) -> anyhow::Result<Read> {
    let stand = workshop.stand(workshop.share.slots.min(workshop.most_slots()), None).await?;
    let slots = stand.all_open().await.max(1);
    let begun = Instant::now();
    let lanes = stand.lanes();
    let texts: Vec<Vec<String>> =
        futures_util::stream::iter(clips.iter().cloned().map(|clip| text(lanes, clip)))
            .buffered(slots.into())
            .try_collect()
            .await?;
    let seconds = rounded(begun.elapsed().as_secs_f64(), 1);
    stand.supervisor.stop().await;
    let device = workshop.found.gpu.map_or("cpu".into(), |gpu| format!("cuda:{gpu}"));
    Ok(Read { figures: figures(device, clips, &texts, seconds), texts })
}

async fn text(lanes: &Lanes, clip: Arc<Clip>) -> anyhow::Result<Vec<String>> {
    let samples: Vec<f32> = clip.samples.iter().map(|sample| f32::from(*sample) / 32_768.0).collect();
    let options = DecodeOptions { language: Some("en".into()), ..DecodeOptions::default() };
    let lane = lanes.open(FlowInfo::request("bench"));
    let read = lane.transcribe(spoken(&samples), options, Class::Final, None).await;
    Ok(words(&read.with_context(|| clip.file.clone())?.hypothesis.text()))
}

fn figures(device: String, clips: &[Arc<Clip>], texts: &[Vec<String>], seconds: f64) -> WordFigures {
    let mut kinds: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for (clip, text) in clips.iter().zip(texts) {
        let said = words(&clip.text);
        let (errors, all) = kinds.entry(clip.kind.clone()).or_default();
        *errors += word_errors(&said, text);
        *all += said.len();
    }
    let (errors, all) = kinds.values().fold((0, 0), |sum, kind| (sum.0 + kind.0, sum.1 + kind.1));
    let rate = |(errors, all): (usize, usize)| rounded(errors as f64 / all.max(1) as f64, 4);
    let with_words = kinds.into_iter().filter(|(_, (_, all))| *all > 0);
    WordFigures {
        device,
        recordings: clips.len(),
        words: all,
        errors,
        wer: rate((errors, all)),
        wer_by_kind: with_words.map(|(kind, counted)| (kind, rate(counted))).collect(),
        seconds,
    }
}

/// Whether two devices read the same recordings equally well.
pub(super) fn compared(one: &Read, other: &Read) -> Check {
    let (a, b) = (&one.figures, &other.figures);
    let differ = one.texts.iter().zip(&other.texts).filter(|(one, other)| one != other).count();
    let apart = (a.wer - b.wer).abs();
    let detail = format!(
        "{} {:.2} %, {} {:.2} %: {:.2} points apart, half a point is allowed; {differ} of {} recordings were read differently",
        a.device,
        a.wer * 100.0,
        b.device,
        b.wer * 100.0,
        apart * 100.0,
        a.recordings
    );
    Check::new("word error", apart <= MOST_APART, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(kind: &str, text: &str) -> Arc<Clip> {
        let samples: Arc<[i16]> = vec![0; 16_000].into();
        let (file, rate) = (format!("{kind}.wav"), SampleRate::SPEECH);
        Arc::new(Clip { file, kind: kind.into(), text: text.into(), samples, rate, speech: Vec::new() })
    }

    fn read(device: &str, clips: &[Arc<Clip>], texts: &[&str]) -> Read {
        let texts: Vec<Vec<String>> = texts.iter().map(|text| words(text)).collect();
        Read { figures: figures(device.into(), clips, &texts, 1.0), texts }
    }

    #[test]
    fn words_of_all_recordings_count_and_those_of_each_kind() {
        let clips = [clip("clear", "Set a timer."), clip("hard", "Five six seven."), clip("silence", "")];
        let figures = read("cpu", &clips, &["set a timer", "five sick", ""]).figures;
        assert_eq!((figures.words, figures.errors, figures.recordings), (6, 2, 3));
        assert!((figures.wer - 0.3333).abs() < 1e-9);
        assert_eq!(figures.wer_by_kind.keys().collect::<Vec<_>>(), ["clear", "hard"]);
        // Words where there are none are errors of the whole.
        assert_eq!(read("cpu", &clips, &["set a timer", "five six seven", "you"]).figures.errors, 1);
    }

    #[test]
    fn two_devices_may_be_half_a_point_apart() {
        let clips = [clip("long", &"word ".repeat(400))];
        let text = |wrong: usize| "word ".repeat(400 - wrong) + &"ward ".repeat(wrong);
        let apart =
            |wrong| compared(&read("cpu", &clips, &[&text(0)]), &read("cuda:0", &clips, &[&text(wrong)]));
        assert!(apart(0).passed && apart(2).passed);
        assert!(!apart(3).passed);
        assert!(apart(3).detail.contains("0.75 points apart"), "{}", apart(3).detail);
        assert!(apart(1).detail.contains("1 of 1 recordings were read differently"));
    }
}
