//! `multipart/form-data` (RFC 7578), piece by piece. Pure: bytes in, events out.
//!
//! Holds back at most one part's head and one delimiter, so that memory grows neither with the upload nor with what a
//! hostile client sends in place of one. (The usual crate reads ahead for as long as the socket has bytes.)

use bytes::{Bytes, BytesMut};
use memchr::memmem;

/// The longest head (headers) of a part; browsers and SDKs send some 200 bytes.
const LONGEST_HEAD: usize = 8 * 1024;

/// Why a form could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// The request is something else.
    #[error("the request is not multipart/form-data with a boundary, but {0}")]
    NotAForm(String),
    /// A part's head is longer than any client writes.
    #[error("the head of a part of the form is longer than {LONGEST_HEAD} bytes")]
    HeadTooLong,
    /// A part without a name.
    #[error("a part of the form has no name (\"Content-Disposition: form-data; name=…\")")]
    NoName,
    /// A delimiter that goes on with something else.
    #[error("a boundary of the form is followed by something else than a line end")]
    BadDelimiter,
    /// The end is missing.
    #[error("the form ends before its closing boundary")]
    Incomplete,
}

impl FormError {
    /// The stable name of this error on the wire and in logs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAForm(_) => "form_expected",
            Self::HeadTooLong | Self::NoName | Self::BadDelimiter | Self::Incomplete => "form_damaged",
        }
    }
}

/// What a form is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FormEvent {
    /// A part begins.
    Part { name: String, file_name: Option<String> },
    /// Some bytes of the part.
    Data(Bytes),
    /// The part is complete.
    EndOfPart,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first delimiter.
    Preamble,
    /// Right behind a delimiter, where a line ends or the form does.
    BehindDelimiter,
    Head,
    Body,
    /// Behind the last delimiter.
    Over,
}

/// Takes a form apart.
#[derive(Debug)]
pub(crate) struct FormParser {
    delimiter: Vec<u8>,
    buffer: BytesMut,
    state: State,
}

impl FormParser {
    /// A parser for a body with this `Content-Type`.
    pub(crate) fn new(content_type: &str) -> Result<Self, FormError> {
        let not_a_form = || match content_type {
            "" => FormError::NotAForm("has no Content-Type".into()),
            _ => FormError::NotAForm(content_type.chars().take(100).collect()),
        };
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("multipart/form-data") {
            return Err(not_a_form());
        }
        let boundary = parameter(content_type, "boundary").filter(|it| (1..=70).contains(&it.len()));
        let delimiter = format!("\r\n--{}", boundary.ok_or_else(not_a_form)?).into_bytes();
        // The first delimiter may stand at the very beginning; with this it looks like all the others.
        Ok(Self { delimiter, buffer: BytesMut::from("\r\n"), state: State::Preamble })
    }

    /// Takes the next bytes of the body.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.state != State::Over {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next event, or `None` when more bytes are needed.
    pub(crate) fn next(&mut self) -> Result<Option<FormEvent>, FormError> {
        loop {
            let goes_on = match self.state {
                State::Preamble => self.skip_preamble(),
                State::BehindDelimiter => self.finish_delimiter()?,
                State::Head => return self.head(),
                State::Body => return Ok(self.body()),
                State::Over => false,
            };
            if !goes_on {
                return Ok(None);
            }
        }
    }

    /// Tells whether the form was complete.
    pub(crate) fn finish(&self) -> Result<(), FormError> {
        if self.state == State::Over { Ok(()) } else { Err(FormError::Incomplete) }
    }

    /// Finds the first delimiter; what stands before it means nothing.
    fn skip_preamble(&mut self) -> bool {
        let found = memmem::find(&self.buffer, &self.delimiter);
        match found {
            Some(at) => self.enter(State::BehindDelimiter, at + self.delimiter.len()),
            None => drop(self.buffer.split_to(self.buffer.len().saturating_sub(self.delimiter.len() - 1))),
        }
        found.is_some()
    }

