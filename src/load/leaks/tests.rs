use super::*;
use crate::load::words;
use proptest::prelude::*;

fn spoken(own: &[&str], heard: &[&str]) -> Spoken {
    let all = |texts: &[&str]| texts.iter().map(|text| words(text)).collect();
    Spoken { heard: all(heard), own: all(own) }
}

/// The leaks of the first client, whose sentences are `own` and who was told `heard`; all others were told what they
/// said.
fn leaked(own: &[&str], heard: &[&str], others: &[&str]) -> String {
    let others = others.iter().map(|sentence| spoken(&[sentence], &[sentence]));
    let people: Vec<_> = [spoken(own, heard)].into_iter().chain(others).collect();
    let told: Vec<_> = leaks(&people).iter().map(|leak| format!("{}: {}", leak.whose, leak.words)).collect();
    told.join(" | ")
}

#[test]
fn a_leak_is_four_words_of_another_and_not_of_ones_own() {
    let cases: &[(&str, &str, &[&str], &str)] = &[
        ("a b c d", "a b c d", &["e f g h"], ""),
        ("a b c d", "e f g h", &["e f g h"], "1: e f g h"),
        ("a b c d", "A-B. E, f g; H!", &["e f g h"], "1: e f g h"),
        // Three are alike by chance.
        ("a b c d", "e f g", &["e f g h"], ""),
        ("a b c d", "x e f g y", &["e f g h"], ""),
        // Neither is it one when others have the same sentence.
        ("a b c d", "a b c d", &["a b c d", "x a b c d y"], ""),
        ("x a b c d y", "a b c d", &["a b c d"], ""),
        // One's own words do not excuse those of another behind them.
        ("a b c d", "a b c d e f g h", &["e f g h"], "1: e f g h"),
        ("a b c d", "a b c d e", &["a b c d e"], "1: a b c d e"),
        // Words of one's own in another order are another sentence.
        ("a b c d e f g h", "e f g h a b c d", &["h a b c"], "1: h a b c"),
        ("a b c d", "", &["a b c d"], ""),
    ];
    for (own, heard, others, expected) in cases {
        assert_eq!(leaked(&[own], &[heard], others), *expected, "{own} / {heard} / {others:?}");
    }
}

#[test]
fn a_leak_is_one_however_long_and_belongs_to_the_first_who_has_most_of_it() {
    let others = ["c d e f", "a b c d e f g h", "a b c d e f g h", "w x y z"];
    assert_eq!(leaked(&["q"], &["a b c d e f g h"], &others), "2: a b c d e f g h");
    assert_eq!(leaked(&["q"], &["a b c d e f g h r w x y z"], &others), "2: a b c d e f g h | 4: w x y z");
    assert_eq!(leaked(&["q"], &["w x y z", "w x y z"], &others), "4: w x y z | 4: w x y z");
    // Two runs that share words, neither inside the other.
    assert_eq!(leaked(&["q"], &["b c d e f g"], &["b c d e", "d e f g"]), "1: b c d e | 2: d e f g");
}

#[test]
fn no_run_goes_from_one_final_into_the_next() {
    assert_eq!(leaked(&["q"], &["a b", "c d"], &["a b c d"]), "");
}

#[test]
fn a_run_in_two_of_ones_own_sentences_together_may_still_be_a_leak() {
    assert_eq!(leaked(&["a b c d e", "b c d e f"], &["a b c d e f"], &["a b c d e f"]), "1: a b c d e f");
}

#[test]
fn a_thousand_clients_who_all_hear_each_other_are_looked_through() {
    let sentence = |client: usize| -> Vec<Vec<String>> {
        (0..50).map(|n| (0..10).map(|word| format!("w{client}-{n}-{word}")).collect()).collect()
    };
    let neighbour = |client| Spoken { heard: sentence((client + 1) % 1_000), own: sentence(client) };
    let people: Vec<_> = (0..1_000).map(neighbour).collect();
    let found = leaks(&people);
    assert_eq!(found.len(), 50_000);
    assert!(found.iter().all(|leak| leak.whose == (leak.client + 1) % 1_000));
}

/// Sentences of a small vocabulary, so that much is alike.
fn sentences() -> impl Strategy<Value = Vec<Vec<String>>> {
    proptest::collection::vec("[abc]( [abc]){0,9}", 1..5)
        .prop_map(|texts| texts.iter().map(|text| words(text)).collect())
}

/// The definition, word for word.
fn stands_somewhere(run: &[String], sentences: &[Vec<String>]) -> bool {
    sentences.iter().any(|sentence| sentence.windows(run.len()).any(|window| window == run))
}

/// Every run of a text, however long, that is in another's sentences, and that cannot be made longer.
fn by_definition(people: &[Spoken], client: usize) -> Vec<String> {
    let in_another = |run: &[String]| {
        people.iter().enumerate().any(|(other, person)| other != client && stands_somewhere(run, &person.own))
    };
    let mut found = Vec::new();
    for heard in &people[client].heard {
        for start in 0..heard.len() {
            for end in start + SHORTEST..=heard.len() {
                let longer = (start > 0 && in_another(&heard[start - 1..end]))
                    || (end < heard.len() && in_another(&heard[start..=end]));
                let run = &heard[start..end];
                if in_another(run) && !longer && !stands_somewhere(run, &people[client].own) {
                    found.push(run.join(" "));
                }
            }
        }
    }
    found
}

proptest! {
    #[test]
    fn who_is_told_what_it_said_has_no_leak(all in proptest::collection::vec(sentences(), 1..6)) {
        let people: Vec<_> =
            all.into_iter().map(|own| Spoken { heard: own.clone(), own }).collect();
        prop_assert_eq!(leaks(&people), []);
    }

    #[test]
    fn a_planted_sentence_is_always_found(
        mut all in proptest::collection::vec(sentences(), 2..6),
        victim in 0_usize..6,
    ) {
        let victim = victim % all.len();
        let planted = words("never would anybody say this");
        let thief = (victim + 1) % all.len();
        all[victim].push(planted.clone());
        let mut people: Vec<_> = all.into_iter().map(|own| Spoken { heard: own.clone(), own }).collect();
        people[thief].heard[0].extend(planted.clone());
        let leak = Leak { client: thief as u32, text: 0, words: planted.join(" "), whose: victim as u32 };
        prop_assert_eq!(leaks(&people), [leak]);
    }

    #[test]
    fn what_is_found_is_what_the_definition_says(
        own in proptest::collection::vec(sentences(), 2..4),
        heard in proptest::collection::vec(sentences(), 4),
    ) {
        let people: Vec<_> = own.into_iter().zip(heard).map(|(own, heard)| Spoken { heard, own }).collect();
        let found = leaks(&people);
        for client in 0..people.len() {
            let of_client = found.iter().filter(|leak| leak.client as usize == client);
            let of_client: Vec<_> = of_client.map(|leak| leak.words.clone()).collect();
            prop_assert_eq!(of_client, by_definition(&people, client));
        }
    }
}
