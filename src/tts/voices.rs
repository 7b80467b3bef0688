//! Which voices an engine has, and what other people call them.

use super::TtsError;

/// The names that clients of OpenAI's service ask for.
const OPENAI: [&str; 13] = [
    "alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer",
    "verse",
];

/// How many names an error message tells.
const MOST_SHOWN: usize = 60;

/// What is spoken under another service's name: the first of these voices that is there, else the default one.
pub(super) type Alias = (&'static str, &'static [&'static str]);

/// The voices of an engine.
#[derive(Debug, Clone)]
pub(super) struct Voices {
    names: Vec<String>,
    default: String,
    aliases: &'static [Alias],
    /// Whether names that are not in the list are passed on as they are.
    open: bool,
}

impl Voices {
    /// These voices, of which the first of `preferred` that is there is the default; else the first one. `wanted` is what
    /// the user wants for the default.
    ///
    /// # Errors
    ///
    /// [`TtsError::VoiceUnknown`] when `wanted` is not there, or nothing is.
    pub(super) fn new(
        names: Vec<String>,
        wanted: Option<&str>,
        preferred: &[&str],
        aliases: &'static [Alias],
    ) -> Result<Self, TtsError> {
        let found = preferred.iter().find(|name| names.iter().any(|known| known == *name));
        let default = found.map(ToString::to_string).or_else(|| names.first().cloned()).unwrap_or_default();
        let voices = Self { names, default, aliases, open: false };
        let default = voices.resolve(wanted.unwrap_or(&voices.default))?;
        Ok(Self { default, ..voices })
    }

    /// Whatever is asked for, as it is, because somebody else knows; `names` are for those who ask for none.
    pub(super) fn elsewhere(names: Vec<String>, wanted: Option<&str>) -> Result<Self, TtsError> {
        let open = names.is_empty();
        let default = names.first().map_or("alloy", String::as_str).to_owned();
        let voices = Self { names, default, aliases: &[], open };
        let default = voices.resolve(wanted.unwrap_or(&voices.default))?;
        Ok(Self { default, ..voices })
    }

    /// The voice of those who ask for none.
    pub(super) fn default_voice(&self) -> &str {
        &self.default
    }

    /// The voice of that name or alias.
    ///
    /// # Errors
    ///
    /// [`TtsError::VoiceUnknown`].
    pub(super) fn resolve(&self, name: &str) -> Result<String, TtsError> {
        if self.knows(name) || (self.open && !name.trim().is_empty()) {
            return Ok(name.to_owned());
        }
        let lower = name.to_lowercase();
        if self.knows(&lower) {
            return Ok(lower);
        }
        let stand_ins = self.aliases.iter().find(|(alias, _)| *alias == lower).map(|(_, names)| *names);
        let stand_in = stand_ins.unwrap_or_default().iter().find(|name| self.knows(name));
        match stand_in {
            Some(name) => Ok(name.to_string()),
            None if OPENAI.contains(&lower.as_str()) && !self.default.is_empty() => Ok(self.default.clone()),
            None => Err(TtsError::VoiceUnknown { name: name.to_owned(), known: self.known() }),
        }
    }

    /// Names for an error message: all of them, unless that is a whole page.
    fn known(&self) -> String {
        let shown = self.names.iter().take(MOST_SHOWN).cloned().collect::<Vec<_>>().join(", ");
        match self.names.len().saturating_sub(MOST_SHOWN) {
            0 => shown,
            more => format!("{shown} and {more} more"),
        }
    }

    fn knows(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn names_of_others_stand_for_what_is_there() {
        const ALIASES: &[Alias] = &[("echo", &["am_echo", "am_michael"]), ("onyx", &["am_onyx"])];
        let voices = Voices::new(names(&["bf_emma", "am_michael"]), None, &["af_heart"], ALIASES).unwrap();
        let cases = [
            ("am_michael", Some("am_michael")),
            ("AM_Michael", Some("am_michael")),
            ("echo", Some("am_michael")),
            ("Onyx", Some("bf_emma")),
            ("marin", Some("bf_emma")),
            ("am_echo", None),
            ("", None),
            ("../etc/passwd", None),
        ];
        for (asked, expected) in cases {
            assert_eq!(voices.resolve(asked).ok().as_deref(), expected, "{asked}");
        }
        let error = voices.resolve("nobody").unwrap_err();
        assert_eq!(error.to_string(), "there is no voice \"nobody\"; known are bf_emma, am_michael");
    }

    #[test]
    fn the_default_is_what_the_user_wants_or_the_best_that_is_there() {
        let default = |wanted, preferred: &[&str]| {
            Voices::new(names(&["a", "b"]), wanted, preferred, &[]).map(|voices| voices.default)
        };
        assert_eq!(default(None, &["c", "b"]).as_deref(), Ok("b"));
        assert_eq!(default(Some("a"), &["b"]).as_deref(), Ok("a"));
        assert_eq!(default(None, &[]).as_deref(), Ok("a"));
        assert_eq!(default(Some("c"), &["b"]).unwrap_err().code(), "voice_unknown");
        assert!(Voices::new(Vec::new(), None, &["b"], &[]).is_err());
    }

    #[test]
    fn a_server_whose_voices_nobody_listed_is_asked_for_anything() {
        let open = Voices::elsewhere(Vec::new(), None).unwrap();
        assert_eq!((open.default_voice(), open.resolve("Zoë").unwrap().as_str()), ("alloy", "Zoë"));
        let listed = Voices::elsewhere(names(&["anna"]), None).unwrap();
        assert_eq!(listed.resolve("alloy").as_deref(), Ok("anna"));
        assert!(listed.resolve("Zoë").is_err());
    }
}
