//! The server's certificate: the user's files, or one of our own that is kept, so that clients may learn to trust it.

use super::failure::Failure;
use crate::server::{Pem, Tls, TlsSettings, self_signed};
use crate::store::user_cache;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;
use tracing::{info, warn};

/// What the server proves its name with.
pub(super) struct Certificate {
    pub(super) tls: Tls,
    /// Where one of our own is kept, if it is.
    kept: Option<PathBuf>,
    own: bool,
}

impl Certificate {
    /// Opens what the settings ask for; `bound` is where the server listens.
    ///
    /// # Errors
    ///
    /// A [`Failure`] of the configuration, with a hint.
    pub(super) fn open(settings: Option<&TlsSettings>, bound: IpAddr) -> Result<Option<Self>, Failure> {
        let certificate = match settings {
            None => return Ok(None),
            Some(TlsSettings::Files { cert, key }) => {
                Self { tls: Tls::read(cert, key)?, kept: None, own: false }
            }
            Some(TlsSettings::SelfSigned) => {
                let cache = user_cache(std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME"));
                Self::own(cache.map(|cache| cache.join("stenopool")).as_deref(), bound)?
            }
        };
        let kept = certificate.kept.as_ref().map(|path| path.display().to_string());
        info!(sha256 = certificate.tls.fingerprint(), file = kept, "certificate");
        Ok(Some(certificate))
    }

    /// One of our own: that of an earlier start, or a new one.
    fn own(dir: Option<&Path>, bound: IpAddr) -> Result<Self, Failure> {
        let file = |ending: &str| dir.map(|dir| dir.join(format!("self-signed-{}.{ending}", name(bound))));
        let (cert, key) = (file("crt"), file("key"));
        if let (Some(cert), Some(key)) = (&cert, &key)
            && let Ok(tls) = Tls::read(cert, key)
        {
            return Ok(Self { tls, kept: Some(cert.clone()), own: true });
        }
        let pem = self_signed(bound)?;
        let tls = Tls::of(&pem)?;
        let kept = cert.zip(key).and_then(|(cert, key)| keep(&pem, cert, &key));
        Ok(Self { tls, kept, own: true })
    }

    /// What makes `curl` trust a certificate of our own, with a space behind it.
    pub(super) fn for_curl(&self) -> Option<String> {
        let trust = self
            .kept
            .as_ref()
            .map_or_else(|| "-k ".to_owned(), |path| format!("--cacert {} ", path.display()));
        self.own.then_some(trust)
    }
}

/// An address as a part of a file's name.
fn name(bound: IpAddr) -> String {
    bound.to_string().replace(':', "-")
}

/// Keeps a pair for the next start; returns where the certificate is. That it cannot be kept is no reason not to serve.
fn keep(pem: &Pem, cert: PathBuf, key: &Path) -> Option<PathBuf> {
    // The key first: a certificate without one is made anew.
    match write(key, &pem.key).and_then(|()| write(&cert, &pem.cert)) {
        Ok(()) => Some(cert),
        Err(error) => {
            warn!(%error, path = %cert.display(), "the certificate cannot be kept, the next start makes another one");
            None
        }
    }
}

/// Writes a file as a whole, which only its owner may read.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir)?;
    let mut file = NamedTempFile::new_in(dir)?;
    file.write_all(text.as_bytes())?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn a_certificate_of_our_own_is_the_same_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Certificate::own(Some(dir.path()), LOOPBACK).unwrap();
        let first = open();
        assert_eq!(first.tls.fingerprint(), open().tls.fingerprint());
        let path = dir.path().join("self-signed-127.0.0.1.crt");
        assert_eq!(first.for_curl(), Some(format!("--cacert {} ", path.display())));
        std::fs::write(path, "damaged").unwrap();
        assert_ne!(first.tls.fingerprint(), open().tls.fingerprint());
    }

    #[test]
    fn without_a_place_for_it_a_certificate_is_made_all_the_same() {
        let certificate = Certificate::own(None, LOOPBACK).unwrap();
        assert_eq!(certificate.for_curl().as_deref(), Some("-k "));
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_can_read_the_key() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        Certificate::own(Some(dir.path()), LOOPBACK).unwrap();
        let key = std::fs::metadata(dir.path().join("self-signed-127.0.0.1.key")).unwrap();
        assert_eq!(key.permissions().mode() & 0o077, 0);
    }
}