    /// Goes over the end of the delimiter's line, or notices that it was the last one.
    fn finish_delimiter(&mut self) -> Result<bool, FormError> {
        if self.buffer.starts_with(b"--") {
            self.buffer.clear();
            self.state = State::Over;
            return Ok(true);
        }
        let padding = self.buffer.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let rest = &self.buffer[padding..];
        if rest.starts_with(b"\r\n") {
            // The line end stays: in front of a head without headers it is half of the empty line.
            self.enter(State::Head, padding);
            return Ok(true);
        }
        let undecided = rest.is_empty() || rest == b"\r" || (padding == 0 && rest == b"-");
        if undecided && padding < LONGEST_HEAD { Ok(false) } else { Err(FormError::BadDelimiter) }
    }

    fn head(&mut self) -> Result<Option<FormEvent>, FormError> {
        let Some(length) = memmem::find(&self.buffer, b"\r\n\r\n") else {
            let too_long = self.buffer.len() > LONGEST_HEAD;
            return if too_long { Err(FormError::HeadTooLong) } else { Ok(None) };
        };
        if length > LONGEST_HEAD {
            return Err(FormError::HeadTooLong);
        }
        let head = String::from_utf8_lossy(&self.buffer[..length]).into_owned();
        self.enter(State::Body, length + 4);
        let disposition = disposition(&head).ok_or(FormError::NoName)?;
        let name = parameter(disposition, "name").ok_or(FormError::NoName)?;
        Ok(Some(FormEvent::Part { name, file_name: parameter(disposition, "filename") }))
    }

    fn body(&mut self) -> Option<FormEvent> {
        let sure = match memmem::find(&self.buffer, &self.delimiter) {
            Some(0) => {
                self.enter(State::BehindDelimiter, self.delimiter.len());
                return Some(FormEvent::EndOfPart);
            }
            Some(at) => at,
            // The last bytes may be the beginning of a delimiter.
            None => self.buffer.len().saturating_sub(self.delimiter.len() - 1),
        };
        (sure > 0).then(|| FormEvent::Data(self.buffer.split_to(sure).freeze()))
    }

    fn enter(&mut self, state: State, consumed: usize) {
        drop(self.buffer.split_to(consumed));
        self.state = state;
    }
}

fn disposition(head: &str) -> Option<&str> {
    let headers = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let mut values = headers.filter(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"));
    values.next().map(|(_, value)| value)
}

/// The parameter `name` of a header value like `form-data; name="file"; filename="a\"b.wav"`.
fn parameter(value: &str, name: &str) -> Option<String> {
    let mut rest = value;
    loop {
        rest = &rest[end_of_parameter(rest)..];
        rest = rest.strip_prefix(';')?;
        let (key, value) = rest[..end_of_parameter(rest)].split_once('=').unwrap_or_default();
        if key.trim().eq_ignore_ascii_case(name) {
            return Some(unquoted(value.trim()));
        }
    }
}

/// Where the next `;` outside quotes stands.
fn end_of_parameter(text: &str) -> usize {
    let (mut quoted, mut escaped) = (false, false);
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ';' if !quoted => return at,
            _ => {}
        }
    }
    text.len()
}

