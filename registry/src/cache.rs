//! The cache: verified content by digest, shared by all projects of a user.
//!
//! ```text
//! $KADAPTER_HOME/cache/v1/sha256/<2 hex>/<64 hex>        or $XDG_CACHE_HOME/kadapter/v1/…, ~/.cache/kadapter/v1/…
//! ```
//!
//! A file gets its name only after its size and digest were checked, so a crash leaves nothing under a wrong name.

use std::env;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::PathBuf;

use crate::digest::{Digest, Verifying};
use crate::error::Error;
use crate::files;
use crate::home;
use crate::layout::content_path;

/// The version of the cache's layout; another layout gets another folder.
const LAYOUT: &str = "v1";

/// Content by digest in a directory.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// Uses the cache below `root`, which need not exist.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into().join(LAYOUT) }
    }

    /// Uses the user's cache.
    ///
    /// # Errors
    /// The environment names no home directory.
    pub fn of_user() -> Result<Self, Error> {
        home::folder(home::Purpose::Cache, |name| env::var_os(name).map(PathBuf::from))
            .map(Self::new)
            .ok_or(Error::NoHome)
    }

    /// Where the content with this digest is or would be.
    #[must_use]
    pub fn path(&self, digest: &Digest) -> PathBuf {
        let mut path = self.root.clone();
        path.extend(content_path(digest).split('/'));
        path
    }

    /// The file with this content, if it is there and as long as it should be.
    #[must_use]
    pub fn find(&self, digest: &Digest, size: u64) -> Option<PathBuf> {
        let path = self.path(digest);
        let metadata = fs::metadata(&path).ok()?;
        (metadata.is_file() && metadata.len() == size).then_some(path)
    }

    /// Reads small content of at most `limit` bytes and checks its digest; none when it is not there.
    ///
    /// # Errors
    /// The file cannot be read, is longer, or has another content.
    pub fn read(&self, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        let path = self.path(digest);
        if !path.is_file() {
            return Ok(None);
        }
        let bytes = files::read_bytes(&path, limit)?;
        let found = Digest::of(&bytes);
        if found == *digest {
            return Ok(Some(bytes));
        }
        let difference = crate::digest::Difference::Digest { expected: *digest, found };
        Err(Error::Altered { file: path.display().to_string(), difference })
    }

    /// Tells whether the content is there and whole, by reading it.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn is_whole(&self, digest: &Digest, size: u64) -> Result<bool, Error> {
        let Some(path) = self.find(digest, size) else { return Ok(false) };
        let found = File::open(&path).and_then(Digest::of_reader);
        let (found, _) = found.map_err(|source| Error::Io { action: "read", path, source })?;
        Ok(found == *digest)
    }

    /// Copies a stream into the cache, checking size and digest; what was there under the name is replaced.
    ///
    /// # Errors
    /// The stream is not the content, or the cache cannot be written. Nothing is left under the name then.
    pub fn insert<R: Read>(&self, content: &mut Verifying<R>, digest: &Digest) -> Result<PathBuf, Error> {
        let path = self.path(digest);
        let failed = |source| Error::Io { action: "write", path: path.clone(), source };
        let folder = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).map_err(failed)?;
        let mut file = files::temporary(folder).map_err(failed)?;
        io::copy(content, &mut file).and_then(|_| file.as_file().sync_all()).map_err(failed)?;
        file.persist(&path).map_err(|error| failed(error.error))?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_content_gets_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path());
        let digest = Digest::of(b"content");
        assert!(cache.insert(&mut Verifying::new(&b"contenT"[..], digest, 7), &digest).is_err());
        assert_eq!(cache.read(&digest, 7).unwrap(), None);
        assert_eq!(fs::read_dir(cache.path(&digest).parent().unwrap()).unwrap().count(), 0);
        cache.insert(&mut Verifying::new(&b"content"[..], digest, 7), &digest).unwrap();
        assert_eq!(cache.read(&digest, 7).unwrap().unwrap(), b"content");
        assert!(cache.is_whole(&digest, 7).unwrap());
        fs::write(cache.path(&digest), "contenT").unwrap();
        assert!(!cache.is_whole(&digest, 7).unwrap());
        assert!(cache.read(&digest, 7).is_err());
    }
}
