//! What a running server has measured.

use super::{Known, PlanError};
use crate::load::http;

/// Asks a server for its `/pool`. Its address is given as to a load test: `http`, `https`, `ws` or `wss`, also with a path,
/// or without a scheme. `key` is for one that knows its callers.
///
/// # Errors
///
/// [`PlanError::Unreadable`] for what is no address, when nobody answers, and when the answer is a refusal; otherwise as
/// [`Known::read`].
///
/// # Cancel safety
///
/// Dropping the future drops the connection.
pub async fn read_pool(address: &str, key: Option<&str>) -> Result<Known, PlanError> {
    let text = ask(address, key).await;
    let text = text.map_err(|reason| PlanError::Unreadable { name: address.into(), reason })?;
    Known::read(address, &text)
}

async fn ask(address: &str, key: Option<&str>) -> Result<String, String> {
    let server = http::http_url(address).ok_or("it is not the address of a server")?;
    let client = http::client().map_err(|error| http::root_cause(&error))?;
    http::get(&client, http::page(&server, "/pool"), key).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    const POOL: &str = r#"{"model": "demo", "device": {"kind": "cpu", "name": "Card", "memory": {"total_bytes": 100,
        "free_bytes": 30}}, "sizing": {"fits": 9, "knee": null, "max_slots": 16, "binding": "fits", "weights_bytes": 16,
        "slot_bytes": 4}, "slots": {"total": 2, "idle": 2, "leased": 0}, "queue": {"depth": 0},
        "service": {"decode_p50_ms": null, "decode_p95_ms": null}, "sessions": {"connected": 0}}"#;

    /// The host and port of a server that gives one answer to one request, which has to be for this path.
    async fn answering(path: &'static str, answer: String) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = [0; 4_096];
            let length = socket.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let found = request.starts_with(&format!("GET {path} HTTP/1.1\r\n"));
            let answer = if found { answer } else { "HTTP/1.1 404 Not Found\r\n\r\n".into() };
            socket.write_all(answer.as_bytes()).await.unwrap();
        });
        place
    }

    #[tokio::test]
    async fn a_server_tells_its_pool_whichever_of_its_addresses_is_given() {
        let cases = [
            ("http://", "", "/pool"),
            ("http://", "/", "/pool"),
            ("ws://", "/v1/realtime?model=demo", "/pool"),
            ("", "", "/pool"),
            ("http://", "/speech/v1", "/speech/pool"),
        ];
        for (scheme, path, asked) in cases {
            let answer = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{POOL}");
            let address = format!("{scheme}{}{path}", answering(asked, answer).await);
            let known = read_pool(&address, None).await.unwrap();
            assert_eq!((known.slots, known.slot_bytes), (Some(2), Some(4)), "{address}");
        }
    }

    #[tokio::test]
    async fn a_server_that_tells_no_pool_says_why() {
        let refused =
            answering("/pool", "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n".into()).await;
        let error = read_pool(&refused, Some("wrong")).await.unwrap_err();
        assert!(error.to_string().contains("401 Unauthorized"), "{error}");
        let page = answering("/pool", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi".into()).await;
        for address in [page.as_str(), "ftp://127.0.0.1", "http://127.0.0.1:1"] {
            let error = read_pool(address, None).await.unwrap_err();
            assert!(matches!(error, PlanError::Unreadable { .. }), "{address}: {error}");
        }
    }
}