fn unquoted(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return value.to_owned();
    };
    inner.replace("\\\"", "\"").replace("\\\\", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TYPE: &str = "multipart/form-data; boundary=XX";

    /// Name, file name and content.
    type Part = (String, Option<String>, Vec<u8>);

    /// The parts of a body that arrives in pieces of `step` bytes.
    fn parts(body: &[u8], step: usize) -> Result<Vec<Part>, FormError> {
        let mut parser = FormParser::new(TYPE)?;
        let mut parts: Vec<Part> = Vec::new();
        for piece in body.chunks(step) {
            parser.push(piece);
            while let Some(event) = parser.next()? {
                match event {
                    FormEvent::Part { name, file_name } => parts.push((name, file_name, Vec::new())),
                    FormEvent::Data(bytes) => parts.last_mut().unwrap().2.extend_from_slice(&bytes),
                    FormEvent::EndOfPart => {}
                }
            }
            assert!(parser.buffer.len() <= LONGEST_HEAD + step, "held {} bytes back", parser.buffer.len());
        }
        parser.finish().map(|()| parts)
    }

    fn form(parts: &[(String, Vec<u8>)]) -> Vec<u8> {
        let mut body = b"preamble".to_vec();
        for (name, content) in parts {
            let head = format!("\r\n--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(content);
        }
        body.extend_from_slice(b"\r\n--XX--\r\nepilogue");
        body
    }

    #[test]
    fn a_form_of_curl_is_understood() {
        let body = b"--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a;\\\"b.wav\"\r\n\
            Content-Type: audio/wav\r\n\r\nRI\r\nFF\r\n--XX\r\ncontent-disposition: form-data; name=model\r\n\r\n\r\n--XX--\r\n";
        let expected = vec![
            ("file".to_owned(), Some("a;\"b.wav".to_owned()), b"RI\r\nFF".to_vec()),
            ("model".to_owned(), None, Vec::new()),
        ];
        assert_eq!(parts(body, 7), Ok(expected));
    }

    #[test]
    fn what_is_no_form_is_refused_by_its_type() {
        for wrong in ["application/json", "multipart/form-data", "multipart/form-data; boundary="] {
            assert_eq!(FormParser::new(wrong).unwrap_err(), FormError::NotAForm(wrong.into()));
        }
        let untold = FormParser::new("").unwrap_err().to_string();
        assert!(untold.ends_with("but has no Content-Type"), "{untold}");
        assert!(FormParser::new("Multipart/Form-Data; charset=utf-8; Boundary=\"a b\"").is_ok());
    }

    #[test]
    fn damaged_forms_are_told_apart() {
        let head = "--XX\r\nContent-Disposition: form-data; name=a\r\n\r\n";
        assert_eq!(parts(b"", 1), Err(FormError::Incomplete));
        assert_eq!(parts(format!("{head}data").as_bytes(), 5), Err(FormError::Incomplete));
        assert_eq!(parts(format!("{head}data\r\n--XXX").as_bytes(), 5), Err(FormError::BadDelimiter));
        assert_eq!(parts(b"--XX\r\nContent-Type: text/plain\r\n\r\n", 9), Err(FormError::NoName));
        assert_eq!(parts(b"--XX\r\n\r\ndata", 9), Err(FormError::NoName));
    }

    #[test]
    fn a_head_without_end_is_refused_before_it_fills_memory() {
        let body = format!("--XX\r\nX-Long: {}", "y".repeat(1 << 20));
        assert_eq!(parts(body.as_bytes(), 1000), Err(FormError::HeadTooLong));
        let body = "z".repeat(1 << 20);
        assert_eq!(parts(body.as_bytes(), 1000), Err(FormError::Incomplete));
    }

    proptest! {
        /// Fails when a delimiter that straddles two pieces is missed, or when bytes like it are taken for one.
        #[test]
        fn what_was_sent_comes_out_whatever_the_pieces(
            contents in prop::collection::vec("[\r\n\\-Xa]{0,30}", 0..4),
            step in 1..40_usize,
        ) {
            prop_assume!(contents.iter().all(|it| !format!("\r\n{it}").contains("\r\n--XX")));
            let sent: Vec<_> = contents.iter().map(|it| ("n".to_owned(), it.clone().into_bytes())).collect();
            let got = parts(&form(&sent), step).unwrap();
            let got: Vec<_> = got.into_iter().map(|(name, _, content)| (name, content)).collect();
            prop_assert_eq!(got, sent);
        }
    }
}
