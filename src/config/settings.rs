//! From raw to meant: every range and every word is checked here, and nowhere else.

use super::error::{ConfigError, InvalidSetting};
use super::raw::{
    AutoOr, Raw, RawAsr, RawDebug, RawGpu, RawLive, RawLog, RawModels, RawPool, RawServer, RawTalk, RawVad,
};
use super::tiers::Tiers;
use super::tts::VoiceSettings;
use super::{keys, llm};
use crate::asr::EncoderWindow;
use crate::gpu::{Bytes, DeviceSelector};
use crate::llm::LlmSettings;
use crate::pool::{LeaseScope, LedgerSettings, PoolSettings};
use crate::server::{KeyEntry, ModelNames, ServerSettings, TlsSettings};
use crate::telemetry::{LogFormat, LogSettings};
use crate::vad::EndpointSettings;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Everything that can be set, valid.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The edge.
    pub server: EdgeSettings,
    /// Which model, and where models live.
    pub models: ModelSettings,
    /// How many slots.
    pub slots: SlotSettings,
    /// Who waits for them, and how.
    pub pool: PoolSettings,
    /// How the recognizer works.
    pub asr: AsrSettings,
    /// Where it works.
    pub device: DeviceSettings,
    /// When speech begins and ends, unless a client says otherwise.
    pub endpoint: EndpointSettings,
    /// Where the voice detector runs.
    pub detector: NetworkDevice,
    /// What speaks.
    pub voices: VoiceSettings,
    /// Who replies in conversations; `None`: the echo.
    pub llm: Option<LlmSettings>,
    /// What is logged.
    pub log: LogSettings,
    /// What is otherwise than it should be, for measurements and for those who look for defects.
    pub debug: DebugSettings,
    /// What the user should know although it is no error, one sentence each.
    pub warnings: Vec<String>,
}

/// Where the server listens and who may come in.
#[derive(Debug, Clone)]
pub struct EdgeSettings {
    /// Where it listens.
    pub bind: SocketAddr,
    /// How it proves its name; `None`: it speaks without TLS.
    pub tls: Option<TlsSettings>,
    /// Whether everybody may come in from everywhere.
    pub insecure: bool,
    /// Who may come in; empty: everybody who can reach it.
    pub keys: Vec<KeyEntry>,
    /// Names beside its own that the loaded model answers to.
    pub aliases: Vec<String>,
    /// Limits of requests and sessions.
    pub limits: ServerSettings,
    /// How long a stopping server waits for work that was admitted.
    pub shutdown_grace: Duration,
}

/// Which model, and where models live.
#[derive(Debug, Clone, Default)]
pub struct ModelSettings {
    /// Name or path; `None`: the best one installed.
    pub model: Option<String>,
    /// Searched before all other places.
    pub dir: Option<PathBuf>,
    /// Base URL to fetch models from instead of their home.
    pub mirror: Option<String>,
}

/// How many slots, and how they are looked after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotSettings {
    /// So many, as far as the memory allows; `None`: as many as the machine carries.
    pub slots: Option<u16>,
    /// At most so many, where their number is left to the machine.
    pub max_slots: u16,
    /// Past how many slots more of them are of no use.
    pub knee: KneeSetting,
    /// Whether slots are given back when memory becomes scarce.
    pub elastic: bool,
    /// For how long an idle slot is believed to work; `None`: for ever.
    pub canary: Option<Duration>,
    /// How long one decode may take; `None`: what its audio lets expect.
    pub job_deadline: Option<Duration>,
    /// A lease for a whole session is given up after so long without speech; `None`: never.
    pub idle_reclaim: Option<Duration>,
}

/// From where it is known past how many slots more of them are of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KneeSetting {
    /// On a CPU from its cores; on a GPU measured once and remembered.
    #[default]
    Auto,
    /// Measured now, and remembered.
    Measure,
    /// It is not asked for.
    Off,
    /// The user knows it.
    Slots(u16),
}

/// Where the recognizer works.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceSettings {
    /// The device.
    pub selector: DeviceSelector,
    /// The memory that stays untouched; `None`: what is usual for its kind.
    pub reserve: Option<Bytes>,
}

/// Where a small network runs: the voice detector's, or Kokoro's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NetworkDevice {
    /// Where decoding does, if ONNX Runtime can and it pays.
    #[default]
    Auto,
    /// On the processor.
    Cpu,
    /// On the GPU that decodes, and nowhere else.
    Cuda,
}

