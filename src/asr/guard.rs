//! Which texts are not told, because nobody said them. Pure.
//!
//! Whisper was trained on subtitles and has never learned to say nothing: in silence it hears what subtitles say in
//! silence, or says the same words over and over. No single sign of that is sure, so they are weighed together.

use super::Hypothesis;
use super::spoken::{Spoken, spoken};
use crate::audio::{Utterance, duration_of};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use std::io::Write as _;
use std::time::Duration;

/// Why a text was withheld.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Doubt {
    /// There is hardly any speech in the sound, or the model itself says that there is none.
    NoSpeech,
    /// The text goes round in circles.
    Repetition,
    /// The model did not believe in its own words.
    LowProbability,
    /// What models say when they hear nothing, and hardly believed.
    Phantom,
}

impl Doubt {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::NoSpeech, Self::Repetition, Self::LowProbability, Self::Phantom];

    /// Its name on the wire and in metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::NoSpeech => "no_speech",
            Self::Repetition => "repetition",
            Self::LowProbability => "low_probability",
            Self::Phantom => "phantom",
        }
    }
}

/// A text that is not told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withheld {
    /// Why.
    pub doubt: Doubt,
    /// What it was.
    pub text: String,
}

/// Text that zlib makes this much smaller says the same again and again (as in Whisper).
pub(super) const REPETITIVE: f32 = 2.4;

/// Below this mean log probability a text is not trusted (as in Whisper).
pub(super) const IMPROBABLE: f32 = -1.0;

/// From this on the model's own word that nobody spoke counts (as in Whisper).
const NO_SPEECH: f32 = 0.6;

/// With less than this, two frames of the voice detector, nobody said a word.
const NO_VOICE: Duration = Duration::from_millis(64);

/// The shortest words take about as long.
const HARDLY_ANY_VOICE: Duration = Duration::from_millis(200);

/// Below this share of the sound there is little speech in it. One word with the silence around it has twice as much.
const LITTLE: f32 = 0.1;

/// A detector that is this sure of a voice has heard one: nearly all that is said aloud comes to it, also in noise half as
/// loud, if it lasts for more than a quarter of a second. Tones that sound like a voice stay below.
const SURE: f32 = 0.995;

/// A word out of a noise may stay below this, and so do most of the tones that are taken for a voice at all.
const UNSURE: f32 = 0.98;

/// A voice that goes on for this long is one, though it may be too far away for the detector to be sure.
const BRIEF: Duration = Duration::from_secs(1);

/// Nobody speaks more words in a second of voice.
const MOST_WORDS_PER_SECOND: f32 = 9.0;

/// What models say when they hear nothing, as it is compared; a `*` at the end stands for any words.
const PHANTOMS: &[&str] = &[
    "you",
    "bye",
    "bye bye",
    "thank you",
    "thank you very much",
    "thank you for watching *",
    "thanks for watching *",
    "thank you so much for watching *",
    "thank you for listening",
    "please subscribe *",
    "subscribe to my channel",
    "like and subscribe",
    "see you next time",
    "see you in the next video",
    "ill see you in the next video",
    "music",
    "applause",
    "silence",
    "blank audio",
    "subtitles by *",
    "subtitled by *",
    "subtitles made by *",
    "captions by *",
    "transcribed by *",
    "transcription by *",
    "translated by *",
    "subtitles by the amaraorg community",
    "amaraorg",
    "untertitel *",
    "untertitelung *",
    "vielen dank",
    "vielen dank fürs zuschauen",
    "danke fürs zuschauen",
    "danke schön",
    "bis zum nächsten mal",
    "copyright wdr *",
    "swr *",
    "sous titres *",
    "sous titrage *",
    "merci davoir regardé *",
    "merci",
    "abonnez vous *",
    "subtítulos *",
    "gracias",
    "gracias por ver *",
    "suscríbete *",
    "sottotitoli *",
    "grazie",
    "grazie per aver guardato *",
    "legendas *",
    "legendado por *",
    "obrigado por assistir *",
    "ondertiteld door *",
    "ondertiteling *",
    "napisy *",
    "dziękuję za *",
    "субтитры *",
    "продолжение следует",
    "спасибо за просмотр *",
    "altyazı *",
    "izlediğiniz için teşekkür *",
    "ご 視 聴 あ り が と う ご ざ い ま し た",
    "ご 清 聴 あ り が と う ご ざ い ま し た",
    "字 幕 *",
    "请 不 吝 点 赞 *",
    "感 谢 观 看",
    "谢 谢 观 看",
    "謝 謝 觀 看",
];

