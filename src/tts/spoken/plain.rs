//! Takes the markdown out of a phrase.

use super::super::phrase::{Block, Kind, Look, atom};

/// The text of a phrase without marks, whose line begins with `marks` bytes of them.
pub(super) fn plain(text: &str, marks: usize, block: Block) -> String {
    let mut out = number_of_item(&text[..marks]);
    inline(&text[marks..], block == Block::Row, &mut out);
    let ended = text.ends_with('\n');
    if ended && matches!(block, Block::Heading | Block::Item | Block::Row) {
        end(&mut out);
    }
    out
}

/// `2. ` is said, `- ` is not.
fn number_of_item(marks: &str) -> String {
    let number: String = marks.chars().filter(char::is_ascii_digit).collect();
    if number.is_empty() { number } else { number + ". " }
}

/// What stands on a line of its own ends like a sentence.
fn end(out: &mut String) {
    let kept = out.trim_end().len();
    out.truncate(kept);
    if out.ends_with(|c: char| c.is_alphanumeric() || ")\"”’'".contains(c)) {
        out.push('.');
    }
}

fn inline(text: &str, row: bool, out: &mut String) {
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let length = match atom(rest, true) {
            Look::Found(atom) => {
                let content = &rest[atom.content];
                match atom.kind {
                    Kind::Link => inline(content, row, out),
                    Kind::Tag => out.push(' '),
                    Kind::Code | Kind::Address | Kind::Escape => out.push_str(content),
                }
                atom.length
            }
            Look::Nothing | Look::More => {
                match next {
                    '|' if row => out.push_str(", "),
                    '*' | '`' => {}
                    next => out.push(next),
                }
                next.len_utf8()
            }
        };
        rest = &rest[length..];
    }
}
