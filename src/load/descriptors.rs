//! Whether this process may open as many connections as there are people.

use procfs::process::{LimitValue, Process};

/// What a load needs beside the people's connections: files, the runtime, questions to the server.
const BESIDE: u64 = 64;

/// The system lets this process open fewer files than its people need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{clients} people need {needed} file descriptors, and this process may open {limit}")]
pub struct TooFewDescriptors {
    /// How many people there were to be.
    pub clients: u32,
    /// How many descriptors they need.
    pub needed: u64,
    /// How many this process may open.
    pub limit: u64,
}

impl TooFewDescriptors {
    /// What to do about it: a command for the shell, with room for more than these people.
    pub fn hint(&self) -> String {
        format!("ulimit -n {}", (2 * self.needed).next_power_of_two())
    }
}

/// Whether so many people may have a connection each. Where the limit cannot be read, it shows when it is reached.
///
/// # Errors
///
/// [`TooFewDescriptors`] when the soft limit is too low.
pub fn descriptors_for(clients: u32) -> Result<(), TooFewDescriptors> {
    let limits = Process::myself().and_then(|process| process.limits());
    fits(clients, limits.ok().map(|limits| limits.max_open_files.soft_limit))
}

fn fits(clients: u32, limit: Option<LimitValue>) -> Result<(), TooFewDescriptors> {
    let needed = u64::from(clients) + BESIDE;
    match limit {
        Some(LimitValue::Value(limit)) if needed > limit => Err(TooFewDescriptors { clients, needed, limit }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_who_would_find_no_descriptor_are_told_before() {
        let limit = || Some(LimitValue::Value(1_024));
        assert_eq!(fits(960, limit()), Ok(()));
        assert_eq!(fits(100_000, Some(LimitValue::Unlimited)), Ok(()));
        assert_eq!(fits(100_000, None), Ok(()));
        let error = fits(1_024, limit()).unwrap_err();
        let text = "1024 people need 1088 file descriptors, and this process may open 1024";
        assert_eq!((error.to_string().as_str(), error.hint().as_str()), (text, "ulimit -n 4096"));
    }

    #[test]
    fn this_process_has_a_limit_of_its_own() {
        assert_eq!(descriptors_for(1), Ok(()));
        let limit = Process::myself().unwrap().limits().unwrap().max_open_files.soft_limit;
        assert_eq!(descriptors_for(u32::MAX), fits(u32::MAX, Some(limit)));
    }
}
