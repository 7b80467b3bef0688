//! Which texts are not told, because nobody said them. Pure.

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
