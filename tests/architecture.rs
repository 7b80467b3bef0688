//! The import rules of the map, held by an ordinary test: it walks `src/` and prints `file:line: pool imports server`.
//!
//! The checker reads tokens, not types: comments and strings are blanked, then paths are followed through `crate::`,
//! `super::` and nested `use` groups. Its own tests plant violations and look whether they are found.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Which modules of ours a module may name. `cli` may name all.
const MODULES: &[(&str, &[&str])] = &[
    ("audio", &[]),
    ("telemetry", &[]),
    ("gpu", &["telemetry"]),
    ("pool", &["telemetry"]),
    // Loads the library that `vad` and `tts` run their networks with: it is global to a process, and they may not know
    // each other.
    ("onnx", &[]),
    ("vad", &["audio", "onnx", "telemetry"]),
    ("asr", &["audio", "pool", "gpu", "telemetry"]),
    ("llm", &["telemetry"]),
    ("tts", &["audio", "onnx", "telemetry"]),
    ("session", &["audio", "vad", "asr", "llm", "tts", "pool", "telemetry"]),
    // `asr`, `vad`, `llm` and `tts`: the lanes, endpoint settings, model and voices that it hands to sessions.
    ("server", &["session", "pool", "gpu", "audio", "asr", "vad", "llm", "tts", "telemetry"]),
    ("store", &["telemetry"]),
    ("load", &["audio", "vad", "pool", "telemetry"]),
    // The `Settings` values of the others.
    ("config", &["server", "session", "pool", "asr", "vad", "llm", "tts", "gpu", "telemetry"]),
    (
        "cli",
        &[
            "audio",
            "telemetry",
            "gpu",
            "pool",
            "vad",
            "asr",
            "llm",
            "tts",
            "session",
            "server",
            "store",
            "load",
            "config",
        ],
    ),
];

/// Crates that only some places may name; a place is a module, or one file in it.
const CRATES: &[(&str, &[&str])] = &[
    ("anyhow", &["cli"]),
    ("axum", &["server"]),
    ("clap", &["cli"]),
    // Clients that come back do not all come at once.
    ("fastrand", &["cli"]),
    // What writes sound: FLAC, MP3, Opus in Ogg.
    ("flacenc", &["audio"]),
    ("hound", &["audio"]),
    ("indicatif", &["cli"]),
    // Which sockets were handed over stands in the environment.
    ("listenfd", &["cli"]),
    // What numbers and characters are to a voice.
    ("num2words", &["tts"]),
    ("nvml_wrapper", &["gpu/nvml.rs"]),
    ("cudarc", &["gpu/cuda.rs"]),
    // What gives memory back to the system.
    ("libc", &["asr/whisper/native.rs"]),
    // From text to phonemes, for Kokoro.
    ("misaki_rs", &["tts"]),
    ("mp3lame_encoder", &["audio"]),
    ("ogg", &["audio"]),
    ("opusic_c", &["audio"]),
    ("ort", &["onnx", "vad", "tts"]),
    ("plotters", &["load"]),
    // What processes use: `telemetry` tells it of our own, `load` looks at servers.
    ("procfs", &["load", "telemetry"]),
    ("prometheus", &["telemetry"]),
    ("rcgen", &["server"]),
    ("regex", &["tts"]),
    // `store` fetches models; `load` is a client of servers, `llm` of language models, and `tts` of voices.
    ("reqwest", &["store", "load", "llm", "tts"]),
    ("rubato", &["audio"]),
    ("rustls", &["store", "load", "llm", "tts"]),
    ("serde", &["server", "config", "cli", "store", "load", "llm"]),
    ("serde_json", &["server", "cli", "store", "load", "llm", "tts/remote.rs"]),
    ("sha1", &["store"]),
    ("sha2", &["store", "config", "server"]),
    // Streamed completions come as server-sent events.
    ("sse_stream", &["llm"]),
    ("subtle", &["server"]),
    ("symphonia", &["audio"]),
    ("symphonia_adapter_libopus", &["audio"]),
    // `cli` reports on disks and on the machine; memory is the business of `gpu`.
    ("sysinfo", &["gpu", "cli"]),
    // `server` speaks TLS on its own socket; those who are clients get it with theirs.
    ("tokio_rustls", &["server"]),
    ("tokio_tungstenite", &["load"]),
    ("toml", &["config", "store"]),
    ("tracing_subscriber", &["telemetry"]),
    ("unicode_properties", &["tts"]),
    ("whisper_rs", &["asr/whisper.rs", "asr/whisper/native.rs"]),
];

