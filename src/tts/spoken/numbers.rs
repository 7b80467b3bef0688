//! Digits to English words.
//!
//! The words come from `num2words`; what is here decides how digits are meant.

use num2words::Num2Words;

/// More digits than this are read one by one.
const MOST_DIGITS: usize = 15;

/// `1,234.5` as a quantity: "one thousand two hundred thirty-four point five".
pub(super) fn quantity(text: &str) -> String {
    let digits = text.replace(',', "");
    match digits.split_once('.') {
        Some((whole, part)) => format!("{} point {}", cardinal(whole), spell(part)),
        None => cardinal(&digits),
    }
}

/// A number without a unit: four digits may be a year, many a telephone number.
pub(super) fn number(text: &str) -> String {
    match text.len() {
        4 if is_year(text) => year(text),
        7.. if is_plain(text) && (text.len() >= 10 || !text.ends_with("000")) => spell(text),
        _ => quantity(text),
    }
}

/// Whether it is nothing but digits.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether four digits are said like a year.
pub(super) fn is_year(text: &str) -> bool {
    text.len() == 4 && is_plain(text) && ("1100".."2100").contains(&text)
}

/// Digits as a whole number; those with a leading zero are read one by one.
pub(super) fn cardinal(digits: &str) -> String {
    if digits.is_empty() {
        return "zero".to_owned();
    }
    if (digits.len() > 1 && digits.starts_with('0')) || digits.len() > MOST_DIGITS {
        return spell(digits);
    }
    words(digits, Num2Words::to_words)
}

/// "twenty-first"
pub(super) fn ordinal(digits: &str) -> String {
    words(digits, |number| number.ordinal().to_words())
}

/// "nineteen ninety-nine", "two thousand five"
pub(super) fn year(digits: &str) -> String {
    words(digits, |number| number.year().to_words()).replace("oh-", "oh ")
}

/// The ten years that begin with this one: "nineteen nineties".
pub(super) fn decade(digits: &str) -> String {
    let year = if digits.len() == 4 { year(digits) } else { cardinal(digits) };
    match year.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{year}s"),
    }
}

/// Digit by digit.
pub(super) fn spell(digits: &str) -> String {
    let names: Vec<&str> = digits.chars().filter_map(digit).collect();
    names.join(" ")
}

fn digit(c: char) -> Option<&'static str> {
    const NAMES: [&str; 10] =
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
    NAMES.get(c.to_digit(10)? as usize).copied()
}

/// Digits as `form` has it, or one by one where that cannot be.
fn words(digits: &str, form: impl FnOnce(Num2Words) -> Result<String, num2words::Num2Err>) -> String {
    let number = digits.replace(',', "").parse::<i64>().ok().filter(|_| digits.len() <= 2 * MOST_DIGITS);
    let said = number.and_then(|number| form(Num2Words::new(number)).ok());
    // It says "and" in some numbers and not in others; nobody misses it.
    said.map_or_else(|| spell(digits), |said| said.replace(" and ", " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_meant_in_many_ways() {
        let rows = [
            (quantity("0"), "zero"),
            (quantity("1,234.50"), "one thousand two hundred thirty-four point five zero"),
            (quantity(".5"), "zero point five"),
            (quantity("101"), "one hundred one"),
            (quantity("2026"), "two thousand twenty-six"),
            (
                quantity("1234567890123456"),
                "one two three four five six seven eight nine zero one two three four five six",
            ),
            (number("2026"), "twenty twenty-six"),
            (number("1905"), "nineteen oh five"),
            (number("1900"), "nineteen hundred"),
            (number("2000"), "two thousand"),
            (number("2005"), "two thousand five"),
            (number("1024"), "one thousand twenty-four"),
            (number("007"), "zero zero seven"),
            (number("5551234"), "five five five one two three four"),
            (number("8000000"), "eight million"),
            (ordinal("1"), "first"),
            (ordinal("22"), "twenty-second"),
            (ordinal("1,000"), "one thousandth"),
            (decade("1990"), "nineteen nineties"),
            (decade("2000"), "two thousands"),
            (decade("80"), "eighties"),
            (spell("90210"), "nine zero two one zero"),
        ];
        for (said, expected) in rows {
            assert_eq!(said, expected);
        }
    }
}
