//! JSON of any size, one value at a time: brackets are followed, and a value in memory is one record.
//!
//! [`Cursor`] walks through lists and objects; what it takes out whole ([`Cursor::value`]) is parsed by `serde_json`. It keeps
//! no state of its own but how deep it is, so a file of any nesting takes no stack.

use super::input::Bytes;
use super::lines::utf8;
use super::{Error, Format, Place};
use crate::task::MAX_RECORD_BYTES;
use serde_json::Value;
use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;

/// A paragraph of SQuAD with all its questions is one value; so is a TACRED record with its annotations.
const MAX_VALUE_BYTES: usize = 16 * MAX_RECORD_BYTES;

/// A place in JSON text.
pub(super) struct Cursor {
    path: Arc<Path>,
    format: Format,
    bytes: Bytes,
    line: u64,
    /// Values that were taken out.
    pub(super) records: u64,
}

impl Cursor {
    /// The beginning of a file.
    pub(super) fn new(path: Arc<Path>, format: Format, bytes: Bytes) -> Self {
        Self { path, format, bytes, line: 1, records: 0 }
    }

    /// Where the next record is said to be.
    pub(super) fn place(&self) -> Place {
        Place { path: Arc::clone(&self.path), line: self.line, record: self.records + 1 }
    }

    fn fill(&mut self) -> Result<&[u8], Error> {
        loop {
            match self.bytes.fill_buf() {
                // The borrow checker does not see that the buffer is not used in the other arms.
                Ok(_) => break,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::Read { path: self.path.to_path_buf(), line: self.line, source }),
            }
        }
        self.bytes.fill_buf().map_err(|source| Error::Read { path: self.path.to_path_buf(), line: self.line, source })
    }

    /// The next byte that is not white space, without taking it; `None` at the end.
    pub(super) fn peek(&mut self) -> Result<Option<u8>, Error> {
        loop {
            let buffer = self.fill()?;
            if buffer.is_empty() {
                return Ok(None);
            }
            let blank = buffer.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).count();
            let lines = buffer[..blank].iter().filter(|&&byte| byte == b'\n').count();
            let found = buffer.get(blank).copied();
            self.bytes.consume(blank);
            self.line += lines as u64;
            if found.is_some() {
                return Ok(found);
            }
        }
    }

    /// Passes over a byte order mark at the beginning.
    pub(super) fn skip_mark(&mut self) -> Result<(), Error> {
        if self.fill()?.starts_with(b"\xef\xbb\xbf") {
            self.bytes.consume(3);
        }
        Ok(())
    }

    /// An error about what stands here.
    pub(super) fn unexpected(&self, found: Option<u8>, expected: &'static str) -> Error {
        let found = match found {
            None => "the end of the file".to_owned(),
            Some(byte) if byte.is_ascii_graphic() => format!("`{}`", char::from(byte)),
            Some(byte) => format!("byte {byte}"),
        };
        Error::Structure { at: self.place(), format: self.format, found, expected }
    }

    /// Takes `byte` and nothing else.
    pub(super) fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), Error> {
        match self.peek()? {
            Some(found) if found == byte => {
                self.bytes.consume(1);
                Ok(())
            }
            found => Err(self.unexpected(found, expected)),
        }
    }

    /// Goes on to the next item of a list or object: true if there is one. `first` is whether none came before.
    pub(super) fn item(&mut self, first: bool, close: u8, expected: &'static str) -> Result<bool, Error> {
        match self.peek()? {
            Some(found) if found == close => {
                self.bytes.consume(1);
                Ok(false)
            }
            Some(b',') if !first => {
                self.bytes.consume(1);
                Ok(true)
            }
            Some(_) if first => Ok(true),
            found => Err(self.unexpected(found, expected)),
        }
    }

    /// Takes the name of a field and its colon.
    pub(super) fn name(&mut self) -> Result<String, Error> {
        match self.peek()? {
            Some(b'"') => {}
            found => return Err(self.unexpected(found, "the name of a field")),
        }
        let at = self.place();
        let raw = self.raw(MAX_RECORD_BYTES)?;
        let name = raw.parse(&at, self.format)?;
        self.expect(b':', "`:` behind the name of a field")?;
        match name {
            Value::String(name) => Ok(name),
            _ => Err(self.unexpected(None, "the name of a field")),
        }
    }

    /// Takes a whole value, and where it began.
    pub(super) fn value(&mut self) -> Result<(Place, Raw), Error> {
        self.peek()?;
        let at = self.place();
        let raw = self.raw(MAX_VALUE_BYTES)?;
        self.records += 1;
        Ok((at, raw))
    }

    /// Passes over a whole value.
    pub(super) fn skip(&mut self) -> Result<(), Error> {
        self.raw(0).map(drop)
    }

    /// Takes the bytes of a value, keeping `limit` of them: to the bracket that closes it, the end of its text, or what
    /// follows a number or word.
    fn raw(&mut self, limit: usize) -> Result<Raw, Error> {
        let mut raw = Raw { bytes: Vec::new(), length: 0 };
        let (mut depth, mut text, mut escaped, mut started, mut done) = (0_u64, false, false, false, false);
        match self.peek()? {
            None | Some(b',' | b':' | b']' | b'}') => {
                let found = self.peek()?;
                return Err(self.unexpected(found, "a value"));
            }
            Some(_) => {}
        }
        while !done {
            let buffer = self.fill()?;
            if buffer.is_empty() {
                // A number or word may end with the file.
                return if started && depth == 0 && !text {
                    Ok(raw)
                } else {
                    Err(self.unexpected(None, "the end of the value that begins before"))
                };
            }
            let (mut taken, mut lines) = (0, 0);
            for &byte in buffer {
                let scalar = depth == 0 && !text;
                if started && scalar && matches!(byte, b',' | b']' | b'}' | b':' | b' ' | b'\t' | b'\r' | b'\n') {
                    done = true;
                    break;
                }
                taken += 1;
                lines += u64::from(byte == b'\n');
                started = true;
                if text {
                    match byte {
                        _ if escaped => escaped = false,
                        b'\\' => escaped = true,
                        b'"' => {
                            text = false;
                            done = depth == 0;
                        }
                        _ => {}
                    }
                } else {
                    match byte {
                        b'"' => text = true,
                        b'[' | b'{' => depth += 1,
                        b']' | b'}' => {
                            depth = depth.saturating_sub(1);
                            done = depth == 0;
                        }
                        _ => {}
                    }
                }
                if done {
                    break;
                }
            }
            let room = limit.saturating_sub(raw.bytes.len());
            raw.bytes.extend_from_slice(&buffer[..taken.min(room)]);
            raw.length += taken as u64;
            self.bytes.consume(taken);
            self.line += lines;
        }
        Ok(raw)
    }
}

/// The bytes of a value.
pub(super) struct Raw {
    bytes: Vec<u8>,
    /// How many there were, what was too much included.
    length: u64,
}

impl Raw {
    /// The value.
    pub(super) fn parse(&self, at: &Place, format: Format) -> Result<Value, Error> {
        if self.length > self.bytes.len() as u64 {
            return Err(Error::TooLarge { at: at.clone(), bytes: self.length, limit: MAX_VALUE_BYTES });
        }
        parse(utf8(&self.bytes, at)?, at, format)
    }
}

/// Parses a record's JSON.
pub(super) fn parse(text: &str, at: &Place, format: Format) -> Result<Value, Error> {
    serde_json::from_str(text).map_err(|source| Error::NotJson { at: at.clone(), format, source })
}
