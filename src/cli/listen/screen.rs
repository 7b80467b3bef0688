//! What a terminal shows of a session: events in, pieces of output out. Pure.
//!
//! Below the final texts stands a block in grey: what is being said, as far as it is known, and whether it waits. It is
//! written anew whenever it changes, and never longer than a few lines, so that it stays where it is.

use crate::load::DictationEvent;
use std::collections::VecDeque;
use std::time::Duration;

const GREY: &str = "\x1b[90m";
const PLAIN: &str = "\x1b[0m";
/// To the beginning of the line, and everything from there on is gone.
const ERASE: &str = "\r\x1b[J";

/// The block has no more lines than this; of what is longer, the end is shown.
const MOST_LINES: usize = 4;

/// Items that are remembered without a text. Servers that leave more are wrong, and lose the oldest.
const MOST_ITEMS: usize = 256;

/// How much is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Final texts alone, for whoever reads them next.
    Plain,
    /// Final texts with their times: a terminal that is to have no colours.
    Timed,
    /// The same, and what is being said below them.
    Live,
}

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// For standard output, as it is.
    Out(String),
    /// A line for standard error.
    Note(String),
}

/// What was begun and has no final text.
#[derive(Debug)]
struct Item {
    name: String,
    at: Option<Duration>,
    text: String,
}

/// A terminal.
#[derive(Debug)]
pub(super) struct Screen {
    look: Look,
    width: usize,
    items: VecDeque<Item>,
    waiting: Option<String>,
    /// The block, as it stands there.
    drawn: Vec<String>,
}

impl Screen {
    /// An empty one, so many characters wide.
    pub(super) fn new(look: Look, width: usize) -> Self {
        Self { look, width, items: VecDeque::new(), waiting: None, drawn: Vec::new() }
    }

    /// The terminal is so wide from now on.
    pub(super) fn resize(&mut self, width: usize) {
        self.width = width;
    }

    /// What an event changes.
    pub(super) fn show(&mut self, event: &DictationEvent) -> Vec<Piece> {
        let above = self.take(event);
        self.redraw(above)
    }

    /// A line for standard error.
    pub(super) fn note(&mut self, line: &str) -> Vec<Piece> {
        self.redraw(Some(Piece::Note(clean(line))))
    }

    /// Takes the block away.
    pub(super) fn close(&mut self) -> Vec<Piece> {
        self.items.clear();
        self.waiting = None;
        self.redraw(None)
    }

    /// Takes note of an event; what is to stand above the block for it.
    fn take(&mut self, event: &DictationEvent) -> Option<Piece> {
        match event {
            DictationEvent::SpeechStarted { item, at } => self.item(item).at = Some(*at),
            DictationEvent::Delta { item, text } => self.item(item).text.push_str(&clean(text)),
            DictationEvent::Final { item, text } => {
                let at = self.end(item);
                let text = clean(text);
                let text = text.trim();
                return (!text.is_empty()).then(|| Piece::Out(self.line(at, text)));
            }
            DictationEvent::Failed { item, code, message } => {
                let when = self.end(item).map(|at| format!(" at {}", clock(at))).unwrap_or_default();
                return Some(told("error", &format!("no text for what was said{when}"), message, code));
            }
            DictationEvent::InLine { position, estimate } => {
                self.waiting = Some(in_line(*position, *estimate));
            }
            DictationEvent::Granted => self.waiting = None,
            DictationEvent::Interims { paused } => return Some(Piece::Note(interims(*paused).to_owned())),
            DictationEvent::Closing { reason, .. } => {
                let line = format!("note: the server closes the session: {reason}");
                return Some(Piece::Note(clean(&line)));
            }
            DictationEvent::Trouble { code, message } => {
                return Some(told("error", "the server complains", message, code));
            }
            DictationEvent::Committed { .. } | DictationEvent::Cleared | DictationEvent::Other => {}
        }
        None
    }

    fn item(&mut self, name: &str) -> &mut Item {
        let known = self.items.iter().position(|item| item.name == name);
        let at = known.unwrap_or_else(|| {
            if self.items.len() == MOST_ITEMS {
                self.items.pop_front();
            }
            self.items.push_back(Item { name: name.to_owned(), at: None, text: String::new() });
            self.items.len() - 1
        });
        &mut self.items[at]
    }

    /// An item is over; where it began.
    fn end(&mut self, name: &str) -> Option<Duration> {
        self.waiting = None;
        let at = self.items.iter().position(|item| item.name == name)?;
        self.items.remove(at)?.at
    }

