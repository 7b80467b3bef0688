//! Symbols in English words.

use super::english::Around;

/// Operators of programs and formulas, longer ones first. They are said only between two things.
const OPERATORS: &[(&str, &str)] = &[
    ("===", " equals "),
    ("==", " equals "),
    ("!=", " is not "),
    ("<=", " at most "),
    (">=", " at least "),
    ("-->", " to "),
    ("->", " to "),
    ("=>", " to "),
    ("&&", " and "),
    ("=", " equals "),
    ("<", " less than "),
    (">", " greater than "),
    ("^", " to the power of "),
    ("/", " over "),
    ("*", " times "),
    ("+", " plus "),
];

/// Symbols that are said wherever they stand.
const SYMBOLS: &[(char, &str)] = &[
    ('&', " and "),
    ('@', " at "),
    ('%', " percent "),
    ('≤', " at most "),
    ('≥', " at least "),
    ('≠', " is not "),
    ('≈', " about "),
    ('×', " times "),
    ('⋅', " times "),
    ('÷', " divided by "),
    ('±', " plus or minus "),
    ('√', " root of "),
    ('∞', " infinity "),
    ('°', " degrees "),
    ('§', " section "),
    ('²', " squared "),
    ('³', " cubed "),
    ('½', " one half "),
    ('⅓', " one third "),
    ('⅔', " two thirds "),
    ('¼', " one quarter "),
    ('¾', " three quarters "),
    ('→', " to "),
    ('➜', " to "),
    ('⇒', " to "),
];

/// What is said for the symbol or letter at the beginning of `rest`, which no rule took, and how much of it that is.
pub(super) fn say(before: &str, rest: &str) -> (usize, String) {
    for (operator, words) in OPERATORS {
        if let Some(after) = rest.strip_prefix(operator)
            && is_between(operator, Around { before, after })
        {
            return (operator.len(), (*words).to_owned());
        }
    }
    let mut chars = rest.chars();
    let Some(c) = chars.next() else { return (0, String::new()) };
    (c.len_utf8(), single(c, Around { before, after: chars.as_str() }))
}

/// Whether an operator stands between two things. Some are something else between two letters, as in `and/or`.
fn is_between(operator: &str, around: Around<'_>) -> bool {
    let last = around.before.trim_end().chars().next_back();
    let next = around.after.trim_start().chars().next();
    let spaced =
        around.before.ends_with(char::is_whitespace) && around.after.starts_with(char::is_whitespace);
    let (Some(last), Some(next)) = (last, next) else { return false };
    match operator {
        "/" => last.is_ascii_digit() && next.is_ascii_digit(),
        "*" | "+" if !spaced => last.is_alphanumeric() && next.is_ascii_digit(),
        _ => is_thing(last) && is_thing(next),
    }
}

fn is_thing(c: char) -> bool {
    c.is_alphanumeric() || "()[]\"'$€£.²³-".contains(c)
}

fn single(c: char, around: Around<'_>) -> String {
    if let Some((_, words)) = SYMBOLS.iter().find(|(symbol, _)| *symbol == c) {
        return (*words).to_owned();
    }
    let last = around.before.chars().next_back();
    let next = around.after.chars().next();
    let digit_follows = next.is_some_and(|c| c.is_ascii_digit());
    match c {
        '~' if digit_follows => " about ".to_owned(),
        '+' if last.is_some_and(char::is_alphanumeric) => " plus ".to_owned(),
        '/' if last.is_none_or(char::is_whitespace) && next.is_some_and(char::is_alphanumeric) => {
            " slash ".to_owned()
        }
        '-' | '−' | '–' if last.is_none_or(char::is_whitespace) && next.is_none_or(char::is_whitespace) => {
            dash(around)
        }
        '–' | '‑' | '‐' | '−' => "-".to_owned(),
        '^' | '_' | '\\' | '=' | '+' | '<' | '>' | '*' | '/' | '~' | '#' | '$' | '€' | '£' | '¥' | '₹' => {
            " ".to_owned()
        }
        c => c.into(),
    }
}

/// Between spaces: a minus between numbers, else a pause.
fn dash(around: Around<'_>) -> String {
    let last = around.before.trim_end().chars().next_back();
    let next = around.after.trim_start().chars().next();
    let digits = last.is_some_and(|c| c.is_ascii_digit()) && next.is_some_and(|c| c.is_ascii_digit());
    if digits { "minus" } else { "—" }.to_owned()
}

/// The name of a page or a mailbox, as it is read out.
pub(super) fn name(address: &str) -> String {
    let mut out = String::new();
    for c in address.chars() {
        match c {
            '.' => out.push_str(" dot "),
            '@' => out.push_str(" at "),
            '-' | '_' | '+' | '%' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
