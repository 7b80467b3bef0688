//! How this module speaks HTTP: directly, and with TLS where the address asks for it.

use reqwest::{Client, Url};
use std::time::Duration;

/// How long a server may take to answer a question about itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// Chooses who does the cryptography of TLS (ring), for the whole process.
pub(super) fn prepare_tls() {
    // An error means that a provider is already installed, and any will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A client that asks servers about themselves. It keeps no connection open: one that is kept would stand among those
/// that are counted.
///
/// # Errors
///
/// The system's certificates are unusable.
pub(super) fn client() -> reqwest::Result<Client> {
    prepare_tls();
    Client::builder().no_proxy().pool_max_idle_per_host(0).timeout(PATIENCE).build()
}

/// The address of a server for HTTP, also if it is given for WebSockets or without a scheme; `None` for what is no such
/// address.
pub(super) fn http_url(url: &str) -> Option<Url> {
    let for_http = match url.split_once("://") {
        Some(("ws", rest)) => format!("http://{rest}"),
        Some(("wss", rest)) => format!("https://{rest}"),
        Some(_) => url.to_owned(),
        None => format!("http://{url}"),
    };
    Url::parse(&for_http).ok().filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_for_websockets_is_one_for_http_too() {
        let cases = [
            ("ws://localhost:8080/v1/realtime", Some("http://localhost:8080/v1/realtime")),
            ("wss://speech.example", Some("https://speech.example/")),
            ("http://127.0.0.1:9", Some("http://127.0.0.1:9/")),
            ("ftp://127.0.0.1:9", None),
            ("127.0.0.1:9", Some("http://127.0.0.1:9/")),
            ("", None),
        ];
        for (url, expected) in cases {
            assert_eq!(http_url(url).as_ref().map(Url::as_str), expected, "{url}");
        }
    }
}
