//! ONNX Runtime can be loaded only once per process, so what happens before that is tested in a process of its own.

use std::fs;
use std::path::{Path, PathBuf};
use stenopool::vad::{Silero, VadError};

fn asset(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    assert!(path.exists(), "{} is missing: run `make setup`", path.display());
    path
}

fn refusal(runtime: &Path) -> String {
    let error = Silero::load(runtime, &asset("models/silero_vad.onnx")).err().expect("it must be refused");
    assert!(matches!(&error, VadError::Runtime { path, .. } if path == runtime), "{error}");
    assert_eq!(error.code(), "vad_runtime_missing");
    error.to_string()
}

/// A library that can be loaded, but is something else.
fn another_library() -> PathBuf {
    let maps = fs::read_to_string("/proc/self/maps").expect("Linux lists the libraries of a process");
    let libc =
        maps.lines().filter_map(|line| line.split_whitespace().nth(5)).find(|path| path.contains("libc.so"));
    libc.expect("a test process is linked with libc").into()
}

#[test]
fn an_unusable_runtime_is_refused_and_a_good_one_loads_after_it() {
    let folder = tempfile::tempdir().unwrap();
    assert!(refusal(&folder.path().join("missing.so")).contains("No such file"));
    let damaged = folder.path().join("damaged.so");
    fs::write(&damaged, b"not a library, but long enough to hold the head of one: nobody would cut it off")
        .unwrap();
    refusal(&damaged);
    refusal(folder.path());
    // The loader would map it, and the process would end with a bus error.
    let library = fs::read(asset("models/libonnxruntime.so")).unwrap();
    fs::write(&damaged, &library[..library.len() / 2]).unwrap();
    assert!(refusal(&damaged).contains("cut off"));
    fs::write(&damaged, []).unwrap();
    assert!(refusal(&damaged).contains("cut off"));
    assert!(refusal(&another_library()).contains("OrtGetApiBase"));

    let (runtime, model) = (asset("models/libonnxruntime.so"), asset("models/silero_vad.onnx"));
    let _first = Silero::load(&runtime, &model).unwrap();
    let _second = Silero::load(&runtime, &model).unwrap();
    assert!(refusal(&damaged).contains("already loaded"));
}
