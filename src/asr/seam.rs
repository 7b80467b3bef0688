//! Where speech that is longer than a window is cut, so that each word is decoded whole, once. Pure.
//!
//! What lies before the cut is settled. What lies behind it is decoded again, together with what follows. Where two words
//! run into each other nobody knows to a tenth of a second where one ends: there the last settled word is decoded again
//! with what follows, and [taken out](without_repeat) of that reading, so that neither word is lost or told twice.

use super::spoken::{Spoken, agreed, append, spoken};
use super::words::{join_words, tokens_in};
use super::{Hypothesis, Segment, Word};
use crate::audio::{Span, samples_in};
use std::cmp::Reverse;
use std::time::Duration;

/// Without an older hypothesis, what was said this close to the window's end is unsure.
const UNSURE: Duration = Duration::from_millis(1_500);

/// The same, in words.
const UNSURE_WORDS: usize = 3;

/// A gap of this length is a pause, which can be cut without hurting the words beside it.
const PAUSE: Duration = Duration::from_millis(160);

/// Gaps that differ by less count as equal: 50 ms.
const GAP_STEP: u64 = 800;

/// A cut between two words.
#[derive(Debug, Clone, PartialEq)]
pub struct Seam {
    /// Where it lies in the stream: in the middle of the gap, or before the last settled word.
    pub at: u64,
    /// The last settled word, if it will be read again.
    pub repeated: Option<Repeat>,
    /// Whether a sentence ends there.
    pub ends_sentence: bool,
    /// What was said before it.
    pub settled: Hypothesis,
    /// The text behind it, which will be read again.
    pub tail: String,
}

/// A settled word that is read again.
#[derive(Debug, Clone, PartialEq)]
pub struct Repeat {
    /// The word; or all the text of a segment whose words are not known.
    pub word: String,
    /// What was read behind it, which will be read again as well.
    pub tail: String,
}

/// Finds the best place to cut `window`, of which `newer` (with the times of words) is the reading.
///
/// The words that an `older` reading of the same window agrees on are sure; without one, those that lie well before the
/// end. A cut lies between two sure words, if possible in the window's later half: at the end of a sentence, or else in
/// the longest gap. `None` where no word is sure.
pub fn seam(newer: &Hypothesis, older: Option<&str>, window: Span) -> Option<Seam> {
    let units = units(newer);
    let n_sure = older.map_or_else(|| early(&units, window), |older| also_in(older, &units));
    let cuts: Vec<Cut> = (1..n_sure).map(|behind| Cut::before(behind, &units)).collect();
    let half = window.start + window.len() / 2;
    let best = cuts.iter().filter(|cut| cut.at >= half).max_by_key(|cut| cut.quality());
    let cut = best.or(cuts.last())?;
    let (last, unit) = (&units[cut.behind - 1], &units[cut.behind]);
    let (settled, tail) = divide(newer, unit.segment, unit.word);
    let is_pause = cut.gap >= samples_in(PAUSE);
    let repeated = (!is_pause).then(|| Repeat { word: last.text.to_owned(), tail: tail.clone() });
    let at = if repeated.is_some() { last.span.start.max(window.start) } else { cut.at };
    Some(Seam { at, repeated, ends_sentence: cut.ends_sentence, settled, tail })
}

/// So many more words than the repeated one has may have been read in its place.
const MISREAD_WORDS: usize = 2;

/// More words of the tail than so many tell no more about where it begins.
const TELLING_WORDS: usize = 3;

/// A reading without what it repeats from before a seam.
///
/// That word stands first, but may be cut off at its beginning, so that it reads like another one or two, or not at all,
/// or stand behind a piece of the word before it. So what is taken out ends with the word, or before the tail begins.
pub fn without_repeat(mut reading: Hypothesis, repeat: &Repeat) -> Hypothesis {
    let [words, word, tail] = [&reading.text(), &repeat.word, &repeat.tail].map(|text| spoken(text));
    let quality = |n: usize| {
        let follows = agreed(&words[n..], &tail).min(TELLING_WORDS);
        let ends_with_it = agreed_ends(&words[..n], &word) == word.len();
        let is_word = ends_with_it && (n == word.len() || follows > 0);
        (usize::from(is_word) + follows, is_word, Reverse(n))
    };
    let most = words.len().min(word.len() + MISREAD_WORDS);
    let mut repeated = (0..=most).max_by_key(|n| quality(*n)).unwrap_or_default();
    for segment in &mut reading.segments {
        repeated -= take_out(segment, repeated);
    }
    reading.segments.retain(|segment| !segment.text.is_empty());
    reading
}

