//! Phrases as they are cut, in tables and in properties.

use super::{Phraser, phrases};
use proptest::prelude::*;

/// The phrases of a text, with `|` between them.
fn cuts(text: &str) -> String {
    let phrases: Vec<String> = phrases(text, Some("en")).into_iter().map(|phrase| phrase.text).collect();
    phrases.join("¦")
}

#[test]
fn the_first_phrase_is_short_and_then_come_sentences() {
    let rows = [
        ("Hello.", "Hello."),
        ("Sure, I can help with that. What is it?", "Sure, I can help with that.¦ What is it?"),
        ("Let me see, I think so. Yes.", "Let me see,¦ I think so.¦ Yes."),
        ("Well, let me think, you see.", "Well, let me think,¦ you see."),
        ("Hello there! How are you?", "Hello there!¦ How are you?"),
        ("Of course! Here it is: a list.", "Of course!¦ Here it is: a list."),
        ("Here is what I found: a list.", "Here is what I found:¦ a list."),
        ("It was late—too late.", "It was late—¦too late."),
        ("It is late - too late.", "It is late -¦ too late."),
        (
            "I would like to tell you something about our very long day.",
            "I would like to tell you something about¦ our very long day.",
        ),
        (
            "The weather is nice today and you should go out.",
            "The weather is nice today¦ and you should go out.",
        ),
        (
            "You will have to walk for about 5 km from here.",
            "You will have to walk for about 5 km¦ from here.",
        ),
        ("One, two, three.", "One, two, three."),
        ("Hi\nthere you are", "Hi\n¦there you are"),
    ];
    for (text, expected) in rows {
        assert_eq!(cuts(text), expected);
    }
}

#[test]
fn a_full_stop_does_not_always_end_a_sentence() {
    let rows = [
        "Then Dr. Smith came.",
        "Then use a mark, e.g. a comma, i.e. this.",
        "Pi is 3.5 or so.",
        "In the U.S. Army it is so.",
        "By J. R. R. Tolkien himself.",
        "Version 1.2.3 is out.",
        "Apples, pears, etc. are fruit.",
        "Well... it is not.",
        "Well… it is not.",
        "At 5 p.m. sharp.",
        "See example.com for more.",
        "It is No. 5 of them.",
        "\"Really?\" she asked.",
        "Use a.b and c.d now.",
        "Is it so?! no.",
    ];
    for text in rows {
        let text = format!("So it goes, always. {text}");
        assert_eq!(cuts(&text), text.replacen(". ", ".¦ ", 1).replacen("goes, ", "goes,¦ ", 1));
    }
}

#[test]
fn what_closes_behind_a_mark_stays_with_its_sentence() {
    let rows = [
        "\"That is it.\"¦ Then.",
        "“That is it!”¦ Then.",
        "(That is it.)¦ Then.",
        "**That is it.**¦ Then.",
        "*\"That is it?!\"*¦ Then.",
        "That is it...¦ Then.",
        "That is it etc.¦ Then.",
        "That is 5 p.m.¦ Then.",
        "这是第一句话的。¦这是第二句。",
        "「这是第一句话的。」¦这是第二句。",
        "**这是第一句话的。**¦这是第二句。",
        "这是第一句话的。¦**这是**第二句。",
        "That is OK.¦今天。",
    ];
    for row in rows {
        assert_eq!(cuts(&row.replace('¦', "")), row);
    }
}

#[test]
fn lines_end_phrases_and_their_marks_do_not() {
    let rows = [
        "# A Title\n¦Some text is here.\n¦\nMore text is here.",
        "- one\n¦- two things.¦ Three.\n",
        "1. Do this thing.\n¦2. Do that.",
        "> Quoted it is.¦ Twice.\n¦> So.",
        "| a | b |\n¦|---|---|\n¦| Dr. No. Yes | 1 |\n",
    ];
    for row in rows {
        assert_eq!(cuts(&row.replace('¦', "")), row);
    }
}

#[test]
fn code_between_fences_goes_by_line_and_is_not_said() {
    let text = "Look at this:\n```rust\nlet a = 1; // It is. So.\n\n```\nThat was it.";
    let said: Vec<(String, String)> =
        phrases(text, Some("en")).into_iter().map(|phrase| (phrase.text, phrase.spoken)).collect();
    let pairs: Vec<(&str, &str)> =
        said.iter().map(|(text, spoken)| (text.as_str(), spoken.as_str())).collect();
    assert_eq!(
        pairs,
        [
            ("Look at this:", "Look at this:"),
            ("\n```rust\n", ""),
            ("let a = 1; // It is. So.\n", ""),
            ("\n", ""),
            ("```\n", ""),
            ("That was it.", "That was it."),
        ]
    );
}

#[test]
fn what_is_one_thing_is_not_torn() {
    let whole = [
        "`a. B, c` it is",
        "``a ` b. C`` it is",
        "[Read this. Now, please do](https://a.b/c?d=e.f) it is",
        "![One. Two, three, four](x.png) it is",
        "<a href=\"x. Y, z\"> it is",
        "https://example.com/a,b;c.d?e=f it is",
    ];
    for text in whole {
        assert_eq!(cuts(text), text);
    }
}

