//! Programs that record: no audio library is linked, because every desktop has one of these.

use std::env;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A program that writes 16-bit mono samples at 24 kHz to its standard output.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Recorder {
    program: &'static str,
    arguments: &'static [&'static str],
    /// A flag that older versions lack: without it they write a file's header, too.
    needs: Option<&'static str>,
    package: &'static str,
}

/// The best first: whatever speaks to the desktop's own sound server asks the right microphone.
const RECORDERS: [Recorder; 5] = [
    Recorder {
        program: "pw-record",
        arguments: &["--raw", "--rate", "24000", "--channels", "1", "--format", "s16", "-"],
        needs: Some("--raw"),
        package: "pipewire-bin",
    },
    Recorder {
        program: "parecord",
        arguments: &["--raw", "--rate=24000", "--channels=1", "--format=s16le", "--latency-msec=40"],
        needs: None,
        package: "pulseaudio-utils",
    },
    Recorder {
        program: "arecord",
        arguments: &["-q", "-t", "raw", "-f", "S16_LE", "-r", "24000", "-c", "1"],
        needs: None,
        package: "alsa-utils",
    },
    Recorder {
        program: "rec",
        arguments: &[
            "-q",
            "-t",
            "raw",
            "-e",
            "signed-integer",
            "-b",
            "16",
            "-L",
            "-r",
            "24000",
            "-c",
            "1",
            "-",
        ],
        needs: None,
        package: "sox",
    },
    Recorder {
        program: "ffmpeg",
        arguments: &[
            "-nostdin",
            "-hide_banner",
            "-loglevel",
            "error",
            "-f",
            "alsa",
            "-i",
            "default",
            "-f",
            "s16le",
            "-ar",
            "24000",
            "-ac",
            "1",
            "-",
        ],
        needs: None,
        package: "ffmpeg",
    },
];

/// Programs that play what a [`Recorder`] writes, from their standard input.
const PLAYERS: [Recorder; 5] = [
    Recorder {
        program: "pw-play",
        arguments: &["--raw", "--rate", "24000", "--channels", "1", "--format", "s16", "-"],
        needs: Some("--raw"),
        package: "pipewire-bin",
    },
    Recorder {
        program: "paplay",
        arguments: &["--raw", "--rate=24000", "--channels=1", "--format=s16le"],
        needs: None,
        package: "pulseaudio-utils",
    },
    Recorder {
        program: "aplay",
        arguments: &["-q", "-t", "raw", "-f", "S16_LE", "-r", "24000", "-c", "1"],
        needs: None,
        package: "alsa-utils",
    },
    Recorder {
        program: "play",
        arguments: &[
            "-q",
            "-t",
            "raw",
            "-e",
            "signed-integer",
            "-b",
            "16",
            "-L",
            "-r",
            "24000",
            "-c",
            "1",
            "-",
        ],
        needs: None,
        package: "sox",
    },
    Recorder {
        program: "ffplay",
        arguments: &["-nodisp", "-autoexit", "-loglevel", "error", "-f", "s16le", "-ar", "24000", "-i", "-"],
        needs: None,
        package: "ffmpeg",
    },
];

/// The first recorder that is installed, with its name.
pub(super) fn first_found() -> Option<(&'static str, Command)> {
    first_of(&RECORDERS)
}

/// The first player that is installed, with its name.
pub(in crate::cli) fn first_player() -> Option<(&'static str, Command)> {
    first_of(&PLAYERS)
}

fn first_of(programs: &'static [Recorder]) -> Option<(&'static str, Command)> {
    let path = env::var_os("PATH").unwrap_or_default();
    let (recorder, program) = find(programs, &path, |program, flag| {
        let help = Command::new(program).arg("--help").stdin(Stdio::null()).output();
        help.is_ok_and(|help| [help.stdout, help.stderr].iter().any(|text| mentions(text, flag)))
    })?;
    let mut command = Command::new(program);
    command.args(recorder.arguments);
    Some((recorder.program, apart(command)))
}

/// What the user wants to record with: a line for the shell.
pub(super) fn by_shell(line: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", line]);
    apart(command)
}

/// What to install when there is none.
pub(super) fn packages() -> String {
    RECORDERS.map(|recorder| recorder.package).join(", ")
}

/// What to install when there is no player.
pub(in crate::cli) fn player_packages() -> String {
    PLAYERS.map(|player| player.package).join(", ")
}

/// Ctrl-C is for us: we end the recorder when what was said is sent.
fn apart(mut command: Command) -> Command {
    command.process_group(0);
    command
}

/// The first one in the folders of `path`, with where it is. `knows` tells whether a program knows a flag.
fn find(
    programs: &'static [Recorder],
    path: &OsStr,
    knows: impl Fn(&Path, &str) -> bool,
) -> Option<(&'static Recorder, PathBuf)> {
    let found = |recorder: &&'static Recorder| {
        let programs = env::split_paths(path).map(|folder| folder.join(recorder.program));
        programs.into_iter().find(|program| is_executable(program))
    };
    let able = |recorder: &Recorder, program: &Path| recorder.needs.is_none_or(|flag| knows(program, flag));
    programs.iter().find_map(|recorder| {
        let program = found(&recorder)?;
        able(recorder, &program).then_some((recorder, program))
    })
}

fn is_executable(program: &Path) -> bool {
    program.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

fn mentions(text: &[u8], flag: &str) -> bool {
    text.windows(flag.len()).any(|part| part == flag.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tempfile::TempDir;

    /// A folder with these programs; `arecord-` is a file that cannot be run.
    fn folder(programs: &[&str]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for program in programs {
            let file = folder.path().join(program.trim_end_matches('-'));
            fs::write(&file, "").unwrap();
            let mode = if program.ends_with('-') { 0o644 } else { 0o755 };
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        }
        folder
    }

    #[test]
    fn the_first_recorder_that_is_installed_and_able_is_taken() {
        let cases: [(&[&str], bool, Option<&str>); 6] = [
            (&["ffmpeg", "arecord", "cat"], true, Some("arecord")),
            (&["pw-record", "parecord"], true, Some("pw-record")),
            (&["pw-record", "parecord"], false, Some("parecord")),
            (&["pw-record"], false, None),
            (&["arecord-", "rec"], true, Some("rec")),
            (&[], true, None),
        ];
        for (programs, new, expected) in cases {
            let folder = folder(programs);
            let found = find(&RECORDERS, folder.path().as_os_str(), |_, _| new);
            assert_eq!(found.as_ref().map(|(recorder, _)| recorder.program), expected, "{programs:?}");
            assert!(found.is_none_or(|(_, program)| program.starts_with(folder.path())));
        }
    }

    #[test]
    fn a_flag_is_found_in_a_help_text() {
        assert!(mentions(b"  -a, --raw  RAW mode", "--raw") && !mentions(b"--rate", "--raw"));
    }
}
