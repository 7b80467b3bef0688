//! A session's configuration: what clients may set, what is in force, and what that means to the session inside.
//!
//! In an update, an omitted field keeps its value and `null` clears it. An update is taken whole or not at all.

use super::beta;
use super::fault::Fault;
use super::field::Field;
use super::talk::TalkConfig;
use super::turn_detection::TurnDetection;
use crate::asr::{DecodeOptions, ModelInfo};
use crate::audio::{AudioError, StreamFormat};
use crate::pool::LeaseScope;
use crate::server::{ModelNames, ServerSettings, spoken_language};
use crate::session::{Assistant, Keeping, LiveSettings, Patience, SessionSettings};
use crate::vad::EndpointSettings;
use serde::Serialize;
use serde_json::{Value, json};

/// What can be included in events.
const LOGPROBS: &str = "item.input_audio_transcription.logprobs";

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SessionType {
    /// Transcripts only.
    Transcription,
    /// Conversation.
    Realtime,
}

/// What a client may set.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SessionConfig {
    pub(super) kind: SessionType,
    pub(super) format: AudioFormat,
    pub(super) transcription: Option<Transcription>,
    pub(super) turn_detection: Option<TurnDetection>,
    /// Taken and shown again; the recognizer copes with noise by itself.
    noise_reduction: Option<NoiseReduction>,
    include: Option<Vec<&'static str>>,
    /// How long its leases are kept.
    lease: LeaseScope,
    /// When speech begins and ends, where the client does not say.
    endpoint: EndpointSettings,
    keeping: Keeping,
    live: LiveSettings,
    /// Whether the end silence depends on the text also where the client says how much it is.
    adaptive: bool,
    /// How it replies, if it does.
    pub(super) talk: TalkConfig,
}

/// What the bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "type")]
pub(super) enum AudioFormat {
    #[serde(rename = "audio/pcm")]
    Pcm { rate: u32 },
    #[serde(rename = "audio/pcmu")]
    Pcmu,
    #[serde(rename = "audio/pcma")]
    Pcma,
}

/// How to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Transcription {
    model: String,
    language: Option<String>,
    prompt: Option<String>,
    /// Words to expect; shown when there are any, like the next.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    keywords: Vec<String>,
    /// What may be spoken, when `language` does not say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    languages: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum NoiseReduction {
    NearField,
    FarField,
}

/// What an update is checked against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds<'a> {
    pub(super) models: &'a ModelNames,
    pub(super) model: &'a ModelInfo,
    /// What the server gives to those who do not ask, and what it lets them ask for.
    pub(super) lease: LeaseTerms,
    /// Whether audio has come, after which the session's type stays what it is.
    pub(super) has_audio: bool,
}

/// For how long leases may be kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct LeaseTerms {
    /// As long as this, unless a client says otherwise.
    pub(super) default: LeaseScope,
    /// Whether a client may.
    pub(super) switching: bool,
}

impl LeaseTerms {
    /// As the server's settings say.
    pub(super) fn of(settings: &ServerSettings) -> Self {
        Self { default: settings.lease, switching: settings.lease_switching }
    }

    fn read(self, field: &Field<'_>) -> Result<LeaseScope, Fault> {
        if field.is_null() {
            return Ok(self.default);
        }
        let scopes = [LeaseScope::Utterance, LeaseScope::Session].map(|scope| (scope.name(), scope));
        let scope = field.choice(&scopes)?;
        if self.switching || scope == self.default {
            return Ok(scope);
        }
        let allowed = self.default.name();
        let message =
            format!("leases cannot be switched on this server; it gives them for \"{allowed}\" only");
        Err(field.fault("lease_fixed", message))
    }
}

impl SessionConfig {
    /// The defaults of a server, for its loaded model.
    pub(super) fn new(
        kind: SessionType,
        model: &str,
        settings: &ServerSettings,
        assistant: &Assistant,
    ) -> Self {
        let ServerSettings { endpoint, lease, keeping, live, adaptive, .. } = settings;
        Self {
            kind,
            format: AudioFormat::DEFAULT,
            transcription: Some(Transcription::new(model)),
            turn_detection: Some(TurnDetection::server_vad(endpoint)),
            noise_reduction: None,
            include: None,
            lease: *lease,
            endpoint: endpoint.clone(),
            keeping: *keeping,
            live: *live,
            adaptive: *adaptive,
            talk: TalkConfig::new(assistant, &settings.talk),
        }
    }

