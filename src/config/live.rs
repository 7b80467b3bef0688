//! The table `[live]`: what live sessions read before an utterance is over.

use super::error::InvalidSetting;
use super::raw::RawLive;
use super::settings::within;
use crate::session::{InterimSettings, LiveSettings};
use std::time::Duration;

impl TryFrom<&RawLive> for LiveSettings {
    type Error = InvalidSetting;

    fn try_from(raw: &RawLive) -> Result<Self, Self::Error> {
        let default = InterimSettings::default();
        let ms = |key, given| Ok(within(key, given, InterimSettings::MS)?.map(Duration::from_millis));
        let interims = InterimSettings {
            first: ms("live.first_interim_ms", raw.first_interim_ms)?.unwrap_or(default.first),
            every: ms("live.interim_ms", raw.interim_ms)?.unwrap_or(default.every),
        };
        Ok(Self {
            interims: raw.interims.unwrap_or(true).then_some(interims),
            speculate: raw.speculate.unwrap_or(true),
        })
    }
}
