//! What is said, in tables and in properties.

use crate::tts::{phrases, speakable};
use proptest::prelude::*;

#[track_caller]
fn check(rows: &[(&str, &str)]) {
    for (text, said) in rows {
        assert_eq!(speakable(text, Some("en")), *said, "{text:?}");
    }
}

#[test]
fn numbers_become_words() {
    check(&[
        ("I have 3 cats.", "I have three cats."),
        ("It is -5 outside.", "It is minus five outside."),
        ("It is +5 outside.", "It is plus five outside."),
        ("1,234,567 people", "one million two hundred thirty-four thousand five hundred sixty-seven people"),
        ("Pi is 3.14159.", "Pi is three point one four one five nine."),
        ("about .5 of it", "about zero point five of it"),
        ("the 1st, 2nd, 3rd and 21st", "the first, second, third and twenty-first"),
        ("the 1,000th visitor", "the one thousandth visitor"),
        ("in 1999 and 2026", "in nineteen ninety-nine and twenty twenty-six"),
        (
            "in 1900, 1905, 2000 and 2005",
            "in nineteen hundred, nineteen oh five, two thousand and two thousand five",
        ),
        ("since the 1990s or the '80s", "since the nineteen nineties or the 'eighties"),
        ("the 1920s and 30s", "the nineteen twenties and thirties"),
        ("within 30s", "within thirty seconds"),
        ("1024 of them", "one thousand twenty-four of them"),
        ("agent 007", "agent zero zero seven"),
        ("10k users and 5M views", "ten thousand users and five million views"),
        ("order 123456789", "order one two three four five six seven eight nine"),
        ("Is it 5? 6! (7)", "Is it five? six! (seven)"),
        ("50%, -3 % and 2.5%", "fifty percent, minus three percent and two point five percent"),
        ("3-5 days", "three to five days"),
        ("3–5% more", "three to five percent more"),
        ("1999-2005", "nineteen ninety-nine to two thousand five"),
        ("1/2 of it, 3/4, 2/3 and 5/16", "one half of it, three quarters, two thirds and five sixteenths"),
        ("2 1/2 cups, ½ cup", "two and one half cups, one half cup"),
        ("20/20 vision", "twenty twenty vision"),
        ("open 24/7", "open twenty-four seven"),
        ("8/10 for it", "eight out of ten for it"),
        ("7/45", "seven over forty-five"),
        ("a 16:9 screen", "a sixteen to nine screen"),
        ("3x4 or 1920×1080", "three by four or one thousand nine hundred twenty by one thousand eighty"),
    ]);
}

#[test]
fn money_and_units_are_said_behind_their_numbers() {
    check(&[
        ("$5", "five dollars"),
        ("$1", "one dollar"),
        ("$5.50", "five dollars and fifty cents"),
        ("$0.99", "ninety-nine cents"),
        ("$1,000,000.00", "one million dollars"),
        ("€3.01", "three euros and one cent"),
        ("£2.50", "two pounds and fifty pence"),
        ("¥500", "five hundred yen"),
        ("$1.5 million", "one point five million dollars"),
        ("$3M", "three million dollars"),
        ("-$20", "minus twenty dollars"),
        ("$3-5", "three to five dollars"),
        ("20 € or 20 USD", "twenty euros or twenty dollars"),
        ("5 km", "five kilometers"),
        ("5km.", "five kilometers."),
        ("1 kg", "one kilogram"),
        ("1.5 kg", "one point five kilograms"),
        ("a 5-km run", "a five kilometer run"),
        ("3-5 km", "three to five kilometers"),
        ("-3 °C and 70°F", "minus three degrees Celsius and seventy degrees Fahrenheit"),
        ("16 GB at 100 Mbps", "sixteen gigabytes at one hundred megabits per second"),
        ("60 mph, 100 km/h", "sixty miles per hour, one hundred kilometers per hour"),
        ("200ms", "two hundred milliseconds"),
        ("50 m² at 45°", "fifty square meters at forty-five degrees"),
        ("2000 km", "two thousand kilometers"),
        ("5 in the box", "five in the box"),
        ("2x4 cm", "two by four centimeters"),
        ("5'10\" tall", "five foot ten tall"),
    ]);
}

