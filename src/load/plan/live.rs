//! What a running server has measured.

use super::{Known, PlanError};
use std::time::Duration;

/// A server that does not answer within this time is not there.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks a server, given as in `http://host:port`, for its `/pool`. `key` is for one that knows its callers.
///
/// # Errors
///
/// [`PlanError::Unreadable`] when nobody answers or the answer is a refusal; otherwise as [`Known::read`].
///
/// # Cancel safety
///
/// Dropping the future drops the connection.
pub async fn read_pool(url: &str, key: Option<&str>) -> Result<Known, PlanError> {
    let text = get(url, key).await;
    let text = text.map_err(|reason| PlanError::Unreadable { name: url.into(), reason })?;
    Known::read(url, &text)
}

async fn get(url: &str, key: Option<&str>) -> Result<String, String> {
    // An error means that a provider is already installed, and any will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().map_err(cause)?;
    let request = client.get(format!("{}/pool", url.trim_end_matches('/')));
    let request = match key {
        Some(key) => request.bearer_auth(key),
        None => request,
    };
    let answer = request.send().await.map_err(cause)?;
    if !answer.status().is_success() {
        return Err(format!("it answers {} to /pool", answer.status()));
    }
    answer.text().await.map_err(cause)
}

/// The innermost cause: what is around it repeats the address.
#[expect(clippy::needless_pass_by_value, reason = "as `map_err` hands it over")]
fn cause(error: reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = &error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// A server that gives one answer to one request.
    async fn answering(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = [0; 4_096];
            let length = socket.read(&mut request).await.unwrap();
            assert!(request[..length].starts_with(b"GET /pool HTTP/1.1\r\n"));
            socket.write_all(answer.as_bytes()).await.unwrap();
        });
        url
    }

    #[tokio::test]
    async fn a_server_tells_its_pool_or_why_not() {
        let url = answering(
            "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"sizing\": {\"weights_bytes\": 16, \"slot_bytes\": 4}, \
             \"slots\": {\"total\": 2}, \"service\": {\"decode_p50_ms\": null, \"decode_p95_ms\": null}}",
        );
        assert_eq!(read_pool(&url.await, None).await.unwrap().slots, Some(2));
        let refused = answering("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n").await;
        let error = read_pool(&refused, Some("wrong")).await.unwrap_err();
        assert!(error.to_string().contains("401 Unauthorized"), "{error}");
        let page = answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
        assert!(matches!(read_pool(&page, None).await, Err(PlanError::Unreadable { .. })));
    }
}
