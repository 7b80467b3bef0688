//! Flags and environment variables, one struct for each table of the configuration file.
//!
//! A field is called as its key in the file is, and nothing is checked here: `config` does that for all three places.

#![expect(clippy::doc_markdown, reason = "the comments on flags are help texts, where backticks would show")]

use clap::Args;
use serde::{Serialize, Serializer};
use std::path::PathBuf;

/// Everything a server can be told.
#[derive(Debug, Default, Args, Serialize)]
pub(super) struct ServeFlags {
    #[command(flatten)]
    pub(super) server: ServerFlags,
    #[command(flatten)]
    pub(super) live: LiveFlags,
    #[command(flatten)]
    pub(super) tts: TtsFlags,
    #[command(flatten)]
    pub(super) llm: LlmFlags,
    #[command(flatten)]
    pub(super) talk: TalkFlags,
    #[command(flatten)]
    #[serde(flatten)]
    pub(super) recognize: RecognizeFlags,
}

/// What every command that recognizes speech can be told.
#[derive(Debug, Default, Args, Serialize)]
pub(super) struct RecognizeFlags {
    #[command(flatten)]
    pub(super) models: ModelsFlags,
    #[command(flatten)]
    pub(super) pool: PoolFlags,
    #[command(flatten)]
    pub(super) asr: AsrFlags,
    #[command(flatten)]
    pub(super) vad: VadFlags,
    #[command(flatten)]
    pub(super) gpu: GpuFlags,
    #[command(flatten)]
    pub(super) debug: DebugFlags,
}

/// What the command that measures can be told.
#[derive(Debug, Default, Args, Serialize)]
pub(super) struct BenchFlags {
    #[command(flatten)]
    #[serde(flatten)]
    pub(super) recognize: RecognizeFlags,
    #[command(flatten)]
    pub(super) tts: TtsFlags,
}

/// What the command that speaks can be told.
#[derive(Debug, Default, Args, Serialize)]
pub(super) struct SpeakFlags {
    #[command(flatten)]
    pub(super) tts: TtsFlags,
    #[command(flatten)]
    pub(super) models: StoreModelsFlags,
}

/// What commands that only look after models can be told.
#[derive(Debug, Default, Args, Serialize)]
pub(super) struct StoreFlags {
    #[command(flatten)]
    pub(super) models: StoreModelsFlags,
}

#[derive(Debug, Default, Args, Serialize)]
#[command(next_help_heading = "Server")]
pub(super) struct ServerFlags {
    /// Where to listen [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR:PORT", env = "STENOPOOL_BIND")]
    bind: Option<String>,
    /// Let everybody in who can reach the address, without a key
    #[arg(long, env = "STENOPOOL_INSECURE", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    insecure: Option<bool>,
    /// A key that lets callers in; may be repeated. Others see it in the list of processes: prefer the variable or a key file
    #[arg(
        long,
        value_name = "KEY",
        env = "STENOPOOL_API_KEY",
        value_delimiter = ',',
        hide_env_values = true
    )]
    api_key: Option<Vec<String>>,
    /// A TOML file of [[key]] tables: name, hash = "sha256:…" (printf %s KEY | sha256sum) or key, tier, max_sessions, max_leases
    #[arg(long, value_name = "FILE", env = "STENOPOOL_KEY_FILE")]
    key_file: Option<PathBuf>,
    /// Speak https and wss with this certificate, PEM, and those between it and its root; renewed ones need a restart
    #[arg(long, value_name = "FILE", env = "STENOPOOL_TLS_CERT")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, PEM, without a password
    #[arg(long, value_name = "FILE", env = "STENOPOOL_TLS_KEY")]
    tls_key: Option<PathBuf>,
    /// Speak https and wss with a certificate of our own for localhost and the address that is bound
    #[arg(long, env = "STENOPOOL_TLS_SELF_SIGNED", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    tls_self_signed: Option<bool>,
    /// Names that clients may use for the loaded model, comma separated [default: whisper-1, gpt-4o-transcribe, …]
    #[arg(long, value_name = "NAME", env = "STENOPOOL_ALIASES", value_delimiter = ',')]
    aliases: Option<Vec<String>>,
    /// Largest upload in MiB [default: 512]
    #[arg(long, value_name = "MIB", env = "STENOPOOL_UPLOAD_LIMIT_MIB")]
    upload_limit_mib: Option<u64>,
    /// How many seconds a request may wait for its first slot [default: 30]
    #[arg(long, value_name = "S", env = "STENOPOOL_REST_WAIT_S")]
    rest_wait_s: Option<u64>,
    /// Largest WebSocket message in KiB [default: 24576]
    #[arg(long, value_name = "KIB", env = "STENOPOOL_MESSAGE_LIMIT_KIB")]
    message_limit_kib: Option<u64>,
    /// End WebSocket sessions after so many seconds without audio and events [default: 600]
    #[arg(long, value_name = "S", env = "STENOPOOL_SESSION_IDLE_S")]
    session_idle_s: Option<u64>,
    /// End WebSocket sessions after so many seconds [default: 86400]
    #[arg(long, value_name = "S", env = "STENOPOOL_SESSION_LIFETIME_S")]
    session_lifetime_s: Option<u64>,
    /// Drop clients that take nothing for so many seconds [default: 5]
    #[arg(long, value_name = "S", env = "STENOPOOL_SLOW_CLIENT_S")]
    slow_client_s: Option<u64>,
    /// How many seconds a stopping server waits for admitted work [default: 30]
    #[arg(long, value_name = "S", env = "STENOPOOL_SHUTDOWN_GRACE_S")]
    shutdown_grace_s: Option<u64>,
}

