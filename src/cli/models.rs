//! `stenopool models list | pull | verify | path`: what is installed, and getting what is not.

mod bar;

use super::output;
use crate::store::{
    DownloadSettings, Downloader, Kind, ModelEntry, SearchPath, Store, StoreError, Verified, Weights,
};
use bar::Bar;
use clap::{Args, Subcommand};
use serde::Serialize;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What a shell reports for a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Lists, downloads and checks models
#[derive(Debug, Args)]
pub(crate) struct ModelsCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List all known models, where they are installed, and which one is the default
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Download models; what has already arrived is kept and completed
    Pull {
        /// Names as in `stenopool models list`
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
    },
    /// Compare installed files with their checksums
    Verify {
        /// Only these
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// Print the folders that are searched, or where one model lies
    Path {
        /// A model
        #[arg(value_name = "NAME")]
        name: Option<String>,
    },
}

impl ModelsCommand {
    /// Does it; `mirror` is the base URL to download from instead of the models' home.
    ///
    /// # Errors
    ///
    /// Only what has nothing to do with models: their errors are printed here, with hints, and give exit code 1.
    pub(crate) async fn run(&self, store: &Store, mirror: Option<&str>) -> anyhow::Result<ExitCode> {
        match &self.action {
            Action::List { json: true } => {
                output::print(&(serde_json::to_string_pretty(&listing(store))? + "\n"))?;
            }
            Action::List { json: false } => output::print(&table(&listing(store)))?,
            Action::Pull { names } => {
                // An empty environment variable means none.
                return Ok(pull_all(store, names, mirror.filter(|mirror| !mirror.is_empty())).await);
            }
            Action::Verify { names } => return Ok(verify_all(store, names).await),
            Action::Path { name: Some(name) } => return print_file(store, name),
            Action::Path { name: None } => output::print(&folders(store.search()))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// One line of `models list`.
#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    kind: &'static str,
    size_mib: Option<u64>,
    languages: Option<String>,
    licence: String,
    description: String,
    /// Its file; `None` also for the embedded model.
    path: Option<PathBuf>,
    embedded: bool,
    /// Whether a server started now would take it.
    default: bool,
}

impl Listed {
    fn place(&self) -> String {
        match &self.path {
            Some(path) => path.display().to_string(),
            None if self.embedded => "in the binary".into(),
            None => "not installed".into(),
        }
    }
}

fn listing(store: &Store) -> Vec<Listed> {
    let best = default_model(store);
    let line = |entry: &ModelEntry| Listed {
        name: entry.name.clone(),
        kind: kind_name(entry.kind),
        size_mib: entry.mib,
        languages: entry.languages.map(|languages| languages.to_string()),
        licence: entry.licence.clone(),
        description: entry.description.clone(),
        path: installed(store, entry),
        embedded: entry.is_embedded(),
        default: best.as_deref() == Some(&entry.name),
    };
    store.manifest().entries().iter().map(line).collect()
}

/// The name of the model that `serve` would take; `None` when that one is damaged.
fn default_model(store: &Store) -> Option<String> {
    store.resolve(None).ok().map(|model| model.name)
}

/// Where an entry's file lies. Embedded weights are never looked for in a file; ONNX Runtime's name may have a version.
fn installed(store: &Store, entry: &ModelEntry) -> Option<PathBuf> {
    match entry.kind {
        Kind::Runtime => store.onnx_runtime().ok(),
        _ if entry.is_embedded() => None,
        _ => store.find(&entry.file),
    }
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Whisper => "whisper",
        Kind::Vad => "vad",
        Kind::Voice => "voice",
        Kind::Runtime => "runtime",
    }
}

fn table(lines: &[Listed]) -> String {
    let mut text = format!("  {:20} {:8} {:>8}  {:12}  INSTALLED\n", "NAME", "KIND", "SIZE", "LANGUAGES");
    for line in lines {
        let mark = if line.default { '*' } else { ' ' };
        let languages = line.languages.as_deref().unwrap_or("-");
        let (size, place) = (size(line.size_mib), line.place());
        writeln!(text, "{mark} {:20} {:8} {size:>8}  {languages:12}  {place}", line.name, line.kind)
            .expect("a string takes everything");
    }
    text + "\n* the default: the best one installed. Get another with `stenopool models pull NAME`.\n"
}

/// `466 MiB`, `1.5 GiB`.
fn size(mib: Option<u64>) -> String {
    match mib {
        None => "-".into(),
        Some(mib) if mib < 1024 => format!("{mib} MiB"),
        Some(mib) => format!("{:.1} GiB", mib as f64 / 1024.0),
    }
}

fn folders(search: &SearchPath) -> String {
    let line = |folder: &PathBuf| {
        let exists = if folder.is_dir() { "" } else { "  (absent)" };
        let target = if folder == search.target() { "  (downloads go here)" } else { "" };
        format!("{}{exists}{target}\n", folder.display())
    };
    search.folders().iter().map(line).collect()
}

fn print_file(store: &Store, name: &str) -> anyhow::Result<ExitCode> {
    match locate(store, name) {
        Ok(place) => output::print(&(place + "\n")).map(|()| ExitCode::SUCCESS),
        Err(error) => Ok(report(&error)),
    }
}

fn locate(store: &Store, name: &str) -> Result<String, StoreError> {
    let entry = store.entry(name)?;
    match entry.kind {
        Kind::Whisper => Ok(match store.resolve(Some(name))?.weights {
            Weights::File(path) => path.display().to_string(),
            Weights::Embedded => "in the binary".into(),
        }),
        Kind::Runtime => Ok(store.onnx_runtime()?.display().to_string()),
        _ => Ok(store.installed(entry)?.display().to_string()),
    }
}

/// Pulls one after the other; the first that fails ends it.
async fn pull_all(store: &Store, names: &[String], mirror: Option<&str>) -> ExitCode {
    let pulls = async {
        for name in names {
            pull(store, name, mirror).await?;
        }
        Ok(())
    };
    tokio::select! {
        done = pulls => done.map_or_else(|error| report(&error), |()| ExitCode::SUCCESS),
        _ = tokio::signal::ctrl_c() => {
            output::tell("\nstopped; the same command goes on where it stopped");
            ExitCode::from(INTERRUPTED)
        }
    }
}

async fn pull(store: &Store, name: &str, mirror: Option<&str>) -> Result<(), StoreError> {
    let entry = store.entry(name)?;
    if entry.is_embedded() {
        say(&format!("{name} is part of the binary"));
        return Ok(());
    }
    let target = match installed(store, entry) {
        Some(path) if is_sound(store, entry, &path).await? => {
            say(&format!("{name} is already installed: {}", path.display()));
            return Ok(());
        }
        // The damaged file may lie before the target in the search path, so it is replaced where it is.
        Some(damaged) => damaged,
        None => store.search().target().join(&entry.file),
    };
    fetch(entry, mirror, &target).await?;
    say(&format!("{name} is installed: {}", target.display()));
    Ok(())
}

/// Whether an installed file is as it should be; says so if not.
async fn is_sound(store: &Store, entry: &ModelEntry, path: &Path) -> Result<bool, StoreError> {
    match check(store, entry, path).await {
        Ok(_) => Ok(true),
        Err(error @ (StoreError::WrongChecksum { .. } | StoreError::WrongSize { .. })) => {
            output::tell(&format!("{error}; pulling it again"));
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

async fn fetch(entry: &ModelEntry, mirror: Option<&str>, target: &Path) -> Result<(), StoreError> {
    let downloader = Downloader::new(DownloadSettings::default())?;
    let mut bar = Bar::new(&entry.name, entry.bytes);
    let outcome = downloader.download(entry, mirror, target, &mut |step| bar.step(&step)).await;
    bar.clear();
    outcome
}

/// Verifies what is installed (or those named, which then must be), and counts the bad ones.
async fn verify_all(store: &Store, names: &[String]) -> ExitCode {
    let entries = match chosen(store, names) {
        Ok(entries) => entries,
        Err(error) => return report(&error),
    };
    let mut bad = 0;
    for entry in entries {
        if let Err(error) = verify(store, entry).await {
            report(&error);
            bad += 1;
        }
    }
    ExitCode::from(u8::from(bad > 0))
}

/// The entries of these names, or everything that is installed.
fn chosen<'a>(store: &'a Store, names: &[String]) -> Result<Vec<&'a ModelEntry>, StoreError> {
    if names.is_empty() {
        let here = |entry: &&ModelEntry| entry.is_embedded() || installed(store, entry).is_some();
        return Ok(store.manifest().entries().iter().filter(here).collect());
    }
    names.iter().map(|name| store.entry(name)).collect()
}

async fn verify(store: &Store, entry: &ModelEntry) -> Result<(), StoreError> {
    let (verified, place) = if entry.is_embedded() {
        (store.verify_demo()?, "in the binary".to_owned())
    } else {
        let path = installed(store, entry).map_or_else(|| store.installed(entry), Ok)?;
        (check(store, entry, &path).await?, path.display().to_string())
    };
    let verdict = match verified {
        Verified::Good => "good",
        Verified::Unchecked => "no checksum known",
    };
    say(&format!("{:20} {verdict}: {place}", entry.name));
    Ok(())
}

/// Hashes a file behind a bar.
async fn check(store: &Store, entry: &ModelEntry, path: &Path) -> Result<Verified, StoreError> {
    let total = std::fs::metadata(path).map(|metadata| metadata.len()).ok();
    let mut bar = Bar::quiet(&entry.name, total);
    let verdict = store.verify(entry, path, &mut |done| bar.set(done)).await;
    bar.clear();
    verdict
}

/// Prints a line about one model. The exit code tells the outcome also where nobody reads the line.
fn say(line: &str) {
    let _ = output::print(&format!("{line}\n"));
}

/// Prints an error with its hint.
fn report(error: &StoreError) -> ExitCode {
    output::tell(&format!("error: {error}"));
    if let Some(hint) = error.hint() {
        output::tell(&format!("hint: {hint}"));
    }
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};

    #[derive(Parser)]
    struct Probe {
        #[command(flatten)]
        command: ModelsCommand,
    }

    /// A folder with these files in it, and its store.
    fn store(files: &[(&str, &[u8])]) -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        let store = Store::new(vec![folder.path().to_path_buf()]);
        (folder, store)
    }

