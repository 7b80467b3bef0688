//! The program `espeak-ng`: started, fed and ended. It is never linked, and text never stands on its command line.

use crate::tts::TtsError;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

/// The program, and a runtime of its own to wait for it on: a blocking synthesizer has to hear of a cancellation while
/// it waits. Not to be used on a thread of another runtime.
pub(in crate::tts) struct Program {
    path: PathBuf,
    runtime: Runtime,
}

impl Program {
    /// The program of that name or at that path; whether it is there shows when it is run.
    ///
    /// # Errors
    ///
    /// [`TtsError::Failed`] when the operating system has no more of what waiting needs.
    pub(in crate::tts) fn new(path: &Path) -> Result<Self, TtsError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|error| TtsError::Failed(format!("cannot wait for programs: {error}")))?;
        Ok(Self { path: path.to_owned(), runtime })
    }

    /// Waits for what `work` does with it.
    pub(super) fn block_on<F: Future>(&self, work: F) -> F::Output {
        self.runtime.block_on(work)
    }

    /// Starts it, to read its text from its standard input.
    pub(super) fn start(&self, arguments: &[&str]) -> Result<Process, TtsError> {
        let _context = self.runtime.enter();
        let child = Command::new(&self.path)
            // UTF-8, and all of it at once: line by line, a line feed would end a clause.
            .args(["-b", "1", "--stdin"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let mut child = child.map_err(|error| self.missing(&error))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        Ok(Process { stdin, stdout: stdout.expect("it was asked for"), child })
    }

    /// Everything that it writes about `text`, within `patience`.
    ///
    /// # Errors
    ///
    /// [`TtsError::ProgramMissing`], [`TtsError::Failed`] or [`TtsError::Timeout`].
    pub(in crate::tts) fn ask(
        &self,
        arguments: &[&str],
        text: &str,
        patience: Duration,
    ) -> Result<String, TtsError> {
        let mut process = self.start(arguments)?;
        self.block_on(async {
            let mut answer = Vec::new();
            let asking = async {
                process.feed(text).await?;
                process.stdout.read_to_end(&mut answer).await
            };
            let asked = timeout(patience, asking).await;
            if asked.is_err() {
                process.kill().await;
                return Err(TtsError::Timeout { waited: patience });
            }
            let status = process.end().await;
            match asked {
                Ok(Ok(_)) if status.is_some_and(|status| status.success()) => {
                    Ok(String::from_utf8_lossy(&answer).into_owned())
                }
                _ => Err(TtsError::Failed("espeak-ng gave no answer".into())),
            }
        })
    }

    fn missing(&self, error: &std::io::Error) -> TtsError {
        TtsError::ProgramMissing { program: self.path.display().to_string(), reason: error.to_string() }
    }
}

/// A run of the program that waits for its text, or writes about it. It is killed when it is dropped.
pub(super) struct Process {
    stdin: Option<ChildStdin>,
    pub(super) stdout: ChildStdout,
    child: Child,
}

impl Process {
    /// Gives it its text, and says that there is no more.
    pub(super) async fn feed(&mut self, text: &str) -> std::io::Result<()> {
        let mut stdin = self.stdin.take().ok_or(std::io::ErrorKind::BrokenPipe)?;
        stdin.write_all(tame(text).as_bytes()).await
    }

    /// Waits until it has ended.
    pub(super) async fn end(&mut self) -> Option<ExitStatus> {
        self.child.wait().await.ok()
    }

    /// Ends it now, and waits for that, so that no zombie is left.
    pub(super) async fn kill(&mut self) {
        // It fails when the process has ended by itself; then it is reaped all the same.
        drop(self.child.kill().await);
    }

    #[cfg(test)]
    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }
}

/// Text without what the program would take for commands: `[[` begins phonemes, and control characters begin its own
/// markup. Tags like those of SSML are read out as they stand, because nothing asks for SSML.
fn tame(text: &str) -> String {
    let mut tamed = String::with_capacity(text.len());
    for character in text.chars() {
        if character == '[' && tamed.ends_with('[') {
            tamed.push(' ');
        }
        tamed.push(if character.is_control() { ' ' } else { character });
    }
    tamed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_in_a_text_are_not_obeyed() {
        assert_eq!(tame("a\u{1}80s [[h@l'oU]]\n\u{0}b"), "a 80s [ [h@l'oU]]  b");
        assert!(!tame("[[[[").contains("[["));
    }

    #[test]
    fn a_program_that_is_not_there_is_told_with_what_to_install() {
        let program = Program::new(Path::new("/nowhere/espeak-ng")).unwrap();
        let error = program.ask(&["--version"], "", Duration::from_secs(1)).unwrap_err();
        assert_eq!(error.code(), "tts_program_missing");
        assert!(error.hint().unwrap().contains("install espeak-ng"));
    }
}
