//! Where the next phrase of a text ends.
//!
//! It is read from left to right, and the first cut is taken that no continuation of the text could undo. That makes
//! the cuts the same in whichever pieces the text arrives.

use super::abbreviations::{Stop, stop_behind};
use super::block::{Block, Opening, Place, opening};
use super::inline::{Look, atom};
use super::scripts::{is_end_mark, is_full_width, is_ideographic, is_mark, is_unspaced};

/// A word counts two, a letter of a script without spaces one: words are about two letters long there.
const WORD: usize = 2;

/// How much a first phrase has when a clause ends it.
const CLAUSE: usize = 3 * WORD;

/// How much a first phrase has when a sentence ends it.
const SENTENCE: usize = 2 * WORD;

/// How much a first phrase has when a word that joins clauses ends it.
const JOINED: usize = 4 * WORD;

/// The longest first phrase, where there is a good place to cut it.
const FIRST: usize = 8 * WORD;

/// The longest first phrase where there is none, as behind a number that belongs to the next word.
const FIRST_AT_MOST: usize = 12 * WORD;

/// The longest other phrase in characters, where there is a space in it.
pub(super) const LONGEST: usize = 250;

/// A clause shorter than this, in characters, is no place to cut a sentence that is too long.
const SHORT_CLAUSE: usize = 60;

/// The longest phrase without any space in it, in characters.
const LONGEST_WORD: usize = 1000;

/// Words before which a first phrase may end.
const JOINTS: &[&str] = &[
    "and", "but", "or", "so", "because", "which", "who", "that", "when", "where", "while", "if", "although",
    "though", "since", "until", "unless", "before", "after", "und", "aber", "oder", "weil", "et", "mais",
    "ou", "y", "pero", "o", "porque", "que",
];

/// The length in bytes of the phrase that begins `text`, if it is certain.
pub(super) fn find(text: &str, place: &Place, at_end: bool) -> Option<usize> {
    if let Block::Fence { .. } = place.block {
        return line_of_code(text);
    }
    let content = text.trim_start();
    let skipped = text.len() - content.len();
    if content.is_empty() || skipped > LONGEST_WORD {
        return (skipped > LONGEST_WORD).then(|| text.floor_char_boundary(LONGEST_WORD));
    }
    let opening = if place.line_start || text[..skipped].contains('\n') {
        match opening(content, at_end) {
            Look::Found(opening) => opening,
            Look::Nothing | Look::More => return None,
        }
    } else {
        Opening { block: place.block, length: 0 }
    };
    if let Block::Fence { .. } = opening.block {
        return line_of_code(content).map(|length| skipped + length);
    }
    Scan::new(text, skipped + opening.length, opening.block, place.first, at_end).run()
}

/// A line, or as much of it as is bearable.
fn line_of_code(text: &str) -> Option<usize> {
    match text.char_indices().take(LONGEST).find(|(_, c)| *c == '\n') {
        Some((at, _)) => Some(at + 1),
        None => text.char_indices().nth(LONGEST).map(|(at, _)| at),
    }
}

/// One reading of a text from left to right.
struct Scan<'a> {
    text: &'a str,
    at_end: bool,
    first: bool,
    block: Block,
    at: usize,
    chars: usize,
    /// What was read, in [`WORD`]s; a word counts when it has begun.
    size: usize,
    in_word: bool,
    /// Where the last word begins.
    word: usize,
    /// The last place between clauses, and between words.
    clause: Option<usize>,
    gap: Option<usize>,
    /// Runs of asterisks so far: after an odd number the next one closes.
    emphases: usize,
}

/// What is at a place.
enum Found {
    /// The phrase ends there.
    Cut(usize),
    /// Nothing; reading goes on behind this.
    Pass(usize),
    /// It depends on what follows.
    Wait,
}

/// How good a place between two letters is to end a phrase.
enum Break {
    Good,
    Fair,
    Poor,
    Never,
}

impl<'a> Scan<'a> {
    fn new(text: &'a str, at: usize, block: Block, first: bool, at_end: bool) -> Self {
        Self {
            text,
            at_end,
            first,
            block,
            at,
            chars: text[..at].chars().count(),
            size: 0,
            in_word: false,
            word: at,
            clause: None,
            gap: None,
            emphases: 0,
        }
    }

    fn run(mut self) -> Option<usize> {
        while let Some(next) = self.text[self.at..].chars().next() {
            if let Some(cut) = self.cut_by_length() {
                return Some(cut);
            }
            match self.look(next) {
                Found::Cut(at) => return Some(at),
                Found::Wait => return None,
                Found::Pass(to) => {
                    self.chars += self.text[self.at..to].chars().count();
                    self.at = to;
                }
            }
        }
        None
    }