    async fn exit_code(store: &Store, arguments: &str) -> ExitCode {
        let probe = Probe::parse_from(arguments.split(' '));
        probe.command.run(store, None).await.unwrap()
    }

    #[test]
    fn the_arguments_do_not_contradict_each_other() {
        Probe::command().debug_assert();
    }

    #[test]
    fn exactly_the_best_installed_model_is_marked() {
        let (_folder, store) = store(&[("ggml-tiny.bin", &crate::store::demo_weights())]);
        let lines = listing(&store);
        let marked: Vec<_> =
            lines.iter().filter(|line| line.default).map(|line| line.name.as_str()).collect();
        assert_eq!(marked, ["tiny"]);
    }

    #[test]
    fn sizes_are_short() {
        assert_eq!([size(None), size(Some(547)), size(Some(1536))], ["-", "547 MiB", "1.5 GiB"]);
    }

    #[tokio::test]
    async fn verify_fails_if_any_file_is_bad() {
        let (_good, empty) = store(&[]);
        assert_eq!(exit_code(&empty, "models verify").await, ExitCode::SUCCESS);
        let (_bad, bad) = store(&[("ggml-tiny.bin", b"not the tiny model")]);
        assert_eq!(exit_code(&bad, "models verify").await, ExitCode::FAILURE);
        assert_eq!(exit_code(&empty, "models verify tiny").await, ExitCode::FAILURE);
    }

    #[tokio::test]
    async fn pulling_what_cannot_be_pulled_fails_and_the_demo_is_always_there() {
        let (_folder, store) = store(&[]);
        assert_eq!(exit_code(&store, "models pull demo").await, ExitCode::SUCCESS);
        assert_eq!(exit_code(&store, "models pull silero").await, ExitCode::FAILURE);
        assert_eq!(exit_code(&store, "models pull no-such-model").await, ExitCode::FAILURE);
    }
}
