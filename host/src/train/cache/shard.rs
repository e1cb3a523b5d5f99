//! A shard: a file of records, and a file of entries that says where they are.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::error::{CacheError, io};
use super::open_existing;
use super::record::{ENTRY, Entry, Format};

const RECORDS: &str = "taps";
const ENTRIES: &str = "index";

/// The records of a shard, open to be read.
#[derive(Debug)]
pub(super) struct Shard {
    number: u16,
    records: File,
}

/// The path of a shard's records.
pub(super) fn records_path(folder: &Path, number: u16) -> PathBuf {
    folder.join(format!("{number:04}.{RECORDS}"))
}

/// The path of a shard's entries.
pub(super) fn entries_path(folder: &Path, number: u16) -> PathBuf {
    folder.join(format!("{number:04}.{ENTRIES}"))
}

/// The shard whose records a file has.
pub(super) fn number_of(name: &str) -> Option<u16> {
    name.strip_suffix(RECORDS)?.strip_suffix('.')?.parse().ok()
}

impl Shard {
    /// Opens a shard, unless it was removed.
    pub(super) fn open(folder: &Path, number: u16) -> Result<Option<Self>, CacheError> {
        Ok(open_existing(&records_path(folder, number))?.map(|records| Self { number, records }))
    }

    pub(super) fn number(&self) -> u16 {
        self.number
    }

    /// Fills a buffer from an offset on.
    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        read_exact_at(&self.records, buffer, offset)
    }

    /// The entries from number `from` on, whose records start at `start`, up to the first that is torn, does not follow the one before, or
    /// has no whole record; and where the last record ends.
    pub(super) fn entries(
        &self,
        folder: &Path,
        format: Format,
        from: u64,
        start: u64,
    ) -> Result<(Vec<Entry>, u64), CacheError> {
        let path = entries_path(folder, self.number);
        let Some(file) = open_existing(&path)? else { return Ok((Vec::new(), start)) };
        let skip = from * ENTRY as u64;
        let length = file.metadata().map_err(io("look at", &path))?.len();
        let size = usize::try_from(length.saturating_sub(skip)).unwrap_or(0);
        let mut bytes = vec![0; size / ENTRY * ENTRY];
        if let Err(error) = read_exact_at(&file, &mut bytes, skip) {
            // The writer cuts a shard when it is done with it.
            if error.kind() != std::io::ErrorKind::UnexpectedEof {
                return Err(io("read", &path)(error));
            }
        }
        let records = self.records.metadata().map_err(io("look at", &records_path(folder, self.number)))?.len();
        let (mut entries, mut end) = (Vec::new(), start);
        for bytes in bytes.as_chunks().0 {
            let Some(entry) = Entry::decode(bytes).filter(|entry| entry.offset == end) else { break };
            let next = end.saturating_add(format.record_bytes(entry.tokens as usize) as u64);
            if next > records {
                break;
            }
            entries.push(entry);
            end = next;
        }
        Ok((entries, end))
    }
}

/// Fills a buffer from an offset on, wherever the file's own position is.
#[cfg(unix)]
fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

/// Writes a buffer at an offset, wherever the file's own position is.
#[cfg(unix)]
pub(super) fn write_all_at(file: &File, buffer: &[u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, buffer, offset)
}

/// Fills a buffer from an offset on.
#[cfg(windows)]
fn read_exact_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> std::io::Result<()> {
    while !buffer.is_empty() {
        let count = std::os::windows::fs::FileExt::seek_read(file, buffer, offset)?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        buffer = &mut buffer[count..];
        offset += count as u64;
    }
    Ok(())
}

/// Writes a buffer at an offset.
#[cfg(windows)]
pub(super) fn write_all_at(file: &File, mut buffer: &[u8], mut offset: u64) -> std::io::Result<()> {
    while !buffer.is_empty() {
        let count = std::os::windows::fs::FileExt::seek_write(file, buffer, offset)?;
        if count == 0 {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        buffer = &buffer[count..];
        offset += count as u64;
    }
    Ok(())
}