impl NetworkDevice {
    pub(super) fn read(key: &'static str, text: Option<&str>) -> Result<Self, InvalidSetting> {
        match text {
            None | Some("auto") => Ok(Self::Auto),
            Some("cpu") => Ok(Self::Cpu),
            Some("cuda") => Ok(Self::Cuda),
            Some(other) => Err(InvalidSetting::new(key, other, "auto, cpu or cuda")),
        }
    }
}

/// What only those want who measure or look for defects, the table `[debug]`. `--help` does not show its flags, and a server that has
/// any of it set says so when it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DebugSettings {
    /// `abort_after = N`, `--debug-abort-after N`: after N decodes (interim ones and those of files count, warming up does
    /// not) the next one ends the process, by the way that a failing call to a GPU takes; `None`: none does. To see what
    /// clients and whatever starts the server again make of it.
    pub abort_after: Option<u64>,
    /// `max_tokens = N`, `--debug-max-tokens N`: no decode makes more tokens than this in a window of 30 s, and none is
    /// tried again at a higher temperature, so that measurements compare; `None`: as many as are said.
    pub max_tokens: Option<u16>,
}

/// How the recognizer works.
#[derive(Debug, Clone, Copy, Default)]
pub struct AsrSettings {
    /// Threads for one decode; `None`: a fair part of the cores.
    pub threads: Option<u16>,
    /// The encoder's window; `None`: what the model was trained for.
    pub window: Option<EncoderWindow>,
    /// Attention without its large intermediate matrices; `None`: on GPUs.
    pub flash_attention: Option<bool>,
}

impl Settings {
    /// Refuses to let everybody in from everywhere, unless that was asked for.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Exposed`].
    pub fn check_exposure(&self) -> Result<(), ConfigError> {
        let EdgeSettings { bind, insecure, ref keys, .. } = self.server;
        if bind.ip().is_loopback() || insecure || !keys.is_empty() {
            return Ok(());
        }
        Err(ConfigError::Exposed { bind })
    }

    /// Adds a warning when a configuration file with keys in it can be read by others.
    pub(super) fn warn_if_readable(mut self, file_of_keys: Option<&Path>) -> Self {
        self.warnings.extend(file_of_keys.and_then(readable_by_others));
        self
    }
}

impl TryFrom<Raw> for Settings {
    type Error = ConfigError;

    fn try_from(raw: Raw) -> Result<Self, Self::Error> {
        Ok(Self {
            warnings: raw.warnings(),
            slots: (&raw.pool).try_into()?,
            server: EdgeSettings::new(raw.server, &raw.pool, &raw.live, raw.talk)?,
            models: raw.models.try_into()?,
            pool: raw.pool.try_into()?,
            asr: raw.asr.try_into()?,
            device: raw.gpu.try_into()?,
            detector: NetworkDevice::read("vad.device", raw.vad.device.as_deref())?,
            endpoint: raw.vad.try_into()?,
            voices: raw.tts.try_into()?,
            llm: llm::language_model(&raw.llm)?,
            log: raw.log.try_into()?,
            debug: raw.debug.try_into()?,
        })
    }
}

impl Raw {
    fn warnings(&self) -> Vec<String> {
        let keys = self.server.key_file.as_deref().and_then(readable_by_others);
        let abort =
            |decodes| format!("debug.abort_after is set: this process ends itself after {decodes} decodes");
        keys.into_iter().chain(self.debug.abort_after.map(abort)).collect()
    }
}

impl EdgeSettings {
    /// Who comes in gets what the pool has to give, so it is asked, too.
    fn new(raw: RawServer, pool: &RawPool, live: &RawLive, talk: RawTalk) -> Result<Self, ConfigError> {
        let tiers = Tiers::read(&pool.tiers)?;
        let mut keys = keys::given(&raw.api_key, &tiers)?;
        if let Some(file) = &raw.key_file {
            keys.extend(keys::read(file, &tiers)?);
        }
        keys::check_distinct(&keys)?;
        Ok(Self {
            bind: parse_bind(raw.bind.as_deref())?,
            tls: tls(&raw)?,
            insecure: raw.insecure.unwrap_or(false),
            keys,
            aliases: raw
                .aliases
                .clone()
                .unwrap_or_else(|| ModelNames::DEFAULT_ALIASES.map(String::from).to_vec()),
            shutdown_grace: seconds("server.shutdown_grace_s", raw.shutdown_grace_s, 0..=3600)?
                .unwrap_or(Duration::from_secs(30)),
            limits: ServerSettings {
                talk: talk.try_into()?,
                ..with_live(with_leases(raw.try_into()?, pool)?, live)?
            },
        })
    }
}