#[derive(Debug, Default, Args, Serialize)]
#[command(next_help_heading = "Model")]
pub(super) struct ModelsFlags {
    /// A model's name or the path of a ggml file [default: the best one installed, else the bundled demo]
    #[arg(long, value_name = "NAME|PATH", env = "STENOPOOL_MODEL")]
    model: Option<String>,
    /// Look for models here first
    #[arg(long = "models-dir", value_name = "DIR", env = "STENOPOOL_MODELS_DIR")]
    dir: Option<PathBuf>,
}

#[derive(Debug, Default, Args, Serialize)]
#[command(next_help_heading = "Models")]
pub(super) struct StoreModelsFlags {
    /// Look for models here first, and install them here
    #[arg(long = "models-dir", value_name = "DIR", env = "STENOPOOL_MODELS_DIR", global = true)]
    dir: Option<PathBuf>,
    /// Base URL to fetch models from, instead of their home
    #[arg(long, value_name = "URL", env = "STENOPOOL_MIRROR", global = true)]
    mirror: Option<String>,
}

#[derive(Debug, Default, Args, Serialize)]
#[command(next_help_heading = "Pool")]
pub(super) struct PoolFlags {
    /// How many utterances are decoded at once, as far as memory allows [default: auto, from memory, cores and knee]
    #[arg(long, value_name = "auto|N", env = "STENOPOOL_SLOTS")]
    slots: Option<String>,
    /// How many may wait for a slot before newcomers are refused [default: 256]
    #[arg(long, value_name = "N", env = "STENOPOOL_QUEUE_LIMIT")]
    queue_limit: Option<u64>,
    /// How long live sessions keep a slot: for one utterance, or for the whole session [default: utterance]
    #[arg(long, value_name = "utterance|session", env = "STENOPOOL_LEASE")]
    lease: Option<String>,
    /// Slots at most, where --slots is auto [default: 16]
    #[arg(long, value_name = "N", env = "STENOPOOL_MAX_SLOTS")]
    max_slots: Option<u64>,
    /// Past how many slots more of them are of no use: from the cores, or on a GPU measured once (auto), measured now
    /// (measure), not asked for (off), or a number [default: auto]
    #[arg(long, value_name = "auto|measure|off|N", env = "STENOPOOL_KNEE")]
    knee: Option<String>,
    /// Give slots back when memory becomes scarce, and take them again when it returns [default: true]
    #[arg(long, value_name = "true|false", env = "STENOPOOL_ELASTIC", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    elastic: Option<bool>,
    /// Try slots that were idle for so many seconds; 0 for never [default: 60]
    #[arg(long, value_name = "S", env = "STENOPOOL_CANARY_S")]
    canary_s: Option<u64>,
    /// How many seconds one decode may take before it is given up [default: auto, from its audio]
    #[arg(long, value_name = "auto|S", env = "STENOPOOL_JOB_DEADLINE_S")]
    job_deadline_s: Option<String>,
    /// Who has waited for so many seconds is served out of turn [default: 30]
    #[arg(long, value_name = "S", env = "STENOPOOL_STARVATION_S")]
    starvation_s: Option<u64>,
    /// Percent of the work that parts of files get however much is said live, 0 to 50 [default: 10]
    #[arg(long, value_name = "PERCENT", env = "STENOPOOL_BATCH_SHARE")]
    batch_share: Option<u64>,
    /// Seconds without speech after which a session gives the slot up that it keeps [default: 300; 0: never]
    #[arg(long, value_name = "S", env = "STENOPOOL_IDLE_RECLAIM_S")]
    idle_reclaim_s: Option<u64>,
    /// Whether a session may choose for itself how long it keeps a slot [default: true]
    #[arg(long, value_name = "true|false", env = "STENOPOOL_LEASE_SWITCHING", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    lease_switching: Option<bool>,
    /// How many seconds of audio are kept for a session that waits for a slot [default: 120]
    #[arg(long, value_name = "S", env = "STENOPOOL_KEEP_AUDIO_S")]
    keep_audio_s: Option<u64>,
    /// A tier that keys may name, and its weight from 1 to 1000: gold=4 gets four times as much as the default tier, which has 1 unless it is set, too; may be repeated
    #[arg(long = "tier", value_name = "NAME=WEIGHT", env = "STENOPOOL_TIER", value_delimiter = ',')]
    #[serde(serialize_with = "as_table", skip_serializing_if = "Option::is_none")]
    tiers: Option<Vec<String>>,
}

