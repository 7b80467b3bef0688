//! A form as it comes in: the file to disk, the fields to memory, both within limits.

use super::form::{FormError, FormEvent, FormParser};
use super::request::Fields;
use axum::body::{Body, BodyDataStream};
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use bytes::Bytes;
use futures_util::StreamExt;
use std::io;
use std::time::Duration;
use tokio::fs::File;
use tokio::io::{AsyncSeekExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

/// How much all text fields together, and all that is no content, may take.
const FIELDS_LIMIT: u64 = 1024 * 1024;

/// Bytes per second that an upload must bring on average, once it had its first grace: slower than any real line, so
/// that nobody holds a place by sending a byte now and then.
const SLOWEST: u64 = 1024;

/// Why an upload did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The form.
    #[error(transparent)]
    Form(#[from] FormError),
    /// More bytes than are taken.
    #[error("the upload is larger than the limit of {limit} bytes")]
    TooLarge {
        /// Largest file in bytes.
        limit: u64,
    },
    /// Text fields that would fill memory.
    #[error("the text fields of the form are larger than {FIELDS_LIMIT} bytes")]
    FieldsTooLarge,
    /// A text field that is no text.
    #[error("the field \"{0}\" is not UTF-8 text")]
    NotText(String),
    /// Nothing to transcribe.
    #[error("the form has no field \"file\"")]
    NoFile,
    /// More than one recording.
    #[error("the form has more than one field \"file\"; send one request for each")]
    SeveralFiles,
    /// The client sends nothing any more.
    #[error("no byte of the upload came for {0:?}")]
    Stalled(Duration),
    /// The client sends next to nothing.
    #[error("the upload comes at less than {SLOWEST} bytes per second")]
    TooSlow,
    /// The connection broke.
    #[error("the upload broke off: {0}")]
    BrokenOff(String),
    /// The disk.
    #[error("cannot keep the upload: {0}")]
    Storage(#[from] io::Error),
}

impl UploadError {
    /// The stable name of this error on the wire, in logs and in metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Form(error) => error.code(),
            Self::TooLarge { .. } => "upload_too_large",
            Self::FieldsTooLarge => "fields_too_large",
            Self::NotText(_) => "field_not_text",
            Self::NoFile => "file_missing",
            Self::SeveralFiles => "file_repeated",
            Self::Stalled(_) => "upload_stalled",
            Self::TooSlow => "upload_too_slow",
            Self::BrokenOff(_) => "upload_broken_off",
            Self::Storage(_) => "upload_storage_failed",
        }
    }
}

/// What an upload may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UploadLimits {
    /// Largest file in bytes.
    pub(crate) bytes: u64,
    /// Longest time without a byte.
    pub(crate) stall: Duration,
}

/// A form that arrived.
#[derive(Debug)]
pub(crate) struct Upload {
    /// The text fields.
    pub(crate) fields: Fields,
    /// The recording, at its beginning; without a name, so that it is gone when it is closed.
    pub(crate) file: std::fs::File,
    /// The ending of its name, as a hint.
    pub(crate) extension: Option<String>,
}

