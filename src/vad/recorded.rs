//! Recordings and the real model, for tests.

use super::Silero;
use std::fs;
use std::path::{Path, PathBuf};

/// A file that tests need, by its path from the package's root.
pub(crate) fn asset(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    assert!(
        path.exists(),
        "{} is missing: `make setup` fetches models, recordings are in ../shared",
        path.display()
    );
    path
}

/// The model as it is shipped.
pub(crate) fn silero() -> Silero {
    Silero::load(&asset("models/libonnxruntime.so"), &asset("models/silero_vad.onnx")).unwrap()
}

/// The samples of `../shared/NAME.wav`, which is 16 kHz mono in 16 bits.
pub(crate) fn recording(name: &str) -> Vec<f32> {
    let bytes = fs::read(asset(&format!("../shared/{name}.wav"))).unwrap();
    assert_eq!(bytes[20..24], [1, 0, 1, 0], "{name} is PCM with one channel");
    assert_eq!(bytes[24..28], 16_000_u32.to_le_bytes(), "{name} is at 16 kHz");
    assert_eq!(bytes[34..36], [16, 0], "{name} has 16 bits");
    let data = bytes.windows(4).position(|name| name == b"data").expect("a WAV file has a data chunk");
    let samples = bytes[data + 8..].as_chunks().0.iter();
    samples.map(|sample| f32::from(i16::from_le_bytes(*sample)) / 32_768.0).collect()
}
