//! Where four words in a row stand, in all sentences of all clients.

use super::SHORTEST;
use std::collections::HashMap;

/// A number for each word, so that words are compared in no time.
#[derive(Debug, Default)]
pub(super) struct Vocabulary<'a>(HashMap<&'a str, u32>);

impl<'a> Vocabulary<'a> {
    /// The numbers of the words; new words get one.
    pub(super) fn learn(&mut self, words: &'a [String]) -> Vec<u32> {
        let mut number = |word| {
            let next = self.0.len() as u32;
            *self.0.entry(word).or_insert(next)
        };
        words.iter().map(|word| number(word.as_str())).collect()
    }

    /// The numbers of the words; all words that stand in no sentence have the same.
    pub(super) fn read(&self, words: &[String]) -> Vec<u32> {
        words.iter().map(|word| self.0.get(word.as_str()).copied().unwrap_or(u32::MAX)).collect()
    }
}

/// Whether the words stand in one of the sentences, in a row.
pub(super) fn stands_in(words: &[u32], sentences: &[Vec<u32>]) -> bool {
    sentences.iter().any(|sentence| sentence.windows(words.len()).any(|window| window == words))
}

/// All sentences, each once however many have it, and where in them four words in a row begin.
#[derive(Debug)]
pub(super) struct Index<'a> {
    sentences: Vec<Sentence<'a>>,
    /// Sentence and word.
    places: HashMap<&'a [u32], Vec<(usize, usize)>>,
}

#[derive(Debug)]
struct Sentence<'a> {
    words: &'a [u32],
    /// The first two clients that have it: one of them is another, whoever asks.
    owners: [Option<u32>; 2],
}

impl<'a> Index<'a> {
    pub(super) fn new(own: &'a [Vec<Vec<u32>>]) -> Self {
        let mut known: HashMap<&[u32], usize> = HashMap::new();
        let mut index = Self { sentences: Vec::new(), places: HashMap::new() };
        for (client, sentences) in (0..).zip(own) {
            for words in sentences {
                let at = *known.entry(words).or_insert_with(|| index.add(words));
                index.sentences[at].add_owner(client);
            }
        }
        index
    }

    /// A sentence without an owner; says where it is.
    fn add(&mut self, words: &'a [u32]) -> usize {
        let at = self.sentences.len();
        self.sentences.push(Sentence { words, owners: [None; 2] });
        for (word, run) in words.windows(SHORTEST).enumerate() {
            self.places.entry(run).or_default().push((at, word));
        }
        at
    }

    /// How many of the next words stand in a row in a sentence of somebody else, and who that is; `None` if fewer than
    /// four do.
    pub(super) fn longest(&self, heard: &[u32], client: u32) -> Option<(usize, u32)> {
        let places = self.places.get(&heard[..SHORTEST])?;
        let matches = places.iter().filter_map(|&(at, word)| {
            let sentence = &self.sentences[at];
            let whose = sentence.owner_other_than(client)?;
            let alike = sentence.words[word..].iter().zip(heard).take_while(|(a, b)| a == b).count();
            Some((alike, whose))
        });
        // The longest, and of equals the first client.
        matches.max_by(|(len, whose), (other_len, other)| len.cmp(other_len).then(other.cmp(whose)))
    }
}

impl Sentence<'_> {
    fn add_owner(&mut self, client: u32) {
        match &mut self.owners {
            [first @ None, _] => *first = Some(client),
            [Some(first), second @ None] if *first != client => *second = Some(client),
            _ => {}
        }
    }

    fn owner_other_than(&self, client: u32) -> Option<u32> {
        self.owners.into_iter().flatten().find(|owner| *owner != client)
    }
}
