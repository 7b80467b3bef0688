//! A finished transcript in the formats of OpenAI's API. Pure; the command line prints the same documents.

use super::languages::language_name;
use crate::asr::{Segment, Task, Timestamps, Token, Word, append};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde::Serialize;
use std::fmt::Write as _;
use std::io::Write as _;
use std::str::FromStr;
use std::time::Duration;

/// What a transcript is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutputFormat {
    /// An object with the text.
    #[default]
    Json,
    /// The bare text and a line feed.
    Text,
    /// `SubRip` subtitles.
    Srt,
    /// `WebVTT` subtitles.
    Vtt,
    /// An object with text, times and what the decoder thought.
    VerboseJson,
}

/// A format nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown format \"{0}\"; known are {known}", known = OutputFormat::NAMES.join(", "))]
pub struct UnknownFormat(pub String);

/// What is to be written.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "OpenAI's fields, each on or off by itself")]
pub struct TranscriptDocument<'a> {
    /// What was asked for.
    pub task: Task,
    /// ISO 639-1 code of the language that was spoken.
    pub language: &'a str,
    /// How long the recording is.
    pub duration: Duration,
    /// In order of time.
    pub segments: &'a [Segment],
    /// Whether [`OutputFormat::VerboseJson`] lists segments.
    pub with_segments: bool,
    /// Whether [`OutputFormat::VerboseJson`] lists words.
    pub with_words: bool,
    /// Whether [`OutputFormat::Json`] lists the log probability of every token.
    pub with_logprobs: bool,
    /// Whether the recording broke off before its time; JSON then says so under `pool`.
    pub truncated: bool,
}

impl OutputFormat {
    /// All formats, as they are named.
    pub const NAMES: [&'static str; 5] = ["json", "text", "srt", "verbose_json", "vtt"];

    /// How closely a document in this format tells times; `words` asks for those of words, where it has a place for them.
    pub fn timestamps(self, words: bool) -> Timestamps {
        match self {
            Self::Json | Self::Text => Timestamps::None,
            Self::VerboseJson if words => Timestamps::Word,
            Self::VerboseJson | Self::Srt | Self::Vtt => Timestamps::Segment,
        }
    }

    /// The media type of a document in this format.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json | Self::VerboseJson => "application/json",
            Self::Text => "text/plain; charset=utf-8",
            Self::Srt => "application/x-subrip; charset=utf-8",
            Self::Vtt => "text/vtt; charset=utf-8",
        }
    }
}

impl FromStr for OutputFormat {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        match name {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            "srt" => Ok(Self::Srt),
            "vtt" => Ok(Self::Vtt),
            "verbose_json" => Ok(Self::VerboseJson),
            _ => Err(UnknownFormat(name.to_owned())),
        }
    }
}

impl TranscriptDocument<'_> {
    /// The whole text: the segments, one behind the other.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for segment in self.segments {
            append(&mut text, &segment.text);
        }
        text
    }
}

/// Writes the document.
pub fn render(format: OutputFormat, document: &TranscriptDocument) -> String {
    match format {
        OutputFormat::Json => to_json(&PlainWire::of(document)),
        OutputFormat::Text => document.text() + "\n",
        OutputFormat::Srt => srt(document.segments),
        OutputFormat::Vtt => vtt(document.segments),
        OutputFormat::VerboseJson => to_json(&VerboseWire::of(document)),
    }
}

fn to_json(document: &impl Serialize) -> String {
    serde_json::to_string(document).expect("documents have string keys only")
}

/// What the caller is charged for: the length of the audio.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct UsageWire {
    r#type: &'static str,
    seconds: f64,
}

impl UsageWire {
    pub(crate) fn of(duration: Duration) -> Self {
        Self { r#type: "duration", seconds: milliseconds(duration.as_secs_f64()) }
    }
}

/// What OpenAI's shapes have no place for.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct PoolWire {
    truncated: bool,
}

impl PoolWire {
    /// Only there when there is something to say.
    pub(crate) fn of(truncated: bool) -> Option<Self> {
        truncated.then_some(Self { truncated })
    }
}

