//! What instructions read behind their opcode: numbers, text, names, all within limits.

use super::super::error::Error;
use super::super::value::Value;
use super::Machine;

/// Bytes of one string; parameter names are shorter than 200.
const MAX_TEXT: usize = 1 << 16;
/// Bytes of one integer: torch's magic number has ten.
const MAX_INT_BYTES: usize = 16;

impl<'a> Machine<'a> {
    /// The next `length` bytes.
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let rest = self.input.get(self.at..).unwrap_or_default();
        let taken = rest.get(..length).ok_or_else(|| Error::Truncated {
            what: format!("the pickle at byte {}", self.at),
            needed: length as u64,
            found: rest.len() as u64,
        })?;
        self.at += length;
        Ok(taken)
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// An unsigned little-endian length of `N` bytes.
    pub(super) fn length<const N: usize>(&mut self) -> Result<usize, Error> {
        let mut wide = [0; 8];
        for (to, from) in wide.iter_mut().zip(self.array::<N>()?) {
            *to = from;
        }
        usize::try_from(u64::from_le_bytes(wide)).map_err(|_| self.malformed("a length is larger than memory"))
    }

    /// A line of ASCII, as `GLOBAL` writes its names.
    pub(super) fn line(&mut self) -> Result<&'a str, Error> {
        let rest = self.input.get(self.at..).unwrap_or_default();
        let window = rest.get(..MAX_TEXT.min(rest.len())).unwrap_or_default();
        let Some(end) = window.iter().position(|&byte| byte == b'\n') else {
            return Err(Error::Truncated {
                what: format!("a name at byte {} of the pickle", self.at),
                needed: window.len() as u64 + 1,
                found: window.len() as u64,
            });
        };
        let line = self.take(end)?;
        self.at += 1;
        std::str::from_utf8(line).map_err(|_| self.malformed("a name is not UTF-8"))
    }

    /// `PROTO`: the version of the format.
    pub(super) fn protocol(&mut self) -> Result<(), Error> {
        let [protocol] = self.array()?;
        if (2..=5).contains(&protocol) {
            Ok(())
        } else {
            Err(self.malformed(format!("pickle protocol {protocol}, expected 2 to 5")))
        }
    }

    /// An integer of `length` bytes, two's complement.
    pub(super) fn int(&mut self, length: usize) -> Result<(), Error> {
        if length > MAX_INT_BYTES {
            return Err(self.malformed(format!("an integer of {length} bytes, expected at most {MAX_INT_BYTES}")));
        }
        let bytes = self.take(length)?;
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut wide = [if negative { 0xff } else { 0 }; 16];
        for (to, from) in wide.iter_mut().zip(bytes) {
            *to = *from;
        }
        self.stack.push(Value::Int(i128::from_le_bytes(wide)));
        Ok(())
    }

    /// A string behind its length of `N` bytes.
    pub(super) fn text<const N: usize>(&mut self) -> Result<(), Error> {
        let bytes = self.short_bytes::<N>()?;
        let text = std::str::from_utf8(bytes).map_err(|_| self.malformed("a string is not UTF-8"))?;
        self.stack.push(Value::Text(text));
        Ok(())
    }

    /// A byte string behind its length of `N` bytes.
    pub(super) fn bytes<const N: usize>(&mut self) -> Result<(), Error> {
        let bytes = self.short_bytes::<N>()?;
        self.stack.push(Value::Bytes(bytes));
        Ok(())
    }

    /// Bytes behind their length of `N` bytes.
    pub(super) fn short_bytes<const N: usize>(&mut self) -> Result<&'a [u8], Error> {
        let length = self.length::<N>()?;
        if length > MAX_TEXT {
            return Err(self.malformed(format!("a string of {length} bytes, expected at most {MAX_TEXT}")));
        }
        self.take(length)
    }
}