/// Names of the standard library that only some places may use, and why.
const STANDARD: &[(&str, &[&str], &str)] = &[
    ("std::env", &["cli"], "reads the environment"),
    ("SystemTime", &["server"], "reads the wall clock"),
    ("unsafe", &["asr/whisper/native.rs"], "is unsafe"),
];

#[test]
fn every_module_keeps_to_the_map() {
    let violations: Vec<String> = sources().iter().flat_map(violations).collect();
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

#[test]
fn only_telemetry_spells_the_names_of_metrics() {
    let spells = |source: &Source| source.text.contains("stenopool_");
    let found: Vec<_> = sources().into_iter().filter(spells).collect();
    let strangers: Vec<_> = found.iter().filter(|s| s.module != "telemetry").map(|s| &s.path).collect();
    assert!(strangers.is_empty(), "they spell the name of a metric: {strangers:?}");
    assert!(!found.is_empty(), "where are the metrics?");
}

#[test]
fn every_module_of_ours_stands_in_the_map() {
    let known: BTreeSet<&str> = MODULES.iter().map(|(module, _)| *module).collect();
    let found: BTreeSet<String> = sources().into_iter().map(|source| source.module).collect();
    let roots = ["lib.rs", "main.rs"];
    let strangers: Vec<_> = found
        .iter()
        .filter(|module| !known.contains(module.as_str()) && !roots.contains(&module.as_str()))
        .collect();
    assert!(strangers.is_empty(), "not in the map of tests/architecture.rs: {strangers:?}");
}

/// One file under `src/`.
struct Source {
    /// As in `asr/whisper.rs`.
    path: String,
    /// As in `asr`.
    module: String,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    let read = |file: &PathBuf| {
        let path = file.strip_prefix(&root).expect("it was found there").to_string_lossy().into_owned();
        Source::new(&path, &std::fs::read_to_string(file).expect("sources can be read"))
    };
    files.iter().map(read).collect()
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("src/ can be read") {
        let path = entry.expect("src/ can be read").path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        let module = path.split('/').next().expect("split gives at least one").to_owned();
        Self { path: path.to_owned(), module, text: text.to_owned() }
    }

    /// Whether this file is one of `places`.
    fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| *place == self.module || *place == self.path)
    }

    /// How many modules deep the file's own top level is: `pool/mod.rs` 1, `pool/ledger.rs` 2.
    fn depth(&self) -> usize {
        let parts = self.path.split('/').count();
        if self.path.ends_with("mod.rs") { parts - 1 } else { parts }
    }
}

/// What `source` does that it may not, as `file:line: what`.
fn violations(source: &Source) -> Vec<String> {
    let tokens = tokens(&blank(&source.text));
    let mut found = Vec::new();
    for Named { line, names, in_tests } in paths(&tokens, source.depth()) {
        let mut report =
            |what: &str| found.push(format!("src/{}:{line}: {} {what}", source.path, source.module));
        let first = names[0].as_str();
        match names.get(1) {
            Some(module) if first == "crate" => {
                if !may_import(source, module) {
                    report(&format!("imports {module}"));
                }
                continue;
            }
            _ => {}
        }
        // Tests may use what they need to look at; the rules among our own modules hold for them, too.
        if in_tests || source.path.ends_with("tests.rs") {
            continue;
        }
        if CRATES.iter().any(|(name, places)| *name == first && !source.is_in(places)) {
            report(&format!("names the crate {first}"));
        }
        let path = names.join("::");
        for (name, places, what) in STANDARD {
            if (path == *name
                || path.starts_with(&format!("{name}::"))
                || names.iter().any(|part| part == name))
                && !source.is_in(places)
            {
                report(what);
            }
        }
    }
    found
}

fn may_import(source: &Source, module: &str) -> bool {
    let is_module = MODULES.iter().any(|(name, _)| *name == module);
    let allowed = MODULES.iter().find(|(name, _)| *name == source.module).map(|(_, allowed)| *allowed);
    // The roots are not modules and may name all; a name that is no module is a macro or a type of the crate's root.
    !is_module || source.module == module || allowed.is_none_or(|allowed| allowed.contains(&module))
}

/// A path as written, with `super::` followed and groups taken apart: `crate::{a, b::c}` is two of them.
struct Named {
    line: usize,
    names: Vec<String>,
    in_tests: bool,
}

/// A word or a mark, and the line it stands on.
#[derive(Clone)]
struct Token {
    text: String,
    line: usize,
}

