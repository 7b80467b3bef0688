//! The fields of a transcription request, from text to meaning. Pure.
//!
//! What can be honoured is; a value that cannot is refused with its field's name. Fields that nobody knows are ignored.

use super::formats::OutputFormat;
use super::languages::{LanguageError, language_code, spoken_language};
use super::{ModelNames, UnknownModel};
use crate::asr::{DecodeOptions, EncoderWindow, ModelInfo, Task};
use crate::session::recording_endpoints;
use crate::vad::EndpointSettings;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// Why the fields of a request make no sense here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// A value outside what its field takes.
    #[error("{param} is \"{value}\"; expected {expected}")]
    InvalidValue {
        /// The field.
        param: &'static str,
        /// What it was given, shortened.
        value: String,
        /// What it takes.
        expected: String,
    },
    /// A value that OpenAI's API knows and this server cannot honour.
    #[error("{param} cannot be honoured here: {reason}")]
    Unsupported {
        /// The field.
        param: &'static str,
        /// Why not.
        reason: String,
    },
    /// A language that is none, or that the model does not know.
    #[error("{param}: {error}")]
    Language {
        /// The field.
        param: &'static str,
        /// What is wrong with it.
        error: LanguageError,
    },
    /// A model that is not loaded.
    #[error(transparent)]
    Model(#[from] UnknownModel),
}

impl RequestError {
    /// The stable name of this error on the wire, in logs and in metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidValue { .. } => "invalid_value",
            Self::Unsupported { .. } => "unsupported_value",
            Self::Language { error, .. } => error.code(),
            Self::Model(error) => error.code(),
        }
    }

    /// The field at fault.
    pub fn param(&self) -> &'static str {
        match self {
            Self::InvalidValue { param, .. }
            | Self::Unsupported { param, .. }
            | Self::Language { param, .. } => param,
            Self::Model(_) => "model",
        }
    }
}

/// The text fields of a form, in the order they came.
#[derive(Debug, Default)]
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    const KNOWN: [&'static str; 13] = [
        "model",
        "language",
        "prompt",
        "response_format",
        "temperature",
        "timestamp_granularities",
        "stream",
        "include",
        "chunking_strategy",
        "keywords",
        "languages",
        "known_speaker_names",
        "known_speaker_references",
    ];

    /// Whether a field of this name means anything: its brackets (`include[]`, `chunking_strategy[type]`) do not count.
    pub(crate) fn knows(name: &str) -> bool {
        Self::KNOWN.contains(&base(name))
    }

    pub(crate) fn insert(&mut self, name: String, value: String) {
        self.0.push((name, value));
    }

    /// The last value of a field. Many clients send an empty one for a field that was left out.
    fn last(&self, name: &'static str) -> Option<&str> {
        self.all(name).last()
    }

    /// All values of a field that may stand several times, with and without `[]`.
    fn all(&self, name: &'static str) -> impl Iterator<Item = &str> {
        let named = move |field: &&(String, String)| field.0.strip_suffix("[]").unwrap_or(&field.0) == name;
        self.0.iter().filter(named).map(|(_, value)| value.as_str()).filter(|value| !value.trim().is_empty())
    }

    /// The fields `name[key]`, as an object.
    fn object(&self, name: &str) -> Map<String, Value> {
        let keyed = self.0.iter().filter_map(|(field, value)| {
            let key = field.strip_prefix(name)?.strip_prefix('[')?.strip_suffix(']')?;
            Some((key.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| value.as_str().into())))
        });
        keyed.filter(|(key, _)| !key.is_empty()).collect()
    }
}

fn base(name: &str) -> &str {
    name.split('[').next().unwrap_or(name)
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "OpenAI's fields, each on or off by itself")]
pub(crate) struct TranscriptionRequest {
    /// As the client put it: an English-only model translates by transcribing.
    pub(crate) task: Task,
    pub(crate) options: DecodeOptions,
    pub(crate) endpoint: EndpointSettings,
    pub(crate) format: OutputFormat,
    pub(crate) with_segments: bool,
    pub(crate) with_words: bool,
    pub(crate) with_logprobs: bool,
    pub(crate) stream: bool,
}

