//! How a command fails: one line, a hint, an exit code.

use super::output;
use crate::asr::{AsrError, StartError};
use crate::config::ConfigError;
use crate::gpu::GpuError;
use crate::server::TlsError;
use crate::store::StoreError;
use crate::tts::TtsError;
use crate::vad::VadError;
use anyhow::Error;
use std::process::ExitCode;

/// The command failed.
const FAILED: u8 = 1;
/// What was asked for makes no sense, as for flags that nobody knows.
const USAGE: u8 = 2;
/// A device, a model or a library is not there or does not fit (`EX_UNAVAILABLE`).
const UNAVAILABLE: u8 = 69;
/// The configuration is wrong (`EX_CONFIG`).
const CONFIG: u8 = 78;

/// An error with advice for whoever reads it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct Failure {
    message: String,
    hint: String,
    code: u8,
}

impl Failure {
    /// The command failed, and here is what to do.
    pub(super) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into(), code: FAILED }
    }

    /// What was asked for makes no sense, and here is what does.
    pub(super) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code: USAGE, ..Self::new(message, hint) }
    }

    /// What to do about it.
    pub(super) fn hint(&self) -> &str {
        &self.hint
    }

    /// The configuration is wrong, and here is what would be right.
    pub(super) fn configuration(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code: CONFIG, ..Self::new(message, hint) }
    }

    /// A device, a model or a library is not there or does not fit, and here is what to do.
    pub(super) fn unavailable(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code: UNAVAILABLE, ..Self::new(message, hint) }
    }
}

impl From<TlsError> for Failure {
    /// A certificate that cannot be used.
    fn from(error: TlsError) -> Self {
        Self::configuration(error.to_string(), error.hint())
    }
}

impl From<StoreError> for Failure {
    /// A file that is not there or not usable, and how to get it.
    fn from(error: StoreError) -> Self {
        let hint = error.hint().unwrap_or_else(|| "see `stenopool doctor`".into());
        Self::unavailable(error.to_string(), hint)
    }
}

impl From<GpuError> for Failure {
    /// A device that is not there or does not answer.
    fn from(error: GpuError) -> Self {
        let hint = error.hint().unwrap_or_else(|| "see `stenopool doctor`".into());
        Self::unavailable(error.to_string(), hint)
    }
}

impl From<StartError> for Failure {
    /// A pool without one slot.
    fn from(error: StartError) -> Self {
        match error {
            StartError::Open(error) => Self::unavailable(error.to_string(), NO_SLOT),
            StartError::DoesNotFit(error) => Self::unavailable(error.to_string(), error.hint()),
            StartError::Device(error) => error.into(),
        }
    }
}

/// What to do when not one slot opens.
const NO_SLOT: &str = "choose a smaller model, or see what the log says with --log debug";

/// Tells the user on standard error, and says how to exit.
pub(super) fn report(error: &Error) -> ExitCode {
    if !output::is_unread(error) {
        output::tell(&format!("error: {error:#}"));
    }
    if let Some(hint) = hint(error) {
        output::tell(&format!("hint: {hint}"));
    }
    ExitCode::from(code(error))
}

fn code(error: &Error) -> u8 {
    if error.is::<ConfigError>() {
        return CONFIG;
    }
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return failure.code;
    }
    let model = matches!(error.downcast_ref(), Some(AsrError::Load { .. } | AsrError::Open { .. }));
    let voice = matches!(
        error.downcast_ref(),
        Some(VadError::Runtime { .. } | VadError::Model { .. } | VadError::Device(_))
    );
    let speech = matches!(
        error.downcast_ref(),
        Some(
            TtsError::NotInstalled(_)
                | TtsError::ProgramMissing { .. }
                | TtsError::ModelInvalid { .. }
                | TtsError::Runtime(_)
                | TtsError::Device(_)
        )
    );
    if model || voice || speech { UNAVAILABLE } else { FAILED }
}

fn hint(error: &Error) -> Option<&str> {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return Some(failure.hint());
    }
    if let Some(error) = error.downcast_ref::<ConfigError>() {
        return error.hint();
    }
    if let Some(error) = error.downcast_ref::<TtsError>() {
        return error.hint();
    }
    match (error.downcast_ref(), error.downcast_ref()) {
        (Some(AsrError::Load { .. }), _) => Some(
            "check it with `stenopool models verify`, or fetch it again with `stenopool models pull NAME`",
        ),
        (Some(AsrError::Open { .. }), _) => Some(NO_SLOT),
        (_, Some(error)) => VadError::hint(error),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::InvalidSetting;
    use crate::gpu::{BudgetError, Bytes};

    #[test]
    fn a_wrong_setting_exits_78_also_with_context_around_it() {
        let setting = InvalidSetting::new("pool.slots", 0, "auto or 1 to 256");
        let error = Error::from(ConfigError::from(setting)).context("cannot start");
        assert_eq!(code(&error), 78);
        assert!(hint(&error).is_some());
    }

    #[test]
    fn a_model_that_cannot_be_loaded_exits_69_with_a_hint() {
        let error = AsrError::Load { model: "base.en".into(), reason: "truncated".into() };
        let error = Error::from(error);
        assert_eq!(code(&error), 69);
        assert!(hint(&error).expect("there is advice").contains("models verify"));
    }

    #[test]
    fn a_model_that_does_not_fit_exits_69_with_its_numbers_and_a_hint() {
        let error = BudgetError::DoesNotFit {
            needs: Bytes::mib(3_000),
            left: Bytes::mib(2_000),
            free: Bytes::mib(2_500),
            reserve: Bytes::mib(500),
        };
        let error = Error::from(Failure::from(StartError::from(error)));
        assert_eq!(code(&error), 69);
        assert!(error.to_string().contains("3000.0 MiB"), "{error}");
        assert!(hint(&error).expect("there is advice").contains("gpu.reserve_mib"));
    }

    #[test]
    fn what_nobody_foresaw_exits_1() {
        assert_eq!(code(&Error::msg("the disk is on fire")), 1);
    }
}