    /// This configuration with an update's `session` applied.
    ///
    /// # Errors
    ///
    /// The first value that is wrong; then nothing of the update counts.
    pub(super) fn updated(&self, session: &Value, bounds: Bounds<'_>) -> Result<Self, Fault> {
        let session = beta::translated(session);
        let session = Field::root("session", &session);
        let mut config = self.clone();
        if let Some(kind) = session.get("type")? {
            config.set_type(&kind, bounds)?;
        }
        if let Some(model) = session.get("model")? {
            known_model(&model, bounds)?;
        }
        if let Some(pool) = session.get("pool")? {
            config.set_pool(&pool, bounds)?;
        }
        if let Some(include) = session.get("include")? {
            config.include = (!include.is_null()).then(|| included(&include)).transpose()?;
        }
        if let Some(audio) = session.get("audio")? {
            config.set_audio(&audio, bounds)?;
        }
        if config.kind == SessionType::Realtime {
            config.talk.update(&session)?;
        }
        if config.kind == SessionType::Transcription {
            config.transcription.get_or_insert_with(|| Transcription::new(&bounds.model.name));
        }
        Ok(config)
    }

    fn set_type(&mut self, field: &Field<'_>, bounds: Bounds<'_>) -> Result<(), Fault> {
        let types = [("transcription", SessionType::Transcription), ("realtime", SessionType::Realtime)];
        let kind = field.choice(&types)?;
        if kind != self.kind && bounds.has_audio {
            return Err(
                field.fault("session_type_fixed", "the session's type cannot change after the first audio")
            );
        }
        self.kind = kind;
        Ok(())
    }

    fn set_pool(&mut self, pool: &Field<'_>, bounds: Bounds<'_>) -> Result<(), Fault> {
        if pool.is_null() {
            self.lease = bounds.lease.default;
            return Ok(());
        }
        pool.only(&["lease", "resume"])?;
        if let Some(lease) = pool.get("lease")? {
            self.lease = bounds.lease.read(&lease)?;
        }
        match pool.get("resume")?.filter(|resume| !resume.is_null()) {
            // What is not there yet is refused, so that nobody relies on it.
            Some(resume) if resume.flag()? => {
                Err(resume.fault("unsupported_value", "sessions cannot be resumed yet"))
            }
            _ => Ok(()),
        }
    }

    fn set_audio(&mut self, audio: &Field<'_>, bounds: Bounds<'_>) -> Result<(), Fault> {
        let input = if audio.is_null() { None } else { audio.get("input")? };
        if audio.is_null() || input.as_ref().is_some_and(Field::is_null) {
            self.clear_input(bounds);
        }
        input.filter(|input| !input.is_null()).map_or(Ok(()), |input| self.set_input(&input, bounds))
    }

    /// The input of a session that was never told anything.
    fn clear_input(&mut self, bounds: Bounds<'_>) {
        self.format = AudioFormat::DEFAULT;
        self.transcription = Some(Transcription::new(&bounds.model.name));
        self.turn_detection = Some(TurnDetection::server_vad(&self.endpoint));
        self.noise_reduction = None;
    }

    fn set_input(&mut self, input: &Field<'_>, bounds: Bounds<'_>) -> Result<(), Fault> {
        if let Some(format) = input.get("format")? {
            self.format = AudioFormat::read(&format, self.format)?;
        }
        if let Some(transcription) = input.get("transcription")? {
            self.transcription = Transcription::read(&transcription, self, bounds)?;
        }
        if let Some(turn_detection) = input.get("turn_detection")? {
            self.turn_detection =
                TurnDetection::read(&turn_detection, self.turn_detection.as_ref(), &self.endpoint)?;
        }
        if let Some(noise_reduction) = input.get("noise_reduction")? {
            self.noise_reduction = NoiseReduction::read(&noise_reduction, self.noise_reduction)?;
        }
        Ok(())
    }

