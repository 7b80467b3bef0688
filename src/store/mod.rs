//! Models on disk: manifest, search path, download, checksums, and the embedded demo model.
//!
//! A [`Store`] finds and judges files; a [`Downloader`] fetches them. Neither writes to a terminal nor reads the
//! environment: `cli` hands in a [`search_path`] and draws the progress.

mod checksum;
mod demo;
mod download;
mod error;
mod ggml;
mod manifest;
mod part;
mod search;

pub use checksum::{Checksum, Hasher};
pub use demo::demo_weights;
pub use download::{DownloadSettings, Downloader, Step};
pub use error::{ManifestError, StoreError};
pub use manifest::{DEMO, Kind, Languages, Manifest, ModelEntry, Window};
pub use search::{SearchPath, search_path, user_cache};

use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Where a model's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Weights {
    /// In a file that was found to be a whole ggml model.
    File(PathBuf),
    /// In the binary: [`demo_weights`].
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

/// An installed file, looked at closely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verified {
    /// Its checksum is the right one.
    Good,
    /// It is there, but nobody publishes a checksum for it.
    Unchecked,
}

/// The models of this machine.
#[derive(Debug, Clone)]
pub struct Store {
    manifest: Manifest,
    search: SearchPath,
}

impl Store {
    /// The models of the embedded manifest in these folders.
    pub fn new(search: impl Into<SearchPath>) -> Self {
        Self::with_manifest(Manifest::embedded(), search)
    }

    /// The models of another manifest in these folders.
    pub fn with_manifest(manifest: Manifest, search: impl Into<SearchPath>) -> Self {
        Self { manifest, search: search.into() }
    }

    /// What could be installed.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Where it would be.
    pub fn search(&self) -> &SearchPath {
        &self.search
    }

    /// The first file of this name (which may contain folders) in the search path.
    pub fn find(&self, file_name: &str) -> Option<PathBuf> {
        self.search.folders().iter().map(|folder| folder.join(file_name)).find(|path| path.is_file())
    }

    /// The manifest's entry of this name.
    ///
    /// # Errors
    ///
    /// [`StoreError::UnknownModel`], listing all names.
    pub fn entry(&self, name: &str) -> Result<&ModelEntry, StoreError> {
        let known = || self.manifest.entries().iter().map(|entry| entry.name.clone()).collect();
        self.manifest.get(name).ok_or_else(|| StoreError::UnknownModel { name: name.into(), known: known() })
    }

    /// The file of an entry.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotInstalled`], with how to get it.
    pub fn installed(&self, entry: &ModelEntry) -> Result<PathBuf, StoreError> {
        self.find(&entry.file).ok_or_else(|| self.not_installed(entry))
    }

