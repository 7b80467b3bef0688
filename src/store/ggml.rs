//! Is this file a whole Whisper model in ggml form? Asked before whisper.cpp sees it.
//!
//! whisper.cpp does not notice when the last tensor is cut short and decodes with garbage, so the tensors are
//! walked here: headers are read, data is skipped, and the last one must end where the file ends. The layout is
//! that of `whisper_model_load` in whisper.cpp 1.8.3.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::ops::RangeInclusive;
use std::path::Path;

/// "ggml", read as a little-endian number.
const MAGIC: u32 = 0x6767_6d6c;
/// Vocabularies of this size and more have tokens for languages.
const MULTILINGUAL_VOCABULARY: i32 = 51_865;
/// Far above anything in use; a larger count means that the file is not what it claims.
const MOST_TOKENS: i32 = 1_000_000;
const LONGEST_NAME: u64 = 4096;

/// The fields of the header, as whisper.cpp calls them, and what they are in Whisper models and some way around them.
const HEADER: [(&str, RangeInclusive<i32>); 11] = [
    ("n_vocab", 1_000..=MOST_TOKENS),
    ("n_audio_ctx", 1..=6_000),
    ("n_audio_state", 1..=8_192),
    ("n_audio_head", 1..=128),
    ("n_audio_layer", 1..=128),
    ("n_text_ctx", 1..=4_096),
    ("n_text_state", 1..=8_192),
    ("n_text_head", 1..=128),
    ("n_text_layer", 1..=128),
    ("n_mels", 1..=512),
    // The kind of numbers, and a thousand times the version of its quantization.
    ("ftype", 0..=10_000),
];

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GgmlInfo {
    /// Whether it knows other languages than English.
    pub(super) multilingual: bool,
}

/// Why a file is no whole model.
#[derive(Debug, thiserror::Error)]
pub(super) enum Defect {
    #[error("it is not a ggml file (it begins with {0:#010x})")]
    Magic(u32),
    #[error("it ends at byte {len}, {missing} bytes before the end of {what}")]
    CutShort { what: &'static str, len: u64, missing: u64 },
    #[error("{0}")]
    Nonsense(String),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Walks the whole file at `path`; reads little of it.
pub(super) fn inspect(path: &Path) -> Result<GgmlInfo, Defect> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    Walk { reader: BufReader::new(file), at: 0, len }.model()
}

/// A reader that knows where it is and where the file ends.
struct Walk<R> {
    reader: BufReader<R>,
    at: u64,
    len: u64,
}

impl<R: Read + Seek> Walk<R> {
    fn model(mut self) -> Result<GgmlInfo, Defect> {
        let magic = self.number("the magic number")? as u32;
        if magic != MAGIC {
            return Err(Defect::Magic(magic));
        }
        let vocabulary = self.header()?;
        self.mel_filters()?;
        self.vocabulary()?;
        while self.at < self.len {
            self.tensor()?;
        }
        Ok(GgmlInfo { multilingual: vocabulary >= MULTILINGUAL_VOCABULARY })
    }

    /// Checks what whisper.cpp takes as it stands and multiplies: nonsense there ends the process. Returns the size of
    /// the vocabulary.
    fn header(&mut self) -> Result<i32, Defect> {
        let mut fields = [0; HEADER.len()];
        for (field, (name, range)) in fields.iter_mut().zip(HEADER) {
            *field = self.number("the header")?;
            if !range.contains(field) {
                return Err(Defect::Nonsense(format!("its header says {name} = {field}")));
            }
        }
        let [vocabulary, _, audio_state, audio_heads, _, _, text_state, text_heads, ..] = fields;
        if audio_state % audio_heads != 0 || text_state % text_heads != 0 {
            return Err(Defect::Nonsense("its header has states that its heads do not divide".into()));
        }
        Ok(vocabulary)
    }

    fn mel_filters(&mut self) -> Result<(), Defect> {
        let what = "the mel filters";
        let bins = self.count(1_000, what)?;
        let bands = self.count(100_000, what)?;
        self.skip(bins * bands * 4, what)
    }

    fn vocabulary(&mut self) -> Result<(), Defect> {
        let what = "the vocabulary";
        for _ in 0..self.count(MOST_TOKENS, what)? {
            let length = self.count(MOST_TOKENS, what)?;
            self.skip(length, what)?;
        }
        Ok(())
    }

    fn tensor(&mut self) -> Result<(), Defect> {
        let what = "a tensor";
        let dimensions = self.count(4, what)?;
        let name = self.count(LONGEST_NAME as i32, what)?;
        let (block_bytes, block) = block_of(self.number(what)?)?;
        let mut elements: u64 = 1;
        for _ in 0..dimensions {
            elements = elements.saturating_mul(self.count(i32::MAX, what)?);
        }
        self.skip(name, what)?;
        self.skip((elements / block).saturating_mul(block_bytes), what)
    }

    /// A count between 0 and `most`.
    fn count(&mut self, most: i32, what: &'static str) -> Result<u64, Defect> {
        let count = self.number(what)?;
        if (0..=most).contains(&count) {
            return Ok(count as u64);
        }
        Err(Defect::Nonsense(format!("{what} has the count {count} at byte {}", self.at - 4)))
    }

    fn number(&mut self, what: &'static str) -> Result<i32, Defect> {
        self.claim(4, what)?;
        let mut bytes = [0; 4];
        self.reader.read_exact(&mut bytes)?;
        Ok(i32::from_le_bytes(bytes))
    }