#[derive(Serialize)]
struct PlainWire {
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<Vec<LogprobWire>>,
    usage: UsageWire,
    #[serde(skip_serializing_if = "Option::is_none")]
    pool: Option<PoolWire>,
}

impl PlainWire {
    fn of(document: &TranscriptDocument) -> Self {
        Self {
            text: document.text(),
            logprobs: document.with_logprobs.then(|| logprobs(document.segments)),
            usage: UsageWire::of(document.duration),
            pool: PoolWire::of(document.truncated),
        }
    }
}

/// How sure the model was of one token.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct LogprobWire {
    token: String,
    bytes: Vec<u8>,
    logprob: f32,
}

impl LogprobWire {
    fn of(token: &Token) -> Self {
        let text = String::from_utf8_lossy(&token.bytes).into_owned();
        Self { token: text, bytes: token.bytes.clone(), logprob: token.logprob }
    }
}

/// All tokens of these segments.
pub(crate) fn logprobs(segments: &[Segment]) -> Vec<LogprobWire> {
    segments.iter().flat_map(|segment| &segment.tokens).map(LogprobWire::of).collect()
}

#[derive(Serialize)]
struct VerboseWire<'a> {
    task: &'static str,
    language: &'a str,
    duration: f64,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    segments: Option<Vec<SegmentWire<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    words: Option<Vec<WordWire<'a>>>,
    usage: UsageWire,
    #[serde(skip_serializing_if = "Option::is_none")]
    pool: Option<PoolWire>,
}

impl<'a> VerboseWire<'a> {
    fn of(document: &'a TranscriptDocument<'a>) -> Self {
        let segments = || document.segments.iter().enumerate().map(SegmentWire::of).collect();
        let words =
            || document.segments.iter().flat_map(|segment| &segment.words).map(WordWire::of).collect();
        Self {
            task: task_name(document.task),
            language: language_name(document.language),
            duration: milliseconds(document.duration.as_secs_f64()),
            text: document.text(),
            segments: document.with_segments.then(segments),
            words: document.with_words.then(words),
            usage: UsageWire::of(document.duration),
            pool: PoolWire::of(document.truncated),
        }
    }
}

fn task_name(task: Task) -> &'static str {
    match task {
        Task::Transcribe => "transcribe",
        Task::Translate => "translate",
    }
}

#[derive(Serialize)]
struct SegmentWire<'a> {
    id: usize,
    /// Where the segment begins, in hundredths of a second (the encoder's frames).
    seek: u64,
    start: f64,
    end: f64,
    text: &'a str,
    tokens: Vec<i32>,
    temperature: f32,
    avg_logprob: f32,
    compression_ratio: f32,
    /// 0 where the engine's figure means nothing: OpenAI's clients demand a number.
    no_speech_prob: f32,
}

impl<'a> SegmentWire<'a> {
    fn of((id, segment): (usize, &'a Segment)) -> Self {
        Self {
            id,
            seek: segment.span.start / 160,
            start: milliseconds(segment.span.start_seconds()),
            end: milliseconds(segment.span.end_seconds()),
            text: &segment.text,
            tokens: segment.tokens.iter().map(|token| token.id).collect(),
            temperature: segment.temperature,
            avg_logprob: segment.avg_logprob,
            compression_ratio: compression_ratio(&segment.text),
            no_speech_prob: segment.no_speech_prob.unwrap_or(0.0),
        }
    }
}

#[derive(Serialize)]
struct WordWire<'a> {
    word: &'a str,
    start: f64,
    end: f64,
}

impl<'a> WordWire<'a> {
    fn of(word: &'a Word) -> Self {
        Self {
            word: &word.text,
            start: milliseconds(word.span.start_seconds()),
            end: milliseconds(word.span.end_seconds()),
        }
    }
}