/// Why what was read out of this utterance should not be told, if the signs against it are strong enough together.
pub fn doubt(hypothesis: &Hypothesis, utterance: &Utterance) -> Option<Doubt> {
    let signs = Signs::of(hypothesis, utterance);
    let claims = [
        (Doubt::NoSpeech, signs.nobody_spoke()),
        (Doubt::Repetition, signs.goes_round()),
        (Doubt::Phantom, signs.is_phantom()),
        (Doubt::LowProbability, signs.is_disbelieved()),
    ];
    let found = claims.into_iter().find(|(_, holds)| *holds);
    found.map(|(doubt, _)| doubt).filter(|_| signs.n_words > 0)
}

/// What speaks for and against a text.
#[derive(Debug)]
struct Signs {
    n_words: usize,
    /// How long the voice detector heard a voice.
    voice: Duration,
    /// The same, as a share of the sound.
    share: f32,
    /// How sure the voice detector was at its surest.
    confidence: f32,
    /// The mean over all tokens; 0 when there are none.
    logprob: f32,
    /// The model says that nobody spoke.
    denied: bool,
    compression: f32,
    loops: bool,
    phantom: bool,
}

impl Signs {
    fn of(hypothesis: &Hypothesis, utterance: &Utterance) -> Self {
        let text = hypothesis.text();
        let words = spoken(&text);
        let no_speech = hypothesis.segments.iter().filter_map(|segment| segment.no_speech_prob);
        Self {
            n_words: words.len(),
            voice: duration_of(utterance.voiced),
            share: utterance.voiced as f32 / utterance.span.len().max(1) as f32,
            confidence: utterance.confidence,
            logprob: mean_logprob(hypothesis),
            denied: no_speech.fold(0.0, f32::max) > NO_SPEECH,
            compression: compression_ratio(&text),
            loops: loops(&words),
            phantom: is_phantom(&words),
        }
    }

    fn improbable(&self) -> bool {
        self.logprob < IMPROBABLE
    }

    fn little_speech(&self) -> bool {
        self.voice < HARDLY_ANY_VOICE || self.share < LITTLE
    }

    fn too_fast(&self) -> bool {
        self.n_words > 3 && self.n_words as f32 > MOST_WORDS_PER_SECOND * self.voice.as_secs_f32()
    }

    /// A short sound that the detector was not sure of, nor the model of its words.
    fn only_sounds_like_speech(&self) -> bool {
        self.voice < BRIEF && self.confidence < UNSURE && self.logprob < -0.3
    }

    /// No voice at all is proof. Little of it needs another sign, and so does the model's word.
    fn nobody_spoke(&self) -> bool {
        let doubtful = self.improbable() || self.denied || self.too_fast();
        self.voice < NO_VOICE
            || self.little_speech() && doubtful
            || self.only_sounds_like_speech()
            || self.denied && self.improbable() && self.share < 0.5
    }

    /// A chant is said at the speed of speech, and hardly ever as long as a decoder's loop.
    fn goes_round(&self) -> bool {
        let squeezed = self.compression > REPETITIVE;
        self.loops && (squeezed || self.too_fast() || self.improbable())
            || squeezed && (self.improbable() || self.too_fast())
    }

