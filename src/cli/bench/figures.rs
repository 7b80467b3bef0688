//! What was measured, as it is written down: plain figures with their units in their names, and no path of this machine.

use crate::load::Quantiles;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything that one run measured; what it was not asked for is missing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Report {
    /// The binary.
    pub(super) stenopool: Build,
    /// Where it decoded.
    pub(super) device: DeviceFigures,
    /// With what.
    pub(super) model: ModelFigures,
    /// What was decoded, and how.
    pub(super) settings: SettingFigures,
    /// How soon a slot was there.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) opening: Option<OpeningFigures>,
    /// What was taken and given back.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) memory: Option<MemoryFigures>,
    /// What so many busy slots did together, in order.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub(super) points: Vec<Point>,
    /// Past so many slots more of them only slow each other down; `None` where throughput still grew with the most.
    #[serde(default)]
    pub(super) knee: Option<u16>,
    /// Encoder and decoder apart.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub(super) stages: Vec<StageFigures>,
    /// From telling a decoder to stop until its thread had answered.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) abort: Option<AbortFigures>,
    /// The voice detector, for each device that can run it.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub(super) silero: Vec<SileroFigures>,
    /// The voice.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) voice: Option<VoiceFigures>,
    /// Word error, for each device that was asked.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub(super) words: Vec<WordFigures>,
    /// What must hold, and whether it did.
    pub(super) checks: Vec<Check>,
}

impl Report {
    /// Those that failed.
    pub(super) fn failures(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| !check.passed)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Build {
    pub(super) version: String,
    pub(super) commit: String,
    pub(super) features: String,
}

impl Build {
    /// This binary.
    pub(super) fn this() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").into(),
            commit: env!("STENOPOOL_BUILD_COMMIT").into(),
            features: env!("STENOPOOL_BUILD_FEATURES").into(),
        }
    }
}

/// A device; what it does not tell is missing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct DeviceFigures {
    /// `cpu` or `cuda`.
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) uuid: Option<String>,
    pub(super) memory_bytes: u64,
    /// Cores of the machine that this process may use.
    pub(super) cores: u16,
    /// What else the processor has: `avx2 fma`.
    pub(super) cpu_features: String,
    pub(super) driver: Option<String>,
    /// The newest CUDA that the driver speaks.
    pub(super) cuda: Option<String>,
    pub(super) compute_capability: Option<String>,
    pub(super) power_limit_watts: Option<f64>,
    /// The highest, not the present one.
    pub(super) sm_clock_mhz: Option<u32>,
    pub(super) memory_clock_mhz: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ModelFigures {
    pub(super) name: String,
    /// `fit` or `full`.
    pub(super) window: String,
    /// Of the file; `None` for the one in the binary.
    pub(super) file_bytes: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct SettingFigures {
    /// For each slot.
    pub(super) threads: u16,
    /// The bound on the tokens of a decode.
    pub(super) max_tokens: Option<u16>,
    /// What was decoded.
    pub(super) sound: String,
    /// For how long each number of slots was busy.
    pub(super) seconds: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(clippy::struct_field_names, reason = "figures have their units in their names")]
pub(super) struct OpeningFigures {
    /// From nothing to the first slot that serves: weights, state, widest decode.
    pub(super) first_ms: f64,
    /// The same once more in the same process, with the weights in the page cache.
    pub(super) again_ms: f64,
    /// And until all slots were open.
    pub(super) all_ms: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct MemoryFigures {
    pub(super) total_bytes: u64,
    /// Before the weights were loaded.
    pub(super) free_before_bytes: u64,
    pub(super) reserve_bytes: u64,
    pub(super) weights_bytes: u64,
    pub(super) slot_bytes: u64,
    /// Slots that the memory carries.
    pub(super) fits: u16,
    /// Slots that were opened, and the most that there were to be.
    pub(super) opened: u16,
    pub(super) max_slots: u16,
    /// What weights and slots took together, after all of them had decoded at once.
    pub(super) taken_bytes: u64,
    /// What the footprint says that they take.
    pub(super) promised_bytes: u64,
    /// The least that was free at any time, read every 20 ms.
    pub(super) free_lowest_bytes: u64,
    /// What each slot gave back when it was closed, the last one first.
    pub(super) given_back_bytes: Vec<i64>,
    /// What was held after the weights were gone, less what was held before they came.
    pub(super) left_behind_bytes: i64,
}

/// So many busy slots.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Point {
    pub(super) slots: u16,
    /// Seconds of audio for each second.
    pub(super) throughput: f64,
    pub(super) decodes: usize,
    pub(super) decode_ms: Quantiles,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct StageFigures {
    /// `fit` or `full`.
    pub(super) window: String,
    /// How much audio was decoded.
    pub(super) audio_s: f64,
    /// Everything before the first token: spectrum, encoder, prompt.
    pub(super) encoder_ms: f64,
    /// Each further token; `None` where the model said too little, or what else ran on the machine hid it.
    pub(super) token_ms: Option<f64>,
    /// How many tokens that was told from.
    pub(super) tokens: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct AbortFigures {
    pub(super) tries: usize,
    /// How many of them stopped before their end.
    #[serde(default)]
    pub(super) heard: usize,
    pub(super) latency_ms: Quantiles,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct SileroFigures {
    /// Where it ran: `cpu`, `cuda:0`.
    pub(super) device: String,
    /// One frame of one stream.
    pub(super) step_us: f64,
    /// One frame of one among 32 streams in one run.
    pub(super) step_of_32_us: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct VoiceFigures {
    pub(super) engine: String,
    pub(super) voice: String,
    /// Where it ran: `cpu`, `cuda:0`; missing where another machine did the work.
    pub(super) device: Option<String>,
    /// Until it could speak.
    pub(super) ready_ms: f64,
    /// Until the first sound of a phrase.
    pub(super) first_sound_ms: Quantiles,
    /// Seconds of work for each second of sound; below 1 it speaks faster than one listens.
    pub(super) real_time_factor: f64,
    /// What this process grew by, without what it has of a GPU.
    pub(super) memory_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct WordFigures {
    /// As it was asked for: `cpu`, `cuda:0`.
    pub(super) device: String,
    pub(super) recordings: usize,
    pub(super) words: usize,
    pub(super) errors: usize,
    /// Errors for each word.
    pub(super) wer: f64,
    pub(super) wer_by_kind: BTreeMap<String, f64>,
    /// How long all of it took.
    pub(super) seconds: f64,
}

/// Something that must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Check {
    pub(super) name: String,
    pub(super) passed: bool,
    /// With its figures.
    pub(super) detail: String,
}

impl Check {
    pub(super) fn new(name: &str, passed: bool, detail: impl Into<String>) -> Self {
        Self { name: name.into(), passed, detail: detail.into() }
    }
}

/// Milliseconds to a tenth.
pub(super) fn millis(duration: std::time::Duration) -> f64 {
    rounded(duration.as_secs_f64() * 1e3, 1)
}

/// With so many decimals.
pub(super) fn rounded(value: f64, decimals: i32) -> f64 {
    let scale = 10_f64.powi(decimals);
    (value * scale).round() / scale
}
