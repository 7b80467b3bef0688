//! What a line is: text, heading, item of a list, row of a table, or code between fences.

use super::inline::Look;

/// A kind of line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::tts) enum Block {
    /// A paragraph, or a quoted one.
    #[default]
    Text,
    /// `# Title`
    Heading,
    /// `- one`, `2. two`
    Item,
    /// `| cell | cell |`
    Row,
    /// Code, until a line of at least as many of the same marks.
    Fence {
        /// A backtick or a tilde.
        mark: char,
        /// How many of them, 3 or more.
        length: usize,
    },
}

/// Where in its text a phrase begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tts) struct Place {
    /// The kind of the line; where a line begins, only [`Block::Fence`] means something.
    pub(in crate::tts) block: Block,
    /// Whether a line begins here.
    pub(in crate::tts) line_start: bool,
    /// Whether nothing was said yet.
    pub(in crate::tts) first: bool,
}

impl Default for Place {
    fn default() -> Self {
        Self { block: Block::Text, line_start: true, first: true }
    }
}

impl Place {
    /// Goes on behind a phrase that began here.
    pub(super) fn pass(&mut self, text: &str, said: bool) {
        self.first &= !said;
        let ends_line = text.ends_with('\n');
        if let Block::Fence { mark, length } = self.block {
            if self.line_start && ends_line && closes(text, mark, length) {
                self.block = Block::Text;
            }
            self.line_start = ends_line;
            return;
        }
        let block = self.block_of(text);
        let fence = matches!(block, Block::Fence { .. });
        self.block = if ends_line && !fence { Block::Text } else { block };
        self.line_start = ends_line || (self.line_start && text.trim().is_empty());
    }

    /// The kind of line that a phrase which begins here is, or begins.
    pub(in crate::tts) fn block_of(&self, text: &str) -> Block {
        match self.block {
            Block::Fence { .. } => self.block,
            block => self.opening(text).map_or(block, |opening| opening.block),
        }
    }

    /// The beginning of the line that a phrase begins here, if it does.
    pub(in crate::tts) fn opening(&self, text: &str) -> Option<Opening> {
        let content = text.trim_start();
        let skipped = &text[..text.len() - content.len()];
        if content.is_empty() || !(self.line_start || skipped.contains('\n')) {
            return None;
        }
        match opening(content, true) {
            Look::Found(found) => Some(Opening { length: skipped.len() + found.length, ..found }),
            Look::Nothing | Look::More => None,
        }
    }
}

/// How a line begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tts) struct Opening {
    pub(in crate::tts) block: Block,
    /// Bytes of the marks that say so.
    pub(in crate::tts) length: usize,
}

/// What a line is, without the white space before it.
pub(in crate::tts) fn opening(line: &str, at_end: bool) -> Look<Opening> {
    let content = line.trim_start_matches(['>', ' ', '\t']);
    let quoted = line.len() - content.len();
    let mut found = match content.chars().next() {
        None if at_end => Look::Found(Opening { block: Block::Text, length: 0 }),
        None => Look::More,
        Some('#') => heading(content, at_end),
        Some(mark @ ('`' | '~')) => fence(content, mark, at_end),
        Some('|') => Look::Found(Opening { block: Block::Row, length: 1 }),
        Some('-' | '*' | '+' | '•' | '◦' | '▪' | '·' | '0'..='9') => item(content, at_end),
        Some(_) => Look::Nothing,
    };
    if matches!(found, Look::Nothing) {
        found = Look::Found(Opening { block: Block::Text, length: 0 });
    }
    found.map(|opening| Opening { length: opening.length + quoted, ..opening })
}

/// `# ` to `###### `
fn heading(line: &str, at_end: bool) -> Look<Opening> {
    let content = line.trim_start_matches('#');
    let marks = line.len() - content.len();
    match content.chars().next() {
        None if !at_end && marks <= 6 => Look::More,
        Some(' ' | '\t' | '\n') if marks <= 6 => {
            Look::Found(Opening { block: Block::Heading, length: marks })
        }
        _ => Look::Nothing,
    }
}

/// The longest line that may be the first one of a fence, in bytes.
const LONGEST_INFO: usize = 200;

/// Three marks or more. Behind backticks no other one follows on the line: else it is code within a line.
fn fence(line: &str, mark: char, at_end: bool) -> Look<Opening> {
    let info = line.trim_start_matches(mark);
    let length = line.len() - info.len();
    if length < 3 {
        return if info.is_empty() && !at_end { Look::More } else { Look::Nothing };
    }
    let found = Look::Found(Opening { block: Block::Fence { mark, length }, length });
    for byte in info.bytes().take(LONGEST_INFO) {
        match byte {
            b'\n' => return found,
            b'`' if mark == '`' => return Look::Nothing,
            _ => {}
        }
    }
    if info.len() < LONGEST_INFO && !at_end { Look::More } else { found }
}

/// `- `, `* `, `1. `, `1) `
fn item(line: &str, at_end: bool) -> Look<Opening> {
    let digits = line.len() - line.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let mut marks = line[digits..].chars();
    let mark = match marks.next() {
        None if !at_end && digits <= 9 => return Look::More,
        Some(mark @ ('.' | ')')) if (1..=9).contains(&digits) => mark,
        Some(mark) if digits == 0 => mark,
        _ => return Look::Nothing,
    };
    match marks.next() {
        None if !at_end => Look::More,
        Some(' ' | '\t') => Look::Found(Opening { block: Block::Item, length: digits + mark.len_utf8() }),
        _ => Look::Nothing,
    }
}

/// Whether a line of code is the end of it.
fn closes(line: &str, mark: char, length: usize) -> bool {
    let marks = line.trim_matches(|c: char| c.is_whitespace() || c == '>');
    marks.len() >= length && marks.chars().all(|c| c == mark)
}
