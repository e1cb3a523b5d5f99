//! Records from an argument, a file or stdin, line by line, each with its number.

use super::report::Failure;
use indicatif::{ProgressBar, ProgressStyle};
use kadapter_host::Error;
use kadapter_host::task::{MAX_RECORD_BYTES, Record};
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::path::Path;

/// Lines that are answered together.
const LINES_AT_ONCE: usize = 256;
/// Bytes of lines that are answered together.
const BYTES_AT_ONCE: usize = 1 << 20;

/// Where records come from.
pub(crate) enum Source {
    /// One record, the argument.
    Argument(Option<Record>),
    /// One record per line.
    Lines { reader: Box<dyn BufRead>, line: u64, progress: ProgressBar },
}

/// A record with the number of its line, or why the line is none.
pub(crate) struct Numbered {
    pub(crate) line: u64,
    pub(crate) record: Result<Record, Error>,
}

impl Source {
    /// The argument if there is one, else the file, else stdin.
    pub(crate) fn new(argument: Option<&str>, file: Option<&Path>) -> Result<Self, Failure> {
        if let Some(argument) = argument {
            return Ok(Self::Argument(Some(Record::parse(argument).map_err(Error::from)?)));
        }
        let (reader, size): (Box<dyn BufRead>, u64) = match file {
            Some(path) => {
                let file = File::open(path).map_err(|source| Failure::io("read", path, source))?;
                let size = file.metadata().map_or(0, |metadata| metadata.len());
                (Box::new(BufReader::new(file)), size)
            }
            None if std::io::stdin().is_terminal() => {
                return Err(Failure::new(
                    "no text: expected an argument, `--input FILE` or JSON lines on stdin",
                    "kadapter run TASK \"The <e1>handle</e1> of the old <e2>kettle</e2> broke off .\"",
                ));
            }
            None => (Box::new(BufReader::new(std::io::stdin())), 0),
        };
        let progress = if std::io::stderr().is_terminal() && size > BYTES_AT_ONCE as u64 / 8 {
            let style = ProgressStyle::with_template("{bar:40} {percent}% {elapsed} (left {eta}) {msg}");
            ProgressBar::new(size).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        } else {
            ProgressBar::hidden()
        };
        Ok(Self::Lines { reader, line: 0, progress })
    }

    /// The next records, empty at the end.
    pub(crate) fn next(&mut self) -> Result<Vec<Numbered>, Failure> {
        let (reader, line, progress) = match self {
            Self::Argument(record) => {
                return Ok(record.take().map(|record| Numbered { line: 1, record: Ok(record) }).into_iter().collect());
            }
            Self::Lines { reader, line, progress } => (reader, line, progress),
        };
        let (mut records, mut bytes) = (Vec::new(), 0);
        // However many lines are blank, none means the end and nothing else.
        while records.is_empty() || (records.len() < LINES_AT_ONCE && bytes < BYTES_AT_ONCE) {
            let Some(text) = read_line(reader).map_err(|source| Failure::io("read", Path::new("the input"), source))?
            else {
                break;
            };
            *line += 1;
            bytes += text.consumed;
            if let Some(record) = text.record() {
                records.push(Numbered { line: *line, record });
            }
        }
        progress.inc(bytes as u64);
        if records.is_empty() {
            progress.finish_and_clear();
        } else {
            progress.set_message(format!("line {line}"));
        }
        Ok(records)
    }

    /// Shows a line on stdout without disturbing the progress bar.
    pub(crate) fn suspend<T>(&self, work: impl FnOnce() -> T) -> T {
        match self {
            Self::Argument(_) => work(),
            Self::Lines { progress, .. } => progress.suspend(work),
        }
    }
}

struct Line {
    bytes: Vec<u8>,
    /// Bytes of the input that the line took, those beyond the limit included.
    consumed: usize,
}

impl Line {
    /// The record; none for a blank line.
    fn record(self) -> Option<Result<Record, Error>> {
        if self.consumed > MAX_RECORD_BYTES + 2 {
            return Some(Err(Error::Input {
                what: "the line",
                found: format!("{} bytes", self.consumed),
                expected: format!("at most {MAX_RECORD_BYTES}"),
                hint: "write one record per line".into(),
            }));
        }
        match std::str::from_utf8(&self.bytes) {
            Ok(text) if text.trim().is_empty() => None,
            Ok(text) => Some(Record::parse(text.trim_end_matches(['\r', '\n'])).map_err(Error::from)),
            Err(error) => Some(Err(Error::Input {
                what: "the line's encoding",
                found: format!("a byte that is not UTF-8 at place {}", error.valid_up_to() + 1),
                expected: "UTF-8".into(),
                hint: "convert it: `iconv -f LATIN1 -t UTF-8 FILE`".into(),
            })),
        }
    }
}

/// Reads a line, keeping no more of it than a record may have.
fn read_line(reader: &mut dyn BufRead) -> std::io::Result<Option<Line>> {
    let mut bytes = Vec::new();
    let limit = MAX_RECORD_BYTES as u64 + 2;
    let mut consumed = reader.take(limit).read_until(b'\n', &mut bytes)?;
    if consumed == 0 {
        return Ok(None);
    }
    while !bytes.ends_with(b"\n") && consumed as u64 >= limit {
        let mut more = Vec::new();
        let count = reader.take(limit).read_until(b'\n', &mut more)?;
        consumed += count;
        if count == 0 || more.ends_with(b"\n") {
            consumed = consumed.max(MAX_RECORD_BYTES + 3);
            break;
        }
    }
    Ok(Some(Line { bytes, consumed }))
}