#[test]
fn dates_times_versions_and_telephones_are_recognised() {
    check(&[
        ("on 2026-11-28.", "on November twenty-eighth, twenty twenty-six."),
        ("at 2026-11-28T10:30:00Z", "at November twenty-eighth, twenty twenty-six, ten thirty"),
        ("on 11/28/2026", "on November twenty-eighth, twenty twenty-six"),
        ("on 28/11/2026", "on November twenty-eighth, twenty twenty-six"),
        ("on 28.11.2026", "on November twenty-eighth, twenty twenty-six"),
        ("on Nov. 28, 2026", "on November twenty-eighth, twenty twenty-six"),
        ("on March 3rd", "on March third"),
        ("on 4 July 1776", "on the fourth of July, seventeen seventy-six"),
        ("the 4th of July", "the fourth of July"),
        ("in May 2026", "in May twenty twenty-six"),
        ("I may 5 times", "I may five times"),
        ("2026-13-45", "two zero two six, one three, four five"),
        ("at 10:30", "at ten thirty"),
        ("at 10:05 AM", "at ten oh five a.m."),
        ("at 10:00", "at ten o'clock"),
        ("at 5pm or 5 p.m. sharp", "at five p.m. or five p.m. sharp"),
        ("at 5 p.m.", "at five p.m."),
        ("at 1:02:03", "at one oh two and three seconds"),
        ("at 99:99", "at ninety-nine to ninety-nine"),
        ("version 1.2.3", "version one point two point three"),
        ("v2.0 is out", "version two point zero is out"),
        ("at 192.168.0.1", "at one hundred ninety-two dot one hundred sixty-eight dot zero dot one"),
        ("call 555-1234", "call five five five, one two three four"),
        ("call (555) 123-4567", "call five five five, one two three, four five six seven"),
        ("call +49 170 1234567", "call plus four nine, one seven zero, one two three four five six seven"),
        ("call 1-800-555-0199", "call one, eight zero zero, five five five, zero one nine nine"),
    ]);
}

#[test]
fn abbreviations_are_said_in_full() {
    check(&[
        ("Dr. Smith and Mr. Jones", "Doctor Smith and Mister Jones"),
        ("Mrs. Brown lives on Main St.", "Missus Brown lives on Main Street."),
        ("St. Peter", "Saint Peter"),
        ("fruit, e.g. apples", "fruit, for example apples"),
        ("fruit (i.e., apples)", "fruit (that is, apples)"),
        ("apples, pears, etc.", "apples, pears, et cetera."),
        ("cats vs. dogs vs birds", "cats versus dogs versus birds"),
        ("approx. 5", "approximately five"),
        ("No. 5 and No.", "number five and No."),
        ("the U.S. Army", "the U.S. Army"),
        ("the max and the min", "the max and the min"),
        ("an ms or an inc", "an ms or an inc"),
        ("#5 and #rust_lang by @ann_b", "number five and hashtag rust lang by at ann b"),
        ("C# and C++, F#", "C sharp and C plus plus, F sharp"),
        (
            "GPT-4o, mp3, COVID-19, H2O, RTX4090",
            "GPT four o, mp three, COVID nineteen, H two O, RTX four thousand ninety",
        ),
        ("Qwen2.5 is", "Qwen two point five is"),
        ("5G, 10x, Wi-Fi 6E in 4K", "five G, ten x, Wi-Fi six E in four K"),
        ("order #12345", "order number one two three four five"),
        ("run cargo build --release -v", "run cargo build release v"),
        ("今天5点", "今天 five 点"),
    ]);
}

#[test]
fn symbols_are_said_or_dropped() {
    check(&[
        ("R&D, you & me", "R and D, you and me"),
        ("2 + 2 = 4", "two plus two equals four"),
        ("2+2=4", "two plus two equals four"),
        ("5 - 3 is 2 * 1", "five minus three is two times one"),
        ("2^10", "two to the power of ten"),
        ("a < b, c > d", "a less than b, c greater than d"),
        ("a <= b, c != d", "a at most b, c is not d"),
        ("A -> B → C", "A to B to C"),
        ("~5 of them", "about five of them"),
        ("5 ± 1, ≈ 6, 7 ≥ 6", "five plus or minus one, about six, seven at least six"),
        ("and/or, he/she", "and or, he she"),
        ("snake_case_name", "snake case name"),
        ("/usr/bin is", "slash usr bin is"),
        ("100+ people", "one hundred plus people"),
        ("It is - so to say - late", "It is — so to say — late"),
        ("Wait -- what?", "Wait — what?"),
        ("well-known", "well-known"),
        ("____ ==== ****", ""),
        ("...", ""),
        ("©2026 Me™", "twenty twenty-six Me"),
    ]);
}

