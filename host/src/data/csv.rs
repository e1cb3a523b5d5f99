//! Tables with commas and quotes (RFC 4180), a row at a time, none longer than a record may be.

use super::input::Bytes;
use super::lines::utf8;
use super::{Error, Place};
use crate::task::MAX_RECORD_BYTES;
use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;

/// Where a row begins, and its cells or what is wrong with it.
type PlacedRow = (Place, Result<Vec<String>, Error>);

/// The rows of a file.
pub(super) struct Csv {
    path: Arc<Path>,
    bytes: Bytes,
    line: u64,
    rows: u64,
}

impl Csv {
    pub(super) fn new(path: Arc<Path>, bytes: Bytes) -> Self {
        Self { path, bytes, line: 1, rows: 0 }
    }

    /// The next row that is not blank and where it begins, `None` at the end. The header counts as no record.
    pub(super) fn next(&mut self) -> Result<Option<PlacedRow>, Error> {
        loop {
            let at = Place { path: Arc::clone(&self.path), line: self.line, record: self.rows.max(1) };
            let Some(row) = self.row()? else { return Ok(None) };
            if row.length == 0 {
                continue;
            }
            self.rows += 1;
            return Ok(Some((at.clone(), row.cells(&at))));
        }
    }

    fn row(&mut self) -> Result<Option<Row>, Error> {
        let mut row = Row { cells: vec![Vec::new()], length: 0 };
        let (mut quoted, mut closing, mut any) = (false, false, false);
        loop {
            let buffer = match self.bytes.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(Error::Read { path: self.path.to_path_buf(), line: self.line, source }),
            };
            if buffer.is_empty() {
                return Ok(any.then_some(row));
            }
            let (mut taken, mut ended) = (0, false);
            for &byte in buffer {
                taken += 1;
                any = true;
                self.line += u64::from(byte == b'\n');
                if quoted {
                    match byte {
                        b'"' => (quoted, closing) = (false, true),
                        byte => row.push(byte),
                    }
                    continue;
                }
                match byte {
                    b'\n' => {
                        ended = true;
                        break;
                    }
                    // A quote doubled within quotes is a quote.
                    b'"' if closing => {
                        row.push(b'"');
                        quoted = true;
                    }
                    b'"' if row.cells.last().is_some_and(Vec::is_empty) => {
                        quoted = true;
                        row.length += 1;
                    }
                    b',' => {
                        row.length += 1;
                        if row.length <= MAX_RECORD_BYTES as u64 {
                            row.cells.push(Vec::new());
                        }
                    }
                    b'\r' => {}
                    byte => row.push(byte),
                }
                closing = false;
            }
            self.bytes.consume(taken);
            if ended {
                return Ok(Some(row));
            }
        }
    }
}

struct Row {
    cells: Vec<Vec<u8>>,
    /// Its length, what was too much of it included.
    length: u64,
}

impl Row {
    fn push(&mut self, byte: u8) {
        self.length += 1;
        if self.length <= MAX_RECORD_BYTES as u64
            && let Some(cell) = self.cells.last_mut()
        {
            cell.push(byte);
        }
    }

    fn cells(&self, at: &Place) -> Result<Vec<String>, Error> {
        if self.length > MAX_RECORD_BYTES as u64 {
            return Err(Error::TooLarge { at: at.clone(), bytes: self.length, limit: MAX_RECORD_BYTES });
        }
        self.cells.iter().map(|cell| utf8(cell, at).map(str::to_owned)).collect()
    }
}