/// Writes `NAME=VALUE` as the table that it would be in the file. What has no `=` has no value, and is refused like that.
#[expect(clippy::ref_option, reason = "serde hands over the field as it is")]
fn as_table<S: Serializer>(pairs: &Option<Vec<String>>, serializer: S) -> Result<S::Ok, S::Error> {
    let pairs = pairs.iter().flatten().map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    serializer.collect_map(pairs.map(|(name, value)| (name.trim(), value)))
}

#[derive(Debug, Default, Args, Serialize)]
#[command(next_help_heading = "Recognizer")]
pub(super) struct AsrFlags {
    /// Threads for each slot [default: auto, from cores and slots]
    #[arg(long, value_name = "auto|N", env = "STENOPOOL_THREADS")]
    threads: Option<String>,
    /// How much the encoder looks at: the utterance (fit), 30 s (full) [default: auto, what the model was trained for]
    #[arg(long, value_name = "auto|fit|full", env = "STENOPOOL_WINDOW")]
    window: Option<String>,
    /// Attention in less memory; on a GPU faster, too [default: auto, on GPUs]
    #[arg(long, value_name = "auto|on|off", env = "STENOPOOL_FLASH_ATTENTION")]
    flash_attention: Option<String>,
}

#[derive(Debug, Default, Args, Serialize)]
#[command(next_help_heading = "Live sessions")]
pub(super) struct LiveFlags {
    /// Tell what is being said before it is over [default: true]
    #[arg(long, value_name = "true|false", env = "STENOPOOL_INTERIMS", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    interims: Option<bool>,
    /// Read what is being said after so many milliseconds of new speech; longer under load [default: 500]
    #[arg(long, value_name = "MS", env = "STENOPOOL_INTERIM_MS")]
    interim_ms: Option<u64>,
    /// The same until the first words are told [default: 300]
    #[arg(long, value_name = "MS", env = "STENOPOOL_FIRST_INTERIM_MS")]
    first_interim_ms: Option<u64>,
    /// Begin the final text in each pause, in case it is the end [default: true]
    #[arg(long, value_name = "true|false", env = "STENOPOOL_SPECULATE", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    speculate: Option<bool>,
    /// Wait a little less for more after a whole sentence, and longer after "and" or "um"; false: exactly as long as
    /// the session says [default: true]
    #[arg(long, value_name = "true|false", env = "STENOPOOL_ADAPTIVE", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    adaptive: Option<bool>,
}

