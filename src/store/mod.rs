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
mod patience;
mod resolve;
mod search;

pub use checksum::{Checksum, Hasher};
pub use demo::demo_weights;
pub use download::{DownloadSettings, Downloader, Step};
pub use error::{ManifestError, StoreError};
pub use manifest::{DEMO, Kind, Languages, Manifest, ModelEntry, Window};
pub use resolve::{ResolvedModel, Weights};
pub use search::{SearchPath, search_path, user_cache};

use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// What ONNX Runtime's shared library is called.
const ONNX_RUNTIME: &str =
    if cfg!(target_os = "macos") { "libonnxruntime.dylib" } else { "libonnxruntime.so" };

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
        let found = self.search.folders().iter().find_map(|folder| library_in(folder, ONNX_RUNTIME));
        match found {
            Some(path) => Ok(path),
            None => Err(self.not_installed(self.entry("onnxruntime")?)),
        }
    }

    /// Reads an installed file from end to end and compares its checksum. `on_bytes` is told how many bytes have been
    /// read.
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

    fn not_installed(&self, entry: &ModelEntry) -> StoreError {
        StoreError::NotInstalled {
            name: entry.name.clone(),
            file: entry.file.clone(),
            searched: self.search.folders().to_vec(),
            hint: entry.hint.clone().unwrap_or_else(|| format!("stenopool models pull {}", entry.name)),
        }
    }
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

/// A models folder with these files in it, searched after one that is absent.
#[cfg(test)]
fn store_with(files: &[(&str, &[u8])]) -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    let store = Store::new(vec![folder.path().join("absent"), folder.path().to_path_buf()]);
    (folder, store)
}

#[cfg(test)]
mod tests {
    use super::{store_with as store, *};

    #[test]
    fn a_model_that_is_not_installed_says_how_to_get_it() {
        let (_folder, store) = store(&[]);
        let hint = |error: StoreError| error.hint().unwrap();
        assert_eq!(hint(store.resolve(Some("small")).unwrap_err()), "stenopool models pull small");
        assert!(hint(store.silero().unwrap_err()).contains("make setup"));
        assert!(hint(store.onnx_runtime().unwrap_err()).contains("make setup"));
    }

    #[test]
    fn onnx_runtime_is_found_under_a_versioned_name() {
        let versioned = format!("{ONNX_RUNTIME}.1.31.1");
        let (folder, store) = store(&[(&versioned, b"")]);
        assert_eq!(store.onnx_runtime().unwrap(), folder.path().join(&versioned));
        fs::write(folder.path().join(ONNX_RUNTIME), b"").unwrap();
        assert_eq!(store.onnx_runtime().unwrap(), folder.path().join(ONNX_RUNTIME));
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
