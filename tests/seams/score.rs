//! What became of the words that were said.

use super::recording::Said;
use std::fmt;
use stenopool::audio::Span;

/// A word that was said within so many samples of a seam, by our guess of its place, stands at it: 300 ms.
const NEAR: u64 = 4_800;

/// Words alone: lower case, no punctuation, hyphens as spaces.
pub(crate) fn words(text: &str) -> Vec<String> {
    let bare = |word: &str| word.chars().filter(|char| char.is_alphanumeric()).collect::<String>();
    let words = text.split([' ', '-']).map(|word| bare(&word.to_lowercase()));
    words.filter(|word| !word.is_empty()).collect()
}

/// A word alone, and where it is said.
pub(crate) type Word = (String, Span);

/// The same of what is said; the halves of what has a hyphen share its time.
pub(crate) fn said_words(said: &[Said]) -> Vec<Word> {
    let alone = |said: &Said| {
        let words = words(&said.text);
        let (start, each) = (said.span.start, said.span.len() / words.len().max(1) as u64);
        let halves = words.into_iter().zip((start..).step_by(each as usize));
        halves.map(move |(word, at)| (word, Span::new(at, at + each))).collect::<Vec<_>>()
    };
    said.iter().flat_map(alone).collect()
}

/// One step from what was said to what was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// A word, as it was said or otherwise.
    Told { right: bool },
    /// A word that is not told.
    Missing,
    /// A word that was not said, and whether it stands beside its like.
    Added { doubled: bool },
}

/// The steps with the fewest mistakes (Levenshtein).
fn steps(said: &[Word], told: &[String]) -> Vec<Step> {
    let mut costs: Vec<Vec<usize>> = vec![(0..=told.len()).collect()];
    for (n, (word, _)) in said.iter().enumerate() {
        let mut row = vec![n + 1];
        for (m, other) in told.iter().enumerate() {
            let changed = costs[n][m] + usize::from(word != other);
            row.push(changed.min(costs[n][m + 1] + 1).min(row[m] + 1));
        }
        costs.push(row);
    }
    let (mut n, mut m, mut steps) = (said.len(), told.len(), Vec::new());
    while n > 0 || m > 0 {
        let cost = costs[n][m];
        let right = n > 0 && m > 0 && said[n - 1].0 == told[m - 1];
        if n > 0 && m > 0 && costs[n - 1][m - 1] + usize::from(!right) == cost {
            steps.push(Step::Told { right });
            (n, m) = (n - 1, m - 1);
        } else if n > 0 && costs[n - 1][m] + 1 == cost {
            steps.push(Step::Missing);
            n -= 1;
        } else {
            m -= 1;
            let doubled = m > 0 && told[m - 1] == told[m] || told.get(m + 1) == Some(&told[m]);
            steps.push(Step::Added { doubled });
        }
    }
    steps.reverse();
    steps
}

/// Words that were said, and the mistakes in what was told of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) said: usize,
    pub(crate) changed: usize,
    pub(crate) missing: usize,
    pub(crate) added: usize,
    /// In how many places: those that follow one another are in one.
    pub(crate) places: usize,
    /// Those of the added ones that stand beside their like.
    pub(crate) doubled: usize,
    /// Those of the missing ones that are two or more in a row.
    pub(crate) lost: usize,
}

impl Tally {
    pub(crate) fn errors(self) -> usize {
        self.changed + self.missing + self.added
    }

    /// Takes a step, behind so many missing words, or behind so many added ones.
    fn count(&mut self, step: Step, missing: usize, added: usize) {
        self.said += usize::from(!matches!(step, Step::Added { .. }));
        match step {
            Step::Told { right } => self.changed += usize::from(!right),
            Step::Missing => {
                self.missing += 1;
                self.lost += [0, 2].get(missing).copied().unwrap_or(1);
            }
            Step::Added { doubled } => {
                self.added += 1;
                self.places += usize::from(added == 0);
                self.doubled += usize::from(doubled);
            }
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { said, changed, missing, added, places, doubled, lost } = self;
        let percent = 100.0 * self.errors() as f64 / (*said).max(1) as f64;
        write!(
            f,
            "{said} words, {percent:.1} % wrong: {changed} changed, {missing} missing ({lost} in a row), {added} added \
             in {places} places ({doubled} doubled)"
        )
    }
}

/// Of the words at seams, and of all others.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Score {
    pub(crate) at_seams: Tally,
    pub(crate) elsewhere: Tally,
}

/// Compares what was told with what was said.
pub(crate) fn score(said: &[Word], told: &[String], seams: &[u64]) -> Score {
    let mut score = Score::default();
    let (mut n, mut missing, mut added) = (0_usize, 0, 0);
    for step in steps(said, told) {
        // What was added stands between two words, and belongs to both.
        let from = if let Step::Added { .. } = step { n.saturating_sub(1) } else { n };
        let last = n.min(said.len() - 1);
        let place = Span::new(said[from].1.start.saturating_sub(NEAR), said[last].1.end + NEAR);
        let is_near = seams.iter().any(|seam| (place.start..=place.end).contains(seam));
        let tally = if is_near { &mut score.at_seams } else { &mut score.elsewhere };
        tally.count(step, missing, added);
        missing = if step == Step::Missing { missing + 1 } else { 0 };
        added = if matches!(step, Step::Added { .. }) { added + 1 } else { 0 };
        n += usize::from(added == 0);
    }
    score
}

#[test]
fn doubled_and_lost_words_are_found_where_they_are() {
    let said: Vec<Word> = ["set", "a", "timer", "for", "six", "six", "hours"]
        .iter()
        .zip((0_u64..).step_by(16_000))
        .map(|(word, at)| ((*word).to_owned(), Span::new(at, at + 8_000)))
        .collect();
    let compared = |text: &str, seam| {
        let Score { at_seams, elsewhere } = score(&said, &words(text), &[seam]);
        let shown = |tally: Tally| (tally.errors(), tally.doubled, tally.lost);
        (shown(at_seams), shown(elsewhere))
    };
    let nothing = (0, 0, 0);
    assert_eq!(compared("Set a timer for six, six hours.", 0), (nothing, nothing));
    assert_eq!(compared("Set a timer for for six six hours.", 48_000), ((1, 1, 0), nothing));
    assert_eq!(compared("Set a timer for six six six hours.", 0), (nothing, (1, 1, 0)));
    assert_eq!(compared("Set six six hours.", 0), (nothing, (3, 0, 3)));
    assert_eq!(compared("Set a lamp for six hours.", 32_000), ((1, 0, 0), (1, 0, 0)));
    let text = "Set a big red timer for six six long hours.";
    let Score { elsewhere, .. } = score(&said, &words(text), &[1_000_000]);
    assert_eq!((elsewhere.added, elsewhere.places), (3, 2), "those in a row are in one place");
}
