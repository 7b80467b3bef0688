//! Whether a server is well, by its own word.

use super::http;
use super::protocol::ConnectError;

/// Asks the server at `url` for `page`, as in `/healthz`, and returns what it says.
///
/// Certificates are taken as they are: nothing is sent that anybody could use, and a certificate is for the name that
/// clients know, while health checks ask at `127.0.0.1`.
///
/// # Errors
///
/// [`ConnectError::BadAddress`]; [`ConnectError::Unreachable`] also when the answer is no success, or takes more than
/// 5 s.
///
/// # Cancel safety
///
/// Dropping the future drops the connection.
pub async fn health(url: &str, page: &str) -> Result<String, ConnectError> {
    let Some(server) = http::http_url(url) else {
        let reason = "expected one as in http://127.0.0.1:8080".into();
        return Err(ConnectError::BadAddress { url: url.into(), reason });
    };
    let unreachable = |reason| ConnectError::Unreachable { url: url.into(), reason };
    let client = http::client_that_trusts_anybody().map_err(|error| unreachable(http::root_cause(&error)))?;
    http::get(&client, http::page(&server, page), None).await.map_err(unreachable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// What a server that answers everything with `answer` is said to be.
    async fn of(answer: &'static str) -> Result<String, ConnectError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).await.unwrap();
            assert!(request[..read].starts_with(b"GET /healthz HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).await.unwrap();
            drop(stream);
        };
        tokio::join!(health(&url, "/healthz"), server).0
    }

    #[tokio::test]
    async fn a_server_is_well_when_it_says_so() {
        let said = of("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n").await;
        assert_eq!(said.unwrap(), "ok\n");
    }

    #[tokio::test]
    async fn a_server_that_says_otherwise_or_hangs_up_is_not() {
        let error = of("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n").await.unwrap_err();
        assert!(error.to_string().contains("it answers 503 Service Unavailable to /healthz"), "{error}");
        assert!(matches!(of("").await, Err(ConnectError::Unreachable { .. })));
    }

    #[tokio::test]
    async fn what_is_no_address_is_not_asked() {
        assert!(matches!(health("ftp://x", "/healthz").await, Err(ConnectError::BadAddress { .. })));
    }
}
