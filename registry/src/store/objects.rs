//! Create-only objects by key: what a directory and an object store have in common.

use std::fmt;
use std::path::PathBuf;

use super::{Put, Stage, Stream, Sweep};
use crate::doctor::Finding;
use crate::error::Error;
use crate::layout::{Key, Prefix};

/// A place of create-only objects.
///
/// Of any number of concurrent [`Objects::put_new`] of one key exactly one is answered [`Put::Created`], and a reader sees
/// a whole object or none: no object is ever partly there.
pub trait Objects: Send + Sync + fmt::Debug {
    /// Where the objects are, for people.
    fn location(&self) -> String;

    /// Opens an object to read it from its start; none when there is none.
    ///
    /// # Errors
    /// The place cannot be read.
    fn open(&self, key: &Key) -> Result<Option<Stream>, Error>;

    /// Reads a whole object of at most `limit` bytes; none when there is none.
    ///
    /// # Errors
    /// The place cannot be read, or the object is longer.
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

    /// Writes the stream, to its end, under a key that is free. When the stream fails, nothing is written and the error's
    /// `io::Error` is the stream's own.
    ///
    /// # Errors
    /// The place cannot be written, or the stream cannot be read.
    fn put_new(&self, key: &Key, content: &mut dyn std::io::Read) -> Result<Put, Error>;

    /// Names the objects below a prefix, sorted; what cannot be a key of [`crate::layout`] is left out.
    ///
    /// # Errors
    /// The place cannot be read.
    fn list(&self, prefix: &Prefix) -> Result<Vec<Key>, Error>;

    /// This place as one that takes content before its name is known; none where that is not offered.
    fn stage(&self) -> Option<&dyn Stage> {
        None
    }

    /// This place as one in which garbage can be collected; none where that is not offered.
    fn sweep(&self) -> Option<&dyn Sweep> {
        None
    }

    /// Makes sure that [`Objects::put_new`] keeps its promise here, by trying it where that cannot be taken for granted.
    ///
    /// # Errors
    /// It does not, or the place cannot be written.
    fn require_conditions(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Tries what only this kind of place can try, as [`super::Store::probe`].
    fn probe(&self) -> Vec<Finding> {
        Vec::new()
    }

    /// The file that holds an object, where objects are files and it is there.
    fn local_path(&self, key: &Key) -> Option<PathBuf> {
        let _ = key;
        None
    }
}
