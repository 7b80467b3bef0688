//! When an utterance ends, as clients say it.

use super::fault::Fault;
use super::field::Field;
use crate::session::{Manners, Patience};
use crate::vad::EndpointSettings;
use serde::Serialize;
use std::ops::RangeInclusive;
use std::time::Duration;

/// For how long a session can be told to wait for somebody to speak; OpenAI's limits.
const IDLE_TIMEOUT_MS: RangeInclusive<u64> = 5_000..=30_000;

/// When an utterance ends.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum TurnDetection {
    ServerVad(ServerVad),
    SemanticVad(SemanticVad),
}

/// After so much silence.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct ServerVad {
    threshold: f64,
    prefix_padding_ms: u64,
    silence_duration_ms: u64,
    /// When silence is an utterance, too.
    idle_timeout_ms: Option<u64>,
    #[serde(flatten)]
    replies: Replies,
}

/// When what was said sounds complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct SemanticVad {
    eagerness: Eagerness,
    #[serde(flatten)]
    replies: Replies,
}

/// What a turn does to replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Replies {
    create_response: bool,
    interrupt_response: bool,
}

/// How soon the speaker is believed to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Eagerness {
    Low,
    Medium,
    High,
    Auto,
}

impl TurnDetection {
    /// The default, as the server is set.
    pub(super) fn server_vad(defaults: &EndpointSettings) -> Self {
        Self::ServerVad(ServerVad::of(defaults))
    }

    /// Reads the field over what was set before; `null` is manual mode.
    pub(super) fn read(
        field: &Field<'_>,
        before: Option<&Self>,
        defaults: &EndpointSettings,
    ) -> Result<Option<Self>, Fault> {
        if field.is_null() {
            return Ok(None);
        }
        let kinds = [("server_vad", false), ("semantic_vad", true)];
        let semantic = match field.get("type")? {
            Some(kind) => kind.or(false, |kind| kind.choice(&kinds))?,
            None => matches!(before, Some(Self::SemanticVad(_))),
        };
        if semantic {
            let before = before.and_then(Self::as_semantic_vad).unwrap_or(SemanticVad::DEFAULT);
            return before.updated(field).map(Self::SemanticVad).map(Some);
        }
        let before = before.and_then(Self::as_server_vad).cloned();
        let before = before.unwrap_or_else(|| ServerVad::of(defaults));
        before.updated(field, &ServerVad::of(defaults)).map(Self::ServerVad).map(Some)
    }

    /// What it means to the endpointer; `None` leaves the cutting to commits.
    pub(super) fn endpoint(this: Option<&Self>, defaults: &EndpointSettings) -> EndpointSettings {
        let defaults = defaults.clone();
        let Some(this) = this else { return EndpointSettings { automatic: false, ..defaults } };
        let defaults = EndpointSettings { end_silence: this.patience().unclear, ..defaults };
        match this.as_server_vad() {
            None => defaults,
            Some(&ServerVad { threshold, prefix_padding_ms, .. }) => EndpointSettings {
                threshold: threshold as f32,
                prefix: Duration::from_millis(prefix_padding_ms),
                ..defaults
            },
        }
    }

    /// How much silence it takes to end an utterance, by what was said.
    pub(super) fn patience(&self) -> Patience {
        match self {
            Self::ServerVad(vad) => Patience::server_vad(Duration::from_millis(vad.silence_duration_ms)),
            Self::SemanticVad(vad) => vad.eagerness.patience(),
        }
    }

    /// Whether the client says how much silence ends an utterance, whatever was said.
    pub(super) fn is_exact(&self) -> bool {
        matches!(self, Self::ServerVad(_))
    }

    /// After how much silence the silence itself is committed, if ever.
    pub(super) fn idle_timeout(this: Option<&Self>) -> Option<Duration> {
        this.and_then(Self::as_server_vad)?.idle_timeout_ms.map(Duration::from_millis)
    }

    /// What a turn does to replies. Without a detector nothing is answered by itself, and nobody is interrupted.
    pub(super) fn manners(this: Option<&Self>) -> Manners {
        let replies = match this {
            None => return Manners { create: false, interrupt: false },
            Some(Self::ServerVad(vad)) => vad.replies,
            Some(Self::SemanticVad(vad)) => vad.replies,
        };
        Manners { create: replies.create_response, interrupt: replies.interrupt_response }
    }

    fn as_server_vad(&self) -> Option<&ServerVad> {
        match self {
            Self::ServerVad(vad) => Some(vad),
            Self::SemanticVad(_) => None,
        }
    }

    fn as_semantic_vad(&self) -> Option<SemanticVad> {
        match self {
            Self::ServerVad(_) => None,
            Self::SemanticVad(vad) => Some(*vad),
        }
    }
}

impl ServerVad {
    fn of(&EndpointSettings { threshold, prefix, end_silence, .. }: &EndpointSettings) -> Self {
        Self {
            // Shown to four places, as it was written and not as a float holds it.
            threshold: (f64::from(threshold) * 1e4).round() / 1e4,
            prefix_padding_ms: prefix.as_millis() as u64,
            silence_duration_ms: end_silence.as_millis() as u64,
            idle_timeout_ms: None,
            replies: Replies::DEFAULT,
        }
    }

    fn updated(mut self, field: &Field<'_>, default: &Self) -> Result<Self, Fault> {
        if let Some(value) = field.get("threshold")? {
            self.threshold = value.or(default.threshold, |value| value.number(0.0..=1.0))?;
        }
        if let Some(value) = field.get("prefix_padding_ms")? {
            let read = |value: &Field<'_>| value.integer(EndpointSettings::PREFIX_MS);
            self.prefix_padding_ms = value.or(default.prefix_padding_ms, read)?;
        }
        if let Some(value) = field.get("silence_duration_ms")? {
            let read = |value: &Field<'_>| value.integer(EndpointSettings::END_SILENCE_MS);
            self.silence_duration_ms = value.or(default.silence_duration_ms, read)?;
        }
        if let Some(value) = field.get("idle_timeout_ms")? {
            self.idle_timeout_ms = value.or(None, |value| value.integer(IDLE_TIMEOUT_MS).map(Some))?;
        }
        self.replies = self.replies.updated(field)?;
        Ok(self)
    }
}

impl SemanticVad {
    const DEFAULT: Self = Self { eagerness: Eagerness::Auto, replies: Replies::DEFAULT };

    fn updated(mut self, field: &Field<'_>) -> Result<Self, Fault> {
        if let Some(value) = field.get("eagerness")? {
            self.eagerness = value.or(Self::DEFAULT.eagerness, |value| value.choice(&Eagerness::NAMES))?;
        }
        self.replies = self.replies.updated(field)?;
        Ok(self)
    }
}

impl Replies {
    const DEFAULT: Self = Self { create_response: true, interrupt_response: true };

    fn updated(mut self, field: &Field<'_>) -> Result<Self, Fault> {
        if let Some(value) = field.get("create_response")? {
            self.create_response = value.or(Self::DEFAULT.create_response, Field::flag)?;
        }
        if let Some(value) = field.get("interrupt_response")? {
            self.interrupt_response = value.or(Self::DEFAULT.interrupt_response, Field::flag)?;
        }
        Ok(self)
    }
}

impl Eagerness {
    const NAMES: [(&'static str, Self); 4] =
        [("low", Self::Low), ("medium", Self::Medium), ("high", Self::High), ("auto", Self::Auto)];

    fn patience(self) -> Patience {
        match self {
            Self::Low => Patience::low(),
            Self::Medium | Self::Auto => Patience::medium(),
            Self::High => Patience::high(),
        }
    }
}
