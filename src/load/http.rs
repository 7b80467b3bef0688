//! How this module speaks HTTP: directly, and with TLS where the address asks for it.

pub(super) use super::protocol::root_cause;
use reqwest::{Client, ClientBuilder, Url};
use std::time::Duration;

/// How long a server may take to answer a question about itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// Under this path a server has what its clients speak with.
const API: &str = "/v1";

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
    builder().build()
}

/// The same, for questions to which an answer from anybody does no harm.
///
/// # Errors
///
/// As [`client`].
pub(super) fn client_that_trusts_anybody() -> reqwest::Result<Client> {
    builder().tls_danger_accept_invalid_certs(true).build()
}

fn builder() -> ClientBuilder {
    prepare_tls();
    Client::builder().no_proxy().pool_max_idle_per_host(0).timeout(PATIENCE)
}

/// Asks for a page.
///
/// # Errors
///
/// Why there is none, in words: nobody answers, or with a status that is not one of success.
///
/// # Cancel safety
///
/// Dropping the future drops the connection.
pub(super) async fn get(client: &Client, page: Url, key: Option<&str>) -> Result<String, String> {
    let path = page.path().to_owned();
    let request = client.get(page);
    let request = match key {
        Some(key) => request.bearer_auth(key),
        None => request,
    };
    let answer = request.send().await.map_err(|error| root_cause(&error))?;
    if !answer.status().is_success() {
        return Err(format!("it answers {} to {path}", answer.status()));
    }
    answer.text().await.map_err(|error| root_cause(&error))
}

/// Where a server has a page such as `/pool`: beside its `/v1`, also where all of it lives under a prefix.
pub(super) fn page(server: &Url, path: &str) -> Url {
    let typed = server.path().trim_end_matches('/');
    let typed = typed.strip_suffix(path).unwrap_or(typed);
    let api = typed.match_indices(API).map(|(at, _)| at).find(|at| {
        let rest = &typed[at + API.len()..];
        rest.is_empty() || rest.starts_with('/')
    });
    let prefix = &typed[..api.unwrap_or(typed.len())];
    let mut page = server.clone();
    page.set_path(&format!("{prefix}{path}"));
    page.set_query(None);
    page.set_fragment(None);
    page
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

    #[test]
    fn a_page_of_the_server_stands_beside_its_api() {
        let cases = [
            ("http://host:8080", "http://host:8080/pool"),
            ("http://host/v1/realtime?model=mine#x", "http://host/pool"),
            ("http://host/v1/", "http://host/pool"),
            ("http://host/speech/", "http://host/speech/pool"),
            ("http://host/speech/v1/audio/transcriptions", "http://host/speech/pool"),
            ("http://host/v10", "http://host/v10/pool"),
            ("http://host/pool", "http://host/pool"),
        ];
        for (server, expected) in cases {
            assert_eq!(page(&Url::parse(server).unwrap(), "/pool").as_str(), expected, "{server}");
        }
    }
}