    fn skip(&mut self, bytes: u64, what: &'static str) -> Result<(), Defect> {
        self.claim(bytes, what)?;
        Ok(self.reader.seek_relative(bytes.cast_signed())?)
    }

    /// Moves the position past `bytes`, which the file must have.
    fn claim(&mut self, bytes: u64, what: &'static str) -> Result<(), Defect> {
        let left = self.len - self.at;
        if bytes > left {
            return Err(Defect::CutShort { what, len: self.len, missing: bytes - left });
        }
        self.at += bytes;
        Ok(())
    }
}

/// Bytes and elements of one block of a ggml tensor type (`ggml_type` in ggml.h).
fn block_of(kind: i32) -> Result<(u64, u64), Defect> {
    Ok(match kind {
        0 => (4, 1),      // f32
        1 | 30 => (2, 1), // f16, bf16
        2 => (18, 32),    // q4_0
        3 => (20, 32),    // q4_1
        6 => (22, 32),    // q5_0
        7 => (24, 32),    // q5_1
        8 => (34, 32),    // q8_0
        10 => (84, 256),  // q2_K
        11 => (110, 256), // q3_K
        12 => (144, 256), // q4_K
        13 => (176, 256), // q5_K
        14 => (210, 256), // q6_K
        other => return Err(Defect::Nonsense(format!("a tensor has the unknown type {other}"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::demo_weights;
    use proptest::prelude::*;
    use std::io::Cursor;

    fn walk(bytes: &[u8]) -> Result<GgmlInfo, Defect> {
        Walk { reader: BufReader::new(Cursor::new(bytes)), at: 0, len: bytes.len() as u64 }.model()
    }

    /// A model with two tokens and two tensors: 4 f32 and one `q8_0` block.
    fn tiny(vocabulary: i32) -> Vec<u8> {
        let mut numbers = vec![MAGIC.cast_signed(), vocabulary];
        numbers.extend([1500, 192, 3, 2, 448, 192, 3, 2, 80, 7]);
        numbers.extend([1, 2, 0, 0]);
        let mut bytes: Vec<u8> = numbers.into_iter().flat_map(i32::to_le_bytes).collect();
        bytes.extend([2, 0, 0, 0, 1, 0, 0, 0, b'a', 2, 0, 0, 0, b'b', b'c']);
        tensor(&mut bytes, 0, 4, 16);
        tensor(&mut bytes, 8, 32, 34);
        bytes
    }

    fn tensor(bytes: &mut Vec<u8>, kind: i32, elements: i32, data: usize) {
        bytes.extend([1, 1, kind, elements].into_iter().flat_map(i32::to_le_bytes));
        bytes.push(b't');
        bytes.extend(vec![7; data]);
    }

    #[test]
    fn the_demo_model_is_whole_and_english() {
        assert_eq!(walk(&demo_weights()).unwrap(), GgmlInfo { multilingual: false });
    }

    #[test]
    fn the_size_of_the_vocabulary_tells_the_languages() {
        assert!(walk(&tiny(51_866)).unwrap().multilingual);
        assert!(!walk(&tiny(51_864)).unwrap().multilingual);
    }

    #[test]
    fn a_model_that_lost_its_last_byte_is_cut_short() {
        let mut weights = demo_weights();
        weights.pop();
        let defect = walk(&weights).unwrap_err().to_string();
        assert_eq!(defect, "it ends at byte 16824255, 1 bytes before the end of a tensor");
    }

    #[test]
    fn a_header_that_would_end_the_process_is_nonsense() {
        let damaged = |field: usize, number: i32| {
            let mut weights = demo_weights();
            weights[4 + 4 * field..][..4].copy_from_slice(&number.to_le_bytes());
            walk(&weights).unwrap_err().to_string()
        };
        assert_eq!(damaged(2, 0), "its header says n_audio_state = 0");
        assert_eq!(damaged(0, -1), "its header says n_vocab = -1");
        assert_eq!(damaged(1, i32::MAX), "its header says n_audio_ctx = 2147483647");
        assert_eq!(damaged(3, 5), "its header has states that its heads do not divide");
    }

    #[test]
    fn other_files_are_not_models() {
        assert!(matches!(walk(b"GGUF and more").unwrap_err(), Defect::Magic(_)));
        assert!(matches!(walk(b"").unwrap_err(), Defect::CutShort { .. }));
        assert!(walk(&[&tiny(51_864)[..], b"tail of another kind"].concat()).is_err());
    }

    proptest! {
        /// Fails if any cut were taken for a whole file, except at the two places where a tensor has just ended:
        /// those whisper.cpp finds itself, by counting tensors.
        #[test]
        fn every_cut_inside_a_tensor_is_noticed(keep in 0usize..1000) {
            let whole = tiny(51_864);
            let keep = keep % whole.len();
            let between = [whole.len() - 51, whole.len() - 51 - 33];
            prop_assert_eq!(walk(&whole[..keep]).is_ok(), between.contains(&keep));
        }

        /// Fails by a panic or an endless loop on hostile counts.
        #[test]
        fn garbage_never_panics(tail: Vec<u8>) {
            let mut bytes = MAGIC.to_le_bytes().to_vec();
            bytes.extend(tail);
            let _ = walk(&bytes);
        }
    }
}
