//! The table `[tts]`: what speaks, and in which voice.

use super::error::InvalidSetting;
use super::raw::RawTts;
use super::settings::{NetworkDevice, is_http, within};
use crate::tts::{EngineChoice, RemoteSettings, TtsSettings, WorkerSettings};
use std::path::PathBuf;

/// What speaks, as far as it is known before anybody has looked for files.
#[derive(Debug, Clone, Default)]
pub struct VoiceSettings {
    /// Everything but where Kokoro's files are.
    pub tts: TtsSettings,
    /// Kokoro's network; `None`: it is looked for.
    pub kokoro_model: Option<PathBuf>,
    /// Kokoro's voices; `None`: they are looked for.
    pub voices_dir: Option<PathBuf>,
    /// Where Kokoro runs.
    pub device: NetworkDevice,
}

impl TryFrom<RawTts> for VoiceSettings {
    type Error = InvalidSetting;

    fn try_from(raw: RawTts) -> Result<Self, Self::Error> {
        let default = TtsSettings::default();
        let engine = match raw.engine.as_deref() {
            None | Some("auto") => EngineChoice::Auto,
            Some("kokoro") => EngineChoice::Kokoro,
            Some("remote") => EngineChoice::Remote,
            Some("espeak") => EngineChoice::Espeak,
            Some("off") => EngineChoice::Off,
            Some(other) => {
                return Err(InvalidSetting::new("tts.engine", other, "auto, kokoro, remote, espeak or off"));
            }
        };
        let threads = within("tts.workers", raw.workers, 1..=16)?.map_or(1, |threads| threads as usize);
        let workers = WorkerSettings {
            threads,
            dedicated: raw.dedicated.unwrap_or(false),
            ..WorkerSettings::default()
        };
        let tts = TtsSettings {
            engine,
            voice: raw.voice.clone(),
            workers,
            kokoro: None,
            espeak: raw.espeak.clone().unwrap_or(default.espeak),
            remote: remote(&raw)?,
        };
        if engine == EngineChoice::Remote && tts.remote.is_none() {
            return Err(InvalidSetting::new("tts.url", "missing", "the address of a speech server"));
        }
        let device = device(NetworkDevice::read("tts.device", raw.device.as_deref())?, workers)?;
        Ok(Self { tts, kokoro_model: raw.kokoro_model, voices_dir: raw.voices_dir, device })
    }
}

/// Where Kokoro runs. Weights that come with a session are on no GPU: its slots were counted before.
fn device(wanted: NetworkDevice, workers: WorkerSettings) -> Result<NetworkDevice, InvalidSetting> {
    match wanted {
        NetworkDevice::Auto if workers.dedicated => Ok(NetworkDevice::Cpu),
        NetworkDevice::Cuda if workers.dedicated => {
            Err(InvalidSetting::new("tts.device", "cuda", "auto or cpu where tts.dedicated is true"))
        }
        wanted => Ok(wanted),
    }
}

fn remote(raw: &RawTts) -> Result<Option<RemoteSettings>, InvalidSetting> {
    let Some(url) = &raw.url else { return Ok(None) };
    if !is_http(url) {
        let expected = "a URL that begins with http:// or https://, as in http://127.0.0.1:8880/v1";
        return Err(InvalidSetting::new("tts.url", url, expected));
    }
    let default = RemoteSettings::new(url.as_str());
    let concurrency = within("tts.concurrency", raw.concurrency, 1..=1_024)?;
    Ok(Some(RemoteSettings {
        key: raw.key.clone(),
        model: raw.model.clone().unwrap_or(default.model),
        voices: raw.voices.clone().unwrap_or_default(),
        concurrency: concurrency.map_or(default.concurrency, |requests| requests as usize),
        ..RemoteSettings::new(url.as_str())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<VoiceSettings, InvalidSetting> {
        toml::from_str::<RawTts>(text).unwrap().try_into()
    }

    #[test]
    fn what_speaks_is_chosen_and_nonsense_is_refused() {
        assert_eq!(read("").unwrap().tts, TtsSettings::default());
        let given = read("url = \"http://x/v1\"\nvoices = [\"a\"]\nmodel = \"m\"\nworkers = 2").unwrap().tts;
        let remote = given.remote.unwrap();
        assert_eq!((remote.model.as_str(), remote.voices.len(), given.workers.threads), ("m", 1, 2));
        for (text, key) in [
            ("engine = \"parrot\"", "tts.engine"),
            ("engine = \"remote\"", "tts.url"),
            ("url = \"x\"", "tts.url"),
            ("workers = 0", "tts.workers"),
            ("url = \"http://x\"\nconcurrency = 0", "tts.concurrency"),
            ("device = \"gpu\"", "tts.device"),
            ("device = \"cuda\"\ndedicated = true", "tts.device"),
        ] {
            assert_eq!(read(text).unwrap_err().key, key, "{text}");
        }
    }

    #[test]
    fn weights_of_a_session_alone_stay_on_the_processor() {
        use NetworkDevice::{Auto, Cpu, Cuda};
        let device = |text| read(text).unwrap().device;
        assert_eq!((device(""), device("device = \"cuda\"")), (Auto, Cuda));
        assert_eq!((device("dedicated = true"), device("dedicated = true\ndevice = \"cpu\"")), (Cpu, Cpu));
    }
}
