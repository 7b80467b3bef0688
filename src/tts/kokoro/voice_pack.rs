//! A voice of Kokoro: one row of style for every number of tokens.

use super::vocabulary::MOST_TOKENS;
use crate::tts::TtsError;
use std::collections::BTreeMap;
use std::path::Path;
use tracing::warn;

/// Numbers in one row.
pub(super) const STYLE: usize = 256;

/// Rows that a pack may have: one for each number of tokens; some exports have one or two more.
const ROWS: std::ops::RangeInclusive<usize> = MOST_TOKENS..=MOST_TOKENS + 2;

/// A pack, `[rows, 1, 256]`.
#[derive(Debug)]
pub(super) struct VoicePack {
    values: Vec<f32>,
}

impl VoicePack {
    /// Reads `NAME.bin`: raw 32-bit floats, little end first.
    ///
    /// # Errors
    ///
    /// [`TtsError::ModelInvalid`] when it has another size, or a number in it is none.
    pub(super) fn read(path: &Path) -> Result<Self, TtsError> {
        let invalid = |reason: String| TtsError::ModelInvalid { path: path.to_owned(), reason };
        let bytes = std::fs::read(path).map_err(|error| invalid(error.to_string()))?;
        Self::parse(&bytes).map_err(invalid)
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let (rows, rest) = (bytes.len() / (4 * STYLE), bytes.len() % (4 * STYLE));
        if rest != 0 || !ROWS.contains(&rows) {
            return Err(format!(
                "it has {} bytes, which is no {MOST_TOKENS} rows of {STYLE} numbers",
                bytes.len()
            ));
        }
        let number = |four: &[u8]| f32::from_le_bytes([four[0], four[1], four[2], four[3]]);
        let values: Vec<f32> = bytes.chunks_exact(4).map(number).collect();
        match values.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(format!("number {at} in it is not finite")),
            None => Ok(Self { values }),
        }
    }

    /// The row for so many tokens, without the zeros at both ends: the first is for one token, as in Kokoro's own
    /// pipeline.
    pub(super) fn row(&self, n_tokens: usize) -> &[f32] {
        let last = self.values.len() / STYLE - 1;
        let row = n_tokens.saturating_sub(1).min(last);
        &self.values[row * STYLE..][..STYLE]
    }
}

/// The English voices in a folder, by name. Files that are no voices, and voices of other languages, are passed over.
///
/// # Errors
///
/// [`TtsError::ModelInvalid`] when the folder cannot be read or has no voice.
pub(super) fn read_all(folder: &Path) -> Result<BTreeMap<String, VoicePack>, TtsError> {
    let invalid = |reason: String| TtsError::ModelInvalid { path: folder.to_owned(), reason };
    let entries = std::fs::read_dir(folder).map_err(|error| invalid(error.to_string()))?;
    let mut packs = BTreeMap::new();
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let Some(name) = name(&path) else { continue };
        match VoicePack::read(&path) {
            Ok(pack) => drop(packs.insert(name, pack)),
            Err(error) => warn!(%error, "a voice is left out"),
        }
    }
    if packs.is_empty() {
        return Err(invalid("there is no English voice in it (as af_heart.bin)".into()));
    }
    Ok(packs)
}

/// The name of an English voice's file: `a` (American) or `b` (British), `f` or `m`, and a name.
fn name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?.strip_suffix(".bin")?;
    let (kind, own) = name.split_once('_')?;
    let english = matches!(kind, "af" | "am" | "bf" | "bm") && !own.is_empty();
    english.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A pack whose numbers say where they stand: row + column / 1024.
    pub(in crate::tts::kokoro) fn telling(rows: usize) -> Vec<u8> {
        let value = |at: usize| (at / STYLE) as f32 + (at % STYLE) as f32 / 1_024.0;
        (0..rows * STYLE).flat_map(|at| value(at).to_le_bytes()).collect()
    }

    #[test]
    fn the_row_goes_by_the_number_of_tokens() {
        for rows in [510, 511, 512] {
            let pack = VoicePack::parse(&telling(rows)).unwrap();
            for (n_tokens, row) in [(0, 0.0), (1, 0.0), (2, 1.0), (510, 509.0)] {
                let found = pack.row(n_tokens);
                assert_eq!((found[0], found[255], found.len()), (row, row + 255.0 / 1_024.0, STYLE));
            }
            assert_eq!(pack.row(5_000)[..1], [(rows - 1) as f32]);
        }
    }

    #[test]
    fn what_is_no_pack_is_refused() {
        let mut infinite = telling(510);
        infinite[4_000..4_004].copy_from_slice(&f32::INFINITY.to_le_bytes());
        let cases = [
            (Vec::new(), "0 bytes"),
            (telling(509), "521216 bytes"),
            (telling(513), "525312 bytes"),
            (telling(510)[1..].to_vec(), "522239 bytes"),
            (infinite, "number 1000"),
        ];
        for (bytes, reason) in cases {
            let error = VoicePack::parse(&bytes).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn a_folder_gives_its_english_voices_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
        assert_eq!(read_all(folder.path()).unwrap_err().code(), "tts_model_invalid");
        write("zf_xiaobei.bin", &telling(510));
        write("af_.bin", &telling(510));
        write("README.md", b"voices");
        write("af_broken.bin", b"oops");
        assert_eq!(read_all(folder.path()).unwrap_err().code(), "tts_model_invalid");
        write("bf_emma.bin", &telling(510));
        write("af_heart.bin", &telling(511));
        let names: Vec<String> = read_all(folder.path()).unwrap().into_keys().collect();
        assert_eq!(names, ["af_heart", "bf_emma"]);
        assert!(read_all(&folder.path().join("missing")).is_err());
    }
}
