//! Numbers with what belongs to them, in English words: money, units, percentages, ranges, fractions, versions.

#![expect(clippy::unnecessary_wraps, reason = "rules have one form")]

use super::english::{Around, Rule};
use super::numbers::{cardinal, decade, is_year, number, ordinal, quantity, spell, year};
use super::units::{Unit, magnitude, money, unit};
use super::words::letters_and_digits;
use regex::Captures;

pub(super) use super::units::unit_pattern;

/// What is tried in this order.
pub(super) const RULES: &[Rule] = &[
    Rule { pattern: r"\+\d{1,3}(?:[ ./-]?\(?\d{1,5}\)?){2,6}END", say: telephone },
    Rule { pattern: r"\(\d{3,5}\) ?\d{3,}(?:[ -]\d{2,})*END", say: telephone },
    Rule { pattern: r"\d{3}[-. ]\d{3}[-. ]\d{4}END", say: telephone },
    Rule { pattern: r"\d{3}-\d{4}END", say: telephone },
    Rule { pattern: r"\d+(?:-\d+){2,}END", say: telephone },
    Rule { pattern: r"0\d{2,5}[ /-]\d{3,}(?:[ -]\d{2,})*END", say: telephone },
    Rule { pattern: r"\d{4}(?: \d{4}){2,}END", say: telephone },
    Rule { pattern: r"[vV](?P<version>\d+(?:\.\d+)*)END", say: version },
    Rule { pattern: r"\d+(?:\.\d+){2,}END", say: dotted },
    Rule {
        pattern: r"(?P<sign>[-−+]?)(?P<money>(?:US|C|A|CA|AU)?\$|[€£¥₹₩]) ?(?P<n>NUM)(?:[-–—](?P<money2>[$€£¥₹₩]?)(?P<to>NUM))?(?:(?P<size>[kKMBT]|bn|tn|m)END| (?P<size2>thousand|million|billion|trillion)END)?",
        say: price,
    },
    Rule {
        pattern: r"(?P<sign>[-−+]?)(?P<n>NUM)(?:[-–—](?P<to>NUM))? ?(?P<money>[€£¥₹]|(?:USD|EUR|GBP|CHF|JPY)END)",
        say: price,
    },
    Rule { pattern: r"(?P<sign>[-−+]?)(?P<n>NUM)(?:(?: ?– ?|-)(?P<to>NUM))? ?%", say: percent },
    Rule { pattern: r"(?P<n>\d{1,3}(?:,\d{3})+|\d+)(?:st|nd|rd|th)END", say: nth },
    Rule { pattern: r"(?P<n>(?:1\d|20)\d0|[2-9]0)(?:'|’)?sEND", say: years },
    Rule { pattern: r"(?P<a>\d+) (?P<n>\d{1,2})/(?P<d>\d{1,3})END", say: mixed },
    Rule { pattern: r"(?P<n>\d{1,4})/(?P<d>\d{1,4})END", say: fraction },
    Rule {
        pattern: r"(?P<n>NUM)(?: ?x ?| ?× ?)(?P<to>NUM)(?:(?: ?x ?| ?× ?)(?P<third>NUM))?(?: ?(?P<unit>UNIT))?END",
        say: dimensions,
    },
    Rule { pattern: r"(?P<n>NUM)(?:(?: ?– ?|-)(?P<to>NUM))(?P<gap>[ -]?)(?P<unit>UNIT)END", say: measure },
    Rule { pattern: r"(?P<sign>[-−+]?)(?P<n>NUM)(?P<gap>[ -]?)(?P<unit>UNIT)END", say: measure },
    Rule { pattern: r"(?P<n>NUM)(?: ?– ?|-|—)(?P<to>NUM)END", say: range },
    Rule { pattern: r"(?P<n>\d+)['’′](?P<to>\d{1,2})(?:[\x22”″]|END)", say: feet },
    Rule { pattern: r"(?P<n>\d+):(?P<to>\d+)END", say: ratio },
    Rule { pattern: r"(?P<n>NUM)(?P<size>[kKMB]|bn)END", say: sized },
    Rule { pattern: r"(?P<sign>[-−+])(?P<n>NUM)END", say: signed },
    Rule { pattern: r"\d+(?:\.\d+)?\p{Latin}[\p{Latin}\d]*END", say: letters_and_digits },
    Rule { pattern: r"NUM", say: plain },
];