    fn is_phantom(&self) -> bool {
        let unsure = self.confidence < SURE && self.logprob < -0.2;
        self.phantom
            && (self.little_speech() || self.denied || unsure || self.logprob < -0.7 || self.too_fast())
    }

    fn is_disbelieved(&self) -> bool {
        self.logprob < 1.5 * IMPROBABLE && (self.share < 0.3 || self.too_fast() || self.denied)
    }
}

/// The mean log probability of all tokens; 0 when there are none.
pub(super) fn mean_logprob(hypothesis: &Hypothesis) -> f32 {
    let logprobs =
        || hypothesis.segments.iter().flat_map(|segment| &segment.tokens).map(|token| token.logprob);
    logprobs().sum::<f32>() / logprobs().count().max(1) as f32
}

/// How many times smaller zlib makes a text.
pub(super) fn compression_ratio(text: &str) -> f32 {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    let packed = encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish());
    packed.map_or(1.0, |packed| text.len() as f32 / packed.len().max(1) as f32)
}

/// Whether the same one to six words stand there many times in a row.
///
/// Fewer times do for more words. Numbers are dictated, and a digit may well come ten times.
fn loops(words: &[Spoken]) -> bool {
    let is_number = |word: &Spoken| word.key.chars().all(char::is_numeric);
    (1..=6).any(|n| {
        let enough = [10, 6, 5, 4, 4, 4][n - 1];
        let same_as_before =
            |at: usize| words[at].key == words[at - n].key && !(n == 1 && is_number(&words[at]));
        let mut run = 0;
        (n..words.len()).any(|at| {
            run = if same_as_before(at) { run + 1 } else { 0 };
            run >= n * (enough - 1)
        })
    })
}

