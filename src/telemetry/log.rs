//! Which log lines are written, and how they look.
//!
//! They go to standard error, so that standard output stays free for results.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::SubscriberBuilder;
use tracing_subscriber::util::SubscriberInitExt;

/// Under which name ggml writes to the log.
const GGML: &str = "whisper_rs::ggml_logging_hook";

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One line each, for people.
    Text,
    /// One JSON object each, for machines.
    Json,
}

impl LogFormat {
    /// Whether somebody is there to read.
    pub fn is_for_people(self) -> bool {
        self == Self::Text
    }
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// Directives as in `warn,stenopool=info`; `None` leaves it to the command.
    pub filter: Option<String>,
    /// How log lines look.
    pub format: LogFormat,
}

impl LogSettings {
    /// The directives that a level or directives stand for; `None` when they make no sense.
    ///
    /// A bare level means our own modules. The libraries below us (whisper.cpp and ONNX Runtime talk a lot at `info`)
    /// stay at `warn` unless they are named.
    pub fn filter_for(level: &str) -> Option<String> {
        let level = level.trim();
        let bare = ["off", "error", "warn", "info", "debug", "trace"].contains(&level);
        let filter = match level {
            "off" | "error" => level.to_owned(),
            // whisper.cpp calls every decode that was told to stop an error; what really fails, we say ourselves. Below it,
            // ggml says why a call to a device failed, before it ends the process.
            "warn" | "info" => format!("warn,whisper_rs=off,{GGML}=error,stenopool={level}"),
            _ if bare => format!("warn,stenopool={level}"),
            _ => level.to_owned(),
        };
        // `EnvFilter` takes a word it does not know for a module's name, so a misspelt level would log everything.
        let misspelt = !bare && !level.contains(['=', '[']);
        (!misspelt && EnvFilter::try_new(&filter).is_ok()).then_some(filter)
    }
}

/// Starts logging for the process, at `level` unless the settings say otherwise. A second call changes nothing.
pub fn init(settings: &LogSettings, level: &str) {
    let filter = settings.filter.clone().or_else(|| LogSettings::filter_for(level)).unwrap_or_default();
    // A line that cannot be written is lost: telling so on the same broken stderr would panic in whoever logs.
    let lines = SubscriberBuilder::default()
        .with_writer(std::io::stderr)
        .log_internal_errors(false)
        .with_env_filter(EnvFilter::new(filter));
    // Only a second call can fail, and the first one is as good.
    drop(match settings.format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).compact().finish().try_init(),
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_level_leaves_the_libraries_below_us_at_warn() {
        assert_eq!(LogSettings::filter_for("debug").as_deref(), Some("warn,stenopool=debug"));
    }

    #[test]
    fn whisper_is_heard_only_by_those_who_look_for_a_defect() {
        let expected = "warn,whisper_rs=off,whisper_rs::ggml_logging_hook=error,stenopool=info";
        assert_eq!(LogSettings::filter_for("info").as_deref(), Some(expected));
    }

    #[test]
    fn a_level_below_warn_holds_for_everybody() {
        assert_eq!(LogSettings::filter_for("off").as_deref(), Some("off"));
    }

    #[test]
    fn directives_are_taken_as_written() {
        let directives = "info,stenopool::pool=trace";
        assert_eq!(LogSettings::filter_for(directives).as_deref(), Some(directives));
    }

    #[test]
    fn a_misspelt_level_is_refused() {
        assert_eq!(LogSettings::filter_for("inf"), None);
        assert_eq!(LogSettings::filter_for("stenopool=loud"), None);
    }
}
