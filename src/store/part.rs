//! A file on its way: `NAME.part` with what has arrived, `NAME.part.etag` with what the server called that version.
//!
//! One process at a time holds the lock on `NAME.part`. The file takes its name only when it is whole, checked and
//! on disk.

use super::{Hasher, ModelEntry, StoreError, expect_checksum, expect_size};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

/// A partial download, exclusively ours.
pub(super) struct Part {
    file: File,
    path: PathBuf,
    target: PathBuf,
    len: u64,
    hasher: Option<Hasher>,
    validator: Option<String>,
}

impl Part {
    /// Opens or creates the part of `target` and locks it. What an earlier run left is there, but not hashed:
    /// [`Part::catch_up`] must come next.
    ///
    /// # Errors
    ///
    /// [`StoreError::Busy`] when another process holds it, or what the file system says.
    pub(super) fn open(entry: &ModelEntry, target: &Path) -> Result<Self, StoreError> {
        let folder = target.parent().unwrap_or(Path::new(""));
        fs::create_dir_all(folder).map_err(StoreError::io("create", folder))?;
        let path = beside(target, ".part");
        let file = open_locked(&path)?;
        let validator =
            fs::read_to_string(beside(&path, ".etag")).ok().filter(|validator| !validator.is_empty());
        let hasher = entry.checksum.map(|checksum| checksum.hasher());
        Ok(Self { file, path, target: target.to_path_buf(), len: 0, hasher, validator })
    }

    /// Hashes what an earlier run left, so that the rest can follow. Without a validator and without a checksum
    /// nothing could tell whether the rest fits: then it starts from nothing.
    ///
    /// # Cancel safety
    ///
    /// The part on disk stays as it was.
    pub(super) async fn catch_up(
        &mut self,
        on_bytes: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), StoreError> {
        self.len = match &mut self.hasher {
            Some(hasher) => hasher.drain(&mut self.file, on_bytes).await,
            None if self.validator.is_some() => self.file.seek(io::SeekFrom::End(0)),
            None => return self.restart(None),
        }
        .map_err(StoreError::io("read", &self.path))?;
        Ok(())
    }

    /// How many bytes have arrived.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The `ETag` or date of the version whose bytes these are.
    pub(super) fn validator(&self) -> Option<&str> {
        self.validator.as_deref()
    }

    /// Forgets all bytes; those to come are of the version `validator`.
    pub(super) fn restart(&mut self, validator: Option<String>) -> Result<(), StoreError> {
        self.file
            .set_len(0)
            .and_then(|()| self.file.rewind())
            .map_err(StoreError::io("truncate", &self.path))?;
        self.len = 0;
        self.hasher = self.hasher.take().map(|hasher| hasher.afresh());
        let beside = beside(&self.path, ".etag");
        match &validator {
            Some(validator) => fs::write(&beside, validator).map_err(StoreError::io("write", &beside))?,
            None => remove_if_there(&beside)?,
        }
        self.validator = validator;
        Ok(())
    }

    /// Takes the next bytes. The write goes to the page cache and blocks only as long as that takes.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.file.write_all(bytes).map_err(StoreError::io("write", &self.path))?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Checks the whole file, puts it on disk and gives it its name.
    ///
    /// # Errors
    ///
    /// Wrong bytes ([`StoreError::WrongSize`], [`StoreError::WrongChecksum`]) are removed; after other errors the
    /// part is kept.
    pub(super) fn finish(mut self, entry: &ModelEntry) -> Result<(), StoreError> {
        if let Err(error) = self.judge(entry) {
            self.remove()?;
            return Err(error);
        }
        self.file.sync_all().map_err(StoreError::io("flush", &self.path))?;
        fs::rename(&self.path, &self.target).map_err(StoreError::io("rename", &self.path))?;
        remove_if_there(&beside(&self.path, ".etag"))?;
        sync_folder(&self.target);
        Ok(())
    }

    fn judge(&mut self, entry: &ModelEntry) -> Result<(), StoreError> {
        expect_size(entry, self.len)?;
        self.hasher.take().map_or(Ok(()), |hasher| expect_checksum(entry, hasher.finish()))
    }

    /// Leaves nothing behind.
    fn remove(&self) -> Result<(), StoreError> {
        remove_if_there(&beside(&self.path, ".etag"))?;
        remove_if_there(&self.path)
    }
}

impl Drop for Part {
    /// A download that never brought a byte leaves no trace.
    fn drop(&mut self) {
        if self.file.metadata().is_ok_and(|metadata| metadata.len() == 0) {
            let _ = self.remove();
        }
    }
}

/// Opens `path` and locks it; goes again if the file lost its name (finished or removed by another process) in
/// between.
fn open_locked(path: &Path) -> Result<File, StoreError> {
    loop {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = file.map_err(StoreError::io("write", path))?;
        match file.try_lock() {
            Ok(()) if is_still_at(&file, path) => return Ok(file),
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Busy(path.to_path_buf())),
            Err(TryLockError::Error(error)) => return Err(StoreError::io("lock", path)(error)),
        }
    }
}

#[cfg(unix)]
fn is_still_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    matches!((file.metadata().map(id), fs::metadata(path).map(id)), (Ok(ours), Ok(there)) if ours == there)
}

/// Elsewhere an open file cannot be renamed or removed under its holder.
#[cfg(not(unix))]
fn is_still_at(_file: &File, _path: &Path) -> bool {
    true
}

/// Makes the rename itself survive a power cut, where the file system lets a folder be flushed.
fn sync_folder(target: &Path) {
    if let Some(folder) = target.parent().and_then(|folder| File::open(folder).ok()) {
        let _ = folder.sync_all();
    }
}

fn remove_if_there(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// `path` with `suffix` after its full name.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
