//! TLS on the server's own socket: certificates, and the handshake that turns a connection into a stream.
//!
//! Certificates are read once: who renews one starts the server anew.

use sha2::{Digest, Sha256};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{Error as RustlsError, ServerConfig};
use tokio_rustls::server::TlsStream;

/// How long a client may take for the handshake.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);

/// The first byte of a handshake.
const HANDSHAKE_RECORD: u8 = 0x16;

/// What a client gets that speaks HTTP without TLS.
const PLAIN_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain\r\n\
content-length: 46\r\n\r\nThis server speaks TLS: use https:// or wss://";

/// Where the certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsSettings {
    /// From two PEM files.
    Files {
        /// The certificate, and those between it and its root.
        cert: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
    /// One of our own, for this machine's names and the address that is bound.
    SelfSigned,
}

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub struct Pem {
    /// What clients may know.
    pub cert: String,
    /// What they must not.
    pub key: String,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// There is no certificate, or none that can be used.
    #[error("{what} has no usable {expected}: {reason}")]
    Unusable {
        /// The file, or what else it was.
        what: String,
        /// A certificate or a private key.
        expected: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Key and certificate are not a pair, or are of a kind that nobody can use.
    #[error("certificate and private key cannot be used together: {0}")]
    Mismatch(RustlsError),
    /// A certificate of our own cannot be made.
    #[error("cannot make a self-signed certificate: {0}")]
    SelfSigned(rcgen::Error),
}

impl TlsError {
    /// The stable name of this error, for logs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "tls_unreadable",
            Self::Unusable { .. } => "tls_unusable",
            Self::Mismatch(_) => "tls_mismatch",
            Self::SelfSigned(_) => "tls_self_signed",
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "check the path and who may read the file, or use --tls-self-signed",
            Self::Unusable { .. } => {
                "both files are PEM: --tls-cert holds -----BEGIN CERTIFICATE-----, --tls-key a private key without a password"
            }
            Self::Mismatch(_) => "give the key that the certificate was issued for",
            Self::SelfSigned(_) => "give a certificate with --tls-cert and --tls-key",
        }
    }
}

/// What the server proves its name with.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    fingerprint: String,
}

impl Tls {
    /// From PEM files.
    ///
    /// # Errors
    ///
    /// [`TlsError`], with the file that is meant.
    pub fn read(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let text = |path: &Path| {
            std::fs::read(path).map_err(|reason| TlsError::Unreadable { path: path.to_owned(), reason })
        };
        Self::new(&text(cert)?, &cert.display().to_string(), &text(key)?, &key.display().to_string())
    }

    /// From PEM in memory.
    ///
    /// # Errors
    ///
    /// [`TlsError`] when they are unusable, or no pair.
    pub fn of(pem: &Pem) -> Result<Self, TlsError> {
        Self::new(pem.cert.as_bytes(), "the certificate", pem.key.as_bytes(), "the key")
    }

    fn new(cert: &[u8], cert_name: &str, key: &[u8], key_name: &str) -> Result<Self, TlsError> {
        let unusable = |what: &str, expected, error: PemError| TlsError::Unusable {
            what: what.to_owned(),
            expected,
            reason: error.to_string(),
        };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(cert)
            .collect::<Result<_, _>>()
            .map_err(|error| unusable(cert_name, "certificate", error))?;
        let first =
            chain.first().ok_or_else(|| unusable(cert_name, "certificate", PemError::NoItemsFound))?;
        let fingerprint = fingerprint(first);
        let key =
            PrivateKeyDer::from_pem_slice(key).map_err(|error| unusable(key_name, "private key", error))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Mismatch)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(TlsError::Mismatch)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), fingerprint })
    }

    /// SHA-256 of the certificate, as in `AB:CD:…`.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Shakes hands, within [`HANDSHAKE`]. A client that speaks without TLS is told so.
    ///
    /// # Errors
    ///
    /// What went wrong; the connection is closed.
    ///
    /// # Cancel safety
    ///
    /// Dropping this future closes the connection.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let greeting = async {
            let mut first = [0];
            if stream.peek(&mut first).await? == 1 && first[0] != HANDSHAKE_RECORD {
                return refuse(stream).await;
            }
            self.acceptor.accept(stream).await
        };
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("no handshake within {HANDSHAKE:?}"));
        timeout(HANDSHAKE, greeting).await.map_err(late)?
    }
}

/// Answers in the clear, and takes what was sent, so that the answer is not overtaken by a reset.
async fn refuse(mut stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    stream.write_all(PLAIN_ANSWER).await?;
    stream.shutdown().await?;
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
    Err(io::Error::new(io::ErrorKind::InvalidData, "the client does not speak TLS"))
}

fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let bytes: Vec<String> = Sha256::digest(certificate).iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(":")
}

/// Makes a certificate for `localhost`, the loopback addresses and `bound`.
///
/// # Errors
///
/// [`TlsError::SelfSigned`], for want of random numbers.
pub fn self_signed(bound: IpAddr) -> Result<Pem, TlsError> {
    let mut names =
        vec!["localhost".to_owned(), Ipv4Addr::LOCALHOST.to_string(), Ipv6Addr::LOCALHOST.to_string()];
    if !bound.is_unspecified() && !names.contains(&bound.to_string()) {
        names.push(bound.to_string());
    }
    let made = rcgen::generate_simple_self_signed(names).map_err(TlsError::SelfSigned)?;
    Ok(Pem { cert: made.cert.pem(), key: made.signing_key.serialize_pem() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem() -> Pem {
        self_signed("10.1.2.3".parse().unwrap()).unwrap()
    }

    #[test]
    fn a_certificate_of_our_own_can_be_used_and_has_a_fingerprint() {
        let tls = Tls::of(&pem()).unwrap();
        assert_eq!(tls.fingerprint().len(), 32 * 3 - 1, "{}", tls.fingerprint());
        assert_ne!(tls.fingerprint(), Tls::of(&pem()).unwrap().fingerprint());
    }

    #[test]
    fn files_that_cannot_be_used_are_named_with_what_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let (one, two) = (pem(), pem());
        let (cert, key) = (write("cert", &one.cert), write("key", &one.key));
        let (other, junk, gone) = (write("other", &two.key), write("junk", "hello"), dir.path().join("gone"));
        assert!(Tls::read(&cert, &key).is_ok());
        let code = |cert: &Path, key: &Path| {
            let error = Tls::read(cert, key).err().expect("it is wrong");
            (error.code(), error.to_string())
        };
        assert_eq!(code(&gone, &key).0, "tls_unreadable");
        assert!(code(&gone, &key).1.contains("gone"));
        assert_eq!(code(&junk, &key).0, "tls_unusable");
        assert!(code(&junk, &key).1.contains("junk has no usable certificate"));
        assert!(code(&cert, &cert).1.contains("cert has no usable private key"));
        assert_eq!(code(&cert, &other).0, "tls_mismatch");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_says_nothing_is_given_up() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let error = Tls::of(&pem()).unwrap().accept(stream).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn the_answer_in_the_clear_is_as_long_as_it_says() {
        let text = std::str::from_utf8(PLAIN_ANSWER).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{text}");
    }
}
