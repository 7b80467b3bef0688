//! Settings as written: in a file, or by flags and environment variables. Nothing is checked here but names and types.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A whole configuration file. Every key may be missing.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) server: RawServer,
    pub(super) models: RawModels,
    pub(super) pool: RawPool,
    pub(super) asr: RawAsr,
    pub(super) live: RawLive,
    pub(super) vad: RawVad,
    pub(super) llm: RawLlm,
    pub(super) talk: RawTalk,
    pub(super) gpu: RawGpu,
    pub(super) tts: RawTts,
    pub(super) log: RawLog,
    pub(super) debug: RawDebug,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawServer {
    pub(super) bind: Option<String>,
    pub(super) insecure: Option<bool>,
    pub(super) api_key: Vec<String>,
    pub(super) key_file: Option<PathBuf>,
    pub(super) tls_cert: Option<PathBuf>,
    pub(super) tls_key: Option<PathBuf>,
    pub(super) tls_self_signed: Option<bool>,
    pub(super) aliases: Option<Vec<String>>,
    pub(super) upload_limit_mib: Option<u64>,
    pub(super) rest_wait_s: Option<u64>,
    pub(super) message_limit_kib: Option<u64>,
    pub(super) session_idle_s: Option<u64>,
    pub(super) session_lifetime_s: Option<u64>,
    pub(super) slow_client_s: Option<u64>,
    pub(super) shutdown_grace_s: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawModels {
    pub(super) model: Option<String>,
    pub(super) dir: Option<PathBuf>,
    pub(super) mirror: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawPool {
    pub(super) slots: Option<AutoOr>,
    pub(super) queue_limit: Option<u64>,
    pub(super) lease: Option<String>,
    pub(super) max_slots: Option<u64>,
    pub(super) knee: Option<AutoOr>,
    pub(super) elastic: Option<bool>,
    pub(super) canary_s: Option<u64>,
    pub(super) job_deadline_s: Option<AutoOr>,
    pub(super) starvation_s: Option<u64>,
    pub(super) batch_share: Option<u64>,
    pub(super) idle_reclaim_s: Option<u64>,
    pub(super) lease_switching: Option<bool>,
    pub(super) keep_audio_s: Option<u64>,
    pub(super) tiers: BTreeMap<String, Count>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawAsr {
    pub(super) threads: Option<AutoOr>,
    pub(super) window: Option<String>,
    pub(super) flash_attention: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawLive {
    pub(super) interims: Option<bool>,
    pub(super) interim_ms: Option<u64>,
    pub(super) first_interim_ms: Option<u64>,
    pub(super) speculate: Option<bool>,
    pub(super) adaptive: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawVad {
    pub(super) device: Option<String>,
    pub(super) threshold: Option<f32>,
    pub(super) prefix_ms: Option<u64>,
    pub(super) silence_ms: Option<u64>,
    pub(super) pause_ms: Option<u64>,
    pub(super) min_speech_ms: Option<u64>,
    pub(super) longest_s: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawGpu {
    pub(super) device: Option<String>,
    pub(super) reserve_mib: Option<AutoOr>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawTts {
    pub(super) device: Option<String>,
    pub(super) engine: Option<String>,
    pub(super) voice: Option<String>,
    pub(super) workers: Option<u64>,
    pub(super) dedicated: Option<bool>,
    pub(super) kokoro_model: Option<PathBuf>,
    pub(super) voices_dir: Option<PathBuf>,
    pub(super) espeak: Option<PathBuf>,
    pub(super) url: Option<String>,
    pub(super) key: Option<String>,
    pub(super) model: Option<String>,
    pub(super) voices: Option<Vec<String>>,
    pub(super) concurrency: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawLlm {
    pub(super) url: Option<String>,
    pub(super) model: Option<String>,
    pub(super) key: Option<String>,
    pub(super) fallback: Vec<RawEndpoint>,
    pub(super) concurrency: Option<u64>,
    pub(super) max_waiting: Option<u64>,
    pub(super) first_token_s: Option<u64>,
    pub(super) stall_s: Option<u64>,
    pub(super) total_s: Option<u64>,
    pub(super) retries: Option<u64>,
    pub(super) keep_warm_s: Option<u64>,
}

/// Where a language model is, when the first does not reply.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawEndpoint {
    pub(super) url: String,
    pub(super) model: Option<String>,
    pub(super) key: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawTalk {
    pub(super) instructions: Option<String>,
    pub(super) max_tokens: Option<u64>,
    pub(super) turns: Option<u64>,
    pub(super) tokens: Option<u64>,
    pub(super) lead_ms: Option<u64>,
    pub(super) speculate: Option<bool>,
    pub(super) echo_ms: Option<u64>,
    pub(super) echo_db: Option<f32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawLog {
    pub(super) level: Option<String>,
    pub(super) format: Option<String>,
}

/// What nobody needs who does not measure, or look for defects.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawDebug {
    pub(super) abort_after: Option<u64>,
    pub(super) max_tokens: Option<u64>,
}

/// `auto`, or a count, written as a number (in a file) or as text (on the command line).
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "expected \"auto\" or a number")]
pub(super) enum AutoOr {
    Number(i64),
    Text(String),
}

/// A count, written as a number (in a file) or as text (on the command line).
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "expected a number")]
pub(super) enum Count {
    Number(i64),
    Text(String),
}