/// How many words two texts have in common from their ends.
fn agreed_ends(a: &[Spoken], b: &[Spoken]) -> usize {
    a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a.key == b.key).count()
}

/// Takes out the first `n` words that are said in a segment, or as many as there are; gives their number.
fn take_out(segment: &mut Segment, n: usize) -> usize {
    let said = spoken(&segment.text);
    let n = n.min(said.len());
    if n == 0 {
        return 0;
    }
    // What is attached to the last of them is its punctuation.
    let rest = segment.text[said[n - 1].end..]
        .trim_start_matches(|char: char| !char.is_alphanumeric() && !char.is_whitespace())
        .trim_start();
    segment.text = if n == said.len() { String::new() } else { rest.to_owned() };
    let n_words = words_within(segment, n);
    segment.tokens.drain(..tokens_in(&segment.tokens, n_words));
    segment.words.drain(..n_words.min(segment.words.len()));
    segment.span.start = segment.words.first().map_or(segment.span.start, |word| word.span.start);
    n
}

/// How many whole words of a segment the first `n` that are said in it make up.
fn words_within(segment: &Segment, n: usize) -> usize {
    let mut said = 0;
    let is_within = |word: &&Word| {
        said += spoken(&word.text).len();
        said <= n
    };
    let untimed = if segment.words.is_empty() { join_words(&segment.tokens) } else { Vec::new() };
    segment.words.iter().chain(&untimed).take_while(is_within).count()
}

/// A word, or a segment whose words are not known.
struct Unit<'a> {
    text: &'a str,
    span: Span,
    /// Which segment it is in, and which word of that it is.
    segment: usize,
    word: usize,
}

fn units(hypothesis: &Hypothesis) -> Vec<Unit<'_>> {
    hypothesis.segments.iter().enumerate().flat_map(|(at, segment)| units_of(segment, at)).collect()
}

fn units_of(read: &Segment, segment: usize) -> Vec<Unit<'_>> {
    if read.words.is_empty() {
        return vec![Unit { text: &read.text, span: read.span, segment, word: 0 }];
    }
    let words = read.words.iter().enumerate();
    words.map(|(word, Word { text, span, .. })| Unit { text, span: *span, segment, word }).collect()
}