    fn line(&self, at: Option<Duration>, text: &str) -> String {
        let time = at.map(clock).unwrap_or_default();
        match self.look {
            Look::Plain => format!("{text}\n"),
            Look::Timed | Look::Live => format!("{time:>8}  {text}\n"),
        }
    }

    /// Writes `above` and, below it, the block, if there is anything new.
    fn redraw(&mut self, above: Option<Piece>) -> Vec<Piece> {
        if self.look != Look::Live {
            return above.into_iter().collect();
        }
        let block = self.block();
        if above.is_none() && block == self.drawn {
            return Vec::new();
        }
        let erase = erase(self.drawn.len());
        let draw =
            if block.is_empty() { String::new() } else { format!("{GREY}{}{PLAIN}", block.join("\n")) };
        self.drawn = block;
        let pieces = match above {
            None => vec![Piece::Out(erase + &draw)],
            Some(Piece::Out(text)) => vec![Piece::Out(erase + &text + &draw)],
            Some(note) => vec![Piece::Out(erase), note, Piece::Out(draw)],
        };
        pieces.into_iter().filter(|piece| *piece != Piece::Out(String::new())).collect()
    }

    /// The lines below the final texts.
    fn block(&self) -> Vec<String> {
        if self.items.is_empty() && self.waiting.is_none() {
            return Vec::new();
        }
        let said = self.items.iter().map(|item| item.text.trim()).filter(|text| !text.is_empty());
        let said = said.collect::<Vec<_>>().join(" ");
        let waiting = self.waiting.as_ref().map(|waiting| format!("({waiting})"));
        // Somebody speaks, and nothing is known yet.
        let said = if said.is_empty() && waiting.is_none() { "…".to_owned() } else { said };
        let words: Vec<&str> = said.split_whitespace().chain(waiting.as_deref()).collect();
        // A line that is full to its last character makes some terminals begin the next one.
        let mut lines = wrapped(&words, self.width.saturating_sub(1).max(8));
        if lines.len() > MOST_LINES {
            lines.drain(..lines.len() - MOST_LINES);
            lines[0] = format!("…{}", lines[0].chars().skip(1).collect::<String>());
        }
        lines
    }
}

/// Takes away a block of so many lines; the cursor stands at the end of the last one.
fn erase(lines: usize) -> String {
    match lines {
        0 => String::new(),
        1 => ERASE.to_owned(),
        lines => format!("\x1b[{}A{ERASE}", lines - 1),
    }
}

/// Lines of words that are no wider than that. A word that is wider is broken.
fn wrapped(words: &[&str], width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut used = 0;
    for word in words {
        let wide = columns(word);
        if used > 0 && used + 1 + wide <= width {
            let line = lines.last_mut().expect("something stands there");
            line.push(' ');
            line.push_str(word);
            used += 1 + wide;
            continue;
        }
        lines.push(String::new());
        used = 0;
        for c in word.chars() {
            let wide = width_of(c);
            if used + wide > width {
                lines.push(String::new());
                used = 0;
            }
            lines.last_mut().expect("one was pushed").push(c);
            used += wide;
        }
    }
    lines
}

fn columns(text: &str) -> usize {
    text.chars().map(width_of).sum()
}

/// How many columns a character takes: none for accents that follow their letter, two for the scripts of East Asia and for
/// pictures, one for all others.
fn width_of(c: char) -> usize {
    match c {
        '\u{300}'..='\u{36f}' | '\u{200b}'..='\u{200f}' | '\u{fe00}'..='\u{fe0f}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

/// Nothing that a server says is an order to the terminal.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn told(kind: &str, what: &str, message: &str, code: &str) -> Piece {
    let reason = if message.is_empty() { code.to_owned() } else { format!("{message} ({code})") };
    Piece::Note(clean(&format!("{kind}: {what}: {reason}")))
}

fn interims(paused: bool) -> &'static str {
    if paused {
        "note: the server is busy, words come when an utterance ends"
    } else {
        "note: words come again while they are spoken"
    }
}

fn in_line(position: u64, estimate: Option<Duration>) -> String {
    let about = estimate.map(|wait| format!(", about {} s", wait.as_millis().div_ceil(1_000).max(1)));
    format!("waiting, {} in line{}", ordinal(position), about.unwrap_or_default())
}

/// `1st`, `12th`, `23rd`.
fn ordinal(number: u64) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

/// `0:04.2`, `1:02:03.4`.
fn clock(at: Duration) -> String {
    let tenths = at.as_millis() / 100;
    let (seconds, tenth) = (tenths / 10, tenths % 10);
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}.{tenth}")
    } else {
        format!("{minutes}:{seconds:02}.{tenth}")
    }
}

#[cfg(test)]
mod tests;
