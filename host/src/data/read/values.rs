//! JSON values, one per line or in an array.

use super::{Convert, Queue, Reader, convert};
use crate::data::input::Bytes;
use crate::data::json::{self, Cursor};
use crate::data::lines::Lines;
use crate::data::{Error, Format, Place};
use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;

/// The values of a file, whose first byte says whether they stand in an array.
pub(super) struct Values {
    path: Arc<Path>,
    format: Format,
    convert: Convert,
    state: State,
}

enum State {
    Start(Option<Bytes>),
    Lines { lines: Lines, records: u64 },
    Array { cursor: Cursor, first: bool },
}

impl Values {
    pub(super) fn new(path: Arc<Path>, format: Format, bytes: Bytes, convert: Convert) -> Self {
        Self { path, format, convert, state: State::Start(Some(bytes)) }
    }

    fn start(&mut self, mut bytes: Bytes) -> Result<State, Error> {
        let read = |source| Error::Read { path: self.path.to_path_buf(), line: 0, source };
        let start = bytes.fill_buf().map_err(read)?;
        let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
        Ok(match start.first() {
            Some(b'[') => {
                let mut cursor = Cursor::new(Arc::clone(&self.path), self.format, bytes);
                cursor.skip_mark()?;
                cursor.expect(b'[', "`[`, the beginning of a list")?;
                State::Array { cursor, first: true }
            }
            _ => State::Lines { lines: Lines::new(Arc::clone(&self.path), bytes), records: 0 },
        })
    }
}

impl Reader for Values {
    fn read(&mut self, queue: &mut Queue) -> Result<bool, Error> {
        if let State::Start(bytes) = &mut self.state {
            let Some(bytes) = bytes.take() else { return Ok(false) };
            self.state = self.start(bytes)?;
        }
        match &mut self.state {
            State::Start(_) => Ok(false),
            State::Lines { lines, records } => {
                let Some(line) = lines.next()? else { return Ok(false) };
                if !line.is_blank() {
                    *records += 1;
                    let at = Place { path: Arc::clone(&self.path), line: line.number, record: *records };
                    let value = line.text(&at).and_then(|text| json::parse(text, &at, self.format));
                    convert(value, &at, self.format, self.convert, queue);
                }
                Ok(true)
            }
            State::Array { cursor, first } => {
                if !cursor.item(*first, b']', "`,` or `]` behind an item of the list")? {
                    return match cursor.peek()? {
                        None => Ok(false),
                        found => Err(cursor.unexpected(found, "the end of the file behind the list")),
                    };
                }
                *first = false;
                let (at, raw) = cursor.value()?;
                convert(raw.parse(&at, self.format), &at, self.format, self.convert, queue);
                Ok(true)
            }
        }
    }
}
