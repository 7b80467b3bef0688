//! Takes the markdown out of a phrase.

use super::super::phrase::{Block, Kind, Look, atom};

/// The text of a phrase without marks, whose line begins with `marks` bytes of them.
pub(super) fn plain(text: &str, marks: usize, block: Block) -> String {
    let (opening, rest) = text.split_at(marks);
    let mut out = if block == Block::Item { number_of_item(opening) } else { String::new() };
    let rest = if block == Block::Item && marks > 0 { without_box(rest) } else { rest };
    inline(rest, block == Block::Row, &mut out);
    if text.ends_with('\n') && matches!(block, Block::Heading | Block::Item | Block::Row) {
        end(&mut out);
    }
    out
}

/// `2. ` is said, `- ` is not.
fn number_of_item(marks: &str) -> String {
    let number: String = marks.chars().filter(char::is_ascii_digit).collect();
    if number.is_empty() { number } else { number + ". " }
}

/// An item without the box of a task.
fn without_box(item: &str) -> &str {
    let item = item.trim_start();
    ["[ ] ", "[x] ", "[X] "].iter().find_map(|square| item.strip_prefix(square)).unwrap_or(item)
}

/// What stands on a line of its own ends like a sentence.
fn end(out: &mut String) {
    let kept = out.trim_end_matches([' ', ',', '\t', '\r', '\n', '#']).len();
    out.truncate(kept);
    if !out.ends_with(['.', '!', '?', ':', ';', '…', '。', '！', '？']) {
        out.push('.');
    }
}

fn inline(text: &str, row: bool, out: &mut String) {
    let mut at = 0;
    while let Some(next) = text[at..].chars().next() {
        let rest = &text[at..];
        at += match atom(rest, true) {
            Look::Found(atom) => {
                let content = &rest[atom.content];
                match atom.kind {
                    Kind::Link => inline(content, row, out),
                    Kind::Tag => out.push(' '),
                    Kind::Code | Kind::Address | Kind::Escape => out.push_str(content),
                }
                atom.length
            }
            Look::Nothing | Look::More => mark(&text[..at], rest, next, row, out),
        };
    }
}

/// One character, which may be a mark; returns how many bytes were read.
fn mark(before: &str, rest: &str, next: char, row: bool, out: &mut String) -> usize {
    let run = rest.len() - rest.trim_start_matches(next).len();
    let last = before.chars().next_back();
    let after = rest[run..].chars().next();
    match next {
        '|' if row => out.push_str(", "),
        '*' if run == 1 && is_operator(last, after) => out.push('*'),
        '_' if last.is_some_and(char::is_alphanumeric) && after.is_some_and(char::is_alphanumeric) => {
            out.push('_');
        }
        '*' | '_' | '`' => return run,
        '~' if run > 1 => return run,
        '&' => return entity(rest, out),
        next => out.push(next),
    }
    next.len_utf8()
}

/// `2 * 3`, `2*3`, and not `2 *words*`.
fn is_operator(last: Option<char>, after: Option<char>) -> bool {
    let is_space = |c: Option<char>| c.is_some_and(char::is_whitespace);
    let is_digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    (is_space(last) && is_space(after)) || (is_digit(last) && is_digit(after))
}

/// Characters that have a name in HTML.
const ENTITIES: &[(&str, &str)] = &[
    ("&amp;", "&"),
    ("&lt;", "<"),
    ("&gt;", ">"),
    ("&quot;", "\""),
    ("&apos;", "'"),
    ("&#39;", "'"),
    ("&nbsp;", " "),
    ("&ndash;", "–"),
    ("&mdash;", "—"),
    ("&hellip;", "…"),
    ("&deg;", "°"),
];

fn entity(rest: &str, out: &mut String) -> usize {
    let found = ENTITIES.iter().find(|(name, _)| rest.starts_with(name));
    out.push_str(found.map_or("&", |(_, character)| character));
    found.map_or(1, |(name, _)| name.len())
}
