//! Progress: how far transfers are, told file by file to whoever wants to know. Showing it is the command's.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use crate::path::PackagePath;

/// What is done with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// It is read to know what it is, before it is published.
    Checking,
    /// It goes from a package directory to a registry.
    Publishing,
    /// It goes from a registry to the cache.
    Fetching,
    /// It goes from a registry to another.
    Mirroring,
}

impl fmt::Display for Activity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Checking => "checking",
            Self::Publishing => "publishing",
            Self::Fetching => "fetching",
            Self::Mirroring => "mirroring",
        })
    }
}

/// Whoever wants to know how far transfers are.
pub trait Progress: Send + Sync + fmt::Debug {
    /// The first bytes of a file of `size` bytes are about to be read. Dropping the meter means that no more come, whether
    /// that was all or the transfer failed.
    fn start(&self, activity: Activity, path: &PackagePath, size: u64) -> Box<dyn Meter>;
}

/// Counts the bytes of one file.
pub trait Meter: Send {
    /// So many more bytes were read.
    fn advance(&mut self, bytes: u64);
}

/// A [`Progress`] as it is handed around.
pub type Observer = Arc<dyn Progress>;

/// Makes an observer that does not look.
#[must_use]
pub fn nobody() -> Observer {
    Arc::new(Nobody)
}

#[derive(Debug)]
struct Nobody;

impl Progress for Nobody {
    fn start(&self, _activity: Activity, _path: &PackagePath, _size: u64) -> Box<dyn Meter> {
        Box::new(Self)
    }
}

impl Meter for Nobody {
    fn advance(&mut self, _bytes: u64) {}
}

/// A stream whose bytes are counted, from the first that is read.
pub(crate) struct Metered<R> {
    inner: R,
    observer: Observer,
    activity: Activity,
    path: PackagePath,
    size: u64,
    meter: Option<Box<dyn Meter>>,
}

impl<R: Read> Metered<R> {
    pub(crate) fn new(inner: R, observer: &Observer, activity: Activity, path: &PackagePath, size: u64) -> Self {
        Self { inner, observer: observer.clone(), activity, path: path.clone(), size, meter: None }
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let start = || self.observer.start(self.activity, &self.path, self.size);
        self.meter.get_or_insert_with(start).advance(count as u64);
        Ok(count)
    }
}

impl<R> fmt::Debug for Metered<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Metered").field("path", &self.path).finish_non_exhaustive()
    }
}
