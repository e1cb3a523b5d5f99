//! Collecting garbage in a bucket. Nothing can be held there, so publishers freshen what they use (see
//! [`crate::store::sweep`]).
//!
//! An object is made to count as just written by copying it onto itself inside the server, which keeps its bytes. Parts of
//! uploads that were broken off are no objects: a lifecycle rule of the bucket drops them (`AbortIncompleteMultipartUpload`).

use std::time::{SystemTime, UNIX_EPOCH};

use object_store::ObjectStoreExt;
use object_store::aws::S3CopyIfNotExists;

use super::{Bucket, Described};
use crate::error::Error;
use crate::layout::Key;
use crate::store::remote::wait;
use crate::store::sweep::{Found, Hold, Sweep};

/// Where content is.
const BLOBS: &str = "blobs/";
/// Where a store was tried and what was written for that could not be removed.
const PROBES: &str = "probe/";
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

impl Sweep for Bucket {
    fn hold_to_publish(&self) -> Result<Hold, Error> {
        Ok(Hold::nothing())
    }

    fn hold_to_collect(&self) -> Result<Hold, Error> {
        Ok(Hold::nothing())
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
        if found.size > MAX_COPY {
            // That it is there is looked at again when the record is written.
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