impl TranscriptionRequest {
    /// Reads the fields of a request for `task` to this model; `live` is when speech begins and ends on a live stream.
    pub(crate) fn read(
        task: Task,
        fields: &Fields,
        names: &ModelNames,
        model: &ModelInfo,
        live: &EndpointSettings,
    ) -> Result<Self, RequestError> {
        names.resolve(fields.last("model").unwrap_or_else(|| names.loaded()))?;
        refuse_speakers(fields)?;
        let format = format(fields)?;
        let granularity = Granularity::read(fields, format)?;
        let options = DecodeOptions {
            language: language(fields, model)?,
            task: if model.multilingual { task } else { Task::Transcribe },
            prompt: prompt(fields),
            temperature: temperature(fields)?,
            timestamps: format.timestamps(granularity.words),
            ..DecodeOptions::default()
        };
        let Granularity { segments: with_segments, words: with_words } = granularity;
        let (endpoint, stream) = (endpoint(fields, model.window, live)?, stream(fields, format)?);
        let with_logprobs = logprobs(fields, format)?;
        Ok(Self { task, options, endpoint, format, with_segments, with_words, with_logprobs, stream })
    }
}

fn invalid(param: &'static str, value: &str, expected: impl Into<String>) -> RequestError {
    RequestError::InvalidValue { param, value: value.chars().take(60).collect(), expected: expected.into() }
}

fn unsupported(param: &'static str, reason: impl Into<String>) -> RequestError {
    RequestError::Unsupported { param, reason: reason.into() }
}

fn refuse_speakers(fields: &Fields) -> Result<(), RequestError> {
    for param in ["known_speaker_names", "known_speaker_references"] {
        if fields.last(param).is_some() {
            return Err(unsupported(param, "this server does not tell speakers apart"));
        }
    }
    Ok(())
}

/// As with OpenAI, only the plain object has a place for them.
fn logprobs(fields: &Fields, format: OutputFormat) -> Result<bool, RequestError> {
    match fields.last("include") {
        None => Ok(false),
        Some("logprobs") if format == OutputFormat::Json => Ok(true),
        Some("logprobs") => Err(unsupported("include", "logprobs need response_format json")),
        Some(other) => Err(invalid("include", other, "logprobs")),
    }
}

fn format(fields: &Fields) -> Result<OutputFormat, RequestError> {
    match fields.last("response_format") {
        None => Ok(OutputFormat::default()),
        Some("diarized_json") => {
            Err(unsupported("response_format", "diarized_json needs speakers, which are not told apart here"))
        }
        Some(name) => OutputFormat::from_str(name)
            .map_err(|_| invalid("response_format", name, one_of(&OutputFormat::NAMES))),
    }
}

fn one_of(names: &[&str]) -> String {
    format!("one of {}", names.join(", "))
}

/// What `verbose_json` lists.
#[derive(Clone, Copy)]
struct Granularity {
    segments: bool,
    words: bool,
}

impl Granularity {
    fn read(fields: &Fields, format: OutputFormat) -> Result<Self, RequestError> {
        const PARAM: &str = "timestamp_granularities";
        let mut wanted = Self { segments: false, words: false };
        for value in fields.all(PARAM) {
            match value {
                "segment" => wanted.segments = true,
                "word" => wanted.words = true,
                other => return Err(invalid(PARAM, other, "word or segment")),
            }
        }
        if !wanted.segments && !wanted.words {
            return Ok(Self { segments: true, words: false });
        }
        if format != OutputFormat::VerboseJson {
            return Err(unsupported(PARAM, "only response_format verbose_json has a place for them"));
        }
        Ok(wanted)
    }
}

