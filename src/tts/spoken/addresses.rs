//! Addresses of pages and of mail: nobody wants to hear more of them than where they lead.

use regex::{Captures, Regex};
use std::sync::LazyLock;

/// An address at the beginning of a text, as it is said.
pub(super) struct Address {
    /// In bytes.
    pub(super) length: usize,
    /// `example.com`, `ann@example.com`
    pub(super) name: String,
}

/// Endings that make a name without a scheme an address of a page.
const WEB: &str = r"^(?i)(?:(?:https?|ftp|wss?|file)://|www\.)(?P<rest>[!-~]+)";
const MAIL: &str = r"^(?i)(?:mailto:)?(?P<mail>[a-z0-9][a-z0-9._%+-]*@[a-z0-9-]+(?:\.[a-z0-9-]+)+)";
const DOMAIN: &str = r"^(?i)(?P<rest>(?:[a-z0-9][a-z0-9-]*\.)+(?:com|org|net|edu|gov|io|dev|ai|app|co|info|eu|uk|de|fr|us|ca|ch|at|nl|jp|cn|tv|me)(?-u:\b{end-half})(?::[0-9]+)?(?:/[!-~]*)?)";

static PATTERNS: LazyLock<[Regex; 3]> =
    LazyLock::new(|| [WEB, MAIL, DOMAIN].map(|pattern| Regex::new(pattern).expect("a tested pattern")));

/// The address that `text` begins with, if it does.
pub(super) fn address(text: &str) -> Option<Address> {
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let word = text.split(char::is_whitespace).next().unwrap_or_default();
    if !word.contains(['.', ':']) {
        return None;
    }
    PATTERNS.iter().find_map(|pattern| of(&pattern.captures(word)?))
}

/// A text with the names of addresses in their places.
pub(super) fn named(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let begins = !out.ends_with(char::is_alphanumeric);
        let found = begins.then(|| address(rest)).flatten();
        let length = found.as_ref().map_or(next.len_utf8(), |found| found.length);
        match found {
            Some(found) => out.push_str(&found.name),
            None => out.push(next),
        }
        rest = &rest[length..];
    }
    out
}

fn of(captures: &Captures<'_>) -> Option<Address> {
    let whole = captures.get(0)?.as_str();
    // What ends the sentence is no part of an address.
    let trimmed = whole
        .trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']', '}', '\'', '"', '>', '*', '_', '`', '|']);
    let name = match (captures.name("mail"), captures.name("rest")) {
        (Some(mail), _) => mail.as_str().to_owned(),
        (None, Some(rest)) => host(rest.as_str()).to_owned(),
        (None, None) => return None,
    };
    Some(Address { length: trimmed.len(), name })
}

/// `user@www.example.com:80/path` → `example.com`
fn host(rest: &str) -> &str {
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    let host = host.split(':').next().unwrap_or_default();
    let host = host.strip_prefix("www.").unwrap_or(host);
    host.trim_matches(|c: char| !c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_address_only_the_name_is_left() {
        let rows = [
            ("https://example.com/a/b?c=d#e, and", "example.com", 29),
            ("http://www.example.co.uk.", "example.co.uk", 24),
            ("www.example.org)", "example.org", 15),
            ("wss://127.0.0.1:8080/v1", "127.0.0.1", 23),
            ("https://me:secret@a.example.com:443/", "a.example.com", 36),
            ("ann.b@example.com!", "ann.b@example.com", 17),
            ("mailto:ann@example.com", "ann@example.com", 22),
            ("docs.rs is", "", 0),
            ("github.com/a/b is", "github.com", 14),
            ("e.g. this", "", 0),
            ("company", "", 0),
            ("so.communication", "", 0),
        ];
        for (text, name, length) in rows {
            let found = address(text).map_or((String::new(), 0), |found| (found.name, found.length));
            assert_eq!(found, (name.to_owned(), length), "{text}");
        }
    }
}
