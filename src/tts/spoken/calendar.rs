//! Dates and times of day in English words.

use super::english::{Around, Rule};
use super::numbers::{cardinal, ordinal, year};
use regex::Captures;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Names and abbreviations of months.
pub(super) const MONTH: &str = r"(?:Jan(?:uary|\.)?|Feb(?:ruary|\.)?|Mar(?:ch|\.)?|Apr(?:il|\.)?|May|June?\.?|July?\.?|Aug(?:ust|\.)?|Sept?(?:ember|\.)?|Oct(?:ober|\.)?|Nov(?:ember|\.)?|Dec(?:ember|\.)?)";

/// What is tried in this order.
pub(super) const RULES: &[Rule] = &[
    Rule {
        pattern: r"(?P<y>\d{4})-(?P<m>\d{2})-(?P<d>\d{2})(?:T(?P<h>\d{2}):(?P<min>\d{2})(?::\d{2}(?:\.[0-9]+)?)?Z?)?END",
        say: iso,
    },
    Rule { pattern: r"(?P<a>\d{1,2})/(?P<b>\d{1,2})/(?P<y>\d{4}|\d{2})END", say: with_slashes },
    Rule { pattern: r"(?P<d>\d{1,2})\.(?P<m>\d{1,2})\.(?P<y>\d{4})END", say: iso },
    Rule {
        pattern: r"(?P<name>MONTH)\s(?P<d>\d{1,2})(?:st|nd|rd|th)?(?:,?\s(?P<y>[12]\d{3}))?END",
        say: month_first,
    },
    Rule {
        pattern: r"(?P<d>\d{1,2})(?:st|nd|rd|th)?\s(?:of\s)?(?P<name>MONTH)(?:,?\s(?P<y>[12]\d{3}))?END",
        say: day_first,
    },
    Rule { pattern: r"(?P<name>MONTH)\s(?P<y>[12]\d{3})END", say: month_and_year },
    Rule {
        pattern: r"(?P<h>\d{1,2}):(?P<min>\d{2})(?::(?P<s>\d{2}))?(?:\s?(?P<half>[AaPp])(?:\.[Mm]\.|[Mm]END))?END",
        say: time,
    },
    Rule { pattern: r"(?P<h>\d{1,2})\s?(?P<half>[AaPp])(?:\.[Mm]\.|[Mm]END)", say: hour },
];

/// A part that may not be there.
fn part<'a>(captures: &'a Captures<'_>, name: &str) -> Option<&'a str> {
    captures.name(name).map(|found| found.as_str())
}

fn small(captures: &Captures<'_>, name: &str) -> Option<usize> {
    part(captures, name)?.parse().ok()
}

/// "November twenty-eighth, twenty twenty-six"
fn date(month: usize, day: usize, of_year: Option<&str>) -> Option<String> {
    let name = MONTHS.get(month.checked_sub(1)?).filter(|_| (1..=31).contains(&day))?;
    let year = of_year.map_or_else(String::new, |digits| format!(", {}", year_of(digits)));
    Some(format!("{name} {}{year}", ordinal(&day.to_string())))
}

/// Two digits of a year are said as they are.
fn year_of(digits: &str) -> String {
    if digits.len() == 4 { year(digits) } else { cardinal(digits).replace("zero ", "oh ") }
}

fn iso(captures: &Captures<'_>, around: Around<'_>) -> Option<String> {
    let day = date(small(captures, "m")?, small(captures, "d")?, part(captures, "y"))?;
    match part(captures, "h") {
        Some(_) => Some(format!("{day}, {}", time(captures, around)?)),
        None => Some(day),
    }
}

/// Month first, as in the language of these words; unless that cannot be.
fn with_slashes(captures: &Captures<'_>, _: Around<'_>) -> Option<String> {
    let (a, b) = (small(captures, "a")?, small(captures, "b")?);
    let year = part(captures, "y");
    date(a, b, year).or_else(|| date(b, a, year))
}

fn month_first(captures: &Captures<'_>, around: Around<'_>) -> Option<String> {
    if around.after.starts_with([':', '%', '-', '/']) {
        return None;
    }
    date(month_number(captures)?, small(captures, "d")?, part(captures, "y"))
}

fn day_first(captures: &Captures<'_>, around: Around<'_>) -> Option<String> {
    let (month, day) = (MONTHS.get(month_number(captures)? - 1)?, small(captures, "d")?);
    if !(1..=31).contains(&day) {
        return None;
    }
    let article = if around.before.trim_end().to_lowercase().ends_with("the") { "" } else { "the " };
    let year = part(captures, "y").map_or_else(String::new, |digits| format!(", {}", year(digits)));
    Some(format!("{article}{} of {month}{year}", ordinal(&day.to_string())))
}

fn month_and_year(captures: &Captures<'_>, _: Around<'_>) -> Option<String> {
    Some(format!("{} {}", MONTHS.get(month_number(captures)? - 1)?, year(part(captures, "y")?)))
}

/// From 1, of a name or of its beginning.
fn month_number(captures: &Captures<'_>) -> Option<usize> {
    let name = part(captures, "name")?.get(..3)?;
    MONTHS.iter().position(|month| month.starts_with(name)).map(|index| index + 1)
}

/// "ten thirty", "ten oh five p.m.", "twelve o'clock"
fn time(captures: &Captures<'_>, _: Around<'_>) -> Option<String> {
    let (hours, minutes) = (small(captures, "h")?, small(captures, "min")?);
    if hours > 24 || minutes > 59 {
        return None;
    }
    let (half, seconds) = (part(captures, "half"), small(captures, "s"));
    let minutes = match minutes {
        0 if half.is_none() && seconds.is_none() => " o'clock".to_owned(),
        0 => String::new(),
        1..10 => format!(" oh {}", cardinal(&minutes.to_string())),
        _ => format!(" {}", cardinal(&minutes.to_string())),
    };
    let seconds = seconds.map_or_else(String::new, |s| format!(" and {} seconds", cardinal(&s.to_string())));
    Some(format!("{}{minutes}{seconds}{}", cardinal(&hours.to_string()), half_of_day(half)))
}

fn hour(captures: &Captures<'_>, _: Around<'_>) -> Option<String> {
    let hours = small(captures, "h").filter(|hours| (1..=12).contains(hours))?;
    Some(cardinal(&hours.to_string()) + half_of_day(part(captures, "half")))
}

/// With full stops, which tell engines to spell it; they end a sentence as well.
fn half_of_day(letter: Option<&str>) -> &'static str {
    match letter {
        Some("a" | "A") => " a.m.",
        Some(_) => " p.m.",
        None => "",
    }
}