    /// The session object that clients are shown.
    pub(super) fn shown(&self, id: &str, expires_at: u64, model: &str) -> Value {
        let mut session = json!({
            "type": self.kind,
            "object": match self.kind {
                SessionType::Transcription => "realtime.transcription_session",
                SessionType::Realtime => "realtime.session",
            },
            "id": id,
            "expires_at": expires_at,
            "audio": { "input": {
                "format": self.format,
                "transcription": self.transcription,
                "noise_reduction": self.noise_reduction,
                "turn_detection": self.turn_detection,
            } },
            "include": self.include,
            "pool": { "lease": self.lease.name(), "resume": false },
        });
        if self.kind == SessionType::Realtime {
            session["model"] = model.into();
            self.talk.show(&mut session);
        }
        session
    }

    /// Whether texts come with log probabilities.
    pub(super) fn with_logprobs(&self) -> bool {
        self.include.iter().flatten().any(|included| *included == LOGPROBS)
    }

    /// Whether texts of what was said are told.
    pub(super) fn with_transcripts(&self) -> bool {
        self.transcription.is_some()
    }

    /// How it replies, as it is set now.
    pub(super) fn talk(&self) -> TalkConfig {
        let mut talk = self.talk.clone();
        talk.manners = TurnDetection::manners(self.turn_detection.as_ref());
        talk.language =
            self.transcription.as_ref().and_then(|transcription| transcription.options().language);
        talk
    }

    /// How to read. In a conversation all is read, whether or not the client wants to see it: the language model does.
    fn decode(&self) -> Option<DecodeOptions> {
        let asked_for = self.transcription.as_ref().map(Transcription::options);
        match self.kind {
            SessionType::Transcription => asked_for,
            SessionType::Realtime => Some(asked_for.unwrap_or_default()),
        }
    }

    fn patience(&self) -> Option<Patience> {
        let detection = self.turn_detection.as_ref();
        detection.filter(|detection| self.adaptive || !detection.is_exact()).map(TurnDetection::patience)
    }

    /// What it means to the session inside.
    pub(super) fn settings(&self) -> SessionSettings {
        SessionSettings {
            format: self.format.stream_format().expect("rates are checked when they are set"),
            endpoint: TurnDetection::endpoint(self.turn_detection.as_ref(), &self.endpoint),
            decode: self.decode(),
            lease: self.lease,
            keeping: self.keeping,
            live: self.live,
            patience: self.patience(),
            idle_timeout: TurnDetection::idle_timeout(self.turn_detection.as_ref()),
            talk: (self.kind == SessionType::Realtime).then(|| Box::new(self.talk().settings())),
        }
    }
}

impl AudioFormat {
    pub(super) const DEFAULT: Self = Self::Pcm { rate: 24_000 };

    /// As the session inside calls it.
    pub(super) fn of(format: StreamFormat) -> Self {
        match format {
            StreamFormat::Pcm16 { rate } => Self::Pcm { rate: rate.hertz() },
            StreamFormat::MuLaw => Self::Pcmu,
            StreamFormat::ALaw => Self::Pcma,
        }
    }

    pub(super) fn read(field: &Field<'_>, before: Self) -> Result<Self, Fault> {
        if field.is_null() {
            return Ok(Self::DEFAULT);
        }
        let pcm = if matches!(before, Self::Pcm { .. }) { before } else { Self::DEFAULT };
        let formats = [("audio/pcm", pcm), ("audio/pcmu", Self::Pcmu), ("audio/pcma", Self::Pcma)];
        let format = match field.get("type")? {
            Some(kind) => kind.or(Self::DEFAULT, |kind| kind.choice(&formats))?,
            None => before,
        };
        match field.get("rate")? {
            Some(rate) if matches!(format, Self::Pcm { .. }) => rate.or(Self::DEFAULT, Self::pcm),
            _ => Ok(format),
        }
    }

    fn pcm(rate: &Field<'_>) -> Result<Self, Fault> {
        Ok(Self::Pcm { rate: rate.integer(8_000..=48_000)? as u32 })
    }

    /// The same, as the session inside calls it.
    pub(super) fn stream_format(self) -> Result<StreamFormat, AudioError> {
        match self {
            Self::Pcm { rate } => StreamFormat::pcm16(rate),
            Self::Pcmu => Ok(StreamFormat::MuLaw),
            Self::Pcma => Ok(StreamFormat::ALaw),
        }
    }
}

impl Transcription {
    fn new(model: &str) -> Self {
        let (keywords, languages) = (Vec::new(), Vec::new());
        Self { model: model.to_owned(), language: None, prompt: None, keywords, languages }
    }