/// Seconds, rounded to milliseconds: more digits would only pretend.
fn milliseconds(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

/// How many times smaller zlib makes the text; repetition shows as a high ratio.
fn compression_ratio(text: &str) -> f32 {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).expect("writing to memory does not fail");
    let compressed = encoder.finish().expect("writing to memory does not fail");
    text.len() as f32 / compressed.len() as f32
}

fn srt(segments: &[Segment]) -> String {
    let mut out = String::new();
    for (number, segment) in (1..).zip(segments) {
        let (start, end) = cue_times(segment, ',');
        writeln!(out, "{number}\n{start} --> {end}\n{}\n", one_line(&segment.text)).expect(IN_MEMORY);
    }
    out
}

fn vtt(segments: &[Segment]) -> String {
    let mut out = String::from("WEBVTT\n\n");
    for segment in segments {
        let (start, end) = cue_times(segment, '.');
        // In WebVTT these begin markup, and `-->` ends a cue's text.
        let text = one_line(&segment.text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        writeln!(out, "{start} --> {end}\n{text}\n").expect(IN_MEMORY);
    }
    out
}

const IN_MEMORY: &str = "writing to a string does not fail";

/// A cue's text ends at an empty line, so it may not hold one.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn cue_times(segment: &Segment, mark: char) -> (String, String) {
    (clock(segment.span.start_seconds(), mark), clock(segment.span.end_seconds(), mark))
}

