//! The models we know: `models/manifest.toml`, embedded in the binary and read into types once.

use super::Checksum;
use super::error::{ManifestError, StoreError};
use serde::Deserialize;
use std::fmt;

/// The bundled model's name.
pub const DEMO: &str = "demo";

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Weights of a Whisper model in ggml form.
    Whisper,
    /// A voice activity detector.
    Vad,
    /// Speech synthesis: Kokoro's weights or one of its voices.
    Voice,
    /// A library that is loaded at run time.
    Runtime,
}

/// What the encoder may look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Window {
    /// The utterance alone: cheap, for models that were trained for it.
    Fit,
    /// Always 30 seconds, as `OpenAI`'s models expect.
    Full,
}

/// What a model understands or speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Languages {
    /// About a hundred.
    Multilingual,
    /// English only.
    English,
}

impl fmt::Display for Languages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Multilingual => "multilingual",
            Self::English => "english",
        })
    }
}

/// One file of the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelEntry {
    /// What people type.
    pub name: String,
    /// What it is for.
    pub kind: Kind,
    /// Where it lies, relative to a models folder or to a mirror.
    pub file: String,
    /// Where it can be downloaded.
    pub url: Option<String>,
    /// Roughly how large it is, for people: in MiB, as published.
    pub mib: Option<u64>,
    /// Exactly how large it is, where that is known.
    pub bytes: Option<u64>,
    /// What it must hash to; `None` where nobody publishes it.
    pub checksum: Option<Checksum>,
    /// The encoder window of a Whisper model.
    pub window: Option<Window>,
    /// What it understands or speaks.
    pub languages: Option<Languages>,
    /// Of the installed Whisper models the one of the highest rank is the default.
    pub rank: u32,
    /// SPDX identifier.
    pub licence: String,
    /// What it is, in a few words.
    pub description: String,
    /// How to get it, where `pull` cannot.
    pub hint: Option<String>,
}

impl ModelEntry {
    /// Whether its weights are part of the binary.
    pub fn is_embedded(&self) -> bool {
        self.name == DEMO
    }

    /// Where to download it: under `mirror`, which serves the same tree as a models folder, or from its own address.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoSource`] when it has no address and no mirror is given.
    pub fn source(&self, mirror: Option<&str>) -> Result<String, StoreError> {
        match (mirror, &self.url) {
            (Some(mirror), _) => Ok(format!("{}/{}", mirror.trim_end_matches('/'), self.file)),
            (None, Some(url)) => Ok(url.clone()),
            (None, None) => Err(StoreError::NoSource { name: self.name.clone(), hint: self.hint.clone() }),
        }
    }
}

/// All models we know, in the order in which they are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    entries: Vec<ModelEntry>,
}

impl Manifest {
    /// The manifest in the binary.
    ///
    /// # Panics
    ///
    /// Never: a test reads it.
    pub fn embedded() -> Self {
        Self::parse(include_str!("../../models/manifest.toml")).expect("the embedded manifest is valid")
    }