/// A certificate of the user's, or one of our own, or none; whether files can be used shows where they are read.
fn tls(raw: &RawServer) -> Result<Option<TlsSettings>, InvalidSetting> {
    let self_signed = raw.tls_self_signed.unwrap_or(false);
    match (raw.tls_cert.clone(), raw.tls_key.clone(), self_signed) {
        (None, None, false) => Ok(None),
        (None, None, true) => Ok(Some(TlsSettings::SelfSigned)),
        (Some(cert), Some(key), false) => Ok(Some(TlsSettings::Files { cert, key })),
        (Some(_), None, _) => {
            Err(InvalidSetting::new("server.tls_key", "missing", "the key of server.tls_cert"))
        }
        (None, Some(_), _) => {
            Err(InvalidSetting::new("server.tls_cert", "missing", "the certificate of server.tls_key"))
        }
        (Some(_), Some(_), true) => {
            let expected = "false where server.tls_cert is given";
            Err(InvalidSetting::new("server.tls_self_signed", true, expected))
        }
    }
}

/// What the pool's table says about leases and about audio that waits for them.
fn with_leases(limits: ServerSettings, pool: &RawPool) -> Result<ServerSettings, InvalidSetting> {
    let lease = match pool.lease.as_deref() {
        None | Some("utterance") => LeaseScope::Utterance,
        Some("session") => LeaseScope::Session,
        Some(other) => return Err(InvalidSetting::new("pool.lease", other, "utterance or session")),
    };
    let mut keeping = limits.keeping;
    keeping.audio = seconds("pool.keep_audio_s", pool.keep_audio_s, 1..=3600)?.unwrap_or(keeping.audio);
    // While nothing is dropped a full backlog reads nothing, and that ends the connection after `slow_client`.
    keeping.patience = keeping.patience.min(limits.slow_client / 2);
    let lease_switching = pool.lease_switching.unwrap_or(limits.lease_switching);
    Ok(ServerSettings { lease, lease_switching, keeping, ..limits })
}

/// What is read before an utterance is over.
fn with_live(limits: ServerSettings, live: &RawLive) -> Result<ServerSettings, InvalidSetting> {
    let adaptive = live.adaptive.unwrap_or(limits.adaptive);
    Ok(ServerSettings { live: live.try_into()?, adaptive, ..limits })
}

impl TryFrom<RawServer> for ServerSettings {
    type Error = InvalidSetting;

    fn try_from(raw: RawServer) -> Result<Self, Self::Error> {
        const DAYS_30: u64 = 30 * 24 * 3600;
        let default = Self::default();
        let upload_mib = within("server.upload_limit_mib", raw.upload_limit_mib, 1..=1024 * 1024)?;
        let message_kib = within("server.message_limit_kib", raw.message_limit_kib, 16..=1024 * 1024)?;
        let seconds_or = |key, given, range, default| Ok(seconds(key, given, range)?.unwrap_or(default));
        Ok(Self {
            upload_limit: upload_mib.map_or(default.upload_limit, |mib| mib * 1024 * 1024),
            message_limit: message_kib.map_or(default.message_limit, |kib| kib as usize * 1024),
            rest_wait: seconds_or("server.rest_wait_s", raw.rest_wait_s, 1..=3600, default.rest_wait)?,
            session_idle: seconds_or(
                "server.session_idle_s",
                raw.session_idle_s,
                1..=DAYS_30,
                default.session_idle,
            )?,
            session_lifetime: seconds_or(
                "server.session_lifetime_s",
                raw.session_lifetime_s,
                1..=DAYS_30,
                default.session_lifetime,
            )?,
            slow_client: seconds_or("server.slow_client_s", raw.slow_client_s, 1..=600, default.slow_client)?,
            ..default
        })
    }
}

impl TryFrom<RawModels> for ModelSettings {
    type Error = InvalidSetting;

    fn try_from(raw: RawModels) -> Result<Self, Self::Error> {
        if raw.model.as_deref() == Some("") {
            return Err(InvalidSetting::new("models.model", "empty", "a model's name or path"));
        }
        if let Some(mirror) = raw.mirror.as_ref().filter(|url| !is_http(url)) {
            return Err(InvalidSetting::new(
                "models.mirror",
                mirror,
                "a URL that begins with http:// or https://",
            ));
        }
        Ok(Self { model: raw.model, dir: raw.dir, mirror: raw.mirror })
    }
}

impl TryFrom<RawPool> for PoolSettings {
    type Error = InvalidSetting;

