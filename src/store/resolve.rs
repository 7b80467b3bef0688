//! Which Whisper model is meant, and whether its file can be trusted.

use super::{DEMO, Kind, ModelEntry, Store, StoreError, Window, ggml};
use std::path::{Path, PathBuf};

/// Where a model's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Weights {
    /// In a file that was found to be a whole ggml model.
    File(PathBuf),
    /// In the binary: [`super::demo_weights`].
    Embedded,
}

/// A Whisper model that can be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedModel {
    /// As in the manifest, or the file's stem without `ggml-`.
    pub name: String,
    /// Where its bytes are.
    pub weights: Weights,
    /// What its encoder may look at; `Full` for files that the manifest does not know.
    pub window: Window,
    /// Whether it knows languages other than English, by its own header.
    pub multilingual: bool,
    /// Whether this is the bundled test model, which deserves a warning.
    pub is_demo: bool,
}

impl Store {
    /// The Whisper model to load: by name, by path, or by the name of a file in the search path; with `None` the best
    /// one installed, which is at least the demo.
    ///
    /// # Errors
    ///
    /// An unknown name, a model that is not installed, or a file that is not a whole ggml model. A damaged file is an
    /// error also for `None`: another model than yesterday's would be a worse surprise.
    pub fn resolve(&self, model: Option<&str>) -> Result<ResolvedModel, StoreError> {
        let Some(model) = model else { return self.best() };
        if let Some(entry) = self.manifest.get(model).filter(|entry| entry.kind == Kind::Whisper) {
            return self.resolve_entry(entry);
        }
        let path = Path::new(model);
        if path.is_file() && looks_like_path(path) {
            return self.resolve_file(path);
        }
        if let Some(found) = self.find(model) {
            return self.resolve_file(&found);
        }
        if looks_like_path(path) && path.is_dir() {
            let reason = "it is a directory".to_owned();
            return Err(StoreError::Damaged { path: path.to_path_buf(), reason, name: None });
        }
        if looks_like_path(path) {
            return Err(StoreError::NoSuchFile(path.to_path_buf()));
        }
        Err(self.unknown_whisper(model))
    }

    fn best(&self) -> Result<ResolvedModel, StoreError> {
        let installed = |entry: &&ModelEntry| !entry.is_embedded() && self.find(&entry.file).is_some();
        match self.manifest.whisper_by_rank().into_iter().find(installed) {
            Some(entry) => self.resolve_entry(entry),
            None => Ok(demo_model()),
        }
    }

    fn resolve_entry(&self, entry: &ModelEntry) -> Result<ResolvedModel, StoreError> {
        if entry.is_embedded() {
            return Ok(demo_model());
        }
        self.resolve_file(&self.installed(entry)?)
    }

    fn resolve_file(&self, path: &Path) -> Result<ResolvedModel, StoreError> {
        let entry = path.file_name().and_then(|name| self.manifest.by_file(name.to_str()?));
        let info = ggml::inspect(path).map_err(|defect| StoreError::Damaged {
            path: path.to_path_buf(),
            reason: defect.to_string(),
            name: entry.filter(|entry| !entry.is_embedded()).map(|entry| entry.name.clone()),
        })?;
        Ok(ResolvedModel {
            name: entry.map_or_else(|| stem(path), |entry| entry.name.clone()),
            weights: Weights::File(path.to_path_buf()),
            window: entry.and_then(|entry| entry.window).unwrap_or(Window::Full),
            multilingual: info.multilingual,
            is_demo: entry.is_some_and(ModelEntry::is_embedded),
        })
    }

    fn unknown_whisper(&self, name: &str) -> StoreError {
        let whisper = self.manifest.entries().iter().filter(|entry| entry.kind == Kind::Whisper);
        StoreError::UnknownModel {
            name: name.into(),
            known: whisper.map(|entry| entry.name.clone()).collect(),
        }
    }
}

fn demo_model() -> ResolvedModel {
    ResolvedModel {
        name: DEMO.into(),
        weights: Weights::Embedded,
        window: Window::Fit,
        multilingual: false,
        is_demo: true,
    }
}

fn looks_like_path(path: &Path) -> bool {
    path.components().count() > 1
        || path.is_absolute()
        || path.extension().is_some_and(|extension| extension == "bin")
}

/// `ggml-mine.bin` is called `mine`.
fn stem(path: &Path) -> String {
    let stem = path
        .file_stem()
        .map_or_else(|| path.display().to_string(), |stem| stem.to_string_lossy().into_owned());
    stem.strip_prefix("ggml-").map_or(stem.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{demo_weights, store_with as store};

    #[test]
    fn without_any_model_the_demo_is_the_best_one() {
        let (_folder, store) = store(&[]);
        let model = store.resolve(None).unwrap();
        assert!(model.is_demo && model.weights == Weights::Embedded && model.window == Window::Fit);
        assert_eq!(store.resolve(Some("demo")).unwrap(), model);
    }

    #[test]
    fn the_best_installed_model_is_the_default() {
        let whole = demo_weights();
        let (folder, store) =
            store(&[("ggml-tiny.bin", &whole), ("ggml-base.bin", &whole), ("ggml-mine.bin", &whole)]);
        let model = store.resolve(None).unwrap();
        assert_eq!((model.name.as_str(), model.window), ("base", Window::Full));
        assert_eq!(model.weights, Weights::File(folder.path().join("ggml-base.bin")));
    }

    #[test]
    fn a_model_is_found_by_path_and_by_file_name() {
        let (folder, store) = store(&[("ggml-mine.bin", &demo_weights())]);
        let path = folder.path().join("ggml-mine.bin");
        let model = store.resolve(path.to_str()).unwrap();
        assert_eq!((model.name.as_str(), model.window, model.is_demo), ("mine", Window::Full, false));
        assert_eq!(store.resolve(Some("ggml-mine.bin")).unwrap(), model);
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_known_ones() {
        let (_folder, store) = store(&[]);
        let error = store.resolve(Some("huge")).unwrap_err();
        assert_eq!(error.code(), "unknown_model");
        assert!(error.to_string().contains("large-v3-turbo"), "{error}");
        assert_eq!(store.resolve(Some("./huge.bin")).unwrap_err().code(), "model_file_missing");
    }

    #[test]
    fn a_damaged_model_is_refused_before_anyone_loads_it() {
        let whole = demo_weights();
        let (folder, store) =
            store(&[("ggml-tiny.bin", &whole[..whole.len() / 2]), ("ggml-web.bin", b"<html>")]);
        for model in [None, Some("tiny")] {
            let error = store.resolve(model).unwrap_err();
            assert_eq!(
                (error.code(), error.hint().unwrap().as_str()),
                ("model_damaged", "stenopool models pull tiny")
            );
        }
        let error = store.resolve(folder.path().join("ggml-web.bin").to_str()).unwrap_err();
        assert!(error.to_string().contains("not a ggml file"), "{error}");
    }
}
