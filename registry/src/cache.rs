//! The cache: verified content by digest, shared by all projects of a user.
//!
//! ```text
//! $KADAPTER_HOME/cache/v1/sha256/<2 hex>/<64 hex>        or $XDG_CACHE_HOME/kadapter/v1/…, ~/.cache/kadapter/v1/…
//!                    …/v1/sigs/<64 hex>/<key id>.minisig     signatures that were accepted, by the release's digest
//! ```
//!
//! A file gets its name only after its size and digest were checked, so a crash leaves nothing under a wrong name.

mod collect;

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::copy::copy;
use crate::digest::{Digest, Verifying};
use crate::error::Error;
use crate::files;
use crate::home;
use crate::key::KeyId;
use crate::layout::content_path;
use crate::note::{MAX_NOTE, Note};

/// The version of the cache's layout; another layout gets another folder.
const LAYOUT: &str = "v1";
/// How often use is marked: once a day is enough to know what nobody uses.
const MARK: Duration = Duration::from_secs(24 * 60 * 60);

pub use collect::UNUSED;

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
        home::cache().map(Self::new).ok_or(Error::NoHome)
    }

    /// The folder for models of others, by owner, name and commit.
    #[must_use]
    pub fn models(&self) -> PathBuf {
        self.root.join("models")
    }

    /// Where the content with this digest is or would be.
    #[must_use]
    pub fn path(&self, digest: &Digest) -> PathBuf {
        let mut path = self.root.clone();
        path.extend(content_path(digest).split('/'));
        path
    }

    /// The file with this content, if it is there and as long as it should be. That it is used is marked in its time of
    /// modification, where the cache can be written.
    #[must_use]
    pub fn find(&self, digest: &Digest, size: u64) -> Option<PathBuf> {
        let path = self.path(digest);
        let metadata = fs::metadata(&path).ok()?;
        if !metadata.is_file() || metadata.len() != size {
            return None;
        }
        mark_used(&path, &metadata);
        Some(path)
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
        if let Ok(metadata) = fs::metadata(&path) {
            mark_used(&path, &metadata);
        }
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

    /// Where a key's signature of the release with this digest is or would be.
    #[must_use]
    pub fn signature_path(&self, release: &Digest, key: &KeyId) -> PathBuf {
        self.root.join("sigs").join(release.hex()).join(Note::Signature(key.clone()).file_name())
    }

    /// The bytes of a signature that was kept; none when there is none. Whoever uses it verifies it again.
    ///
    /// # Errors
    /// The file cannot be read or is too long.
    pub fn signature(&self, release: &Digest, key: &KeyId) -> Result<Option<Vec<u8>>, Error> {
        let path = self.signature_path(release, key);
        if path.is_file() { files::read_bytes(&path, MAX_NOTE).map(Some) } else { Ok(None) }
    }

    /// Keeps a signature that was accepted.
    ///
    /// # Errors
    /// The cache cannot be written.
    pub fn keep_signature(&self, release: &Digest, key: &KeyId, text: &str) -> Result<(), Error> {
        let path = self.signature_path(release, key);
        let folder = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).map_err(|source| Error::Io { action: "make", path: folder.into(), source })?;
        files::write_atomic(&path, text.as_bytes())
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
        let file = files::temporary(folder).map_err(failed)?;
        copy(content, file.as_file()).and_then(|_| file.as_file().sync_all()).map_err(failed)?;
        file.persist(&path).map_err(|error| failed(error.error))?;
        Ok(path)
    }
}

/// Marks a file as used now, unless that was done not long ago. A cache that cannot be written is used all the same.
fn mark_used(path: &Path, metadata: &fs::Metadata) {
    let now = SystemTime::now();
    let lately = metadata.modified().is_ok_and(|marked| now.duration_since(marked).is_ok_and(|age| age < MARK));
    if !lately && let Ok(file) = File::open(path) {
        let _ = file.set_modified(now);
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
