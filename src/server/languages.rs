//! The languages that Whisper knows: codes and English names, in the order of its tokens.

use crate::asr::ModelInfo;

/// ISO 639-1 code (as Whisper spells it) and English name.
#[rustfmt::skip]
const LANGUAGES: [(&str, &str); 100] = [
    ("en", "english"),
    ("zh", "chinese"),
    ("de", "german"),
    ("es", "spanish"),
    ("ru", "russian"),
    ("ko", "korean"),
    ("fr", "french"),
    ("ja", "japanese"),
    ("pt", "portuguese"),
    ("tr", "turkish"),
    ("pl", "polish"),
    ("ca", "catalan"),
    ("nl", "dutch"),
    ("ar", "arabic"),
    ("sv", "swedish"),
    ("it", "italian"),
    ("id", "indonesian"),
    ("hi", "hindi"),
    ("fi", "finnish"),
    ("vi", "vietnamese"),
    ("he", "hebrew"),
    ("uk", "ukrainian"),
    ("el", "greek"),
    ("ms", "malay"),
    ("cs", "czech"),
    ("ro", "romanian"),
    ("da", "danish"),
    ("hu", "hungarian"),
    ("ta", "tamil"),
    ("no", "norwegian"),
    ("th", "thai"),
    ("ur", "urdu"),
    ("hr", "croatian"),
    ("bg", "bulgarian"),
    ("lt", "lithuanian"),
    ("la", "latin"),
    ("mi", "maori"),
    ("ml", "malayalam"),
    ("cy", "welsh"),
    ("sk", "slovak"),
    ("te", "telugu"),
    ("fa", "persian"),
    ("lv", "latvian"),
    ("bn", "bengali"),
    ("sr", "serbian"),
    ("az", "azerbaijani"),
    ("sl", "slovenian"),
    ("kn", "kannada"),
    ("et", "estonian"),
    ("mk", "macedonian"),
    ("br", "breton"),
    ("eu", "basque"),
    ("is", "icelandic"),
    ("hy", "armenian"),
    ("ne", "nepali"),
    ("mn", "mongolian"),
    ("bs", "bosnian"),
    ("kk", "kazakh"),
    ("sq", "albanian"),
    ("sw", "swahili"),
    ("gl", "galician"),
    ("mr", "marathi"),
    ("pa", "punjabi"),
    ("si", "sinhala"),
    ("km", "khmer"),
    ("sn", "shona"),
    ("yo", "yoruba"),
    ("so", "somali"),
    ("af", "afrikaans"),
    ("oc", "occitan"),
    ("ka", "georgian"),
    ("be", "belarusian"),
    ("tg", "tajik"),
    ("sd", "sindhi"),
    ("gu", "gujarati"),
    ("am", "amharic"),
    ("yi", "yiddish"),
    ("lo", "lao"),
    ("uz", "uzbek"),
    ("fo", "faroese"),
    ("ht", "haitian creole"),
    ("ps", "pashto"),
    ("tk", "turkmen"),
    ("nn", "nynorsk"),
    ("mt", "maltese"),
    ("sa", "sanskrit"),
    ("lb", "luxembourgish"),
    ("my", "myanmar"),
    ("bo", "tibetan"),
    ("tl", "tagalog"),
    ("mg", "malagasy"),
    ("as", "assamese"),
    ("tt", "tatar"),
    ("haw", "hawaiian"),
    ("ln", "lingala"),
    ("ha", "hausa"),
    ("ba", "bashkir"),
    ("jw", "javanese"),
    ("su", "sundanese"),
    ("yue", "cantonese"),
];

/// The code of a language, from its code (`de`), a tag that begins with it (`de-AT`), or its English name (`German`).
pub fn language_code(text: &str) -> Option<&'static str> {
    let text = text.trim().to_lowercase();
    let primary = text.split(['-', '_']).next().unwrap_or_default();
    // Whisper says `jw` where ISO 639-1 says `jv`.
    let primary = if primary == "jv" { "jw" } else { primary };
    let known = LANGUAGES.iter().find(|(code, name)| *code == primary || *name == text);
    known.map(|(code, _)| *code)
}

/// Why a model cannot be asked for a language.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LanguageError {
    /// No language that Whisper knows.
    #[error(
        "\"{0}\" is not a language; expected an ISO 639-1 code such as en, or an English name such as english"
    )]
    Unknown(String),
    /// An English-only model was asked for another.
    #[error("the model \"{model}\" knows English only, and not {language}")]
    EnglishOnly {
        /// The model.
        model: String,
        /// The language's English name.
        language: &'static str,
    },
}

impl LanguageError {
    /// The stable name of this error on the wire and in logs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "invalid_value",
            Self::EnglishOnly { .. } => "unsupported_value",
        }
    }
}

/// The code of a language that `model` can be asked for.
///
/// # Errors
///
/// [`LanguageError::Unknown`] or [`LanguageError::EnglishOnly`].
pub fn spoken_language(text: &str, model: &ModelInfo) -> Result<&'static str, LanguageError> {
    let code = language_code(text).ok_or_else(|| LanguageError::Unknown(text.chars().take(60).collect()))?;
    if !model.multilingual && code != "en" {
        return Err(LanguageError::EnglishOnly { model: model.name.clone(), language: language_name(code) });
    }
    Ok(code)
}

/// The English name of a language, lower case as OpenAI says it; the code itself where nobody knows it.
pub fn language_name(code: &str) -> &str {
    LANGUAGES.iter().find(|(known, _)| *known == code).map_or(code, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_is_known_by_code_tag_and_name() {
        for text in ["de", "DE", " de ", "de-AT", "de_CH", "german", "German"] {
            assert_eq!(language_code(text), Some("de"), "{text}");
        }
        assert_eq!(language_code("haitian creole"), Some("ht"));
        assert_eq!(language_code("jv"), Some("jw"));
    }

    #[test]
    fn what_is_no_language_is_not_known() {
        for text in ["", "xx", "-", "deutsch", "auto", "e n"] {
            assert_eq!(language_code(text), None, "{text}");
        }
    }

    #[test]
    fn names_are_those_of_openai() {
        assert_eq!((language_name("en"), language_name("yue")), ("english", "cantonese"));
    }
}
