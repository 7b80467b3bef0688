//! Which device somebody asks for, as text and as meant.

use super::GpuError;
use std::fmt;
use std::str::FromStr;

/// Which device to use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum DeviceSelector {
    /// The roomiest GPU if there is one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// All GPUs.
    All,
    /// These, one or more.
    Gpus(Vec<GpuName>),
}

/// How one GPU is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GpuName {
    /// By its number. Numbers can change with every boot; a UUID does not.
    Cuda(u32),
    /// By the UUID of a GPU or a MIG instance: `GPU-…` or `MIG-…`.
    Uuid(String),
}

impl FromStr for DeviceSelector {
    type Err = GpuError;

    fn from_str(text: &str) -> Result<Self, GpuError> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "all" => Ok(Self::All),
            names => {
                names.split(',').map(|name| name.trim().parse()).collect::<Result<_, _>>().map(Self::Gpus)
            }
        }
    }
}

impl FromStr for GpuName {
    type Err = GpuError;

    fn from_str(text: &str) -> Result<Self, GpuError> {
        let unintelligible = || GpuError::Unintelligible { text: text.into() };
        if is_uuid(text) {
            return Ok(Self::Uuid(text.into()));
        }
        text.strip_prefix("cuda:").and_then(number).map(Self::Cuda).ok_or_else(unintelligible)
    }
}

impl fmt::Display for DeviceSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::All => f.write_str("all"),
            Self::Gpus(names) => {
                f.write_str(&names.iter().map(GpuName::to_string).collect::<Vec<_>>().join(","))
            }
        }
    }
}

impl fmt::Display for GpuName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            Self::Uuid(uuid) => f.write_str(uuid),
        }
    }
}

/// Whether `text` begins as NVIDIA's UUIDs do, and goes on.
pub(super) fn is_uuid(text: &str) -> bool {
    ["GPU-", "MIG-"].iter().any(|kind| text.strip_prefix(kind).is_some_and(|rest| !rest.is_empty()))
}

/// A number without a sign, which `parse` alone would let through.
pub(super) fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_reads_as_it_is_written() {
        for text in
            ["auto", "cpu", "all", "cuda:0", "cuda:15", "GPU-8f6d1c2e-0a", "MIG-5c89852c", "cuda:1,GPU-8f"]
        {
            assert_eq!(text.parse::<DeviceSelector>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_names_no_device_is_refused_by_name() {
        for text in
            ["", "gpu", "cuda", "cuda:", "cuda:-1", "cuda:+1", "cuda:0x1", "cuda:99999999999", "GPU-", "CPU"]
        {
            let error = text.parse::<DeviceSelector>().unwrap_err();
            assert_eq!(error, GpuError::Unintelligible { text: text.into() });
        }
        for text in ["cuda:0,", "cuda:0,cpu", ",", "all,cuda:0"] {
            assert!(text.parse::<DeviceSelector>().is_err(), "{text}");
        }
    }
}
