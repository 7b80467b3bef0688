//! What a file must hash to, and hashing that can be fed piece by piece.
//!
//! Upstream publishes SHA-1 for `OpenAI`'s models; everything of ours is SHA-256.

use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::fmt;
use std::io::{self, Read};

/// Bytes hashed between two reports of progress.
const BLOCK: usize = 1024 * 1024;

/// The fingerprint of a file's contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// 160 bits; good against damage, not against malice.
    Sha1([u8; 20]),
    /// 256 bits.
    Sha256([u8; 32]),
}

impl Checksum {
    /// Reads a SHA-1 written in 40 hexadecimal digits.
    pub fn sha1(hex: &str) -> Option<Self> {
        from_hex(hex).map(Self::Sha1)
    }

    /// Reads a SHA-256 written in 64 hexadecimal digits.
    pub fn sha256(hex: &str) -> Option<Self> {
        from_hex(hex).map(Self::Sha256)
    }

    /// A hasher of the same kind.
    pub fn hasher(&self) -> Hasher {
        match self {
            Self::Sha1(_) => Hasher::Sha1(Sha1::new()),
            Self::Sha256(_) => Hasher::Sha256(Sha256::new()),
        }
    }

    /// The fingerprint of `bytes`, of the same kind as this one.
    #[must_use]
    pub fn of(&self, bytes: &[u8]) -> Self {
        let mut hasher = self.hasher();
        hasher.update(bytes);
        hasher.finish()
    }
}

impl fmt::Display for Checksum {
    /// `sha1 bd57…` or `sha256 6bca…`, all digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, bytes): (_, &[u8]) = match self {
            Self::Sha1(bytes) => ("sha1", bytes),
            Self::Sha256(bytes) => ("sha256", bytes),
        };
        write!(f, "{kind} ")?;
        bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A checksum in the making.
#[derive(Debug, Clone)]
pub enum Hasher {
    /// Towards [`Checksum::Sha1`].
    Sha1(Sha1),
    /// Towards [`Checksum::Sha256`].
    Sha256(Sha256),
}

impl Hasher {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha1(hasher) => hasher.update(bytes),
            Self::Sha256(hasher) => hasher.update(bytes),
        }
    }

    /// A hasher of the same kind that has taken nothing.
    #[must_use]
    pub fn afresh(&self) -> Self {
        match self {
            Self::Sha1(_) => Self::Sha1(Sha1::new()),
            Self::Sha256(_) => Self::Sha256(Sha256::new()),
        }
    }

    /// The fingerprint of all bytes taken.
    pub fn finish(self) -> Checksum {
        match self {
            Self::Sha1(hasher) => Checksum::Sha1(hasher.finalize().into()),
            Self::Sha256(hasher) => Checksum::Sha256(hasher.finalize().into()),
        }
    }

    /// Takes everything `reader` has left, and tells `on_bytes` how many bytes it has taken so far.
    ///
    /// # Errors
    ///
    /// What the reader says, except for interruptions.
    ///
    /// # Cancel safety
    ///
    /// It yields after every MiB, so a caller may drop it there; the hasher is then good for nothing.
    pub async fn drain(
        &mut self,
        reader: &mut (impl Read + Send),
        on_bytes: &mut (dyn FnMut(u64) + Send),
    ) -> io::Result<u64> {
        let mut block = vec![0; BLOCK];
        let mut taken = 0;
        loop {
            match reader.read(&mut block) {
                Ok(0) => return Ok(taken),
                Ok(n) => {
                    self.update(&block[..n]);
                    taken += n as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            on_bytes(taken);
            tokio::task::yield_now().await;
        }
    }
}

/// Reads exactly `2 * N` hexadecimal digits.
fn from_hex<const N: usize>(hex: &str) -> Option<[u8; N]> {
    if hex.len() != 2 * N || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&hex[at..at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ABC_SHA1: &str = "a9993e364706816aba3e25717850c26c9cd0d89d";
    const ABC_SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn both_kinds_give_the_published_digests_of_abc() {
        for expected in [Checksum::sha1(ABC_SHA1).unwrap(), Checksum::sha256(ABC_SHA256).unwrap()] {
            assert_eq!(expected.of(b"abc"), expected);
            assert_ne!(expected.of(b"abd"), expected);
        }
    }

    #[test]
    fn a_checksum_prints_as_it_is_written() {
        assert_eq!(Checksum::sha1(ABC_SHA1).unwrap().to_string(), format!("sha1 {ABC_SHA1}"));
    }

    #[test]
    fn what_is_not_the_right_number_of_hex_digits_is_no_checksum() {
        for wrong in ["", "a9", &ABC_SHA1[1..], &ABC_SHA1.replace('a', "g"), &"é".repeat(20)] {
            assert_eq!(Checksum::sha1(wrong), None, "{wrong}");
        }
    }

    proptest! {
        /// Fails if a piece were lost, doubled or taken out of order.
        #[test]
        fn pieces_hash_like_the_whole(bytes: Vec<u8>, cut in 0usize..1000) {
            let kind = Checksum::sha256(ABC_SHA256).unwrap();
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            let mut hasher = kind.hasher();
            hasher.update(head);
            hasher.update(tail);
            prop_assert_eq!(hasher.finish(), kind.of(&bytes));
        }
    }
}
