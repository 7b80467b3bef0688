//! The table of recordings: tabs between columns, in any order, no quoting. Pure.

use crate::audio::{SampleRate, Span};
use std::ops::Range;
use std::path::{Component, Path};

/// A line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// Counted from 1.
    pub(super) line: usize,
    pub(super) file: String,
    pub(super) kind: String,
    pub(super) text: String,
    /// Where somebody speaks, at 16 kHz and in order; empty where the table does not say.
    pub(super) segments: Vec<Span>,
}

/// What is wrong with a table.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Defect {
    /// As a whole.
    Table(String),
    /// In one line, counted from 1.
    Line(usize, String),
}

/// What a recording is called whose kind is not known.
const ANY_KIND: &str = "all";

/// The rows of a table.
pub(super) fn rows(table: &[u8]) -> Result<Vec<Row>, Defect> {
    let text = std::str::from_utf8(table).map_err(|error| {
        let line = table[..error.valid_up_to()].split(|byte| *byte == b'\n').count();
        Defect::Line(line, "it is not UTF-8".to_owned())
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let (_, header) = lines.next().ok_or_else(|| Defect::Table("it is empty".to_owned()))?;
    let columns = Columns::of(header)?;
    let rows =
        lines.map(|(line, cells)| columns.row(line, cells).map_err(|reason| Defect::Line(line, reason)));
    let rows: Vec<Row> = rows.collect::<Result<_, _>>()?;
    if rows.is_empty() { Err(Defect::Table("it names no recording".to_owned())) } else { Ok(rows) }
}

/// Where in a line to find what.
#[derive(Debug)]
struct Columns {
    count: usize,
    file: usize,
    text: usize,
    kind: Option<usize>,
    segments: Option<usize>,
}

impl Columns {
    fn of(header: &str) -> Result<Self, Defect> {
        let names: Vec<&str> = header.split('\t').map(str::trim).collect();
        let find = |name| names.iter().position(|column| *column == name);
        let need = |name| {
            let has = names.join(", ");
            find(name).ok_or_else(|| Defect::Table(format!("it has no column `{name}`, only {has}")))
        };
        Ok(Self {
            count: names.len(),
            file: need("file")?,
            text: need("text")?,
            kind: find("kind"),
            segments: find("segments"),
        })
    }

    /// Editors take away tabs at the end of a line: cells that are not there are empty.
    fn row(&self, line: usize, cells: &str) -> Result<Row, String> {
        let cells: Vec<&str> = cells.split('\t').map(str::trim).collect();
        if cells.len() > self.count {
            return Err(format!("it has {} columns, but the first line names {}", cells.len(), self.count));
        }
        let cell = |column: Option<usize>| column.and_then(|at| cells.get(at)).copied().unwrap_or_default();
        Ok(Row {
            line,
            file: file(cell(Some(self.file)))?,
            kind: Some(cell(self.kind)).filter(|kind| !kind.is_empty()).unwrap_or(ANY_KIND).to_owned(),
            text: cell(Some(self.text)).to_owned(),
            segments: segments(cell(self.segments))?,
        })
    }
}

/// A name that stays in the folder.
fn file(name: &str) -> Result<String, String> {
    let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    if name.is_empty() {
        return Err("it names no file".to_owned());
    }
    if !Path::new(name).components().all(inside) {
        return Err(format!("{name} leads out of the folder"));
    }
    Ok(name.to_owned())
}

/// `0.13-2.59|3.07-4.80`: seconds, in order.
fn segments(cell: &str) -> Result<Vec<Span>, String> {
    let parts = cell.split('|').map(str::trim).filter(|part| !part.is_empty());
    let spans: Vec<Span> = parts.map(segment).collect::<Result<_, _>>()?;
    let in_order = spans.windows(2).all(|pair| pair[0].end <= pair[1].start);
    if in_order { Ok(spans) } else { Err(format!("the segments {cell} are not in order")) }
}

fn segment(part: &str) -> Result<Span, String> {
    let seconds = |number: &str| number.trim().parse().ok().filter(|seconds| SECONDS.contains(seconds));
    let span = part.split_once('-').and_then(|(start, end)| Some((seconds(start)?, seconds(end)?)));
    let samples = |seconds: f64| (seconds * f64::from(SampleRate::SPEECH.hertz())).round() as u64;
    match span {
        Some((start, end)) if start < end => Ok(Span::new(samples(start), samples(end))),
        _ => Err(format!("{part} is not a segment")),
    }
}

/// Where in a recording a segment can be.
const SECONDS: Range<f64> = 0.0..1e6;

#[cfg(test)]
mod tests {
    use super::*;

    /// `line file kind text start-end`, one row after the other; samples at 16 kHz.
    fn told(table: &str) -> String {
        let row = |row: &Row| {
            let spans: Vec<_> =
                row.segments.iter().map(|span| format!("{}-{}", span.start, span.end)).collect();
            format!("{} {} {} \"{}\" {}", row.line, row.file, row.kind, row.text, spans.join("|"))
        };
        match rows(table.as_bytes()) {
            Ok(rows) => rows.iter().map(row).collect::<Vec<_>>().join("; "),
            Err(Defect::Table(reason)) => reason,
            Err(Defect::Line(line, reason)) => format!("{line}: {reason}"),
        }
    }

    #[test]
    fn columns_come_in_any_order_and_others_are_passed_over() {
        let cases = [
            ("file\ttext\na.wav\tHello \"you\".\n", "2 a.wav all \"Hello \"you\".\" "),
            ("text\tvoice\tfile\nhi\tanna\tb/a.wav", "2 b/a.wav all \"hi\" "),
            (
                "\u{feff}file\tkind\ttext\tsegments\r\na.wav\tx\thi\t0.5-1\r\n\r\n",
                "2 a.wav x \"hi\" 8000-16000",
            ),
            (
                "file\ttext\tsegments\na.wav\thi\t0.5-1|1.5-2.25\n\n \nb.wav\n",
                "2 a.wav all \"hi\" 8000-16000|24000-36000; 5 b.wav all \"\" ",
            ),
            ("file\tkind\ttext\na.wav\t\thi", "2 a.wav all \"hi\" "),
        ];
        for (table, expected) in cases {
            assert_eq!(told(table), expected, "{table:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let cases = [
            ("", "it is empty"),
            ("\n \n", "it is empty"),
            ("file\ttext\n\n", "it names no recording"),
            ("file,text\na.wav,hi", "it has no column `file`, only file,text"),
            ("file\tsentence\na.wav\thi", "it has no column `text`, only file, sentence"),
            ("file\ttext\na.wav\thi\tyou", "2: it has 3 columns, but the first line names 2"),
            ("file\ttext\na.wav\thi\n\thi", "3: it names no file"),
            ("file\ttext\n../a.wav\thi", "2: ../a.wav leads out of the folder"),
            ("file\ttext\nb/../../a.wav\thi", "2: b/../../a.wav leads out of the folder"),
            ("file\ttext\n/etc/passwd\thi", "2: /etc/passwd leads out of the folder"),
            ("file\ttext\tsegments\na.wav\thi\t1-x", "2: 1-x is not a segment"),
            ("file\ttext\tsegments\na.wav\thi\t2-1", "2: 2-1 is not a segment"),
            ("file\ttext\tsegments\na.wav\thi\t-1-2", "2: -1-2 is not a segment"),
            ("file\ttext\tsegments\na.wav\thi\t0-inf", "2: 0-inf is not a segment"),
            ("file\ttext\tsegments\na.wav\thi\t2-3|1-2", "2: the segments 2-3|1-2 are not in order"),
        ];
        for (table, expected) in cases {
            assert_eq!(told(table), expected, "{table:?}");
        }
        let latin = rows(b"file\ttext\na.wav\tna\xefve\n");
        assert_eq!(latin, Err(Defect::Line(2, "it is not UTF-8".to_owned())));
    }
}