/// How many words, from the first one, lie well before the end of the window.
fn early(units: &[Unit<'_>], window: Span) -> usize {
    let end = window.end.saturating_sub(samples_in(UNSURE));
    let in_time = units.iter().take_while(|unit| unit.span.end <= end).count();
    in_time.min(units.len().saturating_sub(UNSURE_WORDS))
}

/// How many words, from the first one, stand in the other text as well.
fn also_in(other: &str, units: &[Unit<'_>]) -> usize {
    let other = spoken(other);
    let mut at = 0;
    let stands_there = |unit: &&Unit<'_>| {
        let words = spoken(unit.text);
        let all = agreed(&words, other.get(at..).unwrap_or_default()) == words.len();
        at += words.len();
        all
    };
    units.iter().take_while(stands_there).count()
}

/// A place between two words.
struct Cut {
    at: u64,
    gap: u64,
    ends_sentence: bool,
    /// The word behind it.
    behind: usize,
}

impl Cut {
    fn before(behind: usize, units: &[Unit<'_>]) -> Self {
        let (last, next) = (&units[behind - 1], &units[behind]);
        let gap = next.span.start.saturating_sub(last.span.end);
        Self { at: last.span.end + gap / 2, gap, ends_sentence: ends_sentence(last.text), behind }
    }

    /// More is better.
    fn quality(&self) -> (bool, u64, u64) {
        (self.ends_sentence && self.gap > 0, self.gap / GAP_STEP, self.at)
    }
}

fn ends_sentence(text: &str) -> bool {
    let closing = ['"', '\'', '”', '’', '»', ')', '」'];
    let bare = text.trim_end_matches(closing);
    bare.ends_with(['.', '?', '!', '。', '？', '！', '।', '؟']) && !bare.ends_with("..")
}

/// The hypothesis before this word of this segment, and the text from there on.
fn divide(hypothesis: &Hypothesis, segment: usize, word: usize) -> (Hypothesis, String) {
    let mut settled = Hypothesis { segments: hypothesis.segments[..segment].to_vec(), ..hypothesis.clone() };
    let whole = &hypothesis.segments[segment];
    let at = if word == 0 { 0 } else { end_of(whole, word) };
    if word > 0 {
        settled.segments.push(first_words(whole, word, at));
    }
    let mut tail = whole.text[at..].trim().to_owned();
    for segment in &hypothesis.segments[segment + 1..] {
        append(&mut tail, &segment.text);
    }
    (settled, tail)
}

/// The byte of the segment's text behind its first `n` words.
fn end_of(segment: &Segment, n: usize) -> usize {
    segment.words[..n].iter().fold(0, |at, word| {
        segment.text[at..].find(&word.text).map_or(at, |found| at + found + word.text.len())
    })
}

/// The segment's first words, whose text ends at byte `end` of its.
fn first_words(segment: &Segment, n: usize, end: usize) -> Segment {
    let tokens = segment.tokens[..tokens_in(&segment.tokens, n)].to_vec();
    let logprobs = tokens.iter().map(|token| token.logprob).sum::<f32>();
    Segment {
        text: segment.text[..end].trim().to_owned(),
        span: Span::new(segment.span.start, segment.words[n - 1].span.end),
        avg_logprob: if tokens.is_empty() { segment.avg_logprob } else { logprobs / tokens.len() as f32 },
        tokens,
        words: segment.words[..n].to_vec(),
        ..segment.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asr::{Stability, Token};
    use proptest::prelude::*;

    const SECOND: u64 = 16_000;
    const WINDOW: Span = Span { start: SECOND, end: 11 * SECOND };

    /// Words at these tenths of a second of the window; `/` ends a segment.
    fn read(words: &str) -> Hypothesis {
        let segments = words.split('/').map(|words| segment(words.split_whitespace()));
        Hypothesis { segments: segments.collect(), language: "en".into(), stability: Stability::Interim }
    }

    /// Each word as `text@from-to`.
    fn segment<'a>(words: impl Iterator<Item = &'a str>) -> Segment {
        let word = |word: &str| {
            let (text, times) = word.split_once('@').unwrap();
            let (from, to) = times.split_once('-').unwrap();
            let at = |tenths: &str| WINDOW.start + tenths.parse::<u64>().unwrap() * SECOND / 10;
            Word { text: text.into(), span: Span::new(at(from), at(to)), probability: 0.9 }
        };
        let words: Vec<Word> = words.map(word).collect();
        let token = |word: &Word| Token { id: 1, bytes: format!(" {}", word.text).into(), logprob: -0.1 };
        Segment {
            text: words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" "),
            span: Span::new(words[0].span.start, words[words.len() - 1].span.end),
            tokens: words.iter().map(token).collect(),
            words,
            avg_logprob: -0.1,
            no_speech_prob: None,
            temperature: 0.0,
        }
    }

    /// `settled | tail` and where the cut is, in tenths of a second of the window.
    fn cut(words: &str, older: Option<&str>) -> String {
        let Some(Seam { at, settled, tail, .. }) = seam(&read(words), older, WINDOW) else {
            return "none".into();
        };
        format!("{} | {tail} @{}", settled.text(), (at - WINDOW.start) * 10 / SECOND)
    }

    #[test]
    fn the_end_of_a_sentence_is_the_best_place() {
        let words = "so@0-5 we@10-15 came.@50-55 Then@58-60 all@70-72 the@75-77 rest@80-82 left@84-86";
        assert_eq!(cut(words, None), "so we came. | Then all the rest left @56");
    }

    #[test]
    fn without_one_the_longest_gap_in_the_later_half_is_and_of_equal_ones_the_last() {
        let words = "so@0-5 we@30-50 came@55-60 then@65-70 all@72-74 the@75-77 rest@80-82 left@84-86";
        assert_eq!(cut(words, None), "so we came | then all the rest left @62");
    }

    #[test]
    fn where_all_sure_words_lie_early_the_last_of_them_do() {
        let words = "so@0-5 we@10-15 came@20-25 then@30-35 all@90-92 the@92-95";
        assert_eq!(cut(words, None), "so we | came then all the @17");
    }

    #[test]
    fn what_another_reading_agrees_on_is_sure_up_to_the_end() {
        let words = "so@0-5 we@30-50 came@55-60 then@70-75 all@85-90 the@97-99";
        assert_eq!(cut(words, Some("So we came, then all")), "so we came then | all the @80");
        assert_eq!(cut(words, Some("so, we CAME than all the")), "so we | came then all the @52");
        assert_eq!(cut(words, Some("now")), "none");
        assert_eq!(cut(words, Some("so")), "none");
    }

    #[test]
    fn a_cut_between_segments_divides_none() {
        let words = "so@0-5 we@10-15 came.@50-55 / Then@60-62 all@70-72 the@75-77 rest@80-82 left@84-86";
        let Seam { settled, tail, .. } = seam(&read(words), None, WINDOW).unwrap();
        assert_eq!(settled.segments, read(words).segments[..1]);
        assert_eq!(tail, "Then all the rest left");
    }

    #[test]
    fn a_segment_without_words_is_settled_whole_or_not_at_all() {
        let mut hypothesis = read("we@10-15 came.@50-55 / Then@60-62 / all@63-65 / the@66-67 / rest@68-69");
        hypothesis.segments.iter_mut().for_each(|segment| segment.words.clear());
        let Seam { settled, tail, .. } = seam(&hypothesis, None, WINDOW).unwrap();
        assert_eq!((settled.text().as_str(), tail.as_str()), ("we came.", "Then all the rest"));
    }

    #[test]
    fn nothing_read_and_words_that_are_too_late_give_no_cut() {
        let empty = Hypothesis { segments: Vec::new(), language: "en".into(), stability: Stability::Final };
        assert_eq!(seam(&empty, None, WINDOW), None);
        assert_eq!(cut("we@88-90 came@91-92 here@93-94 and@95-96 saw@97-98", None), "none");
        assert_eq!(cut("we@10-20", None), "none");
    }

    fn hypotheses() -> impl Strategy<Value = Hypothesis> {
        let word = ("[a-c]{1,3}[.,?]?", 0_u64..8, 1_u64..8, prop::bool::weighted(0.2));
        prop::collection::vec(word, 1..30).prop_map(|words| {
            let (mut at, mut text) = (0, String::new());
            for (word, gap, long, parted) in words {
                at += gap;
                let parting = if parted && !text.is_empty() { "/" } else { "" };
                text = format!("{text} {parting} {word}@{at}-{}", at + long);
                at += long;
            }
            read(&text)
        })
    }

    #[test]
    fn where_words_run_together_the_last_settled_one_is_read_again() {
        let words = "so@0-5 we@10-15 came@54-60 Then@60-63 all@63-70 the@70-77 rest@77-82 left@82-86";
        let Seam { at, repeated, .. } = seam(&read(words), Some("so we came then all"), WINDOW).unwrap();
        let repeat = Repeat { word: "Then".into(), tail: "all the rest left".into() };
        assert_eq!((repeated, at), (Some(repeat), WINDOW.start + 6 * SECOND));
        let pause = "so@0-5 we@10-15 came@54-60 Then@62-63 all@63-70 the@70-77 rest@77-82 left@82-86";
        assert_eq!(seam(&read(pause), Some("so we came then"), WINDOW).unwrap().repeated, None);
    }

    /// What is left of a text behind a seam between `word` and `tail`: text, words and tokens alike.
    fn without(text: &str, word: &str, tail: &str) -> String {
        let words = text.split_whitespace().map(|word| format!("{word}@0-1")).collect::<Vec<_>>();
        let repeat = Repeat { word: word.into(), tail: tail.into() };
        let reading = without_repeat(read(&words.join(" ")), &repeat);
        let segments = reading.segments.iter();
        let (mut words, mut tokens) = (Vec::new(), Vec::new());
        for segment in segments {
            words.extend(segment.words.iter().map(|word| word.text.clone()));
            tokens.extend(segment.tokens.iter().flat_map(|token| token.bytes.clone()));
        }
        assert_eq!(words.join(" "), reading.text());
        assert_eq!(String::from_utf8(tokens).unwrap().trim(), reading.text());
        reading.text()
    }

    #[test]
    fn a_word_that_is_read_again_is_taken_out_where_it_stands_first() {
        assert_eq!(without("one six six", "One.", "Six six"), "six six");
        assert_eq!(without("one one six", "One.", "One six"), "one six", "the second was said");
        assert_eq!(without("one six", "One.", "one six"), "one six", "the first was not heard");
        assert_eq!(without("six one", "One.", "six"), "six one");
        assert_eq!(without("One.", "One.", "six"), "");
        assert_eq!(without("One. Seven", "One", "six"), "Seven");
        assert_eq!(without("Forty-seven. Set a", "forty-seven.", "Send a"), "Set a");
    }

    #[test]
    fn a_word_that_reads_like_others_when_it_is_cut_off_is_taken_out_where_what_followed_it_follows() {
        assert_eq!(without("Lock. Open the door", "o'clock.", "Open the"), "Open the door");
        assert_eq!(without("today is, buy milk", "Saturday.", "Buy water"), "buy milk");
        assert_eq!(
            without("at one o'clock", "one", "o'clock"),
            "o'clock",
            "of the word before it a piece is heard"
        );
        assert_eq!(
            without("lock. Close the door", "o'clock.", "Open the"),
            "lock. Close the door",
            "one cannot tell"
        );
    }

    #[test]
    fn a_segment_that_is_read_again_is_taken_out_whole() {
        let mut reading = read("we@0-1 came.@1-2 / Then@2-3 all@3-4");
        reading.segments.iter_mut().for_each(|segment| segment.words.clear());
        let repeat = Repeat { word: "We came.".into(), tail: "Then all the".into() };
        let reading = without_repeat(reading, &repeat);
        assert_eq!((reading.text().as_str(), reading.segments[0].tokens.len()), ("Then all", 2));
    }

    #[test]
    fn scripts_without_spaces_are_divided_and_joined_without_any() {
        let mut reading = read("今天@50-60 天气@60-70 很好@70-75 吗？@75-80 / 明天@80-84 呢@84-88");
        reading.segments.iter_mut().for_each(|segment| {
            segment.text = segment.text.replace(' ', "");
            segment.tokens.iter_mut().for_each(|token| token.bytes.retain(|byte| *byte != b' '));
        });
        let Seam { settled, tail, repeated, .. } = seam(&reading, Some("今天天气很好"), WINDOW).unwrap();
        assert_eq!((settled.text().as_str(), tail.as_str()), ("今天天气", "很好吗？明天呢"));
        let repeat = repeated.unwrap();
        assert_eq!(repeat.word, "天气");
        reading.segments.iter_mut().for_each(|segment| {
            segment.text = segment.text.replace("今天", "");
            if segment.words[0].text == "今天" {
                segment.words.remove(0);
                segment.tokens.remove(0);
            }
        });
        let reading = without_repeat(reading, &repeat);
        assert_eq!(reading.text(), "很好吗？明天呢");
        assert_eq!((reading.segments[0].words.len(), reading.segments[0].tokens.len()), (2, 2));
    }

    proptest! {
        // Fails when a cut drops or doubles a word or token, or lies inside a word.
        #[test]
        fn a_cut_divides_text_tokens_and_words_without_loss_and_lies_in_a_gap(hypothesis in hypotheses()) {
            let Some(Seam { at, settled, tail, repeated, .. }) = seam(&hypothesis, None, WINDOW) else {
                return Ok(());
            };
            prop_assert_eq!(format!("{} {tail}", settled.text()), hypothesis.text());
            let words = |hypothesis: &Hypothesis| -> Vec<Word> {
                hypothesis.segments.iter().flat_map(|segment| segment.words.clone()).collect()
            };
            let (before, all) = (words(&settled), words(&hypothesis));
            prop_assert_eq!(&before[..], &all[..before.len()]);
            // The last word is whole on one side of the cut, or the other.
            let (last, earlier) = before.split_last().unwrap();
            prop_assert!(earlier.iter().all(|word| word.span.end <= at));
            let is_whole = if repeated.is_some() { last.span.start >= at } else { last.span.end <= at };
            prop_assert!(is_whole);
            prop_assert!(all[before.len()..].iter().all(|word| word.span.start >= at));
            let tokens = settled.segments.iter().map(|segment| segment.tokens.len()).sum::<usize>();
            prop_assert_eq!(tokens, before.len());
            prop_assert!(!before.is_empty() && before.len() < all.len() - 2);
        }
    }
}
