//! When an utterance ends, as clients say it.

use super::fault::Fault;
use super::field::Field;
use crate::vad::EndpointSettings;
use serde::Serialize;
use std::time::Duration;

/// When an utterance ends.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum TurnDetection {
    ServerVad {
        threshold: f64,
        prefix_padding_ms: u64,
        silence_duration_ms: u64,
        #[serde(flatten)]
        replies: Replies,
    },
    SemanticVad {
        eagerness: Eagerness,
        #[serde(flatten)]
        replies: Replies,
    },
}

/// What a turn does to replies; kept for the day when there are any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Replies {
    create_response: bool,
    interrupt_response: bool,
}

/// How soon the speaker is believed to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Eagerness {
    Low,
    Medium,
    High,
    Auto,
}

impl TurnDetection {
    /// The default, as the server is set.
    pub(super) fn server_vad(
        &EndpointSettings { threshold, prefix, end_silence, .. }: &EndpointSettings,
    ) -> Self {
        Self::ServerVad {
            // Shown to four places, as it was written and not as a float holds it.
            threshold: (f64::from(threshold) * 1e4).round() / 1e4,
            prefix_padding_ms: prefix.as_millis() as u64,
            silence_duration_ms: end_silence.as_millis() as u64,
            replies: Replies { create_response: true, interrupt_response: true },
        }
    }

    fn semantic_vad() -> Self {
        let replies = Replies { create_response: true, interrupt_response: true };
        Self::SemanticVad { eagerness: Eagerness::Auto, replies }
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
        let semantic = match field.get("type")? {
            Some(kind) => kind.choice(&[("server_vad", false), ("semantic_vad", true)])?,
            None => matches!(before, Some(Self::SemanticVad { .. })),
        };
        let default = if semantic { Self::semantic_vad() } else { Self::server_vad(defaults) };
        let same_kind = |before: &&Self| matches!(before, Self::SemanticVad { .. }) == semantic;
        let mut this = before.filter(same_kind).cloned().unwrap_or(default);
        this.set(field)?;
        Ok(Some(this))
    }

    /// What it means to the endpointer; `None` leaves the cutting to commits.
    pub(super) fn endpoint(this: Option<&Self>, defaults: &EndpointSettings) -> EndpointSettings {
        let defaults = defaults.clone();
        match this {
            None => EndpointSettings { automatic: false, ..defaults },
            Some(&Self::ServerVad { threshold, prefix_padding_ms, silence_duration_ms, .. }) => {
                EndpointSettings {
                    threshold: threshold as f32,
                    prefix: Duration::from_millis(prefix_padding_ms),
                    end_silence: Duration::from_millis(silence_duration_ms),
                    ..defaults
                }
            }
            Some(Self::SemanticVad { eagerness, .. }) => {
                EndpointSettings { end_silence: eagerness.end_silence(), ..defaults }
            }
        }
    }

    fn set(&mut self, field: &Field<'_>) -> Result<(), Fault> {
        let given = |key| Ok(field.get(key)?.filter(|value| !value.is_null()));
        match self {
            Self::ServerVad { threshold, prefix_padding_ms, silence_duration_ms, replies } => {
                if let Some(value) = given("threshold")? {
                    *threshold = value.number(0.0..=1.0)?;
                }
                if let Some(value) = given("prefix_padding_ms")? {
                    *prefix_padding_ms = value.integer(EndpointSettings::PREFIX_MS)?;
                }
                if let Some(value) = given("silence_duration_ms")? {
                    *silence_duration_ms = value.integer(EndpointSettings::END_SILENCE_MS)?;
                }
                replies.set(field)
            }
            Self::SemanticVad { eagerness, replies } => {
                if let Some(value) = given("eagerness")? {
                    *eagerness = value.choice(&Eagerness::NAMES)?;
                }
                replies.set(field)
            }
        }
    }
}

impl Replies {
    fn set(&mut self, field: &Field<'_>) -> Result<(), Fault> {
        if let Some(value) = field.get("create_response")?.filter(|value| !value.is_null()) {
            self.create_response = value.flag()?;
        }
        if let Some(value) = field.get("interrupt_response")?.filter(|value| !value.is_null()) {
            self.interrupt_response = value.flag()?;
        }
        Ok(())
    }
}

impl Eagerness {
    const NAMES: [(&'static str, Self); 4] =
        [("low", Self::Low), ("medium", Self::Medium), ("high", Self::High), ("auto", Self::Auto)];

    /// Until something here understands what was said, eagerness is patience with silence.
    fn end_silence(self) -> Duration {
        Duration::from_millis(match self {
            Self::Low => 800,
            Self::Medium | Self::Auto => 500,
            Self::High => 300,
        })
    }
}