    /// A phrase that is too long ends where it hurts least.
    fn cut_by_length(&self) -> Option<usize> {
        if self.chars <= LONGEST {
            return None;
        }
        let place = self.clause.or(self.gap);
        if self.chars > LONGEST_WORD { place.or(Some(self.at)) } else { place }
    }

    fn look(&mut self, next: char) -> Found {
        let rest = &self.text[self.at..];
        match atom(rest, self.at_end) {
            Look::Found(atom) => {
                self.count(rest[..atom.length].split_whitespace().count().max(1) * WORD);
                return Found::Pass(self.at + atom.length);
            }
            Look::More => return Found::Wait,
            Look::Nothing => {}
        }
        let behind = self.at + next.len_utf8();
        match next {
            '\n' => Found::Cut(behind),
            '*' => self.emphasis(),
            '|' if self.block == Block::Row => self.clause_ends(behind),
            '.' | '!' | '?' | '…' | '。' | '！' | '？' | '．' | '｡' | '؟' | '।'
                if self.block != Block::Row =>
            {
                self.mark(next)
            }
            ',' | ';' | ':' | '—' | '–' | '-' | '、' | '，' | '；' | '：' | '،' => {
                self.clause_mark(next)
            }
            next if next.is_whitespace() => self.space(behind),
            next => self.letter(next, behind),
        }
    }

    fn count(&mut self, size: usize) {
        self.size += size;
        self.in_word = true;
    }

    fn emphasis(&mut self) -> Found {
        self.emphases += 1;
        let rest = &self.text[self.at..];
        Found::Pass(self.at + rest.len() - rest.trim_start_matches('*').len())
    }

    fn letter(&mut self, next: char, behind: usize) -> Found {
        if is_unspaced(next) {
            match self.break_before(next) {
                Break::Good if self.first && self.size >= FIRST => return Found::Cut(self.at),
                Break::Fair if self.first && self.size >= FIRST_AT_MOST => return Found::Cut(self.at),
                Break::Never => {}
                _ => self.gap = Some(self.at),
            }
            self.size += 1;
            self.in_word = false;
        } else if next.is_alphanumeric() && !self.in_word {
            self.count(WORD);
        }
        Found::Pass(behind)
    }

    /// How good a place to cut is before `next`, a letter of a script without spaces.
    fn break_before(&self, next: char) -> Break {
        let Some(before) = self.text[..self.at].chars().next_back().filter(|_| self.at > self.word) else {
            return Break::Never;
        };
        if is_mark(next)
            || "\"'“‘(（「『【《〈[*_~`#<\u{200d}เแโใไ".contains(before)
            || before.is_ascii_digit()
        {
            return Break::Never;
        }
        match (before, next) {
            // A Japanese phrase mostly ends in hiragana, and the next one begins with something else.
            ('\u{3041}'..='\u{3096}', next) if !matches!(next, '\u{3041}'..='\u{3096}' | 'ー') => {
                Break::Good
            }
            (_, next) if is_ideographic(next) => Break::Fair,
            _ => Break::Poor,
        }
    }

    fn space(&mut self, behind: usize) -> Found {
        let word = &self.text[self.word..self.at];
        let ended = std::mem::replace(&mut self.in_word, false);
        let place = self.at;
        self.word = behind;
        if word.is_empty() || self.size == 0 {
            return Found::Pass(behind);
        }
        let breakable = ended && !binds(word);
        if breakable {
            self.gap = Some(place);
        }
        if !self.first {
            return Found::Pass(behind);
        }
        if (breakable && self.size >= FIRST) || self.size >= FIRST_AT_MOST {
            return Found::Cut(place);
        }
        if breakable && self.size >= JOINED {
            return match self.joint(behind) {
                Look::Found(()) => Found::Cut(place),
                Look::Nothing => Found::Pass(behind),
                Look::More => Found::Wait,
            };
        }
        Found::Pass(behind)
    }

    /// Whether the next word joins clauses.
    fn joint(&self, from: usize) -> Look<()> {
        let rest = self.text[from..].trim_start_matches(' ');
        match rest.find(|c: char| !c.is_alphabetic()) {
            None if self.at_end || rest.len() > 20 => Look::Nothing,
            None => Look::More,
            Some(end) if JOINTS.contains(&&rest[..end]) && rest[end..].starts_with(' ') => Look::Found(()),
            Some(_) => Look::Nothing,
        }
    }

