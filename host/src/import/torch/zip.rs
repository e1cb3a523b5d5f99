//! Finds the entries of a zip file that torch wrote, without reading them.
//!
//! A reader of our own rather than the `zip` crate: torch stores every entry uncompressed, so all that is needed of an
//! entry is where its bytes lie, and tensors can then be read in place and in any order. Nothing is decompressed, so there
//! is nothing to bomb. Checksums are not compared, as torch does not either (newer versions may write none); the digest of
//! the whole file is in the report of each import.
//!
//! ```text
//! local header + name + extra, data     per entry, data aligned to 64 bytes
//! central directory                     per entry: sizes, name, offset of the local header
//! [zip64 end record, zip64 locator]     beyond 4 GiB or 65,535 entries
//! end record                            the last 22 bytes, unless there is a comment
//! ```

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use super::Extent;
use super::error::Error;

/// First bytes of a zip file.
pub(super) const SIGNATURE: &[u8] = b"PK\x03\x04";

/// Bytes of an end record without a comment, and of the longest comment.
const END_RECORD: usize = 22;
const MAX_COMMENT: usize = 0xffff;
/// Bytes of a zip64 locator, of a zip64 end record, of a local header and of a central one, names and extras apart.
const LOCATOR: usize = 20;
const END_RECORD_64: usize = 56;
const LOCAL_HEADER: usize = 30;
const CENTRAL_HEADER: usize = 46;
/// Bytes of the central directory; an entry takes about 80, and a state dict has an entry per tensor.
const MAX_DIRECTORY: u64 = 16 << 20;

/// Names of all entries with the place of their bytes.
pub(super) fn entries(file: &mut File, size: u64) -> Result<HashMap<String, Extent>, Error> {
    let (start, length) = directory(file, size)?;
    if length > MAX_DIRECTORY {
        return Err(broken(format!("its directory has {length} bytes, expected at most {MAX_DIRECTORY}")));
    }
    let directory = read_at(file, start, length, size)?;
    let mut entries = HashMap::new();
    let mut rest = directory.as_slice();
    while !rest.is_empty() {
        let (entry, after) = central(rest)?;
        rest = after;
        let extent = locate(file, &entry, size)?;
        if entries.insert(entry.name.clone(), extent).is_some() {
            return Err(broken(format!("entry `{}` is there twice", entry.name)));
        }
    }
    Ok(entries)
}

/// Reads an entry whole, up to `limit` bytes.
pub(super) fn read_entry(file: &mut File, name: &str, extent: Extent, limit: u64, size: u64) -> Result<Vec<u8>, Error> {
    if extent.length > limit {
        return Err(broken(format!("entry `{name}` has {} bytes, expected at most {limit}", extent.length)));
    }
    read_at(file, extent.start, extent.length, size)
}

/// Start and length of the central directory.
fn directory(file: &mut File, size: u64) -> Result<(u64, u64), Error> {
    let tail_length = size.min((END_RECORD + MAX_COMMENT + LOCATOR) as u64);
    let tail_start = size - tail_length;
    let tail = read_at(file, tail_start, tail_length, size)?;
    // The last end record whose comment reaches exactly to the end of the file.
    let end = (0..=tail.len().saturating_sub(END_RECORD))
        .rev()
        .find(|&at| {
            let record = tail.get(at..).unwrap_or_default();
            record.starts_with(b"PK\x05\x06")
                && number(record, 20, 2).is_some_and(|comment| (at + END_RECORD) as u64 + comment == tail.len() as u64)
        })
        .ok_or_else(|| Error::Truncated {
            what: "the zip directory at the end of the file".to_owned(),
            needed: END_RECORD as u64,
            found: 0,
        })?;
    let record = tail.get(end..).unwrap_or_default();
    let field = |at, length| number(record, at, length).ok_or_else(|| broken("its end record is too short".to_owned()));
    let (count, length, start) = (field(10, 2)?, field(12, 4)?, field(16, 4)?);
    let locator = end.checked_sub(LOCATOR).and_then(|at| tail.get(at..end)).filter(|it| it.starts_with(b"PK\x06\x07"));
    match locator {
        Some(locator) => {
            let at = number(locator, 8, 8).unwrap_or(u64::MAX);
            let record = read_at(file, at, END_RECORD_64 as u64, size)?;
            match (record.starts_with(b"PK\x06\x06"), number(&record, 48, 8), number(&record, 40, 8)) {
                (true, Some(start), Some(length)) => Ok((start, length)),
                _ => Err(broken("its zip64 end record is missing".to_owned())),
            }
        }
        None if count == 0xffff || length == 0xffff_ffff || start == 0xffff_ffff => {
            Err(broken("its zip64 locator is missing".to_owned()))
        }
        None => Ok((start, length)),
    }
}