#[test]
fn a_sentence_that_is_too_long_is_cut_between_clauses_or_words() {
    let words = "word ".repeat(100);
    let long = format!("To begin with, {}, {words}", "some words ".repeat(12).trim());
    let all = phrases(&long, None);
    assert!(all[1].text.ends_with("words,"), "{all:?}");
    assert!(all.iter().all(|phrase| phrase.text.trim().chars().count() <= super::cut::LONGEST), "{all:?}");
    let unspaced = phrases(&"今".repeat(1000), None);
    assert!(unspaced.iter().all(|phrase| phrase.text.chars().count() <= super::cut::LONGEST));
    let address = format!("See https://a.b/{} there", "x".repeat(900));
    let all = phrases(&address, None);
    assert!(all.iter().any(|phrase| address[3..].starts_with(&phrase.text)), "{all:?}");
    let junk = phrases(&"x".repeat(100_000), None);
    assert!(junk.iter().all(|phrase| phrase.text.chars().count() <= 1100));
}

#[test]
fn a_phrase_is_told_as_soon_as_the_next_piece_shows_that_it_has_ended() {
    let mut phraser = Phraser::new(Some("en"));
    let mut told =
        |delta: &str| -> Vec<String> { phraser.push(delta).into_iter().map(|phrase| phrase.text).collect() };
    assert!(told("I think it is").is_empty());
    assert!(told(" 3").is_empty());
    assert!(told(",").is_empty());
    assert!(told("5, ").is_empty(), "another number may follow");
    assert_eq!(told("or"), ["I think it is 3,5,"]);
    assert!(told(" so.").is_empty(), "a digit may follow");
    assert_eq!(told(" It"), [" or so."]);
    assert_eq!(told(" is.\nYes"), [" It is.\n"]);
    assert_eq!(told(" no\n"), ["Yes no\n"]);
    assert!(phraser.finish().is_empty());
}

#[test]
fn a_phraser_begins_anew_when_a_text_has_ended() {
    let mut phraser = Phraser::new(Some("en"));
    let mut all = |text: &str| {
        let mut all = phraser.push(text);
        all.extend(phraser.finish());
        all
    };
    all("Look at this code here:\n```\nnever closed");
    assert_eq!(all("Well, let me think, you see."), phrases("Well, let me think, you see.", Some("en")));
}

/// All phrases of a text that comes in pieces.
fn in_pieces<'a>(pieces: impl IntoIterator<Item = &'a str>) -> Vec<super::Phrase> {
    let mut phraser = Phraser::new(Some("fr"));
    let mut all: Vec<_> = pieces.into_iter().flat_map(|piece| phraser.push(piece)).collect();
    all.extend(phraser.finish());
    all
}

/// Texts of the kind that language models write, and worse.
fn written() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-zA-Z]{1,9} ",
        2 => prop::sample::select(vec![
            ". ", ", ", "! ", "? ", "; ", ": ", "... ", "…", "—", " - ", "\n", "\n\n", "\n- ", "\n1. ", "\n# ", "\n> ",
            "\n```\n", "```", "\n~~~\n", "`", "``", "**", "*", "_", "[", "](", ")", "!", "<", ">", "\\", "|", "\n| ",
            "Dr. ", "e.g. ", "etc. ", "U.S. ", "3.5", "1,000 ", "5 ", "$", "% ", "https://a.b/c?d ", "\"", "”", "(", "。",
            "、", "今天是", "「", "」", "สวัสดี", "👩‍👩‍👧", "🇩🇪", "é", "e\u{301}", "\u{200d}", "\t", "\r\n",
        ]).prop_map(str::to_owned),
        1 => "\\PC{0,4}",
        1 => "[a-z]{200,400}",
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn phrases_are_the_text_and_do_not_depend_on_the_pieces(text in written(), sizes in prop::collection::vec(1_usize..12, 1..8)) {
        let whole = phrases(&text, Some("fr"));
        let joined: String = whole.iter().map(|phrase| phrase.text.as_str()).collect();
        prop_assert_eq!(&joined, &text);
        prop_assert!(whole.iter().all(|phrase| !phrase.text.is_empty()));
        let mut pieces = Vec::new();
        let mut rest = text.as_str();
        for size in sizes.iter().cycle() {
            let Some((at, _)) = rest.char_indices().nth(*size) else { break };
            let (piece, after) = rest.split_at(at);
            pieces.push(piece);
            rest = after;
        }
        pieces.push(rest);
        prop_assert_eq!(in_pieces(pieces), whole);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn letter_by_letter_is_the_same_as_at_once(text in written()) {
        let letters: Vec<String> = text.chars().map(String::from).collect();
        prop_assert_eq!(in_pieces(letters.iter().map(String::as_str)), phrases(&text, Some("fr")));
    }
}
