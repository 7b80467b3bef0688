//! A window onto someone's bytes, in the shape that symphonia reads. Knows nothing of formats.

use std::io::{Read, Result, Seek, SeekFrom};
use std::ops::Range;
use symphonia::core::io::MediaSource;

/// Bytes that a file begins with, and some way into it, are all that is looked at to tell what it is.
pub(super) const HEAD_BYTES: usize = 64 * 1024;

/// A range of `inner`, seen as a file of its own with `head` put before it.
#[derive(Debug)]
pub(super) struct View<S> {
    inner: S,
    head: Vec<u8>,
    body: Range<u64>,
    position: u64,
    forward_only: bool,
}

impl<S: Read + Seek> View<S> {
    /// Shows `head`, then the bytes `body` of `inner`; where `inner` ends earlier, reads bring nothing.
    pub(super) fn new(inner: S, head: Vec<u8>, body: Range<u64>) -> Self {
        Self { inner, head, body, position: 0, forward_only: false }
    }

    /// Asks readers not to jump: what they look for may be missing.
    pub(super) fn forward_only(self, forward_only: bool) -> Self {
        Self { forward_only, ..self }
    }

    fn len(&self) -> u64 {
        self.head.len() as u64 + (self.body.end - self.body.start)
    }
}

impl<S: Read + Seek> Read for View<S> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let head = self.head.len() as u64;
        let n = if self.position < head {
            (&self.head[self.position as usize..]).read(buffer)?
        } else {
            let rest = self.len().saturating_sub(self.position);
            let wanted = rest.min(buffer.len() as u64) as usize;
            self.inner.seek(SeekFrom::Start(self.body.start + self.position - head))?;
            self.inner.read(&mut buffer[..wanted])?
        };
        self.position += n as u64;
        Ok(n)
    }
}

impl<S: Read + Seek> Seek for View<S> {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.len().checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        // A seek past the end is allowed and reads nothing there, as with a file.
        self.position = position.ok_or(std::io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

impl<S: Read + Seek + Send + Sync> MediaSource for View<S> {
    fn is_seekable(&self) -> bool {
        !self.forward_only
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.len())
    }
}

/// Reads up to `limit` bytes from `position` on; fewer only at the end.
pub(super) fn read_at<S: Read + Seek>(source: &mut S, position: u64, limit: usize) -> Result<Vec<u8>> {
    source.seek(SeekFrom::Start(position))?;
    let mut bytes = Vec::new();
    source.take(limit as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn a_view_reads_like_a_file_of_its_own() {
        let mut view = View::new(Cursor::new(b"0123456789".to_vec()), b"ab".to_vec(), 3..7);
        let mut all = String::new();
        view.read_to_string(&mut all).unwrap();
        assert_eq!(all, "ab3456");
        assert_eq!(view.byte_len(), Some(6));
        assert_eq!(view.seek(SeekFrom::End(-3)).unwrap(), 3);
        all.clear();
        view.read_to_string(&mut all).unwrap();
        assert_eq!(all, "456");
        assert!(view.seek(SeekFrom::Current(-9)).is_err());
        assert_eq!(view.seek(SeekFrom::Start(99)).unwrap(), 99);
        assert_eq!(view.read(&mut [0; 4]).unwrap(), 0);
    }
}