/// One entry of the central directory.
struct Entry {
    name: String,
    length: u64,
    header: u64,
}

/// Reads the first entry of the rest of the directory.
fn central(bytes: &[u8]) -> Result<(Entry, &[u8]), Error> {
    let short = || broken("its directory ends inside an entry".to_owned());
    if !bytes.starts_with(b"PK\x01\x02") {
        return Err(broken("its directory has something else than entries".to_owned()));
    }
    let field = |at, length| number(bytes, at, length).ok_or_else(short);
    let (flags, method) = (field(8, 2)?, field(10, 2)?);
    let (mut compressed, mut length) = (field(20, 4)?, field(24, 4)?);
    let (name_length, extra_length, comment_length) = (field(28, 2)?, field(30, 2)?, field(32, 2)?);
    let mut header = field(42, 4)?;

    let after_name = CENTRAL_HEADER + name_length as usize;
    let after_extra = after_name + extra_length as usize;
    let name = bytes.get(CENTRAL_HEADER..after_name).ok_or_else(short)?;
    let name = std::str::from_utf8(name).map_err(|_| broken("an entry's name is not UTF-8".to_owned()))?.to_owned();
    let extra = bytes.get(after_name..after_extra).ok_or_else(short)?;
    let rest = bytes.get(after_extra + comment_length as usize..).ok_or_else(short)?;

    if flags & 1 != 0 {
        return Err(broken(format!("entry `{name}` is encrypted")));
    }
    if method != 0 {
        return Err(broken(format!(
            "entry `{name}` is compressed (method {method}), torch stores entries as they are"
        )));
    }
    // The zip64 field holds, in this order, those of the three numbers that did not fit.
    let mut wide = zip64_field(extra).unwrap_or_default();
    for value in [&mut length, &mut compressed, &mut header] {
        if *value == 0xffff_ffff {
            *value = number(wide, 0, 8).ok_or_else(|| broken(format!("entry `{name}` lacks its zip64 sizes")))?;
            wide = wide.get(8..).unwrap_or_default();
        }
    }
    if compressed != length {
        return Err(broken(format!("entry `{name}` has two lengths, {compressed} and {length}")));
    }
    Ok((Entry { name, length, header }, rest))
}

/// The data of extra field 1.
fn zip64_field(mut extra: &[u8]) -> Option<&[u8]> {
    loop {
        let (id, length) = (number(extra, 0, 2)?, number(extra, 2, 2)? as usize);
        let data = extra.get(4..4 + length)?;
        if id == 1 {
            return Some(data);
        }
        extra = extra.get(4 + length..)?;
    }
}

/// Where the data of an entry lies: behind its local header, whose extra field may differ from the directory's.
fn locate(file: &mut File, entry: &Entry, size: u64) -> Result<Extent, Error> {
    let header = read_at(file, entry.header, LOCAL_HEADER as u64, size)?;
    let lengths = number(&header, 26, 2).zip(number(&header, 28, 2));
    let (true, Some((name, extra))) = (header.starts_with(SIGNATURE), lengths) else {
        return Err(broken(format!("entry `{}` is not where the directory says", entry.name)));
    };
    // `header` is at most the file's size, and a file's size leaves room for 128 KiB.
    let start = entry.header.saturating_add(LOCAL_HEADER as u64 + name + extra);
    if start.checked_add(entry.length).is_none_or(|end| end > size) {
        return Err(Error::Truncated {
            what: format!("zip entry `{}`", entry.name),
            needed: entry.length,
            found: size.saturating_sub(start),
        });
    }
    Ok(Extent { start, length: entry.length })
}

/// A little-endian number of `length` bytes.
fn number(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    let mut wide = [0; 8];
    wide.get_mut(..length)?.copy_from_slice(bytes.get(at..at.checked_add(length)?)?);
    Some(u64::from_le_bytes(wide))
}

fn read_at(file: &mut File, start: u64, length: u64, size: u64) -> Result<Vec<u8>, Error> {
    if start.checked_add(length).is_none_or(|end| end > size) {
        return Err(Error::Truncated {
            what: format!("the zip container at byte {start}"),
            needed: length,
            found: size.saturating_sub(start),
        });
    }
    let mut bytes = vec![0; usize::try_from(length).map_err(|_| broken("it is larger than memory".to_owned()))?];
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn broken(what: String) -> Error {
    Error::Zip { what }
}