/// Receives the form of a request, whose body never lies in memory as a whole.
///
/// # Cancel safety
///
/// Dropping this future gives up the upload; its file is gone with it.
pub(crate) async fn receive(request: Request, limits: UploadLimits) -> Result<Upload, UploadError> {
    let content_type = header(request.headers(), CONTENT_TYPE.as_str());
    let parser = FormParser::new(content_type.unwrap_or_default())?;
    let announced = header(request.headers(), CONTENT_LENGTH.as_str()).and_then(|length| length.parse().ok());
    if announced.is_some_and(|length: u64| length > limits.bytes.saturating_add(FIELDS_LIMIT)) {
        return Err(UploadError::TooLarge { limit: limits.bytes });
    }
    let mut receiver = Receiver::new(limits);
    receiver.take_all(parser, request.into_body()).await?;
    receiver.finish().await
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The part that is coming in.
enum Part {
    /// The recording.
    File,
    /// A field that means something.
    Field { name: String, value: Vec<u8> },
    /// One that does not, or none.
    Ignored,
}

struct Receiver {
    limits: UploadLimits,
    part: Part,
    fields: Fields,
    file: Option<File>,
    extension: Option<String>,
    file_bytes: u64,
    other_bytes: u64,
}

impl Receiver {
    fn new(limits: UploadLimits) -> Self {
        let (fields, part) = (Fields::default(), Part::Ignored);
        Self { limits, part, fields, file: None, extension: None, file_bytes: 0, other_bytes: 0 }
    }

    async fn take_all(&mut self, mut parser: FormParser, body: Body) -> Result<(), UploadError> {
        let (mut body, mut total) = (body.into_data_stream(), 0);
        let begun = Instant::now();
        while let Some(bytes) = next_bytes(&mut body, self.limits.stall).await? {
            total += bytes.len() as u64;
            // Also a form that is nothing but heads or unknown fields ends somewhere.
            if total > self.limits.bytes.saturating_add(FIELDS_LIMIT) {
                return Err(UploadError::TooLarge { limit: self.limits.bytes });
            }
            if begun.elapsed() > self.limits.stall + Duration::from_secs(total / SLOWEST) {
                return Err(UploadError::TooSlow);
            }
            parser.push(&bytes);
            while let Some(event) = parser.next()? {
                self.take(event).await?;
            }
        }
        Ok(parser.finish()?)
    }

    async fn take(&mut self, event: FormEvent) -> Result<(), UploadError> {
        match event {
            FormEvent::Part { name, file_name } => self.begin(name, file_name).await,
            FormEvent::Data(bytes) => self.append(&bytes).await,
            FormEvent::EndOfPart => self.end(),
        }
    }

    async fn begin(&mut self, name: String, file_name: Option<String>) -> Result<(), UploadError> {
        if name != "file" {
            let known = Fields::knows(&name);
            self.part = if known { Part::Field { name, value: Vec::new() } } else { Part::Ignored };
            return Ok(());
        }
        if self.file.is_some() {
            return Err(UploadError::SeveralFiles);
        }
        self.file = Some(unnamed_file().await?);
        self.extension = file_name.and_then(|name| Some(name.rsplit_once('.')?.1.to_owned()));
        self.part = Part::File;
        Ok(())
    }

    async fn append(&mut self, bytes: &[u8]) -> Result<(), UploadError> {
        match (&mut self.part, &mut self.file) {
            (Part::File, Some(file)) => {
                self.file_bytes += bytes.len() as u64;
                if self.file_bytes > self.limits.bytes {
                    return Err(UploadError::TooLarge { limit: self.limits.bytes });
                }
                file.write_all(bytes).await?;
            }
            (Part::Field { value, .. }, _) => {
                self.other_bytes += bytes.len() as u64;
                if self.other_bytes > FIELDS_LIMIT {
                    return Err(UploadError::FieldsTooLarge);
                }
                value.extend_from_slice(bytes);
            }
            (Part::File | Part::Ignored, _) => {}
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), UploadError> {
        if let Part::Field { name, value } = std::mem::replace(&mut self.part, Part::Ignored) {
            let value = String::from_utf8(value).map_err(|_| UploadError::NotText(name.clone()))?;
            self.fields.insert(name, value);
        }
        Ok(())
    }

    async fn finish(self) -> Result<Upload, UploadError> {
        let mut file = self.file.ok_or(UploadError::NoFile)?;
        file.flush().await?;
        file.rewind().await?;
        Ok(Upload { fields: self.fields, file: file.into_std().await, extension: self.extension })
    }
}

async fn next_bytes(body: &mut BodyDataStream, stall: Duration) -> Result<Option<Bytes>, UploadError> {
    let next = timeout(stall, body.next()).await.map_err(|_| UploadError::Stalled(stall))?;
    next.transpose().map_err(|error| UploadError::BrokenOff(error.to_string()))
}

async fn unnamed_file() -> io::Result<File> {
    let file = tokio::task::spawn_blocking(tempfile::tempfile).await;
    Ok(File::from_std(file.map_err(io::Error::other)??))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;
    use std::convert::Infallible;
    use std::io::Read;

    const LIMITS: UploadLimits = UploadLimits { bytes: 1000, stall: Duration::from_secs(30) };

    fn part(head: &str, content: &str) -> String {
        format!("--XX\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n")
    }

    fn request(body: Body) -> Request {
        Request::builder().header(CONTENT_TYPE, "multipart/form-data; boundary=XX").body(body).unwrap()
    }

    async fn receive_parts(parts: &[String]) -> Result<Upload, UploadError> {
        let body = format!("{}--XX--\r\n", parts.concat());
        // Pieces of a few bytes, as from a slow client.
        let pieces: Vec<_> =
            body.into_bytes().chunks(11).map(|it| Ok::<_, Infallible>(it.to_vec())).collect();
        receive(request(Body::from_stream(stream::iter(pieces))), LIMITS).await
    }

    async fn refusal(parts: &[String]) -> &'static str {
        receive_parts(parts).await.expect_err("the form is no good").code()
    }

    #[tokio::test]
    async fn fields_may_come_after_the_file() {
        let file = part("name=\"file\"; filename=\"a.b.wav\"", "RIFF\r\n");
        let upload = receive_parts(&[file, part("name=\"language\"", "de")]).await.unwrap();
        let mut content = String::new();
        (&upload.file).read_to_string(&mut content).unwrap();
        assert_eq!((content.as_str(), upload.extension.as_deref()), ("RIFF\r\n", Some("wav")));
        assert_eq!(format!("{:?}", upload.fields), r#"Fields([("language", "de")])"#);
    }

    #[tokio::test]
    async fn unknown_fields_are_ignored() {
        let upload =
            receive_parts(&[part("name=\"user\"", "ann"), part("name=\"file\"", "x")]).await.unwrap();
        assert_eq!(format!("{:?}", upload.fields), "Fields([])");
    }

    #[tokio::test]
    async fn forms_that_are_no_good_are_told_apart() {
        let file = part("name=\"file\"", "x");
        assert_eq!(refusal(&[]).await, "file_missing");
        assert_eq!(refusal(&[file.clone(), file.clone()]).await, "file_repeated");
        assert_eq!(refusal(&[part("name=\"file\"", &"x".repeat(1001))]).await, "upload_too_large");
        let prompt = part("name=\"prompt\"", &"x".repeat((1 << 20) + 1));
        assert_eq!(refusal(&[prompt, file]).await, "fields_too_large");
        assert_eq!(refusal(&[part("name=\"user\"", &"x".repeat(2 << 20))]).await, "upload_too_large");
    }

    #[tokio::test]
    async fn an_announced_length_over_the_limit_is_refused_before_a_byte_is_read() {
        let endless = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        let mut request = request(endless);
        request.headers_mut().insert(CONTENT_LENGTH, (LIMITS.bytes + FIELDS_LIMIT + 1).into());
        let error = receive(request, LIMITS).await.unwrap_err();
        assert!(matches!(error, UploadError::TooLarge { limit: 1000 }), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_that_trickles_is_given_up_and_one_over_a_slow_line_is_not() {
        let every = |pause: u64, piece: Bytes| {
            stream::unfold((), move |()| {
                let piece = piece.clone();
                async move {
                    tokio::time::sleep(Duration::from_secs(pause)).await;
                    Some((Ok::<_, Infallible>(piece), ()))
                }
            })
        };
        let receive_all = |body| receive(request(body), UploadLimits { bytes: 100_000, ..LIMITS });
        let trickle = Body::from_stream(every(20, Bytes::from_static(b"-")));
        assert_eq!(receive_all(trickle).await.unwrap_err().code(), "upload_too_slow");
        // Four times the least rate, until it is more than is taken.
        let slow_line = Body::from_stream(every(1, Bytes::from(vec![b'-'; 4096])));
        assert_ne!(receive_all(slow_line).await.unwrap_err().code(), "upload_too_slow");
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_that_stalls_is_given_up() {
        let stalling = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        let error = receive(request(stalling), LIMITS).await.unwrap_err();
        assert_eq!(error.to_string(), "no byte of the upload came for 30s");
    }
}