fn is_phantom(words: &[Spoken]) -> bool {
    let said = |known: &str| {
        let mut known = known.split(' ').peekable();
        let mut words = words.iter();
        loop {
            match (known.next(), words.next()) {
                (Some("*"), _) | (None, None) => return true,
                (Some(known), Some(word)) if known == word.key => {}
                _ => return false,
            }
        }
    };
    PHANTOMS.iter().any(|known| said(known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asr::{Segment, Stability, Token};
    use crate::audio::{Span, samples_in};

    /// What is doubted of a text of this mean log probability, read in 3 s of sound with so many ms of voice, of which the
    /// detector was sure.
    fn doubted(text: &str, logprob: f32, voice_ms: u64, no_speech_prob: Option<f32>) -> &'static str {
        doubted_of(text, logprob, (voice_ms, 1.0), no_speech_prob)
    }

    /// The same of a voice that the detector was so sure of.
    fn doubted_of(
        text: &str,
        logprob: f32,
        (voice_ms, confidence): (u64, f32),
        no_speech_prob: Option<f32>,
    ) -> &'static str {
        let span = Span::new(0, 48_000);
        let segment = Segment {
            text: text.into(),
            span,
            tokens: vec![Token { id: 1, bytes: text.into(), logprob }],
            words: Vec::new(),
            avg_logprob: logprob,
            no_speech_prob,
            temperature: 0.0,
        };
        let segments = if text.is_empty() { Vec::new() } else { vec![segment] };
        let read = Hypothesis { segments, language: "en".into(), stability: Stability::Final };
        let voiced = samples_in(Duration::from_millis(voice_ms));
        let utterance = Utterance { voiced, confidence, ..Utterance::spoken(span, Vec::new()) };
        doubt(&read, &utterance).map_or("-", Doubt::code)
    }

    #[test]
    fn speech_is_told_even_if_one_sign_is_against_it() {
        assert_eq!(doubted("Set a timer for ten minutes.", -0.1, 2_000, None), "-");
        assert_eq!(doubted("Mumbled beyond belief.", -1.9, 2_000, None), "-");
        assert_eq!(doubted("Yes.", -0.4, 192, None), "-");
        assert_eq!(doubted("Turn it off.", -0.4, 1_000, Some(0.9)), "-");
        assert_eq!(doubted("Thank you.", -0.2, 600, None), "-");
        assert_eq!(doubted("", 0.0, 0, None), "-");
    }

    #[test]
    fn without_a_voice_no_text_is_told_and_with_hardly_any_only_a_sound_one() {
        assert_eq!(doubted("Set a timer.", -0.1, 32, None), "no_speech");
        assert_eq!(doubted("Set a timer.", -1.2, 160, None), "no_speech");
        assert_eq!(doubted("Set.", -0.2, 160, Some(0.8)), "no_speech");
        assert_eq!(doubted("Set a timer for ten minutes.", -0.1, 192, None), "no_speech");
        assert_eq!(doubted("Well, no.", -1.2, 1_000, Some(0.8)), "no_speech");
    }

    #[test]
    fn a_short_sound_is_told_if_the_detector_or_the_model_is_sure_of_it() {
        // What tones and melodies were read as, and what was measured of them.
        for (text, logprob, voice_ms, confidence) in [
            ("Four.", -0.32, 224, 0.887),
            ("Turn the volume", -0.87, 160, 0.772),
            ("Open the window.", -0.67, 256, 0.836),
            ("Good evening.", -0.36, 128, 0.65),
            ("June, February.", -0.99, 736, 0.97),
            ("Hallway.", -0.64, 256, 0.946),
        ] {
            assert_eq!(doubted_of(text, logprob, (voice_ms, confidence), None), "no_speech", "{text}");
        }
        // A word in a clear voice, in noise, and in a voice from far away; a sentence from farther away.
        for (text, logprob, voice_ms, confidence) in [
            ("Five.", -0.75, 300, 0.999),
            ("Five.", -0.2, 300, 0.95),
            ("Five.", -0.2, 300, 0.7),
            ("Set a timer for ten minutes.", -0.9, 1_800, 0.6),
        ] {
            assert_eq!(doubted_of(text, logprob, (voice_ms, confidence), None), "-", "{text}");
        }
        assert_eq!(doubted_of("Thank you very much.", -0.25, (600, 0.991), None), "phantom");
        assert_eq!(doubted_of("Thank you very much.", -0.25, (600, 0.999), None), "-");
    }

    #[test]
    fn what_goes_round_in_circles_is_withheld_but_digits_and_knocking_are_not() {
        assert_eq!(doubted(&"I don't know. ".repeat(20), -0.1, 3_000, None), "repetition");
        assert_eq!(doubted(&"no ".repeat(40), -0.1, 3_000, None), "repetition");
        assert_eq!(doubted("Knock knock.", -0.1, 600, None), "-");
        assert_eq!(doubted("No, no, no, no, no, no.", -0.3, 2_000, None), "-");
        assert_eq!(doubted("0 0 0 0 0 0 0 0 0 0 0 0", -0.1, 3_000, None), "-");
        assert_eq!(doubted("Zero zero seven seven seven seven, zero zero zero.", -0.3, 3_000, None), "-");
    }

    #[test]
    fn phantoms_are_withheld_where_they_are_hardly_believed_or_hardly_a_voice_was_heard() {
        for phantom in
            ["Thanks for watching!", "Subtitles by the Amara.org community", "you", "Untertitel von X"]
        {
            assert_eq!(doubted(phantom, -0.9, 700, None), "phantom", "{phantom}");
            assert_eq!(doubted(phantom, -0.2, 1_000, None), "-", "{phantom}");
        }
        assert_eq!(doubted("Thank you.", -0.3, 160, None), "phantom");
        assert_eq!(doubted("ご視聴ありがとうございました", -0.9, 2_000, None), "phantom");
        assert_eq!(doubted("You see it.", -0.9, 700, None), "-");
    }

    #[test]
    fn what_the_model_does_not_believe_in_is_withheld_where_most_of_the_sound_is_no_speech() {
        assert_eq!(doubted("Bess the moor at.", -1.8, 700, None), "low_probability");
    }
}
