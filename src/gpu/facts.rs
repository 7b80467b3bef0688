//! What a GPU and its driver say about themselves, for whoever compares measurements.

/// What one GPU can do at most. What its driver does not tell is `None`; instances of a GPU tell little.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GpuFacts {
    /// The driver's version: `580.95.05`.
    pub driver: Option<String>,
    /// The newest CUDA that this driver speaks: `13.0`.
    pub cuda: Option<String>,
    /// As NVIDIA counts architectures: `9.0`.
    pub compute_capability: Option<String>,
    /// The power that it may draw.
    pub power_limit_watts: Option<f64>,
    /// The highest clock of its processors in MHz.
    pub sm_clock_mhz: Option<u32>,
    /// The highest clock of its memory in MHz.
    pub memory_clock_mhz: Option<u32>,
}