/// All paths in a file whose top level is `depth` modules deep.
fn paths(tokens: &[Token], depth: usize) -> Vec<Named> {
    let mut found = Vec::new();
    // For every open brace: whether it opened a module, and whether that is for tests.
    let mut blocks: Vec<(bool, bool)> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at].text.as_str() {
            "{" => blocks.push((opens_module(tokens, at), is_for_tests(tokens, at))),
            "}" => drop(blocks.pop()),
            word if is_word(word) && !continues_path(tokens, at) => {
                let depth = depth + blocks.iter().filter(|(module, _)| *module).count();
                let in_tests = blocks.iter().any(|(_, tests)| *tests);
                let mut all = Vec::new();
                at = expand(tokens, at, &mut Vec::new(), &mut all);
                for (line, names) in all {
                    found.push(Named { line, names: follow_super(names, depth), in_tests });
                }
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Reads the path that begins at `at` (and its groups) into `all`; returns where it ends.
fn expand(
    tokens: &[Token],
    mut at: usize,
    before: &mut Vec<String>,
    all: &mut Vec<(usize, Vec<String>)>,
) -> usize {
    let (kept, line) = (before.len(), tokens[at].line);
    while at < tokens.len() && is_word(&tokens[at].text) {
        before.push(tokens[at].text.clone());
        at += 1;
        if text(tokens, at) != "::" {
            break;
        }
        at += 1;
    }
    if text(tokens, at) == "{" && at > 0 && tokens[at - 1].text == "::" {
        at += 1;
        while at < tokens.len() && tokens[at].text != "}" {
            at = if is_word(&tokens[at].text) { expand(tokens, at, before, all) } else { at + 1 };
        }
        at += 1;
    } else {
        all.push((line, before.clone()));
    }
    before.truncate(kept);
    at
}

/// `super::super::x`, seen from two modules deep, is `crate::x`. One that stays inside its module stays as it is.
fn follow_super(names: Vec<String>, depth: usize) -> Vec<String> {
    let ups = names.iter().take_while(|name| *name == "super").count();
    if ups < depth || ups == 0 {
        return names;
    }
    std::iter::once("crate".to_owned()).chain(names.into_iter().skip(ups)).collect()
}

fn opens_module(tokens: &[Token], brace: usize) -> bool {
    brace >= 2 && tokens[brace - 2].text == "mod"
}

/// `#[cfg(test)] mod name {`, also with other attributes in between.
fn is_for_tests(tokens: &[Token], brace: usize) -> bool {
    if !opens_module(tokens, brace) {
        return false;
    }
    let before: Vec<&str> =
        tokens[brace.saturating_sub(12)..brace].iter().map(|token| token.text.as_str()).collect();
    before.windows(4).any(|window| window == ["cfg", "(", "test", ")"])
}

fn text(tokens: &[Token], at: usize) -> &str {
    tokens.get(at).map_or("", |token| token.text.as_str())
}

fn is_word(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Whether the word at `at` is not the beginning of its path: `.field`, `path::word`.
fn continues_path(tokens: &[Token], at: usize) -> bool {
    at > 0 && [".", "::"].contains(&tokens[at - 1].text.as_str()) && !begins_at_root(tokens, at)
}

/// `::serde::Serialize`: a path that begins with two colons.
fn begins_at_root(tokens: &[Token], at: usize) -> bool {
    tokens[at - 1].text == "::" && (at < 2 || !(is_word(&tokens[at - 2].text) || tokens[at - 2].text == ">"))
}

/// Words, `::`, and single marks.
fn tokens(text: &str) -> Vec<Token> {
    let mut found: Vec<Token> = Vec::new();
    let mut line = 1;
    let mut glue = false;
    for character in text.chars() {
        let word = character.is_alphanumeric() || character == '_';
        let last = found.last_mut().filter(|_| glue);
        match last {
            Some(token) if word && is_word(&token.text) => token.text.push(character),
            Some(token) if character == ':' && token.text == ":" => token.text.push(character),
            _ if character.is_whitespace() => {}
            _ => found.push(Token { text: character.into(), line }),
        }
        glue = !character.is_whitespace();
        line += usize::from(character == '\n');
    }
    found
}

/// The text with comments, strings and characters made blank; lines stay where they are.
fn blank(text: &str) -> String {
    let mut rest = text;
    let mut out = String::new();
    while let Some(first) = rest.chars().next() {
        let length = literal_length(rest, out.chars().last());
        if length == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            out.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[length..];
        }
    }
    out
}

/// How many bytes at the beginning of `text` are a comment or a literal; 0 when it begins with code.
fn literal_length(text: &str, before: Option<char>) -> usize {
    let until =
        |end: &str, from: usize| text[from..].find(end).map_or(text.len(), |at| from + at + end.len());
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return until("*/", 2);
    }
    if text.starts_with('"') {
        return closing(text, '"');
    }
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if let Some(raw) = text.strip_prefix('r').filter(|_| !in_word || before == Some('b')) {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            return until(&format!("\"{}", "#".repeat(hashes)), hashes + 2);
        }
    }
    let mut quoted = text.chars();
    match (quoted.next(), quoted.next(), quoted.next()) {
        // A lifetime has no second quote right behind its first letter.
        (Some('\''), Some('\\'), _) => closing(text, '\''),
        (Some('\''), Some(letter), Some('\'')) => 2 + letter.len_utf8(),
        _ => 0,
    }
}

