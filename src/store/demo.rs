//! The bundled demo model: zstd inside the binary, ggml in memory.

use super::Checksum;

/// `models/demo/README.md` says where it comes from and under which licence.
static PACKED: &[u8] = include_bytes!("../../models/demo/ggml-demo.en-q8_0.bin.zst");

/// The demo model's ggml file (16.8 MB), unpacked in about 30 ms.
///
/// # Panics
///
/// Never: a test unpacks it.
pub fn demo_weights() -> Vec<u8> {
    zstd::decode_all(PACKED).expect("the embedded demo model is whole")
}

/// What the unpacked weights hash to, in the kind of `expected`.
pub(super) fn demo_checksum(expected: Checksum) -> Checksum {
    expected.of(&demo_weights())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{DEMO, Manifest};

    #[test]
    fn the_embedded_model_unpacks_to_what_the_manifest_records() {
        let manifest = Manifest::embedded();
        let demo = manifest.get(DEMO).unwrap();
        let weights = demo_weights();
        assert_eq!(weights[..4], *b"lmgg");
        assert_eq!(Some(weights.len() as u64), demo.bytes);
        let recorded = demo.checksum.unwrap();
        assert_eq!(recorded.of(&weights), recorded);
    }

    #[test]
    fn the_readme_records_the_same_checksums() {
        let readme = include_str!("../../models/demo/README.md");
        let manifest = Manifest::embedded();
        let recorded = manifest.get(DEMO).unwrap().checksum.unwrap();
        for bytes in [PACKED, &demo_weights()] {
            let checksum = recorded.of(bytes).to_string();
            assert!(readme.contains(checksum.trim_start_matches("sha256 ")), "{checksum}");
        }
    }
}
