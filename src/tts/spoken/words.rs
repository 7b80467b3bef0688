//! Abbreviations, handles and names that are letters and digits, in English words.

#![expect(clippy::unnecessary_wraps, reason = "rules have one form")]

use super::english::{Around, Rule};
use super::numbers::{number, quantity, spell};
use regex::Captures;

/// What is tried in this order.
pub(super) const RULES: &[Rule] = &[
    // Faces are for the eye, and so are long strings of hexadecimal digits.
    Rule { pattern: r"(?:[:;]['-]?[()DPpOo/|*\]\[]|<3|[xX]D)(?:\s|$)", say: nothing },
    Rule { pattern: r"(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-fA-F]{24,})END", say: nothing },
    Rule { pattern: r"[!-~]{61,}", say: nothing },
    Rule { pattern: r"--?(?P<name>[A-Za-z][A-Za-z0-9-]*)", say: flag },
    Rule { pattern: r"(?P<name>[CFJ])#", say: sharp },
    Rule { pattern: r"(?P<name>[A-Za-z]+)\+\+", say: plus_plus },
    Rule { pattern: r"#(?P<n>\d+)END", say: number_sign },
    Rule { pattern: r"#(?P<name>[\p{L}_][\p{L}\d_]*)", say: hashtag },
    Rule { pattern: r"@(?P<name>[\p{L}_][\p{L}\d_]*)", say: handle },
    Rule { pattern: r"(?P<name>St|Dr)\.", say: saint_or_street },
    Rule { pattern: r"(?P<name>No|no|Nos|nos)\. ?(?P<n>\d+)END", say: number_sign },
    Rule {
        pattern: r"(?i)(?P<name>e\.g|i\.e|a\.k\.a|w/o|w/|vs|cf|ca|approx|etc|mr|mrs|ms|prof|jr|sr|fig|figs|vol|pp|dept|inc|ltd|corp|blvd|ave|gov|sen|gen|capt|sgt|lt|rev|esp|incl|resp|est)END(?P<stop>\.?)",
        say: abbreviation,
    },
];

/// What is tried after the rules for numbers.
pub(super) const NAMES: &[Rule] =
    &[Rule { pattern: r"[\p{L}]+(?:-?\d+(?:\.\d+)?[\p{L}]*)+END", say: letters_and_digits }];

/// Abbreviations, what they stand for, and whether they are ones without a full stop as well.
const ABBREVIATIONS: &[(&str, &str, bool)] = &[
    ("e.g", "for example", true),
    ("i.e", "that is", true),
    ("a.k.a", "also known as", true),
    ("w/o", "without", true),
    ("w/", "with", true),
    ("vs", "versus", true),
    ("cf", "compare", false),
    ("ca", "about", false),
    ("approx", "approximately", true),
    ("etc", "et cetera", true),
    ("mr", "Mister", true),
    ("mrs", "Missus", true),
    ("ms", "Miss", false),
    ("prof", "Professor", false),
    ("jr", "Junior", true),
    ("sr", "Senior", true),
    ("fig", "figure", false),
    ("figs", "figures", false),
    ("vol", "volume", false),
    ("pp", "pages", false),
    ("dept", "department", true),
    ("inc", "Incorporated", false),
    ("ltd", "Limited", true),
    ("corp", "Corporation", false),
    ("blvd", "Boulevard", true),
    ("ave", "Avenue", false),
    ("gov", "Governor", false),
    ("sen", "Senator", false),
    ("gen", "General", false),
    ("capt", "Captain", false),
    ("sgt", "Sergeant", true),
    ("lt", "Lieutenant", false),
    ("rev", "Reverend", false),
    ("esp", "especially", false),
    ("incl", "including", false),
    ("resp", "respectively", false),
    ("est", "established", false),
];

fn part<'a>(captures: &'a Captures<'_>, name: &str) -> &'a str {
    captures.name(name).map_or("", |found| found.as_str())
}

fn nothing(_: &Captures<'_>, _: Around<'_>) -> Option<String> {
    Some(" ".to_owned())
}

/// `--dry-run`
fn flag(captures: &Captures<'_>, _: Around<'_>) -> Option<String> {
    Some(part(captures, "name").replace('-', " "))
}

fn sharp(captures: &Captures<'_>, around: Around<'_>) -> Option<String> {
    let ends = !around.after.starts_with(char::is_alphanumeric);
    ends.then(|| format!("{} sharp", part(captures, "name")))
}

fn plus_plus(captures: &Captures<'_>, around: Around<'_>) -> Option<String> {
    let ends = !around.after.starts_with(char::is_alphanumeric);
    ends.then(|| format!("{} plus plus", part(captures, "name")))
}

fn number_sign(captures: &Captures<'_>, _: Around<'_>) -> Option<String> {
    let many = part(captures, "name").ends_with('s');
    Some(format!("{} {}", if many { "numbers" } else { "number" }, count(part(captures, "n"))))
}

/// Long ones are names, not amounts.
fn count(digits: &str) -> String {
    if digits.len() > 4 { spell(digits) } else { quantity(digits) }
}

fn hashtag(captures: &Captures<'_>, _: Around<'_>) -> Option<String> {
    Some(format!("hashtag {}", part(captures, "name").replace('_', " ")))
}

fn handle(captures: &Captures<'_>, _: Around<'_>) -> Option<String> {
    Some(format!("at {}", part(captures, "name").replace('_', " ")))
}

/// Before a name it is a title; behind one, a street.
fn saint_or_street(captures: &Captures<'_>, around: Around<'_>) -> Option<String> {
    let is_name = |word: &str| word.starts_with(char::is_uppercase);
    let before = around.before.split_whitespace().next_back().unwrap_or_default();
    let after = around.after.split_whitespace().next().unwrap_or_default();
    let behind_name =
        is_name(before) && before.ends_with(char::is_alphanumeric) && before.chars().count() > 2;
    let street = behind_name && !is_name(after);
    let name = match (part(captures, "name"), street) {
        ("St", true) => "Street",
        ("St", false) => "Saint",
        (_, true) => "Drive",
        (_, false) => "Doctor",
    };
    Some(name.to_owned() + end_of_sentence(around))
}

/// A full stop that ends the sentence as well.
fn end_of_sentence(around: Around<'_>) -> &'static str {
    if around.after.trim_end().is_empty() { "." } else { "" }
}

fn abbreviation(captures: &Captures<'_>, around: Around<'_>) -> Option<String> {
    let (name, stop) = (part(captures, "name").to_lowercase(), part(captures, "stop"));
    let (_, said, bare) = ABBREVIATIONS.iter().find(|(short, ..)| *short == name)?;
    let ends = name.ends_with('/') || !around.after.starts_with(char::is_alphanumeric);
    let known = ends && (!stop.is_empty() || *bare);
    let end = if stop.is_empty() { "" } else { end_of_sentence(around) };
    known.then(|| format!("{said}{end}"))
}

/// `GPT-4o`, `mp3`, `5G`, `RTX4090`, `COVID-19`: letters as they are, digits as numbers.
pub(super) fn letters_and_digits(captures: &Captures<'_>, _: Around<'_>) -> Option<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut rest = &captures[0];
    while let Some(first) = rest.chars().next() {
        let is_digit = first.is_ascii_digit();
        let same = |c: char| c.is_ascii_digit() == is_digit || (is_digit && c == '.');
        let end = rest.find(|c: char| !same(c)).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        parts.push(if is_digit { number(run) } else { run.trim_matches('-').to_owned() });
        rest = after;
    }
    Some(parts.join(" "))
}
