//! What must not be torn within a line: code, links, images, tags and escaped marks.

use std::ops::Range;

/// What a look at the beginning of a text that may go on has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tts) enum Look<T> {
    /// It is there, whatever follows.
    Found(T),
    /// It is not there, whatever follows.
    Nothing,
    /// It depends on what follows.
    More,
}

impl<T> Look<T> {
    pub(in crate::tts) fn map<U>(self, f: impl FnOnce(T) -> U) -> Look<U> {
        match self {
            Self::Found(found) => Look::Found(f(found)),
            Self::Nothing => Look::Nothing,
            Self::More => Look::More,
        }
    }
}

/// Something that is one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tts) struct Atom {
    pub(in crate::tts) kind: Kind,
    /// In bytes, all its marks included.
    pub(in crate::tts) length: usize,
    /// What of it can be said.
    pub(in crate::tts) content: Range<usize>,
}

/// Kinds of [`Atom`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tts) enum Kind {
    /// Between backticks.
    Code,
    /// `[label](address)`, `![alt](address)`, `[label][reference]`, `[^1]`: what is to be read of it may have marks.
    Link,
    /// `<https://…>`
    Address,
    /// `<b>`, `<!-- comment -->`: nothing to say.
    Tag,
    /// A backslash and its mark.
    Escape,
}

/// How far an end is looked for, in bytes: what has none within that is no atom.
const REACH: usize = 250;

/// How long an address in a link may be.
const ADDRESS_REACH: usize = 1000;

/// What begins at the beginning of `text`, if anything does.
pub(in crate::tts) fn atom(text: &str, at_end: bool) -> Look<Atom> {
    let look = match text.as_bytes().first() {
        Some(b'`') => code(text, at_end),
        Some(b'[') => link(text, 0),
        Some(b'!') if text.len() == 1 => Look::More,
        Some(b'!') if text.as_bytes()[1] == b'[' => link(text, 1),
        Some(b'<') => tag(text),
        Some(b'\\') => escape(text),
        _ => Look::Nothing,
    };
    if at_end && matches!(look, Look::More) { Look::Nothing } else { look }
}

/// Where `wanted` says so first, before the line ends and within `reach`.
fn seek(text: &str, from: usize, reach: usize, mut wanted: impl FnMut(usize, u8) -> bool) -> Look<usize> {
    for (at, &byte) in text.as_bytes().iter().enumerate().skip(from) {
        if at - from >= reach || byte == b'\n' {
            return Look::Nothing;
        }
        if wanted(at, byte) {
            return Look::Found(at);
        }
    }
    Look::More
}

/// A run of backticks, up to the next run of as many.
fn code(text: &str, at_end: bool) -> Look<Atom> {
    let marks = run_of_backticks(text);
    let mut at = marks;
    loop {
        let reach = (marks + REACH).saturating_sub(at);
        let open = match seek(text, at, reach, |_, byte| byte == b'`') {
            Look::Found(open) => open,
            Look::Nothing => return Look::Nothing,
            Look::More => return Look::More,
        };
        let run = run_of_backticks(&text[open..]);
        at = open + run;
        if at == text.len() && !at_end {
            return Look::More;
        }
        if run == marks {
            return Look::Found(Atom { kind: Kind::Code, length: at, content: marks..open });
        }
    }
}

fn run_of_backticks(text: &str) -> usize {
    text.len() - text.trim_start_matches('`').len()
}

/// `[label](address)`, with `skip` bytes before the bracket.
fn link(text: &str, skip: usize) -> Look<Atom> {
    let close = match balanced(text, skip, REACH, (b'[', b']')) {
        Look::Found(close) => close,
        Look::Nothing => return Look::Nothing,
        Look::More => return Look::More,
    };
    let content = skip + 1..close;
    let atom = |length, content| Look::Found(Atom { kind: Kind::Link, length, content });
    if text[content.clone()].starts_with('^') {
        return atom(close + 1, 0..0);
    }
    let target = match text.as_bytes().get(close + 1) {
        None => return Look::More,
        Some(b'(') => balanced(text, close + 1, ADDRESS_REACH, (b'(', b')')),
        Some(b'[') => balanced(text, close + 1, REACH, (b'[', b']')),
        Some(_) => return Look::Nothing,
    };
    match target {
        Look::Found(end) => atom(end + 1, content),
        Look::Nothing => Look::Nothing,
        Look::More => Look::More,
    }
}

/// The mark that closes the one at `from`.
fn balanced(text: &str, from: usize, reach: usize, (open, close): (u8, u8)) -> Look<usize> {
    let (mut depth, mut escaped) = (0_usize, false);
    seek(text, from, reach, |_, byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            _ if byte == open => depth += 1,
            _ if byte == close => depth -= 1,
            _ => {}
        }
        depth == 0
    })
}

/// A tag, a comment, or an address in angle brackets.
fn tag(text: &str) -> Look<Atom> {
    match text.as_bytes().get(1) {
        None => return Look::More,
        Some(first) if first.is_ascii_alphabetic() || b"/!?".contains(first) => {}
        Some(_) => return Look::Nothing,
    }
    seek(text, 1, REACH, |_, byte| byte == b'>').map(|end| {
        let inner = &text[1..end];
        let address = !inner.contains(char::is_whitespace) && (inner.contains("://") || inner.contains('@'));
        let kind = if address { Kind::Address } else { Kind::Tag };
        Atom { kind, length: end + 1, content: if address { 1..end } else { 0..0 } }
    })
}

fn escape(text: &str) -> Look<Atom> {
    match text.as_bytes().get(1) {
        None => Look::More,
        Some(mark) if mark.is_ascii_punctuation() => {
            Look::Found(Atom { kind: Kind::Escape, length: 2, content: 1..2 })
        }
        Some(_) => Look::Nothing,
    }
}
