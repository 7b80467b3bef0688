//! Why there is no plan.

/// What stands in the way of a plan.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// A figure that makes no sense.
    #[error("{what} is {value}, expected {expected}")]
    Setting {
        /// Whose value it is, in the user's words.
        what: &'static str,
        /// What was given.
        value: String,
        /// What would do.
        expected: String,
    },
    /// A source that cannot be read.
    #[error("cannot read {name}: {reason}")]
    Unreadable {
        /// As the user wrote it.
        name: String,
        /// What went wrong.
        reason: String,
    },
    /// Something that was not measured by us.
    #[error("{name} is neither a report of a load test or knee nor a server's /pool: {reason}")]
    Foreign {
        /// As the user wrote it.
        name: String,
        /// What is missing.
        reason: String,
    },
    /// A report without decode times.
    #[error("{name} has no decode times: nothing was transcribed, or by a server that does not tell them")]
    NoSamples {
        /// As the user wrote it.
        name: String,
    },
    /// No source knows how long decodes take.
    #[error("nothing says how long a decode takes")]
    NoTimes,
    /// More work than the slots can do.
    #[error("{people} people keep {slots} slots busy for {:.0} % of the time: the line would grow without end", 100.0 * load)]
    Overloaded {
        /// How many people.
        people: u64,
        /// On how many slots.
        slots: u16,
        /// Work that comes, of what the slots can do.
        load: f64,
    },
    /// Not even one person is served in time.
    #[error(
        "one person alone has a p95 of {alone_ms:.0} ms on {slots} slots, the target is {target_ms:.0} ms"
    )]
    Hopeless {
        /// Its final latency.
        alone_ms: f64,
        /// With so many slots.
        slots: u16,
        /// What was asked for.
        target_ms: f64,
    },
}

impl PlanError {
    /// Whether the question was wrong, and not the answer discouraging.
    pub fn is_usage(&self) -> bool {
        !matches!(self, Self::Overloaded { .. } | Self::Hopeless { .. })
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Setting { .. } => "`stenopool plan --help` says what each figure means",
            Self::Unreadable { .. } => {
                "name a JSON file of `stenopool loadtest`, a running server as in http://127.0.0.1:8080, or a model"
            }
            Self::Foreign { .. } => "write one with `stenopool loadtest … --json FILE`",
            Self::NoSamples { .. } => "run the load test against Stenopool, for at least a minute",
            Self::NoTimes => {
                "measure with `stenopool loadtest … --json FILE` and give --from FILE, or say it with --decode-ms MS"
            }
            Self::Overloaded { .. } => {
                "fewer people, more slots, or leave --slots out to be told how many devices it takes"
            }
            Self::Hopeless { .. } => "a higher --target-p95-ms, a smaller model or a faster device",
        }
    }
}