    fn read(field: &Field<'_>, config: &SessionConfig, bounds: Bounds<'_>) -> Result<Option<Self>, Fault> {
        if field.is_null() && config.kind == SessionType::Transcription {
            return Err(
                field.fault("invalid_value", "a transcription session cannot be without its transcription")
            );
        }
        if field.is_null() {
            return Ok(None);
        }
        let mut this = config.transcription.clone().unwrap_or_else(|| Self::new(&bounds.model.name));
        if let Some(model) = field.get("model")? {
            this.model = known_model(&model, bounds)?;
        }
        if let Some(language) = field.get("language")? {
            this.language = language_of(&language, bounds.model)?;
        }
        if let Some(prompt) = field.get("prompt")? {
            this.prompt = prompt.or(None, |prompt| Ok(Some(prompt.text()?.to_owned())))?;
        }
        if let Some(keywords) = field.get("keywords")? {
            this.keywords = keywords.or(Vec::new(), texts)?;
        }
        if let Some(languages) = field.get("languages")? {
            this.languages = languages.or(Vec::new(), |languages| languages_of(languages, bounds.model))?;
        }
        Ok(Some(this))
    }

    fn options(&self) -> DecodeOptions {
        // One of several languages is for the model to find.
        let only = if let [only] = self.languages.as_slice() { Some(only) } else { None };
        DecodeOptions {
            language: self.language.as_ref().or(only).cloned(),
            prompt: self.whole_prompt(),
            ..DecodeOptions::default()
        }
    }

    /// The keywords, and the prompt after them.
    fn whole_prompt(&self) -> Option<String> {
        let keywords = self.keywords.join(", ");
        let prompt = self.prompt.as_deref().unwrap_or_default().trim();
        let parts = [keywords.as_str(), prompt].into_iter().filter(|part| !part.is_empty());
        Some(parts.collect::<Vec<_>>().join(". ")).filter(|prompt| !prompt.is_empty())
    }
}

impl NoiseReduction {
    fn read(field: &Field<'_>, before: Option<Self>) -> Result<Option<Self>, Fault> {
        if field.is_null() {
            return Ok(None);
        }
        let Some(kind) = field.get("type")? else { return Ok(before) };
        let kinds = [("near_field", Some(Self::NearField)), ("far_field", Some(Self::FarField))];
        kind.or(None, |kind| kind.choice(&kinds))
    }
}

/// The loaded model's name, when the field's name means it.
fn known_model(field: &Field<'_>, bounds: Bounds<'_>) -> Result<String, Fault> {
    if field.is_null() {
        return Ok(bounds.model.name.clone());
    }
    let resolved = bounds.models.resolve(field.text()?);
    resolved.map(str::to_owned).map_err(|unknown| field.fault("model_not_found", unknown.to_string()))
}

fn language_of(field: &Field<'_>, model: &ModelInfo) -> Result<Option<String>, Fault> {
    // Some clients say with an empty name that they do not know.
    if field.is_null() || field.text()?.is_empty() {
        return Ok(None);
    }
    let spoken = spoken_language(field.text()?, model);
    spoken.map(|code| Some(code.to_owned())).map_err(|error| field.fault(error.code(), error.to_string()))
}

/// Those of the languages that the model knows.
///
/// # Errors
///
/// What is wrong with the first, when none is left.
fn languages_of(field: &Field<'_>, model: &ModelInfo) -> Result<Vec<String>, Fault> {
    let (known, wrong): (Vec<_>, Vec<_>) =
        field.elements()?.map(|element| language_of(&element, model)).partition(Result::is_ok);
    let known: Vec<String> = known.into_iter().flatten().flatten().collect();
    match wrong.into_iter().find_map(Result::err) {
        Some(fault) if known.is_empty() => Err(fault),
        _ => Ok(known),
    }
}

/// The texts in a list, without those that are empty.
fn texts(field: &Field<'_>) -> Result<Vec<String>, Fault> {
    let texts = field.elements()?.map(|element| Ok(element.text()?.trim().to_owned()));
    let texts: Result<Vec<String>, Fault> = texts.collect();
    texts.map(|texts| texts.into_iter().filter(|text| !text.is_empty()).collect())
}

fn included(field: &Field<'_>) -> Result<Vec<&'static str>, Fault> {
    field.elements()?.map(|element| element.choice(&[(LOGPROBS, LOGPROBS)])).collect()
}

#[cfg(test)]
mod tests;
