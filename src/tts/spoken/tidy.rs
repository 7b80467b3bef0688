//! Drops what nobody can say (emoji, control characters, marks that are left), and the white space around it.

use unicode_properties::{GeneralCategory, UnicodeEmoji, UnicodeGeneralCategory};

/// A word of ASCII that is longer than this is a key, a hash or an address: nobody wants to hear it.
const LONGEST_WORD: usize = 60;

/// The text as an engine gets it; empty without a letter or a digit.
pub(super) fn tidy(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split(char::is_whitespace).filter(|word| !is_noise(word)) {
        push(&mut out, ' ');
        letters(word, &mut out);
    }
    out.truncate(out.trim_end().len());
    let said = out.trim_start_matches(|c: char| !(c.is_alphanumeric() || "\"'“‘«„¿¡(".contains(c)));
    if said.contains(char::is_alphanumeric) { said.to_owned() } else { String::new() }
}

fn is_noise(word: &str) -> bool {
    word.len() > LONGEST_WORD && word.is_ascii()
}

fn letters(word: &str, out: &mut String) {
    let mut chars = word.chars().peekable();
    while let Some(c) = chars.next() {
        if is_joiner(c) {
            // Between letters of some scripts they matter, between emoji they do not.
            let joins = out.ends_with(is_letter) && chars.peek().is_some_and(|next| is_letter(*next));
            if joins {
                out.push(c);
            }
        } else if is_space(c) {
            push(out, ' ');
        } else if !is_dropped(c) {
            push(out, c);
        }
    }
}

/// White space once and none before a mark; no mark behind a weaker one.
fn push(out: &mut String, c: char) {
    let is_stop = |c: char| matches!(c, '.' | ',' | '!' | '?' | ';' | ':');
    match c {
        ' ' if out.is_empty() || out.ends_with(' ') => return,
        '—' | '-' if out.ends_with('-') => {
            out.pop();
            out.push('—');
            return;
        }
        '-' | '—' if out.ends_with('—') => return,
        c if is_stop(c) => {
            out.truncate(out.trim_end().len());
            if out.ends_with([',', ';', ':']) {
                out.pop();
            }
        }
        _ => {}
    }
    out.push(c);
}

fn is_letter(c: char) -> bool {
    c.is_alphabetic() || matches!(c.general_category(), GeneralCategory::NonspacingMark)
}

fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

/// Marks between which words stand.
fn is_space(c: char) -> bool {
    matches!(c, '_' | '|' | '\\' | '<' | '>' | '[' | ']' | '{' | '}' | '^' | '~')
}

fn is_dropped(c: char) -> bool {
    use GeneralCategory as Is;
    if c.is_ascii() {
        return c.is_control() || "*#`".contains(c);
    }
    let category = c.general_category();
    c.is_emoji_char()
        || matches!(category, Is::Control | Is::Format | Is::PrivateUse | Is::Surrogate | Is::Unassigned)
        || matches!(category, Is::OtherSymbol | Is::MathSymbol | Is::ModifierSymbol)
        // What makes an emoji of a letter.
        || matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{20e3}')
}