    /// Reads a manifest.
    ///
    /// # Errors
    ///
    /// Unknown fields, two models of one name, a malformed checksum, or a path that leaves the models folder.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let raw: RawManifest = toml::from_str(text).map_err(|error| ManifestError(error.to_string()))?;
        let mut entries: Vec<ModelEntry> = Vec::with_capacity(raw.model.len());
        for model in raw.model {
            let entry = ModelEntry::try_from(model)?;
            if entries.iter().any(|earlier| earlier.name == entry.name) {
                return Err(ManifestError(format!("two models are called {}", entry.name)));
            }
            entries.push(entry);
        }
        Ok(Self { entries })
    }

    /// All of them.
    pub fn entries(&self) -> &[ModelEntry] {
        &self.entries
    }

    /// The one of this name.
    pub fn get(&self, name: &str) -> Option<&ModelEntry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// The one whose file has this name, whatever folder it lies in.
    pub fn by_file(&self, file_name: &str) -> Option<&ModelEntry> {
        self.entries.iter().find(|entry| entry.file.rsplit('/').next() == Some(file_name))
    }

    /// The Whisper models, best first.
    pub fn whisper_by_rank(&self) -> Vec<&ModelEntry> {
        let mut models: Vec<_> = self.entries.iter().filter(|entry| entry.kind == Kind::Whisper).collect();
        models.sort_by_key(|entry| std::cmp::Reverse(entry.rank));
        models
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawManifest {
    #[serde(default)]
    model: Vec<RawEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    name: String,
    kind: Kind,
    file: String,
    url: Option<String>,
    mib: Option<u64>,
    bytes: Option<u64>,
    sha1: Option<String>,
    sha256: Option<String>,
    window: Option<Window>,
    languages: Option<Languages>,
    #[serde(default)]
    rank: u32,
    licence: String,
    description: String,
    hint: Option<String>,
}

impl TryFrom<RawEntry> for ModelEntry {
    type Error = ManifestError;

    fn try_from(raw: RawEntry) -> Result<Self, ManifestError> {
        if !stays_inside(&raw.file) {
            return Err(ManifestError(format!(
                "{}: the file {:?} leaves the models folder",
                raw.name, raw.file
            )));
        }
        Ok(Self {
            checksum: checksum(&raw)?,
            name: raw.name,
            kind: raw.kind,
            file: raw.file,
            url: raw.url,
            mib: raw.mib,
            bytes: raw.bytes,
            window: raw.window,
            languages: raw.languages,
            rank: raw.rank,
            licence: raw.licence,
            description: raw.description,
            hint: raw.hint,
        })
    }
}

fn checksum(raw: &RawEntry) -> Result<Option<Checksum>, ManifestError> {
    let checksum = match (&raw.sha1, &raw.sha256) {
        (None, None) => return Ok(None),
        (Some(hex), None) => Checksum::sha1(hex),
        (None, Some(hex)) => Checksum::sha256(hex),
        (Some(_), Some(_)) => {
            return Err(ManifestError(format!("{}: give sha1 or sha256, not both", raw.name)));
        }
    };
    checksum.map(Some).ok_or_else(|| ManifestError(format!("{}: the checksum is not hexadecimal", raw.name)))
}

/// Whether a relative path is made of plain names only.
fn stays_inside(file: &str) -> bool {
    !file.contains('\\') && file.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(more: &str) -> String {
        format!(
            "[[model]]\nname = \"x\"\nkind = \"whisper\"\nfile = \"x.bin\"\nlicence = \"MIT\"\ndescription = \"\"\n{more}\n"
        )
    }

    fn refusal(text: &str) -> String {
        Manifest::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn the_embedded_manifest_names_every_model_of_ours_with_what_it_needs() {
        let manifest = Manifest::embedded();
        for name in ["demo", "tiny.en", "large-v3", "large-v3-turbo-q5_0", "silero", "kokoro", "af_heart"] {
            assert!(manifest.get(name).is_some(), "{name} is missing");
        }
        for model in manifest.whisper_by_rank() {
            assert!(model.checksum.is_some(), "{} has no checksum", model.name);
            assert!(model.languages.is_some(), "{} has no languages", model.name);
            let window = if model.is_embedded() { Window::Fit } else { Window::Full };
            assert_eq!(model.window, Some(window), "{}", model.name);
            assert_eq!(model.url.is_none(), model.is_embedded(), "{}", model.name);
        }
    }

    #[test]
    fn every_entry_can_be_pulled_or_says_what_to_do() {
        for entry in Manifest::embedded().entries() {
            assert!(entry.url.is_some() || entry.hint.is_some(), "{}", entry.name);
        }
    }

    #[test]
    fn ranks_are_distinct_and_the_demo_is_last() {
        let manifest = Manifest::embedded();
        let models = manifest.whisper_by_rank();
        assert!(models.windows(2).all(|pair| pair[0].rank > pair[1].rank));
        assert_eq!(models.first().unwrap().name, "large-v3");
        assert_eq!(models.last().unwrap().name, DEMO);
    }

    #[test]
    fn mistakes_in_a_manifest_are_refused() {
        assert!(refusal(&entry("colour = 1")).contains("colour"));
        assert!(refusal(&entry("sha1 = \"12\"")).contains("not hexadecimal"));
        assert!(refusal(&(entry("") + &entry(""))).contains("two models are called x"));
        assert!(refusal(&entry("").replace("x.bin", "../x.bin")).contains("leaves the models folder"));
        assert!(refusal(&entry("").replace("x.bin", "/etc/x")).contains("leaves the models folder"));
    }

    #[test]
    fn a_mirror_serves_the_tree_of_a_models_folder() {
        let manifest = Manifest::embedded();
        let voice = manifest.get("af_heart").unwrap();
        assert_eq!(voice.source(Some("http://host/m/")).unwrap(), "http://host/m/kokoro/voices/af_heart.bin");
        assert_eq!(voice.source(None).unwrap(), voice.url.clone().unwrap());
        assert_eq!(
            manifest.get("silero").unwrap().source(None).unwrap_err().code(),
            "model_not_downloadable"
        );
    }
}
