//! Turns numbers, abbreviations and symbols of an English text into words.
//!
//! Rules are patterns with a function each. Where a word begins, they are tried in order; the first that has something
//! to say is taken. What none of them takes goes on as it is, but for symbols.

use super::{addresses, calendar, quantities, symbols, words};
use regex::{Captures, Regex};
use std::sync::LazyLock;

/// One way to say something.
pub(super) struct Rule {
    /// A regular expression, with [`shorthands`].
    pub(super) pattern: &'static str,
    /// The words, unless it is something else.
    pub(super) say: fn(&Captures<'_>, Around<'_>) -> Option<String>,
}

/// What stands around a match.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around<'a> {
    pub(super) before: &'a str,
    pub(super) after: &'a str,
}

struct Compiled {
    pattern: Regex,
    say: fn(&Captures<'_>, Around<'_>) -> Option<String>,
}

static RULES: LazyLock<Vec<Compiled>> = LazyLock::new(|| {
    let rules = [words::RULES, calendar::RULES, quantities::RULES, words::NAMES];
    rules.into_iter().flatten().map(compile).collect()
});

fn compile(rule: &Rule) -> Compiled {
    let pattern = Regex::new(&format!("^(?:{})", shorthands(rule.pattern))).expect("a tested pattern");
    Compiled { pattern, say: rule.say }
}

/// `NUM`: a number with or without thousands and decimals; `MONTH`, `UNIT`: names of those; `END`: no letter or digit
/// follows; digits are those of ASCII.
fn shorthands(pattern: &str) -> String {
    let unit = quantities::unit_pattern();
    let names = [
        ("MONTH", calendar::MONTH),
        ("UNIT", unit.as_str()),
        ("NUM", r"(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)"),
        ("END", r"(?-u:\b{end-half})"),
        (r"\d", "[0-9]"),
    ];
    names.iter().fold(pattern.to_owned(), |pattern, (name, meaning)| pattern.replace(name, meaning))
}

/// The text with words for what is none.
pub(super) fn english(text: &str) -> String {
    let mut out = String::with_capacity(2 * text.len());
    let (mut at, mut worded) = (0, false);
    while let Some(next) = text[at..].chars().next() {
        let (before, rest) = text.split_at(at);
        let said = begins_word(before, next).then(|| say(before, rest)).flatten();
        let by_rule = said.is_some();
        let (length, words) = said.unwrap_or_else(|| symbols::say(before, rest));
        join(&mut out, &words, by_rule || worded);
        worded = by_rule;
        at += length;
    }
    out
}

/// Adds words, with a space where two would be one and either is `worded` by a rule.
fn join(out: &mut String, words: &str, worded: bool) {
    let is_letter = |c: char| c.is_alphanumeric();
    if worded && words.starts_with(is_letter) && out.ends_with(is_letter) {
        out.push(' ');
    }
    out.push_str(words);
}

/// What the first rule says that knows the beginning of `rest`, and how much of it that is.
fn say(before: &str, rest: &str) -> Option<(usize, String)> {
    let web = addresses::address(rest).map(|found| (found.length, symbols::name(&found.name)));
    web.or_else(|| RULES.iter().find_map(|rule| apply(rule, before, rest)))
}

fn apply(rule: &Compiled, before: &str, rest: &str) -> Option<(usize, String)> {
    let captures = rule.pattern.captures(rest)?;
    let length = captures.get(0)?.end();
    let said = (rule.say)(&captures, Around { before, after: &rest[length..] })?;
    Some((length, said))
}

/// Whether a word, a number or a sign before one can begin between these two.
fn begins_word(before: &str, next: char) -> bool {
    let Some(last) = before.chars().next_back() else { return true };
    match next {
        '0'..='9' => !last.is_ascii_alphanumeric(),
        next if next.is_alphanumeric() => !last.is_alphanumeric(),
        next if next.is_whitespace() => false,
        _ => last.is_whitespace() || "([{\"'“‘—–/=,|".contains(last),
    }
}
