//! What a place of objects must offer so that garbage can be collected in it.
//!
//! The danger is a publisher who finds its content already there, under no name yet, and writes its record after the
//! collector has read all records and before the content is removed. Two means are against it, and a place has at least one:
//!
//! * **Holding.** Publishers share a hold, from before they look for content until their record is written; the collector
//!   needs it alone, so no publisher is between these steps while it works. A directory does this by a file lock.
//! * **Freshening.** A publisher makes content that it found count as just written before it writes its record, and the
//!   collector removes only what was written long before and not since. It looks at each object once more before it removes it,
//!   but no store removes on condition: so the publisher looks again when its record is written, and brings back what went
//!   meanwhile. What is left is a collector that stands still between its look and the removal for longer than a publisher
//!   takes for its last three requests. A bucket does this.

use std::fs::File;
use std::time::SystemTime;

use crate::error::Error;
use crate::layout::{Key, Prefix};

/// An object as a listing describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its key.
    pub key: Key,
    /// Its size in bytes.
    pub size: u64,
    /// When it was written or last freshened, by the clock of the place.
    pub modified: SystemTime,
}

/// Something that is held until it is dropped, and by the system's care no longer than the process lives.
#[derive(Debug)]
pub struct Hold {
    file: Option<File>,
}

impl Hold {
    /// Nothing is held: the place relies on freshening.
    #[must_use]
    pub const fn nothing() -> Self {
        Self { file: None }
    }

    /// Tells whether something is held.
    pub(super) const fn is_held(&self) -> bool {
        self.file.is_some()
    }

    /// Holds a locked file.
    pub(super) const fn file(file: File) -> Self {
        Self { file: Some(file) }
    }
}

/// A place in which garbage can be collected. Whoever implements one method must mean all of them.
pub trait Sweep {
    /// Keeps collectors out, together with any number of other publishers.
    ///
    /// # Errors
    /// The place cannot be held.
    fn hold_to_publish(&self) -> Result<Hold, Error>;

    /// Keeps publishers out; waits for those that are at work.
    ///
    /// # Errors
    /// The place cannot be held, so that nothing may be removed from it.
    fn hold_to_collect(&self) -> Result<Hold, Error>;

    /// The time, by the clock that objects' ages are measured with.
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    /// Lists the blobs; what is no blob of [`crate::layout`] is left out.
    ///
    /// # Errors
    /// The place cannot be read.
    fn blobs(&self) -> Result<Vec<Found>, Error>;

    /// Names something below a prefix that no listing has although keys may lead through it, such as a link to a folder; none
    /// where a listing is whole.
    ///
    /// # Errors
    /// The place cannot be read.
    fn unlisted(&self, prefix: &Prefix) -> Result<Option<Key>, Error> {
        let _ = prefix;
        Ok(None)
    }

    /// Lists what was begun and has no name yet: temporary files, parts of uploads.
    ///
    /// # Errors
    /// The place cannot be read.
    fn unfinished(&self) -> Result<Vec<Found>, Error>;

    /// Tells whether an object is there.
    ///
    /// # Errors
    /// The place cannot be read.
    fn has(&self, key: &Key) -> Result<bool, Error>;

    /// Makes a blob count as just written, unless holding makes that needless; false when it is not there any more.
    ///
    /// # Errors
    /// The place cannot be written.
    fn freshen(&self, key: &Key) -> Result<bool, Error>;

    /// Removes what was listed; false when it is gone or was written or freshened since.
    ///
    /// # Errors
    /// The place cannot be written.
    fn remove(&self, found: &Found) -> Result<bool, Error>;
}