/// `HH:MM:SS` and, after `mark`, milliseconds.
fn clock(seconds: f64, mark: char) -> String {
    let total = (seconds * 1000.0).round() as u64;
    let (hours, minutes) = (total / 3_600_000, total / 60_000 % 60);
    format!("{hours:02}:{minutes:02}:{:02}{mark}{:03}", total / 1000 % 60, total % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::Span;
    use proptest::prelude::*;

    fn segment(text: &str, start: u64, end: u64) -> Segment {
        let word = |text: &str| Word { text: text.into(), span: Span::new(start, end), probability: 0.9 };
        Segment {
            text: text.into(),
            span: Span::new(start, end),
            tokens: vec![
                Token { id: 50, bytes: b" Li".to_vec(), logprob: -0.25 },
                Token { id: 51, bytes: vec![0xc3], logprob: -0.5 },
            ],
            words: text.split(' ').map(word).collect(),
            avg_logprob: -0.25,
            no_speech_prob: None,
            temperature: 0.0,
        }
    }

    fn document(segments: &[Segment]) -> TranscriptDocument<'_> {
        TranscriptDocument {
            task: Task::Transcribe,
            language: "en",
            duration: Duration::from_millis(4500),
            segments,
            with_segments: true,
            with_words: false,
            with_logprobs: false,
            truncated: false,
        }
    }

    fn two() -> [Segment; 2] {
        [segment("Lights on.", 1600, 32_000), segment("Two <b> & three.", 32_000, 57_601_600)]
    }

    #[test]
    fn json_has_the_text_and_what_it_cost() {
        insta::assert_snapshot!(
            render(OutputFormat::Json, &document(&two())),
            @r#"{"text":"Lights on. Two <b> & three.","usage":{"type":"duration","seconds":4.5}}"#
        );
    }

    #[test]
    fn json_lists_log_probabilities_when_they_are_asked_for_also_of_parts_of_characters() {
        let segments = [segment("Li", 0, 1600)];
        let document = TranscriptDocument { with_logprobs: true, ..document(&segments) };
        let json: serde_json::Value = serde_json::from_str(&render(OutputFormat::Json, &document)).unwrap();
        assert_eq!(
            json["logprobs"],
            serde_json::json!([
                { "token": " Li", "bytes": [32, 76, 105], "logprob": -0.25 },
                { "token": "\u{fffd}", "bytes": [195], "logprob": -0.5 },
            ])
        );
    }

    #[test]
    fn text_is_the_bare_text() {
        assert_eq!(render(OutputFormat::Text, &document(&two())), "Lights on. Two <b> & three.\n");
    }

    #[test]
    fn srt_numbers_its_cues_from_one() {
        assert_eq!(
            render(OutputFormat::Srt, &document(&two())),
            "1\n00:00:00,100 --> 00:00:02,000\nLights on.\n\n\
             2\n00:00:02,000 --> 01:00:00,100\nTwo <b> & three.\n\n"
        );
    }

    #[test]
    fn vtt_escapes_what_would_be_markup() {
        assert_eq!(
            render(OutputFormat::Vtt, &document(&two())),
            "WEBVTT\n\n00:00:00.100 --> 00:00:02.000\nLights on.\n\n\
             00:00:02.000 --> 01:00:00.100\nTwo &lt;b&gt; &amp; three.\n\n"
        );
    }

    #[test]
    fn verbose_json_has_the_shape_of_openai() {
        let segments = [segment("Lights on.", 1600, 32_000)];
        let document = TranscriptDocument { with_words: true, ..document(&segments) };
        insta::assert_snapshot!(
            render(OutputFormat::VerboseJson, &document).replace("},{", "},\n{").replace(",\"", ",\n\""),
            @r#"
            {"task":"transcribe",
            "language":"english",
            "duration":4.5,
            "text":"Lights on.",
            "segments":[{"id":0,
            "seek":10,
            "start":0.1,
            "end":2.0,
            "text":"Lights on.",
            "tokens":[50,51],
            "temperature":0.0,
            "avg_logprob":-0.25,
            "compression_ratio":0.5555556,
            "no_speech_prob":0.0}],
            "words":[{"word":"Lights",
            "start":0.1,
            "end":2.0},
            {"word":"on.",
            "start":0.1,
            "end":2.0}],
            "usage":{"type":"duration",
            "seconds":4.5}}
            "#
        );
    }

    #[test]
    fn words_alone_leave_the_segments_out() {
        let segments = two();
        let document = TranscriptDocument { with_words: true, with_segments: false, ..document(&segments) };
        let json = render(OutputFormat::VerboseJson, &document);
        assert!(json.contains("\"words\"") && !json.contains("\"segments\""), "{json}");
    }

    #[test]
    fn a_recording_that_broke_off_says_so() {
        let document = TranscriptDocument { truncated: true, ..document(&[]) };
        assert!(render(OutputFormat::Json, &document).contains(r#""pool":{"truncated":true}"#));
    }

    #[test]
    fn silence_gives_valid_and_empty_documents() {
        let rendered = |format| render(format, &document(&[]));
        assert_eq!(rendered(OutputFormat::Text), "\n");
        assert_eq!(rendered(OutputFormat::Srt), "");
        assert_eq!(rendered(OutputFormat::Vtt), "WEBVTT\n\n");
        assert!(rendered(OutputFormat::VerboseJson).contains(r#""segments":[]"#));
    }

    #[test]
    fn every_format_is_known_by_its_name_and_others_are_not() {
        assert!(OutputFormat::NAMES.iter().all(|name| name.parse::<OutputFormat>().is_ok()));
        let error = "xml".parse::<OutputFormat>().unwrap_err();
        assert_eq!(error.to_string(), "unknown format \"xml\"; known are json, text, srt, verbose_json, vtt");
    }

    #[test]
    fn repetition_compresses_better_than_speech() {
        assert!(compression_ratio(&"again ".repeat(50)) > 5.0);
        assert!(compression_ratio("Set a timer for fifteen minutes.") < 1.5);
    }

    proptest! {
        /// Fails when text can break out of its cue, for instance with an empty line or an arrow.
        #[test]
        fn no_text_adds_a_cue(texts in prop::collection::vec("[a-z<>&\n\r -]{1,20}", 0..5)) {
            let segments: Vec<_> = texts.iter().map(|text| segment(text, 0, 16_000)).collect();
            let vtt = render(OutputFormat::Vtt, &document(&segments));
            prop_assert_eq!(vtt.matches("-->").count(), segments.len());
            let srt = render(OutputFormat::Srt, &document(&segments));
            prop_assert_eq!(srt.lines().filter(|line| line.parse::<usize>().is_ok()).count(), segments.len());
        }
    }
}
