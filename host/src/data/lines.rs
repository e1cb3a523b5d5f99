//! Lines of a file, each with its number, none longer than a record may be.

use super::input::Bytes;
use super::{Error, Place};
use crate::task::MAX_RECORD_BYTES;
use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;

/// What begins a text in UTF-8 that was written on Windows.
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// The lines of a file.
pub(super) struct Lines {
    path: Arc<Path>,
    bytes: Bytes,
    line: u64,
}

/// A line, its end cut off.
pub(super) struct Line {
    /// Its number, from 1.
    pub(super) number: u64,
    bytes: Vec<u8>,
    /// Its length, what was too much of it included.
    length: u64,
}

impl Lines {
    pub(super) fn new(path: Arc<Path>, bytes: Bytes) -> Self {
        Self { path, bytes, line: 0 }
    }

    /// The next line, `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Line>, Error> {
        let mut line = Line { number: self.line + 1, bytes: Vec::new(), length: 0 };
        loop {
            let failed = |source| Error::Read { path: self.path.to_path_buf(), line: self.line, source };
            let buffer = match self.bytes.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed(error)),
            };
            if buffer.is_empty() {
                break;
            }
            let end = buffer.iter().position(|&byte| byte == b'\n');
            let part = &buffer[..end.unwrap_or(buffer.len())];
            // A little more is kept than a record may have, so that none of the right length looks short.
            let room = (MAX_RECORD_BYTES + 1).saturating_sub(line.bytes.len());
            line.bytes.extend_from_slice(&part[..part.len().min(room)]);
            line.length += part.len() as u64;
            let consumed = part.len() + usize::from(end.is_some());
            self.bytes.consume(consumed);
            if end.is_some() {
                self.line += 1;
                return Ok(Some(line.without_return()));
            }
        }
        if line.length == 0 {
            return Ok(None);
        }
        self.line += 1;
        Ok(Some(line.without_return()))
    }
}

impl Line {
    fn without_return(mut self) -> Self {
        if self.bytes.last() == Some(&b'\r') && self.length == self.bytes.len() as u64 {
            self.bytes.pop();
            self.length -= 1;
        }
        self
    }

    /// Whether nothing but white space stands on it.
    pub(super) fn is_blank(&self) -> bool {
        self.length == self.bytes.len() as u64 && self.bytes.trim_ascii().is_empty()
    }

    /// Its bytes, no more than a record may have and one.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its text.
    pub(super) fn text(&self, at: &Place) -> Result<&str, Error> {
        if self.length > MAX_RECORD_BYTES as u64 {
            return Err(Error::TooLarge { at: at.clone(), bytes: self.length, limit: MAX_RECORD_BYTES });
        }
        let text = utf8(&self.bytes, at)?;
        Ok(if self.number == 1 { text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text) } else { text })
    }
}

/// Bytes as text.
pub(super) fn utf8<'b>(bytes: &'b [u8], at: &Place) -> Result<&'b str, Error> {
    std::str::from_utf8(bytes).map_err(|error| Error::NotUtf8 { at: at.clone(), byte: error.valid_up_to() + 1 })
}