/// The language given, or the only one that `languages` leaves; for an English-only model always English.
fn language(fields: &Fields, model: &ModelInfo) -> Result<Option<String>, RequestError> {
    let fault = |param| move |error| RequestError::Language { param, error };
    if let Some(given) = fields.last("language") {
        return Ok(Some(spoken_language(given, model).map_err(fault("language"))?.to_owned()));
    }
    let hints: Vec<&str> = fields.all("languages").collect();
    let codes: Result<Vec<_>, _> = hints.iter().map(|hint| spoken_language(hint, model)).collect();
    match codes {
        Ok(codes) if codes.is_empty() => Ok((!model.multilingual).then(|| "en".to_owned())),
        Ok(codes) if codes.iter().all(|code| *code == codes[0]) => Ok(Some(codes[0].to_owned())),
        Ok(_) => Err(unsupported("languages", "detection cannot be limited to some; give one, or none")),
        Err(LanguageError::EnglishOnly { .. })
            if hints.iter().any(|hint| language_code(hint) == Some("en")) =>
        {
            Ok(Some("en".to_owned()))
        }
        Err(error) => Err(fault("languages")(error)),
    }
}

/// Keywords come before the prompt, because what stands last steers most.
fn prompt(fields: &Fields) -> Option<String> {
    let keywords = fields.all("keywords").collect::<Vec<_>>().join(", ");
    let keywords = (!keywords.is_empty()).then(|| keywords + ".");
    let pieces: Vec<&str> = keywords.as_deref().into_iter().chain(fields.last("prompt")).collect();
    (!pieces.is_empty()).then(|| pieces.join(" "))
}

fn temperature(fields: &Fields) -> Result<f32, RequestError> {
    let Some(value) = fields.last("temperature") else { return Ok(0.0) };
    let number = value.trim().parse::<f32>().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| invalid("temperature", value, "a number from 0 to 1"))
}

fn stream(fields: &Fields, format: OutputFormat) -> Result<bool, RequestError> {
    let Some(value) = fields.last("stream") else { return Ok(false) };
    let wanted = match value.to_ascii_lowercase().as_str() {
        "true" | "1" => true,
        "false" | "0" => false,
        _ => return Err(invalid("stream", value, "true or false")),
    };
    if wanted && !matches!(format, OutputFormat::Json | OutputFormat::Text) {
        return Err(unsupported("stream", "events carry text only; ask for response_format json or text"));
    }
    Ok(wanted)
}

/// OpenAI's `server_vad`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServerVad {
    r#type: String,
    prefix_padding_ms: Option<u64>,
    silence_duration_ms: Option<u64>,
    threshold: Option<f32>,
}

/// What the client says about pauses, or else what suits the model.
fn endpoint(
    fields: &Fields,
    window: EncoderWindow,
    live: &EndpointSettings,
) -> Result<EndpointSettings, RequestError> {
    const PARAM: &str = "chunking_strategy";
    const EXPECTED: &str = "auto, or {\"type\": \"server_vad\"} with prefix_padding_ms (0 to 5000), \
        silence_duration_ms (50 to 10000) and threshold (0 to 1)";
    let automatic = recording_endpoints(window, live);
    let keyed = fields.object(PARAM);
    let (shown, strategy) = match fields.last(PARAM) {
        None if keyed.is_empty() => return Ok(automatic),
        Some("auto") => return Ok(automatic),
        Some(text) => (text.to_owned(), serde_json::from_str::<ServerVad>(text)),
        None => (Value::from(keyed.clone()).to_string(), serde_json::from_value(keyed.into())),
    };
    let vad = strategy.map_err(|error| invalid(PARAM, &shown, format!("{EXPECTED} ({error})")))?;
    vad.settings(live).ok_or_else(|| invalid(PARAM, &shown, EXPECTED))
}

