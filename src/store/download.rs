//! Fetches a file over HTTP: resumes, retries, checks, and only then gives it its name.
//!
//! Nothing here writes to a terminal: whoever calls is told each [`Step`].

use super::part::Part;
use super::patience::Patience;
use super::{ModelEntry, StoreError};
use reqwest::header::{
    CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, IF_RANGE, LAST_MODIFIED, RANGE, RETRY_AFTER,
};
use reqwest::{Client, Response, StatusCode, Url};
use std::error::Error;
use std::path::Path;
use std::time::Duration;

/// How patient a download is.
#[derive(Debug, Clone)]
pub struct DownloadSettings {
    /// How long a server may take to accept a connection.
    pub connect: Duration,
    /// How long a connection may bring nothing before it counts as broken.
    pub stall: Duration,
    /// Failures in a row, without a new byte in between, before it gives up.
    pub attempts: u32,
    /// The pause after the first failure; it doubles with each one that follows.
    pub backoff: Duration,
    /// Whether to use the system's proxies.
    pub proxies: bool,
}

impl Default for DownloadSettings {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            attempts: 5,
            backoff: Duration::from_millis(500),
            proxies: true,
        }
    }
}

/// How a download goes.
#[derive(Debug, Clone, Copy)]
pub enum Step<'a> {
    /// The bytes of an earlier run are being hashed: so many so far.
    Rehashing(u64),
    /// The server sends, from byte `from` on, up to `total` if it says so.
    Receiving {
        /// More than 0 when it goes on where an earlier connection stopped.
        from: u64,
        /// The whole file in bytes.
        total: Option<u64>,
    },
    /// So many bytes of the file are here.
    Arrived(u64),
    /// The connection broke; after `wait` it is tried again.
    Retrying {
        /// Why it broke.
        cause: &'a StoreError,
        /// The pause.
        wait: Duration,
    },
}

