//! Stores: what a registry asks of the place that keeps its releases.
//!
//! ```text
//! Store                     releases, their content, and what is said about them later (signatures, yanks)
//! ├── Tree<Directory>       the layout of `crate::layout` in a directory           = LocalStore
//! ├── Tree<Bucket>          the same tree in an S3-compatible object store         feature `s3`
//! ├── Oci                   one repository per package in an OCI registry          feature `oci`
//! └── Hub                   one repository per package on the Hugging Face Hub     feature `hf`
//! ```

#[cfg(not(all(feature = "s3", feature = "oci", feature = "hf")))]
pub(crate) mod absent;
pub mod directory;
pub mod objects;
#[cfg(feature = "remote")]
pub(crate) mod remote;
pub mod stage;
pub mod sweep;
pub mod tree;

#[cfg(feature = "hf")]
pub mod hub;
#[cfg(not(feature = "hf"))]
pub(crate) use absent as hub;
#[cfg(feature = "oci")]
pub mod oci;
#[cfg(not(feature = "oci"))]
pub(crate) use absent as oci;
#[cfg(feature = "s3")]
pub mod s3;
#[cfg(not(feature = "s3"))]
pub(crate) use absent as s3;

use std::fmt;
use std::io::Read;
use std::path::PathBuf;

use crate::doctor::Finding;
use crate::error::Error;
use crate::gc::{self, Collected};
use crate::id::PackageId;
use crate::name::{Namespace, PackageName};
use crate::note::Note;
use crate::release::{ReleaseFile, ReleaseRecord};
use crate::version::Version;

pub use directory::{Directory, LocalStore};
pub use objects::Objects;
pub use stage::{Stage, Staged};
pub use sweep::Sweep;
pub use tree::Tree;

/// What became of a write of something that is written once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// Its place was free and now holds the content.
    Created,
    /// Its place was taken and nothing changed; whoever cares reads and compares.
    Exists,
}

/// What publishing a release into a store did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Whether this call wrote the release.
    pub put: Put,
    /// Content that was uploaded, in bytes; the rest was there already.
    pub uploaded: u64,
}

/// Which releases are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope<'a> {
    /// Every release.
    All,
    /// Those of one namespace.
    Namespace(&'a Namespace),
    /// Those of one package.
    Package(&'a PackageName),
}

/// A stream of bytes from a store. Nothing about it is trusted: whoever reads it bounds and verifies it.
pub type Stream = Box<dyn Read + Send>;

/// Where the content of a release comes from while it is published: a package directory, or another store.
pub trait Source {
    /// Opens a file's content from its start, as a stream that fails instead of ending when it is not what the record says.
    ///
    /// # Errors
    /// The content is not there or cannot be read.
    fn open(&self, file: &ReleaseFile) -> Result<Stream, Error>;

    /// The file's content where it is in the store already, under no name; given once.
    fn staged(&self, file: &ReleaseFile) -> Option<Staged> {
        let _ = file;
        None
    }

    /// The error for content that turned out to be another while it was read.
    fn altered(&self, file: &ReleaseFile, difference: crate::digest::Difference) -> Error;
}

/// A place that keeps releases.
///
/// Of any number of concurrent calls of [`Store::publish`] for one version exactly one is answered [`Put::Created`], and a
/// reader sees a whole release with all of its content or none. What was written once never changes.
pub trait Store: Send + Sync + fmt::Debug {
    /// Where the store is, for people.
    fn location(&self) -> String;

    /// Tells whether there is a registry here.
    ///
    /// # Errors
    /// The store cannot be read, or the registry has another schema.
    fn is_registry(&self) -> Result<bool, Error>;

    /// Makes a registry here when there is none.
    ///
    /// # Errors
    /// The store cannot be written, or the registry has another schema.
    fn create_registry(&self) -> Result<(), Error>;

    /// Names the releases in a scope, in any order. What is not a well-formed name or version is left out.
    ///
    /// # Errors
    /// The store cannot be read; [`Error::NotOffered`] where its kind cannot list this scope.
    fn releases(&self, scope: Scope<'_>) -> Result<Vec<(PackageName, Version)>, Error>;

    /// The bytes of a release's record, at most [`crate::release::MAX_RELEASE`]; none when there is no such release.
    ///
    /// # Errors
    /// The store cannot be read, or the record is longer.
    fn record(&self, id: &PackageId) -> Result<Option<Vec<u8>>, Error>;

    /// Opens the content of a release's file from its start; none when it is not there.
    ///
    /// # Errors
    /// The store cannot be read.
    fn content(&self, id: &PackageId, file: &ReleaseFile) -> Result<Option<Stream>, Error>;

    /// Writes a release: its content first, the record last, as the one step that makes the release be there.
    ///
    /// Content that the store has already is compared and not written again.
    ///
    /// # Errors
    /// The store cannot be written or has another content under a digest, or the source fails. No release is there then, and
    /// publishing again is safe.
    fn publish(&self, record: &ReleaseRecord, source: &dyn Source) -> Result<Stored, Error>;

    /// Names what was said about a release after it was published, sorted.
    ///
    /// # Errors
    /// The store cannot be read.
    fn notes(&self, id: &PackageId) -> Result<Vec<Note>, Error>;

    /// The bytes of one note, at most [`crate::note::MAX_NOTE`]; none when there is none.
    ///
    /// # Errors
    /// The store cannot be read, or the note is longer.
    fn note(&self, id: &PackageId, note: &Note) -> Result<Option<Vec<u8>>, Error>;

    /// Writes a note, once.
    ///
    /// # Errors
    /// The store cannot be written.
    fn put_note(&self, id: &PackageId, note: &Note, bytes: &[u8]) -> Result<Put, Error>;

    /// Removes content that no release names, and what was begun and not finished, where it is old enough.
    ///
    /// # Errors
    /// The store cannot be read or written; a record cannot be read, and nothing was removed then;
    /// [`Error::NotOffered`] where its kind keeps no content apart from releases.
    fn collect(&self, options: &gc::Options) -> Result<Collected, Error> {
        let _ = options;
        Err(Error::NotOffered { action: "collect garbage", location: self.location() })
    }

    /// Where a release's record is for people: a path, an address.
    fn record_location(&self, id: &PackageId) -> String;

    /// Where a file's content is for people: a path, an address.
    fn content_location(&self, id: &PackageId, file: &ReleaseFile) -> String;

    /// Tells whether [`Store::publish`] is answered [`Put::Created`] exactly once among concurrent publishers of different
    /// content. Where it is not, because the place has no write that fails when something is there, a publisher looks
    /// before and reads back after: a later one may still take the version over, and only locks notice.
    fn picks_one_publisher(&self) -> bool {
        true
    }

    /// Tries what only this kind of store can try, for [`crate::doctor`]. What is written for that never looks like a release
    /// and is removed where the place lets us.
    fn probe(&self) -> Vec<Finding> {
        Vec::new()
    }

    /// This store as one that takes content before its name is known; none where that is not offered.
    fn stage(&self) -> Option<&dyn Stage> {
        None
    }

    /// The file that holds a release's file, where the store is a directory and has it.
    fn local_path(&self, file: &ReleaseFile) -> Option<PathBuf> {
        let _ = file;
        None
    }
}

#[cfg(test)]
mod conformance;