fn part<'a>(captures: &'a Captures<'_>, name: &str) -> Option<&'a str> {
    captures.name(name).map(|found| found.as_str()).filter(|found| !found.is_empty())
}

/// The amount of a quantity, or of two: "minus three", "three to five".
fn amount(captures: &Captures<'_>) -> Option<String> {
    let from = quantity(part(captures, "n")?);
    let sign = sign(captures);
    Some(match part(captures, "to") {
        Some(to) => format!("{sign}{from} to {}", quantity(to)),
        None => format!("{sign}{from}"),
    })
}

fn sign(captures: &Captures<'_>) -> &'static str {
    match part(captures, "sign") {
        Some("+") => "plus ",
        Some(_) => "minus ",
        None => "",
    }
}

/// Digit by digit, with a pause between groups. A long run that was not grouped is one group.
fn telephone(captures: &Captures<'_>, around: Around<'_>) -> Option<String> {
    let text = &captures[0];
    if around.after.starts_with(['/', ':', '%']) {
        return None;
    }
    let groups = text.split(|c: char| !c.is_ascii_digit()).filter(|group| !group.is_empty());
    let groups: Vec<String> = groups.map(spell).collect();
    let plus = if text.starts_with('+') { "plus " } else { "" };
    Some(format!("{plus}{}", groups.join(", ")))
}

fn version(captures: &Captures<'_>, _: Around<'_>) -> Option<String> {
    Some(format!("version {}", by_parts(part(captures, "version")?, " point ")))
}

/// A version, or an address of the Internet.
fn dotted(captures: &Captures<'_>, _: Around<'_>) -> Option<String> {
    let text = &captures[0];
    let is_address = text.split('.').count() == 4 && text.split('.').all(|part| part.parse::<u8>().is_ok());
    Some(by_parts(text, if is_address { " dot " } else { " point " }))
}

fn by_parts(text: &str, mark: &str) -> String {
    let parts: Vec<String> = text.split('.').map(cardinal).collect();
    parts.join(mark)
}

/// "five dollars and fifty cents", "three to five million euros"
fn price(captures: &Captures<'_>, _: Around<'_>) -> Option<String> {
    let currency = money(part(captures, "money")?)?;
    let n = part(captures, "n")?;
    let size = part(captures, "size").or(part(captures, "size2")).map(magnitude);
    if let (None, None, Some((whole, cents))) = (size, part(captures, "to"), n.split_once('.'))
        && cents.len() == 2
        && let Some(small) = currency.part
    {
        return Some(sign(captures).to_owned() + &coins(whole, cents, currency.unit, small));
    }
    let amount = amount(captures)?;
    let size = size.map_or_else(String::new, |size| format!(" {size}"));
    let one = amount == "one" && size.is_empty();
    Some(format!("{amount}{size} {}", currency.unit.name(one)))
}

fn coins(whole: &str, cents: &str, unit: Unit, small: Unit) -> String {
    let whole = whole.replace(',', "");
    let few = cents.trim_start_matches('0');
    let of = |digits: &str, unit: Unit| format!("{} {}", cardinal(digits), unit.name(digits == "1"));
    match (whole.trim_start_matches('0'), few) {
        (_, "") => of(&whole, unit),
        ("", few) => of(few, small),
        (_, few) => format!("{} and {}", of(&whole, unit), of(few, small)),
    }
}

fn percent(captures: &Captures<'_>, _: Around<'_>) -> Option<String> {
    Some(format!("{} percent", amount(captures)?))
}

fn nth(captures: &Captures<'_>, _: Around<'_>) -> Option<String> {
    Some(ordinal(part(captures, "n")?))
}

/// `the 90s`, `1990s`; but `30s` alone are seconds.
fn years(captures: &Captures<'_>, around: Around<'_>) -> Option<String> {
    let n = part(captures, "n")?;
    let before = around.before.trim_end().to_lowercase();
    let is_decade = n.len() == 4
        || ["the", "'", "’", "early", "late", "mid", "mid-", "0s and", "0s or"]
            .iter()
            .any(|word| before.ends_with(word));
    is_decade.then(|| decade(n))
}

/// "two and a half" is said as "two and one half".
fn mixed(captures: &Captures<'_>, _: Around<'_>) -> Option<String> {
    let (n, d) = (part(captures, "n")?.parse().ok()?, part(captures, "d")?.parse().ok()?);
    Some(format!("{} and {}", cardinal(part(captures, "a")?), proper(n, d)?))
}

fn fraction(captures: &Captures<'_>, around: Around<'_>) -> Option<String> {
    if around.after.starts_with('/') {
        return None;
    }
    let (n, d): (u32, u32) = (part(captures, "n")?.parse().ok()?, part(captures, "d")?.parse().ok()?);
    let (top, bottom) = (cardinal(&n.to_string()), cardinal(&d.to_string()));
    Some(match (n, d) {
        (24, 7) | (9, 11) | (20, 20) => format!("{top} {bottom}"),
        (_, 5 | 10 | 100) if n == d => format!("{top} out of {bottom}"),
        (_, 10 | 100) => format!("{top} out of {bottom}"),
        _ => proper(n, d).unwrap_or_else(|| format!("{top} over {bottom}")),
    })
}

/// "one half", "three quarters", "two fifths"
fn proper(n: u32, d: u32) -> Option<String> {
    let part = match d {
        2 => "half".to_owned(),
        4 => "quarter".to_owned(),
        3..=20 => ordinal(&d.to_string()),
        _ => return None,
    };
    let many = match (n, d) {
        (1, _) => part,
        (_, 2) => "halves".to_owned(),
        _ => part + "s",
    };
    (n > 0 && n < d).then(|| format!("{} {many}", cardinal(&n.to_string())))
}

fn dimensions(captures: &Captures<'_>, _: Around<'_>) -> Option<String> {
    let sides = ["n", "to", "third"].iter().filter_map(|side| part(captures, side));
    let sides: Vec<String> = sides.map(quantity).collect();
    let unit = part(captures, "unit")
        .and_then(unit)
        .map_or_else(String::new, |unit| format!(" {}", unit.name(false)));
    Some(sides.join(" by ") + &unit)
}

/// "five kilometers", "three to five kilometers"; `5-km` is "five kilometer".
fn measure(captures: &Captures<'_>, _: Around<'_>) -> Option<String> {
    let unit = unit(part(captures, "unit")?)?;
    let amount = amount(captures)?;
    let one = amount == "one" || part(captures, "gap") == Some("-");
    Some(format!("{amount} {}", unit.name(one)))
}

fn range(captures: &Captures<'_>, around: Around<'_>) -> Option<String> {
    let (from, to) = (part(captures, "n")?, part(captures, "to")?);
    if around.after.starts_with(['-', '/', ':']) {
        return None;
    }
    let years = is_year(from) && (is_year(to) || to.len() == 2);
    let say = |text: &str| if years && is_year(text) { year(text) } else { quantity(text) };
    Some(format!("{} to {}", say(from), say(to)))
}

fn feet(captures: &Captures<'_>, _: Around<'_>) -> Option<String> {
    Some(format!("{} foot {}", cardinal(part(captures, "n")?), cardinal(part(captures, "to")?)))
}

fn ratio(captures: &Captures<'_>, around: Around<'_>) -> Option<String> {
    let goes_on = around.after.starts_with(':');
    (!goes_on).then(|| amount(captures)).flatten()
}

fn sized(captures: &Captures<'_>, _: Around<'_>) -> Option<String> {
    // Pictures of so many thousand columns.
    if matches!(&captures[0], "4K" | "8K") {
        return Some(format!("{} K", amount(captures)?));
    }
    Some(format!("{} {}", amount(captures)?, magnitude(part(captures, "size")?)))
}

fn signed(captures: &Captures<'_>, _: Around<'_>) -> Option<String> {
    amount(captures)
}

fn plain(captures: &Captures<'_>, _: Around<'_>) -> Option<String> {
    Some(number(&captures[0]))
}
