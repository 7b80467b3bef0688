//! Drops what nobody can say (emoji, control characters, marks that are left), and the white space around it.

use unicode_properties::{GeneralCategory, UnicodeEmoji, UnicodeGeneralCategory};

/// The text as an engine gets it; empty without a letter or a digit.
pub(super) fn tidy(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars().filter(|c| !is_dropped(*c)) {
        push(&mut out, if c.is_whitespace() { ' ' } else { c });
    }
    out.truncate(out.trim_end().len());
    if out.contains(char::is_alphanumeric) { out } else { String::new() }
}

/// White space once, and none before a mark.
fn push(out: &mut String, c: char) {
    if c == ' ' && (out.is_empty() || out.ends_with(' ')) {
        return;
    }
    if matches!(c, '.' | ',' | '!' | '?' | ';' | ':') && out.ends_with(' ') {
        out.pop();
    }
    out.push(c);
}

fn is_dropped(c: char) -> bool {
    use GeneralCategory::{Control, Format, OtherSymbol, PrivateUse, Surrogate, Unassigned};
    if c.is_ascii() {
        return (c.is_control() && !c.is_whitespace()) || "*_#~`|<>[]{}\\^".contains(c);
    }
    c.is_emoji_char()
        || matches!(
            c.general_category(),
            Control | Format | OtherSymbol | PrivateUse | Surrogate | Unassigned
        )
}
