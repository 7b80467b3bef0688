//! A client that writes HTTP by hand, so that it can also break off, stall, and lie about lengths.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Answer {
    /// Status, and code of the error in the body.
    pub(crate) fn refusal(&self) -> (u16, String) {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{self:?}"));
        let error = &body["error"];
        assert!(error["message"].is_string() && error["type"].is_string(), "{body}");
        (self.status, error["code"].as_str().expect("a code").to_owned())
    }

    /// The data of each server-sent event.
    pub(crate) fn events(&self) -> Vec<serde_json::Value> {
        let data = self.body.lines().filter_map(|line| line.strip_prefix("data: "));
        data.map(|data| serde_json::from_str(data).expect("events are JSON")).collect()
    }
}

/// A request with a body and more headers (each ending in CRLF).
pub(crate) fn request(method: &str, path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

/// Headers of a form, to go with [`form`].
pub(crate) const FORM: &str = "Content-Type: multipart/form-data; boundary=XX\r\n";

/// A form with these fields and, unless it is `None`, this file.
pub(crate) fn form(fields: &[(&str, &str)], file: Option<&[u8]>) -> Vec<u8> {
    let mut body = Vec::new();
    let mut part = |disposition: String, content: &[u8]| {
        let head = format!("--XX\r\nContent-Disposition: form-data; {disposition}\r\n\r\n");
        body.extend_from_slice(&[head.as_bytes(), content, b"\r\n"].concat());
    };
    if let Some(file) = file {
        part("name=\"file\"; filename=\"a.wav\"".into(), file);
    }
    for (name, value) in fields {
        part(format!("name=\"{name}\""), value.as_bytes());
    }
    body.extend_from_slice(b"--XX--\r\n");
    body
}

/// A `POST` of a form to the transcriptions.
pub(crate) fn transcription(fields: &[(&str, &str)], file: &[u8]) -> Vec<u8> {
    request("POST", "/v1/audio/transcriptions", FORM, &form(fields, Some(file)))
}

/// Sends a request on a connection of its own and reads the answer.
pub(crate) async fn exchange(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = send(address, request).await;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.expect("the answer can be read to its end");
    parse(&bytes)
}

/// Sends bytes and leaves the connection open.
pub(crate) async fn send(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("the server listens");
    stream.write_all(bytes).await.expect("the server takes the request");
    stream
}

fn parse(bytes: &[u8]) -> Answer {
    let text = String::from_utf8(bytes.to_vec()).expect("answers are UTF-8");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status line");
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers: BTreeMap<_, _> = headers.map(|(name, value)| (name.to_lowercase(), value.into())).collect();
    let chunked = headers.contains_key("transfer-encoding");
    let body = if chunked { joined_chunks(body) } else { body.to_owned() };
    Answer { status: status.parse().expect("a status"), headers, body }
}

fn joined_chunks(mut body: &str) -> String {
    let mut joined = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a chunk size");
        joined.push_str(&rest[..size]);
        body = &rest[size + 2..];
    }
    joined
}
