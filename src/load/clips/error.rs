//! What can be wrong with a folder of recordings.

use std::path::PathBuf;

/// Why the recordings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClipsError {
    /// There is no such folder.
    #[error("there is no folder {}", .0.display())]
    NoFolder(PathBuf),
    /// The folder has no table.
    #[error("there is no {} in {}", super::TABLE, .0.display())]
    NoTable(PathBuf),
    /// The table cannot be read as a table of this kind.
    #[error("{}: {reason}", table.display())]
    Table {
        /// The table.
        table: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A line of the table makes no sense.
    #[error("{}:{line}: {reason}", table.display())]
    Line {
        /// The table.
        table: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A recording cannot be used.
    #[error("{}:{line}: {file}: {reason}", table.display())]
    Recording {
        /// The table.
        table: PathBuf,
        /// The line that names it, counted from 1.
        line: usize,
        /// Its name in the table.
        file: String,
        /// What is wrong.
        reason: String,
    },
}

impl ClipsError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoFolder(_) | Self::NoTable(_) => {
                "name a folder of recordings with a transcripts.tsv: a line for each file, with what is said in it"
            }
            Self::Table { .. } => {
                "its first line names the columns, with tabs between them: `file` and `text`, and if known `kind` and \
                 `segments`"
            }
            Self::Line { .. } => {
                "a line has a tab between its columns, files lie in the table's folder, and segments look like \
                 0.13-2.59|3.07-4.80 (seconds)"
            }
            Self::Recording { .. } => "mend the file, or take its line out of the table",
        }
    }
}