    /// A mark that may end a sentence.
    fn mark(&mut self, next: char) -> Found {
        let rest = &self.text[self.at..];
        let marks = rest.len() - rest.trim_start_matches(is_end_mark).len();
        let run = &rest[..marks];
        let full_width = is_full_width(next);
        let closers = self.closers(&rest[marks..], full_width);
        let end = self.at + marks + closers;
        let Some(follows) = self.text[end..].chars().next() else {
            return if self.at_end { Found::Pass(end) } else { Found::Wait };
        };
        if !(follows.is_whitespace() || full_width || is_unspaced(follows)) {
            return Found::Pass(self.at + marks);
        }
        match self.ends_sentence(run, closers > 0, end) {
            Look::Found(()) if self.first && self.size < SENTENCE => Found::Pass(end),
            Look::Found(()) => Found::Cut(end + usize::from(follows == '\n')),
            Look::Nothing => Found::Pass(end),
            Look::More => Found::Wait,
        }
    }

    /// Whether marks that white space follows end a sentence.
    fn ends_sentence(&self, run: &str, closed: bool, end: usize) -> Look<()> {
        let stop = match run {
            "." if !closed => stop_behind(&self.text[self.word..self.at]),
            "." | "!" | "?" if !closed => Stop::Sentence,
            "。" | "！" | "？" | "।" | "؟" => Stop::Sentence,
            _ => Stop::Either,
        };
        match stop {
            Stop::Sentence => Look::Found(()),
            Stop::Word => Look::Nothing,
            Stop::Either => self.sentence_begins(end),
        }
    }

    /// Whether what follows does not go on with a small letter.
    fn sentence_begins(&self, from: usize) -> Look<()> {
        let rest = self.text[from..].trim_start_matches([' ', '\t', '*', '_', '"', '“', '(']);
        match rest.chars().next() {
            None if self.at_end => Look::Found(()),
            None => Look::More,
            Some(c) if c.is_lowercase() || matches!(c, ',' | ';' | ':' | '—' | '–') => Look::Nothing,
            Some(_) => Look::Found(()),
        }
    }

    /// Bytes of quotes, brackets and emphasis that close behind a mark.
    fn closers(&self, rest: &str, full_width: bool) -> usize {
        let closes = |c: char| match c {
            '*' | '_' | '~' => !full_width || self.emphases % 2 == 1,
            _ => "\"'”’)]}»›」』）】》〉".contains(c),
        };
        rest.len() - rest.trim_start_matches(closes).len()
    }

    /// A mark that may end a clause.
    fn clause_mark(&mut self, next: char) -> Found {
        let rest = &self.text[self.at..];
        let marks = rest.len() - rest.trim_start_matches(next).len();
        let full_width = is_full_width(next) || next == '—';
        let end = self.at + marks + self.closers(&rest[marks..], full_width);
        let Some(follows) = self.text[end..].chars().next() else {
            return if self.at_end { Found::Pass(end) } else { Found::Wait };
        };
        let alone = self.at == self.word;
        let is_clause = match next {
            '-' => (marks == 2 && !alone) || (alone && follows.is_whitespace()),
            '–' => alone && follows.is_whitespace(),
            _ => full_width || follows.is_whitespace(),
        };
        if !is_clause {
            return Found::Pass(self.at + marks);
        }
        match self.number_goes_on(end) {
            Look::Nothing => self.clause_ends(end),
            Look::Found(()) => Found::Pass(end),
            Look::More => Found::Wait,
        }
    }

    /// `November 28, 2026`: a number before the mark and one behind it.
    fn number_goes_on(&self, end: usize) -> Look<()> {
        if !self.text[..self.at].ends_with(|c: char| c.is_ascii_digit()) {
            return Look::Nothing;
        }
        match self.text[end..].trim_start_matches(' ').chars().next() {
            None if !self.at_end => Look::More,
            Some(c) if c.is_ascii_digit() => Look::Found(()),
            _ => Look::Nothing,
        }
    }

    fn clause_ends(&mut self, end: usize) -> Found {
        if self.first && self.size >= CLAUSE {
            return Found::Cut(end);
        }
        if self.chars >= SHORT_CLAUSE {
            self.clause = Some(end);
        }
        self.in_word = false;
        Found::Pass(end)
    }
}

/// Whether a word belongs to the next one: `5` (km), `Dr.` (Smith), `$` (5).
fn binds(word: &str) -> bool {
    let last = word.chars().next_back();
    last.is_some_and(|c| c.is_ascii_digit() || "$€£#@&+=/<>~^([{“‘".contains(c))
        || word.strip_suffix('.').is_some_and(|word| stop_behind(word) == Stop::Word)
}
