//! Stores: what a registry asks of the place that keeps its bytes.

pub mod local;

use std::fmt;
use std::io::Read;
use std::path::PathBuf;

use crate::error::Error;
use crate::layout::{Key, Prefix};

pub use local::LocalStore;

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The key was free and now holds the content.
    Created,
    /// The key was taken and nothing changed; whoever cares reads and compares.
    Exists,
}

/// A place of create-only objects.
///
/// Of any number of concurrent [`Store::put_new`] of one key exactly one is answered [`Put::Created`], and a reader sees
/// a whole object or none: no object is ever partly there.
pub trait Store: Send + Sync + fmt::Debug {
    /// Where the store is, for people.
    fn location(&self) -> String;

    /// Opens an object to read it from its start; none when there is none.
    ///
    /// # Errors
    /// The store cannot be read.
    fn open(&self, key: &Key) -> Result<Option<Box<dyn Read + Send>>, Error>;

    /// Reads a whole object of at most `limit` bytes; none when there is none.
    ///
    /// # Errors
    /// The store cannot be read, or the object is longer.
    fn get(&self, key: &Key, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        let Some(reader) = self.open(key)? else { return Ok(None) };
        let whole = crate::files::read_bounded(reader, limit).map_err(|source| Error::Io {
            action: "read",
            path: PathBuf::from(self.location()).join(key.as_str()),
            source,
        })?;
        let file = || format!("{}/{key}", self.location());
        whole.map(Some).ok_or_else(|| Error::TooLong { file: file(), limit })
    }

    /// Writes the stream, to its end, under a key that is free. When the stream fails, nothing is written.
    ///
    /// # Errors
    /// The store cannot be written, or the stream cannot be read.
    fn put_new(&self, key: &Key, content: &mut dyn Read) -> Result<Put, Error>;

    /// Names the objects below a prefix, sorted; what a store cannot hold by [`crate::layout`] is left out.
    ///
    /// # Errors
    /// The store cannot be read.
    fn list(&self, prefix: &Prefix) -> Result<Vec<Key>, Error>;

    /// The file that holds an object, where the store is a directory and has it.
    fn local_path(&self, key: &Key) -> Option<PathBuf> {
        let _ = key;
        None
    }
}

#[cfg(test)]
mod conformance;