    fn try_from(raw: RawPool) -> Result<Self, Self::Error> {
        let queue_limit = within("pool.queue_limit", raw.queue_limit, 1..=1_000_000)?.unwrap_or(256);
        let default = LedgerSettings::default();
        let share = within("pool.batch_share", raw.batch_share, 0..=50)?;
        let ledger = LedgerSettings {
            starvation: seconds("pool.starvation_s", raw.starvation_s, 1..=3600)?
                .unwrap_or(default.starvation),
            batch_share: share.map_or(default.batch_share, |percent| percent as u8),
            // The supervisor knows how its devices share the numbers.
            bank: None,
        };
        Ok(Self { queue_limit: queue_limit as usize, ledger })
    }
}

impl TryFrom<&RawPool> for SlotSettings {
    type Error = InvalidSetting;

    fn try_from(raw: &RawPool) -> Result<Self, Self::Error> {
        let canary = seconds("pool.canary_s", raw.canary_s, 0..=86_400)?.unwrap_or(Duration::from_secs(60));
        let idle_reclaim = seconds("pool.idle_reclaim_s", raw.idle_reclaim_s, 0..=86_400)?
            .unwrap_or(Duration::from_secs(300));
        let deadline = auto_or_count("pool.job_deadline_s", raw.job_deadline_s.as_ref(), 5..=3600)?;
        Ok(Self {
            slots: auto_or_count("pool.slots", raw.slots.as_ref(), 1..=256)?,
            max_slots: within("pool.max_slots", raw.max_slots, 1..=256)?.map_or(16, |slots| slots as u16),
            knee: parse_knee(raw.knee.as_ref())?,
            elastic: raw.elastic.unwrap_or(true),
            canary: Some(canary).filter(|period| !period.is_zero()),
            job_deadline: deadline.map(|s| Duration::from_secs(s.into())),
            idle_reclaim: Some(idle_reclaim).filter(|period| !period.is_zero()),
        })
    }
}

impl TryFrom<RawGpu> for DeviceSettings {
    type Error = InvalidSetting;

    /// Whether there is such a device, and whether this build can use it, is found out where devices are looked for.
    fn try_from(raw: RawGpu) -> Result<Self, Self::Error> {
        let device = raw.device.as_deref().unwrap_or("auto");
        let expected =
            "auto, cpu, all, cuda:N, or a UUID that begins with GPU- or MIG-, several with commas between";
        let selector = device.parse().map_err(|_| InvalidSetting::new("gpu.device", device, expected))?;
        let reserve = auto_or_number("gpu.reserve_mib", raw.reserve_mib.as_ref(), 0..=1024 * 1024)?;
        Ok(Self { selector, reserve: reserve.map(Bytes::mib) })
    }
}

impl TryFrom<RawAsr> for AsrSettings {
    type Error = InvalidSetting;

    fn try_from(raw: RawAsr) -> Result<Self, Self::Error> {
        let window = match raw.window.as_deref() {
            None | Some("auto") => None,
            Some("fit") => Some(EncoderWindow::Fit),
            Some("full") => Some(EncoderWindow::Full),
            Some(other) => return Err(InvalidSetting::new("asr.window", other, "auto, fit or full")),
        };
        let flash_attention = match raw.flash_attention.as_deref() {
            None | Some("auto") => None,
            Some("on") => Some(true),
            Some("off") => Some(false),
            Some(other) => return Err(InvalidSetting::new("asr.flash_attention", other, "auto, on or off")),
        };
        let threads = auto_or_count("asr.threads", raw.threads.as_ref(), 1..=256)?;
        Ok(Self { threads, window, flash_attention })
    }
}

impl TryFrom<RawDebug> for DebugSettings {
    type Error = InvalidSetting;

    fn try_from(raw: RawDebug) -> Result<Self, Self::Error> {
        // Whisper's text context has room for 220, and 2 are the least that whisper.cpp can be asked for.
        let max_tokens = within("debug.max_tokens", raw.max_tokens, 2..=220)?;
        Ok(Self { abort_after: raw.abort_after, max_tokens: max_tokens.map(|tokens| tokens as u16) })
    }
}

impl TryFrom<RawVad> for EndpointSettings {
    type Error = InvalidSetting;

    fn try_from(raw: RawVad) -> Result<Self, Self::Error> {
        let default = Self::default();
        let threshold = raw.threshold.unwrap_or(default.threshold);
        if !(0.0..1.0).contains(&threshold) || threshold == 0.0 {
            return Err(InvalidSetting::new("vad.threshold", threshold, "more than 0 and less than 1"));
        }
        let ms = |key, given, range| Ok(within(key, given, range)?.map(Duration::from_millis));
        Ok(Self {
            threshold,
            prefix: ms("vad.prefix_ms", raw.prefix_ms, Self::PREFIX_MS)?.unwrap_or(default.prefix),
            end_silence: ms("vad.silence_ms", raw.silence_ms, Self::END_SILENCE_MS)?
                .unwrap_or(default.end_silence),
            short_pause: ms("vad.pause_ms", raw.pause_ms, Self::SHORT_PAUSE_MS)?
                .unwrap_or(default.short_pause),
            min_speech: ms("vad.min_speech_ms", raw.min_speech_ms, 0..=5_000)?.unwrap_or(default.min_speech),
            longest: seconds("vad.longest_s", raw.longest_s, 5..=600)?.unwrap_or(default.longest),
            automatic: default.automatic,
        })
    }
}

