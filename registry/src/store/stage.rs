//! Staging: content that lies in a store under no name, since nobody knows its digest before it was read to its end.
//!
//! A publisher must hash a file to know what the release is, and copy it to publish it. Where a store can take content first
//! and name it afterwards, both are done in one pass over the file: what is named is then exactly what was hashed, whatever
//! becomes of the file meanwhile.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::{Mutex, PoisonError};

use tempfile::NamedTempFile;

use super::Put;
use crate::digest::Digest;
use crate::error::Error;
use crate::layout::Key;

/// Content that is in a store and has no name; it is gone when this is dropped.
#[derive(Debug)]
pub struct Staged(pub(super) NamedTempFile);

/// A place that takes content before its name is known.
pub trait Stage {
    /// Copies a stream to its end. When the stream fails, the error's `io::Error` is the stream's own.
    ///
    /// # Errors
    /// The place cannot be written, or the stream cannot be read.
    fn stage(&self, content: &mut dyn Read) -> Result<Staged, Error>;

    /// Gives staged content a name that is free; none when a collector has taken it for garbage meanwhile.
    ///
    /// # Errors
    /// The place cannot be written.
    fn name(&self, staged: Staged, key: &Key) -> Result<Option<Put>, Error>;
}

/// What a publisher has staged, by digest, until it is given its names.
#[derive(Debug, Default)]
pub(crate) struct StagedFiles(Mutex<BTreeMap<Digest, Staged>>);

impl StagedFiles {
    /// Keeps staged content; of two with one digest the second.
    pub(crate) fn keep(&self, digest: Digest, staged: Staged) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, staged);
    }

    /// Takes staged content out.
    pub(crate) fn take(&self, digest: &Digest) -> Option<Staged> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(digest)
    }
}