#[derive(Debug, Default, Args, Serialize)]
#[command(next_help_heading = "Language model")]
pub(super) struct LlmFlags {
    /// An OpenAI-compatible endpoint, as in http://127.0.0.1:11434/v1 (Ollama); others to fall back on go in the configuration
    /// file, as [[llm.fallback]] [default: none, and the built-in echo repeats what was said]
    #[arg(id = "llm_url", long = "llm-url", value_name = "URL", env = "STENOPOOL_LLM_URL")]
    url: Option<String>,
    /// Its model [default: default, which servers with one model take]
    #[arg(id = "llm_model", long = "llm-model", value_name = "NAME", env = "STENOPOOL_LLM_MODEL")]
    model: Option<String>,
    /// Its key. Others see it in the list of processes: prefer the variable
    #[arg(
        id = "llm_key",
        long = "llm-key",
        value_name = "KEY",
        env = "STENOPOOL_LLM_KEY",
        hide_env_values = true
    )]
    key: Option<String>,
    /// Replies that are made at the same time; more wait in fair order [default: 32]
    #[arg(
        id = "llm_concurrency",
        long = "llm-concurrency",
        value_name = "N",
        env = "STENOPOOL_LLM_CONCURRENCY"
    )]
    concurrency: Option<u64>,
    /// How many may wait [default: 256]
    #[arg(long = "llm-max-waiting", value_name = "N", env = "STENOPOOL_LLM_MAX_WAITING")]
    max_waiting: Option<u64>,
    /// How many seconds the first token may take [default: 10]
    #[arg(long = "llm-first-token-s", value_name = "S", env = "STENOPOOL_LLM_FIRST_TOKEN_S")]
    first_token_s: Option<u64>,
    /// How many seconds may pass between two tokens [default: 10]
    #[arg(long = "llm-stall-s", value_name = "S", env = "STENOPOOL_LLM_STALL_S")]
    stall_s: Option<u64>,
    /// How many seconds a whole reply may take [default: 120]
    #[arg(long = "llm-total-s", value_name = "S", env = "STENOPOOL_LLM_TOTAL_S")]
    total_s: Option<u64>,
    /// How often a reply that did not begin is asked for again [default: 1]
    #[arg(long = "llm-retries", value_name = "N", env = "STENOPOOL_LLM_RETRIES")]
    retries: Option<u64>,
    /// Ask something small after so many seconds in which nobody asked, so that connection and model stay warm; 0: never
    /// [default: 240]
    #[arg(long = "llm-keep-warm-s", value_name = "S", env = "STENOPOOL_LLM_KEEP_WARM_S")]
    keep_warm_s: Option<u64>,
}

#[derive(Debug, Default, Args, Serialize)]
#[command(next_help_heading = "Conversation")]
pub(super) struct TalkFlags {
    /// The system prompt of sessions that set none
    #[arg(long, value_name = "TEXT", env = "STENOPOOL_INSTRUCTIONS")]
    instructions: Option<String>,
    /// The longest reply in tokens [default: as the language model has it]
    #[arg(long = "reply-tokens", value_name = "N", env = "STENOPOOL_REPLY_TOKENS")]
    max_tokens: Option<u64>,
    /// How many turns the language model is shown [default: 50]
    #[arg(long = "history-turns", value_name = "N", env = "STENOPOOL_HISTORY_TURNS")]
    turns: Option<u64>,
    /// And about how many tokens [default: 6000]
    #[arg(long = "history-tokens", value_name = "N", env = "STENOPOOL_HISTORY_TOKENS")]
    tokens: Option<u64>,
    /// How many ms of sound a client gets before it plays it [default: 200]
    #[arg(long, value_name = "MS", env = "STENOPOOL_LEAD_MS")]
    lead_ms: Option<u64>,
    /// Ask the language model in each pause that may be the end of a turn, and drop the reply when it was not [default: false]
    #[arg(id = "speculative_reply", long = "speculative-reply", value_name = "true|false", env = "STENOPOOL_SPECULATIVE_REPLY", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    speculate: Option<bool>,
    /// What interrupts a reply before its words are known: speech of so many ms [default: 200]
    #[arg(long, value_name = "MS", env = "STENOPOOL_ECHO_MS")]
    echo_ms: Option<u64>,
    /// Which is so loud, in dB relative to full scale; what is quieter may be the echo of the reply [default: -50]
    #[arg(long, value_name = "DB", env = "STENOPOOL_ECHO_DB", allow_negative_numbers = true)]
    echo_db: Option<f32>,
}