#[test]
fn markdown_is_taken_away() {
    check(&[
        ("# Title\n\nText here.", "Title. Text here."),
        (
            "Some **bold**, *slanted*, __bold__, _slanted_ and ~~no~~ text",
            "Some bold, slanted, bold, slanted and no text",
        ),
        ("un*believ*able", "unbelievable"),
        ("- one\n- two\n* three\n", "one. two. three."),
        ("1. First\n2) Second\n", "one. First. two. Second."),
        ("- [ ] do it\n- [x] done\n", "do it. done."),
        ("> quoted\n> twice", "quoted twice"),
        ("See [the page](https://example.com/a_b) now", "See the page now"),
        ("![A **cat**](cat.png)", "A cat"),
        ("Call `foo()` or ``a ` b``", "Call foo() or a b"),
        ("Before.\n```py\nprint(1)\n```\nAfter.", "Before. After."),
        ("| Name | Age |\n|---|:--:|\n| Ann | 30 |\n", "Name, Age. Ann, thirty."),
        ("a<br>b <b>c</b> <!-- no -->d", "a b c d"),
        ("Tom &amp; Ann&nbsp;B", "Tom and Ann B"),
        ("\\*not\\* so \\# x", "not so x"),
        ("---\n", ""),
        ("text[^1] here", "text here"),
        ("a [bracket] b", "a bracket b"),
    ]);
}

#[test]
fn emoji_and_faces_are_dropped() {
    check(&[
        ("Great 😀!", "Great!"),
        ("👍🏽 Sure 👩‍👩‍👧 thing 🇩🇪", "Sure thing"),
        ("❤️ it ☀ ✅ so", "it so"),
        ("Fine :) ok ;-) yes <3", "Fine ok yes"),
        ("1️⃣ is one", "one is one"),
        ("🏴󠁧󠁢󠁥󠁮󠁧󠁿 flag", "flag"),
        ("• a ▪ b ★ c", "a b c"),
        ("a\u{0}b\u{7}c\u{200b}d\u{feff}", "abcd"),
    ]);
}

#[test]
fn of_addresses_only_the_name_is_said() {
    check(&[
        ("See https://www.example.com/a/b?c=d.", "See example dot com."),
        ("See <https://example.org>, please", "See example dot org, please"),
        ("Ask ann.b@example.com!", "Ask ann dot b at example dot com!"),
        ("Go to github.com/a/b now", "Go to github dot com now"),
        ("key 0123456789abcdef0123456789abcdef ok", "key ok"),
        (&format!("so {} it is", "aB3-".repeat(30)), "so it is"),
    ]);
}

#[test]
fn other_languages_keep_their_digits() {
    let rows = [
        ("de", "**Es** sind 3,5 km 😀 bis `Bonn`.", "Es sind 3,5 km bis Bonn."),
        ("de", "Siehe https://www.beispiel.de/a & b", "Siehe beispiel.de & b"),
        ("zh", "# 标题\n今天是2026年。", "标题. 今天是2026年。"),
        ("hi", "क्‍ष", "क्‍ष"),
    ];
    for (language, text, said) in rows {
        assert_eq!(speakable(text, Some(language)), said);
    }
    assert_eq!(speakable("3", Some("en-GB")), "three");
    assert_eq!(speakable("3", None), "three");
}

proptest! {
    #[test]
    fn nothing_is_said_that_nobody_can_say(text in "(\\PC|[ -~]|[0-9.,:/$%*_`#|\\[\\]()<>~-]|\n|😀|\u{200d}|🇩|Dr\\. |km ){0,80}") {
        for language in [Some("en"), Some("fr")] {
            for phrase in phrases(&text, language) {
                let said = phrase.spoken;
                prop_assert!(!said.contains(|c: char| c.is_control() || "*_#`~|<>[]{}\\^".contains(c)), "{said:?}");
                prop_assert!(!said.contains('😀') && !said.contains('🇩'), "{said:?}");
                prop_assert!(said.is_empty() || said.contains(char::is_alphanumeric), "{said:?}");
                prop_assert!(said.trim() == said && !said.contains("  "), "{said:?}");
                prop_assert!(said.chars().count() <= 16 * phrase.text.chars().count() + 16, "{said:?}");
            }
        }
    }
}
