//! Recordings and the real model, for tests.

use super::Silero;
use crate::audio::FileReader;
use std::fs::File;
use std::path::{Path, PathBuf};

/// A file that tests need, by its path from the package's root.
pub(crate) fn asset(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    assert!(
        path.exists(),
        "{} is missing: `make setup` fetches what is not in the repository",
        path.display()
    );
    path
}

/// The model as it is shipped.
pub(crate) fn silero() -> Silero {
    Silero::load(&asset("models/libonnxruntime.so"), &asset("models/silero_vad.onnx")).unwrap()
}

/// The samples of `tests/recordings/NAME.wav` at 16 kHz.
pub(crate) fn recording(name: &str) -> Vec<f32> {
    let file = File::open(asset(&format!("tests/recordings/{name}.wav"))).unwrap();
    let mut reader = FileReader::open(file, None).unwrap();
    std::iter::from_fn(|| reader.read().unwrap()).flatten().collect()
}