#[derive(Debug, Default, Args, Serialize)]
#[command(next_help_heading = "Voices")]
pub(super) struct TtsFlags {
    /// What speaks [default: auto, a speech server if --tts-url names one, else Kokoro if it is installed, else espeak-ng]
    #[arg(id = "tts", long = "tts", value_name = "auto|kokoro|remote|espeak|off", env = "STENOPOOL_TTS")]
    engine: Option<String>,
    /// The voice of those who ask for none, as in af_heart, en-gb or alloy
    #[arg(long, value_name = "NAME", env = "STENOPOOL_VOICE")]
    voice: Option<String>,
    /// Where Kokoro runs [default: auto, the GPU that decodes if ONNX Runtime has its part for CUDA, else the CPU]
    #[arg(
        id = "tts_device",
        long = "tts-device",
        value_name = "auto|cpu|cuda",
        env = "STENOPOOL_TTS_DEVICE"
    )]
    device: Option<String>,
    /// Threads that speak, each with the weights of its voice [default: 1]
    #[arg(id = "tts_workers", long = "tts-workers", value_name = "N", env = "STENOPOOL_TTS_WORKERS")]
    workers: Option<u64>,
    /// Give each session a thread and weights of its own, on the CPU [default: false]
    #[arg(id = "tts_dedicated", long = "tts-dedicated", value_name = "true|false", env = "STENOPOOL_TTS_DEDICATED", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    dedicated: Option<bool>,
    /// Kokoro's network [default: kokoro/model.onnx where models are]
    #[arg(long, value_name = "FILE", env = "STENOPOOL_KOKORO_MODEL")]
    kokoro_model: Option<PathBuf>,
    /// Kokoro's voices, NAME.bin [default: voices/ beside its network]
    #[arg(long, value_name = "DIR", env = "STENOPOOL_VOICES_DIR")]
    voices_dir: Option<PathBuf>,
    /// The program espeak-ng [default: espeak-ng]
    #[arg(long, value_name = "PROGRAM", env = "STENOPOOL_ESPEAK")]
    espeak: Option<PathBuf>,
    /// An OpenAI-compatible speech server, as in http://127.0.0.1:8880/v1
    #[arg(id = "tts_url", long = "tts-url", value_name = "URL", env = "STENOPOOL_TTS_URL")]
    url: Option<String>,
    /// Its key. Others see it in the list of processes: prefer the variable
    #[arg(
        id = "tts_key",
        long = "tts-key",
        value_name = "KEY",
        env = "STENOPOOL_TTS_KEY",
        hide_env_values = true
    )]
    key: Option<String>,
    /// Its model [default: tts-1]
    #[arg(id = "tts_model", long = "tts-model", value_name = "NAME", env = "STENOPOOL_TTS_MODEL")]
    model: Option<String>,
    /// Its voices, comma separated, the default first [default: whatever is asked for is passed on]
    #[arg(
        id = "tts_voices",
        long = "tts-voices",
        value_name = "NAME",
        env = "STENOPOOL_TTS_VOICES",
        value_delimiter = ','
    )]
    voices: Option<Vec<String>>,
    /// Requests to it at the same time [default: 16]
    #[arg(
        id = "tts_concurrency",
        long = "tts-concurrency",
        value_name = "N",
        env = "STENOPOOL_TTS_CONCURRENCY"
    )]
    concurrency: Option<u64>,
}