    /// The Whisper model to load: by name, by path, by the name of a file in the search path, or, with `None`, the best one installed,
    /// which is at least the demo.
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
        if looks_like_path(path) {
            return Err(StoreError::NoSuchFile(path.to_path_buf()));
        }
        Err(self.unknown_whisper(model))
    }

    /// Silero's ONNX file.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotInstalled`], with how to get it.
    pub fn silero(&self) -> Result<PathBuf, StoreError> {
        self.installed(self.entry("silero")?)
    }

    /// ONNX Runtime's shared library, under its plain or a versioned name.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotInstalled`], with how to get it.
    pub fn onnx_runtime(&self) -> Result<PathBuf, StoreError> {
        let library = format!("{}onnxruntime{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
        let found = self.search.folders().iter().find_map(|folder| library_in(folder, &library));
        found.ok_or(self.entry("onnxruntime").map_or_else(|error| error, |entry| self.not_installed(entry)))
    }

    /// Reads an installed file from end to end and compares its checksum. `on_bytes` is told how many bytes have been read.
    ///
    /// # Errors
    ///
    /// [`StoreError::WrongSize`], [`StoreError::WrongChecksum`], or what the file system says.
    ///
    /// # Cancel safety
    ///
    /// Dropping it stops within a MiB; nothing is changed.
    pub async fn verify(
        &self,
        entry: &ModelEntry,
        path: &Path,
        on_bytes: &mut (dyn FnMut(u64) + Send),
    ) -> Result<Verified, StoreError> {
        let mut file = File::open(path).map_err(StoreError::io("open", path))?;
        let size = file.metadata().map_err(StoreError::io("read", path))?.len();
        expect_size(entry, size)?;
        let Some(expected) = entry.checksum else { return Ok(Verified::Unchecked) };
        let mut hasher = expected.hasher();
        hasher.drain(&mut file, on_bytes).await.map_err(StoreError::io("read", path))?;
        expect_checksum(entry, hasher.finish()).map(|()| Verified::Good)
    }

    /// Compares the embedded demo model with its checksum.
    ///
    /// # Errors
    ///
    /// [`StoreError::WrongChecksum`] for a binary that was tampered with.
    pub fn verify_demo(&self) -> Result<Verified, StoreError> {
        let entry = self.entry(DEMO)?;
        let Some(expected) = entry.checksum else { return Ok(Verified::Unchecked) };
        expect_checksum(entry, demo::demo_checksum(expected)).map(|()| Verified::Good)
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

    fn not_installed(&self, entry: &ModelEntry) -> StoreError {
        StoreError::NotInstalled {
            name: entry.name.clone(),
            file: entry.file.clone(),
            searched: self.search.folders().to_vec(),
            hint: entry.hint.clone().unwrap_or_else(|| format!("stenopool models pull {}", entry.name)),
        }
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

/// The library called `name` in a folder, or else `name.1.2.3`, the highest in the order of letters.
fn library_in(folder: &Path, name: &str) -> Option<PathBuf> {
    let plain = folder.join(name);
    if plain.is_file() {
        return Some(plain);
    }
    let files = fs::read_dir(folder).ok()?.filter_map(|file| Some(file.ok()?.path()));
    let versioned = format!("{name}.");
    files
        .filter(|path| path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(&versioned)))
        .max()
}

fn expect_size(entry: &ModelEntry, got: u64) -> Result<(), StoreError> {
    match entry.bytes {
        Some(expected) if expected != got => {
            Err(StoreError::WrongSize { file: entry.file.clone(), expected, got })
        }
        _ => Ok(()),
    }
}

fn expect_checksum(entry: &ModelEntry, got: Checksum) -> Result<(), StoreError> {
    match entry.checksum {
        Some(expected) if expected != got => {
            Err(StoreError::WrongChecksum { file: entry.file.clone(), expected, got })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A models folder with these files in it.
    fn store(files: &[(&str, &[u8])]) -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        let store = Store::new(vec![folder.path().join("absent"), folder.path().to_path_buf()]);
        (folder, store)
    }

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
    fn a_model_that_is_not_installed_says_how_to_get_it() {
        let (_folder, store) = store(&[]);
        let hint = |error: StoreError| error.hint().unwrap();
        assert_eq!(hint(store.resolve(Some("small")).unwrap_err()), "stenopool models pull small");
        assert!(hint(store.silero().unwrap_err()).contains("make setup"));
        assert!(hint(store.onnx_runtime().unwrap_err()).contains("make setup"));
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

    #[test]
    fn onnx_runtime_is_found_under_a_versioned_name() {
        let plain = format!("{}onnxruntime{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
        let versioned = format!("{plain}.1.31.1");
        let (folder, store) = store(&[(&versioned, b"")]);
        assert_eq!(store.onnx_runtime().unwrap(), folder.path().join(&versioned));
        fs::write(folder.path().join(&plain), b"").unwrap();
        assert_eq!(store.onnx_runtime().unwrap(), folder.path().join(&plain));
    }

    #[test]
    fn an_earlier_folder_wins() {
        let folders: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
        for folder in &folders {
            fs::write(folder.path().join("silero_vad.onnx"), b"").unwrap();
        }
        let store = Store::new(folders.iter().map(|folder| folder.path().to_path_buf()).collect::<Vec<_>>());
        assert_eq!(store.silero().unwrap(), folders[0].path().join("silero_vad.onnx"));
    }

    #[tokio::test]
    async fn verifying_tells_good_files_from_bad_ones() {
        let mut weights = demo_weights();
        let (folder, store) = store(&[("ggml-demo.en-q8_0.bin", &weights)]);
        let path = folder.path().join("ggml-demo.en-q8_0.bin");
        let entry = store.entry(DEMO).unwrap();
        let mut read = 0;
        assert_eq!(store.verify(entry, &path, &mut |bytes| read = bytes).await.unwrap(), Verified::Good);
        assert_eq!(read, weights.len() as u64);
        weights[1000] ^= 1;
        fs::write(&path, &weights).unwrap();
        assert_eq!(store.verify(entry, &path, &mut |_| ()).await.unwrap_err().code(), "wrong_checksum");
        fs::write(&path, &weights[1..]).unwrap();
        assert_eq!(store.verify(entry, &path, &mut |_| ()).await.unwrap_err().code(), "wrong_size");
    }
}
