//! Collecting garbage in a bucket. Nothing can be held there, so publishers freshen what they use (see
//! [`crate::store::sweep`]).
//!
//! An object is made to count as just written by copying it onto itself inside the server, which keeps its bytes. A server that
//! does not know copies would take the request for a write of nothing, so it is tried on a probe first; and where it does not
//! make an object younger, nothing is collected. Parts of uploads that were broken off are no objects: a lifecycle rule of the
//! bucket drops them (`AbortIncompleteMultipartUpload`).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use object_store::ObjectStoreExt;
use object_store::aws::S3CopyIfNotExists;

use super::transport::nanoseconds;
use super::{Bucket, Described, S3Error};
use crate::error::Error;
use crate::layout::Key;
use crate::store::Objects;
use crate::store::remote::wait;
use crate::store::sweep::{Found, Hold, Sweep};

/// Where content is.
const BLOBS: &str = "blobs/";
/// Where a store was tried and what was written for that could not be removed.
const PROBES: &str = "probe/";
/// Long enough that an object's age in whole seconds is another one.
const MOMENT: Duration = Duration::from_millis(1200);
/// The longest object that a server copies in one request, in bytes.
const MAX_COPY: u64 = 5 << 30;

/// Makes a copy of an object onto itself one that is allowed: it says that it replaces what is known about the object, of which
/// nothing here is of use. The client knows a header of the user's choice only as a condition of copying.
pub(super) fn copy_onto_itself() -> S3CopyIfNotExists {
    S3CopyIfNotExists::Header("x-amz-metadata-directive".to_owned(), "REPLACE".to_owned())
}

impl From<Described> for Found {
    fn from(Described { key, size, modified }: Described) -> Self {
        Self { key, size, modified }
    }
}

/// Whole seconds since 1970: what is asked for one object has no more, what a listing names may.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// What copying an object onto itself does to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Copied {
    /// It counts as just written.
    Fresh,
    /// It is as old as before.
    Old,
    /// It is not what it was.
    Another,
    /// The server refused it.
    Refused,
}

impl Bucket {
    /// Tries on an object of our own what copying onto itself does; how old it is then is told after a moment only.
    ///
    /// # Errors
    /// The server cannot be asked, or lets us write nothing.
    pub(super) fn try_copying(&self, moment: Duration) -> Result<Copied, Error> {
        let content: &[u8] = b"kadapter tries whether a copy of this onto itself keeps it\n";
        let key = Key::probe(&format!("copy-{}-{}", std::process::id(), nanoseconds()));
        self.put_whole(&key, bytes::Bytes::from_static(content))?;
        let before = self.describe(&key)?;
        std::thread::sleep(moment);
        let path = self.path(key.as_str())?;
        let copied = match wait(self.client.copy_if_not_exists(&path, &path)) {
            Err(_) => Copied::Refused,
            Ok(()) if self.get(&key, content.len() as u64).ok().flatten().as_deref() != Some(content) => {
                Copied::Another
            }
            Ok(()) => match (before, self.describe(&key)?) {
                (Some(before), Some(after)) if after.modified > before.modified => Copied::Fresh,
                _ => Copied::Old,
            },
        };
        // Who may not remove it leaves it: one small object that is no release.
        let _ = Self::remove(self, &key);
        Ok(copied)
    }

    /// Whether a copy of an object onto itself keeps it.
    fn keeps_what_it_copies(&self) -> Result<bool, Error> {
        if let Some(keeps) = self.copies.get() {
            return Ok(*keeps);
        }
        let keeps = matches!(self.try_copying(Duration::ZERO)?, Copied::Fresh | Copied::Old);
        Ok(*self.copies.get_or_init(|| keeps))
    }

    /// Whether a publisher can keep a collector from content that it has found.
    pub(super) fn freshens(&self) -> Result<Copied, Error> {
        self.try_copying(MOMENT)
    }
}

impl Sweep for Bucket {
    fn hold_to_publish(&self) -> Result<Hold, Error> {
        Ok(Hold::nothing())
    }

    fn hold_to_collect(&self) -> Result<Hold, Error> {
        match self.freshens()? {
            Copied::Fresh => Ok(Hold::nothing()),
            _ => Err(S3Error::NotFreshened { location: self.access.location.clone() }.into()),
        }
    }

    /// The server's time where it has said it, unless our clock is behind: what seems younger stays.
    fn now(&self) -> SystemTime {
        let ours = SystemTime::now();
        self.access.clock.now().map_or(ours, |theirs| theirs.min(ours))
    }

    fn blobs(&self) -> Result<Vec<Found>, Error> {
        let blobs = self.describe_all(BLOBS)?.into_iter().filter(|object| object.key.as_blob().is_some());
        Ok(blobs.map(Found::from).collect())
    }

    fn unfinished(&self) -> Result<Vec<Found>, Error> {
        Ok(self.describe_all(PROBES)?.into_iter().map(Found::from).collect())
    }

    fn has(&self, key: &Key) -> Result<bool, Error> {
        Ok(self.describe(key)?.is_some())
    }

    fn freshen(&self, key: &Key) -> Result<bool, Error> {
        let Some(found) = self.describe(key)? else { return Ok(false) };
        // Where it cannot be copied, that it is there is looked at again when the record is written, and that must do.
        if found.size > MAX_COPY || !self.keeps_what_it_copies()? {
            return Ok(true);
        }
        let path = self.path(key.as_str())?;
        match wait(self.client.copy_if_not_exists(&path, &path)) {
            Ok(()) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            // Who may only write what is not there yet relies on the second look alone.
            Err(object_store::Error::PermissionDenied { .. }) => self.has(key),
            Err(error) => Err(self.access.failed("freshen", &self.location_of(key), error)),
        }
    }

    fn remove(&self, found: &Found) -> Result<bool, Error> {
        let is_same = |now: &Described| now.size == found.size && seconds(now.modified) <= seconds(found.modified);
        if !self.describe(&found.key)?.as_ref().is_some_and(is_same) {
            return Ok(false);
        }
        Self::remove(self, &found.key).map(|()| true)
    }
}
