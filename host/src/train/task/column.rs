//! One source's feature rows: in memory where they are few, else on disk.
//!
//! ```text
//! KROWS001 | key, 32 bytes | hidden u64 | rows u64 | rows · hidden f32 | SHA-256 of all before
//! ```
//! Numbers are little-endian. The file gets its name when it is whole; a file that is damaged is made anew.

use super::Error;
use kadapter_registry::Digest;
use kadapter_registry::digest::Hasher;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;
use tempfile::NamedTempFile;

/// Columns up to this size are kept in memory.
pub const MEMORY_BYTES: u64 = 512 << 20;

/// How the names of kept columns end.
pub(super) const SUFFIX: &str = "rows";

const MAGIC: &[u8; 8] = b"KROWS001";
const HEADER: u64 = 8 + 32 + 8 + 8;
const DIGEST: u64 = 32;
/// Bytes that are converted at a time.
const BLOCK: usize = 1 << 18;

/// Feature rows `[rows, hidden]` of one source.
#[derive(Debug)]
pub struct Column {
    hidden: usize,
    rows: usize,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Memory(Vec<f32>),
    /// Reads need a place in the file, so they take turns.
    Disk {
        path: PathBuf,
        file: Mutex<File>,
    },
}

impl Column {
    /// A column in memory, row-major.
    ///
    /// # Panics
    /// Never: what is left over behind the last whole row is not looked at.
    #[must_use]
    pub fn in_memory(hidden: usize, values: Vec<f32>) -> Self {
        Self { hidden, rows: values.len() / hidden.max(1), values: Values::Memory(values) }
    }

    /// Numbers in a row.
    #[must_use]
    pub fn hidden(&self) -> usize {
        self.hidden
    }

    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Appends rows to `out`, in the order in which they are named.
    ///
    /// # Errors
    /// When the file cannot be read.
    ///
    /// # Panics
    /// When a row is not there.
    pub fn gather(&self, rows: &[usize], out: &mut Vec<f32>) -> Result<(), Error> {
        match &self.values {
            Values::Memory(values) => {
                out.reserve(rows.len() * self.hidden);
                for &row in rows {
                    out.extend_from_slice(&values[row * self.hidden..(row + 1) * self.hidden]);
                }
            }
            Values::Disk { path, file } => {
                let refuse = |source| Error::Io { action: "read", path: path.clone(), source };
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                let width = (self.hidden * 4) as u64;
                let mut rest = rows;
                // Rows that follow one another are read at once.
                while let Some(&first) = rest.first() {
                    let run = rest.iter().zip(first..).take_while(|(row, expected)| **row == *expected).count();
                    let mut bytes = vec![0; run * self.hidden * 4];
                    file.seek(SeekFrom::Start(HEADER + first as u64 * width)).map_err(refuse)?;
                    file.read_exact(&mut bytes).map_err(refuse)?;
                    out.extend(floats(&bytes));
                    rest = &rest[run..];
                }
            }
        }
        Ok(())
    }

    /// Opens a column that was kept; `None` where there is none under this key, or it is damaged.
    pub(super) fn open(path: &Path, key: &Digest, hidden: usize, memory_bytes: u64) -> Option<Self> {
        Self::read(File::open(path).ok()?, path, key, hidden, memory_bytes)
    }

    /// The same of a file that is open at its start.
    fn read(mut file: File, path: &Path, key: &Digest, hidden: usize, memory_bytes: u64) -> Option<Self> {
        let mut header = [0; HEADER as usize];
        file.read_exact(&mut header).ok()?;
        let number = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().unwrap_or_default());
        let rows = number(48);
        let bytes = rows.checked_mul(hidden as u64)?.checked_mul(4)?;
        // Used now: what was not used for longest is removed first. A file of somebody else keeps its time.
        let _ = file.set_modified(SystemTime::now());
        let whole = header[..8] == *MAGIC && header[8..40] == *key.as_bytes() && number(40) == hidden as u64;
        let length = HEADER.checked_add(bytes)?.checked_add(DIGEST)?;
        if !whole || file.metadata().ok()?.len() != length {
            return None;
        }
        let mut hasher = Hasher::new();
        hasher.update(&header);
        let mut reader = BufReader::with_capacity(BLOCK, &file);
        let mut values = Vec::new();
        let keep = bytes <= memory_bytes;
        let (mut left, mut block) = (usize::try_from(bytes).ok()?, vec![0; BLOCK]);
        while left > 0 {
            let part = &mut block[..BLOCK.min(left)];
            reader.read_exact(part).ok()?;
            hasher.update(part);
            if keep {
                values.extend(floats(part));
            }
            left -= part.len();
        }
        let mut digest = [0; DIGEST as usize];
        reader.read_exact(&mut digest).ok()?;
        if hasher.finish().0.as_bytes() != &digest {
            tracing::warn!(path = %path.display(), "kept features are damaged and are computed anew");
            return None;
        }
        let rows = usize::try_from(rows).ok()?;
        let values = match keep {
            true => Values::Memory(values),
            false => Values::Disk { path: path.to_owned(), file: Mutex::new(file) },
        };
        Some(Self { hidden, rows, values })
    }
}

fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.as_chunks().0.iter().map(|&four| f32::from_le_bytes(four))
}

/// The bytes of a kept column.
pub(super) fn kept_bytes(hidden: usize, rows: usize) -> u64 {
    (hidden as u64).saturating_mul(rows as u64).saturating_mul(4).saturating_add(HEADER + DIGEST)
}

/// A column in the making.
#[derive(Debug)]
pub(super) struct ColumnWriter {
    hidden: usize,
    rows: usize,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Memory(Vec<f32>),
    Disk { path: PathBuf, hasher: Hasher, file: BufWriter<NamedTempFile> },
}

impl ColumnWriter {
    /// A column that ends up at `path`, or in memory where there is no path.
    pub(super) fn new(path: Option<&Path>, key: &Digest, hidden: usize, rows: usize) -> Result<Self, Error> {
        let Some(path) = path else {
            return Ok(Self { hidden, rows, place: Place::Memory(Vec::with_capacity(rows * hidden)) });
        };
        let refuse = |source| Error::Io { action: "write", path: path.to_owned(), source };
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(refuse)?;
        let mut place = Place::Disk {
            path: path.to_owned(),
            hasher: Hasher::new(),
            file: BufWriter::with_capacity(BLOCK, NamedTempFile::new_in(folder).map_err(refuse)?),
        };
        let mut header = MAGIC.to_vec();
        header.extend(key.as_bytes());
        header.extend((hidden as u64).to_le_bytes());
        header.extend((rows as u64).to_le_bytes());
        place.put(&header)?;
        Ok(Self { hidden, rows, place })
    }

    /// Appends rows.
    pub(super) fn append(&mut self, values: &[f32]) -> Result<(), Error> {
        match &mut self.place {
            Place::Memory(all) => {
                all.extend_from_slice(values);
                Ok(())
            }
            place @ Place::Disk { .. } => {
                for part in values.chunks(BLOCK / 4) {
                    let bytes: Vec<u8> = part.iter().flat_map(|value| value.to_le_bytes()).collect();
                    place.put(&bytes)?;
                }
                Ok(())
            }
        }
    }

    /// Puts the column in its place; one that is not to be kept never gets a name, and is gone when nobody reads it any more.
    pub(super) fn finish(self, key: &Digest, memory_bytes: u64, keep: bool) -> Result<Column, Error> {
        match self.place {
            Place::Memory(values) => {
                Ok(Column { hidden: self.hidden, rows: self.rows, values: Values::Memory(values) })
            }
            Place::Disk { path, hasher, mut file } => {
                let refuse = |source| Error::Io { action: "write", path: path.clone(), source };
                file.write_all(hasher.finish().0.as_bytes()).map_err(refuse)?;
                let file = file.into_inner().map_err(|error| refuse(error.into_error()))?;
                file.as_file().sync_all().map_err(refuse)?;
                // Read on by its handle: another process may make room by removing the name.
                let mut file = match keep {
                    true => file.persist(&path).map_err(|error| refuse(error.error))?,
                    false => file.into_file(),
                };
                file.rewind().map_err(refuse)?;
                let damaged = || refuse(std::io::ErrorKind::InvalidData.into());
                Column::read(file, &path, key, self.hidden, memory_bytes).ok_or_else(damaged)
            }
        }
    }
}

impl Place {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let Self::Disk { path, hasher, file } = self else { return Ok(()) };
        hasher.update(bytes);
        file.write_all(bytes).map_err(|source| Error::Io { action: "write", path: path.clone(), source })
    }
}