/// Hears every step; called between two reads from the network, so it should be quick.
type OnStep<'a> = &'a mut (dyn FnMut(Step<'_>) + Send);

/// An HTTP client for models.
#[derive(Debug, Clone)]
pub struct Downloader {
    client: Client,
    settings: DownloadSettings,
}

impl Downloader {
    /// Prepares TLS (with ring) and the client.
    ///
    /// # Errors
    ///
    /// [`StoreError::Client`] when the system's certificates or proxy settings are unusable.
    pub fn new(settings: DownloadSettings) -> Result<Self, StoreError> {
        // An error means that a provider is already installed, and any will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .user_agent(concat!("stenopool/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(settings.connect)
            .read_timeout(settings.stall);
        if !settings.proxies {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| StoreError::Client(root_cause(&error)))?;
        Ok(Self { client, settings })
    }

    /// Fetches `entry` from its own address, or from `mirror`, to `target`, replacing what is there.
    ///
    /// # Errors
    ///
    /// [`StoreError::Offline`] when no server answers, [`StoreError::Refused`] and [`StoreError::Interrupted`] when
    /// retries did not help, [`StoreError::WrongChecksum`] and [`StoreError::WrongSize`] for the wrong file (which is
    /// removed), [`StoreError::Busy`] when another process fetches it, or what the file system says.
    ///
    /// # Cancel safety
    ///
    /// Dropping this future (or killing the process) leaves a part that the next call goes on with.
    pub async fn download(
        &self,
        entry: &ModelEntry,
        mirror: Option<&str>,
        target: &Path,
        on_step: OnStep<'_>,
    ) -> Result<(), StoreError> {
        let url = parse(&entry.source(mirror)?)?;
        let mut part = Part::open(entry, target)?;
        part.catch_up(&mut |bytes| on_step(Step::Rehashing(bytes))).await?;
        if part.len() == 0 || entry.bytes != Some(part.len()) {
            self.receive_all(&url, entry, &mut part, on_step).await?;
        }
        part.finish(entry)
    }

    /// Asks again until the file is whole or there is no more hope.
    async fn receive_all(
        &self,
        url: &Url,
        entry: &ModelEntry,
        part: &mut Part,
        on_step: OnStep<'_>,
    ) -> Result<(), StoreError> {
        let mut patience = Patience::new(&self.settings, part.len());
        while let Err(cause) = self.receive(url, entry, part, on_step).await {
            let Some(wait) = patience.after(&cause, part.len()) else { return Err(cause) };
            on_step(Step::Retrying { cause: &cause, wait });
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    /// One request, and its body to the end.
    async fn receive(
        &self,
        url: &Url,
        entry: &ModelEntry,
        part: &mut Part,
        on_step: OnStep<'_>,
    ) -> Result<(), StoreError> {
        let response = self.ask(url, entry, part).await?;
        let total = match response.status() {
            StatusCode::OK => number(response.headers(), CONTENT_LENGTH),
            StatusCode::PARTIAL_CONTENT => match continuation(response.headers(), part) {
                Some(total) => total,
                None => return start_over(entry, part),
            },
            StatusCode::RANGE_NOT_SATISFIABLE if total_of_range(response.headers()) == Some(part.len()) => {
                return Ok(());
            }
            StatusCode::RANGE_NOT_SATISFIABLE => return start_over(entry, part),
            status => return Err(refused(url, status, response.headers())),
        };
        expect_total(entry, total)?;
        if response.status() == StatusCode::OK {
            part.restart(validator(response.headers()))?;
        }
        on_step(Step::Receiving { from: part.len(), total });
        pour(response, entry, part, total, on_step).await
    }

    async fn ask(&self, url: &Url, entry: &ModelEntry, part: &Part) -> Result<Response, StoreError> {
        let mut request = self.client.get(url.clone());
        if part.len() > 0 {
            request = request.header(RANGE, format!("bytes={}-", part.len()));
            if let Some(validator) = part.validator() {
                request = request.header(IF_RANGE, validator);
            }
        }
        request.send().await.map_err(|error| no_answer(&error, url, entry, part))
    }
}

/// Writes the body to the part.
async fn pour(
    mut response: Response,
    entry: &ModelEntry,
    part: &mut Part,
    total: Option<u64>,
    on_step: OnStep<'_>,
) -> Result<(), StoreError> {
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                part.append(&chunk)?;
                on_step(Step::Arrived(part.len()));
            }
            Ok(None) if total.is_some_and(|total| part.len() < total) => {
                return Err(interrupted(entry, part, "the server closed the connection"));
            }
            Ok(None) => return Ok(()),
            Err(error) => return Err(interrupted(entry, part, &root_cause(&error))),
        }
    }
}

/// The server's version is not the one we have the beginning of.
fn start_over(entry: &ModelEntry, part: &mut Part) -> Result<(), StoreError> {
    part.restart(None)?;
    Err(interrupted(entry, part, "the file on the server has changed"))
}

/// Whether a 206 really goes on where the part ends, in the same version; if so, the total it names.
#[allow(clippy::option_option)] // A continuation of unknown total is something else than no continuation.
fn continuation(headers: &HeaderMap, part: &Part) -> Option<Option<u64>> {
    let range = text(headers, CONTENT_RANGE)?.strip_prefix("bytes ")?;
    let from: u64 = range.split('-').next()?.parse().ok()?;
    let same = match (part.validator(), validator(headers)) {
        (Some(ours), Some(theirs)) => ours == theirs,
        _ => true,
    };
    (same && from == part.len()).then(|| total_of_range(headers))
}

/// The number behind the slash of `Content-Range`.
fn total_of_range(headers: &HeaderMap) -> Option<u64> {
    text(headers, CONTENT_RANGE)?.rsplit('/').next()?.parse().ok()
}

/// What tells one version of a file from another and may stand in `If-Range`: a strong `ETag`, or else the date.
fn validator(headers: &HeaderMap) -> Option<String> {
    let strong = text(headers, ETAG).filter(|tag| !tag.starts_with("W/"));
    strong.or_else(|| text(headers, LAST_MODIFIED)).map(str::to_owned)
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn number(headers: &HeaderMap, name: HeaderName) -> Option<u64> {
    text(headers, name)?.trim().parse().ok()
}

/// Notices another file (or a portal's log-in page) by its size before it is fetched.
fn expect_total(entry: &ModelEntry, total: Option<u64>) -> Result<(), StoreError> {
    match (entry.bytes, total) {
        (Some(expected), Some(got)) if expected != got => {
            Err(StoreError::WrongSize { file: entry.file.clone(), expected, got })
        }
        _ => Ok(()),
    }
}

fn parse(url: &str) -> Result<Url, StoreError> {
    let bad = |reason: String| StoreError::BadAddress { url: url.to_owned(), reason };
    let parsed = Url::parse(url).map_err(|error| bad(error.to_string()))?;
    match parsed.scheme() {
        "http" | "https" => Ok(parsed),
        other => Err(bad(format!("the scheme {other} is neither http nor https"))),
    }
}

fn refused(url: &Url, status: StatusCode, headers: &HeaderMap) -> StoreError {
    let retry_after = number(headers, RETRY_AFTER).map(Duration::from_secs);
    StoreError::Refused { url: url.to_string(), status: status.as_u16(), retry_after }
}

fn interrupted(entry: &ModelEntry, part: &Part, reason: &str) -> StoreError {
    StoreError::Interrupted { file: entry.file.clone(), received: part.len(), reason: reason.to_owned() }
}

/// A request without a response: nobody there, or gone before a word.
fn no_answer(error: &reqwest::Error, url: &Url, entry: &ModelEntry, part: &Part) -> StoreError {
    let reason = root_cause(error);
    if error.is_connect() || error.is_redirect() {
        let host = error.url().unwrap_or(url).host_str().unwrap_or("the server").to_owned();
        return StoreError::Offline { host, reason, file: entry.file.clone() };
    }
    interrupted(entry, part, &reason)
}

/// The innermost cause: what the system said, without the layers above it.
fn root_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weak_etag_is_no_validator() {
        let headers = |pairs: &[(HeaderName, &str)]| -> HeaderMap {
            pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
        };
        assert_eq!(validator(&headers(&[(ETAG, "\"a\""), (LAST_MODIFIED, "then")])).unwrap(), "\"a\"");
        assert_eq!(validator(&headers(&[(ETAG, "W/\"a\""), (LAST_MODIFIED, "then")])).unwrap(), "then");
        assert_eq!(validator(&headers(&[(ETAG, "W/\"a\"")])), None);
    }
}
