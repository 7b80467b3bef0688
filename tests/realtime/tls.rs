//! The server's own TLS: certificates of both kinds, and clients that do not shake hands as they should.

use super::client::{silence, types};
use super::server::{PATIENCE, Served, heard, serve_tls};
use super::{append, manual};
use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use std::net::Ipv4Addr;
use std::sync::Arc;
use stenopool::server::{Pem, Tls, self_signed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{Connector, connect_async_tls_with_config};

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

fn pem() -> Pem {
    self_signed(Ipv4Addr::LOCALHOST.into()).expect("there are random numbers")
}

/// A client that trusts this certificate and no other.
fn trusting(pem: &Pem) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(pem.cert.as_bytes()).expect("it is PEM"))
        .expect("it is a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring knows them");
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

async fn connect(
    served: &Served,
    config: &Arc<ClientConfig>,
    name: &'static str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(served.address).await?;
    TlsConnector::from(Arc::clone(config))
        .connect(ServerName::try_from(name).expect("it is a name"), stream)
        .await
}

/// Asks whether the server lives.
async fn health(served: &Served, config: &Arc<ClientConfig>, name: &'static str) -> String {
    let mut stream = connect(served, config, name).await.expect("it is trusted");
    stream.write_all(HEALTH).await.expect("it listens");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    answer
}

/// All that comes until the server closes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .expect("it is closed")
        .expect("and not by a reset");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_certificate_of_our_own_is_good_for_all_names_of_this_machine() {
    let pem = pem();
    let served = serve_tls(heard, Tls::of(&pem).unwrap()).await;
    for name in ["localhost", "127.0.0.1", "::1"] {
        assert!(health(&served, &trusting(&pem), name).await.starts_with("HTTP/1.1 200"), "{name}");
    }
    assert!(connect(&served, &trusting(&pem), "example.com").await.is_err(), "it is nobody else's");
    let stranger = self_signed("127.0.0.1".parse().unwrap()).unwrap();
    assert!(connect(&served, &trusting(&stranger), "localhost").await.is_err(), "there is one of it");
}

#[tokio::test]
async fn a_session_over_wss_is_as_one_without_tls() {
    let pem = pem();
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert, &pem.cert).unwrap();
    std::fs::write(&key, &pem.key).unwrap();
    let served = serve_tls(heard, Tls::read(&cert, &key).unwrap()).await;
    let url = format!("wss://localhost:{}/v1/realtime?intent=transcription", served.address.port());
    let connector = Connector::Rustls(trusting(&pem));
    let (mut socket, _) = connect_async_tls_with_config(url, None, true, Some(connector)).await.unwrap();
    for event in [manual(), append(&silence(100))] {
        socket.send(Message::text(event.to_string())).await.unwrap();
    }
    let mut events: Vec<Value> = Vec::new();
    while !types(&events).contains(&"session.updated") {
        let message = timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();
        events.extend(message.to_text().ok().and_then(|text| serde_json::from_str(text).ok()));
    }
    assert_eq!(events[0]["type"], "session.created");
    served.stop();
    while let Some(Ok(_)) = timeout(PATIENCE, socket.next()).await.expect("it is closed") {}
    served.stopped().await;
}

#[tokio::test]
async fn a_client_without_tls_is_told_so_and_closed() {
    let pem = pem();
    let served = serve_tls(heard, Tls::of(&pem).unwrap()).await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(HEALTH).await.unwrap();
    let mut answer = vec![0; 500];
    let n = timeout(PATIENCE, stream.read(&mut answer)).await.unwrap().unwrap();
    let answer = String::from_utf8_lossy(&answer[..n]);
    assert!(answer.starts_with("HTTP/1.1 400") && answer.ends_with("use https:// or wss://"), "{answer}");
    assert_eq!(rest(&mut stream).await, "");
}

#[tokio::test]
async fn neither_garbage_nor_silence_keeps_others_from_coming_in() {
    let pem = pem();
    let served = serve_tls(heard, Tls::of(&pem).unwrap()).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(served.address).await.unwrap());
    }
    let mut garbage = TcpStream::connect(served.address).await.unwrap();
    garbage.write_all(&[0x16; 1000]).await.unwrap();
    rest(&mut garbage).await;
    let mut half = TcpStream::connect(served.address).await.unwrap();
    half.write_all(&[0x16, 3, 1, 2, 0]).await.unwrap();
    assert!(health(&served, &trusting(&pem), "localhost").await.starts_with("HTTP/1.1 200"));
    // Who has not shaken hands does not keep the server from stopping.
    served.stop();
    served.stopped().await;
    assert_eq!(rest(&mut half).await, "");
    drop(silent);
}
