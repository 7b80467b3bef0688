//! What was measured of the knee before: a small file in the user's cache, which may be lost or damaged at any time.

use crate::asr::KneeFound;
use crate::gpu::KneeKey;
use crate::store::user_cache;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;
use tracing::{debug, warn};

/// One knee, as the file keeps it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Entry {
    knee: Option<u16>,
    reached: u16,
}

/// The knees that were measured, by [`KneeKey`]. Without a place for it, nothing is kept.
#[derive(Debug)]
pub(super) struct KneeCache {
    path: Option<PathBuf>,
}

impl KneeCache {
    /// In this file.
    pub(super) fn at(path: Option<PathBuf>) -> Self {
        Self { path }
    }

    /// In the user's cache.
    pub(super) fn of_user() -> Self {
        let cache = user_cache(std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME"));
        Self::at(cache.map(|cache| cache.join("stenopool/knees.json")))
    }

    /// What was measured under this key.
    pub(super) fn get(&self, key: &KneeKey) -> Option<KneeFound> {
        let Entry { knee, reached } = *self.read().get(&key.to_string())?;
        let is_sound = reached >= 1 && knee.is_none_or(|knee| (1..=reached).contains(&knee));
        is_sound.then_some(KneeFound { knee, reached })
    }

    /// Keeps what was measured. That it cannot be kept is no reason not to serve.
    pub(super) fn put(&self, key: &KneeKey, found: KneeFound) {
        let Some(path) = &self.path else { return };
        let mut entries = self.read();
        entries.insert(key.to_string(), Entry { knee: found.knee, reached: found.reached });
        if let Err(error) = write(path, &entries) {
            warn!(%error, path = %path.display(), "the measured knee cannot be kept and will be measured again");
        }
    }

    /// All entries; none where there is no file, or a damaged one.
    fn read(&self) -> BTreeMap<String, Entry> {
        let text = self.path.as_deref().and_then(|path| std::fs::read_to_string(path).ok());
        let entries = serde_json::from_str(text.as_deref().unwrap_or("{}"));
        entries.inspect_err(|error| debug!(%error, "the file of knees is damaged")).unwrap_or_default()
    }
}

/// Writes beside the file first, so that whoever reads it meanwhile finds it whole.
fn write(path: &Path, entries: &BTreeMap<String, Entry>) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut file = NamedTempFile::new_in(folder)?;
    serde_json::to_writer_pretty(&mut file, entries)?;
    file.write_all(b"\n")?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asr::fake::{FakeEngine, alone, fixed};
    use crate::asr::{EncoderWindow, ModelInfo, Supervisor};
    use crate::cli::assembly::Purpose;
    use crate::cli::sizing::{CoreShare, knee};
    use crate::gpu::DeviceKind;
    use std::sync::Arc;

    fn key(model: &str) -> KneeKey {
        KneeKey { model: model.into(), device: "FakeGPU".into(), threads: 1, window: "fit".into() }
    }

    const FOUR: KneeFound = KneeFound { knee: Some(4), reached: 8 };
    const NONE_UP_TO_SIX: KneeFound = KneeFound { knee: None, reached: 6 };

    #[test]
    fn what_was_kept_is_found_again_and_the_last_word_counts() {
        let dir = tempfile::tempdir().unwrap();
        let cache = || KneeCache::at(Some(dir.path().join("a/b/knees.json")));
        assert_eq!(cache().get(&key("demo")), None);
        cache().put(&key("demo"), FOUR);
        cache().put(&key("base.en"), NONE_UP_TO_SIX);
        assert_eq!(
            (cache().get(&key("demo")), cache().get(&key("base.en"))),
            (Some(FOUR), Some(NONE_UP_TO_SIX))
        );
        cache().put(&key("demo"), NONE_UP_TO_SIX);
        assert_eq!(cache().get(&key("demo")), Some(NONE_UP_TO_SIX));
        assert_eq!(cache().get(&key("small.en")), None);
    }

    #[test]
    fn a_damaged_file_is_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("knees.json");
        let cache = KneeCache::at(Some(path.clone()));
        let damaged = ["", "{", "[]", "\u{0}", r#"{"demo/FakeGPU/1/fit": {"knee": -4, "reached": 8}}"#];
        let absurd = [
            r#"{"demo/FakeGPU/1/fit": {"knee": 9, "reached": 8}}"#,
            r#"{"demo/FakeGPU/1/fit": {"knee": 0, "reached": 8}}"#,
            r#"{"demo/FakeGPU/1/fit": {"knee": null, "reached": 0}}"#,
        ];
        for text in damaged.into_iter().chain(absurd) {
            std::fs::write(&path, text).unwrap();
            assert_eq!(cache.get(&key("demo")), None, "{text}");
            cache.put(&key("demo"), FOUR);
            assert_eq!(cache.get(&key("demo")), Some(FOUR), "{text}");
        }
    }

    /// What a start on a GPU does with this engine, and this file of knees: how many slots there are to be.
    async fn slots_of(engine: FakeEngine, cache: &KneeCache) -> u16 {
        let settings = crate::config::load(None, &BTreeMap::<String, String>::new()).unwrap().slots;
        let share = CoreShare::new(1, None, None);
        let knee = knee(&settings, Purpose::Server, DeviceKind::Cuda, share, cache.get(&key("demo")));
        let mut sites = alone(Arc::new(engine));
        sites[0].knee = knee;
        let model = ModelInfo { name: "demo".into(), multilingual: false, window: EncoderWindow::Fit };
        let supervisor = Supervisor::start(sites, model, fixed(16)).await.unwrap();
        for (_, found) in supervisor.knees_found() {
            cache.put(&key("demo"), *found);
        }
        supervisor.sizing().slots
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_start_uses_what_the_first_one_measured() {
        let dir = tempfile::tempdir().unwrap();
        let cache = KneeCache::at(Some(dir.path().join("knees.json")));
        // One decode at a time, whatever the number of slots: each of a batch ends later than the one before.
        let serial = FakeEngine::saturating_at(1);
        assert_eq!(slots_of(serial, &cache).await, 1);
        let unasked = FakeEngine::new(|_, _| panic!("it was measured before"));
        assert_eq!(slots_of(unasked, &cache).await, 1);
    }

    #[test]
    fn without_a_place_nothing_is_kept() {
        let cache = KneeCache::at(None);
        cache.put(&key("demo"), FOUR);
        assert_eq!(cache.get(&key("demo")), None);
    }
}