impl ServerVad {
    /// The settings it means, if all its numbers are in range.
    fn settings(&self, live: &EndpointSettings) -> Option<EndpointSettings> {
        let threshold = self.threshold.unwrap_or(live.threshold);
        let prefix = self.prefix_padding_ms.map_or(live.prefix, Duration::from_millis);
        let end_silence = self.silence_duration_ms.map_or(live.end_silence, Duration::from_millis);
        let within =
            |given: Option<u64>, range: RangeInclusive<u64>| given.is_none_or(|ms| range.contains(&ms));
        let fits = self.r#type == "server_vad"
            && (0.0..=1.0).contains(&threshold)
            && within(self.prefix_padding_ms, EndpointSettings::PREFIX_MS)
            && within(self.silence_duration_ms, EndpointSettings::END_SILENCE_MS);
        fits.then(|| EndpointSettings { threshold, prefix, end_silence, ..live.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asr::Timestamps;

    fn model(multilingual: bool) -> ModelInfo {
        ModelInfo { name: "demo".into(), multilingual, window: EncoderWindow::Fit }
    }

    /// Reads `name=value` fields for a model that knows English only, or for one that knows all languages.
    fn read_for(
        multilingual: bool,
        task: Task,
        fields: &[&str],
    ) -> Result<TranscriptionRequest, RequestError> {
        let mut form = Fields::default();
        for (name, value) in fields.iter().map(|field| field.split_once('=').unwrap()) {
            assert!(Fields::knows(name), "{name}");
            form.insert(name.into(), value.into());
        }
        let names = ModelNames::new("demo".into(), vec!["whisper-1".into()]);
        TranscriptionRequest::read(task, &form, &names, &model(multilingual), &EndpointSettings::default())
    }

    fn read(fields: &[&str]) -> Result<TranscriptionRequest, RequestError> {
        read_for(true, Task::Transcribe, fields)
    }

    /// The code and the field of the error.
    fn refusal(fields: &[&str]) -> (&'static str, &'static str) {
        let error = read(fields).expect_err("the fields make no sense");
        (error.code(), error.param())
    }

    #[test]
    fn everything_has_a_default() {
        let request = read(&[]).unwrap();
        assert_eq!(request.options, DecodeOptions::default());
        assert_eq!((request.format, request.stream), (OutputFormat::Json, false));
        assert_eq!(read(&["language=", "prompt=", "temperature=", "stream=", "model="]).unwrap(), request);
    }

    #[test]
    fn every_field_arrives_where_it_works() {
        let request = read(&[
            "model=whisper-1",
            "language=German",
            "prompt=Say it.",
            "keywords[]=Kubernetes",
            "keywords[]=etcd",
            "response_format=verbose_json",
            "temperature=0.4",
            "timestamp_granularities[]=word",
            "timestamp_granularities[]=segment",
            "chunking_strategy=auto",
        ])
        .unwrap();
        let options = DecodeOptions {
            language: Some("de".into()),
            task: Task::Transcribe,
            prompt: Some("Kubernetes, etcd. Say it.".into()),
            temperature: 0.4,
            timestamps: Timestamps::Word,
            ..DecodeOptions::default()
        };
        assert_eq!(request.options, options);
        assert!(request.with_words && request.with_segments);
    }

    #[test]
    fn times_are_asked_for_only_where_they_are_shown() {
        let timestamps = |format| read(&[format]).unwrap().options.timestamps;
        assert_eq!(timestamps("response_format=text"), Timestamps::None);
        assert_eq!(timestamps("response_format=srt"), Timestamps::Segment);
        assert_eq!(timestamps("response_format=verbose_json"), Timestamps::Segment);
    }

    #[test]
    fn values_out_of_range_are_refused_with_their_field() {
        let cases = [
            ("language=klingon", "language"),
            ("languages[]=xx", "languages"),
            ("response_format=xml", "response_format"),
            ("temperature=1.01", "temperature"),
            ("temperature=warm", "temperature"),
            ("temperature=NaN", "temperature"),
            ("stream=maybe", "stream"),
            ("include[]=secrets", "include"),
            ("timestamp_granularities[]=char", "timestamp_granularities"),
            ("chunking_strategy=fast", "chunking_strategy"),
            (r#"chunking_strategy={"type":"server_vad","threshold":7}"#, "chunking_strategy"),
            (r#"chunking_strategy={"type":"server_vad","treshold":0.7}"#, "chunking_strategy"),
        ];
        for (field, param) in cases {
            assert_eq!(refusal(&[field]), ("invalid_value", param), "{field}");
        }
    }

    #[test]
    fn what_openai_knows_and_we_do_not_is_refused_as_unsupported() {
        let cases = [
            ("response_format=diarized_json", "response_format"),
            ("known_speaker_names[]=ann", "known_speaker_names"),
            ("known_speaker_references[]=data:", "known_speaker_references"),
            ("timestamp_granularities=word", "timestamp_granularities"),
        ];
        for (field, param) in cases {
            assert_eq!(refusal(&[field]), ("unsupported_value", param), "{field}");
        }
        assert_eq!(refusal(&["stream=true", "response_format=srt"]), ("unsupported_value", "stream"));
        assert_eq!(refusal(&["languages=de", "languages=fr"]), ("unsupported_value", "languages"));
    }

    #[test]
    fn an_unknown_model_is_not_found() {
        assert_eq!(refusal(&["model=whisper-9"]), ("model_not_found", "model"));
    }

    #[test]
    fn server_vad_comes_as_json_or_as_bracketed_fields() {
        let expected = EndpointSettings {
            threshold: 0.7,
            end_silence: Duration::from_millis(200),
            ..EndpointSettings::default()
        };
        let json = r#"chunking_strategy={"type":"server_vad","threshold":0.7,"silence_duration_ms":200}"#;
        assert_eq!(read(&[json]).unwrap().endpoint, expected);
        let bracketed = [
            "chunking_strategy[type]=server_vad",
            "chunking_strategy[threshold]=0.7",
            "chunking_strategy[silence_duration_ms]=200",
        ];
        assert_eq!(read(&bracketed).unwrap().endpoint, expected);
    }

    #[test]
    fn a_client_that_says_nothing_about_pauses_gets_what_suits_the_model() {
        let full = ModelInfo { window: EncoderWindow::Full, ..model(true) };
        let names = ModelNames::new("demo".into(), Vec::new());
        let request = TranscriptionRequest::read(
            Task::Transcribe,
            &Fields::default(),
            &names,
            &full,
            &EndpointSettings::default(),
        )
        .unwrap();
        assert_eq!(request.endpoint, recording_endpoints(EncoderWindow::Full, &EndpointSettings::default()));
        assert_ne!(request.endpoint, EndpointSettings::default());
    }

    #[test]
    fn an_english_model_takes_english_and_refuses_the_rest() {
        let read = |fields: &[&str]| read_for(false, Task::Transcribe, fields);
        for fields in [&[][..], &["language=en"], &["languages[]=de", "languages[]=en"]] {
            assert_eq!(read(fields).unwrap().options.language.as_deref(), Some("en"), "{fields:?}");
        }
        let error = read(&["language=de"]).unwrap_err();
        assert_eq!(error.to_string(), "language: the model \"demo\" knows English only, and not german");
        assert_eq!(read(&["languages=de"]).unwrap_err().param(), "languages");
    }

    #[test]
    fn an_english_model_translates_english_by_writing_it_down() {
        let request = read_for(false, Task::Translate, &[]).unwrap();
        assert_eq!((request.task, request.options.task), (Task::Translate, Task::Transcribe));
        let request = read_for(true, Task::Translate, &[]).unwrap();
        assert_eq!((request.task, request.options.task), (Task::Translate, Task::Translate));
    }

    #[test]
    fn the_last_of_several_values_counts() {
        let request = read(&["language=de", "language=fr"]).unwrap();
        assert_eq!(request.options.language.as_deref(), Some("fr"));
    }
}