/// Where a quoted literal ends, with backslashes in mind.
fn closing(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// What the checker says about `text` as the content of `path`.
fn check(path: &str, text: &str) -> Vec<String> {
    violations(&Source::new(path, text))
}

#[test]
fn a_planted_import_is_found_however_it_is_written() {
    let cases = [
        "use crate::server::Server;",
        "use crate::{gpu::Bytes, server::Server};",
        "use crate::{\n    telemetry,\n    server::{\n        Caller,\n        KeyEntry,\n    },\n};",
        "fn f() { crate::server::router(); }",
        "use super::super::server::Server;",
        "mod deeper { use super::super::super::server; }",
        "#[cfg(test)]\nmod tests { use crate::server::Server; }",
        "fn f<'a>(x: &'a str) -> &'a str { crate::server::f(x) }",
        "const QUOTE: char = '\"'; use crate::server;",
        "const RAW: &str = r#\"a \" quote\"#; use crate::server;",
    ];
    for text in cases {
        let found = check("pool/ledger.rs", text);
        assert!(found.iter().any(|line| line.ends_with("pool imports server")), "{text}: {found:?}");
    }
}

#[test]
fn a_violation_names_its_file_and_line() {
    let found = check("pool/mod.rs", "//! Doc.\n\nuse std::fmt;\nuse super::server::Server;\n");
    assert_eq!(found, ["src/pool/mod.rs:4: pool imports server"]);
}

#[test]
fn what_only_looks_like_an_import_is_let_through() {
    let cases = [
        "// use crate::server::Server;",
        "/* crate::server */",
        "//! See [`crate::server`].",
        "const TEXT: &str = \"crate::server \\\" axum::Router\";",
        "use super::Class;",
        "#[cfg(test)]\nmod tests { use super::super::Class; use std::env; use serde::Serialize; }",
        "use crate::telemetry;",
        "fn f(x: X) { x.axum(); }",
    ];
    for text in cases {
        assert_eq!(check("pool/ledger.rs", text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn crates_are_named_only_where_the_map_says() {
    assert_eq!(check("asr/lane.rs", "use axum::Router;"), ["src/asr/lane.rs:1: asr names the crate axum"]);
    assert_eq!(check("asr/lane.rs", "fn f() { ::whisper_rs::f(); }").len(), 1);
    assert_eq!(check("asr/whisper.rs", "use whisper_rs::WhisperContext;"), Vec::<String>::new());
    assert_eq!(check("vad/gate.rs", "#[derive(serde::Serialize)]\nstruct Gate;").len(), 1);
    assert_eq!(check("server/wire.rs", "#[derive(serde::Serialize)]\nstruct Event;"), Vec::<String>::new());
}

#[test]
fn environment_wall_clock_and_unsafe_are_kept_where_they_belong() {
    assert_eq!(
        check("pool/mod.rs", "fn f() { std::env::var_os(\"X\"); }"),
        ["src/pool/mod.rs:1: pool reads the environment"]
    );
    assert_eq!(check("pool/mod.rs", "use std::{env, fmt};").len(), 1);
    assert_eq!(
        check("asr/lane.rs", "use std::time::{Duration, SystemTime};"),
        ["src/asr/lane.rs:1: asr reads the wall clock"]
    );
    assert_eq!(check("asr/lane.rs", "fn f() { unsafe { g() } }"), ["src/asr/lane.rs:1: asr is unsafe"]);
    assert_eq!(check("asr/whisper/native.rs", "fn f() { unsafe { g() } }"), Vec::<String>::new());
    assert_eq!(check("cli/mod.rs", "use std::env;"), Vec::<String>::new());
    assert_eq!(check("pool/mod.rs", "const X: &str = env!(\"CARGO_PKG_VERSION\");"), Vec::<String>::new());
}
