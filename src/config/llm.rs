//! The tables `[llm]` and `[talk]`: who replies in conversations, and how.

use super::error::InvalidSetting;
use super::raw::{RawEndpoint, RawLlm, RawTalk};
use super::settings::within;
use crate::llm::{Budget, Endpoint, LlmSettings};
use crate::server::TalkDefaults;
use crate::session::{EchoSettings, TalkTerms};
use std::num::NonZeroUsize;
use std::time::Duration;

/// The model that is asked for where none is named. Servers with one model answer to any name.
const MODEL: &str = "default";

/// Who replies; `None`: nobody is configured, and the echo does.
///
/// # Errors
///
/// The first value that is wrong.
pub(super) fn language_model(raw: &RawLlm) -> Result<Option<LlmSettings>, InvalidSetting> {
    let Some(url) = &raw.url else {
        return match raw.fallback.first() {
            Some(_) => Err(InvalidSetting::new("llm.url", "missing", "the endpoint before the fallbacks")),
            None => Ok(None),
        };
    };
    let primary = endpoint("llm.url", url, raw.model.as_deref(), raw.key.as_deref())?;
    let fallback =
        |raw: &RawEndpoint| endpoint("llm.fallback.url", &raw.url, raw.model.as_deref(), raw.key.as_deref());
    let default = LlmSettings::new(primary);
    let seconds = |key, given, range| Ok(within(key, given, range)?.map(Duration::from_secs));
    let concurrency = within("llm.concurrency", raw.concurrency, 1..=4_096)?;
    let keep_warm = match within("llm.keep_warm_s", raw.keep_warm_s, 0..=86_400)? {
        None => default.keep_warm,
        Some(0) => None,
        Some(pause) => Some(Duration::from_secs(pause)),
    };
    Ok(Some(LlmSettings {
        fallbacks: raw.fallback.iter().map(fallback).collect::<Result<_, _>>()?,
        concurrency: concurrency.and_then(|n| NonZeroUsize::new(n as usize)).unwrap_or(default.concurrency),
        max_waiting: within("llm.max_waiting", raw.max_waiting, 0..=100_000)?
            .map_or(default.max_waiting, |n| n as usize),
        first_token: seconds("llm.first_token_s", raw.first_token_s, 1..=600)?.unwrap_or(default.first_token),
        stall: seconds("llm.stall_s", raw.stall_s, 1..=600)?.unwrap_or(default.stall),
        total: seconds("llm.total_s", raw.total_s, 1..=3_600)?.unwrap_or(default.total),
        retries: within("llm.retries", raw.retries, 0..=10)?.map_or(default.retries, |n| n as u32),
        keep_warm,
        ..default
    }))
}

fn endpoint(
    setting: &'static str,
    url: &str,
    model: Option<&str>,
    key: Option<&str>,
) -> Result<Endpoint, InvalidSetting> {
    let wrong = |error: crate::llm::LlmError| {
        let expected = format!("an OpenAI-compatible address, as in http://127.0.0.1:11434/v1 ({error})");
        InvalidSetting::new(setting, "no endpoint", expected)
    };
    Endpoint::new(url, model.unwrap_or(MODEL), key).map_err(wrong)
}

impl TryFrom<RawTalk> for TalkDefaults {
    type Error = InvalidSetting;

    fn try_from(raw: RawTalk) -> Result<Self, Self::Error> {
        let default = Self::default();
        let TalkTerms { lead, memory, speculate, echo } = default.terms;
        let turns = within("talk.turns", raw.turns, 1..=1_000)?;
        let level = raw.echo_db.unwrap_or(echo.level);
        if !(-100.0..=0.0).contains(&level) {
            return Err(InvalidSetting::new("talk.echo_db", level, "-100 to 0"));
        }
        let ms = |key, given, range| Ok(within(key, given, range)?.map(Duration::from_millis));
        Ok(Self {
            instructions: raw.instructions.unwrap_or(default.instructions),
            max_tokens: within("talk.max_tokens", raw.max_tokens, 1..=128_000)?.map(|n| n as u32),
            terms: TalkTerms {
                lead: ms("talk.lead_ms", raw.lead_ms, 20..=10_000)?.unwrap_or(lead),
                memory: Budget {
                    turns: turns.and_then(|n| NonZeroUsize::new(n as usize)).unwrap_or(memory.turns),
                    tokens: within("talk.tokens", raw.tokens, 100..=10_000_000)?
                        .map_or(memory.tokens, |n| n as usize),
                },
                speculate: raw.speculate.unwrap_or(speculate),
                echo: EchoSettings {
                    speech: ms("talk.echo_ms", raw.echo_ms, 0..=10_000)?.unwrap_or(echo.speech),
                    level,
                },
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn llm(text: &str) -> Result<Option<LlmSettings>, InvalidSetting> {
        language_model(&toml::from_str::<RawLlm>(text).unwrap())
    }

    fn talk(text: &str) -> Result<TalkDefaults, InvalidSetting> {
        toml::from_str::<RawTalk>(text).unwrap().try_into()
    }

    #[test]
    fn where_no_model_is_named_nobody_is_asked() {
        assert_eq!(llm("").unwrap(), None);
        assert_eq!(llm("concurrency = 4").unwrap(), None);
    }

    #[test]
    fn endpoints_are_asked_in_the_order_in_which_they_are_written() {
        let text = "url = \"http://a/v1\"\nmodel = \"m\"\nkeep_warm_s = 0\n\
                    [[fallback]]\nurl = \"http://b/v1\"\n[[fallback]]\nurl = \"http://c/v1\"\nmodel = \"n\"";
        let settings = llm(text).unwrap().unwrap();
        let endpoints: Vec<_> = settings.endpoints().map(|it| (it.base(), it.model())).collect();
        assert_eq!(endpoints, [("http://a/v1", "m"), ("http://b/v1", MODEL), ("http://c/v1", "n")]);
        assert_eq!(settings.keep_warm, None);
    }

    #[test]
    fn nonsense_is_refused_under_its_name_and_without_telling_keys() {
        for (text, key) in [
            ("url = \"x\"", "llm.url"),
            ("url = \"http://u:hunter2@x/v1\"", "llm.url"),
            ("url = \"http://x/v1\"\nconcurrency = 0", "llm.concurrency"),
            ("[[fallback]]\nurl = \"http://x/v1\"", "llm.url"),
            ("url = \"http://x/v1\"\n[[fallback]]\nurl = \"x\"", "llm.fallback.url"),
        ] {
            let error = llm(text).unwrap_err();
            assert_eq!(error.key, key, "{text}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        for (text, key) in [
            ("echo_db = 3.0", "talk.echo_db"),
            ("turns = 0", "talk.turns"),
            ("lead_ms = 5", "talk.lead_ms"),
            ("max_tokens = 0", "talk.max_tokens"),
        ] {
            assert_eq!(talk(text).unwrap_err().key, key, "{text}");
        }
    }

    #[test]
    fn what_is_not_set_is_as_usual() {
        assert_eq!(talk("").unwrap(), TalkDefaults::default());
        let set = talk("instructions = \"Be kind.\"\nspeculate = true\nlead_ms = 300").unwrap();
        assert_eq!((set.instructions.as_str(), set.terms.speculate), ("Be kind.", true));
        assert_eq!(set.terms.lead, Duration::from_millis(300));
    }
}