impl TryFrom<RawLog> for LogSettings {
    type Error = InvalidSetting;

    fn try_from(raw: RawLog) -> Result<Self, Self::Error> {
        let filter = raw.level.as_deref().map(parse_level).transpose()?;
        let format = match raw.format.as_deref() {
            None | Some("text") => LogFormat::Text,
            Some("json") => LogFormat::Json,
            Some(other) => return Err(InvalidSetting::new("log.format", other, "text or json")),
        };
        Ok(Self { filter, format })
    }
}

fn parse_knee(given: Option<&AutoOr>) -> Result<KneeSetting, InvalidSetting> {
    match given {
        Some(AutoOr::Text(text)) if text == "measure" => Ok(KneeSetting::Measure),
        Some(AutoOr::Text(text)) if text == "off" => Ok(KneeSetting::Off),
        given => auto_or_count("pool.knee", given, 1..=256)
            .map(|slots| slots.map_or(KneeSetting::Auto, KneeSetting::Slots))
            .map_err(|error| InvalidSetting { expected: "auto, measure, off or 1 to 256".into(), ..error }),
    }
}

fn parse_level(level: &str) -> Result<String, InvalidSetting> {
    let expected = "a level (off, error, warn, info, debug, trace) or directives as in stenopool::pool=debug";
    LogSettings::filter_for(level).ok_or_else(|| InvalidSetting::new("log.level", level, expected))
}

fn parse_bind(given: Option<&str>) -> Result<SocketAddr, InvalidSetting> {
    let given = given.unwrap_or("127.0.0.1:8080");
    let named = given.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    named.as_deref().unwrap_or(given).parse().map_err(|_| {
        InvalidSetting::new("server.bind", given, "an address and a port, as in 127.0.0.1:8080 or [::1]:8080")
    })
}

pub(super) fn is_http(url: &str) -> bool {
    url.starts_with("http://") || url.starts_with("https://")
}

pub(super) fn within(
    key: &'static str,
    given: Option<u64>,
    range: RangeInclusive<u64>,
) -> Result<Option<u64>, InvalidSetting> {
    match given {
        Some(value) if !range.contains(&value) => {
            Err(InvalidSetting::new(key, value, format!("{} to {}", range.start(), range.end())))
        }
        given => Ok(given),
    }
}

fn seconds(
    key: &'static str,
    given: Option<u64>,
    range: RangeInclusive<u64>,
) -> Result<Option<Duration>, InvalidSetting> {
    Ok(within(key, given, range)?.map(Duration::from_secs))
}

fn auto_or_count(
    key: &'static str,
    given: Option<&AutoOr>,
    range: RangeInclusive<u16>,
) -> Result<Option<u16>, InvalidSetting> {
    let range = u64::from(*range.start())..=u64::from(*range.end());
    Ok(auto_or_number(key, given, range)?.map(|count| count as u16))
}

fn auto_or_number(
    key: &'static str,
    given: Option<&AutoOr>,
    range: RangeInclusive<u64>,
) -> Result<Option<u64>, InvalidSetting> {
    let (text, count) = match given {
        None => return Ok(None),
        Some(AutoOr::Text(text)) if text == "auto" => return Ok(None),
        Some(AutoOr::Text(text)) => (text.clone(), text.parse().ok()),
        Some(AutoOr::Number(number)) => (number.to_string(), u64::try_from(*number).ok()),
    };
    match count.filter(|count| range.contains(count)) {
        Some(count) => Ok(Some(count)),
        None => Err(InvalidSetting::new(key, text, format!("auto or {} to {}", range.start(), range.end()))),
    }
}

/// A sentence of warning when others than the owner can read `path`.
#[cfg(unix)]
fn readable_by_others(path: &Path) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    let path = path.display();
    (mode & 0o077 != 0)
        .then(|| format!("{path} holds API keys and can be read by others; run: chmod 600 {path}"))
}

#[cfg(not(unix))]
fn readable_by_others(_path: &Path) -> Option<String> {
    None
}