#[derive(Debug, Default, Args, Serialize)]
#[command(next_help_heading = "Voice activity")]
pub(super) struct VadFlags {
    /// Where the voice detector runs [default: auto, the faster of the CPU and the GPU that decodes]
    #[arg(
        id = "vad_device",
        long = "vad-device",
        value_name = "auto|cpu|cuda",
        env = "STENOPOOL_VAD_DEVICE"
    )]
    device: Option<String>,
    /// Probability from which a frame is speech [default: 0.5]
    #[arg(long = "vad-threshold", value_name = "P", env = "STENOPOOL_VAD_THRESHOLD")]
    threshold: Option<f32>,
    /// Milliseconds before the first speech that belong to an utterance [default: 300]
    #[arg(long = "vad-prefix-ms", value_name = "MS", env = "STENOPOOL_VAD_PREFIX_MS")]
    prefix_ms: Option<u64>,
    /// Milliseconds of silence that end an utterance [default: 500]
    #[arg(long = "vad-silence-ms", value_name = "MS", env = "STENOPOOL_VAD_SILENCE_MS")]
    silence_ms: Option<u64>,
    /// Milliseconds of silence after which the final text is begun, in case the speaker is done [default: 160]
    #[arg(long = "vad-pause-ms", value_name = "MS", env = "STENOPOOL_VAD_PAUSE_MS")]
    pause_ms: Option<u64>,
    /// Speech shorter than this is a click [default: 100]
    #[arg(long = "vad-min-speech-ms", value_name = "MS", env = "STENOPOOL_VAD_MIN_SPEECH_MS")]
    min_speech_ms: Option<u64>,
    /// Longest utterance in seconds: then it is committed [default: 120]
    #[arg(long = "vad-longest-s", value_name = "S", env = "STENOPOOL_VAD_LONGEST_S")]
    longest_s: Option<u64>,
}

#[derive(Debug, Default, Args, Serialize)]
#[command(next_help_heading = "Device")]
pub(super) struct GpuFlags {
    /// Where to decode: auto (the GPU with the most free memory, else the CPU), cpu, all (GPUs), or cuda:N, GPU-…, MIG-…,
    /// several with commas between; GPUs need a build for them (`make build-cuda`) [default: auto]
    #[arg(long, value_name = "DEVICE", env = "STENOPOOL_DEVICE")]
    device: Option<String>,
    /// MiB of the device's memory that stay untouched [default: auto, a twentieth, at least 256 (512 on a GPU)]
    #[arg(long, value_name = "auto|MIB", env = "STENOPOOL_RESERVE_MIB")]
    reserve_mib: Option<String>,
}

#[derive(Debug, Default, Args, Serialize)]
#[command(next_help_heading = "Debug")]
pub(super) struct DebugFlags {
    /// After so many decodes, end the process with the next one, as a failing call to a GPU does
    #[arg(
        id = "debug_abort_after",
        long = "debug-abort-after",
        value_name = "N",
        env = "STENOPOOL_DEBUG_ABORT_AFTER",
        hide = true
    )]
    abort_after: Option<u64>,
    /// For measurements: end every decode with so many tokens, 2 to 220, and try none again at a higher temperature
    #[arg(
        id = "debug_max_tokens",
        long = "debug-max-tokens",
        value_name = "N",
        env = "STENOPOOL_DEBUG_MAX_TOKENS",
        hide_short_help = true
    )]
    max_tokens: Option<u64>,
}

#[derive(Debug, Default, Args, Serialize)]
#[command(next_help_heading = "Global")]
pub(super) struct LogFlags {
    /// A level, or directives as in stenopool::pool=debug [default: info for serve, warn or error for the others]
    #[arg(id = "log_level", long = "log", value_name = "LEVEL", env = "STENOPOOL_LOG", global = true)]
    level: Option<String>,
    /// How log lines look: text or json [default: text]
    #[arg(
        id = "log_format",
        long = "log-format",
        value_name = "FORMAT",
        env = "STENOPOOL_LOG_FORMAT",
        global = true
    )]
    format: Option<String>,
}
